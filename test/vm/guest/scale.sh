# SPDX-License-Identifier: BSD-2-Clause
#
# A full map-cache, and the memory it gives back.
. /amptcp/library.sh
count=100000

kldload /amptcp/lisp.ko
make_jail xa
jexec xa ifconfig lisp create >/dev/null
in_use() { vmstat -m | awk '$1 == "lisp" { print $2, $3 }'; }
now() { sysctl -n kern.boottime >/dev/null; date +%s; }

# Twice: what the first fill leaves behind would show in the second.
for round in 1 2; do
	before=$(in_use)
	started=$(now)
	expect "round $round: $count mappings are loaded" jexec xa $lisp load $count
	loaded=$(now)
	note "in $((loaded - started)) s; memory in use (allocations, octets): before $before, now $(in_use)"
	jexec xa $lisp info | grep -q "mappings $count"
	result $? "round $round: the module counts them: $(jexec xa $lisp info)"
	expect "round $round: each is found by the longest prefix of an address in it" jexec xa $lisp lookups $count
	note "in $(($(now) - loaded)) s"
	listed=$(jexec xa $lisp maps | wc -l)
	[ "$listed" -eq $count ]
	result $? "round $round: the list has all of them ($((listed)))"
	expect "round $round: flush" jexec xa $lisp flush
	after=$(in_use)
	[ "$before" = "$after" ]
	result $? "round $round: memory is where it was: $before, $after"
done
refuse "after the flush nothing is found" jexec xa $lisp lookups 1

# The limit holds.
jexec xa ifconfig lisp0 destroy
sysctl net.inet.lisp.max_mappings=1000 >/dev/null
jexec xa ifconfig lisp create >/dev/null
refuse "a table for 1,000 does not take 1,001" jexec xa $lisp load 1001
jexec xa $lisp info | grep -q "mappings 1000"
result $? "... it has 1,000"
jail -r xa >/dev/null
kldunload lisp
result $? "the module unloads"
vmstat -m | awk '$1 == "lisp" { found = 1 } END { exit found }'
result $? "... and leaves no memory behind"
