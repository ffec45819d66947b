/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * What the eBPF programs and the process that loads them agree on: the maps and their layouts. Every structure has a fixed
 * layout without hidden padding; addresses are 16 octets in network order, IPv4 ones fill the first four, the rest is zero.
 * kernel-maps.ts writes the same layouts: test/unit/platform/linux/kernel-maps.test.ts holds it to the sizes given here.
 */
#ifndef LISP_BPF_H
#define LISP_BPF_H

#include <linux/types.h>

#define	LISP_BPF_MAX_PATHS	8192
#define	LISP_BPF_MAX_MAPPINGS	(1 << 20)
#define	LISP_BPF_MAX_EIDS	4096
#define	LISP_BPF_MAX_PINS	(1 << 18)
#define	LISP_BPF_MAX_GLEANED	(1 << 16)
#define	LISP_BPF_LOCATORS	16
#define	LISP_BPF_EVENTS		(1 << 18)	/* octets of the ring */

/* Marks "no such path": a slot that is empty, a locator no local RLOC reaches. */
#define	LISP_BPF_NONE		0xffffffffU

struct lisp_bpf_config {
	__u32	device;			/* index of lisp0; 0: not running, everything passes by */
	__u32	iid;			/* instance-id of what lisp0 sends */
	__u32	seed;			/* of flow hashes */
	__u8	source_check;
	__u8	glean;
	__u8	zero[2];
};

/* Key of both prefix tables. Bits count from `iid` on: 24 of instance-id, 8 of family, then those of the prefix. */
struct lisp_bpf_prefix {
	__u32	bits;
	__u8	iid[3];
	__u8	family;			/* 4 or 6 */
	__u8	address[16];
};
#define	LISP_BPF_PREFIX_BASE	32

/* A share of the flows that go by priority and weight; shares end at `end`, ascending, the last one at `total`. */
struct lisp_bpf_share {
	__u32	path;
	__u32	end;
};

struct lisp_bpf_mapping {
	__u32	total;			/* 0: no path is usable, or the mapping is negative: user space knows what to do */
	__u32	usable;			/* bit i: remotes[i] may be sent to (its priority is not 255 and it is up) */
	struct lisp_bpf_share shares[LISP_BPF_LOCATORS];
	__u32	remotes[LISP_BPF_LOCATORS];	/* numbers of all its locators' RLOCs: the source check knows no priority */
};

struct lisp_bpf_path {
	__u8	local[16];
	__u8	remote[16];
	__u32	remote_number;
	__u32	device;			/* index of the device towards `remote`; 0: user space sends */
	__u32	overhead;		/* octets of the outer headers */
	__u32	mtu;			/* largest inner packet */
	__u8	family;
	__u8	up;
	__u8	valid;
	__u8	zero[5];
};

struct lisp_bpf_path_key {
	__u8	local[16];
	__u8	remote[16];
	__u32	family;
};

/* One for each processor. */
struct lisp_bpf_path_counters {
	__u64	packets_sent;
	__u64	bytes_sent;		/* of inner packets */
	__u64	packets_received;
	__u64	bytes_received;
	__u64	last_received_ns;	/* CLOCK_MONOTONIC */
};

/* An inner flow in the direction lisp0 sends it. Ports in network order. */
struct lisp_bpf_flow {
	__u8	source[16];
	__u8	destination[16];
	__u16	source_port;
	__u16	destination_port;
	__u8	protocol;
	__u8	family;
	__u8	zero[2];
	__u32	iid;
};

struct lisp_bpf_gleaned {
	__u32	path;
	__u32	zero;
	__u64	used_ns;
};

/*
 * Ways of a packet, one for each processor and way. What is not forwarded here goes to the user-space plane behind this
 * one, which counts its drops by cause; these tell why it had to.
 */
#define	LISP_BPF_COUNTERS(X)				\
	X(ENCAPSULATED, "encapsulated")			\
	X(DECAPSULATED, "decapsulated")			\
	X(GLEANED, "gleaned")				\
	X(EVENTS_LOST, "events-lost")			\
	X(UP_PACKET, "encapsulate-unusual-packet")	\
	X(UP_MAPPING, "encapsulate-no-mapping")		\
	X(UP_LOCATOR, "encapsulate-no-locator")		\
	X(UP_SIZE, "encapsulate-size")			\
	X(UP_PATH, "encapsulate-path-not-resolved")	\
	X(DOWN_OUTER, "decapsulate-unusual-outer")	\
	X(DOWN_PATH, "decapsulate-unknown-path")	\
	X(DOWN_HEADER, "decapsulate-lisp-header")	\
	X(DOWN_INNER, "decapsulate-unusual-inner")	\
	X(DOWN_EID, "decapsulate-not-local")		\
	X(DOWN_SOURCE, "decapsulate-source")		\
	X(DROP_NO_MEMORY, "no-memory")

enum lisp_bpf_counter {
#define	LISP_BPF_ENUM(symbol, name)	LISP_BPF_##symbol,
	LISP_BPF_COUNTERS(LISP_BPF_ENUM)
#undef LISP_BPF_ENUM
	LISP_BPF_COUNTER_COUNT
};

enum lisp_bpf_event_type {
	LISP_BPF_EVENT_MTU = 1,
};

struct lisp_bpf_event {
	__u32	type;
	__u32	path;
	__u32	mtu;	/* of the underlay, as a router said */
	__u32	zero;
};

/* How a map is described in the object file, section "maps": read by bpf_object.c. */
struct lisp_bpf_map {
	__u32	type;
	__u32	key_size;
	__u32	value_size;
	__u32	max_entries;
	__u32	flags;
};

#endif
