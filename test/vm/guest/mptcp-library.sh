# SPDX-License-Identifier: BSD-2-Clause
#
# What the scenarios of mptcp(4) with a Linux end share; see mptcp-peer.ts for what that end can be asked.

mptcp=/amptcp/mptcp
mptcpctl=/amptcp/mptcpctl

# linux NAME: a counter of the Linux kernel's, in $value.
linux() {
	ask counters
	value=0
	for pair in $answer; do
		case $pair in "$1"=*) value=${pair#*=} ;; esac
	done
}
ours() { sysctl -n "net.inet.mptcp.stats.$1"; }

start_mptcp() {
	kldload /amptcp/mptcp.ko
	result $? "the module loads"
	# Connections linger a fifth of a second instead of a minute.
	sysctl net.inet.tcp.msl=100 >/dev/null
	ifconfig vtnet0 inet 203.0.113.1/24 up
	ifconfig vtnet0 inet 198.51.100.1/24 alias
	ifconfig vtnet0 inet6 2001:db8:f::1/64 -ifdisabled no_dad
	ifconfig vtnet0 inet6 2001:db8:e::1/64 no_dad alias
	expect "the Linux end is on the wire" ping -c 2 -t 5 203.0.113.2
	expect "... with IPv6" ping -6 -c 2 -t 5 2001:db8:f::2
	record
}

# record, recorded: what is on the wire from here on, and whether it is as it should be; see wire.ts.
record() {
	ask capture
	result $? "what is on the wire is recorded"
}
recorded() {
	ask wire
	case $answer in
	*" wrong 0 lost "*) not_ok "on the wire: the recorder was too slow ($answer)" ;;
	*" wrong 0"*) ok "on the wire every data segment is within its mapping ($answer)" ;;
	*) not_ok "on the wire: $answer" ;;
	esac
	ask captured "_ws.malformed || mptcp.connection.echoed_key_mismatch || mptcp.connection.unsupported_algorithm || mptcp.connection.missing_algorithm || mptcp.dss.infinite_mapping"
	[ "${answer%% *}" = 0 ]
	result $? "tshark finds no malformed option ($answer)"
}

load_dummynet() {
	kldload /boot/kernel/ipfw.ko /boot/kernel/dummynet.ko 2>/dev/null
	ipfw -q add 65000 allow ip from any to any
}

# Nothing is left, nothing was wrong.
finish_mptcp() {
	recorded
	sysctl net.inet.mptcp.stats | awk '$2 != 0' | sed 's/^/# FreeBSD: /'
	ask counters
	note "Linux: $answer"
	for name in DSSNotMatching DSSNoMatchTCP DSSCorruptionFallback DSSCorruptionReset DataCsumErr MPFailRx \
	    MPCapableFallbackACK MPCapableFallbackSYNACK; do
		linux $name
		[ "$value" -eq 0 ]
		result $? "Linux has counted no $name"
	done
	for name in mapping_refused unmapped_dropped checksum_bad fail_sent; do
		[ "$(ours $name)" -eq 0 ]
		result $? "we have counted no $name"
	done
	# What is left of it then, the kernel complains of.
	wait_for 60 kldunload mptcp
	result $? "every connection ends, and the module unloads"
}

# ---- servers: mptcp-client.ts is the Linux end

# A module and addresses only.
load_mptcp() {
	kldload /amptcp/mptcp.ko
	result $? "the module loads"
	sysctl net.inet.tcp.msl=100 >/dev/null
}

attach_linux() {
	ifconfig vtnet0 inet 203.0.113.1/24 up
	ifconfig vtnet0 inet6 2001:db8:f::1/64 -ifdisabled no_dad
	expect "the Linux end is on the wire" ping -c 2 -t 5 203.0.113.2
	expect "... with IPv6" ping -6 -c 2 -t 5 2001:db8:f::2
}

tcp_listens() { netstat -an -p tcp | grep "LISTEN" | grep -q "$1[.]$2 "; }
# serve_mptcp ADDRESS PORT: what `flow send` and the Linux end's `exchange` talk to.
serve_mptcp() {
	$flow serve -m "$1" "$2" &
	servers="$servers $!"
	wait_for 10 tcp_listens "$1" "$2"
	result $? "a server listens on $1, port $2"
}

# no_fallback WHEN: Linux has counted nothing that should not be.
no_fallback() {
	ask counters
	note "Linux: $answer"
	_bad=
	for _name in MPCapableFallbackSYNACK MPCapableFallbackACK MPCapableDataFallback MPFailRx MPFailTx DSSNotMatching DSSNoMatchTCP \
	    DSSCorruptionFallback DSSCorruptionReset DataCsumErr MPJoinSynAckHMacFailure MPJoinAckHMacFailure MPJoinRejected InfiniteMapRx; do
		for _pair in $answer; do
			case $_pair in $_name=*) _bad="$_bad $_pair" ;; esac
		done
	done
	[ -z "$_bad" ]
	result $? "Linux has counted no fallback and no failure $1$_bad"
}

# mptcp_quiet: everything ends and is given back.
mptcp_quiet() {
	sysctl net.inet.mptcp.stats | awk '$2 != 0' | sed 's/^/# FreeBSD: /'
	kill $servers 2>/dev/null
	wait
	wait_for 60 kldunload mptcp
	result $? "the module unloads"
	kldload /amptcp/mptcp.ko && kldunload mptcp
	result $? "... and loads and unloads again"
}
