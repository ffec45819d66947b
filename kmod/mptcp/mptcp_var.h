/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * mptcp.ko: Multipath TCP (RFC 8684) as a protocol of its own number. A program's socket, the meta socket, has TCP sockets of an
 * alternate TCP stack under it, one for each subflow, and a worker between them:
 *
 *   program    socket(.., 262), the meta socket            mptcp_socket.c
 *                 | so_snd          ^ so_rcv
 *              worker: one task per connection             mptcp_conn.c
 *                 | mptcp_send.c    | mptcp_receive.c
 *              TCP sockets, one per subflow                mptcp_subflow.c
 *                 |                 |
 *              derived tcp_output   mptcp_do_segment -> tcp_do_segment
 *              mptcp_options.c      mptcp_stack.c
 *
 * Locks, in their order:
 *
 *   (x)  connection: mc_sx. Sleepable; held by the worker and by the user's requests.
 *        one INP of a subflow (never two), then its socket buffers' mutexes, one at a time
 *   (l)  leaf: mc_mtx. What segments and the worker share. Nothing is taken under it.
 *        the token table's mutex and the taskqueue's are leaves, too
 *
 * In segments, output, congestion control and upcalls the INP is held inside NET_EPOCH: there only leaves are taken; upcalls set
 * bits and start the worker. The meta socket is referenced, closed and freed with no lock of ours.
 *
 * References: mc's socket holds one, every subflow one, the worker's queued task one. A subflow is held by the connection's list
 * (with its socket) and by its tcpcb (t_fb_ptr, until fb_fini).
 */
#ifndef MPTCP_VAR_H
#define MPTCP_VAR_H

#include <sys/param.h>
#include <sys/systm.h>
#include <sys/callout.h>
#include <sys/counter.h>
#include <sys/kernel.h>
#include <sys/lock.h>
#include <sys/malloc.h>
#include <sys/mbuf.h>
#include <sys/mutex.h>
#include <sys/queue.h>
#include <sys/refcount.h>
#include <sys/rwlock.h>
#include <sys/socket.h>
#include <sys/socketvar.h>
#include <sys/sx.h>
#include <sys/sysctl.h>
#include <sys/taskqueue.h>

#include <net/vnet.h>

#include <netinet/in.h>
#include <netinet/in_pcb.h>
#include <netinet/tcp.h>
#include <netinet/tcp_var.h>

#include "mptcp.h"
#include "mptcp_map.h"
#include "mptcp_option.h"
#include "mptcp_passive.h"
#include "mptcp_key.h"
#include "mptcp_reassembly.h"
#include "mptcp_sched.h"
#include "mptcp_user.h"

MALLOC_DECLARE(M_MPTCP);

/* Of a connection. */
enum mptcp_state {
	MPTCP_CLOSED,		/* before the SYN */
	MPTCP_SYN_SENT,		/* MP_CAPABLE sent */
	MPTCP_KEYED,		/* keys are known; MP_CAPABLE goes with every segment of ours (client) */
	MPTCP_ESTABLISHED,	/* the peer has sent a DSS */
	MPTCP_FALLBACK,		/* plain TCP for the rest of its life; one subflow */
	MPTCP_OVER		/* nothing is to come any more */
};

/* Of a subflow. */
enum mptcp_sf_state {
	MPTCP_SF_NEW,		/* no SYN yet */
	MPTCP_SF_UNDECIDED,	/* passive: the third ACK will tell what it is; sf_mc is NULL */
	MPTCP_SF_SYN_SENT,	/* with MP_CAPABLE or MP_JOIN */
	MPTCP_SF_JOIN_ACK,	/* MP_JOIN, active: the third ACK, with its HMAC, is sent until it is acknowledged */
	MPTCP_SF_UP,		/* takes data */
	MPTCP_SF_DEAD		/* its TCP connection is over */
};

