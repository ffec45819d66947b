# SPDX-License-Identifier: BSD-2-Clause
#
# Random options and random segments in live connections: mptcp(4) may lose the connection, and nothing else.
#
#	guest vtnet0 (203.0.113.1, 2001:db8:f::1) ==== middlebox.c ==== tap (.2, .3, ::2) Linux
. /amptcp/library.sh
. /amptcp/mptcp-library.sh

rounds=${rounds:-6}
load_mptcp
attach_linux
serve_mptcp 203.0.113.1 5009
serve_mptcp 2001:db8:f::1 5009
ask endpoints 203.0.113.3
ask patience 10

# storm KIND PERMILLE: connections both ways, while the middlebox does it to what Linux sends (and sometimes to both).
storm() {
	ask box clear
	_good=0 _broken=0 _wrong=0
	for seed in $(seq 1 $rounds); do
		for side in linux freebsd; do
			ask box noise $side 0 0
			ask box forge $side 0 0
		done
		ask box $1 linux $2 $seed
		[ $((seed % 3)) -eq 0 ] && ask box $1 freebsd $2 $((seed + 1000))
		[ $((seed % 4)) -eq 0 ] && ask box forge linux $2 $((seed + 2000))
		case $((seed % 3)) in
		0) ask exchange 203.0.113.2 203.0.113.1 5009 300000 ;;
		1) ask exchange 2001:db8:f::2 2001:db8:f::1 5009 300000 ;;
		2) answer=$($flow echo -m -n 300000 -t 10 203.0.113.2 5009 2>&1) ;;
		esac
		case $answer in
		*DIFFERENT*|*"something else"*) _wrong=$((_wrong + 1)) ;;
		*same*) _good=$((_good + 1)) ;;
		*) _broken=$((_broken + 1)) ;;
		esac
	done
	ask box counts
	note "$answer"
	ok "$rounds connections with $1 at $2 in a thousand: $_good unharmed, $_broken ended, $_wrong with other data ($answer)"
}
storm noise 20
storm noise 200
storm forge 20
storm forge 200

ask box clear
ask exchange 203.0.113.2 203.0.113.1 5009 300000 2
[ "${answer#same mptcp subflows 2}" != "$answer" ]
result $? "afterwards a connection is as it should be ($answer)"
ask counters
note "Linux: $answer"
mptcp_quiet
