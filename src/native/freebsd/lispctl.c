/* SPDX-License-Identifier: BSD-2-Clause */

#include <sys/param.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <sys/sysctl.h>

#include <arpa/inet.h>
#include <netinet/in.h>

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "lispctl.h"

#define	ROOT	"net.inet.lisp"

static int
command(const struct lispctl *ctl, unsigned long request, void *argument)
{
	return (ioctl(ctl->fd, request, argument) == -1 ? errno : 0);
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
	fd = open("/dev/" LISP_DEVICE, (writable ? O_RDWR : O_RDONLY) | O_CLOEXEC);
	if (fd == -1)
		return (errno);
	error = lispctl_adopt(ctl, fd);
	if (error != 0)
		close(fd);
	return (error);
}

void
lispctl_close(struct lispctl *ctl)
{
	if (ctl->fd != -1)
		close(ctl->fd);
	ctl->fd = -1;
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

/*
 * Takes a list in pieces until the kernel says it is whole. A list that changes meanwhile is taken as it comes: the
 * callers show it, or compare and correct.
 */
static int
take_list(const struct lispctl *ctl, unsigned long request, size_t size, void **list, size_t *count)
{
	struct lisp_ioc_list request_list;
	const uint32_t piece = 256;
	uint64_t cursor = 0;
	size_t filled = 0, room = 0;
	char *array = NULL, *grown;
	int error;

	do {
		if (filled + piece > room) {
			room = room == 0 ? piece : room * 2;
			grown = realloc(array, room * size);
			if (grown == NULL) {
				free(array);
				return (ENOMEM);
			}
			array = grown;
		}
		memset(&request_list, 0, sizeof(request_list));
		request_list.ls_version = LISP_ABI_VERSION;
		request_list.ls_count = (uint32_t)(room - filled);
		request_list.ls_buffer = (uint64_t)(uintptr_t)(array + filled * size);
		request_list.ls_cursor = cursor;
		error = command(ctl, request, &request_list);
		if (error != 0) {
			free(array);
			return (error);
		}
		filled += request_list.ls_count;
		cursor = request_list.ls_cursor;
	} while (cursor != 0);
	*list = array;
	*count = filled;
	return (0);
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
	ssize_t octets;

	*count = 0;
	octets = read(ctl->fd, events, room * sizeof(*events));
	if (octets == -1)
		return (errno == EAGAIN ? 0 : errno);
	*count = (size_t)octets / sizeof(*events);
	return (0);
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
	char copy[64], *end, *slash;
	unsigned long length;
	int bits;

	if (strlcpy(copy, text, sizeof(copy)) >= sizeof(copy))
		return (EINVAL);
	memset(address, 0, sizeof(*address));
	slash = strchr(copy, '/');
	if (slash != NULL)
		*slash++ = '\0';
	if (inet_pton(AF_INET, copy, address->la_octets) == 1) {
		address->la_family = LISP_ABI_IPV4;
		bits = 32;
	} else if (inet_pton(AF_INET6, copy, address->la_octets) == 1) {
		address->la_family = LISP_ABI_IPV6;
		bits = 128;
	} else
		return (EINVAL);
	if (slash == NULL) {
		address->la_plen = 0;
		return (0);
	}
	errno = 0;
	length = strtoul(slash, &end, 10);
	if (errno != 0 || end == slash || *end != '\0' || length > (unsigned long)bits)
		return (EINVAL);
	address->la_plen = (uint8_t)length;
	return (0);
}

const char *
lispctl_format(const struct lisp_ioc_addr *address, bool prefix, char *text, size_t room)
{
	char plain[INET6_ADDRSTRLEN] = "-";

	if (address->la_family == LISP_ABI_IPV4)
		inet_ntop(AF_INET, address->la_octets, plain, sizeof(plain));
	else if (address->la_family == LISP_ABI_IPV6)
		inet_ntop(AF_INET6, address->la_octets, plain, sizeof(plain));
	if (prefix)
		snprintf(text, room, "%s/%u", plain, address->la_plen);
	else
		snprintf(text, room, "%s", plain);
	return (text);
}
