# SPDX-License-Identifier: BSD-2-Clause
#
# amptcpd with the role data-centre on FreeBSD, which is an xTR as well; at the other end of two links a gateway and map-server on Linux.
#
#	client -- gateway ==== 203.0.111.0/24 ==== xb ---- hb: servers of plain TCP, 198.18.2.200 and 2001:db8:2:0:1::200
#	          (Linux) ==== 203.0.112.0/24 ====
#
#	client: SYN -> gateway: Map-Request, MP_CAPABLE, MP_JOIN, each pinned to its path -> xb: lisp(4) decapsulates, gleans; pf diverts
#	(IPv6: tproxy(4) captures) the first SYN; TCP to hb; mptcp(4) accepts, in the server's name, both subflows -> answers: lisp0, each by
#	the path it came by
. /amptcp/library.sh

for module in pf ipdivert; do kldload /boot/kernel/$module.ko; done
# In the other order than in `data-centre`: packet hooks come in the order of loading.
for module in lisp tproxy mptcp; do kldload /amptcp/$module.ko; done
sysctl net.inet.tcp.msl=100 >/dev/null
ifconfig epair5 create >/dev/null
make_jail xb vtnet0 vtnet1 vtnet3 epair5b
make_jail hb epair5a
jexec xb sysctl net.inet.tproxy.linger=1 net.inet.tproxy.connect_timeout=5 >/dev/null
for n in 1 2; do
	jexec xb ifconfig vtnet$((n - 1)) inet 203.0.11$n.2/24 up
done
jexec xb ifconfig vtnet3 inet 10.0.2.15/24 up
address xb epair5b 198.18.2.129/25 2001:db8:2:0:1::1/80
address hb epair5a 198.18.2.200/25 2001:db8:2:0:1::200/80
route4 hb 0.0.0.0/0 198.18.2.129
route6 hb ::/0 2001:db8:2:0:1::1
jexec xb route -q add -host 203.0.113.53 203.0.111.1
expect "the gateway is reached by the first link" wait_for 10 jexec xb ping -c 1 -t 1 203.0.111.1
expect "... and the second" wait_for 10 jexec xb ping -c 1 -t 1 203.0.112.1
expect "the servers are there" wait_for 10 jexec xb ping -c 1 -t 1 198.18.2.200
expect "... with IPv6" wait_for 10 jexec xb ping -6 -c 1 -t 1 2001:db8:2:0:1::200
for address in 198.18.2.200 2001:db8:2:0:1::200; do jexec hb $flow echoserve $address 5001 & done
both_listen() { [ "$(jexec hb netstat -an -p tcp | grep -c '[.]5001 .*LISTEN')" -eq 2 ]; }
wait_for 10 both_listen
cat >/tmp/pf.conf <<'RULES'
set skip on { lo0, vtnet3 }
block all
pass quick inet6 proto icmp6 all icmp6-type { neighbrsol, neighbradv, routersol, routeradv } no state
anchor "amptcp"
RULES
jexec xb pfctl -q -f /tmp/pf.conf 2>/dev/null
jexec xb pfctl -q -e 2>/dev/null

ask gateway patient
result $? "gateway and map-server on Linux: $answer"
start_agent() {
	jexec xb /amptcp/agent -f 1024 10.0.2.15 4343 &
	agent=$!
	wait_for 10 listening xb 4343
}
start_agent
ask start data-centre
started=$?
result $started "amptcpd on FreeBSD's kernel: $answer"
[ $started -eq 0 ] || exit 0
case $answer in 'freebsd data-centre kernel') ok "... as data-centre, with lisp(4)" ;; *) not_ok "as data-centre, with lisp(4)" ;; esac
# says WORDS PATTERN: what the host answers matches.
says() {
	ask "$1"
	case $answer in $2) return 0 ;; esac
	return 1
}
wait_for 30 says registrations '*198.18.2.0/24=203.0.111.2,203.0.112.2*2001:db8:2::/64=203.0.111.2,203.0.112.2*'
result $? "the map-server knows the site, with both RLOCs"

