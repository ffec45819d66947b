# SPDX-License-Identifier: BSD-2-Clause
#
# mptcp(4) and peers that keep to no rule: nothing they do takes more than a bounded amount of memory or keeps others from being served.
# And connections whose last subflow goes.
#
#	guest vtnet0 (203.0.113.1, .11) ==== tap ---- Linux (203.0.113.2, .3)
#	                                         \--- hostile.c (198.18.0.0/16, by 203.0.113.66)
. /amptcp/library.sh
. /amptcp/mptcp-library.sh

load_mptcp
attach_linux
ifconfig vtnet0 inet 203.0.113.11/32 alias
arp -s 203.0.113.66 02:00:00:00:00:66 >/dev/null
route -q add -net 198.18.0.0/16 203.0.113.66
sysctl net.inet.mptcp.fin_seconds=3 net.inet.mptcp.orphan_seconds=3 >/dev/null

# Octets of kernel memory in use: the module's own, and the network's buffers.
memory() {
	{
		vmstat -m | awk '$1 == "mptcp" { print $3 }'
		netstat -m | awk '/bytes allocated to network/ { sub(/K.*/, "", $1); print $1 * 1024 }'
	} | awk '{ n += $1 } END { print n }'
}
# Without those of the SYN cache.
sockets() { netstat -an -p tcp | grep -v -e LISTEN -e SYN_RCVD | grep -c "198[.]18"; }
connections() { $mptcpctl state | sed 's/.*connections \([0-9]*\).*/\1/'; }
field() { echo "$answer" | awk -v name="$1" '{ for (i = 1; i < NF; i++) if ($i == name) { print $(i + 1); exit } }'; }
at_most() { # NAME FOUND MOST
	[ "$2" -le "$3" ]
	result $? "$1: $2, at most $3"
}
served() { # WHEN: others are
	ask exchange 203.0.113.2 203.0.113.1 5009 300000
	case $answer in "same mptcp"*) ok "$1 another client is served ($answer)" ;; *) not_ok "$1 another client: $answer" ;; esac
}
echoed() { # WHEN: the hostile peer's own connection still carries data
	ask hostile echo 5000
	case $answer in same*) ok "$1 the connection still carries data ($answer)" ;; *) not_ok "$1 the connection: $answer" ;; esac
}
quiet() { [ "$(sockets)" -eq 0 ] && [ "$(connections)" -eq 0 ]; }
settled() { # NAME
	ask hostile reset
	wait_for 60 quiet
	result $? "$1: no connection is left ($(sockets) sockets, $(connections) connections)"
}

$flow echoserve -m 203.0.113.1 5009 &
echoserver=$!
wait_for 10 tcp_listens 203.0.113.1 5009
# Linux asks for what `flow serve` does.
kill $echoserver
wait $echoserver 2>/dev/null
serve_mptcp 203.0.113.1 5009
$flow echoserve -m 203.0.113.1 5007 &
servers="$servers $!"
wait_for 10 tcp_listens 203.0.113.1 5007
served "at first"
wait_for 60 quiet
before=$(memory)
note "memory $before"

# ---- handshakes
ask hostile halfopen 5009 3000
[ "$(field mptcp)" -gt 1000 ]
result $? "3,000 SYNs with MP_CAPABLE and nothing behind them: $answer"
at_most "... connections" $(connections) 0
at_most "... octets of memory" $(($(memory) - before)) 1000000
served "beside 3,000 half-open connections"
blocks() { vmstat -z | awk -F '[:,]' '$1 == "tcp_inpcb" { print $4 + 0 }'; }
blocks_before=$(blocks)
ask hostile undecided 5009 300
note "undecided: $answer"
# To netstat they are the same as those half open.
at_most "300 handshakes whose third ACK tells nothing: control blocks" $(($(blocks) - blocks_before)) 64
served "beside them"
settled "half-open connections"
wait_for 20 sh -c "[ \$(vmstat -z | awk -F '[:,]' '\$1 == \"tcp_inpcb\" { print \$4 + 0 }') -le $blocks_before ]"
result $? "... nor a control block ($(($(blocks) - blocks_before)) more than before)"

# The program does not accept: a queue of 10 and half as many more for the TCP listener, as always.
$mptcp listen 203.0.113.1 5020 10 >/tmp/listen &
listener=$!
servers="$servers $listener"
wait_for 10 grep -q listening /tmp/listen
ask hostile open 5020 300
note "nobody accepts: $answer"
at_most "300 connections to a queue of 10: sockets" $(sockets) 40
at_most "... connections" $(connections) 40
served "beside them"
kill -USR1 $listener
accepted() { grep -q "^accepted" /tmp/listen; }
wait_for 20 accepted
result $? "the program accepts at last: $(tail -1 /tmp/listen)"
[ "$(awk '$1 == "accepted" { print $2 }' /tmp/listen)" -gt 0 ]
result $? "... what is in its queue"
settled "a queue that was full"
kill $listener
wait $listener 2>/dev/null
$mptcp listen 203.0.113.1 5020 10 >/tmp/listen &
listener=$!
servers="$servers $listener"
wait_for 10 grep -q listening /tmp/listen
ask hostile open 5020 300
kill $listener
wait $listener 2>/dev/null
closed() { [ "$(sockets)" -eq 0 ]; }
wait_for 60 closed
result $? "a listener that goes takes along what is in its queues ($(sockets) sockets)"
settled "... and"

