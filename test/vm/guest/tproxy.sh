# SPDX-License-Identifier: BSD-2-Clause
#
# The gateway's interception: pf's divert-to and tproxy(4), under a ruleset that blocks what it does not name.
#
#	c ---- r ---- g ---- s
#
#	c	client			198.18.1.10, 2001:db8:1::10
#	r	a router on the way	whose interface towards c gets a smaller MTU
#	g	gateway			198.18.3.1 towards c, 198.18.2.1 towards s; pf, tproxy(4), the test gateway
#	s	server			198.18.2.10, 2001:db8:2::10; its packet capture has what reaches it from c itself
#
# IPv4 SYNs come to the gateway by divert(4), IPv6 ones by tproxy(4).
. /amptcp/library.sh
. /amptcp/tproxy-network.sh

kldload /boot/kernel/pf.ko
kldload /boot/kernel/ipdivert.ko
kldload /amptcp/tproxy.ko
result $? "the module loads"
build_tproxy_network
load_rules
result $? "the rules load in an anchor under 'block all'"
serve s 198.18.2.10 5001
serve s 2001:db8:2::10 5001
serve s 198.18.2.10 6001
serve s 2001:db8:2::10 6001
watch_server
start_gateway

# Each way of forwarding there is: fast, and slow where redirects are sent.
for redirect in 0 1; do
	jexec g sysctl net.inet.ip.redirect=$redirect net.inet6.ip6.redirect=$redirect >/dev/null
	for address in 198.18.2.10 2001:db8:2::10; do
		way="$address, redirects $redirect"
		before=$(said 'accepted')
		diverted=$(said 'syn')
		expect "proxied: same octets at both ends, both ways ($way)" jexec c $flow send -n 1000000 $address 5001
		note "$_output"
		[ $(($(said accepted) - before)) -eq 1 ]
		result $? "... the gateway accepted it under its original destination"
		[ $(($(said syn) - diverted)) -eq 1 ] && [ "$(said 'odd\|repeated')" -eq 0 ]
		result $? "... and saw one SYN and nothing else of it"
		expect "bypassed: same octets at both ends, both ways ($way)" jexec c $flow send -n 300000 $address 6001
	done
done
[ "$(said bypassed)" -eq 4 ]
result $? "the gateway let four connections pass"
[ "$(server_saw 6001)" -gt 100 ] && [ "$(server_saw 5001)" -eq 0 ]
result $? "the server saw the client in what was bypassed ($(server_saw 6001) packets), never in what was proxied"

# What the server says of itself reaches the client.
for address in 198.18.2.10 2001:db8:2::10; do
	told=$(jexec c $tproxy connect $address 5002)
	[ "${told%% *}" = refused ]
	result $? "a port that refuses, refuses the client ($address: $told)"
done
jexec g route -q add -net 198.18.4.0/24 198.18.2.99 -reject
jexec g route -q -6 add -net 2001:db8:4::/64 2001:db8:2::99 -reject
for address in 198.18.4.10 2001:db8:4::10; do
	told=$(jexec c $tproxy connect $address 5003)
	[ "${told%% *}" = unreachable ]
	result $? "a server that cannot be reached, is unreachable to the client ($address: $told)"
done
[ "$(said unreachable)" -ge 2 ]
result $? "... as the gateway said"

# A SYN that comes again while the first one is held.
stop_gateway
start_gateway -w 2600
for address in 198.18.2.10 2001:db8:2::10; do
	before=$(said accepted)
	again=$(($(said repeated) + $(stat_tproxy repeated)))
	expect "a slow decision ($address)" jexec c $flow send -n 100000 $address 5001
	again=$(($(said repeated) + $(stat_tproxy repeated) - again))
	[ $again -ge 1 ] && [ $(($(said accepted) - before)) -eq 1 ]
	result $? "... $again repeated SYNs matched to the one held"
done
stop_gateway

# Held too long, and too many held.
serve s 2001:db8:2::10 5010
jexec g sysctl net.inet.tproxy.hold_ms=60000 >/dev/null
start_gateway -h 500
before=$(stat_tproxy timedout)
expect "a SYN nobody decides about passes when the time said with the rules is over" \
    jexec c $flow send -n 100000 2001:db8:2::10 5010
