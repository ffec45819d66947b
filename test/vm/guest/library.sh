# SPDX-License-Identifier: BSD-2-Clause
#
# What the scenarios share: TAP, waiting, and the test network of jails, each with its own network stack.
#
#   ha ---- xa ==== p1 ==== xb ---- hb
#             \==== p2 ====/
#
#   ha, hb   hosts with EIDs: 198.18.1.10, 2001:db8:1::10 and 198.18.2.10, 2001:db8:2::10
#   xa, xb   xTRs with lisp0; RLOCs 203.0.11N.1 and 203.0.12N.1, 2001:db8:a:N::1 and 2001:db8:b:N::1 at provider N
#   p1, p2   providers: routers, each its own
#
# Each xTR has its default routes of the underlay by FIB 0 towards both providers' prefixes only, so that nothing but lisp0
# leads from one site to the other.

PATH=/amptcp:/bin:/sbin:/usr/bin:/usr/sbin
export PATH
lisp=/amptcp/lisp
. /amptcp/native.sh
exec 3>&1
flow=/amptcp/flow

ok() { echo "ok - $*"; }
not_ok() { echo "not ok - $*"; }
note() { echo "# $*"; }

# result STATUS NAME: TAP from an exit status.
result() {
	_status=$1
	shift
	if [ "$_status" -eq 0 ]; then ok "$@"; else not_ok "$@"; fi
}

# expect NAME COMMAND...: ok if the command succeeds; its output is shown when it does not.
expect() {
	_name=$1
	shift
	if _output=$("$@" 2>&1); then
		ok "$_name"
	else
		not_ok "$_name"
		echo "$_output" | sed 's/^/#   /'
	fi
}

# refuse NAME COMMAND...: ok if the command fails.
refuse() {
	_name=$1
	shift
	if _output=$("$@" 2>&1); then
		not_ok "$_name"
		echo "$_output" | sed 's/^/#   /'
	else
		ok "$_name"
	fi
}

# wait_for SECONDS COMMAND...: until the command succeeds.
wait_for() {
	_left=$(($1 * 10))
	shift
	while ! "$@" >/dev/null 2>&1; do
		_left=$((_left - 1))
		[ $_left -gt 0 ] || return 1
		sleep 0.1
	done
}

in_jail() {
	_jail=$1
	shift
	jexec "$_jail" "$@"
}

stat_of() { # JAIL COUNTER
	jexec "$1" sysctl -n "net.inet.lisp.stats.$2"
}

make_jail() { # NAME INTERFACE...
	_name=$1
	shift
	jail -c name="$_name" path=/ vnet persist allow.raw_sockets allow.socket_af >/dev/null
	for _interface in "$@"; do
		ifconfig "$_interface" vnet "$_name"
	done
	jexec "$_name" ifconfig lo0 127.0.0.1/8 up
	jexec "$_name" sysctl net.inet.ip.forwarding=1 net.inet6.ip6.forwarding=1 net.inet6.ip6.dad_count=0 \
	    net.inet6.icmp6.errppslimit=1000 net.inet.ip.intr_queue_maxlen=4096 \
	    net.inet6.ip6.intr_queue_maxlen=4096 >/dev/null
}

# address JAIL INTERFACE IPV4 IPV6
address() {
	jexec "$1" ifconfig "$2" inet "$3" up
	jexec "$1" ifconfig "$2" inet6 "$4" -ifdisabled no_dad
}

route4() { jexec "$1" route -q add -net "$2" "$3"; }
route6() { jexec "$1" route -q -6 add -net "$2" "$3"; }

