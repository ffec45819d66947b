/* SPDX-License-Identifier: BSD-2-Clause */
/*
 *   client socket --- direction UP  : read, hold what does not fit, write ---> server socket
 *                <--- direction DOWN: the same the other way -------------
 *
 * A session belongs to one worker thread. Level-triggered readiness; a side's interest follows from its two directions:
 * IN while the direction it feeds holds nothing, OUT while the direction that feeds it holds something. So what one
 * side does not take, the other is not asked for: that is the back-pressure.
 *
 * Where the kernel can join two sockets (join.h) a direction that has much to move is left to it: nothing is read here until the join
 * has ended, and the octets are asked for now and then.
 *
 * An idle session owns no buffer and no pipe. Reading goes into the worker's buffer; only what cannot be written
 * at once stays with the direction, until it is gone.
 *
 * Sessions live in chunks that are never freed, so that counters can be read by number without a lock: the number
 * holds a generation, which is checked before and after.
 */
#include "relay.h"

#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#ifdef __linux__
/* More of TCP than the C library's header knows. */
#include <linux/tcp.h>
#else
#include <netinet/tcp.h>
#endif
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#include "descriptors.h"
#include "join.h"
#include "poller.h"

#ifdef __linux__
#define CLOCK CLOCK_MONOTONIC_COARSE
#else
#define CLOCK CLOCK_MONOTONIC_FAST
#endif

#define BUFFER_SIZE (256u * 1024)
/* When this much waits in a worker, what waits more is kept small: many stuck peers must not take all memory. */
#define HELD_MANY (64u * 1024 * 1024)
#define BUFFER_SIZE_THEN (16u * 1024)
#define SPARE_BUFFERS 8
#define PIPE_SIZE (1024 * 1024)
#define SPARE_PIPES 8
/* Pipes a worker may have; beyond that, and without descriptors for more, octets are copied. */
#define PIPES 256
/* What is asked of splice() at first, and what a read must have brought for splice() to be worth its pages and pipe. From an MPTCP
 * socket the kernel takes a page for every 4096 octets asked for before it looks how many there are. */
#define ASK_MIN (64u * 1024)
#define BULK (32u * 1024)
/* Octets of one direction before others have their turn. */
#define TURN (1024u * 1024)
#define EVENTS 256
#define MAX_THREADS 64
#define CHUNK 1024u
#define CHUNKS 1024u
#define INDEX_BITS 20
#define TIMER_GRAIN_MS 20
/* How often joined directions are asked what they have moved; less often where there are many, each being a system call. */
#define LOOK_MS 250
#define LOOK_MANY_US 250
/* Keepalive is for sessions that last: those that end sooner do without the system calls. */
#define SETTLED_MS 1000
#define SETTLE_GRAIN_MS 100
/* A server that has sent this much at a stretch and then nothing for so long, or for two round trips, may be waiting for us. */
#define BURST (48u * 1024)
#define STARVED_MS 8
/* By then its own retransmission timer has helped. */
#define STARVED_NO_MORE_MS 180

enum { CLIENT, SERVER };
enum { UP, DOWN };

struct session;
struct worker;

struct side {
	struct session *session;
	int fd;
	unsigned interest;
	bool registered;
	/* Both ends of it are shut, which is reported for ever. */
	bool hung_up;
};

struct direction {
	/* Held: [start, end) of buffer, or `end - start` octets in the pipe. */
	uint8_t *buffer;
	uint32_t capacity, start, end;
	int pipe[2];
	uint32_t ask; /* of the next splice(); 0: the last read was small, and the next is a copy */
	bool joined;      /* the kernel moves what comes */
	bool unjoinable;  /* ... and cannot for these sockets */
	uint64_t before;  /* moved when it was joined */
	bool eof;  /* the source has no more */
	bool shut; /* and the sink has been told */
	_Atomic uint64_t moved;
};

struct session {
	_Atomic uint32_t generation;
	uint32_t index;
	/* Read by those who abort, perhaps a later session's: the generation in their command tells. */
	struct worker *_Atomic worker;
	struct session *next, **at; /* of the worker's sessions, or the free list */
	struct side sides[2];
	struct direction directions[2];
	struct am_session_options options;
	int64_t started, active;
	/* Subflows as they were when the first side had said everything: by the end some may be gone. NULL: not yet. */
	struct am_subflow *seen;
	int seen_count;
	bool settled; /* lasts, and has its keepalive */
	/* Of a session that is to be told of as starved; linked while it is in a burst. */
	struct session *burst_next, **burst_at;
	uint32_t burst;    /* octets from the server since it was last quiet */
	uint32_t patience; /* milliseconds of quiet that mean something; 0: not yet known */
	int64_t heard;
	bool dead;
};

struct command {
	struct command *next;
	struct session *session;
	uint32_t generation;
	bool abort;
	enum am_close_reason reason;
};

