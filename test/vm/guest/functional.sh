# SPDX-License-Identifier: BSD-2-Clause
#
# Two sites, two providers: everything that passes lisp0, in each combination of address families.
. /amptcp/library.sh

kldload /amptcp/lisp.ko
result $? "the module loads"
build_network
refuse "without lisp0 the sites do not reach each other" jexec ha ping -c 1 -t 1 198.18.2.10
add_lisp
expect "lisp0 is there" jexec xa ifconfig lisp0
note "$(jexec xa ifconfig lisp0 | head -1)"

refuse "there is one in each network stack" jexec xa ifconfig lisp create
ifconfig lisp create >/dev/null
ifconfig lisp0 vnet p1
refuse "one that was moved to another network stack is of no use" jexec p1 $lisp rlocs 203.0.111.254
expect "... and can be destroyed there" jexec p1 ifconfig lisp0 destroy

serve hb 198.18.2.10 5001
serve hb 2001:db8:2::10 5001

for underlay in 4 6; do
	map_sites $underlay
	expect "ping IPv4 over IPv$underlay" jexec ha ping -c 3 -i 0.2 -t 5 198.18.2.10
	expect "ping IPv6 over IPv$underlay" jexec ha ping -6 -c 3 -i 0.2 -t 5 2001:db8:2::10
	expect "ping IPv4 of full size over IPv$underlay" jexec ha ping -c 2 -i 0.2 -D -s 1416 -t 5 198.18.2.10
	expect "TCP IPv4 over IPv$underlay, same octets at both ends" jexec ha $flow send -n 3000000 198.18.2.10 5001
	note "$_output"
	expect "TCP IPv6 over IPv$underlay, same octets at both ends" jexec ha $flow send -n 3000000 2001:db8:2::10 5001
	note "$_output"
done

# A pin moves a flow in mid-transfer.
map_sites 4
for family in 4 6; do
	if [ $family = 4 ]; then
		local=198.18.1.10 remote=198.18.2.10
	else
		local=2001:db8:1::10 remote=2001:db8:2::10
	fi
	pin="0 6 $local 4001 $remote 5001"
	jexec xa $lisp pin $pin 203.0.111.1 203.0.121.1
	before1=$(sent xa 203.0.111.1 203.0.121.1)
	before2=$(sent xa 203.0.112.1 203.0.122.1)
	jexec ha $flow send -n 2000000 -r 600000 -s $local -p 4001 $remote 5001 >/tmp/moved 2>&1 &
	transfer=$!
	moved() { [ $(($(sent xa 203.0.111.1 203.0.121.1) - before1)) -ge 100 ]; }
	wait_for 20 moved
	result $? "IPv$family flow pinned to the first path travels on it"
	[ "$(sent xa 203.0.112.1 203.0.122.1)" -eq "$before2" ]
	result $? "... and on no other"
	jexec xa $lisp pin $pin 203.0.112.1 203.0.122.1
	at1=$(sent xa 203.0.111.1 203.0.121.1)
	wait $transfer
	result $? "... transfer completes after the pin moved it: $(cat /tmp/moved)"
	at2=$(sent xa 203.0.112.1 203.0.122.1)
	[ "$(sent xa 203.0.111.1 203.0.121.1)" -le $((at1 + 2)) ] && [ $((at2 - before2)) -ge 100 ]
	result $? "... the second path took over ($((at1 - before1)) packets on the first, $((at2 - before2)) on the second)"
	jexec xa $lisp unpin $pin
done

# Gleaning: the answer took the path of the question.
gleaned=$(jexec xb $lisp pins | grep -c gleaned)
[ "$gleaned" -gt 0 ]
result $? "the far xTR gleaned $gleaned flows"

# Weights.
map_sites 4 75 25
before1=$(sent xa 203.0.111.1 203.0.121.1)
before2=$(sent xa 203.0.112.1 203.0.122.1)
jexec ha $flow udp -s 198.18.1.10 198.18.2.10 9 1000
count1=$(($(sent xa 203.0.111.1 203.0.121.1) - before1))
count2=$(($(sent xa 203.0.112.1 203.0.122.1) - before2))
total=$((count1 + count2))
note "weights 75:25 gave $count1:$count2 of 1000 flows"
# 3:1 within 5 % of all flows.
[ $total -eq 1000 ] && [ $count1 -ge 700 ] && [ $count1 -le 800 ]
result $? "weights 3:1 give 3:1 over 1,000 flows"
jexec ha $flow udp -s 2001:db8:1::10 2001:db8:2::10 9 1000
count1=$(($(sent xa 203.0.111.1 203.0.121.1) - before1 - count1))
[ $count1 -ge 700 ] && [ $count1 -le 800 ]
result $? "... with IPv6 EIDs as well ($count1 of 1000)"

