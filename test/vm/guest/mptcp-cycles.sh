# SPDX-License-Identifier: BSD-2-Clause
#
# Thousands of short MPTCP connections: nothing is left of them.
. /amptcp/library.sh
. /amptcp/mptcp-library.sh
CYCLES=$(kenv -q amptcp.cycles || echo 10000)

kldload /amptcp/mptcp.ko
result $? "the module loads"
sysctl net.inet.tcp.msl=50 net.inet.ip.portrange.randomized=0 kern.ipc.soacceptqueue=1024 >/dev/null
ifconfig vtnet0 inet 203.0.113.1/24 up
ifconfig lo0 127.0.0.1/8 up
expect "the Linux end is on the wire" wait_for 10 ping -c 1 -t 1 203.0.113.2
record

# Zones and kinds of memory that sockets live in; "name in-use".
zones() {
	vmstat -z | awk -F '[:,]' '$1 ~ /^(socket|tcp_inpcb|tcpcb|syncache|tcptw|mptcp|mbuf|udp_inpcb|sackhole)/ { gsub(/ /, "", $4); print $1, $4 }'
	vmstat -m | awk '$1 ~ /^(mptcp|pcb|soname|sonewconn|CC)$/ { print $1, $2 }'
}
none() { [ "$(netstat -an -p tcp | grep -c '203.0.113.2')" -eq 0 ]; }
# settled NAME: what is in use is what was before.
settled() {
	wait_for 60 none
	result $? "$1: no connection is left"
	zones >/tmp/after
	diff /tmp/before /tmp/after >/tmp/difference
	# Buffers wait in caches and rings: some more or less means nothing, a few for each connection would.
	awk 'NR == FNR { before[$1] = $2; next } $2 - before[$1] > 100 { print $1, before[$1], "to", $2; bad = 1 } END { exit bad }' /tmp/before /tmp/after
	result $? "$1: nothing is in use that was not before ($(awk '{ printf "%s ", $0 }' /tmp/difference))"
	[ "$(vmstat -m | awk '$1 == "mptcp" { print $2 }')" -le "$kept" ]
	result $? "$1: of the module's memory nothing ($(vmstat -m | awk '$1 == "mptcp"'))"
}

# The first ones fill caches.
$mptcp loop 203.0.113.2 5009 50
wait_for 60 none
zones >/tmp/before
kept=$(vmstat -m | awk '$1 == "mptcp" { print $2 }')
expect "$CYCLES connections: connect, transfer, close" $mptcp loop-close 203.0.113.2 5009 $CYCLES
settled closed
expect "$CYCLES connections: connect, abort" $mptcp loop-abort 203.0.113.2 5009 $CYCLES
settled aborted
recorded
sysctl net.inet.mptcp.stats | awk '$2 != 0' | sed 's/^/# FreeBSD: /'
kldunload mptcp
result $? "the module unloads"
