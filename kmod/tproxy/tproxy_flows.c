/* SPDX-License-Identifier: BSD-2-Clause */

/* The registry of flows, and what forgets them. */
#include "opt_inet.h"
#include "opt_inet6.h"

#include "tproxy_var.h"

#include <sys/kernel.h>
#include <sys/protosw.h>
#include <sys/socketvar.h>

#include <crypto/siphash/siphash.h>

#include <netinet/in_pcb.h>
#include <netinet/tcp.h>
#include <netinet/tcp_fsm.h>
#include <netinet/tcp_var.h>
#include <netinet6/in6_pcb.h>

#define	TPROXY_TICKS	10			/* of the timer, a second */
#define	TPROXY_SWEEP	5			/* seconds in which the collector has seen every flow */

static void tproxy_tick(void *argument);

uint64_t
tproxy_hash(const struct tproxy_softc *sc, const struct tproxy_key *key)
{
	SIPHASH_CTX context;

	/* Clients choose their ports: the hash is keyed. */
	return (SipHashX(&context, 2, 4, sc->sc_key, key, sizeof(*key)));
}

struct tproxy_flow *
tproxy_find(struct tproxy_softc *sc, const struct tproxy_key *key)
{
	struct tproxy_flow *flow;

	CK_LIST_FOREACH(flow, &sc->sc_buckets[tproxy_hash(sc, key) & sc->sc_mask], f_next)
		if (memcmp(&flow->f_key, key, sizeof(*key)) == 0)
			return (flow);
	return (NULL);
}

/* What the stack has under exactly these addresses. CLOSED: nothing but the memory of one (TIME_WAIT). */
enum tproxy_connection
tproxy_connection(const struct tproxy_key *key)
{
	struct inpcb *inp = NULL;
	struct tcpcb *tp;
	enum tproxy_connection found;

	NET_EPOCH_ASSERT();
#ifdef INET
	if (key->k_family == AF_INET) {
		struct in_addr client, destination;

		memcpy(&client, key->k_client, sizeof(client));
		memcpy(&destination, key->k_destination, sizeof(destination));
		inp = in_pcblookup(&V_tcbinfo, client, key->k_client_port, destination, key->k_destination_port,
		    INPLOOKUP_RLOCKPCB, NULL);
	}
#endif
#ifdef INET6
	if (key->k_family == AF_INET6) {
		struct in6_addr client, destination;

		memcpy(&client, key->k_client, sizeof(client));
		memcpy(&destination, key->k_destination, sizeof(destination));
		inp = in6_pcblookup(&V_tcbinfo, &client, key->k_client_port, &destination, key->k_destination_port,
		    INPLOOKUP_RLOCKPCB, NULL);
	}
#endif
	if (inp == NULL)
		return (TPROXY_NONE);
	tp = intotcpcb(inp);
	found = tp->t_state == TCPS_TIME_WAIT || tp->t_state == TCPS_CLOSED ? TPROXY_CLOSED : TPROXY_OPEN;
	INP_RUNLOCK(inp);
	return (found);
}

static void
tproxy_flow_free(epoch_context_t context)
{
	free(__containerof(context, struct tproxy_flow, f_epoch), M_TPROXY);
}

static void
tproxy_unlink(struct tproxy_softc *sc, struct tproxy_flow *flow)
{
	struct tproxy_flow *further;

	mtx_assert(&tproxy_mtx, MA_OWNED);
	MPASS(flow->f_linked);
	while ((further = LIST_FIRST(&flow->f_further)) != NULL) {
		LIST_REMOVE(further, f_sibling);
		further->f_first = NULL;
	}
	if (flow->f_first != NULL) {
		LIST_REMOVE(flow, f_sibling);
		flow->f_first->f_nfurther--;
	}
	CK_LIST_REMOVE(flow, f_next);
	LIST_REMOVE(flow, f_own);
	flow->f_linked = false;
	sc->sc_nflows--;
	NET_EPOCH_CALL(tproxy_flow_free, &flow->f_epoch);
}

static void
tproxy_link(struct tproxy_softc *sc, struct tproxy_client *client, struct tproxy_flow *flow)
{
	mtx_assert(&tproxy_mtx, MA_OWNED);
	flow->f_client = client;
	flow->f_made_ms = modctl_now_ms();
	flow->f_deadline_ms = flow->f_made_ms + (uint64_t)V_tproxy_connect_timeout * 1000;
	flow->f_state = TPROXY_FLOW_WAITING;
	flow->f_linked = true;
	CK_LIST_INSERT_HEAD(&sc->sc_buckets[tproxy_hash(sc, &flow->f_key) & sc->sc_mask], flow, f_next);
	LIST_INSERT_HEAD(&client->c_flows, flow, f_own);
	sc->sc_nflows++;
}

