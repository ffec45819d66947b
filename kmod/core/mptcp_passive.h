/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The passive side of a handshake before there is a connection, RFC 8684 sections 3.1 and 3.2:
 *
 *   SYN      MP_CAPABLE -->  a note (may be lost: then it is plain TCP)
 *   SYN/ACK  MP_CAPABLE <--  the key follows from a secret, the addresses and both initial sequence numbers
 *   ACK      MP_CAPABLE -->  brings both keys: ours is computed again and compared; nothing had to be kept, as with SYN cookies
 *
 *   SYN      MP_JOIN    -->  a pending join, few for each connection, for some seconds
 *   SYN/ACK  MP_JOIN    <--  proof of ours
 *   ACK      MP_JOIN    -->  the peer's proof
 *
 * Memory and locks are the caller's.
 */
#ifndef MPTCP_PASSIVE_H
#define MPTCP_PASSIVE_H

#include "mptcp_key.h"

#define	MPTCP_SECRET_SIZE	32

/* Network order; IPv4 in the first four octets, the rest zero. */
struct mptcp_tuple {
	uint8_t		local[16];
	uint8_t		remote[16];
	uint16_t	local_port;
	uint16_t	remote_port;
	uint8_t		ipv6;
};

bool	mptcp_tuple_equal(const struct mptcp_tuple *a, const struct mptcp_tuple *b);
/* The server's key of a connection. */
uint64_t mptcp_passive_key(const uint8_t secret[MPTCP_SECRET_SIZE], const struct mptcp_tuple *tuple, uint32_t iss, uint32_t irs);

/* SYNs with MP_CAPABLE that await their SYN/ACK. */
struct mptcp_note {
	struct mptcp_tuple	tuple;
	uint32_t		irs;
	uint8_t			flags;	/* of MP_CAPABLE */
	bool			used;
};

struct mptcp_notes {
	struct mptcp_note	*slots;
	uint32_t		mask;	/* slots less 1, of a power of two */
	uint32_t		seed;	/* not to be known to peers */
};

/* Takes the place of what was there. */
void	mptcp_notes_put(struct mptcp_notes *notes, const struct mptcp_tuple *tuple, uint32_t irs, uint8_t flags);
/* A SYN/ACK may be sent again, so it stays. */
bool	mptcp_notes_get(const struct mptcp_notes *notes, const struct mptcp_tuple *tuple, uint32_t irs, uint8_t *flags);

#define	MPTCP_PENDING_MAX	8	/* of one connection */
#define	MPTCP_PENDING_WAYS	4
#define	MPTCP_PENDING_BUCKETS	64

struct mptcp_pending {
	struct mptcp_tuple	tuple;
	uint32_t		irs;
	uint32_t		token;		/* ours */
	uint32_t		remote_nonce, local_nonce;
	uint8_t			remote_id, local_id;
	bool			backup;		/* the peer wants it so */
	bool			used;
	uint64_t		deadline;
	uint8_t			proof[MPTCP_HMAC_SYNACK];	/* ours, for the SYN/ACK */
	uint8_t			expected[MPTCP_HMAC_ACK];	/* the peer's */
};

struct mptcp_pendings {
	struct mptcp_pending	slots[MPTCP_PENDING_BUCKETS][MPTCP_PENDING_WAYS];
	uint32_t		count;
	uint32_t		seed;
};

/*
 * A slot for a join that begins at `now` (any unit). One of the same SYN sent again is returned as it is, with *again set; NULL when
 * the connection has enough of them. Without room an older one gives way. The caller fills in what follows from the keys.
 */
struct mptcp_pending *mptcp_pendings_add(struct mptcp_pendings *pendings, const struct mptcp_tuple *tuple, uint32_t irs, uint32_t token,
	    uint32_t remote_nonce, uint64_t now, uint64_t lifetime, bool *again);
struct mptcp_pending *mptcp_pendings_find(struct mptcp_pendings *pendings, const struct mptcp_tuple *tuple, uint64_t now);
void	mptcp_pendings_remove(struct mptcp_pendings *pendings, struct mptcp_pending *pending);
/* Proofs of both ends. */
void	mptcp_pending_prove(struct mptcp_pending *pending, uint64_t local_key, uint64_t remote_key);

/*
 * Appends an option to a TCP header, which `room` octets of memory may follow: pads it, and sets the header's
 * length. Returns the octets appended, 0 if the option or the header's length does not fit.
 */
size_t	mptcp_header_append(uint8_t *tcp, size_t room, const uint8_t *option, size_t length);

#endif /* MPTCP_PASSIVE_H */
