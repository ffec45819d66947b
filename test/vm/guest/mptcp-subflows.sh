# SPDX-License-Identifier: BSD-2-Clause
#
# mptcp(4) as a client with several subflows to a Linux server on the host.
#
#	          path 1: 203.0.113.1,  2001:db8:f::1                      .2, ::2
#	guest vtnet0 ====                                ==== tap  Linux: port 5009 MPTCP, sends back what it gets
#	          path 2: 198.51.100.1, 2001:db8:e::1                      .2, ::2
#
# Both paths are of one link; dummynet shapes and cuts them by address.
. /amptcp/library.sh
. /amptcp/mptcp-library.sh

start_mptcp
first=203.0.113.2
second4=198.51.100.1,198.51.100.2
second6=2001:db8:e::1,2001:db8:e::2
first6=2001:db8:f::1,2001:db8:f::2

# moved N: the last transfer's subflow N has carried our octets; what Linux gives it is Linux's choice.
moved() { echo "$_output" | awk -v n="$1" '$1 == "subflow" && $2 == n { found = $8 > 0 } END { exit !found }'; }

# Without shaping the quickest path has room for everything; so that each has its share:
sysctl net.inet.mptcp.scheduler=roundrobin >/dev/null
linux MPJoinSynRx
before=$value
subflows=0
transfer() { # NAME ADDRESS SUBFLOWS...
	_title=$1 _address=$2
	shift 2
	_joins=
	_n=0
	for _join in "$@"; do
		_joins="$_joins -j $_join"
		_n=$((_n + 1))
	done
	subflows=$((subflows + _n))
	expect "3 MB each way: $_title" $flow echo -m -n 3000000 -r 4000000 $_joins $_address 5009
	echo "$_output" | sed 's/^/# /'
	while [ $_n -gt 0 ]; do
		moved $_n
		result $? "... subflow $_n has carried data"
		_n=$((_n - 1))
	done
}
transfer "two subflows, IPv4" $first $second4
transfer "two subflows, IPv6" 2001:db8:f::2 $second6
transfer "IPv4, joined by IPv6" $first $second6
transfer "IPv6, joined by IPv4" 2001:db8:f::2 $second4
transfer "the same addresses, another port" $first 203.0.113.1,203.0.113.2
transfer "three subflows" $first $second4 $second6
transfer "four subflows" $first $second4 $first6 $second6
linux MPJoinSynRx
[ $((value - before)) -eq $subflows ]
result $? "Linux has seen $((value - before)) MP_JOINs in SYNs of $subflows"
linux MPJoinAckRx
[ "$value" -ge $subflows ]
result $? "... and $value in third ACKs"
[ "$(ours join_established)" -eq $subflows ]
result $? "... and so have we: $(ours join_established) established"
linux MPJoinAckHMacFailure
[ "$value" -eq 0 ]
result $? "... no HMAC was wrong"

ask sysctl checksum_enabled 1
transfer "two subflows, with checksums" $first $second4
ask sysctl checksum_enabled 0
sysctl net.inet.mptcp.scheduler=minrtt >/dev/null
expect "3 MB each way: two subflows, minimum RTT" $flow echo -m -n 3000000 -j $second4 $first 5009
expect "a backup subflow" $flow echo -m -n 3000000 -j $second4,,backup $first 5009
# What Linux sends again at the data level it gives to a backup, too.
echo "$_output" | awk '$1 == "subflow" && $2 == 1 { exit !($8 == 0 && $10 < 100000) }'
result $? "... carries nothing of ours and next to nothing of Linux's while the other works: $(echo "$_output" | grep "subflow 1")"
refuse "a subflow to a port nobody listens on is none" sh -c "$flow echo -m -n 300000 -j 198.51.100.1,198.51.100.2,5999 $first 5009 | grep -q '^subflow 1 state 1'"
refuse "a local address that is not ours is refused" $flow echo -m -n 300000 -j 192.0.2.77,198.51.100.2 $first 5009

# ---- two shaped paths: 8 Mbit/s each way each
load_dummynet
shape() { # RATE
	ipfw -q flush
	ipfw pipe 1 config bw $1 delay 5 queue 60KBytes
	ipfw pipe 2 config bw $1 delay 5 queue 60KBytes
	ipfw pipe 3 config bw $1 delay 5 queue 60KBytes
	ipfw pipe 4 config bw $1 delay 5 queue 60KBytes
	ipfw -q add 100 pipe 1 ip from 203.0.113.1 to any out
	ipfw -q add 101 pipe 2 ip from any to 203.0.113.1 in
	ipfw -q add 102 pipe 3 ip from 198.51.100.1 to any out
	ipfw -q add 103 pipe 4 ip from any to 198.51.100.1 in
	ipfw -q add 65000 allow ip from any to any
}
seconds() { echo "$_output" | awk '$2 == "seconds" { print $3 }'; }
shape 8Mbit/s
expect "6 MB over one path of 8 Mbit/s" $flow push -m -n 6000000 $first 5012
one=$(seconds)
best=0
for try in 1 2 3; do
	expect "12 MB over two" $flow push -m -n 12000000 -j $second4 $first 5012
	two=$(seconds)
	echo "$_output" | sed 's/^/# /'
	ratio=$(echo "$one $two" | awk '{ printf "%d", 100 * $1 * 2 / $2 }')
	note "one path: 6 MB in $one s, two paths: 12 MB in $two s: $ratio % of one path (200 would be both)"
	[ "$ratio" -gt "$best" ] && best=$ratio
	[ "$best" -ge 180 ] && break
