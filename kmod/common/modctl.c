/* SPDX-License-Identifier: BSD-2-Clause */

#include "modctl.h"

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

/* ---------------------------------------------------------------- descriptors */

static void
modctl_free(struct modctl_client *client)
{
	knlist_clear(&client->mc_selinfo.si_note, 0);
	seldrain(&client->mc_selinfo);
	knlist_destroy(&client->mc_selinfo.si_note);
	free(client, client->mc_device->md_type);
}

static void
modctl_close(void *argument)
{
	struct modctl_client *client = argument;
	struct modctl_device *device = client->mc_device;

	sx_xlock(device->md_sx);
	mtx_lock(device->md_mtx);
	LIST_REMOVE(client, mc_next);
	mtx_unlock(device->md_mtx);
	if (device->md_close != NULL)
		device->md_close(client);
	sx_xunlock(device->md_sx);
	modctl_free(client);
}

static int
modctl_open(struct cdev *dev, int oflags, int devtype __unused, struct thread *td)
{
	struct modctl_device *device = dev->si_drv1;
	struct modctl_client *client;
	int error = 0;

	if ((oflags & FWRITE) != 0) {
		error = priv_check(td, device->md_privilege);
		if (error != 0)
			return (error);
	}
	client = malloc(device->md_client_size, device->md_type, M_WAITOK | M_ZERO);
	client->mc_device = device;
	client->mc_vnet = TD_TO_VNET(td);
	client->mc_prison = td->td_ucred->cr_prison->pr_id;
	client->mc_writable = (oflags & FWRITE) != 0;
	knlist_init_mtx(&client->mc_selinfo.si_note, device->md_mtx);
	sx_xlock(device->md_sx);
	if (device->md_open != NULL) {
		CURVNET_SET(client->mc_vnet);
		error = device->md_open(client);
		CURVNET_RESTORE();
	}
	if (error == 0) {
		mtx_lock(device->md_mtx);
		LIST_INSERT_HEAD(&device->md_clients, client, mc_next);
		mtx_unlock(device->md_mtx);
	}
	sx_xunlock(device->md_sx);
	if (error != 0) {
		modctl_free(client);
		return (error);
	}
	error = devfs_set_cdevpriv(client, modctl_close);
	if (error != 0)
		modctl_close(client);
	return (error);
}

/* The descriptor's client, if the caller lives in the network stack it was opened in. */
static int
modctl_client(struct thread *td, struct modctl_client **client)
{
	int error = devfs_get_cdevpriv((void **)client);

	if (error == 0 &&
	    ((*client)->mc_vnet != TD_TO_VNET(td) || (*client)->mc_prison != td->td_ucred->cr_prison->pr_id))
		error = EXDEV;
	return (error);
}

/* ---------------------------------------------------------------- commands */

static int
modctl_ioctl(struct cdev *dev, u_long number, caddr_t data, int fflag __unused, struct thread *td)
{
	struct modctl_device *device = dev->si_drv1;
	const struct modctl_command *row = NULL;
	struct modctl_client *client;
	uint32_t version;
	void *state = NULL;
	int error;

	switch (number) {
	case FIONBIO:
	case FIOASYNC:
		return (0);
	}
	error = modctl_client(td, &client);
	if (error != 0)
		return (error);
	for (u_int i = 0; i < device->md_ncommands && row == NULL; i++)
		if (device->md_commands[i].cmd_number == number && device->md_commands[i].cmd_size == IOCPARM_LEN(number))
			row = &device->md_commands[i];
	if (row == NULL)
		return (ENOTTY);
	if ((row->cmd_flags & MODCTL_WRITE) != 0 && !client->mc_writable)
		return (EPERM);
	memcpy(&version, data, sizeof(version));
	if (version != device->md_version)
		return (EPROTONOSUPPORT);
	CURVNET_SET(client->mc_vnet);
	if (!device->md_parallel)
		sx_xlock(device->md_sx);
	error = device->md_enter(client, row, &state);
	if (error == 0)
		error = row->cmd_run(state, client, data);
	if (!device->md_parallel)
		sx_xunlock(device->md_sx);
	CURVNET_RESTORE();
	return (error);
}

/* ---------------------------------------------------------------- events */

void
modctl_wake(struct modctl_client *client)
{
	mtx_assert(client->mc_device->md_mtx, MA_OWNED);
	KNOTE_LOCKED(&client->mc_selinfo.si_note, 0);
	selwakeup(&client->mc_selinfo);
	wakeup(client);
}

static int
modctl_read(struct cdev *dev, struct uio *uio, int ioflag)
{
	struct modctl_device *device = dev->si_drv1;
	struct modctl_client *client;
	uint8_t event[MODCTL_EVENT_MAX] __aligned(8);
	int error;
	bool any = false;

	error = modctl_client(curthread, &client);
	if (error == 0)
		error = device->md_listen(client);
	if (error != 0)
		return (error);
	if (uio->uio_resid < (ssize_t)device->md_event_size)
		return (EINVAL);
	mtx_lock(device->md_mtx);
	for (;;) {
		while (device->md_waiting(client) == 0 && error == 0 && !any) {
			if (device->md_leaving)
				error = ENXIO;
			else if ((ioflag & O_NONBLOCK) != 0)
				error = EAGAIN;
			else
				error = mtx_sleep(client, device->md_mtx, PCATCH, device->md_name, 0);
		}
		if (error != 0 || device->md_waiting(client) == 0 || uio->uio_resid < (ssize_t)device->md_event_size)
			break;
		device->md_take(client, event);
		mtx_unlock(device->md_mtx);
		error = uiomove(event, (int)device->md_event_size, uio);
		any = true;
		mtx_lock(device->md_mtx);
		if (error != 0)
			break;
	}
	mtx_unlock(device->md_mtx);
	return (error);
}

