/* SPDX-License-Identifier: BSD-2-Clause */

/* /dev/tproxy: the commands and events of tproxy_ioctl.h. Descriptors are modctl's business. */
#include "tproxy_var.h"

#include <sys/priv.h>

#define	TPROXY_LIST_PIECE	64		/* entries taken out of the registry at a time */

static struct modctl_device tproxy_device;

/* ---------------------------------------------------------------- ABI to kernel and back */

/* A TCP endpoint: a unicast address that routers forward, and a port. */
static bool
tproxy_take_endpoint(const struct tproxy_ioc_addr *from, sa_family_t *family)
{
	if (from->ta_plen != 0 || from->ta_port == 0)
		return (false);
	if (from->ta_family == TPROXY_ABI_IPV4) {
		struct in_addr address;

		memcpy(&address, from->ta_octets, sizeof(address));
		*family = AF_INET;
		return (modctl_zeroed(from->ta_octets + 4, 12) && address.s_addr != INADDR_ANY &&
		    address.s_addr != INADDR_BROADCAST && !IN_MULTICAST(ntohl(address.s_addr)));
	}
	if (from->ta_family == TPROXY_ABI_IPV6) {
		struct in6_addr address;

		memcpy(&address, from->ta_octets, sizeof(address));
		*family = AF_INET6;
		return (!IN6_IS_ADDR_UNSPECIFIED(&address) && !IN6_IS_ADDR_MULTICAST(&address) &&
		    !IN6_IS_ADDR_LINKLOCAL(&address) && !IN6_IS_ADDR_V4MAPPED(&address));
	}
	return (false);
}

static bool
tproxy_take_flow(const struct tproxy_ioc_flow *from, struct tproxy_key *key)
{
	sa_family_t client, destination;

	memset(key, 0, sizeof(*key));
	if (!tproxy_take_endpoint(&from->tf_client, &client) ||
	    !tproxy_take_endpoint(&from->tf_destination, &destination) || client != destination)
		return (false);
	key->k_family = client;
	memcpy(key->k_client, from->tf_client.ta_octets, sizeof(key->k_client));
	memcpy(key->k_destination, from->tf_destination.ta_octets, sizeof(key->k_destination));
	key->k_client_port = htons(from->tf_client.ta_port);
	key->k_destination_port = htons(from->tf_destination.ta_port);
	return (true);
}

void
tproxy_give_flow(const struct tproxy_key *from, struct tproxy_ioc_flow *to)
{
	memset(to, 0, sizeof(*to));
	to->tf_client.ta_family = to->tf_destination.ta_family =
	    from->k_family == AF_INET6 ? TPROXY_ABI_IPV6 : TPROXY_ABI_IPV4;
	memcpy(to->tf_client.ta_octets, from->k_client, sizeof(to->tf_client.ta_octets));
	memcpy(to->tf_destination.ta_octets, from->k_destination, sizeof(to->tf_destination.ta_octets));
	to->tf_client.ta_port = ntohs(from->k_client_port);
	to->tf_destination.ta_port = ntohs(from->k_destination_port);
}

static bool
tproxy_rule_valid(const struct tproxy_ioc_rule *rule)
{
	const struct tproxy_ioc_addr *prefix = &rule->ru_destination;
	u_int size = prefix->ta_family == TPROXY_ABI_IPV4 ? 4 : 16;

	if ((prefix->ta_family != TPROXY_ABI_IPV4 && prefix->ta_family != TPROXY_ABI_IPV6) || prefix->ta_port != 0 ||
	    prefix->ta_plen > size * 8 || rule->ru_port_low > rule->ru_port_high || rule->ru_action > TPROXY_RULE_CAPTURE ||
	    strnlen(rule->ru_ifname, sizeof(rule->ru_ifname)) == sizeof(rule->ru_ifname))
		return (false);
	/* No bits beyond the length. */
	for (u_int i = prefix->ta_plen; i < 128; i++)
		if ((prefix->ta_octets[i / 8] & (0x80 >> (i % 8))) != 0)
			return (false);
	return (true);
}

/* ---------------------------------------------------------------- commands */

