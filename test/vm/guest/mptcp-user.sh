# SPDX-License-Identifier: BSD-2-Clause
#
# mptcp(4) as its users meet it: /dev/mptcp, sysctls, jails, ordinary programs through the preload library.
#
#	guest vtnet0 (203.0.113.1, .11) ==== tap (.2) Linux: port 5009 MPTCP, 5010 TCP, both send back what they get; 5011 HTTP over MPTCP
. /amptcp/library.sh
. /amptcp/mptcp-library.sh
preload="env LD_PRELOAD=/amptcp/libmptcp_preload.so"

# is REQUEST NUMBER...: whether the first is the second.
is() { [ "$1" = "$2" ]; }

ifconfig lo0 127.0.0.1/8 up
$flow echoserve 127.0.0.1 5001 &
server=$!
wait_for 10 $flow echo -n 1 127.0.0.1 5001
expect "without the module the preload library gives programs what they ask for" $preload $flow echo -n 1000 127.0.0.1 5001
kill $server
kldload /amptcp/mptcp.ko
result $? "the module loads"
sysctl net.inet.tcp.msl=100 >/dev/null
ifconfig vtnet0 inet 203.0.113.1/24 up
ifconfig vtnet0 inet 203.0.113.11/32 alias
expect "the Linux end is on the wire" wait_for 10 ping -c 1 -t 1 203.0.113.2
record

# The device.
expect "the device tells of the module: $($mptcpctl state)" $mptcpctl state
expect "what must be refused, is" $mptcpctl refused
$mptcpctl open >/tmp/open &
holder=$!
wait_for 10 grep -q open /tmp/open
refuse "the module stays while somebody has the device open" kldunload mptcp
kill $holder
wait $holder 2>/dev/null
kldunload mptcp && kldload /amptcp/mptcp.ko
result $? "... and goes afterwards"

# Switches.
for pair in enabled=2 checksum=-1 syn_retries=13 coupled=2 orphan_seconds=0 fin_seconds=3601 scheduler=best; do
	refuse "net.inet.mptcp.$pair is refused" sysctl net.inet.mptcp.$pair
done
for pair in scheduler=roundrobin scheduler=minrtt checksum=1 checksum=0; do
	expect "net.inet.mptcp.$pair" sysctl net.inet.mptcp.$pair
done
sysctl -n net.inet.tcp.cc.available | grep -q lia
result $? "LIA is among the congestion control algorithms"

# What programs do with sockets besides reading and writing.
expect "sendfile(2): a file of 1 MB behind a header, in two pieces" $mptcp sendfile 203.0.113.2 5009
expect "kqueue(2) and select(2) tell of the connection, of data and of the end" $mptcp kqueue 203.0.113.2 5009

# Ordinary programs.
before=$(ours established)
echo 'hello, multipath' | $preload nc -N -w 20 203.0.113.2 5009 >/tmp/echoed
is "$(cat /tmp/echoed)" 'hello, multipath' && [ "$(ours established)" -gt "$before" ]
result $? "nc through the preload library speaks MPTCP"
echo 'hello, path' | nc -N -w 20 203.0.113.2 5009 >/tmp/echoed
is "$(cat /tmp/echoed)" 'hello, path' && [ "$(ours established)" -eq $((before + 1)) ]
result $? "... without it TCP"
echo 'hello, path' | $preload nc -N -w 20 203.0.113.2 5010 >/tmp/echoed
is "$(cat /tmp/echoed)" 'hello, path'
result $? "... and TCP with a server that has no MPTCP"
if [ -x /usr/bin/fetch ]; then
	before=$(ours established)
	ask hash 3000000
	$preload fetch -q -o /tmp/fetched http://203.0.113.2:5011/3000000
	is "$(sha256 -q /tmp/fetched)" "$answer" && [ "$(ours established)" -gt "$before" ]
	result $? "fetch through the preload library: 3 MB over MPTCP, hashes equal"
	rm -f /tmp/fetched
else
	note "this userland has no fetch: skipped"
fi

