# SPDX-License-Identifier: BSD-2-Clause
#
# The service as it is installed: what src/setup/stage.mjs stages, under FreeBSD's own rc.subr, daemon(8), sysrc(8), newsyslog(8), with
# the files README.md shows. In Node.js' place is a stand-in that records how it was called.
#
#	service -> rc.d/amptcpd -> rc.subr -> daemon(8) -> sbin/amptcpd -> node
. /amptcp/library.sh

for program in /etc/rc.subr /usr/sbin/daemon /usr/sbin/service /usr/sbin/sysrc /usr/sbin/newsyslog; do
	[ -e $program ] && continue
	not_ok "$program is in the guest"
	exit
done
writable_etc
add_account amptcp 434
mount -t tmpfs tmpfs /usr/local
cp -R /amptcp/package/usr/local/ /usr/local
[ -x /usr/local/etc/rc.d/amptcpd ]
result $? "the package is staged: $(find /usr/local -type f | wc -l | tr -d ' ') files"
mkdir -p /var/log /usr/local/etc
cp /usr/local/etc/amptcpd.toml.sample /usr/local/etc/amptcpd.toml
cp /usr/local/etc/newsyslog.conf.d/amptcpd.conf.sample /usr/local/etc/newsyslog.conf.d/amptcpd.conf
: >/etc/rc.conf
# Where kldload(8) looks; amptcp-kmod puts them into /boot/modules.
mkdir /tmp/modules
cp /amptcp/*.ko /tmp/modules
sysctl kern.module_path="/boot/kernel;/boot/modules;/tmp/modules" >/dev/null

svc() { service amptcpd "$@" 2>&1; }
node() { cat /var/tmp/node 2>/dev/null; }
# says NAME TEXT COMMAND...: the command succeeds and says so; fails: it does not.
says() {
	_name=$1 _text=$2
	shift 2
	if _output=$("$@" 2>&1) && echo "$_output" | grep -q -- "$_text"; then ok "$_name: $(echo "$_output" | tr '\n' '/')"; else not_ok "$_name: $_output"; fi
}
fails() {
	_name=$1 _text=$2
	shift 2
	if ! _output=$("$@" 2>&1) && echo "$_output" | grep -q -- "$_text"; then ok "$_name: $(echo "$_output" | tr '\n' '/')"; else not_ok "$_name: $_output"; fi
}

# pkg-message, step 1.
cp /amptcp/readme/pf.conf /etc/pf.conf
says "sysrc takes the variables" 'amptcpd_enable:.*YES' \
    sysrc pf_enable=YES gateway_enable=YES ipv6_gateway_enable=YES amptcpd_enable=YES
expect "README's pf.conf is one pf takes" pfctl -n -f /etc/pf.conf
service pf start >/tmp/pf.out 2>&1
pfctl -s info 2>/dev/null | grep -q 'Status: Enabled'
result $? "service pf start: $(tr '\n' '/' </tmp/pf.out)"
pfctl -s rules 2>/dev/null | grep -q 'anchor "amptcp"'
result $? "... pf evaluates the anchor"
service routing restart >/tmp/routing.out 2>&1
[ "$(sysctl -n net.inet.ip.forwarding)" -eq 1 ] && [ "$(sysctl -n net.inet6.ip6.forwarding)" -eq 1 ]
result $? "service routing restart: both families are forwarded"
sh -n /amptcp/readme/rc.conf && cp /amptcp/readme/rc.conf /tmp/rc.conf.readme &&
    (. /tmp/rc.conf.readme && [ "$amptcpd_enable" = YES ] && [ "$pf_enable" = YES ])
result $? "README's rc.conf says the same"

# Step 2.
cp /amptcp/readme/amptcpd.toml /usr/local/etc/amptcpd.toml
says "configtest of a good configuration" 'no errors' svc configtest
echo 'BAD' >>/usr/local/etc/amptcpd.toml
fails "configtest of a bad one names its line" 'amptcpd.toml:[0-9]*: expected' svc configtest
fails "start refuses it" 'amptcpd.toml:[0-9]*: expected' svc start
fails "... and nothing runs" 'not running' svc status
cp /amptcp/readme/amptcpd.toml /usr/local/etc/amptcpd.toml
mv /usr/local/etc/amptcpd.toml /tmp/away
fails "start without a configuration names what is missing" 'amptcpd.toml' svc start
mv /tmp/away /usr/local/etc/amptcpd.toml

# Step 3.
: >/var/tmp/node
says "start" 'Starting amptcpd' svc start
wait_for 10 grep -q '^daemon' /var/tmp/node
result $? "... node is called: $(node | grep -v ' -n ' | head -1)"
node | grep -q '^called by root: /usr/local/lib/amptcp/dist/src/daemon/main.js --config /usr/local/etc/amptcpd.toml$'
result $? "... as root, since the guard stays so, with the configuration"
daemon=$(node | awk '/^daemon/ { print $2 }' | tail -1)
[ "$(cat /var/run/amptcpd_child.pid)" = "$daemon" ] && [ "$(cat /var/run/amptcpd.pid)" != "$daemon" ]
result $? "... both pid files are right"
for module in lisp tproxy mptcp ipdivert pf; do
	kldstat -q -n $module.ko || not_ok "$module.ko is loaded"
done
ok "... modules are loaded: $(kldstat | awk 'NR > 2 { print $5 }' | tr '\n' ' ')"
[ "$(stat -f %Lp /var/log/amptcpd.log)" = 640 ]
result $? "... the log is there, mode $(stat -f %Lp /var/log/amptcpd.log)"
says "status" 'is running as pid' svc status
says "a second start changes nothing" 'already running' sh -c 'service amptcpd start 2>&1; true'
[ "$(pgrep -f 'main.js --config' | wc -l)" -eq 1 ]
result $? "... one runs"

says "reload" 'no errors' svc reload
wait_for 10 grep -q '^HUP' /var/tmp/node
result $? "... SIGHUP comes to the daemon"
echo 'BAD' >>/usr/local/etc/amptcpd.toml
: >/var/tmp/node
fails "reload of a bad configuration says what is wrong" 'expected' svc reload
! node | grep -q HUP
result $? "... and the daemon is not disturbed"
fails "restart of a bad configuration is refused" 'expected' svc restart
[ "$(cat /var/run/amptcpd_child.pid)" = "$daemon" ] && kill -0 "$daemon"
result $? "... before anything was stopped"
cp /amptcp/readme/amptcpd.toml /usr/local/etc/amptcpd.toml

# The log is turned over under the daemon's hands.
before=$(stat -f %i /var/log/amptcpd.log)
expect "newsyslog takes the entry" newsyslog -F -f /usr/local/etc/newsyslog.conf.d/amptcpd.conf
new_log() { [ "$(stat -f %i /var/log/amptcpd.log)" != "$before" ] && grep -q msg /var/log/amptcpd.log; }
wait_for 20 new_log
result $? "... the daemon's lines are in the new file, the old is $(ls /var/log | grep 'amptcpd.log.' | tr '\n' ' ')"
[ "$(stat -f %Lp /var/log/amptcpd.log)" = 640 ] && ! node | grep -q HUP
result $? "... mode 640, and the daemon was not disturbed"

# The daemon dies: daemon(8) starts another.
sysrc amptcpd_restart_delay=1 amptcpd_flags="--verbose" >/dev/null
: >/var/tmp/node
says "restart" 'Starting amptcpd' svc restart
wait_for 10 grep -q '^daemon' /var/tmp/node
[ "$(node | awk '/^daemon/ { print $2 }' | tail -1)" != "$daemon" ] && ! kill -0 "$daemon" 2>/dev/null
result $? "... another runs, the first is gone"
node | grep -q 'main.js --config /usr/local/etc/amptcpd.toml --verbose$'
result $? "... with amptcpd_flags"
daemon=$(cat /var/run/amptcpd_child.pid)
: >/var/tmp/node
kill -9 "$daemon"
wait_for 20 grep -q '^daemon' /var/tmp/node
result $? "killed, it is started again by daemon(8)"
: >/var/tmp/node
daemon=$(cat /var/run/amptcpd_child.pid)
says "stop" 'Stopping amptcpd' svc stop
node | grep -q TERM && ! kill -0 "$daemon" 2>/dev/null
result $? "... SIGTERM came, nothing is left of it"
[ ! -e /var/run/amptcpd.pid ] && [ ! -e /var/run/amptcpd_child.pid ]
result $? "... no pid files either"
fails "status" 'not running' svc status
fails "reload when it is not running says so" 'not running' svc reload
sysrc amptcpd_enable=NO >/dev/null
says "not enabled, it is not started" "Cannot 'start' amptcpd" sh -c 'service amptcpd start 2>&1; true'
says "onestart starts it all the same" 'Starting amptcpd' svc onestart
wait_for 10 grep -q '^daemon' /var/tmp/node
says "... onestop stops it" 'Stopping amptcpd' svc onestop
sysrc amptcpd_enable=YES >/dev/null
says "rcvar" 'amptcpd_enable' svc rcvar
says "extracommands" 'configtest' svc extracommands
rcorder /etc/rc.d/* /usr/local/etc/rc.d/* 2>/tmp/rcorder.err | tr '\n' ' ' >/tmp/order
case $(cat /tmp/order) in */pf*amptcpd*) ok "rcorder: after pf" ;; *) not_ok "rcorder: $(cat /tmp/order)" ;; esac
