# SPDX-License-Identifier: BSD-2-Clause
#
# source = "client": the gateway connects from the client's own address, which is not its own.
#
#	ha ---- xa ==== p1 ==== xb ---- hb		(the network of library.sh)
#	          \==== p2 ====/
#
#	ha	client
#	xa	the gateway: pf under 'block all', tproxy(4), lisp(4); an agent does what the daemon, on the host, calls
#	xb	xTR of the server's site: lisp(4), set up by hand; ha's addresses are EIDs behind xa
#	hb	server: 198.18.2.10 and 2001:db8:2::10
#
#	ha: SYN -> xa: held -> daemon -> agent: socket bound to ha's address -> lisp0 -> xb -> hb
#	    hb: SYN-ACK to ha's address -> xb -> xa: lisp0 -> tproxy(4) -> the agent's socket, not ha
. /amptcp/library.sh
tproxy=/amptcp/tproxy

for module in pf ipdivert; do kldload /boot/kernel/$module.ko; done
kldload /amptcp/tproxy.ko
kldload /amptcp/lisp.ko
build_network
sysctl net.inet.tcp.rexmit_initial=500 >/dev/null
jexec xa sysctl net.inet.icmp.icmplim=0 net.inet.tproxy.linger=1 >/dev/null

jexec xb ifconfig lisp create >/dev/null
jexec xb ifconfig lisp0 inet 198.18.2.2/32 up
jexec xb ifconfig lisp0 inet6 2001:db8:2::2/128
jexec xb route -q add -net 198.18.1.0/24 -iface lisp0
jexec xb route -q -6 add -net 2001:db8:1::/64 -iface lisp0
jexec xb $lisp eids 198.18.2.0/24 2001:db8:2::/64
jexec xb $lisp rlocs 203.0.121.1 203.0.122.1
for eid in 198.18.1.0/24 2001:db8:1::/64; do jexec xb $lisp map 0 $eid 203.0.111.1,1,1 203.0.112.1,1,1; done

cat >/tmp/pf.conf <<'RULES'
set skip on { lo0, vtnet0 }
block all
pass quick inet6 proto icmp6 all icmp6-type { neighbrsol, neighbradv, routersol, routeradv } no state
anchor "amptcp"
RULES
ifconfig vtnet0 vnet xa
jexec xa ifconfig vtnet0 inet 10.0.2.15/24 up
# Its status is worth nothing where there are no fingerprints of operating systems.
jexec xa pfctl -q -f /tmp/pf.conf 2>/dev/null
jexec xa pfctl -q -e 2>/dev/null

start_agent
ask start client
started=$?
result $started "the daemon starts: $answer"
[ $started -eq 0 ] || exit 0
note "$(jexec xa netstat -rn -F 1 | grep lisp0 | tr '\n' ' ')"
for address in 198.18.2.10 2001:db8:2::10; do serve hb $address 5001; done
jexec hb tcpdump -n -l -i epair5a --immediate-mode 'tcp[tcpflags] & (tcp-syn | tcp-ack) == tcp-syn or (ip6 and ip6[6] == 6 and ip6[53] & 18 == 2)' \
    >/tmp/seen 2>/tmp/seen.err &
wait_for 10 grep -q listening /tmp/seen.err
jexec ha tcpdump -n -l -i epair0a --immediate-mode 'tcp[tcpflags] & tcp-rst != 0 or (ip6 and ip6[6] == 6 and ip6[53] & 4 != 0)' \
    >/tmp/resets 2>/tmp/resets.err &
wait_for 10 grep -q listening /tmp/resets.err

connections() { jexec xa netstat -an -p tcp | grep -v '10[.]0[.]2[.]15' | grep -c 'ESTAB\|SYN_\|FIN_\|CLOSE_\|CLOSING'; }
flows() { jexec xa sysctl -n net.inet.tproxy.flows; }
busy() { [ "$(stat_of xa decapsulated)" -gt "$1" ]; }
no_flows() { [ "$(flows)" -eq 0 ]; }

for address in 198.18.2.10 2001:db8:2::10; do
	: >/tmp/seen
	jexec ha $flow send -n 1000000 -p 31000 $address 5001 >/tmp/told 2>&1
	result $? "same octets at both ends, both ways ($address)"
	note "$(cat /tmp/told)"
	case $address in *:*) client=2001:db8:1::10 ;; *) client=198.18.1.10 ;; esac
	grep -q " $client[.][0-9]* > " /tmp/seen
	result $? "the server saw the client's address: $(cut -d' ' -f 3-5 /tmp/seen | tr '\n' ' ')"
	! grep -q "$client[.]31000 >" /tmp/seen
	result $? "... on a connection of the gateway's: not the client's port"
