/* SPDX-License-Identifier: BSD-2-Clause */

/* /dev/mptcp: the commands and events of mptcp.h. Descriptors are modctl's business, connections the connection level's. */
#include "mptcp_var.h"
#include "mptcp_user.h"
#include "modctl.h"

#include <sys/jail.h>
#include <sys/priv.h>
#include <sys/proc.h>

#include <net/route.h>

#include "opt_inet.h"
#include "opt_inet6.h"

#define	MPTCP_EVENT_QUEUE	4096		/* events a descriptor may leave unread */

/* One open descriptor. */
struct mptcp_client {
	struct modctl_client	c_modctl;
	bool			c_listening;	/* asked for events at least once */
	u_int			c_head, c_count;
	uint32_t		c_lost;
	struct mptcp_event	*c_queue;	/* MPTCP_EVENT_QUEUE of them, once it listens */
};

static struct sx mptcp_control_sx;
SX_SYSINIT(mptcp_control, &mptcp_control_sx, "mptcp control");
static struct mtx mptcp_event_mtx;
MTX_SYSINIT(mptcp_event, &mptcp_event_mtx, "mptcp events", MTX_DEF);
static struct modctl_device mptcp_device;
static u_int mptcp_listeners;			/* under mptcp_event_mtx; read without it */

/* ---------------------------------------------------------------- arguments */

static bool
mptcp_check_address(const struct mptcp_ioc_addr *address, bool needed)
{
	const uint8_t *octets = address->ma_octets;

	if (address->ma_zero != 0)
		return (false);
	switch (address->ma_family) {
	case 0:
		return (!needed && modctl_zeroed(octets, sizeof(address->ma_octets)));
#ifdef INET
	case MPTCP_ABI_IPV4:
		/* Unicast. */
		return (modctl_zeroed(octets + 4, 12) && octets[0] != 0 && octets[0] < 224);
#endif
#ifdef INET6
	case MPTCP_ABI_IPV6:
		/* Unicast, no IPv4 inside, and no scope that a number without an interface could not name. */
		return (octets[0] != 0xff && !(octets[0] == 0xfe && (octets[1] & 0xc0) == 0x80) &&
		    !(modctl_zeroed(octets, 10) && octets[10] == 0xff && octets[11] == 0xff) && !modctl_zeroed(octets, 16));
#endif
	default:
		return (false);
	}
}

static bool
mptcp_check_subflow_add(const struct mptcp_ioc_subflow *wanted)
{
	return (wanted->ms_id == 0 && wanted->ms_reason == 0 && wanted->ms_zero == 0 && (wanted->ms_flags & ~MPTCP_FLAG_BACKUP) == 0 &&
	    (wanted->ms_fib == MPTCP_FIB_SAME || wanted->ms_fib < rt_numfibs) && mptcp_check_address(&wanted->ms_local, false) &&
	    mptcp_check_address(&wanted->ms_remote, true) &&
	    (wanted->ms_local.ma_family == 0 || wanted->ms_local.ma_family == wanted->ms_remote.ma_family));
}

/* Of the ones that only name a subflow. */
static bool
mptcp_check_subflow_named(const struct mptcp_ioc_subflow *wanted, uint32_t flags)
{
	return (wanted->ms_zero == 0 && (wanted->ms_flags & ~flags) == 0 && wanted->ms_fib == 0 &&
	    wanted->ms_reason <= UINT8_MAX && (wanted->ms_reason == 0 || (wanted->ms_flags & MPTCP_FLAG_RESET) != 0) &&
	    modctl_zeroed(&wanted->ms_local, sizeof(wanted->ms_local)) && modctl_zeroed(&wanted->ms_remote, sizeof(wanted->ms_remote)));
}

/* ---------------------------------------------------------------- commands */

static int
mptcp_subflow_add(struct thread *td, uint32_t token, bool as_owner, struct mptcp_ioc_subflow *wanted)
{
	return (mptcp_check_subflow_add(wanted) ? mptcp_conn_subflow_add(td, token, as_owner, wanted) : EINVAL);
}

static int
mptcp_subflow_remove(uint32_t token, const struct mptcp_ioc_subflow *wanted)
{
	if (!mptcp_check_subflow_named(wanted, MPTCP_FLAG_RESET))
		return (EINVAL);
	return (mptcp_conn_subflow_remove(token, wanted->ms_id, wanted->ms_flags, (uint8_t)wanted->ms_reason));
}

