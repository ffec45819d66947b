/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Between super-packets and packets: cutting what the TUN hands over (TSO, USO) into LISP payloads for UDP_SEGMENT, and joining
 * what UDP_GRO hands over into one TSO packet for the TUN. No system calls: bytes and iovecs, so that it can be tested alone.
 */
#ifndef AMPTCP_PLANE_SEGMENTS_H
#define AMPTCP_PLANE_SEGMENTS_H

#include <sys/uio.h>
#include "plane_core.h"

#define	AM_SEGMENTS_MAX	64	/* UDP_MAX_SEGMENTS of kernels up to 6.8 */
#define	AM_UDP_MAX	65507	/* largest UDP payload over IPv4 */

/* struct virtio_net_hdr of linux/virtio_net.h, in host order. */
struct am_vnet {
	uint8_t		flags;
	uint8_t		gso_type;
	uint16_t	hdr_len;
	uint16_t	gso_size;
	uint16_t	csum_start;
	uint16_t	csum_offset;
};

#define	AM_VNET_SIZE		10
#define	AM_VNET_NEEDS_CSUM	1
#define	AM_GSO_NONE		0
#define	AM_GSO_TCPV4		1
#define	AM_GSO_TCPV6		4
#define	AM_GSO_UDP_L4		5
#define	AM_GSO_ECN		0x80

/* ---- cutting */

/* A super-packet as it is cut: parse once, then take runs until none is left. */
struct am_cut {
	const uint8_t		*packet;
	const struct lisp_inner	*inner;
	unsigned		transport;	/* length of IP and TCP or UDP header together */
	unsigned		size;		/* payload octets of a segment */
	size_t			payload;	/* all */
	size_t			done;
	unsigned		index;		/* of the next segment */
	bool			tcp;
};

/* False when the virtio-net header and the packet do not fit together. A packet that is no super-packet is one segment. */
bool	am_cut_start(struct am_cut *cut, uint8_t *packet, const struct lisp_inner *inner, const struct am_vnet *vnet);
/* IP length of the largest segment, and how many there are. */
unsigned am_cut_wire_length(const struct am_cut *cut);
unsigned am_cut_count(const struct am_cut *cut);

/* One datagram's worth: iovecs of LISP header, inner headers and payload for each segment. */
struct am_run {
	unsigned	niov;
	struct iovec	iov[AM_SEGMENTS_MAX * 2];
	unsigned	segments;
	size_t		length;		/* octets in all */
	unsigned	segment;	/* octets of a segment, for UDP_SEGMENT; the last may be shorter */
	uint8_t		headers[AM_SEGMENTS_MAX][LISP_HEADER_SIZE + 140];
};

/*
 * Fills a run with what comes next, each segment headed by the LISP header; false when there is nothing left. A run that has
 * segments already goes on with these: it must take them (am_run_takes). Headers are copied, payload is referenced.
 */
bool	am_cut_next(struct am_cut *cut, const uint8_t lisp[LISP_HEADER_SIZE], struct am_run *run);
void	am_run_empty(struct am_run *run);
/* Whether it ends with a whole segment and has room for one more. */
bool	am_run_open(const struct am_run *run);
/* Whether the packet's segments can follow those of an open run. */
bool	am_run_takes(const struct am_run *run, const struct am_cut *cut);
/* Completes the transport checksum of a packet that is not cut (VIRTIO_NET_HDR_F_NEEDS_CSUM). False: nonsense. */
bool	am_finish_checksum(uint8_t *packet, size_t length, const struct am_vnet *vnet);

/* ---- joining */

struct am_join {
	uint8_t		header[AM_VNET_SIZE + 40 + 60];
	struct iovec	iov[1024];
	unsigned	niov;		/* 0: empty */
	unsigned	packets;
	unsigned	size;		/* payload of the first segment */
	unsigned	ip;		/* IP header length */
	unsigned	transport;	/* IP and TCP header */
	size_t		payload;
	uint32_t	next_seq;
	bool		closed;		/* nothing may follow: short segment, PSH, FIN */
	const uint8_t	*first;		/* the first packet, as it came */
	size_t		first_length;
	/*
	 * Its checksum is still to be made (0: it is not): a kernel on this machine encapsulated it and left that to a device
	 * it never met. `open_offset` is where it is, from `open_start` on.
	 */
	unsigned	open_start;
	unsigned	open_offset;
	unsigned	open_headers;	/* IP and TCP header of a TCP packet, for one that was not cut either */
};

/*
 * Appends a packet to what is being joined when it continues it, or starts anew when the join is empty. False: it does not fit, and
 * the join must be written first. Payload is referenced, not copied: it must live until then.
 */
bool	am_join_add(struct am_join *join, const uint8_t *packet, const struct lisp_inner *inner);
/* Ready to be written to the TUN: iovecs with the virtio-net header first; the join is then to be reset by niov = 0. */
void	am_join_finish(struct am_join *join);

#endif