done
ask counters
case $answer in *'"total":2,'*) ok "the daemon counts two connections: $answer" ;; *) not_ok "two connections: $answer" ;; esac
[ "$(stat_of xa encapsulated)" -gt 500 ] && [ "$(stat_of xa decapsulated)" -gt 500 ]
result $? "through LISP: $(stat_of xa encapsulated) packets sent, $(stat_of xa decapsulated) received"
[ ! -s /tmp/resets ]
result $? "the client never answered what was not for it: no RST"
expect "tproxy(4) forgets the flows when the connections are gone" wait_for 30 no_flows
[ "$(connections)" -eq 0 ]
result $? "... and no socket is left but those that listen"

# A path's MTU falls in the middle of a transfer: lisp(4)'s ICMP is for the client's address, and for our socket. The second
# provider's router can say so to either RLOC.
route4 p2 203.0.111.0/24 203.0.112.1
for address in 198.18.2.10 2001:db8:2::10; do
	before=$(stat_of xa icmp_sent)
	jexec ha $flow send -n 1500000 -r 500000 -t 60 $address 5001 >/tmp/told 2>&1 &
	client=$!
	wait_for 30 busy $(($(stat_of xa decapsulated) + 300))
	for interface in p1:epair3b p2:epair4b; do jexec ${interface%:*} ifconfig ${interface#*:} mtu 1400; done
	wait $client
	result $? "the paths' MTU falls: the transfer completes ($address: $(cat /tmp/told))"
	[ "$(stat_of xa icmp_sent)" -gt "$before" ]
	result $? "... told by $(($(stat_of xa icmp_sent) - before)) ICMP messages"
	for interface in p1:epair3b p2:epair4b; do jexec ${interface%:*} ifconfig ${interface#*:} mtu 1500; done
done

# Twenty at once, of the same client.
for n in 1 2 3 4 5 6 7 8 9 10 11 12 13 14 15 16 17 18 19 20; do
	jexec ha $flow send -n 50000 198.18.2.10 5001 >/dev/null 2>&1 || echo failed >>/tmp/failed &
	clients="$clients $!"
done
wait $clients
[ ! -e /tmp/failed ]
result $? "twenty connections at once"
ask counters
note "daemon: $answer"

for address in 198.18.2.10 2001:db8:2::10; do
	told=$(jexec ha $tproxy connect $address 5002)
	[ "${told%% *}" = refused ]
	result $? "a port that refuses, refuses the client ($address: $told)"
done
for address in 198.18.2.66 2001:db8:2::66; do
	told=$(jexec ha $tproxy connect $address 5001)
	[ "${told%% *}" = unreachable ]
	result $? "a server that cannot be reached, is unreachable to the client ($address: $told)"
done
expect "nothing is left of those either" wait_for 30 no_flows

# Killed in the middle of a transfer.
jexec ha $flow send -n 200000000 198.18.2.10 5001 >/tmp/told 2>&1 &
client=$!
wait_for 30 busy $(($(stat_of xa decapsulated) + 500))
jexec xa sysctl net.inet.tcp.retries=4 >/dev/null
ask kill
wait $agent 2>/dev/null
wait $client
[ $? -ne 0 ]
result $? "killed: the client is told: $(cat /tmp/told)"
no_flows
result $? "... tproxy(4) forgets the flows at once"
no_server() { ! jexec hb netstat -an -p tcp | grep -q '[.]5001 .*ESTAB'; }
expect "... the server is told, too" wait_for 60 no_server
# What they had still to say nobody answers any more: TCP gives up.
no_connections() { [ "$(connections)" -eq 0 ]; }
expect "... and no socket is left" wait_for 60 no_connections
start_agent
ask clean
wait $agent
! jexec xa ifconfig lisp0 >/dev/null 2>&1 && [ -z "$(jexec xa pfctl -a amptcp -s rules 2>/dev/null)" ]
result $? "the guard takes back rules and interface: $answer"
start_agent
ask start client
result $? "the daemon starts again: $answer"
expect "... and connections are made in the client's name again" jexec ha $flow send -n 100000 198.18.2.10 5001
ask stop
result $? "the daemon stops"
wait $agent
no_flows
result $? "... and leaves no flow"
[ -z "$(jexec xa pfctl -a amptcp -s rules 2>/dev/null)" ]
result $? "... no rule"
for jail in ha xa p1 p2 xb hb; do jail -r $jail; done
