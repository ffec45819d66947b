/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * What is known of each path, a (local RLOC, remote RLOC) pair: up or down, MTU, counters. A path's number stays the same
 * as long as the table lives, so glue may keep per-path things of its own under that number.
 */
#ifndef LISP_PATHS_H
#define LISP_PATHS_H

#include "lisp_types.h"

#define	LISP_PATH_NONE	0xffffffffu

struct lisp_path_info {
	struct lisp_path	path;
	bool			up;
	uint16_t		mtu;		/* of the underlay, outer headers included; 0: not lowered */
	uint64_t		packets_sent;
	uint64_t		bytes_sent;	/* octets of inner packets */
	uint64_t		packets_received;
	uint64_t		bytes_received;
	uint64_t		last_received_ms;	/* 0: never */
};

struct lisp_paths;

struct lisp_paths *lisp_paths_new(uint32_t max_paths, uint32_t seed);
void	lisp_paths_free(struct lisp_paths *paths);
uint32_t lisp_paths_count(const struct lisp_paths *paths);
/* The number of a path, LISP_PATH_NONE when it is not known. */
uint32_t lisp_paths_find(const struct lisp_paths *paths, const struct lisp_path *path);
/* The same, and makes it known; LISP_PATH_NONE at the bound (the packet goes all the same, uncounted) or without memory. */
uint32_t lisp_paths_add(struct lisp_paths *paths, const struct lisp_path *path);
/* ENOENT beyond the last: walk with 0, 1, 2 ... */
int	lisp_paths_get(const struct lisp_paths *paths, uint32_t number, struct lisp_path_info *out);
/* A path that is down is not chosen by priority and weight; pins to it stay. 0, ENOSPC. */
int	lisp_paths_set_state(struct lisp_paths *paths, const struct lisp_path *path, bool up);
bool	lisp_paths_usable(const struct lisp_paths *paths, const struct lisp_path *path);
/*
 * The underlay said that packets above `mtu` octets (outer headers included) do not pass. True when that lowers what was
 * known. Values below the family's minimum count as the minimum (a forged ICMP must not stop a path, RFC 8201 section 4).
 * The value is forgotten `lifetime` after it was last lowered: lisp_paths_age().
 */
bool	lisp_paths_lower_mtu(struct lisp_paths *paths, const struct lisp_path *path, uint16_t mtu, uint64_t now_ms);
uint32_t lisp_paths_age(struct lisp_paths *paths, uint64_t now_ms, uint64_t lifetime_ms);
/* 0: not lowered. */
uint16_t lisp_paths_mtu(const struct lisp_paths *paths, uint32_t number);
/* Count; with the shared lock only. A number of LISP_PATH_NONE is ignored. */
void	lisp_paths_sent(const struct lisp_paths *paths, uint32_t number, uint32_t packets, uint64_t bytes);
void	lisp_paths_received(const struct lisp_paths *paths, uint32_t number, uint32_t packets, uint64_t bytes,
	    uint64_t now_ms);

#endif /* LISP_PATHS_H */
