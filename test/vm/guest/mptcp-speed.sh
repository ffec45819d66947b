# SPDX-License-Identifier: BSD-2-Clause
#
# One subflow against plain TCP, on a kernel without debugging, to and from a Linux server: from the guest to itself is no network. The
# processor is counted (see scenarios.ts), so what is compared is the work of either; and the program does next to none of its own.
. /amptcp/library.sh
. /amptcp/mptcp-library.sh
OCTETS=$(kenv -q amptcp.octets || echo 40000000)

if [ -f /amptcp/plain/mptcp.ko ]; then kldload /amptcp/plain/mptcp.ko; else kldload /amptcp/mptcp.ko; fi
result $? "the module loads"
ifconfig vtnet0 inet 203.0.113.1/24 up
expect "the Linux end is on the wire" wait_for 10 ping -c 1 -t 1 203.0.113.2
ask hash $OCTETS
hash=$answer

# took WORDS...: seconds of a transfer, in $seconds; false unless what arrived is what was sent.
took() {
	_output=$($flow "$@" -t 300 -n $OCTETS 203.0.113.2 $port 2>&1) || return 1
	case "$*" in pull*) [ "${_output%% *}" = "$hash" ] || return 1 ;; esac
	seconds=$(echo "$_output" | sed -n 's/.*seconds \([0-9.]*\).*/\1/p')
}
best() { echo "$*" | tr ' ' '\n' | awk '$1 > 0 && (best == 0 || $1 < best) { best = $1 } END { print best }'; }

# compare NAME PORT WORDS...: the best of three rounds of each; of six when the host was busy.
compare() {
	name=$1
	port=$2
	shift 2
	tcp=0 mptcp=0 round=0
	while [ $round -lt 6 ]; do
		round=$((round + 1))
		took "$@"
		result $? "$name, round $round: $OCTETS octets over TCP, hashes equal: $seconds s"
		tcp="$tcp $seconds"
		took "$@" -m
		result $? "$name, round $round: over MPTCP, hashes equal: $seconds s"
		mptcp="$mptcp $seconds"
		ratio=$(echo "$(best $tcp) $(best $mptcp)" | awk '{ printf "%.2f", $1 / $2 }')
		[ $round -ge 3 ] && echo "$ratio" | awk '{ exit !($1 >= 0.7) }' && break
	done
	echo "$ratio" | awk '{ exit !($1 >= 0.7) }'
	result $? "$name: one subflow is $ratio of TCP"
}
took_before=$(ours established)
compare upload 5012 push -q
compare download 5011 pull
[ $(($(ours established) - took_before)) -ge 6 ]
result $? "... and it was MPTCP"
# What is on the wire is judged of a short one: a recorder would take its share of the processor.
record
expect "a download that is recorded" $flow pull -m -n 1000000 203.0.113.2 5011
finish_mptcp
