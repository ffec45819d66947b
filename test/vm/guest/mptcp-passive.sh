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
ask capture

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
ask wire
case $answer in *" wrong 0"*) ok "on the wire every data segment is within its mapping ($answer)" ;; *) not_ok "on the wire: $answer" ;; esac
ask captured "_ws.malformed || mptcp.connection.echoed_key_mismatch || mptcp.connection.unsupported_algorithm || mptcp.dss.infinite_mapping"
[ "${answer%% *}" = 0 ]
result $? "tshark finds no malformed option ($answer)"
ask captured "ip.src == 203.0.113.1 && tcp.checksum.status == \"Bad\""
[ "${answer%% *}" = 0 ]
result $? "... and no wrong checksum"
no_fallback "after clients with one to four subflows"
joins=$(ours join_accepted)
[ "$joins" -eq 12 ]
result $? "$joins further subflows were accepted"

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
