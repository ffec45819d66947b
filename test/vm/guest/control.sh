# SPDX-License-Identifier: BSD-2-Clause
#
# The mapping system: who is where is nowhere configured, but asked, probed and told. See library.sh for the network.
#
#	gateway (xa) --Map-Request--> map-server (host, behind p1) --Map-Request--> xTR of the site (xb) --Map-Reply--> gateway
#	gateway <--probes, SMR--> xTR
. /amptcp/library.sh

for module in pf ipdivert; do kldload /boot/kernel/$module.ko; done
kldload /amptcp/tproxy.ko
kldload /amptcp/lisp.ko
writable_etc
add_account amptcp 434
build_network
host_behind_p1
sysctl net.inet.tcp.rexmit_initial=500 >/dev/null
route4 p1 203.0.112.0/24 203.0.111.1
route4 p1 203.0.122.0/24 203.0.121.1
# What has no mapping is reached by ordinary routes.
jexec xb ifconfig epair5b inet 198.18.3.1/24 alias
jexec hb ifconfig epair5a inet 198.18.3.10/24 alias
route4 xa 198.18.3.0/24 203.0.111.254
route4 p1 198.18.3.0/24 203.0.121.1
route4 p1 198.18.1.0/24 203.0.111.1
route4 xb 198.18.1.0/24 203.0.121.254
expect "the client reaches what has no mapping" wait_for 10 jexec ha ping -c 1 -t 1 198.18.3.10

cat >/tmp/pf.conf <<'RULES'
set skip on lo0
block all
pass quick inet6 proto icmp6 all icmp6-type { neighbrsol, neighbradv, routersol, routeradv } no state
pass quick on epair1a proto tcp from 203.0.150.10 to 203.0.111.1 flags any no state
pass quick on epair1a proto tcp from 203.0.111.1 to 203.0.150.10 flags any no state
anchor "amptcp"
pass in on epair0b proto tcp from any to 198.18.3.0/24
pass out on epair1a proto tcp from 198.18.1.0/24 to 198.18.3.0/24
RULES
# Its status is worth nothing where there are no fingerprints of operating systems.
jexec xa pfctl -q -f /tmp/pf.conf 2>/dev/null
jexec xa pfctl -q -e 2>/dev/null
for address in 198.18.2.10 2001:db8:2::10 198.18.3.10; do serve hb $address 5001; done
jexec hb tcpdump -n -l -i epair5a --immediate-mode 'tcp[tcpflags] & tcp-syn != 0' >/tmp/seen 2>/tmp/seen.err &
wait_for 10 grep -q listening /tmp/seen.err

agents=
for side in xa:203.0.111.1 xb:203.0.121.1; do
	is_native start gateway && break
	jexec ${side%%:*} /amptcp/agent -f 1024 ${side#*:} 4343 &
	agents="$agents $!"
	wait_for 10 listening ${side%%:*} 4343
done
for daemon in map site gateway; do
	ask start $daemon
	started=$?
	result $started "$daemon starts: $answer"
	[ $started -eq 0 ] || exit
done

# told TEXT WORDS...: the answer of the host to WORDS has TEXT in it.
told() {
	_text=$1
	shift
	ask "$@" && case $answer in *"$_text"*) true ;; *) false ;; esac
}
show() { echo "get gateway /v1/mappings/show?eid=$1"; }
# by_reply EID RLOC...: the gateway has learnt that mapping, with these RLOCs and no others.
by_reply() {
	_eid=$1
	shift
	told '"source":"map-reply"' $(show "$_eid") || return 1
	[ "$(echo "$answer" | grep -o '"rloc"' | wc -l)" -eq $# ] || return 1
	for _rloc in "$@"; do case $answer in *"\"$_rloc\""*) ;; *) return 1 ;; esac done
}
registered() { # EID...
	ask get map /v1/registrations || return 1
	for _eid in "$@"; do case $answer in *"\"$_eid\""*) ;; *) return 1 ;; esac done
}
wait_for 30 registered 192.0.2.8/30 2001:db8:9::8/126 198.18.2.0/24 2001:db8:2::/64
result $? "both sites register with the map-server"
told '"not-found"' $(show 198.18.2.0/24)
result $? "the gateway knows of no mapping yet: $answer"