# The network above, without lisp0.
build_network() {
	for _n in 0 1 2 3 4 5; do
		ifconfig "epair$_n" create >/dev/null
	done
	# epair0: ha-xa, epair1: xa-p1, epair2: xa-p2, epair3: xb-p1, epair4: xb-p2, epair5: hb-xb
	make_jail ha epair0a
	make_jail xa epair0b epair1a epair2a
	make_jail p1 epair1b epair3b
	make_jail p2 epair2b epair4b
	make_jail xb epair3a epair4a epair5b
	make_jail hb epair5a

	address ha epair0a 198.18.1.10/24 2001:db8:1::10/64
	address xa epair0b 198.18.1.1/24 2001:db8:1::1/64
	address xa epair1a 203.0.111.1/24 2001:db8:a:1::1/64
	address xa epair2a 203.0.112.1/24 2001:db8:a:2::1/64
	address p1 epair1b 203.0.111.254/24 2001:db8:a:1::254/64
	address p1 epair3b 203.0.121.254/24 2001:db8:b:1::254/64
	address p2 epair2b 203.0.112.254/24 2001:db8:a:2::254/64
	address p2 epair4b 203.0.122.254/24 2001:db8:b:2::254/64
	address xb epair3a 203.0.121.1/24 2001:db8:b:1::1/64
	address xb epair4a 203.0.122.1/24 2001:db8:b:2::1/64
	address xb epair5b 198.18.2.1/24 2001:db8:2::1/64
	address hb epair5a 198.18.2.10/24 2001:db8:2::10/64

	route4 ha 0.0.0.0/0 198.18.1.1
	route6 ha ::/0 2001:db8:1::1
	route4 hb 0.0.0.0/0 198.18.2.1
	route6 hb ::/0 2001:db8:2::1
	route4 xa 203.0.121.0/24 203.0.111.254
	route6 xa 2001:db8:b:1::/64 2001:db8:a:1::254
	route4 xa 203.0.122.0/24 203.0.112.254
	route6 xa 2001:db8:b:2::/64 2001:db8:a:2::254
	route4 xb 203.0.111.0/24 203.0.121.254
	route6 xb 2001:db8:a:1::/64 2001:db8:b:1::254
	route4 xb 203.0.112.0/24 203.0.122.254
	route6 xb 2001:db8:a:2::/64 2001:db8:b:2::254
	wait_for 10 jexec xa ping -c 1 -t 1 203.0.121.1
	wait_for 10 jexec xa ping -c 1 -t 1 203.0.122.1
	wait_for 10 jexec xa ping -6 -c 1 -t 1 2001:db8:b:1::1
	wait_for 10 jexec xa ping -6 -c 1 -t 1 2001:db8:b:2::1
}

# add_lisp [XTR...]: lisp0 on both xTRs, with routes for the other's EIDs.
add_lisp() {
	for _x in ${*:-xa xb}; do
		jexec $_x ifconfig lisp create >/dev/null
		if [ $_x = xa ]; then _own=1 _other=2; else _own=2 _other=1; fi
		jexec $_x ifconfig lisp0 inet 198.18.$_own.2/32 up
		jexec $_x ifconfig lisp0 inet6 2001:db8:$_own::2/128
		jexec $_x route -q add -net 198.18.$_other.0/24 -iface lisp0
		jexec $_x route -q -6 add -net 2001:db8:$_other::/64 -iface lisp0
		jexec $_x $lisp eids 198.18.$_own.0/24 2001:db8:$_own::/64
		if [ $_x = xa ]; then _net=1 _site=a; else _net=2 _site=b; fi
		jexec $_x $lisp rlocs 203.0.1${_net}1.1 203.0.1${_net}2.1 2001:db8:$_site:1::1 2001:db8:$_site:2::1
	done
}

# map_sites FAMILY [SHARES]: both sites' EIDs of either family, reached over RLOCs of this family (4, 6). SHARES: weights.
map_sites() {
	_w1=${2:-1} _w2=${3:-1}
	if [ "$1" = 4 ]; then
		_a="203.0.111.1,1,$_w1 203.0.112.1,1,$_w2"
		_b="203.0.121.1,1,$_w1 203.0.122.1,1,$_w2"
	else
		_a="2001:db8:a:1::1,1,$_w1 2001:db8:a:2::1,1,$_w2"
		_b="2001:db8:b:1::1,1,$_w1 2001:db8:b:2::1,1,$_w2"
	fi
	for _eid in 198.18.2.0/24 2001:db8:2::/64; do jexec xa $lisp map 0 $_eid $_b; done
	for _eid in 198.18.1.0/24 2001:db8:1::/64; do jexec xb $lisp map 0 $_eid $_a; done
}

# sent JAIL LOCAL REMOTE: packets of a path.
sent() {
	jexec "$1" $lisp paths | awk -v l="$2" -v r="$3" '$1 == l && $2 == r { n = $7 } END { print n + 0 }'
}

# out_packets JAIL INTERFACE: what has left by it.
out_packets() {
	jexec "$1" netstat -I "$2" -bn -f link | awk 'NR == 2 { print $(NF - 3) }'
}

# listening JAIL PORT: somebody does.
listening() {
	jexec "$1" netstat -an -p tcp | grep -q "[.]$2 .*LISTEN"
}

