/* SPDX-License-Identifier: BSD-2-Clause */

/*
 * /dev/tproxy: control by ioctl(2), events by read(2), poll(2) and kqueue(2). The ABI is tproxy_ioctl.h.
 *
 * Arguments are checked in three steps: the size is part of the command and the kernel copies that much; the version is
 * checked for all of them; the values by the command's own function before anything changes.
 */
#include "tproxy_var.h"

#include <sys/conf.h>
#include <sys/event.h>
#include <sys/fcntl.h>
#include <sys/filio.h>
#include <sys/jail.h>
#include <sys/kernel.h>
#include <sys/poll.h>
#include <sys/priv.h>
#include <sys/proc.h>
#include <sys/ucred.h>
#include <sys/uio.h>

#define	TPROXY_LIST_PIECE	64		/* entries taken out of the registry at a time */

static LIST_HEAD(, tproxy_client) tproxy_clients = LIST_HEAD_INITIALIZER(tproxy_clients);	/* under tproxy_sx */
static struct cdev *tproxy_cdev;
static bool tproxy_leaving;		/* the device goes; under tproxy_mtx */

/* ---------------------------------------------------------------- ABI to kernel and back */

static bool
tproxy_zeroed(const void *octets, size_t length)
{
	const uint8_t *p = octets;
	uint8_t any = 0;

	for (size_t i = 0; i < length; i++)
		any |= p[i];
	return (any == 0);
}

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
		return (tproxy_zeroed(from->ta_octets + 4, 12) && address.s_addr != INADDR_ANY &&
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
tproxy_do_stats(struct tproxy_softc *sc, struct tproxy_client *client, void *argument)
{
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
tproxy_do_register(struct tproxy_softc *sc, struct tproxy_client *client, void *argument)
{
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
tproxy_do_unregister(struct tproxy_softc *sc, struct tproxy_client *client, void *argument)
{
	const struct tproxy_ioc_register *wanted = argument;
	struct tproxy_key key;

	if (wanted->tr_zero != 0 || wanted->tr_zero2 != 0 || !tproxy_take_flow(&wanted->tr_flow, &key))
		return (EINVAL);
	return (tproxy_unregister(sc, client, &key));
}

static void
tproxy_give_entry(const struct tproxy_flow *flow, const struct tproxy_client *client, struct tproxy_ioc_entry *entry)
{
	uint64_t now = tproxy_now_ms();
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
tproxy_do_list(struct tproxy_softc *sc, struct tproxy_client *client, void *argument)
{
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
tproxy_do_capture(struct tproxy_softc *sc, struct tproxy_client *client, void *argument)
{
	const struct tproxy_ioc_capture *wanted = argument;
	int error = 0;

	if (wanted->ca_count > TPROXY_ABI_RULES)
		return (EINVAL);
	for (u_int i = 0; i < TPROXY_ABI_RULES; i++) {
		const struct tproxy_ioc_rule *rule = &wanted->ca_rules[i];

		if (i < wanted->ca_count ? !tproxy_rule_valid(rule) : !tproxy_zeroed(rule, sizeof(*rule)))
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
		sc->sc_capturer = client;
	}
	mtx_unlock(&tproxy_mtx);
	return (error);
}

static int
tproxy_do_release(struct tproxy_softc *sc, struct tproxy_client *client, void *argument)
{
	const struct tproxy_ioc_release *release = argument;

	return (tproxy_capture_release(sc, client, release->re_id, release->re_action));
}

/* The size of an argument is part of the command's number, so a wrong size is an unknown command. */
static const struct tproxy_command {
	u_long	command;
	size_t	size;
	int	(*run)(struct tproxy_softc *, struct tproxy_client *, void *);
	int	flags;
} tproxy_commands[] = {
#define	TPROXY_CMD_WRITE	0x01	/* needs a descriptor opened for writing, which needs the privilege */
#define	TPROXY_CMD(command, argument, run, flags)	{ command, sizeof(struct argument), run, flags }
	TPROXY_CMD(TPROXYIOC_STATS, tproxy_ioc_stats, tproxy_do_stats, 0),
	TPROXY_CMD(TPROXYIOC_REGISTER, tproxy_ioc_register, tproxy_do_register, TPROXY_CMD_WRITE),
	TPROXY_CMD(TPROXYIOC_UNREGISTER, tproxy_ioc_register, tproxy_do_unregister, TPROXY_CMD_WRITE),
	TPROXY_CMD(TPROXYIOC_LIST, tproxy_ioc_list, tproxy_do_list, 0),
	TPROXY_CMD(TPROXYIOC_CAPTURE, tproxy_ioc_capture, tproxy_do_capture, TPROXY_CMD_WRITE),
	TPROXY_CMD(TPROXYIOC_RELEASE, tproxy_ioc_release, tproxy_do_release, TPROXY_CMD_WRITE),
};

/* ---------------------------------------------------------------- the device's methods */

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

static void
tproxy_client_free(void *argument)
{
	struct tproxy_client *client = argument;

	sx_xlock(&tproxy_sx);
	LIST_REMOVE(client, c_next);
	tproxy_client_let_go(client);
	sx_xunlock(&tproxy_sx);
	knlist_clear(&client->c_selinfo.si_note, 0);
	seldrain(&client->c_selinfo);
	knlist_destroy(&client->c_selinfo.si_note);
	free(client, M_TPROXY);
}

/* The current network stack is about to go, or the module is. */
void
tproxy_vnet_gone(struct tproxy_softc *sc)
{
	struct tproxy_client *client;

	sx_assert(&tproxy_sx, SA_XLOCKED);
	LIST_FOREACH(client, &tproxy_clients, c_next)
		if (client->c_softc == sc && sc->sc_writers > 1)
			tproxy_client_let_go(client);
	/* The last one frees it. */
	LIST_FOREACH(client, &tproxy_clients, c_next) {
		if (client->c_softc == sc) {
			tproxy_client_let_go(client);
			break;
		}
	}
}

static int
tproxy_dev_open(struct cdev *dev __unused, int oflags, int devtype __unused, struct thread *td)
{
	struct tproxy_client *client;
	int error = 0;

	if ((oflags & FWRITE) != 0) {
		error = priv_check(td, PRIV_NETINET_DIVERT);
		if (error != 0)
			return (error);
	}
	client = malloc(sizeof(*client), M_TPROXY, M_WAITOK | M_ZERO);
	client->c_vnet = TD_TO_VNET(td);
	client->c_prison = td->td_ucred->cr_prison->pr_id;
	client->c_writable = (oflags & FWRITE) != 0;
	LIST_INIT(&client->c_flows);
	knlist_init_mtx(&client->c_selinfo.si_note, &tproxy_mtx);
	sx_xlock(&tproxy_sx);
	LIST_INSERT_HEAD(&tproxy_clients, client, c_next);
	if (client->c_writable) {
		CURVNET_SET(TD_TO_VNET(td));
		client->c_softc = V_tproxy_softc != NULL ? V_tproxy_softc : tproxy_attach();
		if (client->c_softc != NULL)
			client->c_softc->sc_writers++;
		else
			error = ENOMEM;
		CURVNET_RESTORE();
	}
	sx_xunlock(&tproxy_sx);
	if (error == 0)
		error = devfs_set_cdevpriv(client, tproxy_client_free);
	if (error != 0)
		tproxy_client_free(client);
	return (error);
}

/* The descriptor's client, if the caller lives in the network stack it was opened in. */
static int
tproxy_client_get(struct thread *td, struct tproxy_client **client)
{
	int error = devfs_get_cdevpriv((void **)client);

	if (error == 0 && ((*client)->c_vnet != TD_TO_VNET(td) || (*client)->c_prison != td->td_ucred->cr_prison->pr_id))
		error = EXDEV;
	return (error);
}

static int
tproxy_dev_ioctl(struct cdev *dev __unused, u_long command, caddr_t data, int fflag __unused, struct thread *td)
{
	const struct tproxy_command *row = NULL;
	struct tproxy_client *client;
	uint32_t version;
	int error;

	switch (command) {
	case FIONBIO:
	case FIOASYNC:
		return (0);
	}
	error = tproxy_client_get(td, &client);
	if (error != 0)
		return (error);
	for (u_int i = 0; i < nitems(tproxy_commands) && row == NULL; i++)
		if (tproxy_commands[i].command == command && tproxy_commands[i].size == IOCPARM_LEN(command))
			row = &tproxy_commands[i];
	if (row == NULL)
		return (ENOTTY);
	if ((row->flags & TPROXY_CMD_WRITE) != 0 && !client->c_writable)
		return (EPERM);
	memcpy(&version, data, sizeof(version));
	if (version != TPROXY_ABI_VERSION)
		return (EPROTONOSUPPORT);
	CURVNET_SET(TD_TO_VNET(td));
	sx_xlock(&tproxy_sx);
	if ((row->flags & TPROXY_CMD_WRITE) != 0 && client->c_softc == NULL)
		error = ENXIO;
	else
		error = row->run(V_tproxy_softc, client, data);
	sx_xunlock(&tproxy_sx);
	CURVNET_RESTORE();
	return (error);
}

/* SYNs wait for the descriptor that captures. Others never have anything to read. */
static bool
tproxy_ready(struct tproxy_client *client)
{
	struct tproxy_softc *sc = client->c_softc;

	mtx_assert(&tproxy_mtx, MA_OWNED);
	return (sc != NULL && sc->sc_capturer == client && sc->sc_nunread > 0);
}

void
tproxy_device_wake(struct tproxy_client *client)
{
	mtx_assert(&tproxy_mtx, MA_OWNED);
	KNOTE_LOCKED(&client->c_selinfo.si_note, 0);
	selwakeup(&client->c_selinfo);
	wakeup(client);
}

static int
tproxy_dev_read(struct cdev *dev __unused, struct uio *uio, int ioflag)
{
	struct tproxy_client *client;
	struct tproxy_event event;
	int error;
	bool any = false;

	error = tproxy_client_get(curthread, &client);
	if (error != 0)
		return (error);
	if (!client->c_writable)
		return (EPERM);
	if (uio->uio_resid < (ssize_t)sizeof(event))
		return (EINVAL);
	mtx_lock(&tproxy_mtx);
	for (;;) {
		while (!tproxy_ready(client) && error == 0 && !any) {
			if (tproxy_leaving)
				error = ENXIO;
			else if ((ioflag & O_NONBLOCK) != 0)
				error = EAGAIN;
			else
				error = mtx_sleep(client, &tproxy_mtx, PCATCH, "tproxy", 0);
		}
		if (error != 0 || !tproxy_ready(client) || uio->uio_resid < (ssize_t)sizeof(event))
			break;
		(void)tproxy_capture_event(client->c_softc, &event);
		mtx_unlock(&tproxy_mtx);
		error = uiomove(&event, sizeof(event), uio);
		any = true;
		mtx_lock(&tproxy_mtx);
		if (error != 0)
			break;
	}
	mtx_unlock(&tproxy_mtx);
	return (error);
}

static int
tproxy_dev_poll(struct cdev *dev __unused, int events, struct thread *td)
{
	struct tproxy_client *client;
	int ready = 0;

	if (tproxy_client_get(td, &client) != 0)
		return (POLLNVAL);
	if ((events & (POLLIN | POLLRDNORM)) == 0)
		return (0);
	mtx_lock(&tproxy_mtx);
	if (tproxy_ready(client))
		ready = events & (POLLIN | POLLRDNORM);
	else
		selrecord(td, &client->c_selinfo);
	mtx_unlock(&tproxy_mtx);
	return (ready);
}

static void
tproxy_filter_detach(struct knote *kn)
{
	struct tproxy_client *client = kn->kn_hook;

	knlist_remove(&client->c_selinfo.si_note, kn, 0);
}

static int
tproxy_filter_event(struct knote *kn, long hint __unused)
{
	struct tproxy_client *client = kn->kn_hook;
	bool ready = tproxy_ready(client);

	kn->kn_data = ready ? (int64_t)client->c_softc->sc_nunread * (int64_t)sizeof(struct tproxy_event) : 0;
	return (ready);
}

static struct filterops tproxy_filterops = {
	.f_isfd = 1,
	.f_detach = tproxy_filter_detach,
	.f_event = tproxy_filter_event,
};

static int
tproxy_dev_kqfilter(struct cdev *dev __unused, struct knote *kn)
{
	struct tproxy_client *client;
	int error;

	error = tproxy_client_get(curthread, &client);
	if (error != 0)
		return (error);
	if (kn->kn_filter != EVFILT_READ)
		return (EINVAL);
	kn->kn_fop = &tproxy_filterops;
	kn->kn_hook = client;
	knlist_add(&client->c_selinfo.si_note, kn, 0);
	return (0);
}

static struct cdevsw tproxy_cdevsw = {
	.d_version = D_VERSION,
	.d_name = TPROXY_DEVICE,
	.d_open = tproxy_dev_open,
	.d_ioctl = tproxy_dev_ioctl,
	.d_read = tproxy_dev_read,
	.d_poll = tproxy_dev_poll,
	.d_kqfilter = tproxy_dev_kqfilter,
};

int
tproxy_device_attach(void)
{
	struct make_dev_args args;

	make_dev_args_init(&args);
	args.mda_flags = MAKEDEV_CHECKNAME | MAKEDEV_WAITOK;
	args.mda_devsw = &tproxy_cdevsw;
	args.mda_uid = UID_ROOT;
	args.mda_gid = GID_WHEEL;
	args.mda_mode = 0640;
	return (make_dev_s(&args, &tproxy_cdev, TPROXY_DEVICE));
}

void
tproxy_device_detach(void)
{
	struct tproxy_client *client;

	/* Destroying the device waits for those who wait in read(2). */
	sx_xlock(&tproxy_sx);
	mtx_lock(&tproxy_mtx);
	tproxy_leaving = true;
	LIST_FOREACH(client, &tproxy_clients, c_next)
		wakeup(client);
	mtx_unlock(&tproxy_mtx);
	sx_xunlock(&tproxy_sx);
	if (tproxy_cdev != NULL)
		destroy_dev(tproxy_cdev);
	tproxy_cdev = NULL;
}

/* Flows are registered, SYNs held or to be captured, in any network stack. */
bool
tproxy_device_busy(void)
{
	struct tproxy_client *client;
	bool busy = false;

	sx_xlock(&tproxy_sx);
	mtx_lock(&tproxy_mtx);
	LIST_FOREACH(client, &tproxy_clients, c_next)
		if (client->c_softc != NULL &&
		    (!LIST_EMPTY(&client->c_flows) || client->c_softc->sc_capturer == client))
			busy = true;
	mtx_unlock(&tproxy_mtx);
	sx_xunlock(&tproxy_sx);
	return (busy);
}