static int
mptcp_subflow_priority(uint32_t token, const struct mptcp_ioc_subflow *wanted)
{
	if (!mptcp_check_subflow_named(wanted, MPTCP_FLAG_BACKUP))
		return (EINVAL);
	return (mptcp_conn_subflow_priority(token, wanted->ms_id, (wanted->ms_flags & MPTCP_FLAG_BACKUP) != 0));
}

int
mptcp_sockopt_subflow(struct thread *td, uint32_t token, struct sockopt *sopt)
{
	struct mptcp_ioc_subflow wanted;
	int error;

	if (sopt->sopt_dir != SOPT_SET)
		return (ENOPROTOOPT);
	error = sooptcopyin(sopt, &wanted, sizeof(wanted), sizeof(wanted));
	if (error != 0)
		return (error);
	if (wanted.ms_version != MPTCP_ABI_VERSION)
		return (EPROTONOSUPPORT);
	switch (sopt->sopt_name) {
	case MPTCP_SUBFLOW_ADD:
		/* Whoever holds the socket binds by its own rights, as with bind(2). */
		return (mptcp_subflow_add(td, token, false, &wanted));
	case MPTCP_SUBFLOW_REMOVE:
		return (mptcp_subflow_remove(token, &wanted));
	case MPTCP_SUBFLOW_PRIORITY:
		return (mptcp_subflow_priority(token, &wanted));
	default:
		return (ENOPROTOOPT);
	}
}

static int
mptcp_do_state(void *unused __unused, void *control, void *argument)
{
	struct mptcp_client *client = control;
	struct mptcp_ioc_state *state = argument;

	memset(state, 0, sizeof(*state));
	state->st_version = MPTCP_ABI_VERSION;
	state->st_enabled = (uint32_t)V_mptcp_enabled;
	state->st_connections = mptcp_conn_tokens(NULL, 0);
	state->st_sockets = mptcp_sockets;
	mtx_lock(&mptcp_event_mtx);
	state->st_events = client->c_count;
	mtx_unlock(&mptcp_event_mtx);
	state->st_uptime_ms = modctl_now_ms();
	return (0);
}

static int
mptcp_do_info(void *unused __unused, void *client __unused, void *argument)
{
	struct mptcp_info *info = argument;
	uint32_t token = info->local_token;

	return (mptcp_conn_info_token(token, info));
}

static int
mptcp_compare_tokens(const void *a, const void *b)
{
	const uint32_t *left = a, *right = b;

	return (*left < *right ? -1 : *left > *right);
}

/* Sorted. At most `*count` of them, M_MPTCP. */
static uint32_t *
mptcp_take_tokens(u_int *count)
{
	uint32_t *tokens;
	u_int room, there;

	for (room = mptcp_conn_tokens(NULL, 0) + 16;; room = there + there / 8 + 16) {
		tokens = mallocarray(room, sizeof(*tokens), M_MPTCP, M_WAITOK | M_ZERO);
		there = mptcp_conn_tokens(tokens, room);
		if (there <= room)
			break;
		/* More have come meanwhile. */
		free(tokens, M_MPTCP);
	}
	qsort(tokens, there, sizeof(*tokens), mptcp_compare_tokens);
	*count = there;
	return (tokens);
}

/* The cursor is one more than the last token shown: tokens are random, so their order is as good as any. */
static int
mptcp_do_list(void *unused __unused, void *client __unused, void *argument)
{
	struct mptcp_ioc_list *list = argument;
	struct mptcp_info *info;
	uint64_t cursor = list->ls_cursor;
	uint32_t filled = 0, *tokens;
	u_int at, count;
	int error = 0;

	if (list->ls_zero != 0 || cursor > (uint64_t)UINT32_MAX + 1)
		return (EINVAL);
	tokens = mptcp_take_tokens(&count);
	info = malloc(sizeof(*info), M_MPTCP, M_WAITOK);
	for (at = 0; at < count && tokens[at] < cursor; at++)
		;
	for (; at < count && filled < list->ls_count && error == 0; at++) {
		cursor = (uint64_t)tokens[at] + 1;
		memset(info, 0, sizeof(*info));
		/* It may have gone meanwhile. */
		if (mptcp_conn_info_token(tokens[at], info) != 0)
			continue;
		error = copyout(info, (void *)(uintptr_t)(list->ls_buffer + (uint64_t)filled * sizeof(*info)), sizeof(*info));
		filled++;
	}
	free(info, M_MPTCP);
	free(tokens, M_MPTCP);
	if (error != 0)
		return (error);
	list->ls_count = filled;
	list->ls_cursor = at < count ? cursor : 0;
	list->ls_total = count;
	return (0);
}

