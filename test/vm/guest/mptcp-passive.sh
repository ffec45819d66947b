# SPDX-License-Identifier: BSD-2-Clause
#
# mptcp(4) as a server of Linux clients.
#
#	guest vtnet0 (203.0.113.1, 2001:db8:f::1) ==== tap (.2 to .5, ::2 to ::5) Linux
. /amptcp/library.sh
. /amptcp/mptcp-library.sh

load_mptcp
attach_linux
serve_mptcp 203.0.113.1 5009
serve_mptcp 2001:db8:f::1 5009
record
short=$(kenv -q amptcp.short)

n=0
for address in 203.0.113.1 2001:db8:f::1; do
	case $address in *:*) source=2001:db8:f::2 more="2001:db8:f::3 2001:db8:f::4 2001:db8:f::5" ;; *) source=203.0.113.2 more="203.0.113.3 203.0.113.4 203.0.113.5" ;; esac
	endpoints=
	for subflows in 1 2 3 4; do
		ask endpoints $endpoints
		ask exchange $source $address 5009 3000000 $subflows
		[ "${answer#same mptcp subflows $subflows}" != "$answer" ]
		result $? "a Linux client with $subflows subflows, 3 MB each way, hashes equal ($address: $answer)"
		set -- $more
		[ $# -gt 0 ] && endpoints="$endpoints $1" && shift
		more=$*
	done
done
joins=$(ours join_accepted)
[ "$joins" -eq 12 ]
result $? "$joins further subflows were accepted"

# Linux goes to an address of the other family when it is announced, and if its socket has room for both.
none() { [ -z "$($mptcpctl list)" ]; }
announce() { # ADDRESS: to the next connection
	wait_for 30 none
	(
		_left=300
		while _token=$($mptcpctl list | awk '$3 == "established" { print $2; exit }'); [ -z "$_token" ] && [ $_left -gt 0 ]; do
			_left=$((_left - 1))
			sleep 0.1
		done
		# Not before the peer has been heard.
		wait_for 10 $mptcpctl announce $_token $1
	) &
}
ask endpoints
announce 2001:db8:f::1
ask exchange ::ffff:203.0.113.2 ::ffff:203.0.113.1 5009 3000000 2
[ "${answer#same mptcp subflows 2}" != "$answer" ]
result $? "a Linux client over IPv4, joined over IPv6, 3 MB each way, hashes equal ($answer)"
announce 203.0.113.1
ask exchange 2001:db8:f::2 2001:db8:f::1 5009 3000000 2
[ "${answer#same mptcp subflows 2}" != "$answer" ]
result $? "a Linux client over IPv6, joined over IPv4, 3 MB each way, hashes equal ($answer)"
[ "$(ours join_accepted)" -eq $((joins + 2)) ]
result $? "... $(($(ours join_accepted) - joins)) of the other family were accepted"

if [ "$short" != 1 ]; then
	ask endpoints 203.0.113.3
	ask exchange 203.0.113.2 203.0.113.1 5009 100000000 2
	[ "${answer#same mptcp subflows 2}" != "$answer" ]
	result $? "a Linux client, 100 MB each way over two subflows, hashes equal ($answer)"
fi
recorded
ask captured "ip.src == 203.0.113.1 && tcp.len > 1460"
case $(ifconfig vtnet0) in
*TSO4*) [ "${answer%% *}" -gt 0 ]; result $? "... among them ${answer%% *} that the interface cuts up (TSO)" ;;
*) note "this interface has no TSO" ;;
esac
ask captured "ip.src == 203.0.113.1 && tcp.checksum.status == \"Bad\""
[ "${answer%% *}" = 0 ]
result $? "... and no wrong checksum"
no_fallback "after clients with one to four subflows"

ask endpoints 203.0.113.3
sysctl net.inet.tcp.syncookies_only=1 >/dev/null
ask exchange 203.0.113.2 203.0.113.1 5009 300000 2
[ "${answer#same mptcp subflows 2}" != "$answer" ]
result $? "SYN cookies only: two subflows, hashes equal ($answer)"
sysctl net.inet.tcp.syncookies_only=0 >/dev/null

ask endpoints
before=$(ours fallback_no_capable)
ask exchange 203.0.113.2 203.0.113.1 5009 300000 1 tcp
[ "${answer#same tcp}" != "$answer" ] && [ "$(ours fallback_no_capable)" -eq $((before + 1)) ]
result $? "a client without MPTCP is served by the same listener ($answer)"
ask sysctl mptcp.checksum_enabled 1
ask exchange 203.0.113.2 203.0.113.1 5009 300000
[ "${answer#same mptcp}" != "$answer" ]
result $? "a client that demands checksums ($answer)"
ask sysctl mptcp.checksum_enabled 0
sysctl net.inet.tcp.functions_inherit_listen_socket_stack=0 >/dev/null
ask exchange 203.0.113.2 203.0.113.1 5009 300000
[ "${answer#same fallback}" != "$answer" ]
result $? "children that do not inherit the TCP stack: plain TCP, hashes equal ($answer)"
sysctl net.inet.tcp.functions_inherit_listen_socket_stack=1 >/dev/null
ask many 203.0.113.2 203.0.113.1 5009 1000 200
result $? "200 short connections ($answer)"

mptcp_quiet
