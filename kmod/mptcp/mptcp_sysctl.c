/* SPDX-License-Identifier: BSD-2-Clause */

/* net.inet.mptcp: switches of mptcp(4), and its counters, of each network stack. */
#include "mptcp_var.h"
#include "mptcp_user.h"
#include "modctl.h"

VNET_DEFINE(counter_u64_t, mptcp_counters[MPTCP_CNT_COUNT]);
VNET_DEFINE(int, mptcp_enabled) = 1;
VNET_DEFINE(int, mptcp_syn_retries) = 2;
VNET_DEFINE(int, mptcp_checksum) = 0;
VNET_DEFINE(int, mptcp_scheduler) = MPTCP_SCHEDULER_MINRTT;
VNET_DEFINE(int, mptcp_coupled) = 1;
VNET_DEFINE(int, mptcp_orphan_seconds) = 60;
VNET_DEFINE(int, mptcp_fin_seconds) = 60;

SYSCTL_DECL(_net_inet);
SYSCTL_NODE(_net_inet, OID_AUTO, mptcp, CTLFLAG_RW | CTLFLAG_MPSAFE, NULL, "Multipath TCP");
static SYSCTL_NODE(_net_inet_mptcp, OID_AUTO, stats, CTLFLAG_RD | CTLFLAG_MPSAFE, NULL, "Counters");

#define	MPTCP_SWITCH(name, least, most, text)	\
	MODCTL_SWITCH(_net_inet_mptcp, mptcp_, name, least, most, modctl_switch, text)

MPTCP_SWITCH(enabled, 0, 1, "New connections ask for MPTCP");
MPTCP_SWITCH(syn_retries, 0, 12, "SYNs sent again with MP_CAPABLE before one goes without");
MPTCP_SWITCH(checksum, 0, 1, "New connections ask for checksums of data");
MPTCP_SWITCH(coupled, 0, 1, "The congestion control of new subflows is lia, coupled with that of their siblings");
MPTCP_SWITCH(orphan_seconds, 1, 3600, "Seconds a connection without a subflow waits for another");
MPTCP_SWITCH(fin_seconds, 1, 3600, "Seconds a closed connection's DATA_FIN may stay without an answer");

static const char *const mptcp_schedulers[MPTCP_SCHEDULERS] = {
	[MPTCP_SCHEDULER_MINRTT] = "minrtt",
	[MPTCP_SCHEDULER_ROUNDROBIN] = "roundrobin",
};

static int
mptcp_sysctl_scheduler(SYSCTL_HANDLER_ARGS)
{
	char name[16];
	int error;

	strlcpy(name, mptcp_schedulers[V_mptcp_scheduler], sizeof(name));
	error = sysctl_handle_string(oidp, name, sizeof(name), req);
	if (error != 0 || req->newptr == NULL)
		return (error);
	for (int i = 0; i < MPTCP_SCHEDULERS; i++) {
		if (strcmp(name, mptcp_schedulers[i]) == 0) {
			V_mptcp_scheduler = i;
			return (0);
		}
	}
	return (EINVAL);
}
SYSCTL_PROC(_net_inet_mptcp, OID_AUTO, scheduler, CTLTYPE_STRING | CTLFLAG_RW | CTLFLAG_VNET | CTLFLAG_MPSAFE, NULL, 0,
    mptcp_sysctl_scheduler, "A", "Which subflow sends next: minrtt or roundrobin");

#define	MPTCP_COUNTER_SYSCTL(name, text)	\
	MODCTL_COUNTER(_net_inet_mptcp_stats, mptcp_counters, MPTCP_CNT_##name, name, text);
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