#define	MPTCP_MAPPINGS	32	/* slots of a subflow's table at first */
#define	MPTCP_MAPPINGS_MAX	8192
#define	MPTCP_MAPPING_LENGTH	32768	/* most octets of one we make */
#define	MPTCP_SUBFLOWS_MAX	MPTCP_ABI_SUBFLOWS
#define	MPTCP_CHUNKS_MAX	4096	/* pieces that wait for others before them */

struct mptcp_conn;

/* Data to be sent again. */
struct mptcp_range {
	STAILQ_ENTRY(mptcp_range) link;
	uint64_t		dsn;
	uint32_t		length;
	uint32_t		from;		/* sf_id of the subflow that had it */
};

/* Options of TCP sockets that further ones get. */
struct mptcp_model {
	int			bindany, options;
	u_int			flags, keepidle, keepintvl, keepcnt, maxunacktime;
	uint16_t		fib;
	u_char			tos;
	char			cc[TCP_CA_NAME_MAX];
};

struct mptcp_subflow {
	u_int			sf_refs;
	struct mptcp_conn	*sf_mc;		/* with a reference; NULL: undecided or a stack chosen by name */
	uint32_t		sf_id;		/* within the connection */
	uint8_t			lia_slot;
	bool			sf_passive;
	bool			sf_foreign;	/* of another TCP stack, in fallback: its window is its own buffer's */
	bool			sf_join;	/* not the first one */

	/* (x) */
	TAILQ_ENTRY(mptcp_subflow) sf_link;
	struct socket		*sf_so;		/* with a reference; NULL once closed */
	bool			sf_told_up;	/* event sent */
	bool			sf_ack_due;	/* data came; a DATA_ACK goes out when all is placed */
	bool			sf_eof;		/* nothing comes any more, all is taken */
	bool			sf_shut;	/* FIN asked for */
	bool			sf_want_backup;	/* the user's wish */
	bool			sf_reserve;	/* newly joined: takes no data yet, see mptcp_subflow.c */
	bool			sf_doomed;	/* to be reset: its data cannot be placed */
	bool			sf_taken_back;	/* its data was given to others for good */
	sbintime_t		sf_srtt;
	bool			sf_stale;	/* its retransmission timer fired: takes no data, what it had goes elsewhere */
	uint32_t		sf_sent_end;	/* subflow sequence number behind all that was given to it; changes with (l), too */
	struct mbuf		*sf_in, *sf_in_tail;	/* taken from its socket, not placed yet */
	uint32_t		sf_in_length;
	uint32_t		sf_in_ssn;	/* of the first octet of it */
	sbintime_t		sf_prio_at;	/* next MP_PRIO that makes it regular; 0: none */
	sbintime_t		sf_prio_latest;	/* the first of them, at the latest */
	uint64_t		sf_joined_dsn;	/* next to be sent for the first time when it was established */
	uint8_t			sf_prio_step;
	uint8_t			sf_join_tries;
	sbintime_t		sf_join_at;	/* JOIN_ACK: next try */
	sbintime_t		sf_announce_at;	/* ADD_ADDR has no echo: next try */
	sbintime_t		sf_fail_at;	/* MP_FAIL goes out, unless data does before */
	uint8_t			sf_announce_tries;
	struct sockaddr_storage	sf_local, sf_remote;	/* once it is connected */
	uint64_t		sf_octets_sent, sf_octets_received;
	int			sf_error;