before=$(ours established)
$preload nc -l 127.0.0.1 5012 >/tmp/heard &
server=$!
wait_for 10 sh -c "netstat -an | grep -q '127.0.0.1.5012 .*LISTEN'"
echo 'hello, server' | $preload nc -N -w 20 127.0.0.1 5012
wait_for 10 grep -q hello /tmp/heard
is "$(cat /tmp/heard)" 'hello, server' && [ "$(ours established)" -gt "$before" ]
result $? "nc as a server through the preload library, and nc as its client: MPTCP at both ends"
kill $server 2>/dev/null
wait $server 2>/dev/null

# Events and information.
$mptcpctl events 3 30 >/tmp/events &
listener=$!
wait_for 10 grep -q ready /tmp/events
$mptcp hold 203.0.113.2 5009 >/tmp/hold &
holder=$!
wait_for 10 grep -q waiting /tmp/hold
$mptcpctl list >/tmp/list
grep -q '^token [1-9][0-9]* established subflows 1' /tmp/list
result $? "the list has the connection ($(head -1 /tmp/list))"
token=$(sed -n 's/^token \([0-9]*\) .*/\1/p' /tmp/list | head -1)
$mptcpctl info "$token" | grep -q 'subflow 0 established 203.0.113.1:[0-9]*-203.0.113.2:5009'
result $? "... with its subflow"
linux MPJoinAckRx
before=$value
number=$($mptcpctl add "$token" 203.0.113.11 0 203.0.113.2 5009)
result $? "a second subflow, from another address: number $number"
two() { $mptcpctl info "$token" | grep -q 'subflow [1-9][0-9]* established 203.0.113.11'; }
wait_for 10 two
result $? "... is established ($($mptcpctl info "$token" | tail -1))"
linux MPJoinAckRx
[ "$value" -gt "$before" ]
result $? "... as Linux says, which counts $value MP_JOINs"
refuse "a local address that is not here" $mptcpctl add "$token" 192.0.2.99 0 203.0.113.2 5009
port=$($mptcpctl info "$token" | sed -n 's/.*203.0.113.11:\([0-9]*\)-.*/\1/p' | head -1)
refuse "a port that is taken" $mptcpctl add "$token" 203.0.113.11 "$port" 203.0.113.2 5009
expect "it becomes a backup" $mptcpctl priority "$token" "$number" backup
$mptcpctl info "$token" | grep -q "subflow $number .*backup"
result $? "... and says so"
expect "it is removed" $mptcpctl remove "$token" "$number"
gone() { ! $mptcpctl info "$token" | grep -q 'subflow [1-9][0-9]* established'; }
wait_for 10 gone
result $? "... and gone"
kill $holder
wait $holder 2>/dev/null
wait $listener
result $? "events came: $(sed -n 's/ token.*//p' /tmp/events | tr '\n' ' ')"
grep -q '^established' /tmp/events && grep -q '^subflow-up' /tmp/events
result $? "... of the connection and its subflow"

# Jails.
jail -c name=ip path=/ ip4.addr=203.0.113.11 persist >/dev/null
expect "a jail of one address has MPTCP" jexec ip $mptcp info 203.0.113.2 5009
refuse "... and no device" jexec ip $mptcpctl state
expect "... adds a subflow from its own address" jexec ip $mptcp join 203.0.113.2 5009 203.0.113.11
refuse "... and none from another" jexec ip $mptcp join 203.0.113.2 5009 203.0.113.1
jail -r ip
make_jail vj
expect "a jail with a network stack has a device" jexec vj $mptcpctl state
jexec vj sysctl net.inet.mptcp.enabled=0 >/dev/null && [ "$(sysctl -n net.inet.mptcp.enabled)" = 1 ]
result $? "... and switches of its own"
jail -r vj
result $? "... and goes"

$mptcp hold 203.0.113.2 5009 >/tmp/hold &
holder=$!
wait_for 10 grep -q waiting /tmp/hold
refuse "the module stays while a socket is open" kldunload mptcp
kill $holder
wait $holder 2>/dev/null
quiet() { $mptcpctl state | grep -q 'connections 0 sockets 0'; }
wait_for 30 quiet
result $? "no connection is left"
recorded
wait_for 30 kldunload mptcp
result $? "the module unloads"
[ "$(dmesg | grep -c 'mptcp leaked')" -eq 0 ]
result $? "... and every connection's memory was given back"
