# SPDX-License-Identifier: BSD-2-Clause
#
# amptcpd as xTR of a data centre on FreeBSD; at the other end of two links a gateway and map-server on Linux.
#
#	client -- gateway ==== 203.0.111.0/24 ==== xb ---- 198.18.2.0/25: MPTCP server (Linux), .20
#	          (Linux) ==== 203.0.112.0/24 ====  \----- 198.18.2.128/25: hb, server of plain TCP (FreeBSD), .200
#
#	xb	the xTR: lisp(4); an agent does what amptcpd, on the host and otherwise as it is installed, calls
#
#	amptcpd: Map-Register ->; client: SYN -> gateway: Map-Request, MP_CAPABLE, MP_JOIN, each pinned to its path -> xb:
#	decapsulates, gleans -> server; its answers -> xb: lisp0, by the path the flow came by
. /amptcp/library.sh

# says WORDS PATTERN: what the host answers matches.
says() {
	ask "$1"
	case $answer in $2) return 0 ;; esac
	return 1
}
kldload /amptcp/lisp.ko
ifconfig epair5 create >/dev/null
make_jail xb vtnet0 vtnet1 vtnet2 vtnet3 epair5b
make_jail hb epair5a
for n in 1 2; do
	jexec xb ifconfig vtnet$((n - 1)) inet 203.0.11$n.2/24 up
done
jexec xb ifconfig vtnet2 inet 198.18.2.1/25 up
jexec xb ifconfig vtnet2 inet6 2001:db8:2::1/80 -ifdisabled no_dad
jexec xb ifconfig vtnet3 inet 10.0.2.15/24 up
address xb epair5b 198.18.2.129/25 2001:db8:2:0:1::1/80
address hb epair5a 198.18.2.200/25 2001:db8:2:0:1::200/80
route4 hb 0.0.0.0/0 198.18.2.129
route6 hb ::/0 2001:db8:2:0:1::1
jexec xb route -q add -host 203.0.113.53 203.0.111.1
expect "the gateway is reached by the first link" wait_for 10 jexec xb ping -c 1 -t 1 203.0.111.1
expect "... and the second" wait_for 10 jexec xb ping -c 1 -t 1 203.0.112.1
for address in 198.18.2.200 2001:db8:2:0:1::200; do jexec hb $flow echoserve $address 5001 & done
both_listen() { [ "$(jexec hb netstat -an -p tcp | grep -c '[.]5001 .*LISTEN')" -eq 2 ]; }
wait_for 10 both_listen

ask gateway
result $? "gateway and map-server on Linux: $answer"
start_agent() {
	jexec xb /amptcp/agent -f 1024 10.0.2.15 4343 &
	agent=$!
	wait_for 10 listening xb 4343
}
start_agent
ask start
started=$?
result $started "amptcpd on FreeBSD's kernel: $answer"
[ $started -eq 0 ] || exit 0
case $answer in 'freebsd xtr kernel') ok "... as xTR, with lisp(4)" ;; *) not_ok "as xTR, with lisp(4)" ;; esac
jexec xb netstat -rn | grep -q '192.0.2.8/30 .*lisp0'
result $? "its routes lead into lisp0"
wait_for 30 says registrations '*198.18.2.0/24=203.0.111.2,203.0.112.2*2001:db8:2::/64=203.0.111.2,203.0.112.2*'
result $? "the map-server knows the site, with both RLOCs"
ask registrations
note "registrations: $answer"

# The agent has one descriptor of /dev/lisp, this another one.
gleaned() { jexec xb $lisp pins | grep gleaned; }
total() { # sent | received, over each of both straight paths
	for n in 1 2; do
		jexec xb $lisp paths | awk -v l=203.0.11$n.2 -v r=203.0.11$n.1 -v c="$1" \
		    '$1 == l && $2 == r { print (c == "sent" ? $7 : $10) }'
	done | tr '\n' ' '
}
for address in 198.18.2.20 2001:db8:2::20; do
	ask echo $address 5001 600000
	case $answer in same*) ok "MPTCP server, both ways, hashes equal ($address: $answer)" ;; *) not_ok "$address: $answer" ;; esac
