# SPDX-License-Identifier: BSD-2-Clause
#
# The whole chain of the product, with a Linux server: two paths of 1 Mbit/s each (an emulated processor under a debugging kernel does not do much more), and a connection that uses both.
#
#	ha -------- xa ====== 203.0.111.0/24 ====== the providers' ====== Linux: RLOCs 203.0.121.1, 203.0.122.1
#	            xa ====== 203.0.112.0/24 ====== router              EIDs 198.18.2.10 (two RLOCs), .4.10 (one), .5.10 (no MPTCP)
#
#	ha	client
#	xa	the gateway: pf under 'block all', tproxy(4), mptcp(4), lisp(4); an agent does what the daemon, on the host, calls
#	router	the guest itself, no jail: dummynet gives each provider its bandwidth and delay, by the RLOC of the server's site
#
#	ha: SYN -> xa: divert(4) -> daemon: decide, plan, pin -> mptcp(4): SYN with MP_CAPABLE, later one with MP_JOIN
#	   -> lisp(4): each subflow to its RLOC -> router: its pipe -> Linux
. /amptcp/library.sh
. /amptcp/mptcp-library.sh

# linux NAME: a counter of the Linux kernel's, in $value.
linux() {
	ask linux
	value=0
	for pair in $answer; do
		case $pair in "$1"=*) value=${pair#*=} ;; esac
	done
}
ours() { jexec xa sysctl -n "net.inet.mptcp.stats.$1"; }

for module in pf ipdivert ipfw dummynet; do kldload /boot/kernel/$module.ko; done
for module in tproxy lisp mptcp; do kldload /amptcp/$module.ko; done
result $? "the modules load"
network_to_linux
expect "the Linux end is reached over the first provider" wait_for 10 jexec xa ping -c 1 -t 1 203.0.121.1
expect "... and over the second" wait_for 10 jexec xa ping -c 1 -t 1 203.0.122.1

cat >/tmp/pf.conf <<'RULES'
set skip on { lo0, vtnet1 }
block all
anchor "amptcp"
RULES
jexec xa pfctl -q -f /tmp/pf.conf 2>/dev/null
jexec xa pfctl -q -e 2>/dev/null

# shape MBIT: bandwidth of each path, each way.
shape() {
	ipfw -q flush
	for path in 1 2; do
		ipfw pipe $path config bw $1Mbit/s delay 10 queue 30KBytes
		ipfw pipe 1$path config bw $1Mbit/s delay 10 queue 30KBytes
		ipfw -q add pipe $path udp from any to 203.0.12$path.1 4341 out xmit vtnet0
		ipfw -q add pipe 1$path udp from 203.0.12$path.1 to any 4341 in recv vtnet0
	done
}

jexec xa /amptcp/agent 10.0.2.15 4343 &
agent=$!
wait_for 10 listening xa 4343
ask start
result $? "the daemon starts: $answer"
case $answer in "multipath true"*) ok "... with mptcp(4)" ;; *) not_ok "with mptcp(4): $answer" ;; esac

record
# octets of the chain's server that came over each path, and went there
spread() { ask paths; note "paths: $answer"; }

expect "a server with one RLOC, not shaped: hashes equal" jexec ha $flow echo -n 500000 198.18.4.10 5001
note "$_output"
expect "a server with two RLOCs, not shaped: hashes equal" jexec ha $flow echo -n 1000000 198.18.2.10 5001
note "$_output"
expect "a server without MPTCP: hashes equal" jexec ha $flow echo -n 300000 198.18.5.10 5001
spread
ask linux
note "Linux: $answer"

MBIT=${MBIT:-$(kenv -q amptcp.mbit || echo 1)}
OCTETS=${OCTETS:-$(kenv -q amptcp.octets || echo 4000000)}
shape $MBIT
# took SERVER: seconds of an exchange, in $seconds.
took() {
	_output=$(jexec ha $flow echo -n $OCTETS -t 600 $1 5001 2>&1)
	_status=$?
	seconds=$(echo "$_output" | sed -n 's/.*seconds \([0-9.]*\).*/\1/p')
	return $_status
}
took 198.18.4.10
result $? "$OCTETS octets each way over one path of $MBIT Mbit/s: hashes equal ($_output)"
one=$seconds
linux MPJoinSynRx
before=$value
took 198.18.2.10
result $? "... and over two: hashes equal ($_output)"
two=$seconds
spread
linux MPJoinAckRx
joined=$value
[ "$joined" -gt 0 ]
result $? "Linux has seen $joined MP_JOINs through"
ratio=$(echo "$one $two" | awk '{ printf "%.2f", ($2 > 0 ? $1 / $2 : 0) }')
[ "$(echo "$ratio" | awk '{ print ($1 >= 1.8) }')" = 1 ]
result $? "two paths are $ratio times one"

recorded
ask connections
note "connections: $answer"
ask counters
note "daemon: $answer"
ask linux
note "Linux: $answer"
ask drops
note "Linux's drops: $answer"
jexec xa sysctl net.inet.mptcp.stats | awk '$2 != 0' | sed 's/^/# FreeBSD: /'
for name in DSSNotMatching DSSCorruptionFallback DSSCorruptionReset MPCapableFallbackSYNACK MPCapableFallbackACK MPFailRx InfiniteMapRx; do
	linux $name
	[ "$value" -eq 0 ]
	result $? "Linux has counted no $name"
done
ask stop
result $? "the daemon stops"
wait $agent
ipfw -q flush
quiet() { jexec xa $mptcpctl state | grep -q 'connections 0 sockets 0'; }
wait_for 60 quiet
result $? "no connection is left ($(jexec xa $mptcpctl state))"
for jail in ha xa; do jail -r $jail; done
wait_for 60 kldunload mptcp
result $? "the module unloads"
[ "$(dmesg | grep -c 'mptcp leaked')" -eq 0 ]
result $? "... and every connection's memory was given back"
