/* SPDX-License-Identifier: BSD-2-Clause */

/* Loading and unloading of mptcp(4), its switches and its counters. */
#include "mptcp_var.h"

#include <sys/module.h>
#include <sys/proc.h>

#include <vm/uma.h>

MALLOC_DEFINE(M_MPTCP, "mptcp", "Multipath TCP");

VNET_DEFINE(counter_u64_t, mptcp_counters[MPTCP_CNT_COUNT]);
VNET_DEFINE(int, mptcp_enabled) = 1;
VNET_DEFINE(int, mptcp_syn_retries) = 2;

SYSCTL_DECL(_net_inet);
static SYSCTL_NODE(_net_inet, OID_AUTO, mptcp, CTLFLAG_RW | CTLFLAG_MPSAFE, NULL, "Multipath TCP");
static SYSCTL_NODE(_net_inet_mptcp, OID_AUTO, stats, CTLFLAG_RD | CTLFLAG_MPSAFE, NULL, "Counters");

SYSCTL_INT(_net_inet_mptcp, OID_AUTO, enabled, CTLFLAG_RW | CTLFLAG_VNET, &VNET_NAME(mptcp_enabled), 0,
    "New connections ask for MPTCP");
SYSCTL_INT(_net_inet_mptcp, OID_AUTO, syn_retries, CTLFLAG_RW | CTLFLAG_VNET, &VNET_NAME(mptcp_syn_retries), 0,
    "SYNs sent again with MP_CAPABLE before one goes without");

static int
mptcp_sysctl_counter(SYSCTL_HANDLER_ARGS)
{
	uint64_t value = counter_u64_fetch(V_mptcp_counters[arg2]);

	return (sysctl_handle_64(oidp, &value, 0, req));
}

#define	MPTCP_COUNTER_SYSCTL(name, text)								\
	SYSCTL_PROC(_net_inet_mptcp_stats, OID_AUTO, name, CTLTYPE_U64 | CTLFLAG_RD | CTLFLAG_VNET | CTLFLAG_MPSAFE,	\
	    NULL, MPTCP_CNT_##name, mptcp_sysctl_counter, "QU", text);
MPTCP_COUNTERS(MPTCP_COUNTER_SYSCTL)
#undef MPTCP_COUNTER_SYSCTL

static void
vnet_mptcp_init(const void *unused __unused)
{
	for (int i = 0; i < MPTCP_CNT_COUNT; i++)
		V_mptcp_counters[i] = counter_u64_alloc(M_WAITOK);
}
VNET_SYSINIT(vnet_mptcp_init, SI_SUB_PROTO_FIREWALL, SI_ORDER_FIRST, vnet_mptcp_init, NULL);

static void
vnet_mptcp_uninit(const void *unused __unused)
{
	for (int i = 0; i < MPTCP_CNT_COUNT; i++)
		counter_u64_free(V_mptcp_counters[i]);
}
VNET_SYSUNINIT(vnet_mptcp_uninit, SI_SUB_PROTO_FIREWALL, SI_ORDER_FIRST, vnet_mptcp_uninit, NULL);

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

static int
mptcp_modevent(module_t module __unused, int what, void *unused __unused)
{
	static bool loaded;
	int error;

	switch (what) {
	case MOD_LOAD:
		if (osreldate / 100000 != __FreeBSD_version / 100000) {
			printf("mptcp: built for FreeBSD %d, this kernel is %d\n", __FreeBSD_version, osreldate);
			return (ENOEXEC);
		}
		error = mptcp_check_layout();
		if (error == 0)
			error = mptcp_stack_attach();
		if (error != 0)
			return (error);
		error = mptcp_socket_attach();
		if (error != 0)
			(void)mptcp_stack_detach();
		loaded = error == 0;
		return (error);
	case MOD_QUIESCE:
		/* Before anything is taken away: taking away the stack cannot be undone. */
		return (mptcp_stack_busy() ? EBUSY : 0);
	case MOD_UNLOAD:
		/* Also comes after a MOD_LOAD that failed. */
		if (!loaded)
			return (0);
		if (mptcp_stack_busy())
			return (EBUSY);
		/* From here on no socket is made; if one just was, everything stays. */
		mptcp_socket_detach();
		error = mptcp_stack_busy() ? EBUSY : mptcp_stack_detach();
		if (error != 0)
			(void)mptcp_socket_attach();
		else
			loaded = false;
		return (error);
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
