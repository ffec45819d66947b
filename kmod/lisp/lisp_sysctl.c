/* SPDX-License-Identifier: BSD-2-Clause */

/* net.inet.lisp: switches and limits of lisp(4), and its counters. */
#include "lisp_var.h"

#include <sys/kernel.h>
#include <sys/proc.h>

#include <netinet/in.h>

SYSCTL_DECL(_net_inet);
SYSCTL_NODE(_net_inet, OID_AUTO, lisp, CTLFLAG_RW | CTLFLAG_MPSAFE, NULL, "LISP data plane");
static SYSCTL_NODE(_net_inet_lisp, OID_AUTO, stats, CTLFLAG_RD | CTLFLAG_MPSAFE, NULL, "Counters");
static SYSCTL_NODE(_net_inet_lisp_stats, OID_AUTO, drop, CTLFLAG_RD | CTLFLAG_MPSAFE, NULL, "Packets dropped, by cause");

VNET_DEFINE(int, lisp_source_check) = 1;
VNET_DEFINE(int, lisp_glean) = 1;
VNET_DEFINE(int, lisp_underlay_mtu) = 1500;
VNET_DEFINE(int, lisp_glean_idle) = 60;
VNET_DEFINE(int, lisp_mtu_lifetime) = 600;
VNET_DEFINE(int, lisp_event_rate) = 1000;
VNET_DEFINE(int, lisp_icmp_rate) = 500;

u_int lisp_max_mappings = 1 << 20;
u_int lisp_max_pins = 1 << 18;
u_int lisp_max_gleaned = 1 << 16;
u_int lisp_max_paths = 4096;

SYSCTL_UINT(_net_inet_lisp, OID_AUTO, max_mappings, CTLFLAG_RWTUN, &lisp_max_mappings, 0,
    "Most mappings of an interface created from now on");
SYSCTL_UINT(_net_inet_lisp, OID_AUTO, max_pins, CTLFLAG_RWTUN, &lisp_max_pins, 0,
    "Most pinned flows of an interface created from now on");
SYSCTL_UINT(_net_inet_lisp, OID_AUTO, max_gleaned, CTLFLAG_RWTUN, &lisp_max_gleaned, 0,
    "Most gleaned flows of an interface created from now on");
SYSCTL_UINT(_net_inet_lisp, OID_AUTO, max_paths, CTLFLAG_RWTUN, &lisp_max_paths, 0,
    "Most paths of an interface created from now on");

/* Switches and limits are per network stack. */
static int
lisp_sysctl_switch(SYSCTL_HANDLER_ARGS)
{
	int error = modctl_switch(oidp, arg1, arg2, req);

	if (error != 0 || req->newptr == NULL)
		return (error);
	sx_xlock(&lisp_config_sx);
	if (V_lisp_softc != NULL)
		lisp_apply_switches(V_lisp_softc);
	sx_xunlock(&lisp_config_sx);
	return (0);
}

#define	LISP_SWITCH(name, least, most, text)	\
	MODCTL_SWITCH(_net_inet_lisp, lisp_, name, least, most, lisp_sysctl_switch, text)

LISP_SWITCH(source_check, 0, 1, "Decapsulate only from an RLOC of the inner source's mapping");
LISP_SWITCH(glean, 0, 1, "Learn the path of return traffic from decapsulated packets");
LISP_SWITCH(underlay_mtu, 1280, 65535, "MTU of the underlay where nothing else is known, octets");
LISP_SWITCH(glean_idle, 1, 86400, "Seconds a gleaned flow may be idle");
LISP_SWITCH(mtu_lifetime, 10, 86400, "Seconds after which a lowered path MTU is tried again (RFC 8201 section 4)");
LISP_SWITCH(event_rate, 0, 1000000, "Most events a second");
LISP_SWITCH(icmp_rate, 0, 1000000, "Most ICMP messages a second to senders of packets that are too big");

static int
lisp_sysctl_counter(SYSCTL_HANDLER_ARGS)
{
	struct lisp_softc *sc;
	uint64_t value = 0;

	sx_slock(&lisp_config_sx);
	sc = V_lisp_softc;
	if (sc != NULL)
		value = counter_u64_fetch(arg1 != NULL ? sc->sc_drops[arg2] : sc->sc_counters[arg2]);
	sx_sunlock(&lisp_config_sx);
	return (sysctl_handle_64(oidp, &value, 0, req));
}

static struct sysctl_ctx_list lisp_sysctl_ctx;

int
lisp_sysctl_attach(void)
{
	static const struct {
		const char *name;
		const char *text;
	} counters[] = {
#define	LISP_COUNTER_ROW(symbol, name, text)	{ name, text },
		LISP_COUNTERS(LISP_COUNTER_ROW)
#undef LISP_COUNTER_ROW
	};
	struct sysctl_oid_list *stats = SYSCTL_STATIC_CHILDREN(_net_inet_lisp_stats);
	struct sysctl_oid_list *drops = SYSCTL_STATIC_CHILDREN(_net_inet_lisp_stats_drop);
	const int flags = CTLTYPE_U64 | CTLFLAG_RD | CTLFLAG_VNET | CTLFLAG_MPSAFE;

	sysctl_ctx_init(&lisp_sysctl_ctx);
	for (int i = 0; i < LISP_CNT_COUNT; i++)
		SYSCTL_ADD_PROC(&lisp_sysctl_ctx, stats, OID_AUTO, counters[i].name, flags, NULL, i, lisp_sysctl_counter, "QU",
		    counters[i].text);
	/* The first cause is 'none'. */
	for (int i = 1; i < LISP_DROP_COUNT; i++)
		SYSCTL_ADD_PROC(&lisp_sysctl_ctx, drops, OID_AUTO, lisp_drop_name((unsigned)i), flags, &lisp_sysctl_ctx, i,
		    lisp_sysctl_counter, "QU", lisp_drop_text((unsigned)i));
	return (0);
}

void
lisp_sysctl_detach(void)
{
	(void)sysctl_ctx_free(&lisp_sysctl_ctx);
}
