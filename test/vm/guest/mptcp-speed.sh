# SPDX-License-Identifier: BSD-2-Clause
#
# One subflow against plain TCP, on a kernel without debugging: from the guest to itself is no network, so a Linux server takes part.
. /amptcp/library.sh
OCTETS=$(kenv -q amptcp.octets || echo 40000000)

if [ -f /amptcp/plain/mptcp.ko ]; then kldload /amptcp/plain/mptcp.ko; else kldload /amptcp/mptcp.ko; fi
result $? "the module loads"
ifconfig vtnet0 inet 203.0.113.1/24 up
expect "the Linux end is on the wire" wait_for 10 ping -c 1 -t 1 203.0.113.2
# took WORDS...: seconds of an exchange, in $seconds.
took() {
	_output=$($flow echo -n $OCTETS -t 300 "$@" 2>&1) || return 1
	seconds=$(echo "$_output" | sed -n 's/.*seconds \([0-9.]*\).*/\1/p')
}
took 203.0.113.2 5010
tcp=0 mptcp=0
for round in 1 2 3; do
	took 203.0.113.2 5010
	result $? "round $round: $OCTETS octets each way over TCP, hashes equal: $seconds s"
	tcp="$tcp $seconds"
	took -m 203.0.113.2 5009
	result $? "round $round: over MPTCP, hashes equal: $seconds s"
	mptcp="$mptcp $seconds"
done
best() { echo "$*" | tr ' ' '\n' | awk '$1 > 0 && (best == 0 || $1 < best) { best = $1 } END { print best }'; }
ratio=$(echo "$(best $tcp) $(best $mptcp)" | awk '{ printf "%.2f", $1 / $2 }')
echo "$ratio" | awk '{ exit !($1 >= 0.7) }'
result $? "one subflow is $ratio of TCP"
