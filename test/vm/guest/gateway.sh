# SPDX-License-Identifier: BSD-2-Clause
#
# The daemon's TypeScript on a real FreeBSD: a client's connection from its SYN to the server.
#
#	ha ---- xa ==== p1 ==== xb ---- hb		(the network of library.sh)
#	          \==== p2 ====/
#
#	ha	client
#	xa	the gateway: pf under 'block all', tproxy(4), lisp(4); an agent does what the daemon, on the host, calls
#	xb	xTR of the server's site: lisp(4), set up by hand
#	hb	server: 198.18.2.10 and 2001:db8:2::10 are EIDs, behind LISP only;
#		198.18.3.10 and 2001:db8:3::10 have no mapping and are reached by ordinary routes, 198.18.7.10 by NAT
#
#	ha: SYN -> xa: divert(4) | tproxy(4) -> agent -> daemon: decide, plan -> agent: TCP by lisp0 -> xb -> hb
#	   <- SYN-ACK, once hb has answered <-
. /amptcp/library.sh
tproxy=/amptcp/tproxy

for module in pf ipdivert; do kldload /boot/kernel/$module.ko; done
kldload /amptcp/tproxy.ko
kldload /amptcp/lisp.ko
build_network
sysctl net.inet.tcp.rexmit_initial=500 >/dev/null
jexec xa sysctl net.inet.icmp.icmplim=0 >/dev/null

far_site

# Ordinary routes to what has no mapping.
jexec xb ifconfig epair5b inet 198.18.3.1/24 alias
jexec xb ifconfig epair5b inet6 2001:db8:3::1/64 no_dad alias
jexec hb ifconfig epair5a inet 198.18.3.10/24 alias
jexec hb ifconfig epair5a inet6 2001:db8:3::10/64 no_dad alias
jexec hb ifconfig epair5a inet 198.18.7.10/24 alias
jexec xb ifconfig epair5b inet 198.18.7.1/24 alias
route4 xa 198.18.7.0/24 203.0.111.254
route4 p1 198.18.7.0/24 203.0.121.1
route4 xa 198.18.3.0/24 203.0.111.254
route6 xa 2001:db8:3::/64 2001:db8:a:1::254
route4 p1 198.18.3.0/24 203.0.121.1
route6 p1 2001:db8:3::/64 2001:db8:b:1::1
route4 p1 198.18.1.0/24 203.0.111.1
route6 p1 2001:db8:1::/64 2001:db8:a:1::1
route4 xb 198.18.1.0/24 203.0.121.254
route6 xb 2001:db8:1::/64 2001:db8:b:1::254
expect "the client reaches what has no mapping" wait_for 10 jexec ha ping -c 1 -t 1 198.18.3.10
expect "... with IPv6" wait_for 10 jexec ha ping -6 -c 1 -t 1 2001:db8:3::10

# The administrator's rules; the gateway's own come from the daemon.
cat >/tmp/pf.conf <<'RULES'
set skip on { lo0, vtnet0 }
nat on epair1a inet from 198.18.1.0/24 to 198.18.7.0/24 -> (epair1a)
block all
pass quick inet6 proto icmp6 all icmp6-type { neighbrsol, neighbradv, routersol, routeradv } no state
anchor "amptcp"
pass out quick on epair1a proto tcp from { 198.18.1.0/24, 2001:db8:1::/64 } to { 198.18.3.0/24, 2001:db8:3::/64 }
pass out quick on epair1a proto tcp from (epair1a) to 198.18.7.0/24
RULES
ifconfig vtnet0 vnet xa
jexec xa ifconfig vtnet0 inet 10.0.2.15/24 up

start_agent
ask start
case $answer in *'pf is not enabled'*) ok "without pf the daemon does not start, and says why" ;; *) not_ok "without pf: $answer" ;; esac
ask kill
wait $agent
# Its status is worth nothing where there are no fingerprints of operating systems.
jexec xa pfctl -q -f /tmp/pf.conf 2>/dev/null
jexec xa pfctl -q -e 2>/dev/null
start_agent
ask start
result $? "the daemon starts on FreeBSD's kernel: $answer"
jexec xa pfctl -a amptcp -s rules >/tmp/rules 2>/dev/null
[ "$(grep -c 'divert-to' /tmp/rules)" -eq 1 ]
result $? "its rules are in the anchor: $(grep -c . /tmp/rules), one of which diverts"
jexec xa ifconfig lisp0 | grep -q 'inet 192.0.2.9 '
result $? "its EIDs are lisp0's"

for address in 198.18.2.10 2001:db8:2::10 198.18.3.10 2001:db8:3::10; do serve hb $address 5001; done
watch_server() {
	jexec hb tcpdump -n -l -i epair5a --immediate-mode 'tcp and (src host 198.18.1.10 or src host 2001:db8:1::10)' \
	    >/tmp/seen 2>/tmp/seen.err &
	wait_for 10 grep -q listening /tmp/seen.err
}
watch_server

for address in 198.18.2.10 2001:db8:2::10; do
	expect "proxied: same octets at both ends, both ways ($address)" jexec ha $flow send -n 1000000 $address 5001
	note "$_output"