	/* (l) */
	enum mptcp_sf_state	sf_state;
	bool			sf_backup;	/* we said so */
	bool			sf_peer_backup;
	uint8_t			sf_local_id, sf_remote_id;	/* Address IDs */
	uint32_t		sf_local_nonce, sf_remote_nonce;
	uint8_t			sf_hmac[MPTCP_HMAC_ACK];	/* of our third ACK */
	struct mptcp_map	sf_sent;	/* mappings not acknowledged by the subflow */
	struct mptcp_map	sf_received;	/* mappings of octets to come */
	struct mptcp_mapping	sf_sent_slots[MPTCP_MAPPINGS];
	struct mptcp_mapping	sf_received_slots[MPTCP_MAPPINGS];
	uint8_t			sf_pending;	/* MPTCP_OPT_*: options to go with the next segments without data */
	struct mptcp_option	sf_echo;
	struct mptcp_option	sf_announce;
	uint8_t			sf_remove_id;
	uint8_t			sf_reset_reason, sf_reset_flags;	/* of MP_TCPRST, ours or the peer's */
	bool			sf_failed;	/* MP_FAIL was sent */
	bool			sf_fail_due;	/* ... is to be, see fail() */
	uint64_t		sf_fail_dsn;	/* of MP_FAIL */
	bool			sf_bare;	/* data of ours was acknowledged without a DSS since the last one came */
	bool			sf_doubtful;	/* octets without a mapping came too late to be taken for the next ones */
	sbintime_t		sf_mapped_at;	/* when octets with a mapping came last */
	uint32_t		sf_infinite_ssn;	/* where ours begins: told with this octet */
	uint32_t		sf_told_window;	/* what the last segment offered */
	uint32_t		sf_sent_told;	/* end of the mappings that segments have carried */
	/* INP: what goes with the window just computed */
	uint64_t		sf_snapshot_ack;	/* the DATA_ACK ... */
	uint64_t		sf_snapshot_edge;	/* ... and the window's right edge */
};

#define	MPTCP_OPT_ECHO		0x01
#define	MPTCP_OPT_PRIO		0x02
#define	MPTCP_OPT_ANNOUNCE	0x04
#define	MPTCP_OPT_REMOVE	0x08
#define	MPTCP_OPT_FAIL		0x10
#define	MPTCP_OPT_FASTCLOSE	0x20

TAILQ_HEAD(mptcp_subflows, mptcp_subflow);

struct mptcp_conn {
	u_int			mc_refs;
	struct sx		mc_sx;
	struct mtx		mc_mtx;
	struct vnet		*mc_vnet;
	struct taskqueue	*mc_queue;
	struct task		mc_task;
	struct callout		mc_callout;	/* stopped for good once mc_over */
	u_int			mc_queued;	/* atomic: the task is queued and has a reference */
	u_int			mc_events;	/* atomic: MPTCP_EV_* */
	u_int			mc_held_back;	/* atomic: plain TCP's data waits in its buffer for room in the meta socket's */
	u_int			mc_quiet;	/* atomic: nothing waits to be sent, so room in a subflow starts no worker */

	/* (x) */
	struct socket		*mc_so;		/* the meta socket; NULL: none (yet, any more) */
	struct ucred		*mc_cred;	/* its owner's */
	struct mptcp_subflows	mc_subflows;
	struct mptcp_subflow	*mc_first;	/* id 0, in the list until it is closed; NULL then */
	uint32_t		mc_next_id;
	u_int			mc_count;	/* subflows in the list */
	bool			mc_listening;	/* mc_first's socket is the listener */
	bool			mc_told_connected;	/* soisconnected() was called */
	bool			mc_told_established, mc_told_fallback;	/* events sent */
	bool			mc_shut;	/* no more data from the program: a DATA_FIN is due */
	bool			mc_closed;	/* close(2): nobody reads any more */
	bool			mc_held;	/* the worker has a reference to mc_so, until mc_over */
	bool			mc_over;	/* subflows are closed or closing; only they hold it */
	bool			mc_ack_due;	/* a DATA_ACK TCP knows nothing of */
	bool			mc_embryo;	/* no socket yet, and the worker leaves it alone */
	struct mptcp_acceptor	*mc_acceptor;	/* of a listener: mptcp_accept.c */
	bool			mc_was_fallback;
	uint64_t		mc_snd_una;	/* data sequence number of the first octet in the meta socket's so_snd */
	uint64_t		mc_snd_next;	/* next one to be given to a subflow */
	STAILQ_HEAD(, mptcp_range) mc_resend;	/* to be given to a subflow again */
	sbintime_t		mc_rto_at;	/* connection's retransmission; 0: nothing outstanding */
	u_int			mc_rto_shift;
	sbintime_t		mc_timer_at;	/* what the callout was set to last */
	sbintime_t		mc_progress_at;	/* when data was acknowledged last, or the socket closed */
	bool			mc_shortage;	/* there was no memory: the worker comes back by itself */
	sbintime_t		mc_orphan_at;	/* no subflow is left: the end, unless one comes */
	int			mc_last;	/* round robin */
	uint64_t		mc_octets_sent, mc_octets_received, mc_octets_reinjected, mc_octets_duplicate;
	struct mptcp_reassembly	mc_reassembly;
	uint64_t		mc_storage;	/* octets of memory that what waits there takes */
	uint64_t		mc_storage_max;
	struct mptcp_subflow_info mc_ended[MPTCP_ABI_SUBFLOWS];	/* figures of subflows that have ended */
	u_int			mc_ended_count;
	uint8_t			mc_next_address_id;
	struct mptcp_model	mc_model;
	uint32_t		mc_slack;	/* octets beyond the window that are taken all the same */
	uint64_t		mc_tuned_at_dsn;	/* receive buffer's tuning */
	sbintime_t		mc_tuned_at;
	struct sockaddr_storage	mc_local, mc_remote;	/* the first subflow's */
	struct mptcp_lia_shared	mc_lia;

