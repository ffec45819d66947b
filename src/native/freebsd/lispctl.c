/* SPDX-License-Identifier: BSD-2-Clause */

#include <sys/param.h>
#include <sys/sysctl.h>

#include <netinet/in.h>

#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "control.h"
#include "lispctl.h"

#define	ROOT	"net.inet.lisp"

static int
command(const struct lispctl *ctl, unsigned long request, void *argument)
{
	return (control_command(ctl->fd, request, argument));
}

int
lispctl_adopt(struct lispctl *ctl, int fd)
{
	struct lisp_ioc_info info;
	int error;

	ctl->fd = fd;
	error = lispctl_info(ctl, &info);
	if (error != 0)
		ctl->fd = -1;
	return (error);
}

int
lispctl_open(struct lispctl *ctl, bool writable)
{
	int error, fd;

	ctl->fd = -1;
	error = control_open(LISP_DEVICE, writable, &fd);
	if (error == 0)
		error = lispctl_adopt(ctl, fd);
	if (error != 0)
		control_close(&fd);
	return (error);
}

void
lispctl_close(struct lispctl *ctl)
{
	control_close(&ctl->fd);
}

int
lispctl_info(const struct lispctl *ctl, struct lisp_ioc_info *info)
{
	memset(info, 0, sizeof(*info));
	info->in_version = LISP_ABI_VERSION;
	return (command(ctl, LISPIOC_INFO, info));
}

static int
with_iid(const struct lispctl *ctl, unsigned long request, uint32_t iid)
{
	struct lisp_ioc_iid ii = { .ii_version = LISP_ABI_VERSION, .ii_iid = iid };

	return (command(ctl, request, &ii));
}

int
lispctl_set_iid(const struct lispctl *ctl, uint32_t iid)
{
	return (with_iid(ctl, LISPIOC_IID, iid));
}

int
lispctl_mapping_set(const struct lispctl *ctl, struct lisp_ioc_mapping *mapping)
{
	mapping->lm_version = LISP_ABI_VERSION;
	return (command(ctl, LISPIOC_MAPPING_SET, mapping));
}

int
lispctl_mapping_delete(const struct lispctl *ctl, uint32_t iid, const struct lisp_ioc_addr *eid)
{
	struct lisp_ioc_mapping mapping = { .lm_version = LISP_ABI_VERSION, .lm_iid = iid, .lm_eid = *eid };

	return (command(ctl, LISPIOC_MAPPING_DELETE, &mapping));
}

int
lispctl_mapping_lookup(const struct lispctl *ctl, uint32_t iid, const struct lisp_ioc_addr *eid,
    struct lisp_ioc_mapping *mapping)
{
	memset(mapping, 0, sizeof(*mapping));
	mapping->lm_version = LISP_ABI_VERSION;
	mapping->lm_iid = iid;
	mapping->lm_eid = *eid;
	return (command(ctl, LISPIOC_MAPPING_LOOKUP, mapping));
}

int
lispctl_mapping_flush(const struct lispctl *ctl, uint32_t iid)
{
	return (with_iid(ctl, LISPIOC_MAPPING_FLUSH, iid));
}

int
lispctl_pin_set(const struct lispctl *ctl, struct lisp_ioc_pin *pin)
{
	pin->lp_version = LISP_ABI_VERSION;
	return (command(ctl, LISPIOC_PIN_SET, pin));
}

int
lispctl_pin_delete(const struct lispctl *ctl, struct lisp_ioc_pin *pin)
{
	pin->lp_version = LISP_ABI_VERSION;
	return (command(ctl, LISPIOC_PIN_DELETE, pin));
}

int
lispctl_pin_flush(const struct lispctl *ctl, uint32_t iid)
{
	return (with_iid(ctl, LISPIOC_PIN_FLUSH, iid));
}

int
lispctl_rlocs_set(const struct lispctl *ctl, const struct lisp_ioc_addr *rlocs, const uint16_t *fibs, size_t count)
{
	struct lisp_ioc_rlocs set = { .lr_version = LISP_ABI_VERSION };
	size_t i;

	if (count > LISP_ABI_LOCAL_RLOCS)
		return (E2BIG);
	set.lr_count = (uint32_t)count;
	if (count > 0)
		memcpy(set.lr_rlocs, rlocs, count * sizeof(*rlocs));
	for (i = 0; i < count; i++)
		set.lr_fibs[i] = fibs == NULL ? LISP_FIB_DEFAULT : fibs[i];
	return (command(ctl, LISPIOC_RLOCS_SET, &set));
}

int
lispctl_rlocs_get(const struct lispctl *ctl, struct lisp_ioc_rlocs *rlocs)
{
	memset(rlocs, 0, sizeof(*rlocs));
	rlocs->lr_version = LISP_ABI_VERSION;
	return (command(ctl, LISPIOC_RLOCS_GET, rlocs));
}

int
lispctl_eids_set(const struct lispctl *ctl, uint32_t iid, const struct lisp_ioc_addr *eids, size_t count)
{
	struct lisp_ioc_eids set = { .le_version = LISP_ABI_VERSION };

	if (count > LISP_ABI_LOCAL_EIDS)
		return (E2BIG);
	set.le_iid = iid;
	set.le_count = (uint32_t)count;
	if (count > 0)
		memcpy(set.le_eids, eids, count * sizeof(*eids));
	return (command(ctl, LISPIOC_EIDS_SET, &set));
}