static int
tproxy_do_stats(void *softc, void *client, void *argument)
{
	struct tproxy_softc *sc = softc;
	struct tproxy_ioc_stats *stats = argument;

	memset(stats, 0, sizeof(*stats));
	stats->st_version = TPROXY_ABI_VERSION;
	if (sc != NULL) {
		mtx_lock(&tproxy_mtx);
		stats->st_flows = sc->sc_nflows;
		stats->st_held = sc->sc_nheld;
		stats->st_events = sc->sc_capturer == client ? sc->sc_nunread : 0;
		mtx_unlock(&tproxy_mtx);
	}
#define	TPROXY_COUNTER_FETCH(name, text)	stats->st_##name = counter_u64_fetch(V_tproxy_counters[TPROXY_CNT_##name]);
	TPROXY_COUNTERS(TPROXY_COUNTER_FETCH)
#undef TPROXY_COUNTER_FETCH
	return (0);
}

static int
tproxy_do_register(void *softc, void *client, void *argument)
{
	struct tproxy_softc *sc = softc;
	const struct tproxy_ioc_register *wanted = argument;
	const struct tproxy_ioc_addr *listener = &wanted->tr_listener;
	struct tproxy_flow *flow;
	struct tproxy_key key;
	sa_family_t family;
	int error;

	if (wanted->tr_zero != 0 || wanted->tr_zero2 != 0 || !tproxy_take_flow(&wanted->tr_flow, &key) ||
	    !tproxy_take_endpoint(listener, &family) || family != key.k_family)
		return (EINVAL);
	flow = malloc(sizeof(*flow), M_TPROXY, M_WAITOK | M_ZERO);
	flow->f_key = key;
	if (family == AF_INET) {
		flow->f_listener.sin.sin_len = sizeof(flow->f_listener.sin);
		flow->f_listener.sin.sin_family = AF_INET;
		flow->f_listener.sin.sin_port = listener->ta_port;
		memcpy(&flow->f_listener.sin.sin_addr, listener->ta_octets, sizeof(flow->f_listener.sin.sin_addr));
	} else {
		flow->f_listener.sin6.sin6_len = sizeof(flow->f_listener.sin6);
		flow->f_listener.sin6.sin6_family = AF_INET6;
		flow->f_listener.sin6.sin6_port = listener->ta_port;
		memcpy(&flow->f_listener.sin6.sin6_addr, listener->ta_octets, sizeof(flow->f_listener.sin6.sin6_addr));
	}
	error = tproxy_register(sc, client, flow);
	if (error != 0)
		free(flow, M_TPROXY);
	return (error);
}

static int
tproxy_do_unregister(void *softc, void *client, void *argument)
{
	struct tproxy_softc *sc = softc;
	const struct tproxy_ioc_register *wanted = argument;
	struct tproxy_key key;

	if (wanted->tr_zero != 0 || wanted->tr_zero2 != 0 || !tproxy_take_flow(&wanted->tr_flow, &key))
		return (EINVAL);
	return (tproxy_unregister(sc, client, &key));
}

static void
tproxy_give_entry(const struct tproxy_flow *flow, const struct tproxy_client *client, struct tproxy_ioc_entry *entry)
{
	uint64_t now = modctl_now_ms();
	uint32_t state = flow->f_state;

	memset(entry, 0, sizeof(*entry));
	tproxy_give_flow(&flow->f_key, &entry->te_flow);
	if (flow->f_key.k_family == AF_INET) {
		entry->te_listener.ta_family = TPROXY_ABI_IPV4;
		entry->te_listener.ta_port = flow->f_listener.sin.sin_port;
		memcpy(entry->te_listener.ta_octets, &flow->f_listener.sin.sin_addr, 4);
	} else {
		entry->te_listener.ta_family = TPROXY_ABI_IPV6;
		entry->te_listener.ta_port = flow->f_listener.sin6.sin6_port;
		memcpy(entry->te_listener.ta_octets, &flow->f_listener.sin6.sin6_addr, 16);
	}
	entry->te_state = state;
	entry->te_own = flow->f_client == client;
	entry->te_age_ms = now - MIN(flow->f_made_ms, now);
	if ((state == TPROXY_FLOW_WAITING || state == TPROXY_FLOW_GONE) && flow->f_deadline_ms > now)
		entry->te_left_ms = (uint32_t)MIN(flow->f_deadline_ms - now, UINT32_MAX);
}

