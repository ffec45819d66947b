# SPDX-License-Identifier: BSD-2-Clause
#
# What encapsulating costs next to plain forwarding. Packets come in on an epair and leave towards a tap(4) interface that
# throws them away:
#
#	sender ---- epair ---- xa ---- tap0
#
# All of it is done by the epair's thread, whose processor time is read before and after: what the sender uses does not
# count. A run in which xa does not forward at all (packets are dropped as soon as IP sees that they are for somebody else)
# tells how much of it is receiving. With QEMU's -icount a tick of the guest's cycle counter is one instruction.
. /amptcp/library.sh
unit=instructions

sysctl net.isr.dispatch=direct >/dev/null
# The receiving thread takes what the sender has put there in one go, as with a network card, and not each packet at once.
sysctl kern.sched.preempt_thresh=0 >/dev/null
if [ -f /amptcp/plain/lisp.ko ]; then kldload /amptcp/plain/lisp.ko; else kldload /amptcp/lisp.ko; fi
result $? "the module loads"
ifconfig epair0 create >/dev/null
ifconfig tap0 create >/dev/null
make_jail ha epair0a
make_jail xa epair0b tap0
address ha epair0a 198.18.1.10/24 2001:db8:1::10/64
address xa epair0b 198.18.1.1/24 2001:db8:1::1/64
address xa tap0 203.0.111.1/24 2001:db8:a:1::1/64
# Somebody has to hold tap0 open for it to be up; nobody reads.
sleep 100000 3<>/dev/tap0 &
jexec xa ifconfig tap0 up
jexec xa arp -s 203.0.111.254 02:00:00:00:00:01 >/dev/null
jexec xa ndp -s 2001:db8:a:1::254 02:00:00:00:00:01 >/dev/null 2>&1
route4 ha 0.0.0.0/0 198.18.1.1
route6 ha ::/0 2001:db8:1::1
route4 xa 203.0.121.0/24 203.0.111.254
route6 xa 2001:db8:b:1::/64 2001:db8:a:1::254
route4 xa 198.18.3.0/24 203.0.111.254
route6 xa 2001:db8:3::/64 2001:db8:a:1::254
jexec xa ifconfig lisp create >/dev/null
jexec xa ifconfig lisp0 inet 198.18.1.2/32 up
jexec xa ifconfig lisp0 inet6 2001:db8:1::2/128
jexec xa route -q add -net 198.18.2.0/24 -iface lisp0
jexec xa route -q -6 add -net 2001:db8:2::/64 -iface lisp0
jexec xa $lisp rlocs 203.0.111.1 2001:db8:a:1::1
jexec xa $lisp eids 198.18.1.0/24 2001:db8:1::/64
jexec xa $lisp map 0 198.18.2.0/24 203.0.121.1,1,1
jexec xa $lisp map 0 2001:db8:2::/64 203.0.121.1,1,1
jexec ha ping -c 2 -i 0.2 -t 2 198.18.1.1 >/dev/null
jexec ha ping -6 -c 2 -i 0.2 -t 2 2001:db8:1::1 >/dev/null

received() { jexec xa netstat -I epair0b -b -n | awk '/Link/ { print $5; exit }'; }

# measure DESTINATION LENGTH: nanoseconds of the forwarding thread for each packet it received.
measure() {
	jexec ha $flow trickle -l "$2" "$1" 9 200 >/dev/null
	_packets=$(received) _time=$(/amptcp/cost epair)
	jexec ha $flow trickle -l "$2" "$1" 9 6000 >/dev/null
	_packets=$(($(received) - _packets)) _time=$(($(/amptcp/cost epair) - _time))
	echo $((_time / _packets)) $_packets
}

compare() { # NAME PLAIN-DESTINATION LISP-DESTINATION LENGTH FORWARDING-SYSCTL
	jexec xa sysctl "$5=0" >/dev/null
	set -- "$@" $(measure "$2" "$4")
	jexec xa sysctl "$5=1" >/dev/null
	set -- "$@" $(measure "$2" "$4")
	# What tap0 has no room for, its queue being full for ever, counts as refused by the underlay.
	_encapsulated=$(($(stat_of xa encapsulated) + $(stat_of xa drop.send)))
	set -- "$@" $(measure "$3" "$4")
	_encapsulated=$(($(stat_of xa encapsulated) + $(stat_of xa drop.send) - _encapsulated))
	# $6 receive, $8 forward, $10 encapsulate; $7 $9 $11 packets.
	note "$1: receiving $6, forwarding $8, encapsulating ${10} $unit a packet; $7, $9 and ${11} packets, $_encapsulated encapsulated"
	note "$1: beyond receiving: forwarding $(($8 - $6)), encapsulating $((${10} - $6)) $unit"
	note "$1: packets a second at 1,000 million instructions: forwarding $((1000000000 / $8)), encapsulating $((1000000000 / ${10}))"
	[ $_encapsulated -ge 5000 ] && [ "$8" -gt "$6" ] && [ $((${10} * 10)) -le $(($8 * 25)) ]
	result $? "$1: encapsulating costs at most 2.5 times plain forwarding: ${10} to $8 $unit a packet, $((${10} * 100 / $8)) %"
}

compare "IPv4 in IPv4" 198.18.3.10 198.18.2.10 64 net.inet.ip.forwarding
compare "IPv4 in IPv4, 1400 octets" 198.18.3.10 198.18.2.10 1372 net.inet.ip.forwarding
compare "IPv6 in IPv4" 2001:db8:3::10 2001:db8:2::10 64 net.inet6.ip6.forwarding
jexec xa $lisp map 0 198.18.2.0/24 2001:db8:b:1::1,1,1
jexec xa $lisp map 0 2001:db8:2::/64 2001:db8:b:1::1,1,1
compare "IPv6 in IPv6" 2001:db8:3::10 2001:db8:2::10 64 net.inet6.ip6.forwarding

# With a full table and two locators.
jexec xa $lisp load 20000
jexec xa $lisp rlocs 203.0.111.1 203.0.112.1
jexec xa $lisp map 0 198.18.2.0/24 203.0.121.1,1,1 203.0.121.2,1,1
compare "IPv4 in IPv4, 20,000 mappings, two locators" 198.18.3.10 198.18.2.10 64 net.inet.ip.forwarding