struct worker {
	struct am_relay *relay;
	pthread_t thread;
	struct am_poller poller;
	struct session *sessions; /* newest first, so those not settled are at the head */
	/* Ended in this turn: their numbers may still be in the batch of events. */
	struct session *graveyard;
	uint8_t *spare[SPARE_BUFFERS];
	unsigned spares;
	int spare_pipes[SPARE_PIPES][2];
	unsigned spare_pipe_count, pipes;
	size_t held;
	unsigned joined; /* directions */
	struct session *bursts;
	int64_t now, next_check, next_settle, next_look, next_quiet;
	_Atomic unsigned count;
	pthread_mutex_t mutex; /* commands, stopping */
	struct command *commands, **last;
	bool stopping;
};

struct am_relay {
	struct am_relay_config config;
	struct worker workers[MAX_THREADS];
	am_session_closed_fn on_closed;
	void *context;
	pthread_mutex_t mutex; /* chunks, free list */
	struct session *_Atomic chunks[CHUNKS];
	unsigned chunk_count;
	struct session *free;
};

static int64_t now_ms(void)
{
	struct timespec t;

	clock_gettime(CLOCK, &t);
	return (int64_t)t.tv_sec * 1000 + t.tv_nsec / 1000000;
}

static uint32_t held(const struct direction *d)
{
	return d->end - d->start;
}

static uint64_t session_number(const struct session *s)
{
	return (uint64_t)atomic_load(&s->generation) << INDEX_BITS | s->index;
}

/* ------------------------------------------------------------ buffers and pipes */

static uint8_t *take_buffer(struct worker *w)
{
	return w->spares > 0 ? w->spare[--w->spares] : malloc(BUFFER_SIZE);
}

static void give_buffer(struct worker *w, uint8_t *buffer, uint32_t capacity)
{
	if (capacity == BUFFER_SIZE && w->spares < SPARE_BUFFERS)
		w->spare[w->spares++] = buffer;
	else
		free(buffer);
}

static void close_pipe(struct worker *w, int ends[2])
{
	close(ends[0]);
	close(ends[1]);
	ends[0] = ends[1] = -1;
	w->pipes--;
}

static void release(struct worker *w, struct direction *d)
{
	if (d->buffer != NULL) {
		w->held -= d->capacity;
		give_buffer(w, d->buffer, d->capacity);
		d->buffer = NULL;
	}
	d->start = d->end = d->capacity = 0;
	if (d->pipe[0] >= 0 && w->spare_pipe_count == SPARE_PIPES)
		close_pipe(w, d->pipe);
	else if (d->pipe[0] >= 0)
		memcpy(w->spare_pipes[w->spare_pipe_count++], d->pipe, sizeof(d->pipe));
	d->pipe[0] = d->pipe[1] = -1;
}

#ifdef __linux__
static int take_pipe(struct worker *w, struct direction *d)
{
	if (w->spare_pipe_count > 0) {
		memcpy(d->pipe, w->spare_pipes[--w->spare_pipe_count], sizeof(d->pipe));
		return 0;
	}
	if (w->pipes >= PIPES)
		return -ENFILE;
	if (pipe2(d->pipe, O_NONBLOCK | O_CLOEXEC) < 0) {
		d->pipe[0] = d->pipe[1] = -1;
		return -errno;
	}
	w->pipes++;
	/* Beyond the user's share of pipe memory it stays small, which is slower and works. */
	fcntl(d->pipe[1], F_SETPIPE_SZ, PIPE_SIZE);
	return 0;
}

static ssize_t fill_pipe(int from, const struct direction *d)
{
	return splice(from, NULL, d->pipe[1], NULL, d->ask, SPLICE_F_MOVE | SPLICE_F_NONBLOCK);
}

static ssize_t drain_pipe(const struct direction *d, int to)
{
	return splice(d->pipe[0], NULL, to, NULL, held(d), SPLICE_F_MOVE | SPLICE_F_NONBLOCK);
}
#else
/* Without splice(2) everything is copied. */
static int take_pipe(struct worker *w, struct direction *d)
{
	(void)w;
	(void)d;
	return -EOPNOTSUPP;
}

static ssize_t fill_pipe(int from, const struct direction *d)
{
	(void)from;
	(void)d;
	errno = EOPNOTSUPP;
	return -1;
}

static ssize_t drain_pipe(const struct direction *d, int to)
{
	return fill_pipe(to, d);
}
#endif

/* ------------------------------------------------------------ directions left to the kernel */

static void moved_by_join(struct session *s, struct direction *d, int64_t octets)
{
	uint64_t now = d->before + (uint64_t)octets;

	if (octets < 0 || now == atomic_load_explicit(&d->moved, memory_order_relaxed))
		return;
	s->active = s->worker->now;
	atomic_store_explicit(&d->moved, now, memory_order_relaxed);
}

/* Nothing may be held. True: nothing is to be read here any more. */
static bool join(struct session *s, int way)
{
	struct worker *w = s->worker;
	struct direction *d = &s->directions[way];

	if (am_join(s->sides[way == UP ? CLIENT : SERVER].fd, s->sides[way == UP ? SERVER : CLIENT].fd) < 0) {
		/* What is wrong with a socket its own events tell. */
		d->unjoinable = true;
		return false;
	}
	d->before = atomic_load_explicit(&d->moved, memory_order_relaxed);
	d->joined = true;
	w->joined++;
	if (w->next_look > w->now + LOOK_MS)
		w->next_look = w->now + LOOK_MS;
	return true;
}