/* Takes over `flow` on success. One that is registered already begins anew; packets find one of both at any time. */
int
tproxy_register(struct tproxy_softc *sc, struct tproxy_client *client, struct tproxy_flow *flow)
{
	struct tproxy_flow *old;

	mtx_lock(&tproxy_mtx);
	old = tproxy_find(sc, &flow->f_key);
	if (old != NULL && old->f_client != client) {
		mtx_unlock(&tproxy_mtx);
		return (EEXIST);
	}
	if (old == NULL && sc->sc_nflows >= tproxy_max_flows) {
		mtx_unlock(&tproxy_mtx);
		return (ENOSPC);
	}
	tproxy_link(sc, client, flow);
	if (old != NULL)
		tproxy_unlink(sc, old);
	mtx_unlock(&tproxy_mtx);
	TPROXY_COUNT(registered);
	if (old != NULL)
		TPROXY_COUNT(superseded);
	return (0);
}

/*
 * A further subflow of the connection whose first one `first` is: registered as that one is, by the same descriptor. NULL: that one is not
 * registered, or went elsewhere, or there is no room. A client with one connection is not to have any flow it likes registered: the
 * destination is that of the first, or one (`wanted`) whose SYNs are captured.
 */
struct tproxy_flow *
tproxy_register_further(struct tproxy_softc *sc, const struct tproxy_key *key, const struct tproxy_key *first, bool wanted)
{
	struct tproxy_flow *flow, *old, *root;

	if (!wanted && (key->k_family != first->k_family || key->k_destination_port != first->k_destination_port ||
	    memcmp(key->k_destination, first->k_destination, sizeof(key->k_destination)) != 0))
		return (NULL);
	flow = malloc(sizeof(*flow), M_TPROXY, M_NOWAIT | M_ZERO);
	if (flow == NULL) {
		TPROXY_COUNT(nomem);
		return (NULL);
	}
	flow->f_key = *key;
	mtx_lock(&tproxy_mtx);
	old = tproxy_find(sc, key);
	root = tproxy_find(sc, first);
	/* The packet may have been overtaken by one like it. */
	if (old != NULL || root == NULL || root->f_state == TPROXY_FLOW_PASSED ||
	    root->f_nfurther >= TPROXY_FURTHER_MAX || sc->sc_nflows >= tproxy_max_flows) {
		mtx_unlock(&tproxy_mtx);
		free(flow, M_TPROXY);
		return (old);
	}
	/* Whose name is a formality: mptcp(4) takes the SYN. */
	if (root->f_key.k_family == key->k_family)
		flow->f_listener = root->f_listener;
	else if (key->k_family == AF_INET6)
		flow->f_listener.sin6 = (struct sockaddr_in6){ .sin6_len = sizeof(struct sockaddr_in6), .sin6_family = AF_INET6,
		    .sin6_port = 1, .sin6_addr = IN6ADDR_LOOPBACK_INIT };
	else
		flow->f_listener.sin = (struct sockaddr_in){ .sin_len = sizeof(struct sockaddr_in), .sin_family = AF_INET,
		    .sin_port = 1, .sin_addr = { htonl(INADDR_LOOPBACK) } };
	flow->f_first = root;
	flow->f_further_one = true;
	LIST_INSERT_HEAD(&root->f_further, flow, f_sibling);
	root->f_nfurther++;
	tproxy_link(sc, root->f_client, flow);
	mtx_unlock(&tproxy_mtx);
	TPROXY_COUNT(joined);
	return (flow);
}

/* Its SYN was refused: there will be no connection. */
void
tproxy_forget_further(struct tproxy_softc *sc, struct tproxy_flow *flow)
{
	mtx_lock(&tproxy_mtx);
	if (flow->f_linked && flow->f_state == TPROXY_FLOW_WAITING)
		tproxy_unlink(sc, flow);
	mtx_unlock(&tproxy_mtx);
}

int
tproxy_unregister(struct tproxy_softc *sc, struct tproxy_client *client, const struct tproxy_key *key)
{
	struct tproxy_flow *flow;
	int error = 0;

	mtx_lock(&tproxy_mtx);
	flow = tproxy_find(sc, key);
	if (flow == NULL)
		error = ENOENT;
	else if (flow->f_client != client)
		error = EPERM;
	else
		tproxy_unlink(sc, flow);
	mtx_unlock(&tproxy_mtx);
	if (error == 0)
		TPROXY_COUNT(unregistered);
	return (error);
}

void
tproxy_unregister_all(struct tproxy_softc *sc, struct tproxy_client *client)
{
	struct tproxy_flow *flow;
	u_int count;

	/* In pieces, so that a timer or a packet that waits for the lock does not wait for all of it. */
	do {
		mtx_lock(&tproxy_mtx);
		for (count = 0; count < 256 && (flow = LIST_FIRST(&client->c_flows)) != NULL; count++)
			tproxy_unlink(sc, flow);
		mtx_unlock(&tproxy_mtx);
		TPROXY_COUNT_ADD(unregistered, count);
	} while (count == 256);
}

