# SPDX-License-Identifier: BSD-2-Clause
#
# MPTCP in the client's name: each subflow is bound to an address that is not the gateway's, and its answers come back to it.
#
#	ha -------- xa ====== 203.0.111.0/24 ====== the providers' ====== Linux: RLOCs 203.0.121.1, 203.0.122.1
#	            xa ====== 203.0.112.0/24 ====== router              EIDs 198.18.2.10 (two RLOCs), .5.10 (no MPTCP)
#
#	ha	client; its address is an EID behind xa
#	xa	the gateway: pf under 'block all', tproxy(4), mptcp(4), lisp(4); an agent does what the daemon, on the host, calls
#	router	the guest itself, no jail
. /amptcp/library.sh
tproxy=/amptcp/tproxy

for module in pf ipdivert; do kldload /boot/kernel/$module.ko; done
for module in tproxy lisp mptcp; do kldload /amptcp/$module.ko; done
network_to_linux
jexec xa sysctl net.inet.tproxy.linger=1 >/dev/null
wait_for 10 jexec xa ping -c 1 -t 1 203.0.121.1
wait_for 10 jexec xa ping -c 1 -t 1 203.0.122.1
cat >/tmp/pf.conf <<'RULES'
set skip on { lo0, vtnet1 }
block all
anchor "amptcp"
RULES
jexec xa pfctl -q -f /tmp/pf.conf 2>/dev/null
jexec xa pfctl -q -e 2>/dev/null
jexec ha tcpdump -n -l -i epair0a --immediate-mode 'tcp[tcpflags] & tcp-rst != 0' >/tmp/resets 2>/tmp/resets.err &
wait_for 10 grep -q listening /tmp/resets.err

jexec xa /amptcp/agent 10.0.2.15 4343 &
agent=$!
wait_for 10 listening xa 4343
ask start client
started=$?
result $started "the daemon starts: $answer"
[ $started -eq 0 ] || exit 0
case $answer in "multipath true"*) ok "... with mptcp(4)" ;; *) not_ok "with mptcp(4): $answer" ;; esac

expect "a server with two RLOCs: hashes equal" jexec ha $flow echo -n 3000000 -t 120 198.18.2.10 5001
note "$_output"
ask peers
case $answer in *198.18.1.10) ok "... which saw the client's address: $answer" ;; *) not_ok "the client's address: $answer" ;; esac
ask linux
note "Linux: $answer"
case $answer in *MPJoinAckRx=*) ok "... on more than one subflow" ;; *) not_ok "more than one subflow: $answer" ;; esac
ask paths
note "paths: $answer"
expect "a server without MPTCP: hashes equal" jexec ha $flow echo -n 300000 -t 60 198.18.5.10 5001
ask peers
case $answer in *198.18.1.10) ok "... which saw the client's address: $answer" ;; *) not_ok "the client's address: $answer" ;; esac
[ ! -s /tmp/resets ]
result $? "the client never answered what was not for it: no RST"
told=$(jexec ha $tproxy connect 198.18.2.10 5002)
[ "${told%% *}" = refused ]
result $? "a port that refuses, refuses the client ($told)"
no_flows() { [ "$(jexec xa sysctl -n net.inet.tproxy.flows)" -eq 0 ]; }
expect "tproxy(4) forgets the flows" wait_for 60 no_flows
no_flows || { jexec xa $tproxy list; jexec xa netstat -an -p tcp; } | sed 's/^/#   /'
ask counters
note "daemon: $answer"
ask stop
result $? "the daemon stops"
wait $agent
for jail in ha xa; do jail -r $jail; done
# While there is a connection it stays.
expect "every connection goes, and the module with them" wait_for 30 kldunload mptcp
vmstat -m | awk '$1 == "mptcp" { found = 1 } END { exit found }'
result $? "no memory of the module's type is left"
