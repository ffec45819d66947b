/* SPDX-License-Identifier: BSD-2-Clause */

/* Loading and unloading of tproxy(4), its switches and its counters. */
#include "tproxy_var.h"

#include <sys/kernel.h>
#include <sys/module.h>
#include <sys/proc.h>

MALLOC_DEFINE(M_TPROXY, "tproxy", "transparent proxy");
struct sx tproxy_sx;
SX_SYSINIT(tproxy_sx, &tproxy_sx, "tproxy configuration");
struct mtx tproxy_mtx;
MTX_SYSINIT(tproxy_mtx, &tproxy_mtx, "tproxy registry", MTX_DEF);

VNET_DEFINE(struct tproxy_softc *, tproxy_softc);
VNET_DEFINE(counter_u64_t, tproxy_counters[TPROXY_CNT_COUNT]);
VNET_DEFINE(int, tproxy_connect_timeout) = 75;
VNET_DEFINE(int, tproxy_linger) = 60;
VNET_DEFINE(int, tproxy_hold_ms) = 3000;
VNET_DEFINE(int, tproxy_hold_max) = 1024;

u_int tproxy_max_flows = 1 << 17;
u_int tproxy_buckets = 1 << 14;

SYSCTL_DECL(_net_inet);
static SYSCTL_NODE(_net_inet, OID_AUTO, tproxy, CTLFLAG_RW | CTLFLAG_MPSAFE, NULL, "Transparent proxy");
static SYSCTL_NODE(_net_inet_tproxy, OID_AUTO, stats, CTLFLAG_RD | CTLFLAG_MPSAFE, NULL, "Counters");

SYSCTL_UINT(_net_inet_tproxy, OID_AUTO, max_flows, CTLFLAG_RWTUN, &tproxy_max_flows, 0,
    "Most flows registered in a network stack");
SYSCTL_UINT(_net_inet_tproxy, OID_AUTO, buckets, CTLFLAG_RDTUN, &tproxy_buckets, 0,
    "Size of the hash table of flows");

#define	TPROXY_SWITCH(name, least, most, text)	\
	MODCTL_SWITCH(_net_inet_tproxy, tproxy_, name, least, most, modctl_switch, text)

TPROXY_SWITCH(connect_timeout, 1, 3600, "Seconds a registered flow may wait for its connection");
TPROXY_SWITCH(linger, 0, 3600, "Seconds late packets are kept from the server after the connection is gone");
TPROXY_SWITCH(hold_ms, TPROXY_ABI_HOLD_LEAST, TPROXY_ABI_HOLD_MOST,
    "Milliseconds a captured SYN is held where who captures does not say; then it passes");
TPROXY_SWITCH(hold_max, 0, 65536, "Most captured SYNs held at a time; others pass");

#define	TPROXY_COUNTER_SYSCTL(name, text)	\
	MODCTL_COUNTER(_net_inet_tproxy_stats, tproxy_counters, TPROXY_CNT_##name, name, text);
TPROXY_COUNTERS(TPROXY_COUNTER_SYSCTL)
#undef TPROXY_COUNTER_SYSCTL

static int
tproxy_sysctl_flows(SYSCTL_HANDLER_ARGS)
{
	u_int value;

	sx_slock(&tproxy_sx);
	value = V_tproxy_softc == NULL ? 0 : arg2 == 0 ? V_tproxy_softc->sc_nflows : V_tproxy_softc->sc_nheld;
	sx_sunlock(&tproxy_sx);
	return (sysctl_handle_int(oidp, &value, 0, req));
}
SYSCTL_PROC(_net_inet_tproxy, OID_AUTO, flows, CTLTYPE_UINT | CTLFLAG_RD | CTLFLAG_VNET | CTLFLAG_MPSAFE, NULL, 0,
    tproxy_sysctl_flows, "IU", "Flows registered now");
SYSCTL_PROC(_net_inet_tproxy, OID_AUTO, held, CTLTYPE_UINT | CTLFLAG_RD | CTLFLAG_VNET | CTLFLAG_MPSAFE, NULL, 1,
    tproxy_sysctl_flows, "IU", "SYNs held now");

static void
vnet_tproxy_init(const void *unused __unused)
{
	for (int i = 0; i < TPROXY_CNT_COUNT; i++)
		V_tproxy_counters[i] = counter_u64_alloc(M_WAITOK);
}
VNET_SYSINIT(vnet_tproxy_init, SI_SUB_PROTO_FIREWALL, SI_ORDER_FIRST, vnet_tproxy_init, NULL);

static void
vnet_tproxy_uninit(const void *unused __unused)
{
	sx_xlock(&tproxy_sx);
	if (V_tproxy_softc != NULL)
		tproxy_vnet_gone(V_tproxy_softc);
	sx_xunlock(&tproxy_sx);
	for (int i = 0; i < TPROXY_CNT_COUNT; i++)
		counter_u64_free(V_tproxy_counters[i]);
}
VNET_SYSUNINIT(vnet_tproxy_uninit, SI_SUB_PROTO_FIREWALL, SI_ORDER_FIRST, vnet_tproxy_uninit, NULL);

static int
tproxy_modevent(module_t module __unused, int what, void *unused __unused)
{
	int error;

	switch (what) {
	case MOD_LOAD:
		error = modctl_check_kernel("tproxy");
		if (error != 0)
			return (error);
		return (tproxy_device_attach());
	case MOD_QUIESCE:
		/* Connections depend on it; kldunload -f breaks them. */
		return (tproxy_device_busy() ? EBUSY : 0);
	case MOD_UNLOAD:
		/* Takes the descriptors, and with them flows, SYNs and hooks. */
		tproxy_device_detach();
		NET_EPOCH_DRAIN_CALLBACKS();
		return (0);
	case MOD_SHUTDOWN:
		return (0);
	default:
		return (EOPNOTSUPP);
	}
}

static moduledata_t tproxy_moduledata = { "tproxy", tproxy_modevent, NULL };

/* The device comes after each network stack's share, and goes before it. */
DECLARE_MODULE(tproxy, tproxy_moduledata, SI_SUB_PROTO_FIREWALL, SI_ORDER_ANY);
MODULE_VERSION(tproxy, 1);