[ $(($(stat_tproxy timedout) - before)) -eq 1 ]
result $? "... counted"
stop_gateway
jexec g sysctl net.inet.tproxy.hold_ms=500 >/dev/null
start_gateway
before=$(stat_tproxy timedout)
expect "... and that of the switch, where none was said" jexec c $flow send -n 100000 2001:db8:2::10 5010
[ $(($(stat_tproxy timedout) - before)) -eq 1 ]
result $? "... counted"
jexec g sysctl net.inet.tproxy.hold_ms=3000 net.inet.tproxy.hold_max=0 >/dev/null
before=$(stat_tproxy overflowed)
expect "... and at once when as many as may are held" jexec c $flow send -n 100000 2001:db8:2::10 5010
[ $(($(stat_tproxy overflowed) - before)) -ge 1 ]
result $? "... counted"
jexec g sysctl net.inet.tproxy.hold_max=1024 >/dev/null
jexec c $tproxy connect -k 2001:db8:2::10 5010 >/tmp/orphan &
orphan=$!
held() { [ "$(jexec g sysctl -n net.inet.tproxy.held)" -eq 1 ]; }
wait_for 10 held
result $? "a SYN is held"
before=$(stat_tproxy orphaned)
stop_gateway
through() { grep -q connected /tmp/orphan; }
wait_for 10 through
result $? "... and passes when the daemon is killed"
[ $(($(stat_tproxy orphaned) - before)) -eq 1 ]
result $? "... counted"
kill $orphan
wait $orphan 2>/dev/null
[ "$(jexec g sysctl -n net.inet.tproxy.flows)" -eq 0 ]
result $? "no flows are left with the daemon gone"
expect "IPv6 passes without the daemon" jexec c $flow send -n 100000 2001:db8:2::10 5001
jexec g pfctl -q -a amptcp -F rules
jexec g pfctl -q -a bypass -f /tmp/bypass.conf
expect "IPv4 passes with the anchor flushed" jexec c $flow send -n 100000 198.18.2.10 5001
jexec g pfctl -q -a bypass -F rules
load_rules

# ICMP about a registered flow: a smaller MTU on the way back to the client.
jexec r sysctl net.inet.ip.redirect=0 net.inet6.ip6.redirect=0 >/dev/null
start_gateway
# Only the router knows: packets towards it may be as large as ever.
jexec r ifconfig epair0b mtu 1300
before=$(stat_tproxy icmp)
expect "path MTU discovery towards the client works" jexec c $flow send -n 300000 198.18.2.10 5001
note "$_output"
[ $(($(stat_tproxy icmp) - before)) -ge 1 ]
result $? "... by ICMP delivered to the gateway ($(($(stat_tproxy icmp) - before)))"
before=$(stat_tproxy icmp)
expect "... with IPv6" jexec c $flow send -n 300000 2001:db8:2::10 5001
[ $(($(stat_tproxy icmp) - before)) -ge 1 ]
result $? "... by ICMPv6 delivered to the gateway ($(($(stat_tproxy icmp) - before)))"
jexec r ifconfig epair0b mtu 1500

# What comes late. TIME_WAIT is short here, so that its end is seen.
stop_gateway
jexec g sysctl net.inet.tcp.msl=1500 net.inet.tproxy.linger=4 >/dev/null
start_gateway
before=$(server_saw 5001)
for way in "198.18.1.10 4101 198.18.2.10" "2001:db8:1::10 4102 2001:db8:2::10"; do
	set -- $way
	jexec c $flow send -n 100000 -s $1 -p $2 $3 5001 >/dev/null
	result $? "a connection from a port of its own ($1)"
	late=$(stat_tproxy late)
	for flags in A AF R AF; do jexec c $tproxy segment $1 $2 $3 5001 $flags; done
	in_state() { jexec g $tproxy list | grep "[:.]$2 .* $1\$"; }
	wait_for 20 in_state gone $2
	result $? "... its flow outlives it, TIME_WAIT included"
	for flags in A AF R AF; do jexec c $tproxy segment $1 $2 $3 5001 $flags; done
	[ $(($(stat_tproxy late) - late)) -ge 4 ]
	result $? "... late packets are the gateway's ($(($(stat_tproxy late) - late)))"
	not_listed() { ! jexec g $tproxy list | grep "[:.]$1 "; }
	wait_for 20 not_listed $2
	result $? "... and at last it is collected"
	jexec c $flow send -n 100000 -s $1 -p $2 $3 5001 >/dev/null
	result $? "a new connection of the same ports, while the old one is remembered or not"
	jexec c $flow send -n 100000 -s $1 -p $2 $3 5001 >/dev/null
	result $? "... and once more, at once"
done
sleep 0.5
[ "$(server_saw 5001)" -eq "$before" ]
result $? "no packet of the client's reached the server's proxied port"

# Counts.
stop_gateway
jexec g sysctl net.inet.tproxy.connect_timeout=8 >/dev/null
jexec g $tproxy fill 10000 100 >/tmp/fill &
filler=$!
filled() { grep -q listed /tmp/fill; }
wait_for 60 filled
result $? "10,000 flows: $(tr '\n' ' ' </tmp/fill)"
expect "while there are flows the module stays" sh -c '! kldunload tproxy'
none() { [ "$(jexec g sysctl -n net.inet.tproxy.flows)" -eq 0 ]; }
wait_for 40 none
result $? "... all collected when no connection came ($(stat_tproxy expired))"
kill -9 $filler
wait $filler 2>/dev/null
jexec g sysctl net.inet.tproxy.connect_timeout=75 >/dev/null
jexec g $tproxy fill 10000 100 >/tmp/fill &
filler=$!
wait_for 60 filled
jexec g pkill -9 tproxy
wait $filler 2>/dev/null
wait_for 5 none
result $? "10,000 flows are gone with the descriptor of a daemon that was killed"

jexec g $tproxy stats | sed 's/^/# /'
kldunload tproxy
result $? "the module unloads"
vmstat -m | awk '$1 == "tproxy" { found = 1 } END { exit found }'
result $? "no memory of the module's type is left"