# Priority: a better locator takes all; when its path is down, the other.
jexec xa $lisp map 0 198.18.2.0/24 203.0.121.1,1,1 203.0.122.1,2,1
before2=$(sent xa 203.0.112.1 203.0.122.1)
expect "ping over the locator of better priority" jexec ha ping -c 2 -i 0.2 -t 5 198.18.2.10
[ "$(sent xa 203.0.112.1 203.0.122.1)" -eq "$before2" ]
result $? "... only"
jexec xa $lisp path 203.0.111.1 203.0.121.1 down
jexec xa $lisp path 203.0.112.1 203.0.121.1 down
expect "with that path down, ping over the other" jexec ha ping -c 2 -i 0.2 -t 5 198.18.2.10
[ "$(sent xa 203.0.112.1 203.0.122.1)" -gt "$before2" ]
result $? "... counted there"
jexec xa $lisp path 203.0.111.1 203.0.121.1 up
jexec xa $lisp path 203.0.112.1 203.0.121.1 up

# Source check.
map_sites 4
jexec xb $lisp map 0 198.18.1.0/24 203.0.119.1,1,1
refuse "a packet from an RLOC that is not of the source's mapping is not decapsulated" \
    jexec ha ping -c 1 -t 1 198.18.2.10
[ "$(stat_of xb drop.source-rloc)" -gt 0 ]
result $? "... and counted as source-rloc ($(stat_of xb drop.source-rloc))"
jexec xb sysctl net.inet.lisp.source_check=0 >/dev/null
before=$(stat_of xb decapsulated)
jexec ha ping -c 1 -t 1 198.18.2.10 >/dev/null
[ "$(stat_of xb decapsulated)" -gt "$before" ]
result $? "... unless the check is switched off"
jexec xb sysctl net.inet.lisp.source_check=1 >/dev/null
map_sites 4

# Misses and events.
for way in events pollevents; do
	jexec xa $lisp $way 4 >/tmp/events &
	listener=$!
	wait_for 5 grep -q listening /tmp/events
	jexec xa route -q add -net 198.18.9.0/24 -iface lisp0 2>/dev/null
	jexec ha ping -c 3 -i 0.2 -t 2 198.18.9.9 >/dev/null
	wait $listener
	[ "$(grep -c 'miss 0 198.18.9.9 0' /tmp/events)" -ge 1 ]
	result $? "a packet without a mapping makes an event ($way): $(grep -c miss /tmp/events) for 3 packets"
	sleep 0.6
done
[ "$(stat_of xa drop.no-mapping)" -ge 3 ]
result $? "... and a counted drop"
refuse "unknown instance is a miss" jexec xa $lisp lookup 5 198.18.2.10
expect "lookup finds the longest prefix" jexec xa $lisp lookup 0 198.18.2.10
note "$_output"

# Instance-id.
for x in xa xb; do jexec $x $lisp iid 77; done
refuse "an instance without mappings passes nothing" jexec ha ping -c 1 -t 1 198.18.2.10
jexec xa $lisp map 77 198.18.2.0/24 203.0.121.1,1,1
jexec xb $lisp map 77 198.18.1.0/24 203.0.111.1,1,1
refuse "an instance that is not served is not decapsulated" jexec ha ping -c 1 -t 1 198.18.2.10
[ "$(stat_of xb drop.iid)" -gt 0 ]
result $? "... and counted as iid"
for x in xa xb; do jexec $x $lisp iid 0; done

# DSCP, ECN and TTL travel (RFC 9300 section 5.3, RFC 6040).
tcpdump_of() { jexec p1 tcpdump -n -v -c 1 -i epair1b udp port 4341 2>/dev/null; }
map_sites 4
jexec xa $lisp map 0 198.18.2.0/24 203.0.121.1,1,1
tcpdump_of >/tmp/outer &
capture=$!
sleep 1
jexec ha ping -c 3 -i 0.3 -z 0xb8 -m 33 -t 5 198.18.2.10 >/dev/null
wait $capture
grep -q 'tos 0xb8' /tmp/outer
result $? "the outer header carries the inner one's DSCP: $(grep -o 'tos 0x[0-9a-f]*, ttl [0-9]*' /tmp/outer | head -1)"
grep -q 'ttl 32' /tmp/outer
result $? "... and its TTL"

