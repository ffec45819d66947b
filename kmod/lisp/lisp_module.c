/* SPDX-License-Identifier: BSD-2-Clause */

/* Loading and unloading of lisp(4). */
#include "lisp_var.h"

#include <sys/kernel.h>
#include <sys/module.h>

MALLOC_DEFINE(M_LISP, "lisp", "LISP data plane");
struct sx lisp_config_sx;
SX_SYSINIT(lisp_config, &lisp_config_sx, "lisp configuration");
static bool lisp_loaded;

static int
lisp_load(void)
{
	int error;

	error = modctl_check_kernel("lisp");
	if (error != 0)
		return (error);
	error = lisp_sysctl_attach();
	if (error != 0)
		return (error);
	error = lisp_interface_attach();
	if (error != 0) {
		lisp_sysctl_detach();
		return (error);
	}
	error = lisp_device_attach();
	if (error != 0) {
		lisp_interface_detach();
		lisp_sysctl_detach();
	} else
		lisp_loaded = true;
	return (error);
}

/*
 * What userland can reach goes first. The interfaces go after this, in each network stack's own uninit (vnet_lisp_uninit),
 * which the linker runs next; packets may therefore still come and go here.
 */
static int
lisp_unload(void)
{
	/* The kernel calls this after a load that failed, too. */
	if (!lisp_loaded)
		return (0);
	lisp_loaded = false;
	lisp_device_detach();
	lisp_interface_detach();
	lisp_sysctl_detach();
	return (0);
}

static int
lisp_modevent(module_t module __unused, int what, void *unused __unused)
{
	switch (what) {
	case MOD_LOAD:
		return (lisp_load());
	case MOD_QUIESCE:
		/* Somebody controls it; kldunload -f does it all the same. */
		return (lisp_device_busy() ? EBUSY : 0);
	case MOD_UNLOAD:
		return (lisp_unload());
	case MOD_SHUTDOWN:
		return (0);
	default:
		return (EOPNOTSUPP);
	}
}

static moduledata_t lisp_moduledata = { "lisp", lisp_modevent, NULL };

DECLARE_MODULE(lisp, lisp_moduledata, SI_SUB_PSEUDO, SI_ORDER_FIRST);
MODULE_VERSION(lisp, 1);