	/* Of one from outside: its first subflow, as the peer sees it. Set before the token is in the table, and never changed. */
	struct mptcp_tuple	mc_asked;

	/* (l) */
	enum mptcp_state	mc_state;
	uint32_t		mc_fallback_cause;	/* enum mptcp_count */
	int			mc_error;	/* what the connection ends by; the worker tells the socket */
	bool			mc_checksum;	/* both ends use it */
	bool			mc_fastclose;	/* resets of ours are MP_FASTCLOSEs */
	bool			mc_infinite;	/* fell back when the keys were known */
	bool			mc_peer_told;	/* ... and the peer knows */
	bool			mc_peer_plain;	/* ... and has ended its own mappings */
	bool			mc_peer_no_join;	/* the peer's flag C */
	bool			mc_in_table;	/* table's mutex */
	uint32_t		mc_first_window;	/* what the SYN offers */
	uint8_t			mc_removed[32];	/* bits: Address IDs the peer has taken back */
	uint64_t		mc_local_key, mc_remote_key;
	uint32_t		mc_local_token, mc_remote_token;
	uint64_t		mc_local_idsn, mc_remote_idsn;
	uint64_t		mc_peer_ack;	/* highest DATA_ACK */
	uint64_t		mc_freed_at;	/* a DATA_ACK up to here starts the worker, so that it frees what is behind it */
	uint64_t		mc_snd_edge;	/* right edge: highest DATA_ACK + window */
	uint64_t		mc_snd_max;	/* mc_snd_next as segments see it, DATA_FIN included */
	uint64_t		mc_rcv_next;	/* all before it has been taken: our DATA_ACK, unless ... */
	uint64_t		mc_told_ack;	/* ... one was sent for what is sure to be taken, see mptcp_output_window() */
	uint64_t		mc_rcv_edge;	/* right edge of our window */
	uint64_t		mc_told_edge;	/* right edge of the window when it was last told on all subflows */
	bool			mc_peer_fin;	/* DATA_FIN is known ... */
	uint64_t		mc_peer_fin_dsn;	/* ... at this number */
	bool			mc_eof;		/* ... and taken: all before it was */
	bool			mc_fin;		/* ours is due ... */
	uint64_t		mc_fin_dsn;	/* ... at this number */
	bool			mc_fin_due;	/* ... and to be sent (again) */
	LIST_ENTRY(mptcp_conn)	mc_hash;	/* token table's mutex */
};

