/* SPDX-License-Identifier: BSD-2-Clause */

/* Loading and unloading of mptcp(4). */
#include "mptcp_accept.h"
#include "mptcp_user.h"
#include "modctl.h"

#include <sys/module.h>
#include <sys/proc.h>

#include <vm/uma.h>

MALLOC_DEFINE(M_MPTCP, "mptcp", "Multipath TCP");

/*
 * This module knows the TCP control block from the headers it was built with; a kernel with another one would be corrupted silently.
 * The size of the kernel's zone tells.
 */
static int
mptcp_check_layout(void)
{
	int size;
	size_t length = sizeof(size);
	int error;

	error = kernel_sysctlbyname(curthread, "vm.uma.tcp_inpcb.size", &size, &length, NULL, 0, NULL, 0);
	if (error != 0)
		return (error);
	if ((size_t)size != sizeof(struct tcpcb)) {
		printf("mptcp: this kernel's TCP control block has %d octets, not %zu: build the module for this kernel\n", size,
		    sizeof(struct tcpcb));
		return (ENOEXEC);
	}
	return (0);
}

u_int mptcp_running;
static bool mptcp_loaded;

static bool
mptcp_busy(void)
{
	return (mptcp_stack_busy() || mptcp_lia_busy());
}

/* What userland can reach comes last, and goes first. */
static int
mptcp_load(void)
{
	int error;

	error = modctl_check_kernel("mptcp");
	if (error == 0)
		error = mptcp_check_layout();
	if (error != 0)
		return (error);
	error = mptcp_conn_attach();
	if (error != 0)
		return (error);
	error = mptcp_stack_attach();
	if (error != 0)
		goto conn;
	error = mptcp_accept_attach();
	if (error != 0)
		goto stack;
	error = mptcp_lia_attach();
	if (error != 0)
		goto accept;
	error = mptcp_socket_attach();
	if (error != 0)
		goto lia;
	error = mptcp_control_attach();
	if (error != 0)
		goto socket;
	mptcp_handshake_attach();
	mptcp_loaded = true;
	atomic_store_rel_int(&mptcp_running, 1);
	return (0);
socket:
	mptcp_socket_detach();
lia:
	(void)mptcp_lia_detach();
accept:
	mptcp_accept_detach();
stack:
	(void)mptcp_stack_detach();
conn:
	mptcp_conn_detach();
	return (error);
}

static int
mptcp_unload(void)
{
	int error;

	/* The kernel calls this after a load that failed, too. */
	if (!mptcp_loaded)
		return (0);
	/* No packet makes anything any more, nor looks at what goes. */
	atomic_store_rel_int(&mptcp_running, 0);
	NET_EPOCH_WAIT();
	if (mptcp_busy()) {
		atomic_store_rel_int(&mptcp_running, 1);
		return (EBUSY);
	}
	/* From here on no socket is made; if one just was, everything stays. */
	mptcp_socket_detach();
	error = mptcp_lia_detach();
	if (error == 0) {
		mptcp_accept_detach();
		error = mptcp_busy() ? EBUSY : mptcp_stack_detach();
		if (error != 0) {
			(void)mptcp_accept_attach();
			(void)mptcp_lia_attach();
		}
	}
	if (error != 0) {
		(void)mptcp_socket_attach();
		atomic_store_rel_int(&mptcp_running, 1);
		return (error);
	}
	mptcp_handshake_detach();
	mptcp_control_detach();
	mptcp_conn_detach();
	mptcp_loaded = false;
	return (0);
}

static int
mptcp_modevent(module_t module __unused, int what, void *unused __unused)
{
	switch (what) {
	case MOD_LOAD:
		return (mptcp_load());
	case MOD_QUIESCE:
		/* Before anything is taken away: taking away the stack cannot be undone. */
		return (mptcp_busy() || mptcp_control_busy() ? EBUSY : 0);
	case MOD_UNLOAD:
		return (mptcp_unload());
	case MOD_SHUTDOWN:
		return (0);
	default:
		return (EOPNOTSUPP);
	}
}

static moduledata_t mptcp_moduledata = { "mptcp", mptcp_modevent, NULL };

/* Sockets come after each network stack's share, and go before it. */
DECLARE_MODULE(mptcp, mptcp_moduledata, SI_SUB_PROTO_FIREWALL, SI_ORDER_ANY);
MODULE_VERSION(mptcp, 1);
MODULE_DEPEND(mptcp, crypto, 1, 1, 1);
