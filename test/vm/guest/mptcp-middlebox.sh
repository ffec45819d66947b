# SPDX-License-Identifier: BSD-2-Clause
#
# mptcp(4) through a middlebox: what RFC 8684 section 3.7 is for.
#
#	guest vtnet0 (203.0.113.1) ==== middlebox.c ==== tap (203.0.113.2, .3) Linux: port 5009 MPTCP, 5010 TCP, both send back
. /amptcp/library.sh
. /amptcp/mptcp-library.sh

load_mptcp
attach_linux
serve_mptcp 203.0.113.1 5009
ask patience 10

# rules RULE...: a rule for each argument.
rules() {
	ask box clear
	for _rule in "$@"; do
		ask box $_rule || not_ok "rule $_rule: $answer"
	done
}

# client NAME OUTCOME RULE...: FreeBSD is the client. OUTCOME: same, different (all octets, altered as on the way), whole (either ends
# well, or in an error, but not with other data).
client() {
	_name=$1 _want=$2
	shift 2
	rules "$@"
	_begun=$(date +%s)
	_output=$($flow echo -m -n 300000 -t 10 203.0.113.2 5009 2>&1)
	# Given up after the patience of the program is a connection that stood still.
	[ "$(($(date +%s) - _begun))" -lt 10 ] || _output="stood still: ${_output#flow: broken off}"
	verdict "$_name" "$_want"
}

# server NAME OUTCOME RULE...: Linux is.
server() {
	_name=$1 _want=$2
	shift 2
	rules "$@"
	ask exchange 203.0.113.2 203.0.113.1 5009 300000
	_output=$answer
	verdict "$_name" "$_want"
}

verdict() {
	case $_output in
	*DIFFERENT*|*"something else"*) _is=different ;;
	*same*) _is=same ;;
	*"no verdict"*|*"broken off"*|*reset*|*RESET*|*aborted*|*closed*) _is=broken ;;
	# Linux that has reset the only subflow itself tells its program a minute later; here it is known at once.
	"failed still"*) netstat -an -p tcp | grep ESTABLISHED | grep -q "[.]5009 " && _is=unknown || _is=broken ;;
	*) _is=unknown ;;
	esac
	ask box counts
	case $_want:$_is in
	$_is:*|whole:same|whole:broken) ok "$1: $_is ($answer)" ;;
	*) not_ok "$1: $_is ($_output; $answer)" ;;
	esac
}

client "client, nothing done" same
client "client, options taken out of SYNs" same "strip freebsd syn"
client "client, ... of SYN/ACKs" same "strip linux synack"
client "client, everything but SYN and SYN/ACK, from the client" same "strip freebsd ack" "strip freebsd data"
client "client, ... from the server" whole "strip linux ack" "strip linux data"
client "client, ... both ways" same "strip freebsd ack" "strip freebsd data" "strip linux ack" "strip linux data"
client "client, both ways in mid-transfer" whole "strip freebsd all 20" "strip linux all 20"
client "client, the server's in mid-transfer" whole "strip linux data 20"
client "client, its own in mid-transfer" whole "strip freebsd data 20"

server "server, nothing done" same
server "server, options taken out of SYNs" same "strip linux syn"
server "server, ... of SYN/ACKs" same "strip freebsd synack"
server "server, everything but SYN and SYN/ACK, from the client" same "strip linux ack" "strip linux data"
server "server, the third ACK only" same "strip linux ack"
server "server, ... from the server" whole "strip freebsd ack" "strip freebsd data"
server "server, ... both ways" same "strip freebsd ack" "strip freebsd data" "strip linux ack" "strip linux data"
server "server, both ways in mid-transfer" whole "strip freebsd all 20" "strip linux all 20"
server "server, the client's in mid-transfer" whole "strip linux data 20"
server "server, its own in mid-transfer" whole "strip freebsd data 20"

# Checksums: altered data is not taken for MPTCP's.
ask sysctl mptcp.checksum_enabled 1
sysctl net.inet.mptcp.checksum=1 >/dev/null
bad=$(ours checksum_bad)
client "client, checksums, nothing done" same
client "client, checksums, the server's data altered" different "alter linux 20"
server "server, checksums, nothing done" same
server "server, checksums, the client's data altered" different "alter linux 20"
[ "$(ours checksum_bad)" -eq $((bad + 2)) ]
result $? "both were seen here ($(($(ours checksum_bad) - bad)))"
[ "$(ours fail_sent)" -ge 2 ]
result $? "... and told to the peer ($(ours fail_sent))"
client "client, checksums, its own data altered" different "alter freebsd 20"
server "server, checksums, its own data altered" different "alter freebsd 20"
linux DataCsumErr
[ "$value" -ge 2 ]
result $? "Linux has seen them ($value)"
[ "$(ours fail_received)" -ge 2 ]
result $? "... and told us ($(ours fail_received))"
# With another subflow nothing of it reaches the program.
ask endpoints 203.0.113.3
for from in linux freebsd; do
	rules "alter $from 40"
	ask exchange 203.0.113.2 203.0.113.1 5009 1000000 2
	[ "${answer#same mptcp}" != "$answer" ]
	result $? "two subflows, checksums, an octet from $from altered: hashes equal ($answer)"
done
ask endpoints
ask sysctl mptcp.checksum_enabled 0
sysctl net.inet.mptcp.checksum=0 >/dev/null
rules
ask exchange 203.0.113.2 203.0.113.1 5009 300000
[ "${answer#same mptcp}" != "$answer" ]
result $? "at the end all is as at the beginning ($answer)"
ask counters
note "Linux: $answer"
mptcp_quiet