expect "the first connection: its SYN is held, the mapping asked for" jexec ha $flow send -n 300000 198.18.2.10 5001
by_reply 198.18.2.0/24 203.0.121.1 203.0.122.1
result $? "... by Map-Request and Map-Reply: $answer"
expect "... with IPv6" jexec ha $flow send -n 300000 2001:db8:2::10 5001
by_reply 2001:db8:2::/64 203.0.121.1 203.0.122.1
result $? "... by Map-Request and Map-Reply"
[ "$(grep -c 'IP 192.0.2.[0-9]*[.]' /tmp/seen)" -gt 0 ] && [ "$(grep -c 'IP 198.18.1.10[.]' /tmp/seen)" -eq 0 ]
result $? "... the server saw the gateway"
expect "what has no mapping passes" jexec ha $flow send -n 100000 198.18.3.10 5001
[ "$(grep -c 'IP 198.18.1.10[.]' /tmp/seen)" -gt 0 ] && told 198.18.3 get gateway /v1/bypass
result $? "... by a negative Map-Reply, as the client itself: $answer"

all_up() { ask get gateway /v1/paths && [ "$(echo "$answer" | grep -o '"state":"up"' | wc -l)" -eq 4 ]; }
wait_for 40 all_up
result $? "probes: four paths are up: $(echo "$answer" | grep -o '"rttMs":[0-9.]*' | tr '\n' ' ')"
two_down() { ask get gateway /v1/paths && [ "$(echo "$answer" | grep -o '"state":"down"' | wc -l)" -ge 1 ]; }
jexec p2 ifconfig epair4b down
wait_for 60 two_down
result $? "... a provider that fails is noticed: $(echo "$answer" | grep -o '"state":"[a-z]*"' | tr '\n' ' ')"
expect "... and connections go by the other" jexec ha $flow send -n 100000 198.18.2.10 5001
jexec p2 ifconfig epair4b up
wait_for 60 all_up
result $? "... it is back: all are up"

# The set changes under a transfer, which stays where it is: a connection of plain TCP has but one path, and that one is kept.
jexec ha $flow send -n 8000000 -r 400000 198.18.2.10 5001 >/tmp/transfer 2>&1 &
transfer=$!
busy() { told '"state":"established"' get gateway /v1/connections; }
wait_for 20 busy
result $? "a transfer is under way: $(echo "$answer" | grep -o '"protocol":"[a-z]*"')"
ask config site second && ask reload site
result $? "the site gives up an RLOC: $answer"
wait_for 30 by_reply 198.18.2.0/24 203.0.121.1
result $? "... the gateway learns by SMR: $answer"
busy
result $? "... with the transfer still under way"
wait $transfer
result $? "... which ends with the same octets at both ends: $(tail -1 /tmp/transfer)"
others() { echo $(($(sent xa 203.0.111.1 203.0.122.1) + $(sent xa 203.0.112.1 203.0.122.1))); }
before=$(others)
expect "... new ones use the RLOC that is left" jexec ha $flow send -n 100000 198.18.2.10 5001
[ "$(others)" -le "$before" ]
result $? "... and not the other"

ask config site first && ask reload site
wait_for 30 by_reply 198.18.2.0/24 203.0.121.1 203.0.122.1
result $? "the RLOC comes back, and the gateway learns it: $answer"
for daemon in gateway site; do
	ask stop $daemon
	result $? "$daemon ends: $answer"
done
withdrawn() { ask get map /v1/registrations && case $answer in *'"198.18.2.0/24"'*) false ;; *) true ;; esac }
wait_for 20 withdrawn
result $? "... its registrations are withdrawn"
ask stop map
result $? "the map-server ends: $answer"
for agent in $agents; do wait $agent; done
for jail in ha xa p1 p2 xb hb; do jail -r $jail; done
