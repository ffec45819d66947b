# SPDX-License-Identifier: BSD-2-Clause
#
# A path's MTU falls in mid-transfer: a router on it answers with ICMP, lisp(4) learns, senders are told, TCP goes on, and
# nothing is left spinning. Senders behind the xTR and on it, routers on the way and the xTR's own interface.
. /amptcp/library.sh

kldload /amptcp/lisp.ko
build_network
add_lisp
serve hb 0.0.0.0 5001
serve hb :: 5002

# A processor that spins would leave 50 at most. Percent of all processors' time spent idle in the second that begins now.
idle_percent() {
	_before=$(sysctl -n kern.cp_time)
	sleep 1
	echo "$_before $(sysctl -n kern.cp_time)" |
	    awk '{ all = 0; for (i = 1; i <= 5; i++) all += $(i + 5) - $i; print all ? int(100 * ($10 - $5) / all) : 0 }'
}

mtu_of() { # JAIL LOCAL REMOTE
	jexec "$1" $lisp paths | awk -v l="$2" -v r="$3" '$1 == l && $2 == r { print $5 }'
}

case_number=20

# lowered NAME SENDER FAMILY RLOC-FAMILY JAIL INTERFACE MTU EXPECTED-INNER
lowered() {
	_title=$1 _jail=$2 _family=$3 _underlay=$4 _where=$5 _interface=$6 _mtu=$7 _inner=$8
	# A new lisp0 and new addresses: what an earlier case has taught xTR and hosts does not count.
	jexec xa ifconfig lisp0 destroy
	add_lisp xa
	case_number=$((case_number + 1))
	if [ "$_family" = 4 ]; then
		_local=198.18.1.$case_number _remote=198.18.2.$case_number
		jexec hb ifconfig epair5a inet $_remote/32 alias
		if [ $_jail = ha ]; then
			jexec ha ifconfig epair0a inet $_local/32 alias
		else
			jexec xa ifconfig lisp0 inet $_local/32 alias
		fi
	else
		_local=2001:db8:1::$case_number _remote=2001:db8:2::$case_number
		jexec hb ifconfig epair5a inet6 $_remote/128 alias
		if [ $_jail = ha ]; then
			jexec ha ifconfig epair0a inet6 $_local/128 alias
		else
			jexec xa ifconfig lisp0 inet6 $_local/128 alias
		fi
	fi
	map_sites "$_underlay"
	if [ "$_underlay" = 4 ]; then
		_rlocs="203.0.111.1 203.0.121.1"
	else
		_rlocs="2001:db8:a:1::1 2001:db8:b:1::1"
	fi
	_port=5001
	[ "$_family" = 6 ] && _port=5002
	jexec xa $lisp pin 0 6 "$_local" 4002 "$_remote" $_port $_rlocs
	jexec xa $lisp events 60 >/tmp/events &
	_listener=$!
	_before=$(sent xa $_rlocs)
	jexec "$_jail" $flow send -n 1500000 -r 500000 -t 30 -s "$_local" -p 4002 "$_remote" $_port >/tmp/transfer 2>&1 &
	_transfer=$!
	_under_way() { [ $(($(sent xa $_rlocs) - _before)) -ge 100 ]; }
	wait_for 20 _under_way
	jexec "$_where" ifconfig "$_interface" mtu "$_mtu"
	_sent=$(stat_of xa encapsulated)
	wait $_transfer
	result $? "$_title: the transfer completes: $(cat /tmp/transfer)"
	_idle=$(idle_percent)
	[ "$_idle" -ge 75 ]
	result $? "$_title: the processors are idle a second later ($_idle %)"
	[ "$(mtu_of xa $_rlocs)" -eq "$_inner" ]
	result $? "$_title: the path takes inner packets of $(mtu_of xa $_rlocs) octets, $_inner expected"
	grep -q "^mtu .* $_inner\$" /tmp/events
	result $? "$_title: an event told of it: $(grep '^mtu' /tmp/events | head -1)"
	kill $_listener 2>/dev/null
	wait $_listener 2>/dev/null
	[ "$(stat_of xa icmp_sent)" -gt 0 ] && [ "$(stat_of xa icmp_sent)" -lt 60 ]
	result $? "$_title: the sender was told $(stat_of xa icmp_sent) times, $(stat_of xa drop.too-big) packets dropped"
	jexec "$_where" ifconfig "$_interface" mtu 1500
}

lowered "router, IPv4 over IPv4" ha 4 4 p1 epair3b 1400 1364
lowered "router, IPv6 over IPv4" ha 6 4 p1 epair3b 1400 1364
lowered "router, IPv4 over IPv6" ha 4 6 p1 epair3b 1400 1344
lowered "router, IPv6 over IPv6" ha 6 6 p1 epair3b 1400 1344
lowered "router, from the xTR itself" xa 4 4 p1 epair3b 1400 1364
lowered "router, IPv6 from the xTR itself" xa 6 4 p1 epair3b 1400 1364
lowered "own interface" ha 4 4 xa epair1a 1400 1364
lowered "own interface, from the xTR itself" xa 4 4 xa epair1a 1400 1364
lowered "own interface, IPv6 over IPv6" ha 6 6 xa epair1a 1400 1344

# Without DF the inner packet is fragmented.
map_sites 4
expect "a large ping without DF passes in fragments" jexec ha ping -c 2 -i 0.3 -s 3000 -t 5 198.18.2.10
jexec p1 ifconfig epair3b mtu 1400
jexec xa $lisp map 0 198.18.2.0/24 203.0.121.1,1,1 203.0.122.1,2,1
jexec ha ping -D -c 2 -i 0.3 -s 1416 -t 2 198.18.2.10 >/dev/null
expect "... also over a path whose MTU has fallen" jexec ha ping -c 2 -i 0.3 -s 1416 -t 5 198.18.2.10
[ "$(stat_of xa fragmented)" -gt 0 ]
result $? "... before encapsulation ($(stat_of xa fragmented) packets)"
jexec xa sysctl net.inet.lisp.stats | awk '$2 != 0' | sed 's/^/# /'
for j in ha xa p1 p2 xb hb; do jail -r $j >/dev/null; done
kldunload lisp
result $? "the module unloads"
