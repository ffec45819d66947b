# SPDX-License-Identifier: BSD-2-Clause
#
# The network of the tproxy scenarios (see tproxy.sh), read by them after library.sh.
tproxy=/amptcp/tproxy

build_tproxy_network() {
	for _n in 0 1 2; do
		ifconfig "epair$_n" create >/dev/null
	done
	make_jail c epair0a
	make_jail r epair0b epair1a
	make_jail g epair1b epair2a
	make_jail s epair2b
	address c epair0a 198.18.1.10/24 2001:db8:1::10/64
	address r epair0b 198.18.1.1/24 2001:db8:1::1/64
	address r epair1a 198.18.3.254/24 2001:db8:3::254/64
	address g epair1b 198.18.3.1/24 2001:db8:3::1/64
	address g epair2a 198.18.2.1/24 2001:db8:2::1/64
	address s epair2b 198.18.2.10/24 2001:db8:2::10/64
	route4 c 0.0.0.0/0 198.18.1.1
	route6 c ::/0 2001:db8:1::1
	for _n in 2 4; do
		route4 r 198.18.$_n.0/24 198.18.3.1
		route6 r 2001:db8:$_n::/64 2001:db8:3::1
	done
	route4 g 198.18.1.0/24 198.18.3.254
	route6 g 2001:db8:1::/64 2001:db8:3::254
	route4 s 0.0.0.0/0 198.18.2.1
	route6 s ::/0 2001:db8:2::1
	wait_for 10 jexec c ping -c 1 -t 1 198.18.2.10
	wait_for 10 jexec c ping -6 -c 1 -t 1 2001:db8:2::10
	jexec c ping -6 -c 1 -t 1 2001:db8:2::10 >/dev/null
	# Repeated SYNs come soon, and probing with many connections is no flood.
	sysctl net.inet.tcp.rexmit_initial=500 >/dev/null
	jexec g sysctl net.inet.icmp.icmplim=0 >/dev/null
}

# An administrator's pf.conf that blocks by default, and the product's rules in their anchor.
load_rules() {
	cat >/tmp/pf.conf <<'RULES'
block all
pass quick inet6 proto icmp6 all icmp6-type { neighbrsol, neighbradv, routersol, routeradv } no state
anchor "amptcp"
anchor "bypass"
RULES
	cat >/tmp/amptcp.conf <<'RULES'
table <eids> { 198.18.2.0/24, 198.18.4.0/24, 2001:db8:2::/64, 2001:db8:4::/64 }
pass in  quick on epair1b inet  proto tcp from any to <eids> flags S/SA no state divert-to 127.0.0.1 port 7000
pass in  quick on epair1b       proto tcp from any to <eids> flags any no state
pass out quick on epair1b       proto tcp from <eids> to any flags any no state
pass in  quick on epair1b inet  proto icmp all icmp-type { unreach, timex } no state
pass out quick on epair1b inet  proto icmp all icmp-type { unreach, timex } no state
pass in  quick on epair1b inet6 proto icmp6 all icmp6-type { unreach, toobig, timex } no state
pass out quick on epair1b inet6 proto icmp6 all icmp6-type { unreach, toobig, timex } no state
pass out quick on epair2a proto tcp from any to <eids>
RULES
	cat >/tmp/bypass.conf <<'RULES'
pass proto tcp all flags any no state
RULES
	# Its status is worth nothing where there are no fingerprints of operating systems.
	jexec g pfctl -q -f /tmp/pf.conf 2>/dev/null
	jexec g pfctl -s rules 2>/dev/null | grep -q 'block drop all' || return 1
	jexec g pfctl -q -a amptcp -f /tmp/amptcp.conf || return 1
	jexec g pfctl -q -e 2>/dev/null
	jexec g pfctl -s info 2>/dev/null | grep -q 'Status: Enabled'
}

# start_gateway [OPTION...]: the test gateway, its words in /tmp/gateway.
start_gateway() {
	: >>/tmp/gateway
	: >/tmp/gateway.ready
	jexec g $tproxy gateway "$@" 7000 7001 2001:db8:2::/64 2001:db8:4::/64 >/tmp/gateway.ready 2>&1 &
	gateway=$!
	wait_for 10 grep -q ready /tmp/gateway.ready || cat /tmp/gateway.ready
}
# As a crash would: nothing is tidied up.
stop_gateway() {
	jexec g pkill -9 tproxy
	wait $gateway 2>/dev/null
	cat /tmp/gateway.ready >>/tmp/gateway
	: >/tmp/gateway.ready
}
# said WORD: how many lines of the gateway begin so, all its lives.
said() { cat /tmp/gateway /tmp/gateway.ready 2>/dev/null | grep -c "^\($1\)"; }

stat_tproxy() { jexec g sysctl -n "net.inet.tproxy.stats.$1"; }

# What reaches the server from the client's own addresses.
watch_server() {
	jexec s tcpdump -n -l -i epair2b --immediate-mode 'tcp and (src host 198.18.1.10 or src host 2001:db8:1::10)' \
	    >/tmp/seen 2>/tmp/seen.err &
	wait_for 10 grep -q listening /tmp/seen.err
}
server_saw() { grep -c "> [^ ]*[.]$1: " /tmp/seen; }
