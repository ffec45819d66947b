# SPDX-License-Identifier: BSD-2-Clause
#
# The module comes and goes, idle and in the middle of traffic.
. /amptcp/library.sh

# The kernel's dynamic memory, octets.
memory() { vmstat -m | awk 'NR > 1 { for (i = 2; i <= NF; i++) if ($i ~ /^[0-9]+$/) { n += $(i + 1); break } } END { print n }'; }

failures=0
cycle_idle() {
	kldload /amptcp/lisp.ko || return 1
	ifconfig lisp create >/dev/null || return 1
	ifconfig lisp0 inet 198.18.1.2/32 up || return 1
	$lisp rlocs 203.0.111.1 || return 1
	$lisp load 50 || return 1
	kldunload lisp
}
cycle_idle
before=$(memory)
for n in $(seq 1 79); do
	cycle_idle || failures=$((failures + 1))
done
after=$(memory)
[ $failures -eq 0 ]
result $? "80 times loaded, configured and unloaded"
[ $((after - before)) -le 65536 ]
result $? "... memory before and after: $before and $after octets"

build_network
configure() {
	add_lisp
	map_sites 4
}
failures=0
passed=0
for n in $(seq 1 20); do
	kldload /amptcp/lisp.ko || failures=$((failures + 1))
	configure
	jexec ha $flow blast -t 4 -l 200 -s 198.18.1.10 198.18.2.10 9 >/dev/null &
	one=$!
	jexec hb $flow blast -t 4 -l 1200 -s 2001:db8:2::10 2001:db8:1::10 9 >/dev/null &
	two=$!
	jexec xa $flow blast -t 4 -l 100 198.18.2.10 9 >/dev/null &
	three=$!
	busy() { [ "$(stat_of xa encapsulated)" -gt 500 ] && [ "$(stat_of xa decapsulated)" -gt 100 ]; }
	wait_for 10 busy && passed=$((passed + 1))
	_packets=$(stat_of xa encapsulated)
	kldunload lisp || failures=$((failures + 1))
	note "round $n: unloaded after $_packets packets"
	kill $one $two $three 2>/dev/null
	wait $one $two $three 2>/dev/null
done
[ $failures -eq 0 ]
result $? "20 times unloaded under traffic"
[ $passed -eq 20 ]
result $? "... which was flowing both ways each time ($passed of 20)"

# An open descriptor keeps the module; a client's death frees it.
kldload /amptcp/lisp.ko
configure
jexec xa $lisp events 30 >/tmp/events &
listener=$!
wait_for 5 grep -q listening /tmp/events
refuse "with the device open the module stays" kldunload lisp
kill $listener
wait $listener 2>/dev/null
expect "... and goes when it is closed" kldunload lisp

for j in ha xa p1 p2 xb hb; do jail -r $j >/dev/null; done
vmstat -m | awk '$1 == "lisp" { found = 1 } END { exit found }'
result $? "no memory of the module's type is left"
