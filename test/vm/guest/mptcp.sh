# SPDX-License-Identifier: BSD-2-Clause
#
# mptcp(4) as a client, with one subflow, of a Linux server on the host.
#
#	guest vtnet0 (203.0.113.1, 2001:db8:f::1) ==== tap (.2, ::2) Linux: port 5009 MPTCP, 5010 TCP, both send back what they get
. /amptcp/library.sh
. /amptcp/mptcp-library.sh
says() { $mptcp info "$2" "$3" | grep -q "^$1"; }

kldload /amptcp/mptcp.ko
result $? "the module loads"
# Connections linger a fifth of a second instead of a minute.
sysctl net.inet.tcp.msl=100 >/dev/null
expect "sockets: what is refused, and how" $mptcp sockets
ifconfig vtnet0 inet 203.0.113.1/24 up
ifconfig vtnet0 inet6 2001:db8:f::1/64 -ifdisabled no_dad
expect "the Linux end is on the wire" ping -c 2 -t 5 203.0.113.2
expect "... with IPv6" ping -6 -c 2 -t 5 2001:db8:f::2
record

for address in 203.0.113.2 2001:db8:f::2; do
	expect "both ends speak MPTCP, and the socket says so ($address)" says established $address 5009
	expect "3 MB each way, hashes equal ($address)" $flow echo -m -n 3000000 $address 5009
	note "$_output"
	for n in 1 2 3 4; do
		# The window closes: Linux probes it with octets sent before.
		expect "a half-closed connection whose window closes: DATA_FIN both ways, try $n ($address)" $mptcp half $address 5009
	done
	before=$(ours fallback_no_option)
	expect "a server without MPTCP: 300 kB each way over TCP ($address)" $flow echo -m -n 300000 $address 5010
	expect "... and the socket says so" says fallback $address 5010
	[ $(($(ours fallback_no_option) - before)) -eq 2 ]
	result $? "... and the counter"
	refuse "a port nobody listens on" $mptcp info $address 5999
done
linux MPCapableSYNRX
[ "$value" -ge 12 ]
result $? "Linux has seen MP_CAPABLE in $value SYNs"
linux MPCapableACKRX
[ "$value" -ge 12 ]
result $? "... and in $value third ACKs"

ask sysctl checksum_enabled 1
for address in 203.0.113.2 2001:db8:f::2; do
	expect "a server that demands checksums: MPTCP with them ($address)" says established $address 5009
	expect "... 300 kB each way" $flow echo -m -n 300000 $address 5009
	expect "... and half-closed: a DATA_FIN has a checksum, too" $mptcp half $address 5009
done
linux MPCapableFallbackACK
[ "$value" -eq 0 ]
result $? "... and Linux accepts them"
ask sysctl checksum_enabled 0
sysctl net.inet.mptcp.checksum=1 >/dev/null
expect "checksums because we ask for them: 300 kB each way" $flow echo -m -n 300000 203.0.113.2 5009
sysctl net.inet.mptcp.checksum=0 >/dev/null
sysctl net.inet.mptcp.enabled=0 >/dev/null
expect "net.inet.mptcp.enabled=0: TCP" says fallback 203.0.113.2 5009
sysctl net.inet.mptcp.enabled=1 >/dev/null

linux MPFastcloseRx
before=$value
expect "a linger time of 0" $mptcp abort 203.0.113.2 5009
linux MPFastcloseRx
[ "$value" -gt "$before" ]
result $? "... is an MP_FASTCLOSE to Linux"
$mptcp hold 203.0.113.2 5009 >/tmp/hold &
wait_for 10 grep -q waiting /tmp/hold
ask reset
wait $!
grep -q "reset by peer" /tmp/hold
result $? "Linux's MP_FASTCLOSE resets the connection ($(tail -1 /tmp/hold))"
[ "$(ours fastclose_received)" -ge 1 ]
result $? "... and is counted"

$mptcp hold 203.0.113.2 5009 >/tmp/hold &
holder=$!
wait_for 10 grep -q waiting /tmp/hold
refuse "the module stays while a socket is open" kldunload mptcp
kill $holder
wait $holder 2>/dev/null

expect "200 connections one after the other, every other one aborted" $mptcp loop 203.0.113.2 5009 200

# Emulated, under a debugging kernel, against a busy host: a figure, not a proof.
for round in 1 2; do
	note "10 MB each way over TCP:   $($flow echo -n 10000000 203.0.113.2 5010)"
	note "10 MB each way over MPTCP: $($flow echo -m -n 10000000 203.0.113.2 5009)"
done

retransmitted() { netstat -s -p tcp | awk '/data packets? .*retransmitted/ { print $1; exit }'; }
before=$(retransmitted)
kldload /boot/kernel/ipfw.ko /boot/kernel/dummynet.ko 2>/dev/null
ipfw -q add 65000 allow ip from any to any
ipfw pipe 1 config plr 0.03 delay 5
ipfw pipe 2 config delay 25
ipfw -q add 100 prob 0.05 pipe 2 tcp from any to any
ipfw -q add 200 pipe 1 tcp from any to any
for address in 203.0.113.2 2001:db8:f::2; do
	expect "3 % loss and 5 % out of order, 1 MB each way ($address)" $flow echo -m -n 1000000 -t 300 $address 5009
	note "$_output"
	expect "... and half-closed" $mptcp half $address 5009
done
[ "$(retransmitted)" -gt $((before + 10)) ]
result $? "... and there was loss: $(($(retransmitted) - before)) segments were sent again"
ipfw -q flush
kldunload dummynet ipfw 2>/dev/null

recorded
sysctl net.inet.mptcp.stats | awk '$2 != 0' | sed 's/^/# FreeBSD: /'
ask counters
note "Linux: $answer"
for name in DSSNotMatching DSSNoMatchTCP DSSCorruptionFallback DSSCorruptionReset MPCapableFallbackSYNACK MPCapableFallbackACK DataCsumErr MPFailRx; do
	linux $name
	[ "$value" -eq 0 ]
	result $? "Linux has counted no $name"
done
linux WinProbe
[ "$value" -gt 0 ] && [ "$(ours old_skipped)" -gt 0 ]
result $? "closed windows were probed $value times, and $(ours old_skipped) segments' octets left out"
[ "$(ours mapping_refused)" -eq 0 ]
result $? "no mapping was refused"
# What is left of it then, the kernel complains of.
wait_for 60 kldunload mptcp
result $? "every connection ends, and the module unloads"
kldload /amptcp/mptcp.ko && kldunload mptcp
result $? "... and loads and unloads again"
