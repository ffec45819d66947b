/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Longest-prefix match per instance-id, for IPv4 and IPv6: a tree bitmap of stride 6 (Eatherton, Varghese, Dittia 2004).
 * A lookup costs at most one step per 6 bits of the matching prefix, whatever the number of prefixes.
 * Values are pointers that the table does not own. Used by the map-cache and for the site's own EIDs.
 */
#ifndef LISP_LPM_H
#define LISP_LPM_H

#include "lisp_types.h"

struct lisp_lpm;

struct lisp_lpm *lisp_lpm_new(void);
void	lisp_lpm_free(struct lisp_lpm *lpm);
/* Adds or replaces; the old value, if any, through `old`. 0, EINVAL, ENOMEM (then nothing has changed). */
int	lisp_lpm_set(struct lisp_lpm *lpm, uint32_t iid, const struct lisp_prefix *prefix, void *value, void **old);
/* The value that was there, or NULL. */
void	*lisp_lpm_remove(struct lisp_lpm *lpm, uint32_t iid, const struct lisp_prefix *prefix);
void	*lisp_lpm_exact(const struct lisp_lpm *lpm, uint32_t iid, const struct lisp_prefix *prefix);
void	*lisp_lpm_lookup(const struct lisp_lpm *lpm, uint32_t iid, const struct lisp_addr *addr);
bool	lisp_lpm_has_instance(const struct lisp_lpm *lpm, uint32_t iid);
/* Octets of memory held, for reports. */
size_t	lisp_lpm_memory(const struct lisp_lpm *lpm);

#endif /* LISP_LPM_H */
