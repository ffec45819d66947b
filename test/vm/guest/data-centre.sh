# SPDX-License-Identifier: BSD-2-Clause
#
# The role data-centre: MPTCP in from Linux clients, TCP out to servers that know nothing of it.
#
#	Linux ==== vtnet0, xa ---- hb
#
#	Linux	clients at 203.0.113.2 and .3, 2001:db8:f::2 and ::3, with MPTCP and without
#	xa	the gateway: pf under 'block all', tproxy(4), mptcp(4); an agent does what the daemon, on the host, calls
#	hb	servers with TCP only: 198.18.2.10 and 2001:db8:2::10; with MPTCP, and left alone: 198.18.2.20 and 2001:db8:2::20
#
#	SYN with MP_CAPABLE -> divert(4) | tproxy(4) -> agent -> daemon -> TCP to hb -> listener of mptcp(4), flow registered, SYN goes on
#	SYN with MP_JOIN    -> let go on -> tproxy(4) asks mptcp(4) whose it is: registered with the connection, a further subflow of it
. /amptcp/library.sh
. /amptcp/mptcp-library.sh
tproxy=/amptcp/tproxy
mptcpctl=/amptcp/mptcpctl

for module in pf ipdivert; do kldload /boot/kernel/$module.ko; done
# In this order and the other: packet hooks come in the order of loading.
kldload /amptcp/mptcp.ko
kldload /amptcp/tproxy.ko
sysctl net.inet.tcp.msl=100 net.inet.tcp.rexmit_initial=500 >/dev/null
ifconfig epair0 create >/dev/null
make_jail xa vtnet0 vtnet1 epair0a
make_jail hb epair0b
jexec xa sysctl net.inet.icmp.icmplim=0 net.inet.tproxy.linger=1 net.inet.tproxy.connect_timeout=5 >/dev/null
address xa vtnet0 203.0.113.1/24 2001:db8:f::1/64
address xa epair0a 198.18.2.1/24 2001:db8:2::1/64
address hb epair0b 198.18.2.10/24 2001:db8:2::10/64
jexec hb ifconfig epair0b inet 198.18.2.20/24 alias
jexec hb ifconfig epair0b inet6 2001:db8:2::20/64 no_dad alias
jexec hb route -q add default 198.18.2.1
jexec hb route -q -6 add default 2001:db8:2::1
jexec xa ifconfig vtnet1 inet 10.0.2.15/24 up
expect "the clients are on the wire" wait_for 10 jexec xa ping -c 1 -t 1 203.0.113.2
expect "... with IPv6" wait_for 10 jexec xa ping -6 -c 1 -t 1 2001:db8:f::2
expect "the servers are" wait_for 10 jexec xa ping -c 1 -t 1 198.18.2.10
expect "... with IPv6" wait_for 10 jexec xa ping -6 -c 1 -t 1 2001:db8:2::10

# The administrator's rules: what is left alone passes by these.
cat >/tmp/pf.conf <<'RULES'
set skip on { lo0, vtnet1 }
block all
pass quick inet6 proto icmp6 all icmp6-type { neighbrsol, neighbradv, routersol, routeradv } no state
anchor "amptcp"
pass proto tcp from any to { 198.18.2.20, 2001:db8:2::20 }
RULES
jexec xa pfctl -q -f /tmp/pf.conf 2>/dev/null
jexec xa pfctl -q -e 2>/dev/null
for address in 198.18.2.10 2001:db8:2::10; do serve hb $address 5001; done
for address in 198.18.2.20 2001:db8:2::20; do
	jexec hb $flow serve -m $address 5001 &
done
watch_server() {
	jexec hb tcpdump -n -l -i epair0b --immediate-mode 'tcp[tcpflags] & tcp-syn != 0 or (ip6 and tcp)' >/tmp/seen 2>/tmp/seen.err &
	wait_for 10 grep -q listening /tmp/seen.err
}
watch_server

theirs() { jexec xa sysctl -n net.inet.mptcp.stats.$1; }
flows() { jexec xa sysctl -n net.inet.tproxy.stats.$1; }
start_agent
ask start
started=$?
result $started "the daemon starts: $answer"
[ $started -eq 0 ] || exit 0