static void unjoin(struct session *s, int way)
{
	struct direction *d = &s->directions[way];

	if (!d->joined)
		return;
	moved_by_join(s, d, am_unjoin(s->sides[way == UP ? CLIENT : SERVER].fd));
	d->joined = false;
	s->worker->joined--;
}

static void look_at_joined(struct worker *w)
{
	int64_t pause = (int64_t)w->joined * LOOK_MANY_US / 1000;

	for (struct session *s = w->sessions; s != NULL && w->joined > 0; s = s->next)
		for (int way = UP; way <= DOWN; way++)
			if (s->directions[way].joined)
				moved_by_join(s, &s->directions[way], am_joined(s->sides[way == UP ? CLIENT : SERVER].fd));
	w->next_look = w->joined == 0 ? INT64_MAX : w->now + (pause > LOOK_MS ? pause : LOOK_MS);
}

/* ------------------------------------------------------------ ending */

/* Of the side that speaks MPTCP, if any. */
static int look_at_subflows(struct session *s, struct am_subflow *subflows)
{
	uint32_t token = 0;

	for (int i = SERVER; i >= CLIENT; i--) {
		int count = am_subflows(s->sides[i].fd, subflows, AM_SUBFLOWS_MAX, &token);

		if (count > 0 && token != 0)
			return count;
	}
	return 0;
}

static bool same_address(const struct sockaddr_storage *a, const struct sockaddr_storage *b)
{
	const struct sockaddr_in6 *a6 = (const struct sockaddr_in6 *)a, *b6 = (const struct sockaddr_in6 *)b;
	const struct sockaddr_in *a4 = (const struct sockaddr_in *)a, *b4 = (const struct sockaddr_in *)b;

	if (a->ss_family != b->ss_family || a4->sin_port != b4->sin_port)
		return false;
	if (a->ss_family == AF_INET6)
		return memcmp(&a6->sin6_addr, &b6->sin6_addr, sizeof(a6->sin6_addr)) == 0;
	return a4->sin_addr.s_addr == b4->sin_addr.s_addr;
}

static void remember_subflows(struct session *s)
{
	struct am_subflow subflows[AM_SUBFLOWS_MAX];
	int seen;

	if (s->seen != NULL)
		return;
	seen = look_at_subflows(s, subflows);
	if (seen == 0)
		return;
	s->seen = malloc((size_t)seen * sizeof(subflows[0]));
	if (s->seen == NULL)
		return;
	memcpy(s->seen, subflows, (size_t)seen * sizeof(subflows[0]));
	s->seen_count = seen;
}

/* Those that are gone by now are reported as they were last seen. */
static void report_subflows(struct session *s, struct am_session_report *report)
{
	int now = look_at_subflows(s, report->subflows);
	int kept = 0;

	/* A closed socket has lost its peer's address: then the earlier look is the better one. */
	for (int i = 0; i < now; i++)
		if (((struct sockaddr_in *)&report->subflows[i].remote)->sin_port != 0)
			report->subflows[kept++] = report->subflows[i];
	for (int i = 0; i < s->seen_count && kept < AM_SUBFLOWS_MAX; i++) {
		bool there = false;

		for (int j = 0; j < kept && !there; j++)
			there = same_address(&report->subflows[j].local, &s->seen[i].local) &&
			    same_address(&report->subflows[j].remote, &s->seen[i].remote);
		if (!there)
			report->subflows[kept++] = s->seen[i];
	}
	report->subflow_count = kept;
	free(s->seen);
	s->seen = NULL;
	s->seen_count = 0;
}

/* ------------------------------------------------------------ starving */

static void end_burst(struct session *s)
{
	s->burst = 0;
	if (s->burst_at == NULL)
		return;
	*s->burst_at = s->burst_next;
	if (s->burst_next != NULL)
		s->burst_next->burst_at = s->burst_at;
	s->burst_at = NULL;
}

static void in_burst(struct worker *w, struct session *s, size_t octets)
{
	if (!s->options.tell_starved)
		return;
	s->heard = w->now;
	s->patience = 0;
	if (s->burst_at != NULL || (s->burst += octets < BURST ? (uint32_t)octets : BURST) < BURST)
		return;
	s->burst_next = w->bursts;
	s->burst_at = &w->bursts;
	if (s->burst_next != NULL)
		s->burst_next->burst_at = &s->burst_next;
	w->bursts = s;
	if (w->next_quiet == INT64_MAX)
		w->next_quiet = w->now + STARVED_MS;
}

/* Quiet for longer than the way there and back would have it. 0: it is no matter of MPTCP. */
static uint32_t patience(const struct session *s)
{
	struct am_subflow subflows[AM_SUBFLOWS_MAX];
	uint32_t token = 0, rtt_us = 0;
	int count = am_subflows(s->sides[SERVER].fd, subflows, AM_SUBFLOWS_MAX, &token);

	if (count <= 0 || token == 0)
		return 0;
	for (int i = 0; i < count; i++)
		if (subflows[i].rtt_us > rtt_us)
			rtt_us = subflows[i].rtt_us;
	return rtt_us > STARVED_NO_MORE_MS * 1000 ? STARVED_NO_MORE_MS : STARVED_MS + rtt_us * 2 / 1000;
}

