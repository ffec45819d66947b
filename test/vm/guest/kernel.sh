# SPDX-License-Identifier: BSD-2-Clause
#
# A module built for another kernel does not load; the one for this kernel does, after each of them.
. /amptcp/library.sh

note "this kernel: $(sysctl -n kern.osreldate)"
said() { dmesg | grep -qF "$1"; }
loaded() { kldstat -q -n lisp.ko; }
for misfit in older newer next agreed; do
	version=$(cat /amptcp/misfit/$misfit/version)
	refuse "a module built for $version is refused" kldload /amptcp/misfit/$misfit/lisp.ko
	note "$(dmesg | tail -1)"
	refuse "... and nothing of it stays" loaded
done
said "KLD lisp.ko: depends on kernel - not available or version mismatch"
result $? "the linker says why"
said "lisp: built for FreeBSD $version, this kernel is $(sysctl -n kern.osreldate)"
result $? "... and where the linker would take it, the module itself"
refuse "tproxy built for $version is refused" kldload /amptcp/misfit/agreed/tproxy.ko
said "tproxy: built for FreeBSD $version, this kernel is $(sysctl -n kern.osreldate)"
result $? "... by itself"
refuse "mptcp built for $version is refused" kldload /amptcp/misfit/agreed/mptcp.ko
said "mptcp: built for FreeBSD $version, this kernel is $(sysctl -n kern.osreldate)"
result $? "... by itself"
refuse "mptcp built for another TCP of the same version is refused" kldload /amptcp/misfit/layout/mptcp.ko
said "mptcp: this kernel's TCP control block has"
result $? "... because its control block has another size"
expect "the one for this kernel loads after them" kldload /amptcp/mptcp.ko
expect "... and unloads" kldunload mptcp
refuse "there is no device of theirs" test -e /dev/lisp
expect "the one built for this kernel loads" kldload /amptcp/lisp.ko
expect "... and works" ifconfig lisp create
ifconfig lisp0 destroy
expect "... and unloads" kldunload lisp