#define	MPTCP_EV_SUBFLOW	0x01	/* something moved in a subflow's socket */
#define	MPTCP_EV_SEND		0x02	/* data or its end from the program */
#define	MPTCP_EV_RECEIVED	0x04	/* the program has read */
#define	MPTCP_EV_ACK		0x08	/* DATA_ACK or window */
#define	MPTCP_EV_TIMER		0x10
#define	MPTCP_EV_STATE		0x20	/* keys, fallback, error, DATA_FIN */

#define	MC_LOCK(mc)		mtx_lock(&(mc)->mc_mtx)
#define	MC_UNLOCK(mc)		mtx_unlock(&(mc)->mc_mtx)
#define	MC_LOCK_ASSERT(mc)	mtx_assert(&(mc)->mc_mtx, MA_OWNED)
#define	MC_XLOCK(mc)		sx_xlock(&(mc)->mc_sx)
#define	MC_XUNLOCK(mc)		sx_xunlock(&(mc)->mc_sx)
#define	MC_XLOCK_ASSERT(mc)	sx_assert(&(mc)->mc_sx, SA_XLOCKED)

/* The meta socket's protocol control block: code outside casts so_pcb to an inpcb. */
struct mptcp_pcb {
	struct inpcb		mp_inp;
	struct mptcp_conn	*mp_mc;
};

/* Whether all data so far, of both directions, went over one subflow and once: then it can go on as one plain stream. */
static inline bool
mptcp_contiguous(const struct mptcp_conn *mc)
{
	return (mc->mc_next_id == 1 && mc->mc_octets_reinjected == 0);
}

static inline struct mptcp_conn *
mptcp_conn_of(struct socket *so)
{
	return (((struct mptcp_pcb *)so->so_pcb)->mp_mc);
}