/*
 * A receiver's kernel may have acknowledged data to TCP while its MPTCP socket was being read, and so without the DATA_ACK that goes
 * with it (Linux up to 6.18 at least). When that was the last of what the sender may send, both wait until the sender's timer
 * runs out. Who is told here has another acknowledgement sent.
 */
static void look_for_starved(struct worker *w)
{
	for (struct session *s = w->bursts, *following; s != NULL; s = following) {
		int64_t quiet;

		following = s->burst_next;
		/* It is the client who does not take it. */
		if (held(&s->directions[DOWN]) > 0)
			s->heard = w->now;
		quiet = w->now - s->heard;
		if (quiet < STARVED_MS)
			continue;
		if (s->directions[DOWN].eof || (s->patience == 0 && (s->patience = patience(s)) == 0) ||
		    quiet >= STARVED_NO_MORE_MS) {
			end_burst(s);
			continue;
		}
		if (quiet < s->patience)
			continue;
		end_burst(s);
		w->relay->config.on_starved(w->relay->context, session_number(s));
	}
	w->next_quiet = w->bursts == NULL ? INT64_MAX : w->now + STARVED_MS;
}

static void finish(struct session *s, enum am_close_reason reason, int error)
{
	struct worker *w = s->worker;
	struct am_session_report report;
	bool reset_client = reason != AM_CLOSE_FINISHED && reason != AM_CLOSE_CLIENT_RESET;
	bool reset_server = reason != AM_CLOSE_FINISHED && reason != AM_CLOSE_SERVER_RESET;

	if (s->dead)
		return;
	s->dead = true;
	unjoin(s, UP);
	unjoin(s, DOWN);
	end_burst(s);
	memset(&report, 0, offsetof(struct am_session_report, subflows));
	report.session = session_number(s);
	report.reason = reason;
	report.error = error;
	report_subflows(s, &report);
	for (int i = 0; i < 2; i++) {
		/* A descriptor passed elsewhere would keep its place in the poller. */
		if (s->sides[i].registered)
			am_poller_forget(&w->poller, s->sides[i].fd);
		if (i == CLIENT ? reset_client : reset_server)
			am_reset_close(s->sides[i].fd);
		else
			close(s->sides[i].fd);
		if (held(&s->directions[i]) > 0 && s->directions[i].pipe[0] >= 0) {
			/* Not to be reused with somebody's octets in it. */
			close_pipe(w, s->directions[i].pipe);
		}
		release(w, &s->directions[i]);
	}
	report.up = atomic_load_explicit(&s->directions[UP].moved, memory_order_relaxed);
	report.down = atomic_load_explicit(&s->directions[DOWN].moved, memory_order_relaxed);
	report.duration_ms = (uint64_t)(now_ms() - s->started);

	*s->at = s->next;
	if (s->next != NULL)
		s->next->at = s->at;
	s->next = w->graveyard;
	w->graveyard = s;
	/* From here on the number means nothing. */
	atomic_fetch_add(&s->generation, 1);
	atomic_fetch_sub(&w->count, 1);
	w->relay->on_closed(w->relay->context, &report);
}

static void bury(struct worker *w)
{
	if (w->graveyard == NULL)
		return;
	pthread_mutex_lock(&w->relay->mutex);
	while (w->graveyard != NULL) {
		struct session *s = w->graveyard;

		w->graveyard = s->next;
		s->next = w->relay->free;
		w->relay->free = s;
	}
	pthread_mutex_unlock(&w->relay->mutex);
}

static void failed(struct session *s, int side, int error)
{
	if (error == ECONNRESET || error == EPIPE)
		finish(s, side == CLIENT ? AM_CLOSE_CLIENT_RESET : AM_CLOSE_SERVER_RESET, ECONNRESET);
	else
		finish(s, AM_CLOSE_ERROR, error);
}

/* ------------------------------------------------------------ moving */

/* Octets, 0 at the end, -EAGAIN when there is nothing now. Whether it is worth asking again at once: the poller says so as well. */
static ssize_t fill(struct worker *w, struct direction *d, enum am_relay_method method, int from, bool *more)
{
	bool by_pipe = method == AM_RELAY_SPLICE && d->ask != 0;
	uint32_t asked;
	ssize_t got;

	/* The other kind of room, empty now. */
	if (by_pipe ? d->buffer != NULL : d->pipe[0] >= 0)
		release(w, d);
	if (by_pipe && (d->pipe[0] >= 0 || take_pipe(w, d) == 0)) {
		asked = d->ask;
		got = fill_pipe(from, d);
		if (got == (ssize_t)asked)
			d->ask = asked < PIPE_SIZE / 2 ? asked * 2 : PIPE_SIZE;
		else if (got >= 0 && (size_t)got < asked / 4)
			d->ask = got < (ssize_t)BULK ? 0 : asked / 2 < ASK_MIN ? ASK_MIN : asked / 2;
	} else {
		if (d->buffer == NULL) {
			d->buffer = take_buffer(w);
			if (d->buffer == NULL)
				return -ENOMEM;
			d->capacity = BUFFER_SIZE;
			w->held += BUFFER_SIZE;
		}
		asked = w->held > HELD_MANY ? BUFFER_SIZE_THEN : BUFFER_SIZE;
		got = recv(from, d->buffer, asked, 0);
		if (got >= (ssize_t)BULK)
			d->ask = ASK_MIN;
	}
	if (got < 0)
		return errno == EINTR ? -EAGAIN : -errno;
	d->start = 0;
	d->end = (uint32_t)got;
	*more = (uint32_t)got >= asked / 2;
	return got;
}