static int
mptcp_do_subflow_add(void *unused __unused, void *client __unused, void *argument)
{
	struct mptcp_ioc_subflow *wanted = argument;

	return (mptcp_subflow_add(curthread, wanted->ms_token, true, wanted));
}

static int
mptcp_do_subflow_remove(void *unused __unused, void *client __unused, void *argument)
{
	const struct mptcp_ioc_subflow *wanted = argument;

	return (mptcp_subflow_remove(wanted->ms_token, wanted));
}

static int
mptcp_do_subflow_priority(void *unused __unused, void *client __unused, void *argument)
{
	const struct mptcp_ioc_subflow *wanted = argument;

	return (mptcp_subflow_priority(wanted->ms_token, wanted));
}

static int
mptcp_do_announce(void *unused __unused, void *client __unused, void *argument)
{
	struct mptcp_ioc_announce *wanted = argument;

	if (wanted->ma_id > UINT8_MAX || wanted->ma_zero != 0 || !mptcp_check_address(&wanted->ma_addr, true))
		return (EINVAL);
	return (mptcp_conn_announce(wanted->ma_token, wanted));
}

static int
mptcp_do_withdraw(void *unused __unused, void *client __unused, void *argument)
{
	const struct mptcp_ioc_announce *wanted = argument;

	if (wanted->ma_id == 0 || wanted->ma_id > UINT8_MAX || wanted->ma_zero != 0 ||
	    !modctl_zeroed(&wanted->ma_addr, sizeof(wanted->ma_addr)))
		return (EINVAL);
	return (mptcp_conn_withdraw(wanted->ma_token, wanted->ma_id));
}

static const struct modctl_command mptcp_commands[] = {
	MODCTL_COMMAND(MPTCPIOC_STATE, mptcp_ioc_state, mptcp_do_state, 0),
	MODCTL_COMMAND(MPTCPIOC_INFO, mptcp_info, mptcp_do_info, 0),
	MODCTL_COMMAND(MPTCPIOC_LIST, mptcp_ioc_list, mptcp_do_list, 0),
	MODCTL_COMMAND(MPTCPIOC_SUBFLOW_ADD, mptcp_ioc_subflow, mptcp_do_subflow_add, MODCTL_WRITE),
	MODCTL_COMMAND(MPTCPIOC_SUBFLOW_REMOVE, mptcp_ioc_subflow, mptcp_do_subflow_remove, MODCTL_WRITE),
	MODCTL_COMMAND(MPTCPIOC_SUBFLOW_PRIORITY, mptcp_ioc_subflow, mptcp_do_subflow_priority, MODCTL_WRITE),
	MODCTL_COMMAND(MPTCPIOC_ANNOUNCE, mptcp_ioc_announce, mptcp_do_announce, MODCTL_WRITE),
	MODCTL_COMMAND(MPTCPIOC_WITHDRAW, mptcp_ioc_announce, mptcp_do_withdraw, MODCTL_WRITE),
};

/* ---------------------------------------------------------------- events */

bool
mptcp_event_wanted(void)
{
	/* A look without the lock: who begins to listen hears what happens from then on. */
	return (atomic_load_int(&mptcp_listeners) != 0);
}

void
mptcp_event(struct mptcp_event *event)
{
	struct modctl_client *control;
	struct mptcp_client *client;

	if (!mptcp_event_wanted())
		return;
	event->ev_version = MPTCP_ABI_VERSION;
	event->ev_uptime_ms = modctl_now_ms();
	mtx_lock(&mptcp_event_mtx);
	LIST_FOREACH(control, &mptcp_device.md_clients, mc_next) {
		client = (struct mptcp_client *)control;
		if (control->mc_vnet != curvnet || !client->c_listening)
			continue;
		if (client->c_count == MPTCP_EVENT_QUEUE) {
			client->c_lost++;
			MPTCPSTAT_INC(event_lost);
			continue;
		}
		event->ev_lost = client->c_lost;
		client->c_lost = 0;
		client->c_queue[(client->c_head + client->c_count) % MPTCP_EVENT_QUEUE] = *event;
		client->c_count++;
		modctl_wake(control);
	}
	mtx_unlock(&mptcp_event_mtx);
}