#define	MPTCP_COUNTERS(X)									\
	X(capable_syn_sent,	"SYNs sent with MP_CAPABLE")					\
	X(capable_synack_received, "SYN/ACKs received with MP_CAPABLE")				\
	X(established,		"Connections whose peer sent a DSS")				\
	X(fallback_no_option,	"Fallbacks: SYN/ACK without MP_CAPABLE")			\
	X(fallback_syn_lost,	"Fallbacks: SYNs with MP_CAPABLE got no answer")		\
	X(fallback_no_dss,	"Fallbacks: the peer's first answer had no DSS")		\
	X(fallback_fail,	"Fallbacks: MP_FAIL or an infinite mapping received")		\
	X(fallback_disabled,	"Fallbacks: net.inet.mptcp.enabled is 0")			\
	X(data_fin_sent,	"DATA_FINs sent")						\
	X(data_fin_received,	"DATA_FINs received")						\
	X(fastclose_sent,	"MP_FASTCLOSEs sent")						\
	X(fastclose_received,	"MP_FASTCLOSEs received")					\
	X(add_addr_received,	"ADD_ADDRs received")						\
	X(add_addr_bad_hmac,	"ADD_ADDRs ignored: wrong HMAC")				\
	X(option_ignored,	"Segments with an MPTCP option that was ignored")		\
	X(unmapped_dropped,	"Times data without a mapping was met")				\
	X(old_skipped,		"Times data that had come before was left out")			\
	X(mapping_refused,	"Mappings that contradict earlier ones")			\
	X(mapping_outside,	"Mappings of octets far beyond the subflow's window")		\
	X(mapping_checksum,	"Mappings without the checksum agreed on, or with one nobody asked for")	\
	X(mapping_shortage,	"Times there was no memory for a mapping")			\
	X(sack_left_out,	"Segments in which SACK blocks gave way to MPTCP")		\
	X(ack_not_duplicate,	"DATA_ACKs kept from counting as duplicate ACKs")		\
	X(beyond_dropped,	"Times data beyond the connection's window was dropped")	\
	X(reassembly_full,	"Times data was dropped because too many pieces waited")	\
	X(checksum_bad,		"Mappings whose checksum was wrong")				\
	X(fail_sent,		"MP_FAILs sent")						\
	X(fail_received,	"MP_FAILs received")						\
	X(infinite_received,	"Infinite mappings received")					\
	X(reinjections,		"Times data was given to another subflow again")		\
	X(data_rto,		"Times the connection's retransmission timer fired")		\
	X(join_syn_sent,	"SYNs sent with MP_JOIN")					\
	X(join_synack_received,	"SYN/ACKs received with MP_JOIN")				\
	X(join_synack_refused,	"SYN/ACKs refused: no MP_JOIN or a wrong HMAC")			\
	X(join_established,	"Further subflows established that were opened here")		\
	X(subflow_closed,	"Subflows that ended before their connection")			\
	X(echo_add_sent,	"ADD_ADDRs answered")						\
	X(add_addr_sent,	"ADD_ADDRs sent")						\
	X(remove_addr_sent,	"REMOVE_ADDRs sent")						\
	X(remove_addr_received,	"REMOVE_ADDRs received")					\
	X(prio_sent,		"MP_PRIOs sent")						\
	X(prio_received,	"MP_PRIOs received")						\
	X(rst_sent,		"MP_TCPRSTs sent")						\
	X(rst_received,		"MP_TCPRSTs received")						\
	X(capable_syn_received,	"SYNs received with MP_CAPABLE for a listener of ours")		\
	X(capable_synack_sent,	"SYN/ACKs sent with MP_CAPABLE")				\
	X(capable_ack_received,	"Connections from outside that proved to be MPTCP")		\
	X(capable_wrong_key,	"ACKs with MP_CAPABLE and a wrong key")				\
	X(synack_no_room,	"SYN/ACKs without room for MPTCP's option")			\
	X(token_taken,		"Connections refused because their token was taken")		\
	X(fallback_no_capable,	"Fallbacks: a client without MPTCP")				\
	X(fallback_ack_without,	"Fallbacks: a client's SYN had MP_CAPABLE, its ACK has not")	\
	X(fallback_foreign,	"Fallbacks: the accepted connection has another TCP stack")	\
	X(join_syn_received,	"SYNs received with MP_JOIN")					\
	X(join_synack_sent,	"SYN/ACKs sent with MP_JOIN")					\
	X(join_ack_received,	"ACKs received with MP_JOIN and the right HMAC")		\
	X(join_accepted,	"Further subflows accepted")					\
	X(join_refused,		"SYNs with MP_JOIN answered by RST")				\
	X(join_no_token,	"SYNs with MP_JOIN for a token that is not known")		\
	X(join_bad_hmac,	"ACKs with MP_JOIN and a wrong HMAC")						\
	X(event_lost,		"Events dropped: nobody read those before them in time")	\
	X(fallback_unmapped,	"Fallbacks: data without a mapping")				\
	X(fallback_checksum,	"Fallbacks: a wrong checksum")					\
	X(fallback_no_ack,	"Fallbacks: data was acknowledged, but never by a DATA_ACK")

enum mptcp_count {
	MPTCP_CNT_none,
#define	MPTCP_COUNTER_ENUM(name, text)	MPTCP_CNT_##name,
	MPTCP_COUNTERS(MPTCP_COUNTER_ENUM)
#undef MPTCP_COUNTER_ENUM
	MPTCP_CNT_COUNT
};

VNET_DECLARE(counter_u64_t, mptcp_counters[MPTCP_CNT_COUNT]);
#define	V_mptcp_counters	VNET(mptcp_counters)

static inline void
mptcp_count(enum mptcp_count which)
{
	counter_u64_add(V_mptcp_counters[which], 1);
}

/* ---- mptcp_conn.c: life of a connection, its worker */

/* One reference; NULL without memory. A socket is attached by mptcp_meta_adopt(). */
struct mptcp_conn *mptcp_conn_alloc(struct vnet *vnet, int mflags);
void	mptcp_conn_ref(struct mptcp_conn *mc);
/* May be the last one: frees under any lock. */
void	mptcp_conn_rele(struct mptcp_conn *mc);
/*
 * Passive (and internally): derives tokens and numbers, enters the token. EEXIST: the token is taken. Any lock, not the leaf. Active:
 * the local key by mptcp_conn_new_key(), the remote one when the SYN/ACK comes.
 */
