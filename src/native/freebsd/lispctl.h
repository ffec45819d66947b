/* SPDX-License-Identifier: BSD-2-Clause */

/*
 * lispctl: lisp(4)'s ioctls and sysctls as functions. Plain C, usable without Node; every function that can fail
 * returns 0 or an errno value and touches nothing but its arguments and the handle's descriptor.
 */
#ifndef LISPCTL_H
#define	LISPCTL_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "lisp_ioctl.h"

#ifdef __cplusplus
extern "C" {
#endif

struct lispctl {
	int	fd;
};

/* Opens the device, for changes too if `writable`, and checks that the module speaks this ABI (EPROTONOSUPPORT). */
int	lispctl_open(struct lispctl *, bool writable);
/* As above with a descriptor somebody else opened; the handle owns it from then on. */
int	lispctl_adopt(struct lispctl *, int fd);
void	lispctl_close(struct lispctl *);

int	lispctl_info(const struct lispctl *, struct lisp_ioc_info *);
int	lispctl_set_iid(const struct lispctl *, uint32_t iid);

/* These fill in the version themselves. */
int	lispctl_mapping_set(const struct lispctl *, struct lisp_ioc_mapping *);
int	lispctl_mapping_delete(const struct lispctl *, uint32_t iid, const struct lisp_ioc_addr *eid);
/* On return `mapping` is the one whose prefix is the longest that holds `eid`; ENOENT without one. */
int	lispctl_mapping_lookup(const struct lispctl *, uint32_t iid, const struct lisp_ioc_addr *eid,
	    struct lisp_ioc_mapping *mapping);
int	lispctl_mapping_flush(const struct lispctl *, uint32_t iid);
int	lispctl_pin_set(const struct lispctl *, struct lisp_ioc_pin *);
int	lispctl_pin_delete(const struct lispctl *, struct lisp_ioc_pin *);
int	lispctl_pin_flush(const struct lispctl *, uint32_t iid);
/* `fibs` may be NULL: all leave by the interface's FIB. */
int	lispctl_rlocs_set(const struct lispctl *, const struct lisp_ioc_addr *rlocs, const uint16_t *fibs, size_t count);
int	lispctl_rlocs_get(const struct lispctl *, struct lisp_ioc_rlocs *);
int	lispctl_eids_set(const struct lispctl *, uint32_t iid, const struct lisp_ioc_addr *eids, size_t count);
int	lispctl_eids_get(const struct lispctl *, uint32_t iid, struct lisp_ioc_eids *);
int	lispctl_path_state(const struct lispctl *, const struct lisp_ioc_path *path, bool up, uint32_t mtu);

/* Whole lists, allocated; free(3) them. */
int	lispctl_mappings(const struct lispctl *, struct lisp_ioc_mapping **list, size_t *count);
int	lispctl_pins(const struct lispctl *, struct lisp_ioc_pin **list, size_t *count);
int	lispctl_paths(const struct lispctl *, struct lisp_ioc_path_info **list, size_t *count);

/*
 * Events: 0 with `*count` of them (none when nothing waits and the descriptor is non-blocking).
 */
int	lispctl_events(const struct lispctl *, struct lisp_event *events, size_t room, size_t *count);

/* Counters and switches: net.inet.lisp.<name>. */
int	lispctl_stat(const char *name, uint64_t *value);
int	lispctl_switch(const char *name, int value);
/* Calls back once for each counter under net.inet.lisp.<node>, with its name relative to it. */
int	lispctl_stats(const char *node, void (*each)(const char *name, uint64_t value, void *context), void *context);

/* Text to address ("192.0.2.1", length 0) or prefix ("192.0.2.0/24"), and back. */
int	lispctl_parse(const char *text, struct lisp_ioc_addr *);
/* `room` of 64 octets is enough. The length is written when `prefix`. */
const char *lispctl_format(const struct lisp_ioc_addr *, bool prefix, char *text, size_t room);

#ifdef __cplusplus
}
#endif

#endif