static ssize_t drain(struct direction *d, int to)
{
	ssize_t put;

	if (d->pipe[0] >= 0)
		put = drain_pipe(d, to);
	else
		put = send(to, d->buffer + d->start, held(d), MSG_NOSIGNAL);
	if (put < 0)
		return errno == EINTR ? -EAGAIN : -errno;
	d->start += (uint32_t)put;
	return put;
}

/* A little that waits does not need a big buffer. */
static void shrink(struct worker *w, struct direction *d)
{
	uint32_t length = held(d);
	uint8_t *small;

	if (d->buffer == NULL || length == 0 || length > d->capacity / 4)
		return;
	small = malloc(length);
	if (small == NULL)
		return;
	memcpy(small, d->buffer + d->start, length);
	w->held -= d->capacity - length;
	give_buffer(w, d->buffer, d->capacity);
	d->buffer = small;
	d->capacity = length;
	d->start = 0;
	d->end = length;
}

/* Moves what can be moved. The session may have ended when it returns. */
static void pump(struct session *s, int way)
{
	struct worker *w = s->worker;
	struct direction *d = &s->directions[way];
	int from = way == UP ? CLIENT : SERVER;
	int to = way == UP ? SERVER : CLIENT;
	enum am_relay_method method = way == UP ? w->relay->config.up : w->relay->config.down;
	uint32_t budget = TURN;
	bool first = true;
	bool more = true;
	/* What could not be written at once was much. */
	bool bulk = method == AM_RELAY_JOIN && !d->unjoinable && held(d) > 0;

	/* It has ended, or there is more to say of the sockets than that. */
	unjoin(s, way);
	while (!s->dead) {
		if (held(d) > 0) {
			ssize_t put = drain(d, s->sides[to].fd);

			if (put == -EAGAIN)
				return shrink(w, d);
			if (put < 0)
				return failed(s, to, (int)-put);
			s->active = w->now;
			if (way == DOWN)
				in_burst(w, s, (size_t)put);
			atomic_store_explicit(&d->moved, atomic_load_explicit(&d->moved, memory_order_relaxed) + (uint64_t)put,
			    memory_order_relaxed);
			budget = (uint32_t)put < budget ? budget - (uint32_t)put : 0;
			if (held(d) > 0)
				continue;
			d->start = d->end = 0;
			if (d->capacity != 0 && d->capacity != BUFFER_SIZE)
				release(w, d);
			if (!bulk && (budget == 0 || !more))
				/* More may be waiting; the poller will say so after the others had their turn. */
				return release(w, d);
		}
		if (d->eof) {
			release(w, d);
			if (d->shut)
				return;
			d->shut = true;
			s->active = w->now;
			if (s->directions[!way].shut)
				/* Both have said everything: closing tells them. */
				return finish(s, AM_CLOSE_FINISHED, 0);
			remember_subflows(s);
			/* ENOTCONN: reset in the meantime, which its own event tells. */
			shutdown(s->sides[to].fd, SHUT_WR);
			return;
		}
		if (bulk && join(s, way))
			return release(w, d);
		ssize_t got = fill(w, d, method, s->sides[from].fd, &more);
		if (d->pipe[0] >= 0 && (got == 0 || (got == -EAGAIN && first))) {
			/* Readable, yet nothing to splice, or the end: an urgent octet may be next, and splice() does not
			 * see past it. recv() does, and what it says counts. */
			release(w, d);
			method = AM_RELAY_COPY;
			continue;
		}
		first = false;
		if (got == -EAGAIN)
			return release(w, d);
		if (got < 0) {
			d->start = d->end = 0;
			return failed(s, from, (int)-got);
		}
		if (got == 0) {
			d->eof = true;
			s->active = w->now;
		}
		bulk = method == AM_RELAY_JOIN && !d->unjoinable && got >= (ssize_t)BULK;
	}
}

static void update_interest(struct session *s, int which)
{
	struct side *side = &s->sides[which];
	struct direction *feeds = &s->directions[which == CLIENT ? UP : DOWN];
	struct direction *fed = &s->directions[which == CLIENT ? DOWN : UP];
	unsigned wanted = 0;
	int error;

	if (!feeds->eof && held(feeds) == 0)
		wanted |= AM_POLL_IN;
	if (held(fed) > 0)
		wanted |= AM_POLL_OUT;
	if (wanted == 0 && side->hung_up) {
		if (side->registered)
			am_poller_forget(&s->worker->poller, side->fd);
		side->registered = false;
		return;
	}
	if (side->registered && wanted == side->interest)
		return;
	error = am_poller_watch(&s->worker->poller, side->fd, side->registered ? (int)side->interest : -1, wanted, side);
	if (error < 0) {
		finish(s, AM_CLOSE_ERROR, -error);
		return;
	}
	side->registered = true;
	side->interest = wanted;
}