done
# A guest that is emulated on a busy host may answer an MP_JOIN so late that the gateway has given it up: there are further transfers.
joined() { ask server; case $answer in *MPJoinAckRx=*) return 0 ;; esac; return 1; }
carried() {
	[ "$(total sent | awk '{ print ($1 > 50 && $2 > 50) }')" = 1 ] && [ "$(total received | awk '{ print ($1 > 50 && $2 > 50) }')" = 1 ]
}
for more in 1 2 3 4 5 6; do
	joined && carried && break
	ask echo 198.18.2.20 5001 600000
	note "another transfer: $answer"
done
joined
result $? "... joined by further subflows: $answer"
ask mappings
case $answer in *192.0.2.8/30=203.0.111.1,203.0.112.1*) ok "the xTR has asked where the gateway is: $answer" ;; *) not_ok "where the gateway is: $answer" ;; esac
note "each path: $(total sent)packets sent, $(total received)received"
carried
result $? "both paths carried, both ways"
for address in 198.18.2.200 2001:db8:2:0:1::200; do
	ask echo $address 5001 300000
	case $answer in same*) ok "plain TCP server in a jail, hashes equal ($address: $answer)" ;; *) not_ok "$address: $answer" ;; esac
done

# Every flow's way back is its way there.
ask begin 198.18.2.20 5001 3000000
two() { ask subflows; case $answer in *,*) return 0 ;; esac; return 1; }
wait_for 60 two
result $? "a long transfer has two subflows"
echo "$answer" | tr ',' '\n' | while read -r address port local remote; do
	if gleaned | grep -q " 5001 $address $port path $remote $local gleaned"; then
		ok "$address:$port came by $local > $remote and is answered by $remote > $local"
	else
		not_ok "the way back of $address:$port, which came by $local > $remote"
		gleaned | grep " $port " | sed 's/^/#   /'
	fi
done
ask finish
case $answer in same*) ok "... and ends with hashes equal ($answer)" ;; *) not_ok "long transfer: $answer" ;; esac

# A provider is lost here: the xTR knows at once, and tells.
ask begin 198.18.2.20 5001 3000000
wait_for 60 two
result $? "another long transfer"
jexec xb ifconfig vtnet1 down
wait_for 30 says warnings '*the RLOC 203.0.112.2 is gone*'
result $? "an interface goes down: the daemon sees it"
ask finish
case $answer in same*) ok "... the transfer goes on by the other path, hashes equal ($answer)" ;; *) not_ok "with a path lost: $answer" ;; esac
wait_for 60 says 'paths gateway' '*203.0.112.1>203.0.112.2 down*'
result $? "... and so does the gateway: $answer"
jexec xb ifconfig vtnet1 up
both_up() { ask paths xtr; [ "$(echo "$answer" | tr ',' '\n' | grep -c ' up ')" -ge 2 ]; }
wait_for 60 both_up
result $? "up again: the paths are back"
note "$answer"

# The daemon dies in the middle of a transfer: the kernel goes on.
ask begin 198.18.2.20 5001 3000000
wait_for 60 two
result $? "a transfer"
ask kill
wait $agent
jexec xb ifconfig lisp0 >/dev/null
result $? "killed: lisp0 and what it knows stay"
ask finish
case $answer in same*) ok "... the transfer goes on, hashes equal ($answer)" ;; *) not_ok "with the daemon killed: $answer" ;; esac
start_agent
ask start
result $? "the daemon starts again, and takes lisp0 over: $answer"
# Nobody answered the gateway's probes meanwhile.
wait_for 60 says 'paths gateway' '*203.0.111.1>203.0.111.2 up*'
result $? "... and answers probes"
ask echo 198.18.2.20 5001 300000
case $answer in same*) ok "... hashes equal ($answer)" ;; *) not_ok "after the restart: $answer" ;; esac
ask stop
result $? "it stops: $answer"
wait $agent
refuse "... lisp0 is gone" jexec xb ifconfig lisp0
wait_for 30 says registrations '192.0.2.8/30=203.0.111.1,203.0.112.1 2001:db8:9::8/126=203.0.111.1,203.0.112.1'
result $? "... the map-server knows the site no more"
for jail in xb hb; do jail -r $jail; done
