# SPDX-License-Identifier: BSD-2-Clause
#
# tproxy(4): ioctls nobody should send; loaded, unloaded and killed under traffic.
. /amptcp/library.sh
. /amptcp/tproxy-network.sh
seed=$(kenv -q amptcp.seed || echo 1)
note "seed $seed"

kldload /boot/kernel/pf.ko
kldload /boot/kernel/ipdivert.ko
kldload /amptcp/tproxy.ko
build_tproxy_network
load_rules
serve s 198.18.2.10 5001
serve s 2001:db8:2::10 5001
serve s 198.18.2.10 6001
serve s 2001:db8:2::10 6001

expect "random ioctls as root" jexec g $tproxy fuzz "$seed" 40000 root
note "$_output"
expect "random ioctls with a descriptor for reading, as nobody: nothing is changed" jexec g $tproxy fuzz "$seed" 20000 reader
note "$_output"
expect "nobody cannot open the device" jexec g $tproxy fuzz "$seed" 1 other
chmod 666 /dev/tproxy
expect "... nor for writing where the file's mode would let it" jexec g $tproxy fuzz "$seed" 1 other
note "$_output"
chmod 640 /dev/tproxy

start_gateway
expect "random ioctls while the gateway works" sh -c "
	jexec g $tproxy fuzz $seed 20000 root >/dev/null &
	fuzzer=\$!
	jexec c $flow send -n 500000 198.18.2.10 5001 && jexec c $flow send -n 500000 2001:db8:2::10 5001
	status=\$?
	wait \$fuzzer
	exit \$status"
stop_gateway

# Traffic that never stops: connections of all kinds, one after the other, whatever becomes of them.
traffic() {
	while :; do
		for port in 5001 6001 5002; do
			for address in 198.18.2.10 2001:db8:2::10; do
				jexec c $flow send -t 3 -n 30000 $address $port >/dev/null 2>&1
			done
		done
	done
}
kldunload tproxy
failures=0 accepted=0
traffic &
one=$!
traffic &
two=$!
for n in $(seq 1 12); do
	kldload /amptcp/tproxy.ko || failures=$((failures + 1))
	before=$(said accepted)
	start_gateway
	more() { [ "$(said accepted)" -gt "$before" ]; }
	wait_for 20 more && accepted=$((accepted + 1))
	case $((n % 3)) in
	0)	stop_gateway ;;
	1)	kldunload -f tproxy || failures=$((failures + 1))
		stop_gateway ;;
	2)	stop_gateway &
		kldunload -f tproxy || failures=$((failures + 1))
		wait $! ;;
	esac
	kldstat -q -n tproxy.ko && { kldunload tproxy || failures=$((failures + 1)); }
done
kill $one $two
wait $one $two 2>/dev/null
jexec c pkill flow
[ $failures -eq 0 ]
result $? "12 times loaded, and unloaded with the daemon alive, killed and being killed, under traffic"
[ $accepted -ge 10 ]
result $? "... in which connections were proxied each time ($accepted of 12)"

kldload /amptcp/tproxy.ko
start_gateway
refuse "while the daemon captures the module stays" kldunload tproxy
expect "afterwards everything works: IPv4" jexec c $flow send -n 100000 198.18.2.10 5001
expect "... IPv6" jexec c $flow send -n 100000 2001:db8:2::10 5001
for j in c r g s; do jail -r $j >/dev/null; done
vnets_gone() { [ "$(jls -d dying | grep -c dying)" -eq 0 ] && [ "$(jls | wc -l)" -le 1 ]; }
wait_for 20 vnets_gone
result $? "jails in which it worked go away"
kldunload tproxy
result $? "the module unloads"
vmstat -m | awk '$1 == "tproxy" { found = 1 } END { exit found }'
result $? "no memory of the module's type is left"