serve() { # JAIL ADDRESS PORT
	jexec "$1" $flow serve "$2" "$3" &
	wait_for 10 listening "$1" "$3"
}

# writable_etc: /etc can be changed from here on, whatever the image is.
writable_etc() {
	mkdir /tmp/etc
	cp -R /etc/ /tmp/etc
	mount -t tmpfs tmpfs /etc
	cp -R /tmp/etc/ /etc
	# A tree that was never installed has no databases of accounts.
	[ -f /etc/pwd.db ] || pwd_mkdb -p /etc/master.passwd
}

# add_account NAME ID: user and group.
add_account() {
	pw groupadd "$1" -g "$2"
	pw useradd "$1" -u "$2" -g "$1" -d /nonexistent -s /usr/sbin/nologin
}

# ask WORDS...: to the host's side, whose answer is the next line on the console; or, where Node.js is in the guest, to a daemon here.
ask() {
	if is_native "$@"; then
		answer=$(native "$@")
	else
		# To the console, wherever the caller's output goes.
		echo "HOST $*" >&3
		read -r answer
	fi
	case $answer in failed*) return 1 ;; esac
}

# start_agent: in xa, where the gateway is; or, where Node.js is in the guest, the process that is driven there.
start_agent() {
	if is_native start; then
		native_driver_start
		return
	fi
	jexec xa /amptcp/agent 10.0.2.15 4343 &
	agent=$!
	wait_for 10 listening xa 4343
}

# far_site: what is behind xb, set up by hand: 192.0.2.8/30 and 2001:db8:9::8/126 are the gateway's EIDs.
far_site() {
	jexec xb ifconfig lisp create >/dev/null
	jexec xb ifconfig lisp0 inet 198.18.2.2/32 up
	jexec xb ifconfig lisp0 inet6 2001:db8:2::2/128
	jexec xb route -q add -net 192.0.2.8/30 -iface lisp0
	jexec xb route -q -6 add -net 2001:db8:9::8/126 -iface lisp0
	jexec xb $lisp eids 198.18.2.0/24 2001:db8:2::/64
	jexec xb $lisp rlocs 203.0.121.1 203.0.122.1
	for _eid in 192.0.2.8/30 2001:db8:9::8/126; do jexec xb $lisp map 0 $_eid 203.0.111.1,1,1 203.0.112.1,1,1; done
}

# network_to_linux: a client and a gateway in jails, this host as the providers' router, and a site with two RLOCs at the other end
# of vtnet0, which is Linux. vtnet1 leads from the gateway to the daemon on the host.
#
#	ha -------- xa ====== 203.0.111.0/24 ====== here ====== 203.0.113.2: RLOCs 203.0.121.1, 203.0.122.1
#	            xa ====== 203.0.112.0/24 ======
network_to_linux() {
	sysctl net.inet.tcp.msl=1000 net.inet.ip.forwarding=1 >/dev/null
	for _n in 0 1 2; do ifconfig epair$_n create >/dev/null; done
	make_jail ha epair0a
	make_jail xa epair0b epair1a epair2a
	jexec ha ifconfig epair0a inet 198.18.1.10/24 up
	jexec xa ifconfig epair0b inet 198.18.1.1/24 up
	jexec xa ifconfig epair1a inet 203.0.111.1/24 up
	jexec xa ifconfig epair2a inet 203.0.112.1/24 up
	ifconfig epair1b inet 203.0.111.254/24 up
	ifconfig epair2b inet 203.0.112.254/24 up
	ifconfig vtnet0 inet 203.0.113.1/24 up
	jexec ha route -q add default 198.18.1.1
	route -q add -host 203.0.121.1 203.0.113.2
	route -q add -host 203.0.122.1 203.0.113.2
	jexec xa route -q add -net 203.0.121.0/24 203.0.111.254
	jexec xa route -q add -net 203.0.122.0/24 203.0.112.254
	ifconfig vtnet1 vnet xa
	jexec xa ifconfig vtnet1 inet 10.0.2.15/24 up
}

# host_behind_p1: the other end of vtnet0 is 203.0.150.10, a network of the first provider's.
host_behind_p1() {
	ifconfig vtnet0 vnet p1
	jexec p1 ifconfig vtnet0 inet 203.0.150.1/24 up
	route4 xa 203.0.150.0/24 203.0.111.254
	route4 xb 203.0.150.0/24 203.0.121.254
}
