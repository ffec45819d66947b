/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The MPTCP option of TCP, version 1: RFC 8684 section 3.
 *
 *   +---------------+---------------+-------+-----------------------+
 *   |     Kind      |    Length     |Subtype|  flags and fields     |
 *   +---------------+---------------+-------+-----------------------+
 *
 * The form of MP_CAPABLE and MP_JOIN depends on the segment: SYN, SYN/ACK or any other.
 */
#ifndef MPTCP_OPTION_H
#define MPTCP_OPTION_H

#include "compat.h"
#include "mptcp_key.h"

#define	MPTCP_OPTION_KIND	30
#define	MPTCP_OPTION_MIN	3
#define	MPTCP_OPTION_MAX	40	/* TCP has no more room for options */
#define	MPTCP_VERSION		1
#define	MPTCP_REMOVE_IDS_MAX	(MPTCP_OPTION_MAX - MPTCP_OPTION_MIN)

enum mptcp_subtype {
	MPTCP_MP_CAPABLE = 0x0,
	MPTCP_MP_JOIN = 0x1,
	MPTCP_DSS = 0x2,
	MPTCP_ADD_ADDR = 0x3,
	MPTCP_REMOVE_ADDR = 0x4,
	MPTCP_MP_PRIO = 0x5,
	MPTCP_MP_FAIL = 0x6,
	MPTCP_MP_FASTCLOSE = 0x7,
	MPTCP_MP_TCPRST = 0x8,
	MPTCP_SUBTYPES
};

/* The segment an option came in or is to go in. */
enum mptcp_segment {
	MPTCP_SEGMENT_SYN,
	MPTCP_SEGMENT_SYNACK,
	MPTCP_SEGMENT_OTHER
};

/* Why an option is ignored, as RFC 8684 wants; each is a counter of the glue. */
enum mptcp_ignored {
	MPTCP_IGNORED_NONE,
	MPTCP_IGNORED_TRUNCATED,	/* its length leads beyond the options */
	MPTCP_IGNORED_LENGTH,		/* not a length this subtype can have in this segment */
	MPTCP_IGNORED_SUBTYPE,		/* unknown or experimental */
	MPTCP_IGNORED_SEGMENT,		/* has no business in this segment */
	MPTCP_IGNORED_VERSION,		/* MP_CAPABLE of another version */
	MPTCP_IGNORED_EXTENSION,	/* MP_CAPABLE with the bit B, which nobody has defined */
	MPTCP_IGNORED_CRYPTO,		/* MP_CAPABLE without HMAC-SHA256 */
	MPTCP_IGNORED_DUPLICATE,	/* a subtype that came before in the same segment */
	MPTCP_IGNORED_COUNT
};

#define	MPTCP_CAPABLE_CHECKSUM	0x80	/* A */
#define	MPTCP_CAPABLE_EXTENSION	0x40	/* B */
#define	MPTCP_CAPABLE_NO_JOIN	0x20	/* C: no subflows to the source address and port of this segment */
#define	MPTCP_CAPABLE_SHA256	0x01	/* H */

struct mptcp_capable {
	uint8_t		version;
	uint8_t		flags;
	uint8_t		keys;		/* 0 in a SYN, 1 in a SYN/ACK (the sender's), 2 in others (the sender's and the receiver's) */
	bool		has_data;	/* with two keys: the segment has data and this its length */
	bool		has_checksum;	/* with data */
	uint16_t	data_length;
	uint16_t	checksum;
	uint64_t	sender_key;
	uint64_t	receiver_key;
};

/* Which members count depends on the segment. */
struct mptcp_join {
	bool		backup;		/* SYN and SYN/ACK */
	uint8_t		address_id;	/* SYN and SYN/ACK */
	uint32_t	token;		/* SYN: the receiver's */
	uint32_t	nonce;		/* SYN and SYN/ACK */
	uint8_t		hmac[MPTCP_HMAC_ACK];	/* SYN/ACK: MPTCP_HMAC_SYNACK octets; ACK: all */
};