# ---- an accept filter
if [ -f /boot/kernel/accf_data.ko ]; then
	kldload /boot/kernel/accf_data.ko
	$mptcp listen 203.0.113.1 5021 10 dataready >/tmp/listen &
	listener=$!
	servers="$servers $listener"
	wait_for 10 grep -q listening /tmp/listen
	ask hostile open 5021 1
	kill -USR1 $listener
	wait_for 20 accepted
	grep -q "^accepted 0" /tmp/listen
	result $? "accept filter dataready: a connection without data is not there to be accepted ($(tail -1 /tmp/listen))"
	ask hostile send 700
	wait_for 10 sh -c "netstat -an -p tcp | grep -q 198.18"
	again() { kill -USR1 $listener; grep -q "^accepted 1 octets 700" /tmp/listen; }
	wait_for 10 again
	result $? "... with data it is ($(grep -v "accepted 0" /tmp/listen | tail -1))"
	ask hostile open 5021 300
	at_most "300 connections without data: sockets" $(sockets) 60
	served "beside them"
	kill $listener
	wait $listener 2>/dev/null
	wait_for 60 closed
	result $? "... and they go with the listener ($(sockets) sockets)"
	settled "accept filter"
	kldunload accf_data
else
	note "this kernel has no accf_data.ko: the accept filter is skipped"
fi

# ---- joins
ask hostile open 5007 1
unknown=$(ours join_no_token)
ask hostile join 2000 unknown
note "unknown tokens: $answer"
[ "$(field synacks)" -eq 0 ] && [ $(($(ours join_no_token) - unknown)) -eq 2000 ]
result $? "2,000 MP_JOINs with tokens nobody has: no SYN/ACK, $(($(ours join_no_token) - unknown)) counted"
at_most "... octets of memory" $(($(memory) - before)) 1000000
wrong=$(ours join_bad_hmac)
ask hostile join 200 wrong
note "wrong HMACs: $answer"
[ "$(ours join_bad_hmac)" -eq $((wrong + $(field synacks))) ] && [ "$(field accepted)" -eq 0 ] && [ "$(field synacks)" -gt 0 ]
result $? "MP_JOINs with a wrong HMAC: $(field synacks) answered with ours, none accepted, $(($(ours join_bad_hmac) - wrong)) counted"
[ "$(field proofs)" -eq "$(field synacks)" ]
result $? "... ours were right"
one() { [ "$(sockets)" -eq 1 ]; }
wait_for 60 one
result $? "... nothing of them is left ($(sockets) sockets)"
echoed "afterwards"
accepted=$(ours join_accepted)
ask hostile join 20 right
note "too many: $answer"
[ "$(ours join_accepted)" -eq $((accepted + 7)) ]
result $? "of 20 right ones $(($(ours join_accepted) - accepted)) are accepted: a connection has 8 subflows at most"
echoed "with 8 subflows"
ask hostile join 50 silent
note "silent: $answer"
at_most "50 MP_JOINs without a third ACK: answered" "$(field synacks)" 8
ask hostile open 5007 1
ask exchange 203.0.113.2 203.0.113.1 5009 300000 1
settled "joins"

# ---- addresses
ask hostile open 5007 1
$mptcpctl events 100000 600 >/tmp/events &
holder=$!
wait_for 10 grep -q ready /tmp/events
kill -STOP $holder
bad=$(ours add_addr_bad_hmac) came=$(ours add_addr_received)
ask hostile addaddr 5000 wrong
came=$(($(ours add_addr_received) - came))
[ $came -gt 1000 ] && [ $(($(ours add_addr_bad_hmac) - bad)) -eq $came ] && [ "$(field echoes)" -eq 0 ]
result $? "5,000 ADD_ADDRs with a wrong HMAC: none echoed ($answer), $(($(ours add_addr_bad_hmac) - bad)) of $came counted"
ask hostile addaddr 5000 right
note "right ones: $answer"
[ "$(field echoes)" -gt 0 ] && [ "$(ours event_lost)" -gt 0 ]
result $? "5,000 right ones, whose events the manager does not read: echoes $(field echoes), events lost $(ours event_lost)"
at_most "... octets of memory" $(($(memory) - before)) 1000000
kill -KILL $holder
wait $holder 2>/dev/null
echoed "afterwards"
settled "addresses"