ours() { jexec xb sysctl -n net.inet.mptcp.stats.$1; }
gleaned() { jexec xb $lisp pins | grep gleaned; }
carried() { # packets received over each of both straight paths
	for n in 1 2; do
		jexec xb $lisp paths | awk -v l=203.0.11$n.2 -v r=203.0.11$n.1 '$1 == l && $2 == r { n = $10 } END { print n + 0 }'
	done | tr '\n' ' '
}
two() { ask subflows; case $answer in *,*) return 0 ;; esac; return 1; }
for address in 198.18.2.200 2001:db8:2:0:1::200; do
	accepted=$(ours join_accepted) capable=$(ours capable_ack_received)
	before=$(carried)
	ask begin $address 5001 4000000
	wait_for 20 two
	result $? "the gateway has two subflows to a server without MPTCP ($address)"
	subflows=$answer
	says connections '*192.0.2.*tcp established*' || says connections '*2001:db8:9::*tcp established*'
	result $? "the daemon has it, with TCP to the server: $answer"
	echo "$subflows" | tr ',' '\n' | while read -r source port local remote; do
		if gleaned | grep -q " 5001 $source $port path $remote $local gleaned"; then
			ok "$source:$port came by $local > $remote and is answered by $remote > $local"
		else
			not_ok "the way back of $source:$port, which came by $local > $remote"
			gleaned | grep " $port " | sed 's/^/#   /'
		fi
	done
	ask finish
	case $answer in same*) ok "4 MB both ways, hashes equal ($address: $answer)" ;; *) not_ok "$address: $answer" ;; esac
	# A path that is thought to be down for a moment is joined again.
	capable=$(($(ours capable_ack_received) - capable)) accepted=$(($(ours join_accepted) - accepted))
	[ $capable -eq 1 ] && [ $accepted -ge 1 ]
	result $? "mptcp(4) counts one connection and a further subflow ($capable, $accepted)"
	set -- $before $(carried)
	[ $(($3 - $1)) -gt 50 ] && [ $(($4 - $2)) -gt 50 ]
	result $? "both paths carried: $(($3 - $1)) and $(($4 - $2)) packets"
done
ask echo 198.18.2.200 5002 1000
case $answer in *ECONNRESET*|*ECONNREFUSED*) ok "a port that refuses, refuses the client ($answer)" ;; *) not_ok "refused: $answer" ;; esac

# A provider is lost: the gateway takes its subflow away, the connection lives on.
ask begin 198.18.2.200 5001 3000000
wait_for 20 two
result $? "another transfer"
jexec xb ifconfig vtnet1 down
ask finish
case $answer in same*) ok "... goes on by the other path when a provider is lost, hashes equal ($answer)" ;; *) not_ok "with a path lost: $answer" ;; esac
jexec xb ifconfig vtnet1 up

no_flows() { [ "$(jexec xb sysctl -n net.inet.tproxy.flows)" -eq 0 ]; }
expect "tproxy(4) forgets the flows" wait_for 90 no_flows
ask begin 198.18.2.200 5001 20000000
wait_for 20 says connections '*tcp established*'
result $? "a transfer: $answer"
ask kill
wait $agent
expect "killed: tproxy(4) forgets its flows" wait_for 10 no_flows
ask finish
case $answer in *same*) not_ok "a proxied connection outlives its proxy: $answer" ;; *) ok "... and the client sees its connection end ($answer)" ;; esac
start_agent
ask start data-centre
result $? "the daemon starts again: $answer"
wait_for 60 says 'paths gateway' '*203.0.111.1>203.0.111.2 up*'
result $? "... and answers probes"
ask echo 198.18.2.200 5001 300000
case $answer in same*) ok "... hashes equal ($answer)" ;; *) not_ok "after the restart: $answer" ;; esac
ask warnings
note "said: $answer"
ask linux
note "Linux: $answer"
jexec xb sysctl net.inet.mptcp.stats net.inet.tproxy.stats | awk '$2 != 0' | sed 's/^/# FreeBSD: /'
ask stop
result $? "it stops: $answer"
wait $agent
[ -z "$(jexec xb pfctl -a amptcp -s rules 2>/dev/null)" ]
result $? "... its rules are gone"
for jail in xb hb; do jail -r $jail; done
for module in mptcp tproxy lisp; do expect "$module(4) unloads" wait_for 60 kldunload $module; done
[ "$(dmesg | grep -c 'mptcp leaked')" -eq 0 ]
result $? "... and every connection's memory was given back"