int	mptcp_conn_set_keys(struct mptcp_conn *mc, uint64_t local_key, uint64_t remote_key);
int	mptcp_conn_new_key(struct mptcp_conn *mc);
/* A passive one that ends before it has a socket; any lock but the leaf. */
void	mptcp_conn_forget(struct mptcp_conn *mc);
/* With the leaf: what follows from the peer's key. */
void	mptcp_conn_set_remote_key(struct mptcp_conn *mc, uint64_t remote_key);
/* With a reference, or NULL. Callable with an INP. */
struct mptcp_conn *mptcp_conn_by_token(uint32_t token);
/* Connections of all network stacks; the module stays while there are any. */
extern u_int mptcp_conns;

/* One turn of the worker, by whoever holds (x). */
void	mptcp_conn_run(struct mptcp_conn *mc);
/* The program has written: sends at once if that needs no more than this, else starts the worker. `more`: it goes on writing. */
void	mptcp_conn_written(struct mptcp_conn *mc, bool more);
/* The meta socket is told of the end; what of the connection is on the wire ends by itself, or by resets. With (x), once. */
void	mptcp_conn_end(struct mptcp_conn *mc, int error, bool reset);
/* ... by MP_FASTCLOSE. */
void	mptcp_conn_abort(struct mptcp_conn *mc, int error);
/* With (x): the meta socket if the worker's reference to it is to be released, with no lock held. */
struct socket *mptcp_conn_unhold(struct mptcp_conn *mc);
/* An event of the connection (sf NULL) or of a subflow. With (x). */
void	mptcp_tell(struct mptcp_conn *mc, struct mptcp_subflow *sf, uint32_t type, const struct mptcp_event *more);
/* Starts the worker. Callable with anything but a spin lock. */
void	mptcp_kick(struct mptcp_conn *mc, u_int events);
/* The upcalls of the buffers of a subflow's socket; `arg` is the subflow. */
int	mptcp_subflow_upcall(struct socket *so, void *arg, int flag);
int	mptcp_subflow_upcall_send(struct socket *so, void *arg, int flag);
/* With the leaf. */
void	mptcp_fall_back(struct mptcp_conn *mc, struct mptcp_subflow *sf, enum mptcp_count cause);
/* With the leaf: plain TCP on what has carried the whole connection. Our mappings go on until the peer wants, or needs, no more. */
void	mptcp_infinite(struct mptcp_conn *mc, struct mptcp_subflow *sf, enum mptcp_count cause);
/* With the leaf, in fallback: ours is infinite behind what was given to the subflow. */
void	mptcp_end_mappings(struct mptcp_conn *mc, struct mptcp_subflow *sf);
/* With the leaf: MP_FAIL goes out, once. */
void	mptcp_send_fail(struct mptcp_conn *mc, struct mptcp_subflow *sf);
/* With the leaf: the connection ends by `error`; the worker does it. */
void	mptcp_conn_fail(struct mptcp_conn *mc, int error);
/* With (x). */
void	mptcp_conn_info(struct mptcp_conn *mc, struct mptcp_info *info);
int	mptcp_conn_attach(void);
void	mptcp_conn_detach(void);

/* ---- mptcp_socket.c */

/* Gives a meta socket (attached by pr_attach, as solisten_clone's result is by mptcp_attach_clone()) its connection. With (x). */
void	mptcp_meta_adopt(struct socket *meta, struct mptcp_conn *mc);
/* As a socket of this family shows it. */
struct sockaddr *mptcp_sockaddr_dup(struct socket *so, const struct sockaddr_storage *from);
extern u_int mptcp_sockets;	/* of this protocol, in all network stacks */
int	mptcp_socket_attach(void);
void	mptcp_socket_detach(void);

/* ---- mptcp_subflow.c */

