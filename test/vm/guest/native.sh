# SPDX-License-Identifier: BSD-2-Clause
#
# What test/vm/daemons-end.ts does on the host, in the guest: for a guest with Node.js, whose daemons then have this kernel under
# them without an agent. Sourced by library.sh; the scenarios are the same, word for word.
#
# The files come from test/vm/daemons.ts: native/SCENARIO/NAME/{jail,group,amptcpd.toml,VARIANT.toml}; the package from stage.mjs.
# Where there is a file native/SCENARIO/driver instead, all words are for gateway-native.js, one process in jail xa.

native_from=/amptcp/native/$(kenv -q amptcp.scenario)
native_dist=/amptcp/native/package/usr/local/lib/amptcp/dist
native_main=$native_dist/src/daemon/main.js
native_node=/usr/local/bin/node

# is_native WORDS...: whether these words to the daemons are for here.
is_native() {
	[ -d "$native_from" ] || return 1
	[ ! -e "$native_from/driver" ] || return 0
	[ "$1" = since ] || [ -d "$native_from/${2:-.}" ]
}

# native_runtime: what it is that has the name node, in its own words.
native_runtime() {
	cat >/tmp/runtime.mjs <<'JS'
const { bun, deno, node } = process.versions;
const other = bun ? `Bun ${bun}` : deno ? `Deno ${deno}` : undefined;
console.log(other ? `${other} in the place of Node.js (its node: ${node})` : `Node.js ${node}`, 'on', process.platform, process.arch);
JS
	$native_node /tmp/runtime.mjs </dev/null 2>&1 | tail -1
}

# native_say_runtime: once.
native_say_runtime() {
	mkdir -p /var/native
	[ -e /var/native/told ] || note "native: daemons are run by $(native_runtime)"
	: >/var/native/told
}

# native_driver_start: in the place of an agent; its process id in $agent.
native_driver_start() {
	native_say_runtime
	rm -f /var/native/driver
	jexec xa $native_node $native_dist/test/vm/gateway-native.js /var/native </dev/null 2>&1 &
	agent=$!
	wait_for 120 [ -S /var/native/driver ]
}

# native_http METHOD NAME PATH: the body, on one line.
native_http() {
	printf '%s %s HTTP/1.0\r\nHost: amptcpd\r\nContent-Length: 0\r\n\r\n' "$1" "$3" |
	    nc -U -w 30 "/var/native/$2/run/amptcpd.sock" 2>/dev/null |
	    awk 'body { printf "%s ", $0 } /^\r?$/ { body = 1 }'
}

# native_running NAME: process id of the daemon that answers and runs.
native_running() {
	native_http GET "$1" /v1/status | sed -n 's/.*"state":"running".*"pid":\([0-9]*\).*/\1/p;s/.*"pid":\([0-9]*\).*"state":"running".*/\1/p' | head -1
}

# native_daemon NAME: the guard's child, or the process itself.
native_daemon() {
	_own=$(cat "/var/native/$1/pid")
	pgrep -P "$_own" | head -1 | grep . || echo "$_own"
}

native_failed() {
	echo "failed $1: $(grep -v '"level":"\(info\|debug\)"' "$_home/log" | tail -6 | tr '\n' '/')"
}

native() {
	if [ -e "$native_from/driver" ]; then
		_answer=$(echo "$*" | nc -U -w 120 /var/native/driver 2>/dev/null)
		echo "${_answer:-failed no answer}"
		return
	fi
	_verb=$1 _name=${2:-} _home=/var/native/${2:-}
	_began=$(/amptcp/privileges -t)
	case $_verb in
	start)
		native_say_runtime >&3
		if [ ! -d "$_home" ]; then
			mkdir -p "$_home"
			native config "$_name" amptcpd >/dev/null
		fi
		jexec "$(cat "$native_from/$_name/jail")" $native_node $native_main --config "$_home/amptcpd.toml" \
		    </dev/null >>"$_home/log" 2>&1 &
		echo $! >"$_home/pid"
		for _n in $(jot 600); do
			[ -n "$(native_running "$_name")" ] && break
			kill -0 "$(cat "$_home/pid")" 2>/dev/null || break
			sleep 0.1
		done
		if [ -n "$(native_running "$_name")" ]; then
			echo "ok $(($(/amptcp/privileges -t) - _began)) ms"
		else
			native_failed "it does not run"
		fi
		;;
	config)
		install -o root -g "$(cat "$native_from/$_name/group")" -m 640 "$native_from/$_name/$3.toml" "$_home/amptcpd.toml" && echo ok
		;;
	reload) native_http POST "$_name" /v1/config/reload ;;
	get) native_http GET "$_name" "$3" ;;
	user) ps -o uid= -p "$(native_daemon "$_name")" | tr -d ' ' ;;
	kill)
		native_daemon "$_name" >"$_home/before"
		/amptcp/privileges -t >/var/native/killed
		if [ "$3" = guard ]; then kill -9 "$(cat "$_home/pid")"; else kill -9 "$(cat "$_home/before")"; fi
		echo ok
		;;
	since) echo $(($(/amptcp/privileges -t) - $(cat /var/native/killed))) ;;
	restarted)
		for _n in $(jot 600); do
			_now=$(native_running "$_name")
			[ -n "$_now" ] && [ "$(native_daemon "$_name")" != "$(cat "$_home/before")" ] && break
			sleep 0.1
		done
		if [ -n "$_now" ]; then echo "ok $(native since) ms"; else native_failed "no other daemon runs"; fi
		;;
	stop)
		kill "$(cat "$_home/pid")"
		for _n in $(jot 1200); do
			kill -0 "$(cat "$_home/pid")" 2>/dev/null || break
			sleep 0.1
		done
		if kill -0 "$(cat "$_home/pid")" 2>/dev/null; then native_failed "it does not end"; else
			echo "ok $(($(/amptcp/privileges -t) - _began)) ms"
		fi
		;;
	*) echo "failed unknown command $_verb" ;;
	esac
}