static void on_event(struct side *side, unsigned events)
{
	struct session *s = side->session;
	int which = side == &s->sides[CLIENT] ? CLIENT : SERVER;
	int feeds = which == CLIENT ? UP : DOWN;

	if (s->dead)
		return;
	if (events & AM_POLL_HANG_UP)
		side->hung_up = true;
	/* What came before a reset is read before the reset: it is the read that reports it. */
	if (events & (AM_POLL_IN | AM_POLL_ERROR | AM_POLL_HANG_UP) && !s->directions[feeds].shut && held(&s->directions[feeds]) == 0)
		pump(s, feeds);
	if (!s->dead && events & (AM_POLL_OUT | AM_POLL_HANG_UP) && held(&s->directions[!feeds]) > 0)
		pump(s, !feeds);
	if (!s->dead && events & AM_POLL_ERROR) {
		int error = 0;
		socklen_t length = sizeof(error);

		if (getsockopt(side->fd, SOL_SOCKET, SO_ERROR, &error, &length) == 0 && error != 0)
			failed(s, which, error);
	}
	for (int i = 0; i < 2 && !s->dead; i++)
		update_interest(s, i);
}

/* ------------------------------------------------------------ time */

static int64_t deadline(const struct session *s, enum am_close_reason *reason)
{
	bool half = s->directions[UP].eof || s->directions[DOWN].eof;
	uint32_t limit = s->options.idle_timeout_ms;

	*reason = AM_CLOSE_IDLE_TIMEOUT;
	if (half && s->options.half_open_timeout_ms != 0 && (limit == 0 || s->options.half_open_timeout_ms < limit)) {
		limit = s->options.half_open_timeout_ms;
		*reason = AM_CLOSE_HALF_OPEN_TIMEOUT;
	}
	return limit == 0 ? INT64_MAX : s->active + limit;
}

/* The earliest moment at which this session could be due, whatever happens to it meanwhile. */
static int64_t earliest(const struct session *s, int64_t now)
{
	uint32_t idle = s->options.idle_timeout_ms, half = s->options.half_open_timeout_ms;
	uint32_t least = idle == 0 || (half != 0 && half < idle) ? half : idle;
	enum am_close_reason reason;
	int64_t due = deadline(s, &reason);

	if (least == 0)
		return INT64_MAX;
	return due < now + least ? due : now + least;
}

static void check_timeouts(struct worker *w)
{
	int64_t next = INT64_MAX;

	for (struct session *s = w->sessions, *following; s != NULL; s = following) {
		enum am_close_reason reason;

		following = s->next;
		if (deadline(s, &reason) <= w->now) {
			finish(s, reason, 0);
			continue;
		}
		int64_t due = earliest(s, w->now);
		if (due < next)
			next = due;
	}
	w->next_check = next == INT64_MAX ? next : (next < w->now + TIMER_GRAIN_MS ? w->now + TIMER_GRAIN_MS : next);
}

/* ------------------------------------------------------------ the thread */

static void set_options(int fd)
{
	int on = 1;
	int flags = fcntl(fd, F_GETFL);

	if (flags >= 0 && (flags & O_NONBLOCK) == 0)
		fcntl(fd, F_SETFL, flags | O_NONBLOCK);
	/* We pass on what arrives when it arrives: waiting for more is the endpoints' business. */
	setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof(on));
	/* Urgent octets stay where they are in the stream instead of getting lost beside it. */
	setsockopt(fd, SOL_SOCKET, SO_OOBINLINE, &on, sizeof(on));
}

static void set_keepalive(int fd, uint32_t keepalive_s)
{
	int idle = keepalive_s > 32767 ? 32767 : (int)keepalive_s;
	int interval = idle > 15 ? 15 : idle;
	int probes = 4;
	int on = 1;

	setsockopt(fd, SOL_SOCKET, SO_KEEPALIVE, &on, sizeof(on));
	setsockopt(fd, IPPROTO_TCP, TCP_KEEPIDLE, &idle, sizeof(idle));
	setsockopt(fd, IPPROTO_TCP, TCP_KEEPINTVL, &interval, sizeof(interval));
	setsockopt(fd, IPPROTO_TCP, TCP_KEEPCNT, &probes, sizeof(probes));
}

static void settle(struct worker *w)
{
	w->next_settle = INT64_MAX;
	for (struct session *s = w->sessions; s != NULL && !s->settled; s = s->next) {
		if (s->started + SETTLED_MS > w->now) {
			w->next_settle = s->started + SETTLED_MS;
			continue;
		}
		s->settled = true;
		for (int i = 0; i < 2 && s->options.keepalive_s != 0; i++)
			set_keepalive(s->sides[i].fd, s->options.keepalive_s);
	}
	if (w->next_settle < w->now + SETTLE_GRAIN_MS)
		w->next_settle = w->now + SETTLE_GRAIN_MS;
}