static int
modctl_poll(struct cdev *dev, int events, struct thread *td)
{
	struct modctl_device *device = dev->si_drv1;
	struct modctl_client *client;
	int ready = 0;

	if (modctl_client(td, &client) != 0)
		return (POLLNVAL);
	if ((events & (POLLIN | POLLRDNORM)) == 0)
		return (0);
	if (device->md_listen(client) != 0)
		return (POLLNVAL);
	mtx_lock(device->md_mtx);
	if (device->md_waiting(client) > 0)
		ready = events & (POLLIN | POLLRDNORM);
	else
		selrecord(td, &client->mc_selinfo);
	mtx_unlock(device->md_mtx);
	return (ready);
}

static void
modctl_filter_detach(struct knote *kn)
{
	struct modctl_client *client = kn->kn_hook;

	knlist_remove(&client->mc_selinfo.si_note, kn, 0);
}

static int
modctl_filter_event(struct knote *kn, long hint __unused)
{
	struct modctl_client *client = kn->kn_hook;
	struct modctl_device *device = client->mc_device;
	u_int waiting;

	mtx_assert(device->md_mtx, MA_OWNED);
	waiting = device->md_waiting(client);
	kn->kn_data = (int64_t)waiting * (int64_t)device->md_event_size;
	return (waiting > 0);
}

static struct filterops modctl_filterops = {
	.f_isfd = 1,
	.f_detach = modctl_filter_detach,
	.f_event = modctl_filter_event,
};

static int
modctl_kqfilter(struct cdev *dev, struct knote *kn)
{
	struct modctl_device *device = dev->si_drv1;
	struct modctl_client *client;
	int error;

	error = modctl_client(curthread, &client);
	if (error != 0)
		return (error);
	if (kn->kn_filter != EVFILT_READ)
		return (EINVAL);
	error = device->md_listen(client);
	if (error != 0)
		return (error);
	kn->kn_fop = &modctl_filterops;
	kn->kn_hook = client;
	knlist_add(&client->mc_selinfo.si_note, kn, 0);
	return (0);
}

/* ---------------------------------------------------------------- the device's life */

int
modctl_attach(struct modctl_device *device)
{
	struct make_dev_args args;

	KASSERT(device->md_event_size <= MODCTL_EVENT_MAX, ("%s: events too large", device->md_name));
	LIST_INIT(&device->md_clients);
	device->md_leaving = false;
	device->md_switch = (struct cdevsw){
		.d_version = D_VERSION,
		.d_name = device->md_name,
		.d_open = modctl_open,
		.d_ioctl = modctl_ioctl,
		.d_read = modctl_read,
		.d_poll = modctl_poll,
		.d_kqfilter = modctl_kqfilter,
	};
	make_dev_args_init(&args);
	args.mda_flags = MAKEDEV_CHECKNAME | MAKEDEV_WAITOK;
	args.mda_devsw = &device->md_switch;
	args.mda_uid = UID_ROOT;
	args.mda_gid = GID_WHEEL;
	args.mda_mode = 0640;
	args.mda_si_drv1 = device;
	return (make_dev_s(&args, &device->md_cdev, "%s", device->md_name));
}

void
modctl_detach(struct modctl_device *device)
{
	struct modctl_client *client;

	/* Destroying the device waits for those who wait in read(2). */
	mtx_lock(device->md_mtx);
	device->md_leaving = true;
	LIST_FOREACH(client, &device->md_clients, mc_next)
		wakeup(client);
	mtx_unlock(device->md_mtx);
	if (device->md_cdev != NULL)
		destroy_dev(device->md_cdev);
	device->md_cdev = NULL;
}

/* ---------------------------------------------------------------- the kernel, sysctl, packets */

int
modctl_check_kernel(const char *module)
{
	if (osreldate / 100000 == __FreeBSD_version / 100000)
		return (0);
	printf("%s: built for FreeBSD %d, this kernel is %d\n", module, __FreeBSD_version, osreldate);
	return (ENOEXEC);
}

int
modctl_switch(SYSCTL_HANDLER_ARGS)
{
	int least = (int)(uint32_t)arg2, most = (int)((uint64_t)arg2 >> 32);
	int value = *(int *)arg1;
	int error;

	error = sysctl_handle_int(oidp, &value, 0, req);
	if (error != 0 || req->newptr == NULL)
		return (error);
	if (value < least || value > most)
		return (EINVAL);
	*(int *)arg1 = value;
	return (0);
}

int
modctl_counter(SYSCTL_HANDLER_ARGS)
{
	counter_u64_t *counters = arg1;
	uint64_t value = counter_u64_fetch(counters[arg2]);

	return (sysctl_handle_64(oidp, &value, 0, req));
}

pfil_hook_t
modctl_hook(const char *module, const char *name, pfil_head_t head, enum pfil_types type, pfil_mbuf_chk_t check,
    void *context, bool last)
{
	struct pfil_hook_args hook = {
		.pa_version = PFIL_VERSION,
		.pa_flags = PFIL_IN,
		.pa_type = type,
		.pa_mbuf_chk = check,
		.pa_ruleset = context,
		.pa_modname = module,
		.pa_rulname = name,
	};
	struct pfil_link_args link = {
		.pa_version = PFIL_VERSION,
		.pa_flags = PFIL_IN | PFIL_HEADPTR | PFIL_HOOKPTR | (last ? PFIL_APPEND : 0),
		.pa_head = head,
	};

	link.pa_hook = pfil_add_hook(&hook);
	if (pfil_link(&link) != 0) {
		pfil_remove_hook(link.pa_hook);
		return (NULL);
	}
	return (link.pa_hook);
}