# A FIB for each local RLOC: each provider has its own default route, and the FIB of everything else has none.
jexec xa sysctl net.fibs=3 >/dev/null
for n in 1 2; do
	jexec xa route -q add -net 203.0.11$n.0/24 -iface epair${n}a -fib $n
	jexec xa route -q add default 203.0.11$n.254 -fib $n
	jexec xa route -q -6 add -net 2001:db8:a:$n::/64 -iface epair${n}a -fib $n
	jexec xa route -q -6 add default 2001:db8:a:$n::254 -fib $n
	jexec xa route -q delete -net 203.0.12$n.0/24
	jexec xa route -q -6 delete -net 2001:db8:b:$n::/64
done
refuse "an RLOC with a FIB there is not is refused" jexec xa $lisp rlocs 203.0.111.1@7
for underlay in 4 6; do
	map_sites $underlay
	if [ $underlay = 4 ]; then
		l1=203.0.111.1 l2=203.0.112.1 r1=203.0.121.1 r2=203.0.122.1
	else
		l1=2001:db8:a:1::1 l2=2001:db8:a:2::1 r1=2001:db8:b:1::1 r2=2001:db8:b:2::1
	fi
	jexec xa $lisp rlocs $l1 $l2
	before=$(stat_of xa drop.send)
	refuse "without their FIBs nothing leaves over IPv$underlay" jexec ha ping -c 1 -t 1 198.18.2.10
	[ "$(stat_of xa drop.send)" -gt "$before" ]
	result $? "... counted as send"
	jexec xa $lisp rlocs $l1@1 $l2@2
	for n in 1 2; do
		if [ $n = 1 ]; then l=$l1 r=$r1 other=2; else l=$l2 r=$r2 other=1; fi
		jexec xa $lisp pin 0 6 198.18.1.10 4010 198.18.2.10 5001 $l $r
		left=$(out_packets xa epair${n}a)
		left_other=$(out_packets xa epair${other}a)
		expect "TCP from RLOC $l travels by FIB $n" jexec ha $flow send -n 200000 -s 198.18.1.10 -p 4010 198.18.2.10 5001
		left=$(($(out_packets xa epair${n}a) - left))
		left_other=$(($(out_packets xa epair${other}a) - left_other))
		[ $left -ge 100 ] && [ $left_other -le 10 ]
		result $? "... and leaves by its provider ($left packets, $left_other by the other)"
		jexec xa $lisp unpin 0 6 198.18.1.10 4010 198.18.2.10 5001
	done
done
for n in 1 2; do
	route4 xa 203.0.12$n.0/24 203.0.11$n.254
	route6 xa 2001:db8:b:$n::/64 2001:db8:a:$n::254
done
jexec xa $lisp rlocs 203.0.111.1 203.0.112.1 2001:db8:a:1::1 2001:db8:a:2::1

# Recursion: the way to an RLOC leads into lisp0 by mistake.
map_sites 4
jexec xa route -q delete -net 203.0.122.0/24
jexec xa route -q add -net 203.0.122.0/24 -iface lisp0
jexec xa $lisp map 0 198.18.2.0/24 203.0.122.1,1,1
refuse "an RLOC behind lisp0 does not loop" jexec ha ping -c 2 -i 0.2 -t 2 198.18.2.10
[ "$(stat_of xa drop.recursion)" -gt 0 ]
result $? "... and is counted as recursion"
jexec xa route -q delete -net 203.0.122.0/24
route4 xa 203.0.122.0/24 203.0.112.254
map_sites 4

jexec xa sysctl net.inet.lisp.stats | awk '$2 != 0' | sed 's/^/# /'

# Taking it all down again.
for j in ha hb; do jexec $j pkill flow; done
for j in ha xa p1 p2 xb hb; do jail -r $j >/dev/null; done
vnets_gone() { [ "$(jls -d dying | grep -c dying)" -eq 0 ] && [ "$(jls | wc -l)" -le 1 ]; }
wait_for 10 vnets_gone
result $? "jails with lisp0 inside go away"
kldunload lisp
result $? "the module unloads"