# ---- data nobody wants
ask hostile open 5007 1
dropped=$(ours beyond_dropped)
ask hostile beyond 3000
note "beyond: $answer"
[ "${answer% *}" = sent ] && [ "$(ours beyond_dropped)" -gt "$dropped" ]
result $? "3 MB beyond the window are acknowledged by TCP and dropped ($answer)"
at_most "... octets of memory" $(($(memory) - before)) 1000000
echoed "afterwards"
full=$(ours reassembly_full)
ask hostile tiny 12000
note "tiny: $answer, waiting $($mptcpctl list | head -1)"
[ $(($(ours reassembly_full) - full)) -gt 0 ]
result $? "12,000 single octets with gaps: what is too much is dropped ($(($(ours reassembly_full) - full)) times)"
# Eight times the buffer of 64 kB, and what waits elsewhere.
at_most "... octets of memory" $(($(memory) - before)) 2000000
echoed "afterwards"
ask hostile again 2000
note "again: $answer"
at_most "2,000 contradicting mappings of one octet: octets of memory" $(($(memory) - before)) 2000000
ask hostile open 5007 1
ask hostile maps 20000
note "maps: $answer"
at_most "20,000 mappings of octets that do not come: octets of memory" $(($(memory) - before)) 2000000
[ $(($(ours mapping_shortage) + $(ours mapping_outside))) -gt 0 ]
result $? "... too many are refused ($(ours mapping_shortage) for want of room, $(ours mapping_outside) too far)"
# It has spoilt its own connection, and may lose it.
ask hostile send 1000
note "afterwards: $answer"
served "beside it"
settled "data"
# Each look takes seconds.
for try in 1 2 3 4; do
	more=$(($(memory) - before))
	[ $more -lt 300000 ] && break
done
at_most "all memory was given back: octets more than at first" $more 300000

# ---- a jail has its own address and no other, whoever asks for another
kill $servers 2>/dev/null
wait
servers=
jail -c name=ip path=/ ip4.addr=203.0.113.1 persist >/dev/null
jexec ip $flow serve -m 203.0.113.1 5009 &
servers=$!
wait_for 10 tcp_listens 203.0.113.1 5009
accepted=$(ours join_accepted)
ask endpoints 203.0.113.3
ask exchange 203.0.113.2 203.0.113.1 5009 3000000 2
[ "${answer#same mptcp subflows 2}" != "$answer" ] && [ "$(ours join_accepted)" -eq $((accepted + 1)) ]
result $? "a server in a jail: a subflow to its address is accepted ($answer)"
ask endpoints
none() { [ -z "$($mptcpctl list)" ]; }
wait_for 30 none
proven=$(ours join_ack_received)
(
	wait_for 30 sh -c "$mptcpctl list | grep -q established"
	wait_for 10 $mptcpctl announce $($mptcpctl list | awk '$3 == "established" { print $2; exit }') 203.0.113.11
) &
ask exchange 203.0.113.2 203.0.113.1 5009 3000000 2
[ "${answer#same mptcp}" != "$answer" ] && [ "$(ours join_ack_received)" -eq $((proven + 1)) ]
result $? "... a client told of another address of the machine's joins there ($answer)"
[ "$(ours join_accepted)" -eq $((accepted + 1)) ]
result $? "... and is refused: $(($(ours join_accepted) - accepted - 1)) accepted"
kill $servers
wait
servers=
jail -r ip

# ---- the last subflow goes, and another one comes
sysctl net.inet.mptcp.orphan_seconds=60 >/dev/null
# take_away COMMAND: a program's only subflow.
take_away() {
	$mptcp $1 203.0.113.2 5009 >/tmp/program 2>&1 &
	program=$!
	wait_for 10 grep -q waiting /tmp/program
	token=$($mptcpctl list | awk '$3 == "established" { print $2; exit }')
	$mptcpctl remove "$token" 0
	result $? "the only subflow is taken away"
}
take_away twice
alone() { ! $mptcpctl info "$token" | grep -q 'subflow [0-9]* established'; }
wait_for 10 alone
result $? "... and gone ($($mptcpctl info "$token" | head -1))"
kill -USR1 $program
number=$($mptcpctl add "$token" 203.0.113.11 0 203.0.113.2 5009)
result $? "a connection without a subflow gets one from another address: number $number"
wait $program
result $? "... and carries what the program has written meanwhile ($(tail -1 /tmp/program))"
sysctl net.inet.mptcp.orphan_seconds=2 >/dev/null
take_away hold
wait $program
grep -q "timed out" /tmp/program
result $? "without another one it ends after net.inet.mptcp.orphan_seconds ($(tail -1 /tmp/program))"
wait_for 30 none
result $? "... and nothing is left"

mptcp_quiet