/* The cursor: the bucket in its upper half, entries of it that are through in the lower one. */
static int
tproxy_do_list(void *softc, void *client, void *argument)
{
	struct tproxy_softc *sc = softc;
	struct tproxy_ioc_list *list = argument;
	struct tproxy_ioc_entry *piece;
	struct tproxy_flow *flow;
	uint64_t bucket = list->ls_cursor >> 32;
	uint32_t done = (uint32_t)list->ls_cursor, filled = 0, n, position, room, walked;
	int error = 0;

	if (list->ls_zero != 0)
		return (EINVAL);
	if (sc == NULL) {
		list->ls_count = 0;
		list->ls_cursor = 0;
		list->ls_total = 0;
		return (0);
	}
	piece = mallocarray(TPROXY_LIST_PIECE, sizeof(*piece), M_TPROXY, M_WAITOK | M_ZERO);
	while (bucket <= sc->sc_mask && filled < list->ls_count && error == 0) {
		room = MIN(list->ls_count - filled, TPROXY_LIST_PIECE);
		n = 0;
		mtx_lock(&tproxy_mtx);
		/* Empty buckets are quick, but there may be many. */
		for (walked = 0; bucket <= sc->sc_mask && n < room && walked < 4096; walked++) {
			position = 0;
			CK_LIST_FOREACH(flow, &sc->sc_buckets[bucket], f_next) {
				if (position++ < done)
					continue;
				if (n == room)
					break;
				tproxy_give_entry(flow, client, &piece[n++]);
				done++;
			}
			if (flow == NULL) {
				bucket++;
				done = 0;
			}
		}
		mtx_unlock(&tproxy_mtx);
		if (n > 0)
			error = copyout(piece, (void *)(uintptr_t)(list->ls_buffer + (uint64_t)filled * sizeof(*piece)),
			    n * sizeof(*piece));
		filled += n;
	}
	free(piece, M_TPROXY);
	if (error != 0)
		return (error);
	list->ls_count = filled;
	list->ls_cursor = bucket <= sc->sc_mask ? bucket << 32 | done : 0;
	list->ls_total = sc->sc_nflows;
	return (0);
}

static int
tproxy_do_capture(void *softc, void *client, void *argument)
{
	struct tproxy_softc *sc = softc;
	const struct tproxy_ioc_capture *wanted = argument;
	int error = 0;

	if (wanted->ca_count > TPROXY_ABI_RULES || wanted->ca_zero != 0 || (wanted->ca_hold_ms != 0 &&
	    (wanted->ca_hold_ms < TPROXY_ABI_HOLD_LEAST || wanted->ca_hold_ms > TPROXY_ABI_HOLD_MOST)))
		return (EINVAL);
	for (u_int i = 0; i < TPROXY_ABI_RULES; i++) {
		const struct tproxy_ioc_rule *rule = &wanted->ca_rules[i];

		if (i < wanted->ca_count ? !tproxy_rule_valid(rule) : !modctl_zeroed(rule, sizeof(*rule)))
			return (EINVAL);
	}
	if (wanted->ca_count == 0) {
		tproxy_capture_close(sc, client);
		return (0);
	}
	mtx_lock(&tproxy_mtx);
	if (sc->sc_capturer != NULL && sc->sc_capturer != client)
		error = EBUSY;
	else {
		memcpy(sc->sc_rules, wanted->ca_rules, sizeof(sc->sc_rules));
		sc->sc_nrules = wanted->ca_count;
		sc->sc_hold_ms = wanted->ca_hold_ms;
		sc->sc_capturer = client;
	}
	mtx_unlock(&tproxy_mtx);
	return (error);
}

static int
tproxy_do_release(void *softc, void *client, void *argument)
{
	struct tproxy_softc *sc = softc;
	const struct tproxy_ioc_release *release = argument;

	return (tproxy_capture_release(sc, client, release->re_id, release->re_action));
}

static const struct modctl_command tproxy_commands[] = {
	MODCTL_COMMAND(TPROXYIOC_STATS, tproxy_ioc_stats, tproxy_do_stats, 0),
	MODCTL_COMMAND(TPROXYIOC_REGISTER, tproxy_ioc_register, tproxy_do_register, MODCTL_WRITE),
	MODCTL_COMMAND(TPROXYIOC_UNREGISTER, tproxy_ioc_register, tproxy_do_unregister, MODCTL_WRITE),
	MODCTL_COMMAND(TPROXYIOC_LIST, tproxy_ioc_list, tproxy_do_list, 0),
	MODCTL_COMMAND(TPROXYIOC_CAPTURE, tproxy_ioc_capture, tproxy_do_capture, MODCTL_WRITE),
	MODCTL_COMMAND(TPROXYIOC_RELEASE, tproxy_ioc_release, tproxy_do_release, MODCTL_WRITE),
};

/* ---------------------------------------------------------------- descriptors */