/* One reference; NULL without memory. */
struct mptcp_subflow *mptcp_subflow_alloc(int mflags);
void	mptcp_subflow_ref(struct mptcp_subflow *sf);
void	mptcp_subflow_rele(struct mptcp_subflow *sf);
/* A TCP socket of ours of this family and its subflow, entered into the connection. `td` acts for mc's owner. With (x). */
int	mptcp_subflow_create(struct mptcp_conn *mc, int family, bool joins, struct thread *td, struct mptcp_subflow **sfp);
/*
 * Enters sf, with its socket's reference, into the connection; upcalls are set, the worker starts: there may be data already. sf has
 * sf_mc set. The list takes over the caller's reference to sf. With (x).
 */
void	mptcp_conn_add_subflow(struct mptcp_conn *mc, struct mptcp_subflow *sf, struct socket *so);
/* Out of the list; its TCP connection ends by itself (or by RST). With (x). */
void	mptcp_subflow_close(struct mptcp_conn *mc, struct mptcp_subflow *sf, bool reset);
/* By request: what is on its way there goes elsewhere, the peer is told. With (x). */
void	mptcp_subflow_leave(struct mptcp_conn *mc, struct mptcp_subflow *sf, bool reset, uint8_t reason);
void	mptcp_subflow_addresses(struct mptcp_subflow *sf);
void	mptcp_address(const struct sockaddr_storage *from, struct mptcp_ioc_addr *to);
/* Figures. With (x). */
void	mptcp_subflow_fill(struct mptcp_subflow *sf, struct mptcp_subflow_info *info);
/* With (x): the worker's turn of handshakes, MP_PRIO. Returns when to look again (0: never). */
sbintime_t mptcp_subflow_timers(struct mptcp_conn *mc, sbintime_t now);
/* Something to send without data: an ACK goes out. With (x). */
void	mptcp_subflow_push(struct mptcp_subflow *sf);
/* ... unless TCP is going to send one soon by itself. */
void	mptcp_subflow_acknowledge(struct mptcp_subflow *sf);

/* ---- mptcp_send.c, mptcp_receive.c: the worker's halves. With (x). */

/* DATA_ACKs have come: the meta socket's buffer is freed. */
void	mptcp_send_acked(struct mptcp_conn *mc);
/* `more`: the last octets will be followed by others at once. */
void	mptcp_send_data(struct mptcp_conn *mc, bool more);
/* What sf has not brought to an acknowledgement is to be sent by others. `forever`: it is given nothing any more. */
void	mptcp_send_dead(struct mptcp_conn *mc, struct mptcp_subflow *sf, bool forever);
void	mptcp_send_timer(struct mptcp_conn *mc, sbintime_t now);
void	mptcp_send_free(struct mptcp_conn *mc);
void	mptcp_receive_start(struct mptcp_conn *mc);
void	mptcp_receive(struct mptcp_conn *mc);
/* A subflow is about to be closed: from here on no DATA_ACK is sent before its data is taken; where one was, the data is taken. */
void	mptcp_receive_rest(struct mptcp_conn *mc, struct mptcp_subflow *sf);
/* Opens the window as far as the program has read; sends what acknowledgements are due. */
void	mptcp_receive_window(struct mptcp_conn *mc);
void	mptcp_receive_free(struct mptcp_conn *mc);

/* ---- mptcp_stack.c, mptcp_options.c: the TCP stack of subflows */

/* What a segment means for the connection, beyond what TCP does with it. */
enum segment_verdict { SEGMENT_PASS, SEGMENT_DROP, SEGMENT_RESET };

extern struct tcp_function_block mptcp_stack;
int	mptcp_stack_attach(void);
int	mptcp_stack_detach(void);
bool	mptcp_stack_busy(void);
/* With INP and leaf: doubles the table. False: no memory, or too large. */
bool	mptcp_map_grow(struct mptcp_map *map, struct mptcp_mapping *first);
void	mptcp_map_free(struct mptcp_map *map, struct mptcp_mapping *first);

#endif /* MPTCP_VAR_H */