/* Decides about one flow, without the lock; true if it is to be forgotten. */
static bool
tproxy_judge(struct tproxy_flow *flow, uint64_t now)
{
	switch (flow->f_state) {
	case TPROXY_FLOW_WAITING:
		if (tproxy_connection(&flow->f_key) == TPROXY_OPEN) {
			atomic_cmpset_32(&flow->f_state, TPROXY_FLOW_WAITING, TPROXY_FLOW_CONNECTED);
			return (false);
		}
		return (now >= flow->f_deadline_ms);
	case TPROXY_FLOW_CONNECTED:
		if (tproxy_connection(&flow->f_key) == TPROXY_NONE) {
			flow->f_deadline_ms = now + (uint64_t)V_tproxy_linger * 1000;
			atomic_cmpset_32(&flow->f_state, TPROXY_FLOW_CONNECTED, TPROXY_FLOW_GONE);
		}
		return (false);
	case TPROXY_FLOW_GONE:
		/* A connection can outlive its first subflow, and those that join it later are known by that one. */
		return (now >= flow->f_deadline_ms && flow->f_nfurther == 0);
	default:
		return (true);
	}
}

/* Looks at the next share of the registry. */
static void
tproxy_sweep(struct tproxy_softc *sc, uint64_t now)
{
	struct tproxy_flow *flow, *next;
	u_int share = howmany(sc->sc_mask + 1, TPROXY_TICKS * TPROXY_SWEEP);
	uint32_t state;

	if (sc->sc_nflows == 0)
		return;
	for (u_int i = 0; i < share; i++, sc->sc_sweep = (sc->sc_sweep + 1) & sc->sc_mask) {
		CK_LIST_FOREACH_SAFE(flow, &sc->sc_buckets[sc->sc_sweep], f_next, next) {
			if (!tproxy_judge(flow, now))
				continue;
			mtx_lock(&tproxy_mtx);
			state = flow->f_state;
			/* Its owner may have been quicker. */
			if (flow->f_linked)
				tproxy_unlink(sc, flow);
			else
				state = 0;
			mtx_unlock(&tproxy_mtx);
			if (state == TPROXY_FLOW_WAITING)
				TPROXY_COUNT(expired);
			else if (state == TPROXY_FLOW_PASSED)
				TPROXY_COUNT(superseded);
			else if (state != 0)
				TPROXY_COUNT(collected);
		}
	}
}

static void
tproxy_tick(void *argument)
{
	struct tproxy_softc *sc = argument;
	struct epoch_tracker et;
	uint64_t now = modctl_now_ms();

	CURVNET_SET(sc->sc_vnet);
	NET_EPOCH_ENTER(et);
	tproxy_sweep(sc, now);
	tproxy_capture_expire(sc, now);
	NET_EPOCH_EXIT(et);
	CURVNET_RESTORE();
	callout_schedule(&sc->sc_timer, hz / TPROXY_TICKS);
}

/* For the first descriptor of the current network stack that is open for writing. */
struct tproxy_softc *
tproxy_attach(void)
{
	struct tproxy_softc *sc;
	u_int buckets = 1;

	sx_assert(&tproxy_sx, SA_XLOCKED);
	MPASS(V_tproxy_softc == NULL);
	while (buckets < tproxy_buckets && buckets < (1U << 20))
		buckets <<= 1;
	sc = malloc(sizeof(*sc), M_TPROXY, M_WAITOK | M_ZERO);
	sc->sc_vnet = curvnet;
	sc->sc_buckets = mallocarray(buckets, sizeof(*sc->sc_buckets), M_TPROXY, M_WAITOK | M_ZERO);
	sc->sc_mask = buckets - 1;
	for (u_int i = 0; i < buckets; i++)
		CK_LIST_INIT(&sc->sc_buckets[i]);
	for (u_int i = 0; i < TPROXY_HELD_BUCKETS; i++)
		LIST_INIT(&sc->sc_held[i]);
	TAILQ_INIT(&sc->sc_ages);
	TAILQ_INIT(&sc->sc_unread);
	arc4rand(sc->sc_key, sizeof(sc->sc_key), 0);
	callout_init(&sc->sc_timer, 1);
	if (tproxy_hooks_add(sc) != 0) {
		NET_EPOCH_WAIT();
		free(sc->sc_buckets, M_TPROXY);
		free(sc, M_TPROXY);
		return (NULL);
	}
	V_tproxy_softc = sc;
	callout_reset(&sc->sc_timer, hz / TPROXY_TICKS, tproxy_tick, sc);
	return (sc);
}

/* When no descriptor is open for writing any more: there are no flows and no SYNs held. */
void
tproxy_detach(struct tproxy_softc *sc)
{
	sx_assert(&tproxy_sx, SA_XLOCKED);
	MPASS(sc->sc_nflows == 0 && sc->sc_nheld == 0);
	V_tproxy_softc = NULL;
	tproxy_hooks_remove(sc);
	callout_drain(&sc->sc_timer);
	/* Packets that are in the hook still look at it. */
	NET_EPOCH_WAIT();
	free(sc->sc_buckets, M_TPROXY);
	free(sc, M_TPROXY);
}
