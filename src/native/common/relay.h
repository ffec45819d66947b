/* SPDX-License-Identifier: BSD-2-Clause */
#ifndef AMPTCP_RELAY_H
#define AMPTCP_RELAY_H

/*
 * Moves bytes between pairs of sockets in threads of its own. Functions return >= 0 or -errno; they may be called from
 * any thread, with the number of a session that has ended as well.
 */

#include <stdint.h>

#include "subflow.h"

#ifdef __cplusplus
extern "C" {
#endif

struct am_relay;

enum am_close_reason {
	AM_CLOSE_FINISHED,
	AM_CLOSE_CLIENT_RESET,
	AM_CLOSE_SERVER_RESET,
	AM_CLOSE_IDLE_TIMEOUT,
	AM_CLOSE_HALF_OPEN_TIMEOUT,
	AM_CLOSE_KILLED,
	AM_CLOSE_DRAIN,
	AM_CLOSE_ERROR,
	AM_CLOSE_REASONS,
};

/* How a direction's bytes are moved. */
enum am_relay_method {
	AM_RELAY_COPY,
	AM_RELAY_SPLICE,
	/* As AM_RELAY_COPY; what turns out to be much is left to the kernel where it can join sockets. */
	AM_RELAY_JOIN,
};

/*
 * Called in a relay thread: after a burst, the server has been quiet for longer than its distance explains, and may wait for an
 * acknowledgement that a kernel has forgotten.
 */
typedef void (*am_session_starved_fn)(void *context, uint64_t session);

struct am_relay_config {
	unsigned threads;
	enum am_relay_method up, down;
	am_session_starved_fn on_starved; /* NULL: nobody wants to know */
};

struct am_session_options {
	/* 0: none. */
	uint32_t idle_timeout_ms, half_open_timeout_ms, keepalive_s;
	int tell_starved;
};

struct am_session_report {
	uint64_t session;
	enum am_close_reason reason;
	/* errno, 0 for none. */
	int error;
	/* Octets delivered to the server and to the client. */
	uint64_t up, down;
	uint64_t duration_ms;
	/* Of the side that speaks MPTCP, taken just before it was closed; 0 entries where neither does. */
	int subflow_count;
	struct am_subflow subflows[AM_SUBFLOWS_MAX];
};

/* Called in a relay thread; both sockets are closed by then. */
typedef void (*am_session_closed_fn)(void *context, const struct am_session_report *report);

int am_relay_start(struct am_relay **out, const struct am_relay_config *config, am_session_closed_fn on_closed, void *context);
/* Takes ownership of both sockets unless it fails. Session numbers are below 2^52 and never used twice. */
int am_relay_run(struct am_relay *relay, int client, int server, const struct am_session_options *options, uint64_t *session);
/* -ENOENT: ended. */
int am_relay_counters(struct am_relay *relay, uint64_t session, uint64_t *up, uint64_t *down);
/* RST towards both sides. Without effect on a session that has ended. */
void am_relay_abort(struct am_relay *relay, uint64_t session, enum am_close_reason reason);
unsigned am_relay_sessions(struct am_relay *relay);
/* Ends every session with AM_CLOSE_KILLED; `on_closed` is not called any more when it returns. */
void am_relay_stop(struct am_relay *relay);

#ifdef __cplusplus
}
#endif

#endif