static void begin(struct worker *w, struct session *s)
{
	int64_t due;

	s->started = s->active = w->now;
	s->next = w->sessions;
	s->at = &w->sessions;
	if (s->next != NULL)
		s->next->at = &s->next;
	w->sessions = s;
	if (w->next_settle > w->now + SETTLED_MS)
		w->next_settle = w->now + SETTLED_MS;
	for (int i = 0; i < 2; i++)
		set_options(s->sides[i].fd);
	/* The client has mostly said something while its server was looked for. */
	pump(s, UP);
	for (int i = 0; i < 2 && !s->dead; i++)
		update_interest(s, i);
	due = earliest(s, w->now);
	if (!s->dead && due < w->next_check)
		w->next_check = due;
}

static void obey(struct worker *w)
{
	struct command *list;

	pthread_mutex_lock(&w->mutex);
	list = w->commands;
	w->commands = NULL;
	w->last = &w->commands;
	pthread_mutex_unlock(&w->mutex);
	while (list != NULL) {
		struct command *c = list;

		list = c->next;
		if (!c->abort)
			begin(w, c->session);
		else if (atomic_load(&c->session->generation) == c->generation)
			finish(c->session, c->reason, 0);
		free(c);
	}
}

static void *run(void *argument)
{
	struct worker *w = argument;
	struct am_poll_event events[EVENTS];
	sigset_t pipe_signal;

	/* splice() knows no MSG_NOSIGNAL. */
	sigemptyset(&pipe_signal);
	sigaddset(&pipe_signal, SIGPIPE);
	pthread_sigmask(SIG_BLOCK, &pipe_signal, NULL);
	for (;;) {
		bool stopping;
		int64_t wait;

		pthread_mutex_lock(&w->mutex);
		stopping = w->stopping;
		pthread_mutex_unlock(&w->mutex);
		if (stopping)
			break;
		wait = w->next_check < w->next_settle ? w->next_check : w->next_settle;
		if (w->next_look < wait)
			wait = w->next_look;
		if (w->next_quiet < wait)
			wait = w->next_quiet;
		wait = wait == INT64_MAX ? 60000 : wait - w->now + 1;
		if (wait < 0)
			wait = 0;
		int count = am_poller_wait(&w->poller, events, EVENTS, (int)(wait > 60000 ? 60000 : wait));
		w->now = now_ms();
		bool told = false;
		for (int i = 0; i < count; i++) {
			if (events[i].data == NULL)
				told = true;
			else
				on_event(events[i].data, events[i].what);
		}
		if (told)
			obey(w);
		/* First: what the kernel has moved is no idleness. */
		if (w->next_look <= w->now)
			look_at_joined(w);
		if (w->next_check <= w->now)
			check_timeouts(w);
		if (w->next_settle <= w->now)
			settle(w);
		if (w->next_quiet <= w->now)
			look_for_starved(w);
		bury(w);
		/* A burst is over: one buffer and one pipe are enough to start the next one. */
		while (count <= 0 && w->spares > 1)
			free(w->spare[--w->spares]);
		while (count <= 0 && w->spare_pipe_count > 1)
			close_pipe(w, w->spare_pipes[--w->spare_pipe_count]);
	}
	obey(w);
	while (w->sessions != NULL)
		finish(w->sessions, AM_CLOSE_KILLED, 0);
	bury(w);
	return NULL;
}

static int tell(struct worker *w, struct session *s, uint32_t generation, bool abort_it, enum am_close_reason reason)
{
	struct command *c = malloc(sizeof(*c));
	bool first;

	if (c == NULL)
		return -ENOMEM;
	*c = (struct command){ .session = s, .generation = generation, .abort = abort_it, .reason = reason };
	pthread_mutex_lock(&w->mutex);
	first = w->commands == NULL;
	*w->last = c;
	w->last = &c->next;
	pthread_mutex_unlock(&w->mutex);
	if (first)
		am_poller_wake(&w->poller);
	return 0;
}

/* ------------------------------------------------------------ from outside */

static void free_relay(struct am_relay *r, unsigned workers)
{
	for (unsigned i = 0; i < workers; i++) {
		struct worker *w = &r->workers[i];

		while (w->spares > 0)
			free(w->spare[--w->spares]);
		while (w->spare_pipe_count > 0)
			close_pipe(w, w->spare_pipes[--w->spare_pipe_count]);
		am_poller_close(&w->poller);
		pthread_mutex_destroy(&w->mutex);
	}
	for (unsigned i = 0; i < r->chunk_count; i++)
		free(atomic_load(&r->chunks[i]));
	pthread_mutex_destroy(&r->mutex);
	free(r);
}

static void stop_workers(struct am_relay *r, unsigned workers)
{
	for (unsigned i = 0; i < workers; i++) {
		pthread_mutex_lock(&r->workers[i].mutex);
		r->workers[i].stopping = true;
		pthread_mutex_unlock(&r->workers[i].mutex);
		am_poller_wake(&r->workers[i].poller);
	}
	for (unsigned i = 0; i < workers; i++)
		pthread_join(r->workers[i].thread, NULL);
}