int
lispctl_eids_get(const struct lispctl *ctl, uint32_t iid, struct lisp_ioc_eids *eids)
{
	memset(eids, 0, sizeof(*eids));
	eids->le_version = LISP_ABI_VERSION;
	eids->le_iid = iid;
	return (command(ctl, LISPIOC_EIDS_GET, eids));
}

int
lispctl_path_state(const struct lispctl *ctl, const struct lisp_ioc_path *path, bool up, uint32_t mtu)
{
	struct lisp_ioc_path_state state = { .ps_version = LISP_ABI_VERSION };

	state.ps_path = *path;
	state.ps_up = up;
	state.ps_mtu = mtu;
	return (command(ctl, LISPIOC_PATH_STATE, &state));
}

_Static_assert(sizeof(struct lisp_ioc_list) == sizeof(struct control_list), "lists have one layout");
_Static_assert(offsetof(struct lisp_ioc_list, ls_cursor) == offsetof(struct control_list, cursor), "lists have one layout");

static int
take_list(const struct lispctl *ctl, unsigned long request, size_t size, void **list, size_t *count)
{
	return (control_take_list(ctl->fd, request, LISP_ABI_VERSION, size, list, count));
}

int
lispctl_mappings(const struct lispctl *ctl, struct lisp_ioc_mapping **list, size_t *count)
{
	return (take_list(ctl, LISPIOC_MAPPING_LIST, sizeof(**list), (void **)list, count));
}

int
lispctl_pins(const struct lispctl *ctl, struct lisp_ioc_pin **list, size_t *count)
{
	return (take_list(ctl, LISPIOC_PIN_LIST, sizeof(**list), (void **)list, count));
}

int
lispctl_paths(const struct lispctl *ctl, struct lisp_ioc_path_info **list, size_t *count)
{
	return (take_list(ctl, LISPIOC_PATH_LIST, sizeof(**list), (void **)list, count));
}

int
lispctl_events(const struct lispctl *ctl, struct lisp_event *events, size_t room, size_t *count)
{
	return (control_events(ctl->fd, events, sizeof(*events), room, count));
}

int
lispctl_stat(const char *name, uint64_t *value)
{
	char full[128];
	size_t size = sizeof(*value);

	if (snprintf(full, sizeof(full), ROOT ".%s", name) >= (int)sizeof(full))
		return (ENAMETOOLONG);
	return (sysctlbyname(full, value, &size, NULL, 0) == -1 ? errno : 0);
}

int
lispctl_switch(const char *name, int value)
{
	char full[128];

	if (snprintf(full, sizeof(full), ROOT ".%s", name) >= (int)sizeof(full))
		return (ENAMETOOLONG);
	return (sysctlbyname(full, NULL, NULL, &value, sizeof(value)) == -1 ? errno : 0);
}

int
lispctl_stats(const char *node, void (*each)(const char *name, uint64_t value, void *context), void *context)
{
	int root[CTL_MAXNAME], next[CTL_MAXNAME], query[CTL_MAXNAME + 2];
	char name[256], full[128];
	size_t base, length, root_length, size;
	uint64_t value;

	if (snprintf(full, sizeof(full), ROOT ".%s", node) >= (int)sizeof(full))
		return (ENAMETOOLONG);
	base = strlen(full) + 1;
	root_length = CTL_MAXNAME;
	if (sysctlnametomib(full, root, &root_length) == -1)
		return (errno);
	memcpy(next, root, root_length * sizeof(*next));
	length = root_length;
	/* The kernel walks the tree: {CTL_SYSCTL, CTL_SYSCTL_NEXT, oid...} is the one after. */
	for (;;) {
		query[0] = CTL_SYSCTL;
		query[1] = CTL_SYSCTL_NEXT;
		memcpy(query + 2, next, length * sizeof(*next));
		size = sizeof(next);
		if (sysctl(query, (u_int)length + 2, next, &size, NULL, 0) == -1)
			return (errno == ENOENT ? 0 : errno);
		length = size / sizeof(*next);
		if (length < root_length || memcmp(next, root, root_length * sizeof(*next)) != 0)
			return (0);
		query[1] = CTL_SYSCTL_NAME;
		memcpy(query + 2, next, length * sizeof(*next));
		size = sizeof(name);
		if (sysctl(query, (u_int)length + 2, name, &size, NULL, 0) == -1)
			return (errno);
		size = sizeof(value);
		if (strlen(name) > base && sysctl(next, (u_int)length, &value, &size, NULL, 0) == 0 &&
		    size == sizeof(value))
			each(name + base, value, context);
	}
}

int
lispctl_parse(const char *text, struct lisp_ioc_addr *address)
{
	memset(address, 0, sizeof(*address));
	return (control_parse(text, &address->la_family, &address->la_plen, address->la_octets));
}

const char *
lispctl_format(const struct lisp_ioc_addr *address, bool prefix, char *text, size_t room)
{
	char plain[INET6_ADDRSTRLEN];

	control_format(address->la_family, address->la_octets, plain, sizeof(plain));
	if (prefix)
		snprintf(text, room, "%s/%u", plain, address->la_plen);
	else
		snprintf(text, room, "%s", plain);
	return (text);
}
