/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The connection level's receive queue, RFC 8684 section 3.3: octets of all subflows in the order of their data sequence numbers.
 *
 *   from a subflow --> next_piece: known? beyond the window? --> in order: deliver, then deliver what pull returns
 *                                                           \--> else: insert, and wait
 *
 * A chunk is a run of octets whose storage (an mbuf chain) is the caller's, as is the memory of the chunk. Chunks form a treap by
 * data sequence number with a list through it: a peer that sends single octets in the worst order costs a logarithm, not a walk.
 */
#ifndef MPTCP_REASSEMBLY_H
#define MPTCP_REASSEMBLY_H

#include "mptcp_dsn.h"

struct mptcp_chunk {
	uint64_t		dsn;
	uint32_t		length;
	uint32_t		priority;	/* of the treap */
	struct mptcp_chunk	*left, *right;
	struct mptcp_chunk	*previous, *next;
	void			*data;		/* the caller's */
};

struct mptcp_reassembly {
	struct mptcp_chunk	*root, *first, *last;
	uint64_t		next;		/* first octet not delivered yet */
	uint64_t		edge;		/* first octet that is not welcome; never moves back */
	uint64_t		octets;		/* held */
	uint32_t		chunks;		/* held */
	uint32_t		chunks_max;
	uint32_t		random;		/* state of the treap's priorities */
};

/* A run of octets from a subflow, of which pieces are taken one by one. */
struct mptcp_arrival {
	uint64_t	dsn;
	uint32_t	length;
	uint32_t	offset;		/* starts as 0 */
	uint32_t	duplicate;	/* octets that were there before */
	uint32_t	beyond;		/* octets beyond the window */
};

struct mptcp_piece {
	uint32_t	offset;		/* within the arrival */
	uint32_t	length;
	uint64_t	dsn;
	bool		in_order;	/* to be delivered; else to be held */
};

/* `next` is the first octet's number, `edge` the right edge of the window. `seed` should not be known to the peer. */
void	mptcp_reassembly_init(struct mptcp_reassembly *queue, uint64_t next, uint64_t edge, uint32_t chunks_max, uint32_t seed);
/* The window's new right edge; one further left is ignored, because what was offered stays offered. */
void	mptcp_reassembly_set_edge(struct mptcp_reassembly *queue, uint64_t edge);
/*
 * What of the arrival to use next; false when nothing is left. The caller delivers the piece (then _delivered) or holds it (_hold or
 * _extend) before it asks again, or drops it: the peer will send it again.
 */
bool	mptcp_reassembly_next_piece(struct mptcp_reassembly *queue, struct mptcp_arrival *arrival, struct mptcp_piece *piece);
/* The next `length` octets are delivered. */
void	mptcp_reassembly_delivered(struct mptcp_reassembly *queue, uint32_t length);
/* The chunk that ends where such a piece begins, to which it can be appended; NULL when there is none. */
struct mptcp_chunk *mptcp_reassembly_before(const struct mptcp_reassembly *queue, uint64_t dsn);
void	mptcp_reassembly_extend(struct mptcp_reassembly *queue, struct mptcp_chunk *chunk, uint32_t length);
/* Holds a piece; chunk->dsn, length and data are set. False when there are too many chunks. */
bool	mptcp_reassembly_hold(struct mptcp_reassembly *queue, struct mptcp_chunk *chunk);
/* A chunk that is in order now, removed from the queue and counted as delivered; NULL when there is a gap. */
struct mptcp_chunk *mptcp_reassembly_pull(struct mptcp_reassembly *queue);
/* For tearing down: any chunk, removed. */
struct mptcp_chunk *mptcp_reassembly_take_any(struct mptcp_reassembly *queue);

#endif /* MPTCP_REASSEMBLY_H */
