# SPDX-License-Identifier: BSD-2-Clause
#
# Guard and daemon as processes of their own, with this kernel under them; see library.sh for the network, gateway.sh for the way of
# a connection.
#
#	guard (host, root) <-> agent (xa, root): pf, modules, devices opened -- descriptors --> agent (xa, amptcp) <-> daemon (host, amptcp)
#
# What clients are sent when nobody proxies them is the ordinary way to the same server: xa, p1, xb.
. /amptcp/library.sh

for module in pf ipdivert; do kldload /boot/kernel/$module.ko; done
kldload /amptcp/tproxy.ko
kldload /amptcp/lisp.ko
writable_etc
add_account amptcp 434

# Mappings are an interface's.
ifconfig lisp create >/dev/null
/amptcp/privileges amptcp
result $? "privileges: all of it was tried"
ifconfig lisp0 destroy

build_network
far_site
host_behind_p1
sysctl net.inet.tcp.rexmit_initial=500 >/dev/null
route4 xa 198.18.2.0/24 203.0.111.254
route6 xa 2001:db8:2::/64 2001:db8:a:1::254
route4 p1 198.18.2.0/24 203.0.121.1
route6 p1 2001:db8:2::/64 2001:db8:b:1::1
route4 p1 198.18.1.0/24 203.0.111.1
route6 p1 2001:db8:1::/64 2001:db8:a:1::1
route4 xb 198.18.1.0/24 203.0.121.254
route6 xb 2001:db8:1::/64 2001:db8:b:1::254
expect "the client reaches the server without the gateway" wait_for 10 jexec ha ping -c 1 -t 1 198.18.2.10
expect "... with IPv6" wait_for 10 jexec ha ping -6 -c 1 -t 1 2001:db8:2::10

# What the administrator has, the anchor's line included; behind it, what clients may do unaccelerated.
cat >/tmp/pf.conf <<'RULES'
set skip on lo0
block all
pass quick inet6 proto icmp6 all icmp6-type { neighbrsol, neighbradv, routersol, routeradv } no state
pass quick on epair1a proto tcp from any to any port 4343 flags any no state
pass quick on epair1a proto tcp from 203.0.150.10 to 203.0.111.1 flags any no state
pass quick on epair1a proto tcp from 203.0.111.1 to 203.0.150.10 flags any no state
anchor "amptcp"
pass in on epair0b proto tcp from any to { 198.18.2.0/24, 2001:db8:2::/64 }
pass out on epair1a proto tcp from { 198.18.1.0/24, 2001:db8:1::/64 } to { 198.18.2.0/24, 2001:db8:2::/64 }
RULES
# Its status is worth nothing where there are no fingerprints of operating systems.
jexec xa pfctl -q -f /tmp/pf.conf 2>/dev/null
jexec xa pfctl -q -e 2>/dev/null
for address in 198.18.2.10 2001:db8:2::10; do serve hb $address 5001; done
jexec hb tcpdump -n -l -i epair5a --immediate-mode 'tcp[tcpflags] & tcp-syn != 0 or ip6 proto 6' >/tmp/seen 2>/tmp/seen.err &
wait_for 10 grep -q listening /tmp/seen.err

rules() { jexec xa pfctl -a amptcp -s rules 2>/dev/null | grep -c .; }
tables() { jexec xa pfctl -a amptcp -s Tables 2>/dev/null | grep -c .; }
flows() { jexec xa sysctl -n net.inet.tproxy.flows; }
# seen_from ADDRESS...: packets the server had from them.
seen_from() { grep -c "IP6* $1[. ]" /tmp/seen; }
state() {
	echo "rules $(rules) tables $(tables) flows $(flows) hold $(jexec xa sysctl -n net.inet.tproxy.hold_ms)" \
	    "interfaces $(jexec xa ifconfig -l) modules $(kldstat | awk 'NR > 1 { print $5 }' | sort | tr '\n' ' ')" \
	    "routes $(jexec xa netstat -rn -F 0 | awk 'NF > 3 { print $1, $NF }' | sort | md5)" \
	    "fib1 $(jexec xa netstat -rn -F 1 2>/dev/null | grep -c default)"
}
# emptied: waits until the anchor is empty; milliseconds since the kill in $answer.
emptied() {
	jexec xa /amptcp/privileges -w amptcp
	ask since
}
start_agent() {
	agent=
	is_native start gateway && return
	jexec xa /amptcp/agent -f 1024 203.0.111.1 4343 &
	agent=$!
	wait_for 10 listening xa 4343
}