struct mptcp_dss {
	bool		data_fin;
	bool		has_ack;
	bool		ack_64;
	bool		has_map;
	bool		dsn_64;
	bool		has_checksum;	/* with a mapping */
	uint64_t	ack;		/* 32 bits unless ack_64 */
	uint64_t	dsn;		/* 32 bits unless dsn_64 */
	uint32_t	ssn;		/* relative to the subflow's initial sequence number: the first octet is 1 */
	uint16_t	length;		/* counts DATA_FIN; 0: infinite mapping */
	uint16_t	checksum;
};

struct mptcp_add_addr {
	bool		echo;		/* has no HMAC */
	uint8_t		address_id;
	uint8_t		address_length;	/* 4 or 16 */
	bool		has_port;
	uint16_t	port;
	uint8_t		address[16];
	uint8_t		hmac[MPTCP_HMAC_ADD_ADDR];
};

struct mptcp_remove_addr {
	uint8_t		count;		/* 1 to MPTCP_REMOVE_IDS_MAX */
	uint8_t		address_id[MPTCP_REMOVE_IDS_MAX];
};

#define	MPTCP_RST_TRANSIENT	0x1	/* T: trying again may help */

/* Reasons of MP_TCPRST, section 3.6. */
enum mptcp_rst_reason {
	MPTCP_RST_UNSPECIFIED = 0,
	MPTCP_RST_MPTCP_ERROR = 1,
	MPTCP_RST_RESOURCES = 2,
	MPTCP_RST_PROHIBITED = 3,
	MPTCP_RST_TOO_MUCH_DATA = 4,
	MPTCP_RST_BAD_PERFORMANCE = 5,
	MPTCP_RST_MIDDLEBOX = 6
};

struct mptcp_option {
	enum mptcp_subtype	subtype;
	union {
		struct mptcp_capable		capable;
		struct mptcp_join		join;
		struct mptcp_dss		dss;
		struct mptcp_add_addr		add_addr;
		struct mptcp_remove_addr	remove_addr;
		struct {
			bool			backup;
		}				prio;
		struct {
			uint64_t		dsn;
		}				fail;
		struct {
			uint64_t		receiver_key;
		}				fastclose;
		struct {
			uint8_t			flags;	/* four bits */
			uint8_t			reason;
		}				rst;
	};
};

/* The MPTCP options of one segment. No two are of one subtype, and real segments have no more than three. */
#define	MPTCP_OPTIONS_MAX	4

struct mptcp_options {
	uint8_t			count;
	uint16_t		ignored;	/* a bit 1 << cause for every cause seen */
	struct mptcp_option	option[MPTCP_OPTIONS_MAX];
};

/*
 * One option from its kind octet on, `length` octets of which are there. Fields that do not count are zero. Anything but
 * MPTCP_IGNORED_NONE: to be ignored; with MPTCP_IGNORED_VERSION, option->capable.version says which.
 */
enum mptcp_ignored mptcp_option_parse(const uint8_t *data, size_t length, enum mptcp_segment segment, struct mptcp_option *option);
/* Octets the option takes in such a segment, without padding; 0 when it cannot be in one. */
size_t	mptcp_option_size(const struct mptcp_option *option, enum mptcp_segment segment);
/* Writes them; 0 when `room` is too small or the option cannot be in such a segment. */
size_t	mptcp_option_build(const struct mptcp_option *option, enum mptcp_segment segment, uint8_t *out, size_t room);

/* All options of a TCP header, `length` octets behind its first 20; others than MPTCP's are skipped. */
void	mptcp_options_parse(const uint8_t *data, size_t length, enum mptcp_segment segment, struct mptcp_options *options);
/* NULL when the segment had none. */
const struct mptcp_option *mptcp_options_find(const struct mptcp_options *options, enum mptcp_subtype subtype);

const char *mptcp_ignored_name(unsigned cause);

#endif /* MPTCP_OPTION_H */
