# SPDX-License-Identifier: BSD-2-Clause
#
# Makes the module's own TCP output function out of the kernel's sources it is built against (sys/netinet/tcp_output.c on standard input):
# the same function under another name, with two calls replaced by ours and without what the kernel defines anyway. Nothing of that file is
# kept in this project. Anything that is not found exactly once ends the build: then this kernel is one the module does not know.

BEGIN {
	print "/* Made by derive_output.awk; do not keep. */"
}

# Definitions of variables and their sysctls, over as many lines as they take.
/^(VNET_DEFINE|SYSCTL_)/ { dropping = 1 }
dropping {
	if (/;[ \t]*$/)
		dropping = 0
	next
}

# Functions that the kernel has already: from the line of the type before the name to the closing brace.
/^(hhook_run_tcp_est_out|cc_after_idle)\(/ {
	skipping = 1
	have = 0
	skipped++
}
skipping {
	if (/^}/)
		skipping = 0
	next
}

# What follows is helpers, which the kernel exports.
/^tcp_setpersist\(/ {
	have = 0
	ends++
	exit
}

/^tcp_default_output\(struct tcpcb \*tp\)/ {
	sub(/^tcp_default_output/, "mptcp_tcp_output")
	names++
}
/hdrlen \+= optlen = tcp_addoptions\(&to, opt\);/ {
	sub(/tcp_addoptions\(&to, opt\)/, "mptcp_output_options(tp, \\&to, opt, \\&len, off, \\&flags, \\&sendalot)")
	calls++
}
/recwin = lmin\(lmax\(sbspace\(&so->so_rcv\), 0\),/ {
	sub(/lmax\(sbspace\(&so->so_rcv\), 0\)/, "mptcp_output_window(tp)")
	windows++
}
/^#include <netinet\/tcp_var\.h>/ {
	includes++
	$0 = $0 "\n#include \"mptcp_output.h\""
}

# One line behind, because a function's type stands before its name.
{
	if (have)
		print held
	held = $0
	have = 1
}

function must(what, count) {
	if (count != 1) {
		printf("derive_output.awk: %s: found %d times, not once: this kernel's tcp_output.c is not one that is known\n", what, count) > "/dev/stderr"
		failed = 1
	}
}

END {
	if (have)
		print held
	must("tcp_default_output()", names)
	must("the call of tcp_addoptions()", calls)
	must("the receive window", windows)
	must("the include of tcp_var.h", includes)
	must("tcp_setpersist()", ends)
	if (skipped < 1)
		must("hhook_run_tcp_est_out() and cc_after_idle()", skipped)
	exit failed
}
