# SPDX-License-Identifier: BSD-2-Clause
#
# Ioctls and packets nobody should send, with every packet cut into small mbufs: no panic, and each drop counted.
. /amptcp/library.sh
seed=$(kenv -q amptcp.seed || echo 1)
note "seed $seed"

kldload /amptcp/lisp.ko
kldload /amptcp/chop.ko
build_network
add_lisp
map_sites 4

# Ioctls.
expect "random ioctls as root" jexec xa /amptcp/fuzz root "$seed" 30000
note "$_output"
expect "random ioctls with a descriptor for reading, as nobody: nothing is changed" jexec xa /amptcp/fuzz reader "$seed" 15000
note "$_output"
expect "nobody cannot open the device" jexec xa /amptcp/fuzz other "$seed" 1
note "$_output"
chmod 666 /dev/lisp
expect "... nor for writing where the file's mode would let it" jexec xa /amptcp/fuzz other "$seed" 1
note "$_output"
chmod 640 /dev/lisp
expect "random ioctls without an interface" /amptcp/fuzz root "$seed" 5000
note "$_output"
expect "random ioctls while packets and the interface come and go" sh -c '
	jexec p2 /amptcp/fuzz root 1 2000 >/dev/null &
	fuzzer=$!
	for n in 1 2 3 4 5 6 7 8; do jexec p2 ifconfig lisp create; jexec p2 ifconfig lisp0 destroy; done >/dev/null
	wait $fuzzer'

# What the fuzzer left is replaced.
for x in xa; do
	jexec $x ifconfig lisp0 destroy
done
jexec xb ifconfig lisp0 destroy
add_lisp
map_sites 4
expect "afterwards everything works" jexec ha ping -c 2 -i 0.2 -t 5 198.18.2.10
serve hb 198.18.2.10 5001
serve hb 2001:db8:2::10 5001

# Sum of all that can have become of a packet in JAIL, encapsulating or decapsulating.
fate() {
	jexec "$1" sysctl net.inet.lisp.stats | awk '/stats\.(drop\.|decapsulated:|encapsulated:)/ { n += $2 } END { print n }'
}

for cut in 0 1; do
	how=whole
	[ $cut = 1 ] && how="in small mbufs"
	for j in xa xb p1; do jexec $j sysctl net.inet.chop=$cut >/dev/null; done
	expect "TCP passes, packets $how" jexec ha $flow send -n 500000 198.18.2.10 5001
	expect "TCP over IPv6 passes, packets $how" jexec ha $flow send -n 500000 2001:db8:2::10 5001
	for way in "203.0.111.1 203.0.121.1" "2001:db8:a:1::1 2001:db8:b:1::1"; do
		set -- $way
		if [ "${1#*:}" != "$1" ]; then map_sites 6; else map_sites 4; fi
		before=$(fate xb)
		# The sockets of other programs may bind the same port nowhere else.
		number=$(jexec xa /amptcp/inject data "$1" "$2" "$((seed + cut))" 8000)
		sleep 1
		told=$(($(fate xb) - before))
		[ "$number" -gt 7000 ] && [ $told -ge "$number" ]
		result $? "mutilated LISP packets to $2, $how: $number sent, $told accounted for"
		before=$(fate xb)
		number=$(jexec xa /amptcp/inject icmp "$1" "$2" "$((seed + cut))" 4000)
		[ "$number" -gt 3000 ]
		result $? "mutilated ICMP errors to $2, $how: $number sent"
	done
	map_sites 4
	before=$(fate xa)
	number=$(jexec xa /amptcp/inject inner lisp0 "$((seed + cut))" 8000)
	told=$(($(fate xa) - before))
	[ "$number" -gt 5000 ] && [ $told -ge "$number" ]
	result $? "mutilated packets into lisp0, $how: $number sent, $told accounted for"
done
jexec xb sysctl net.inet.lisp.source_check=0 >/dev/null
number=$(jexec p1 /amptcp/inject data 203.0.121.254 203.0.121.1 "$((seed + 7))" 5000)
result $? "... without the source check, from a stranger: $number sent"
jexec xb sysctl net.inet.lisp.stats.drop | awk '$2 != 0' | sed 's/^/# xb: /'
jexec xa sysctl net.inet.lisp.stats.drop | awk '$2 != 0' | sed 's/^/# xa: /'
for j in xa xb p1; do jexec $j sysctl net.inet.chop=0 >/dev/null; done
# Forged ICMP may have lowered path MTUs to the least; connections live on.
expect "afterwards everything still works" jexec ha $flow send -n 300000 198.18.2.10 5001
for j in ha xa p1 p2 xb hb; do jail -r $j >/dev/null; done
kldunload lisp
result $? "the module unloads"
kldunload chop