# What stands for guard and daemon in the guest.
if is_native start gateway; then program=node; else program=agent; fi
state >/tmp/before
start_agent
ask start gateway
started=$?
result $started "guard and daemon start: $answer"
[ $started -eq 0 ] || exit
note "$(state)"
[ "$(rules)" -gt 10 ]
result $? "the anchor has $(rules) rules and $(tables) tables"
ask user gateway
[ "$answer" = 434 ] && [ "$(pgrep -u amptcp "$program" | wc -l)" -eq 1 ] && [ "$(pgrep -u root "$program" | wc -l)" -eq 1 ]
result $? "the daemon is amptcp's, here and there, the guard root's"
inner=$(pgrep -u amptcp "$program")
note "handed over: $(fstat -p "$inner" | awk '$4 >= 1024 { print $5, $NF }' | grep -v null | sort | uniq -c | tr '\n' ';')"
for address in 198.18.2.10 2001:db8:2::10; do
	expect "proxied: same octets at both ends ($address)" jexec ha $flow send -n 300000 $address 5001
done
[ "$(seen_from 198.18.1.10)" -eq 0 ] && [ "$(seen_from 192.0.2.9)" -gt 0 ]
result $? "... the server saw the gateway, not the client"

# The daemon is killed. Each time the guard waits twice as long before it starts another.
worst=0
for n in 1 2 3 4; do
	ask kill gateway daemon || not_ok "kill: $answer"
	emptied
	note "killed: anchor empty after at most $answer ms"
	[ "$answer" -gt $worst ] && worst=$answer
	[ $n -eq 4 ] && break
	ask restarted gateway || not_ok "restarted: $answer"
done
[ $worst -le 1000 ]
result $? "the daemon killed four times: the anchor is empty within $worst ms at most"
[ "$(flows)" -eq 0 ]
result $? "... nothing is registered in tproxy(4)"
for address in 198.18.2.10 2001:db8:2::10; do
	expect "new connections pass unproxied ($address)" jexec ha $flow send -n 100000 $address 5001
done
[ "$(rules)" -eq 0 ] && [ "$(seen_from 198.18.1.10)" -gt 0 ]
result $? "... the server saw the client itself, with the anchor still empty"
ask restarted gateway
result $? "the guard starts the daemon again: $answer after it was killed"
[ "$(rules)" -gt 10 ]
result $? "... the anchor is loaded again: $(rules) rules"
before=$(seen_from 198.18.1.10)
for address in 198.18.2.10 2001:db8:2::10; do
	expect "... the next connection is proxied ($address)" jexec ha $flow send -n 100000 $address 5001
done
[ "$(seen_from 198.18.1.10)" -eq "$before" ]
result $? "... as the server saw"

ask stop gateway
result $? "SIGTERM of the guard: both end with status 0 ($answer)"
[ -z "$agent" ] || wait $agent
state >/tmp/after
cmp -s /tmp/before /tmp/after
result $? "... and leave nothing: $(cat /tmp/after)"
cmp -s /tmp/before /tmp/after || note "before: $(cat /tmp/before)"

# The guard is killed: the daemon may run nothing, but was handed /dev/pf.
start_agent
ask start gateway
result $? "guard and daemon start again: $answer"
ask kill gateway guard
emptied
[ "$answer" -le 1000 ]
result $? "the guard killed: its daemon empties the anchor within $answer ms"
[ -z "$agent" ] || wait $agent
expect "... and ends" wait_for 10 sh -c "! pgrep -q -u amptcp $program"
expect "... clients pass" jexec ha $flow send -n 100000 198.18.2.10 5001
start_agent
ask start gateway
result $? "what it left is in nobody's way: $answer"
expect "... and connections are proxied" jexec ha $flow send -n 100000 198.18.2.10 5001
ask stop gateway
result $? "the guard ends: $answer"
[ -z "$agent" ] || wait $agent
state >/tmp/after
cmp -s /tmp/before /tmp/after
result $? "... and leaves nothing"
cmp -s /tmp/before /tmp/after || note "$(cat /tmp/after)"

# From the client's own address: by sockets that the guard has made, since the daemon's user may not.
jexec xb route -q delete -net 198.18.1.0/24
jexec xb route -q add -net 198.18.1.0/24 -iface lisp0
jexec xb $lisp map 0 198.18.1.0/24 203.0.111.1,1,1 203.0.112.1,1,1
start_agent
ask config gateway client && ask start gateway
result $? "source = client: guard and daemon start: $answer"
ask user gateway
[ "$answer" = 434 ]
result $? "... the daemon is amptcp's"
encapsulated=$(stat_of xa encapsulated)
nat=$(seen_from '192.0.2.[0-9]*')
own=$(seen_from 198.18.1.10)
expect "... same octets at both ends" jexec ha $flow send -n 300000 198.18.2.10 5001
[ "$(seen_from 198.18.1.10)" -gt "$own" ] && [ "$(seen_from '192.0.2.[0-9]*')" -eq "$nat" ] &&
    [ "$(stat_of xa encapsulated)" -gt $((encapsulated + 100)) ]
result $? "... the server saw the client's address, the packets went by LISP"
ask stop gateway
result $? "... both end: $answer"
[ -z "$agent" ] || wait $agent
for jail in ha xa p1 p2 xb hb; do jail -r $jail; done