ask patience 20
clients="203.0.113.2 203.0.113.3 198.18.2 2001:db8:f::2 2001:db8:f::3 2001:db8:2:"
set -- $clients
while [ $# -gt 0 ]; do
	source=$1 second=$2 net=$3
	shift 3
	case $net in *:*) server=$net:10 alone=$net:20 nobody=$net:66 ;; *) server=$net.10 alone=$net.20 nobody=$net.66 ;; esac
	ask endpoints
	ask exchange $source $server 5001 1000000
	[ "${answer#same mptcp subflows 1}" != "$answer" ]
	result $? "a client with one subflow, 1 MB each way, hashes equal ($server: $answer)"
	before=$(theirs join_accepted) registered=$(flows joined)
	ask endpoints $second
	ask exchange $source $server 5001 3000000 2
	[ "${answer#same mptcp subflows 2}" != "$answer" ]
	result $? "... with two, 3 MB each way, hashes equal ($server: $answer)"
	[ $(($(theirs join_accepted) - before)) -eq 1 ]
	result $? "... which mptcp(4) counts as well"
	[ $(($(flows joined) - registered)) -eq 1 ]
	result $? "... and tproxy(4) registered with the first"
	ask endpoints
	plain=$(theirs fallback_no_capable)
	ask exchange $source $server 5001 1000000 1 tcp
	[ "${answer#same tcp}" != "$answer" ] && [ "$(theirs fallback_no_capable)" -eq $((plain + 1)) ]
	result $? "a client without MPTCP is served by TCP ($server: $answer)"
	ask exchange $source $server 5002 1000
	case $answer in *ECONNREFUSED*) ok "a port that refuses, refuses the client ($server: $answer)" ;; *) not_ok "refused ($server): $answer" ;; esac
	ask exchange $source $nobody 5001 1000
	case $answer in *EHOSTUNREACH*) ok "a server that is not there, is unreachable to the client ($nobody: $answer)" ;; *) not_ok "unreachable ($nobody): $answer" ;; esac
	before=$(theirs capable_syn_received)
	ask endpoints $second
	ask exchange $source $alone 5001 1000000 2
	[ "${answer#same mptcp subflows 2}" != "$answer" ] && [ "$(theirs capable_syn_received)" -eq "$before" ]
	result $? "a server that is left alone has its own MPTCP, both subflows included ($alone: $answer)"
	ask endpoints
done
ask daemon
note "daemon: $answer"
case $answer in *'"total":10,'*) ok "the daemon counts ten connections" ;; *) not_ok "ten connections: $answer" ;; esac
grep -q '203[.]0[.]113[.]2[.].* > 198[.]18[.]2[.]10[.]5001.*Flags .S.' /tmp/seen
result $? "the server saw the client's address"
[ "$(grep ' > 198[.]18[.]2[.]10[.]5001\| > 2001:db8:2::10[.]5001' /tmp/seen | grep -c mptcp)" -eq 0 ]
result $? "... and no MPTCP"
ask endpoints 203.0.113.3
ask many 203.0.113.2 198.18.2.10 5001 1000 50
result $? "50 short connections ($answer)"
no_fallback "of clients with MPTCP"
no_flows() { [ "$(jexec xa sysctl -n net.inet.tproxy.flows)" -eq 0 ]; }
expect "tproxy(4) forgets the flows" wait_for 60 no_flows
no_flows || { jexec xa $tproxy list; jexec xa netstat -an -p tcp; } | sed 's/^/#   /'

# Fail open.
ask kill
wait $agent
no_flows
result $? "the daemon is killed: its flows are forgotten"
start_agent
ask clean
result $? "the guard takes back its rules: $answer"
wait $agent
cat >>/tmp/pf.conf <<'RULES'
pass proto tcp from any to { 198.18.2.10, 2001:db8:2::10 }
RULES
jexec xa pfctl -q -f /tmp/pf.conf 2>/dev/null
for pair in "203.0.113.2 198.18.2.10" "2001:db8:f::2 2001:db8:2::10"; do
	ask exchange $pair 5001 100000
	[ "${answer#same fallback}" != "$answer" ]
	result $? "connections pass to the server itself ($pair: $answer)"
done
start_agent
ask start
result $? "the daemon starts again: $answer"
ask exchange 203.0.113.2 198.18.2.10 5001 100000 2
[ "${answer#same mptcp subflows 2}" != "$answer" ]
result $? "... and takes MPTCP ($answer)"
ask stop
result $? "the daemon stops"
wait $agent
[ -z "$(jexec xa pfctl -a amptcp -s rules 2>/dev/null)" ]
result $? "... its rules are gone"
jexec xa sysctl net.inet.mptcp.stats net.inet.tproxy.stats | awk '$2 != 0' | sed 's/^/# FreeBSD: /'
for jail in xa hb; do jail -r $jail; done
expect "mptcp(4) unloads" wait_for 60 kldunload mptcp
expect "tproxy(4) unloads" kldunload tproxy
[ "$(dmesg | grep -c 'mptcp leaked')" -eq 0 ]
result $? "... and every connection's memory was given back"