/* ---------------------------------------------------------------- the device */

/* Connections of a network stack are one matter; a jail within it that has none of its own must not see or touch them. */
static int
mptcp_open(struct modctl_client *client __unused)
{
	return (jailed_without_vnet(curthread->td_ucred) ? EPERM : 0);
}

/* From the first time somebody asks for events, they are kept for it. */
static int
mptcp_listen_events(struct modctl_client *control)
{
	struct mptcp_client *client = (struct mptcp_client *)control;
	struct mptcp_event *queue;
	bool listening;

	mtx_lock(&mptcp_event_mtx);
	listening = client->c_listening;
	mtx_unlock(&mptcp_event_mtx);
	if (listening)
		return (0);
	queue = mallocarray(MPTCP_EVENT_QUEUE, sizeof(*queue), M_MPTCP, M_WAITOK | M_ZERO);
	mtx_lock(&mptcp_event_mtx);
	if (!client->c_listening) {
		client->c_queue = queue;
		client->c_listening = true;
		atomic_store_int(&mptcp_listeners, mptcp_listeners + 1);
		queue = NULL;
	}
	mtx_unlock(&mptcp_event_mtx);
	free(queue, M_MPTCP);
	return (0);
}

static u_int
mptcp_waiting(struct modctl_client *control)
{
	return (((struct mptcp_client *)control)->c_count);
}

static void
mptcp_take(struct modctl_client *control, void *event)
{
	struct mptcp_client *client = (struct mptcp_client *)control;

	memcpy(event, &client->c_queue[client->c_head], sizeof(*client->c_queue));
	client->c_head = (client->c_head + 1) % MPTCP_EVENT_QUEUE;
	client->c_count--;
}

static void
mptcp_close(struct modctl_client *control)
{
	struct mptcp_client *client = (struct mptcp_client *)control;
	struct mptcp_event *queue;

	mtx_lock(&mptcp_event_mtx);
	queue = client->c_queue;
	if (client->c_listening)
		atomic_store_int(&mptcp_listeners, mptcp_listeners - 1);
	client->c_queue = NULL;
	client->c_listening = false;
	client->c_count = 0;
	mtx_unlock(&mptcp_event_mtx);
	free(queue, M_MPTCP);
}

static int
mptcp_enter(struct modctl_client *control __unused, const struct modctl_command *row __unused, void **state)
{
	*state = NULL;
	return (0);
}

static struct modctl_device mptcp_device = {
	.md_name = MPTCP_DEVICE,
	.md_version = MPTCP_ABI_VERSION,
	.md_privilege = PRIV_NET_ROUTE,
	.md_commands = mptcp_commands,
	.md_ncommands = nitems(mptcp_commands),
	.md_client_size = sizeof(struct mptcp_client),
	.md_event_size = sizeof(struct mptcp_event),
	.md_type = M_MPTCP,
	/* A connection's lock is held while memory is waited for; that is no reason to keep others' commands waiting. */
	.md_parallel = true,
	.md_sx = &mptcp_control_sx,
	.md_mtx = &mptcp_event_mtx,
	.md_open = mptcp_open,
	.md_close = mptcp_close,
	.md_enter = mptcp_enter,
	.md_listen = mptcp_listen_events,
	.md_waiting = mptcp_waiting,
	.md_take = mptcp_take,
};

int
mptcp_control_attach(void)
{
	return (modctl_attach(&mptcp_device));
}

void
mptcp_control_detach(void)
{
	modctl_detach(&mptcp_device);
}

bool
mptcp_control_busy(void)
{
	bool busy;

	mtx_lock(&mptcp_event_mtx);
	busy = !LIST_EMPTY(&mptcp_device.md_clients);
	mtx_unlock(&mptcp_event_mtx);
	return (busy);
}

/* The ABI, as every userland knows it. */
CTASSERT(sizeof(struct mptcp_subflow_info) == 96);
CTASSERT(sizeof(struct mptcp_info) == 104 + MPTCP_ABI_SUBFLOWS * 96);
CTASSERT(sizeof(struct mptcp_ioc_subflow) == 64);
CTASSERT(sizeof(struct mptcp_event) == 80);
CTASSERT(MPTCP_ABI_SUBFLOWS == MPTCP_LIA_PATHS);