/* Lets go of everything a descriptor holds; its flows and SYNs first, then the hooks if it was the last one. */
static void
tproxy_client_let_go(struct tproxy_client *client)
{
	struct tproxy_softc *sc = client->c_softc;

	sx_assert(&tproxy_sx, SA_XLOCKED);
	if (sc == NULL)
		return;
	CURVNET_SET(sc->sc_vnet);
	tproxy_capture_close(sc, client);
	tproxy_unregister_all(sc, client);
	/* A knote's filter may be looking, with this lock alone. */
	mtx_lock(&tproxy_mtx);
	client->c_softc = NULL;
	mtx_unlock(&tproxy_mtx);
	if (--sc->sc_writers == 0)
		tproxy_detach(sc);
	CURVNET_RESTORE();
}

static int
tproxy_open(struct modctl_client *control)
{
	struct tproxy_client *client = (struct tproxy_client *)control;

	LIST_INIT(&client->c_flows);
	if (!control->mc_writable)
		return (0);
	client->c_softc = V_tproxy_softc != NULL ? V_tproxy_softc : tproxy_attach();
	if (client->c_softc == NULL)
		return (ENOMEM);
	client->c_softc->sc_writers++;
	return (0);
}

static void
tproxy_close(struct modctl_client *control)
{
	tproxy_client_let_go((struct tproxy_client *)control);
}

/* The current network stack is about to go, or the module is. */
void
tproxy_vnet_gone(struct tproxy_softc *sc)
{
	struct modctl_client *control;
	struct tproxy_client *client;

	sx_assert(&tproxy_sx, SA_XLOCKED);
	LIST_FOREACH(control, &tproxy_device.md_clients, mc_next) {
		client = (struct tproxy_client *)control;
		if (client->c_softc == sc && sc->sc_writers > 1)
			tproxy_client_let_go(client);
	}
	/* The last one frees it. */
	LIST_FOREACH(control, &tproxy_device.md_clients, mc_next) {
		client = (struct tproxy_client *)control;
		if (client->c_softc == sc) {
			tproxy_client_let_go(client);
			break;
		}
	}
}

static int
tproxy_enter(struct modctl_client *control, const struct modctl_command *row, void **softc)
{
	const struct tproxy_client *client = (const struct tproxy_client *)control;

	*softc = V_tproxy_softc;
	return ((row->cmd_flags & MODCTL_WRITE) != 0 && client->c_softc == NULL ? ENXIO : 0);
}

/* ---------------------------------------------------------------- events */

static int
tproxy_listen(struct modctl_client *control)
{
	return (control->mc_writable ? 0 : EPERM);
}

/* SYNs wait for the descriptor that captures. */
static u_int
tproxy_waiting(struct modctl_client *control)
{
	struct tproxy_client *client = (struct tproxy_client *)control;
	struct tproxy_softc *sc = client->c_softc;

	mtx_assert(&tproxy_mtx, MA_OWNED);
	return (sc != NULL && sc->sc_capturer == client ? sc->sc_nunread : 0);
}

static void
tproxy_take(struct modctl_client *control, void *event)
{
	(void)tproxy_capture_event(((struct tproxy_client *)control)->c_softc, event);
}

static struct modctl_device tproxy_device = {
	.md_name = TPROXY_DEVICE,
	.md_version = TPROXY_ABI_VERSION,
	.md_privilege = PRIV_NETINET_DIVERT,
	.md_commands = tproxy_commands,
	.md_ncommands = nitems(tproxy_commands),
	.md_client_size = sizeof(struct tproxy_client),
	.md_event_size = sizeof(struct tproxy_event),
	.md_type = M_TPROXY,
	.md_sx = &tproxy_sx,
	.md_mtx = &tproxy_mtx,
	.md_open = tproxy_open,
	.md_close = tproxy_close,
	.md_enter = tproxy_enter,
	.md_listen = tproxy_listen,
	.md_waiting = tproxy_waiting,
	.md_take = tproxy_take,
};

int
tproxy_device_attach(void)
{
	return (modctl_attach(&tproxy_device));
}

void
tproxy_device_detach(void)
{
	modctl_detach(&tproxy_device);
}

/* Flows are registered, SYNs held or to be captured, in any network stack. */
bool
tproxy_device_busy(void)
{
	struct modctl_client *control;
	struct tproxy_client *client;
	bool busy = false;

	sx_xlock(&tproxy_sx);
	mtx_lock(&tproxy_mtx);
	LIST_FOREACH(control, &tproxy_device.md_clients, mc_next) {
		client = (struct tproxy_client *)control;
		if (client->c_softc != NULL &&
		    (!LIST_EMPTY(&client->c_flows) || client->c_softc->sc_capturer == client))
			busy = true;
	}
	mtx_unlock(&tproxy_mtx);
	sx_xunlock(&tproxy_sx);
	return (busy);
}
