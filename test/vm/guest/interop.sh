# SPDX-License-Identifier: BSD-2-Clause
#
# Against this product's data plane for Linux, on the host: both directions, both address families, inner and outer.
. /amptcp/library.sh

kldload /amptcp/lisp.ko
ifconfig vtnet0 inet 203.0.113.1/24 up
ifconfig vtnet0 inet 203.0.113.11/32 alias
ifconfig vtnet0 inet6 2001:db8:f::1/64 -ifdisabled no_dad
ifconfig vtnet0 inet6 2001:db8:f::11/128 alias no_dad
ifconfig lisp create >/dev/null
ifconfig lisp0 inet 198.18.1.10/32 up
ifconfig lisp0 inet6 2001:db8:1::10/128
route -q add -net 198.18.2.0/24 -iface lisp0
route -q -6 add -net 2001:db8:2::/64 -iface lisp0
$lisp rlocs 203.0.113.1 203.0.113.11 2001:db8:f::1 2001:db8:f::11
$lisp eids 198.18.1.0/24 2001:db8:1::/64
expect "the Linux end is on the wire" ping -c 2 -t 5 203.0.113.2
expect "... with IPv6" ping -6 -c 2 -t 5 2001:db8:f::2
$flow echoserve 198.18.1.10 5008 &
$flow echoserve 2001:db8:1::10 5008 &
sleep 1

for underlay in 4 6; do
	if [ $underlay = 4 ]; then
		rlocs="203.0.113.2,1,1 203.0.113.12,1,1"
	else
		rlocs="2001:db8:f::2,1,1 2001:db8:f::12,1,1"
	fi
	for eid in 198.18.2.0/24 2001:db8:2::/64; do $lisp map 0 $eid $rlocs; done
	ask map $underlay
	result $? "the Linux end maps to RLOCs of IPv$underlay ($answer)"
	expect "ping IPv4 over IPv$underlay" ping -c 2 -t 10 198.18.2.10
	expect "ping IPv6 over IPv$underlay" ping -6 -c 2 -t 10 2001:db8:2::10
	for n in 1 2 3; do
		expect "FreeBSD to Linux, IPv4 over IPv$underlay, flow $n" $flow echo -n 400000 198.18.2.10 5007
		expect "FreeBSD to Linux, IPv6 over IPv$underlay, flow $n" $flow echo -n 400000 2001:db8:2::10 5007
		ask connect 198.18.1.10 5008 400000
		result $? "Linux to FreeBSD, IPv4 over IPv$underlay, flow $n: $answer"
		ask connect 2001:db8:1::10 5008 400000
		result $? "Linux to FreeBSD, IPv6 over IPv$underlay, flow $n: $answer"
	done
done
$lisp paths | sed 's/^/# /'
ask stats
note "Linux: $answer"
sysctl net.inet.lisp.stats | awk '$2 != 0' | sed 's/^/# FreeBSD: /'
[ "$(sysctl -n net.inet.lisp.stats.decapsulated)" -gt 1000 ]
result $? "it went through LISP: $(sysctl -n net.inet.lisp.stats.decapsulated) packets decapsulated"
pkill flow
kldunload lisp
result $? "the module unloads"