int am_relay_start(struct am_relay **out, const struct am_relay_config *config, am_session_closed_fn on_closed, void *context)
{
	struct am_relay *r;
	int error = 0;
	unsigned i;

	if (config->threads < 1 || config->threads > MAX_THREADS)
		return -EINVAL;
	r = calloc(1, sizeof(*r));
	if (r == NULL)
		return -ENOMEM;
	r->config = *config;
	r->on_closed = on_closed;
	r->context = context;
	pthread_mutex_init(&r->mutex, NULL);
	for (i = 0; i < config->threads; i++) {
		struct worker *w = &r->workers[i];

		w->relay = r;
		w->last = &w->commands;
		w->now = now_ms();
		w->next_check = w->next_settle = w->next_look = w->next_quiet = INT64_MAX;
		pthread_mutex_init(&w->mutex, NULL);
		error = -am_poller_open(&w->poller);
		if (error == 0)
			error = pthread_create(&w->thread, NULL, run, w);
		if (error != 0) {
			am_poller_close(&w->poller);
			pthread_mutex_destroy(&w->mutex);
			break;
		}
	}
	if (error != 0) {
		stop_workers(r, i);
		free_relay(r, i);
		return -error;
	}
	*out = r;
	return 0;
}

static struct session *take_session(struct am_relay *r)
{
	struct session *s;

	pthread_mutex_lock(&r->mutex);
	if (r->free == NULL && r->chunk_count < CHUNKS) {
		struct session *chunk = calloc(CHUNK, sizeof(*chunk));

		if (chunk != NULL) {
			for (unsigned i = CHUNK; i-- > 0;) {
				chunk[i].index = r->chunk_count * CHUNK + i;
				atomic_store(&chunk[i].generation, 1);
				chunk[i].dead = true;
				chunk[i].next = r->free;
				r->free = &chunk[i];
			}
			atomic_store(&r->chunks[r->chunk_count++], chunk);
		}
	}
	s = r->free;
	if (s != NULL)
		r->free = s->next;
	pthread_mutex_unlock(&r->mutex);
	return s;
}

static struct session *find_session(struct am_relay *r, uint64_t number, uint32_t *generation)
{
	uint32_t index = number & ((1u << INDEX_BITS) - 1);
	struct session *chunk = atomic_load(&r->chunks[index / CHUNK]);

	*generation = (uint32_t)(number >> INDEX_BITS);
	return chunk == NULL ? NULL : &chunk[index % CHUNK];
}

int am_relay_run(struct am_relay *r, int client, int server, const struct am_session_options *options, uint64_t *number)
{
	struct worker *w = &r->workers[0];
	struct session *s;
	int error;

	if (client < 0 || server < 0 || client == server || fcntl(client, F_GETFD) < 0 || fcntl(server, F_GETFD) < 0)
		return -EBADF;
	s = take_session(r);
	if (s == NULL)
		return -ENOMEM;
	for (unsigned i = 1; i < r->config.threads; i++)
		if (atomic_load(&r->workers[i].count) < atomic_load(&w->count))
			w = &r->workers[i];
	s->worker = w;
	s->seen = NULL;
	s->seen_count = 0;
	s->settled = false;
	s->dead = false;
	s->options = *options;
	s->options.tell_starved = options->tell_starved && r->config.on_starved != NULL;
	s->burst_at = NULL;
	s->burst = s->patience = 0;
	for (int i = 0; i < 2; i++) {
		s->sides[i] = (struct side){ .session = s, .fd = i == CLIENT ? client : server };
		struct direction *d = &s->directions[i];
		d->buffer = NULL;
		d->capacity = d->start = d->end = d->ask = 0;
		d->pipe[0] = d->pipe[1] = -1;
		d->eof = d->shut = d->joined = d->unjoinable = false;
		atomic_store(&d->moved, 0);
	}
	*number = session_number(s);
	atomic_fetch_add(&w->count, 1);
	error = tell(w, s, 0, false, AM_CLOSE_FINISHED);
	if (error != 0) {
		atomic_fetch_sub(&w->count, 1);
		atomic_fetch_add(&s->generation, 1);
		pthread_mutex_lock(&r->mutex);
		s->next = r->free;
		r->free = s;
		pthread_mutex_unlock(&r->mutex);
	}
	return error;
}

int am_relay_counters(struct am_relay *r, uint64_t number, uint64_t *up, uint64_t *down)
{
	uint32_t generation;
	struct session *s = find_session(r, number, &generation);

	if (s == NULL || atomic_load(&s->generation) != generation)
		return -ENOENT;
	*up = atomic_load(&s->directions[UP].moved);
	*down = atomic_load(&s->directions[DOWN].moved);
	return atomic_load(&s->generation) == generation ? 0 : -ENOENT;
}

void am_relay_abort(struct am_relay *r, uint64_t number, enum am_close_reason reason)
{
	uint32_t generation;
	struct session *s = find_session(r, number, &generation);
	struct worker *w = s == NULL ? NULL : atomic_load(&s->worker);

	/* No worker: a number nobody has been given yet. */
	if (w != NULL && atomic_load(&s->generation) == generation)
		tell(w, s, generation, true, reason);
}

unsigned am_relay_sessions(struct am_relay *r)
{
	unsigned total = 0;

	for (unsigned i = 0; i < r->config.threads; i++)
		total += atomic_load(&r->workers[i].count);
	return total;
}

void am_relay_stop(struct am_relay *r)
{
	stop_workers(r, r->config.threads);
	free_relay(r, r->config.threads);
}
