/* SPDX-License-Identifier: BSD-2-Clause */

/*
 * modctl: what every module of ours has besides its own work. Each is built with a copy of it.
 *
 *	open, ioctl, read, poll, kqueue on /dev/<name> -> checks -> the module's table of commands, its events
 *	sysctl -> a switch with bounds
 *	pfil -> a hook on packets in
 *
 * The control device. Arguments are checked in three steps: the size is part of the command and of its row, and the kernel
 * copies that much; the version and the privilege are checked here for all commands; the values by the command's own
 * function before anything changes. A descriptor belongs to the network stack (vnet) and jail it was opened in and serves no
 * other; opening for writing needs the module's privilege.
 */
#ifndef MODCTL_H
#define	MODCTL_H

#include <sys/param.h>
#include <sys/systm.h>
#include <sys/conf.h>
#include <sys/counter.h>
#include <sys/lock.h>
#include <sys/malloc.h>
#include <sys/mutex.h>
#include <sys/queue.h>
#include <sys/selinfo.h>
#include <sys/socket.h>
#include <sys/sx.h>
#include <sys/sysctl.h>
#include <sys/time.h>

#include <net/if.h>
#include <net/pfil.h>
#include <net/vnet.h>

struct modctl_device;

/* One open descriptor; the first member of the module's own structure for it. */
struct modctl_client {
	LIST_ENTRY(modctl_client) mc_next;
	struct modctl_device	*mc_device;
	struct vnet		*mc_vnet;
	int			mc_prison;	/* the opener's, so that a vnet's address used again is not mistaken */
	bool			mc_writable;
	struct selinfo		mc_selinfo;
};
LIST_HEAD(modctl_clients, modctl_client);

/* `state` is what md_enter made of it, `client` the module's own structure, `argument` of the row's size. */
typedef int modctl_run_t(void *state, void *client, void *argument);

struct modctl_command {
	u_long		cmd_number;
	size_t		cmd_size;
	modctl_run_t	*cmd_run;
	int		cmd_flags;
};
#define	MODCTL_WRITE	0x01		/* needs a descriptor opened for writing, which needs the privilege */
#define	MODCTL_OWN	0x100		/* the first of the module's own flags */
#define	MODCTL_COMMAND(number, argument, run, flags)	{ number, sizeof(struct argument), run, flags }

#define	MODCTL_EVENT_MAX	256	/* octets of an event */

/*
 * Locks: md_sx (sleepable) is held while a command runs, unless commands have locks of their own, and while descriptors come and go;
 * md_mtx covers events. The list of clients changes under both, so either is enough to walk it.
 */
struct modctl_device {
	const char	*md_name;		/* under /dev */
	uint32_t	md_version;		/* of the ABI: the first four octets of every argument */
	int		md_privilege;		/* to open for writing */
	const struct modctl_command *md_commands;
	u_int		md_ncommands;
	size_t		md_client_size;
	size_t		md_event_size;
	struct malloc_type *md_type;
	bool		md_parallel;		/* commands run without md_sx */
	struct sx	*md_sx;
	struct mtx	*md_mtx;

	/* Under md_sx, in the client's network stack. Those of open and close may be NULL. */
	int	(*md_open)(struct modctl_client *);
	void	(*md_close)(struct modctl_client *);
	int	(*md_enter)(struct modctl_client *, const struct modctl_command *, void **state);
	/* Somebody asks for events; without a lock. */
	int	(*md_listen)(struct modctl_client *);
	/* Under md_mtx: events there are, and the first of them. */
	u_int	(*md_waiting)(struct modctl_client *);
	void	(*md_take)(struct modctl_client *, void *event);

	/* modctl's own. */
	struct cdevsw	md_switch;
	struct cdev	*md_cdev;
	struct modctl_clients md_clients;
	bool		md_leaving;		/* under md_mtx */
};

int	modctl_attach(struct modctl_device *);
/* Takes every descriptor from its holder; those who wait in read(2) get ENXIO. */
void	modctl_detach(struct modctl_device *);
/* Events came for the client. Under md_mtx. */
void	modctl_wake(struct modctl_client *);

/*
 * Structures of the network stack change between major releases, and a module knows those it was built with. The linker
 * refuses kernels older than that; this refuses another major release whatever the linker thinks.
 */
int	modctl_check_kernel(const char *module);

/* Under `parent` a switch of each network stack: <prefix><name>, an int. arg2 holds the bounds, the least in its low half. */
#define	MODCTL_BOUNDS(least, most)	((intmax_t)(((uint64_t)(most) << 32) | (uint32_t)(least)))
#define	MODCTL_SWITCH(parent, prefix, name, least, most, handler, text)					\
	SYSCTL_PROC(parent, OID_AUTO, name, CTLTYPE_INT | CTLFLAG_RW | CTLFLAG_VNET | CTLFLAG_MPSAFE,	\
	    &VNET_NAME(prefix##name), MODCTL_BOUNDS(least, most), handler, "I", text)
int	modctl_switch(SYSCTL_HANDLER_ARGS);
/* One of each network stack's counters: of the array of counter_u64_t, the one of this index. */
#define	MODCTL_COUNTER(parent, array, index, name, text)						\
	SYSCTL_PROC(parent, OID_AUTO, name, CTLTYPE_U64 | CTLFLAG_RD | CTLFLAG_VNET | CTLFLAG_MPSAFE,	\
	    &VNET_NAME(array), index, modctl_counter, "QU", text)
int	modctl_counter(SYSCTL_HANDLER_ARGS);

/* A hook on packets in: before those that are there, or behind them. NULL where there is no memory. */
pfil_hook_t modctl_hook(const char *module, const char *name, pfil_head_t head, enum pfil_types type, pfil_mbuf_chk_t check,
	    void *context, bool last);

static inline uint64_t
modctl_now_ms(void)
{
	return ((uint64_t)(getsbinuptime() / SBT_1MS));
}

/* Padding of the ABI. */
static inline bool
modctl_zeroed(const void *octets, size_t length)
{
	const uint8_t *p = octets;
	uint8_t any = 0;

	for (size_t i = 0; i < length; i++)
		any |= p[i];
	return (any == 0);
}

#endif
