# SPDX-License-Identifier: BSD-2-Clause
#
# mptcp(4) with two subflows to a Linux server over paths that lose, reorder, stand still and shrink. The network is that of
# mptcp-subflows.sh.
. /amptcp/library.sh
. /amptcp/mptcp-library.sh

start_mptcp
first=203.0.113.2
second=198.51.100.1,198.51.100.2
load_dummynet

# Nothing for five seconds ends the transfer (-t 5).
bad() { # NAME OCTETS
	expect "$1, $2 octets each way" $flow echo -m -n $2 -j $second -t 5 $first 5009
	echo "$_output" | sed 's/^/# /'
	echo "$_output" | awk '$1 == "held" { exit !($2 <= $4) }'
	result $? "... no more was held than the receive buffer may have: $(echo "$_output" | grep held)"
}
retransmitted() { netstat -s -p tcp | awk '/data packets? .*retransmitted/ { print $1; exit }'; }
recoveries() { netstat -s -p tcp | awk '/SACK recovery episodes?/ { print $1; exit }'; }

before=$(recoveries)
bad "clean paths" 3000000
note "$(($(recoveries) - before)) recoveries, $(ours ack_not_duplicate) DATA_ACKs kept from counting as duplicates"
[ $(($(recoveries) - before)) -le 2 ]
result $? "DATA_ACKs are not taken for duplicate ACKs"

# set_paths LOSS DELAY REORDERED: `REORDERED` of the segments take 20 ms more.
set_paths() {
	ipfw -q flush
	ipfw pipe 1 config plr $1 delay $2
	ipfw pipe 2 config plr $1 delay $2
	ipfw pipe 3 config delay $(($2 + 20))
	[ "$3" != 0 ] && ipfw -q add 90 prob $3 pipe 3 tcp from any to any
	ipfw -q add 100 pipe 1 tcp from any to any out
	ipfw -q add 101 pipe 2 tcp from any to any in
	ipfw -q add 65000 allow ip from any to any
}
before=$(retransmitted)
set_paths 0.01 5 0
bad "1 % loss each way" 3000000
set_paths 0.05 5 0
bad "5 % loss each way" 1500000
set_paths 0 5 0.05
bad "5 % out of order" 3000000
set_paths 0.02 10 0.05
bad "2 % loss and 5 % out of order" 1500000
[ $(($(retransmitted) - before)) -gt 20 ]
result $? "segments were sent again: $(($(retransmitted) - before))"

# One path is a second late: what is missing comes over it, and everything else has to wait.
ipfw -q flush
ipfw pipe 1 config delay 5
ipfw pipe 2 config delay 500
ipfw -q add 100 pipe 2 tcp from any to 198.51.100.0/24
ipfw -q add 101 pipe 1 tcp from any to any
ipfw -q add 65000 allow ip from any to any
bad "one path a hundred times slower than the other" 6000000

# The way gets narrower in mid-transfer: tcp_output() must not spin on EMSGSIZE.
ipfw -q flush
ipfw pipe 1 config bw 16Mbit/s delay 5
ipfw -q add 100 pipe 1 tcp from any to any out
ipfw -q add 65000 allow ip from any to any
too_long() { netstat -s -p ip | awk '/datagrams? that can.t be fragmented/ { print $1; exit }'; }
before=$(too_long)
$flow echo -m -n 8000000 -j $second -t 10 $first 5009 >/tmp/narrow 2>&1 &
transfer=$!
sleep 1
ifconfig vtnet0 mtu 1280
sleep 1
load=$(top -b -d 2 -s 1 2>/dev/null | awk '/^CPU:/ { line = $0 } END { print line }')
wait $transfer
result $? "the MTU goes down to 1280 in mid-transfer"
sed 's/^/# /' /tmp/narrow
note "$load"
# A loop would make thousands a second.
[ $(($(too_long) - before)) -le 200 ]
result $? "... and $(($(too_long) - before)) packets were too long for it"
ifconfig vtnet0 mtu 1500
ipfw -q flush
ipfw -q add 65000 allow ip from any to any

finish_mptcp
