# SPDX-License-Identifier: BSD-2-Clause
#
# mptcp(4) on both ends: two jails, each with its own network stack, and a bridge of the host's between them, where all is recorded.
#
#	client vtnet0 (203.0.113.1 to .4, 2001:db8:f::1 to ::4) ==== bridge ==== vtnet1 (203.0.113.11, .12, 2001:db8:f::11, ::12) server
. /amptcp/library.sh
. /amptcp/mptcp-library.sh

load_mptcp
make_jail client vtnet0
make_jail server vtnet1
for jail in client server; do
	jexec $jail sysctl net.inet.tcp.msl=100 >/dev/null
done
for n in 1 2 3 4; do
	jexec client ifconfig vtnet0 inet 203.0.113.$n/24 alias
	jexec client ifconfig vtnet0 inet6 2001:db8:f::$n/64 -ifdisabled no_dad
done
for n in 1 2; do
	jexec server ifconfig vtnet1 inet 203.0.113.1$n/24 alias
	jexec server ifconfig vtnet1 inet6 2001:db8:f::1$n/64 -ifdisabled no_dad
done
expect "the jails reach each other" jexec client ping -c 1 -t 5 203.0.113.11
expect "... with IPv6" jexec client ping -6 -c 1 -t 5 2001:db8:f::11
record
for address in 203.0.113.11 2001:db8:f::11; do
	jexec server $flow echoserve -m $address 5009 &
	servers="$servers $!"
done
wait_for 10 jexec server sh -c 'netstat -an -p tcp | grep -q "f::11[.]5009 .*LISTEN"'
result $? "servers listen"

of() { jexec "$1" sysctl -n "net.inet.mptcp.stats.$2"; }
echo_() { jexec client $flow echo -m -t 60 "$@"; }

expect "IPv4, one subflow, 3 MB each way" echo_ -n 3000000 203.0.113.11 5009
note "$_output"
expect "IPv4, two subflows" echo_ -n 3000000 -j 203.0.113.2,203.0.113.11 203.0.113.11 5009
note "$_output"
expect "IPv4, three subflows, two of them from one address" echo_ -n 3000000 -j 203.0.113.2,203.0.113.11 -j 203.0.113.2,203.0.113.11 203.0.113.11 5009
note "$_output"
expect "IPv4, four subflows, to two addresses" echo_ -n 3000000 -j 203.0.113.2,203.0.113.11 -j 203.0.113.3,203.0.113.12 -j 203.0.113.4,203.0.113.12 203.0.113.11 5009
note "$_output"
expect "IPv6, one subflow" echo_ -n 3000000 2001:db8:f::11 5009
expect "IPv6, four subflows" echo_ -n 3000000 -j 2001:db8:f::2,2001:db8:f::11 -j 2001:db8:f::3,2001:db8:f::11 -j 2001:db8:f::4,2001:db8:f::12 2001:db8:f::11 5009
note "$_output"
expect "IPv4, with a further subflow over IPv6" echo_ -n 3000000 -j 2001:db8:f::2,2001:db8:f::11 203.0.113.11 5009
note "$_output"
expect "IPv6, with further subflows over IPv4 and IPv6" echo_ -n 3000000 -j 203.0.113.2,203.0.113.11 -j 2001:db8:f::2,2001:db8:f::11 2001:db8:f::11 5009
note "$_output"
joined=12 connections=8
if [ "$(kenv -q amptcp.short)" != 1 ]; then
	expect "IPv4 and IPv6, three subflows, 100 MB each way" echo_ -n 100000000 -j 203.0.113.2,203.0.113.11 -j 2001:db8:f::2,2001:db8:f::11 203.0.113.11 5009
	note "$_output"
	joined=14 connections=9
fi
[ "$(of server join_accepted)" -eq $joined ] && [ "$(of client join_established)" -eq $joined ]
result $? "$joined further subflows: $(of server join_accepted) accepted, $(of client join_established) established"
[ "$(of server capable_ack_received)" -eq $connections ] && [ "$(of server established)" -eq $connections ]
result $? "$connections connections are MPTCP at the server: $(of server capable_ack_received), $(of server established)"
fallbacks() { jexec "$1" sysctl net.inet.mptcp.stats | awk '/fallback_/ { n += $2 } END { print n + 0 }'; }
[ "$(fallbacks server)" -eq 0 ] && [ "$(fallbacks client)" -eq 0 ]
result $? "no fallback: $(fallbacks server) at the server, $(fallbacks client) at the client"
recorded
for jail in server client; do
	jexec $jail sysctl net.inet.mptcp.stats | awk '$2 != 0' | sed "s/^/# $jail: /"
done

# The network stack of a jail goes with its hidden listeners.
kill $servers
wait
jail -r server
result $? "the server's jail goes"
gone() { ! jls -d -n name 2>/dev/null | grep -q "name=server"; }
wait_for 60 gone
result $? "... with its network stack"
jail -r client
servers=
mptcp_quiet