done
[ "$best" -ge 180 ]
result $? "two paths are within 10 % of the sum of both: $best % of one"

# ---- one path is cut in mid-transfer, and comes back
shape 16Mbit/s
$flow echo -m -n 12000000 -j $second4 -t 20 $first 5009 >/tmp/cut 2>&1 &
transfer=$!
sleep 2
ipfw -q add 50 deny ip from 198.51.100.1 to any
ipfw -q add 51 deny ip from any to 198.51.100.1
wait $transfer
result $? "one path is cut in mid-transfer: the rest comes over the other"
_output=$(cat /tmp/cut)
sed 's/^/# /' /tmp/cut
ipfw -q delete 50 51
[ "$(ours reinjections)" -gt 0 ]
result $? "... what was lost was sent again there"
$flow echo -m -n 24000000 -j $second4 -t 20 $first 5009 >/tmp/cut 2>&1 &
transfer=$!
sleep 2
ipfw -q add 50 deny ip from 198.51.100.1 to any
ipfw -q add 51 deny ip from any to 198.51.100.1
sleep 3
ipfw -q delete 50 51
wait $transfer
result $? "one path is cut for three seconds"
_output=$(cat /tmp/cut)
sed 's/^/# /' /tmp/cut
used=$(echo "$_output" | awk '$1 == "subflow" && $2 == 1 { print $8 }')
[ "${used:-0}" -gt 6000000 ]
result $? "... and is used again afterwards: $used octets"
# The first subflow's path.
$flow echo -m -n 12000000 -j $second4 -t 20 $first 5009 >/tmp/cut 2>&1 &
transfer=$!
sleep 2
ipfw -q add 50 deny ip from 203.0.113.1 to any
ipfw -q add 51 deny ip from any to 203.0.113.1
wait $transfer
result $? "the first subflow's path is cut: the rest comes over the other"
sed 's/^/# /' /tmp/cut
ipfw -q flush
ipfw -q add 65000 allow ip from any to any

# ---- addresses the peer announces, and takes back
# The Linux end tells its second address in the first answer; the connection lasts long enough to take it back.
ask announce 198.51.100.2
$flow echo -m -n 3000000 -r 600000 -j $second4 $first 5009 >/tmp/announced 2>&1 &
transfer=$!
announced() { [ "$(ours add_addr_received)" -gt 0 ]; }
wait_for 10 announced
result $? "Linux announces an address"
echoed() { linux EchoAdd; [ "$value" -gt 0 ]; }
wait_for 10 echoed
result $? "... and has our echo: $value"
ask withdraw
withdrawn() { [ "$(ours remove_addr_received)" -gt 0 ]; }
wait_for 10 withdrawn
result $? "... and takes it back"
wait $transfer
result $? "the transfer goes on over what is left"
sed 's/^/# /' /tmp/announced
[ "$(ours add_addr_bad_hmac)" -eq 0 ]
result $? "no ADD_ADDR had a wrong HMAC"

# ---- ended in mid-transfer
killed=0
while [ $killed -lt 20 ]; do
	$flow echo -m -n 50000000 -j $second4 -j $first6 $first 5009 >/dev/null 2>&1 &
	transfer=$!
	# At all stages, the joins' handshakes among them.
	sleep 0.$((killed % 5))
	kill -9 $transfer
	wait $transfer 2>/dev/null
	killed=$((killed + 1))
done
gone() { ask sockets; [ "$answer" -eq 0 ]; }
wait_for 60 gone
result $? "$killed programs with three subflows killed in mid-transfer: Linux has no connection left"

# ---- a jail that is removed while it has connections
jail -c name=gone path=/ vnet persist >/dev/null
jexec gone ifconfig lo0 127.0.0.1/8 up
jexec gone $flow echoserve -m 127.0.0.1 5009 &
served() { jexec gone netstat -an -p tcp | grep -q LISTEN; }
wait_for 10 served
jexec gone $flow echo -m -n 500000000 127.0.0.1 5009 >/dev/null 2>&1 &
sleep 1
jail -r gone
removed() { ! jls -j gone; }
wait_for 60 removed
result $? "a jail with MPTCP connections is removed"

# ---- a lot
if [ "$(kenv -q amptcp.short)" != 1 ]; then
	expect "100 MB each way over two subflows" $flow echo -m -n 100000000 -t 60 -j $second4 $first 5009
	echo "$_output" | sed 's/^/# /'
fi

finish_mptcp