done
ask counters
note "daemon: $answer"
case $answer in *'"total":2,'*'"up":1000000'* | *'"total":2,'*) ok "the daemon counts two connections" ;; *) not_ok "two connections" ;; esac
[ "$(grep -c '198.18.1.10\|2001:db8:1::10' /tmp/seen)" -eq 0 ]
result $? "the server saw the gateway, never the client"
[ "$(stat_of xa encapsulated)" -gt 500 ] && [ "$(stat_of xa decapsulated)" -gt 500 ]
result $? "through LISP: $(stat_of xa encapsulated) packets sent, $(stat_of xa decapsulated) received"
ask pins
note "pins: $answer"

for address in 198.18.3.10 2001:db8:3::10; do
	expect "no mapping: passes, same octets at both ends ($address)" jexec ha $flow send -n 300000 $address 5001
done
[ "$(grep -c '198.18.1.10\|2001:db8:1::10' /tmp/seen)" -gt 100 ]
result $? "... and the server saw the client itself ($(grep -c '198.18.1.10\|2001:db8:1::10' /tmp/seen) packets)"
ask counters
case $answer in *'"bypassed":2'*) ok "... let go twice" ;; *) not_ok "let go twice: $answer" ;; esac
ask bypass
case $answer in *198.18.3.10/32*2001:db8:3::10/128*) ok "... and remembered: $answer" ;; *) not_ok "remembered: $answer" ;; esac
expect "left alone it does not come to the daemon again" jexec ha $flow send -n 100000 198.18.3.10 5001
ask counters
case $answer in *'"bypassed":2'*) ok "... as the daemon says" ;; *) not_ok "as the daemon says: $answer" ;; esac

serve hb 198.18.7.10 5001
before=$(grep -c '198.18.1.10' /tmp/seen)
expect "no mapping, and NAT of the administrator's: passes" jexec ha $flow send -n 300000 198.18.7.10 5001
[ "$(grep -c '198.18.1.10' /tmp/seen)" -eq "$before" ]
result $? "... translated"

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
ask reload
result $? "the configuration is read again: $answer"
expect "... and connections are proxied as before" jexec ha $flow send -n 100000 198.18.2.10 5001

# Fail open: the daemon, or its guard, is gone.
rules() { jexec xa pfctl -a amptcp -s rules 2>/dev/null | grep -c .; }
ask flush
[ "$(rules)" -eq 0 ]
result $? "a descriptor of /dev/pf is enough to empty the anchor ($answer)"
ask reload
[ "$(rules)" -gt 10 ]
result $? "... and the daemon fills it again: $(rules) rules"
ask kill
wait $agent
expect "with the daemon killed IPv6 passes at once" jexec ha $flow send -n 100000 2001:db8:3::10 5001
[ "$(jexec xa sysctl -n net.inet.tproxy.flows)" -eq 0 ]
result $? "... and its flows are forgotten"
start_agent
ask clean
result $? "the guard takes back what it left: $answer"
wait $agent
[ "$(rules)" -eq 0 ] && ! jexec xa ifconfig lisp0 >/dev/null 2>&1
result $? "... rules and interface"
# By the administrator's rules for what is not the gateway's.
cat >>/tmp/pf.conf <<'RULES'
pass in quick on epair0b proto tcp from any to { 198.18.3.0/24, 2001:db8:3::/64 }
RULES
jexec xa pfctl -q -f /tmp/pf.conf 2>/dev/null
expect "... and IPv4 passes unaccelerated" jexec ha $flow send -n 100000 198.18.3.10 5001
start_agent
ask start
result $? "the daemon starts again: $answer"
expect "... and proxies" jexec ha $flow send -n 100000 198.18.2.10 5001

# Plain TCP: nothing comes through by the path the connection uses, and the site gives up its RLOC.
jexec ha $flow send -n 800000 -r 50000 -t 300 198.18.2.10 5001 >/tmp/moved 2>&1 &
moved=$!
on() { ask used; [ "$answer" = "$1" ]; }
expect "a connection over the first path" wait_for 30 on 203.0.121.1
jexec p1 route -q add -host 203.0.121.1 127.0.0.1 -blackhole
ask rlocs 203.0.122.1
result $? "... whose RLOC the site gives up: $answer"
wait $moved
result $? "... goes on over the second, same octets at both ends, both ways ($(tail -1 /tmp/moved))"
ask counters
case $answer in *'"subflowsMoved":1'*) ok "... as the daemon says" ;; *) not_ok "as the daemon says: $answer" ;; esac
jexec p1 route -q delete -host 203.0.121.1

ask stop
result $? "the daemon stops"
wait $agent
[ -z "$(jexec xa pfctl -a amptcp -s rules 2>/dev/null)" ]
result $? "... its rules are gone"
refuse "... its interface too" jexec xa ifconfig lisp0
[ "$(jexec xa sysctl -n net.inet.tproxy.flows)" -eq 0 ]
result $? "... and its flows"
for jail in ha xa p1 p2 xb hb; do jail -r $jail; done
