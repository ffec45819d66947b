/* SPDX-License-Identifier: BSD-2-Clause */
#include "plane_core.h"

#include <time.h>
#include <unistd.h>
#ifdef __linux__
#include <sys/random.h>
#endif

/* For each direction: a flood from outside of sources nobody knows must not keep this site's own packets from waiting. */
#define	HELD_PACKETS		512u
#define	HELD_OCTETS		(4u << 20)
#define	HELD_PER_EID		32u
#define	HELD_MS			3000u
#define	EVENTS			1024u
#define	EVENTS_PER_SECOND	1000u
#define	MISS_SLOTS		256u
#define	MISS_REPEAT_MS		250u	/* one miss event per EID in this time; the control plane repeats requests by itself */
#define	GLEANED_IDLE_MS		300000u
#define	PATH_MTU_MS		600000u	/* RFC 1191 section 6.3: ten minutes */
#define	ICMP_PER_SECOND		200u

struct bucket {
	uint64_t	second;
	uint32_t	used;
};

struct am_core {
	pthread_rwlock_t	lock;		/* over tables and iid */
	struct lisp_tables	tables;
	uint32_t		iid;

	uint64_t		encapsulated;	/* relaxed atomics from here */
	uint64_t		decapsulated;
	uint64_t		icmp_sent;
	uint64_t		drops[LISP_DROP_COUNT];

	pthread_mutex_t		held_lock;
	struct am_held		*held;		/* oldest first */
	struct am_held		**held_tail;
	struct am_held		*released[2];
	struct am_held		**released_tail[2];
	uint32_t		nreleased[2];	/* read without the lock */
	uint32_t		nheld[2];
	size_t			held_octets[2];

	pthread_mutex_t		event_lock;
	struct am_event		events[EVENTS];
	unsigned		first_event;
	unsigned		nevents;
	uint64_t		events_dropped;
	struct bucket		event_buckets[AM_EVENT_TYPES][2];	/* for each direction, for the reason of HELD_PACKETS */
	struct bucket		icmp_bucket;
	struct { uint32_t hash; uint64_t last_ms; } misses[MISS_SLOTS];
	am_notify		*notify;
	void			*context;
};

uint64_t
am_now_ms(void)
{
	struct timespec now;

	clock_gettime(CLOCK_MONOTONIC, &now);
	return ((uint64_t)now.tv_sec * 1000 + (uint64_t)now.tv_nsec / 1000000);
}

static uint32_t
random32(void)
{
	uint32_t value = 0;

	if (getentropy(&value, sizeof(value)) != 0)
		value = (uint32_t)am_now_ms() * 2654435761u;
	return (value);
}

struct am_core *
am_core_new(uint32_t iid, am_notify *notify, void *context)
{
	static const struct lisp_limits limits = LISP_LIMITS_DEFAULT;
	struct am_core *core = calloc(1, sizeof(*core));
	pthread_rwlockattr_t attributes;

	if (core == NULL)
		return (NULL);
	if (lisp_tables_init(&core->tables, &limits, random32()) != 0) {
		free(core);
		return (NULL);
	}
	/* Two busy threads of readers must not keep a pin waiting. */
	pthread_rwlockattr_init(&attributes);
#ifdef __GLIBC__
	pthread_rwlockattr_setkind_np(&attributes, PTHREAD_RWLOCK_PREFER_WRITER_NONRECURSIVE_NP);
#endif
	pthread_rwlock_init(&core->lock, &attributes);
	pthread_rwlockattr_destroy(&attributes);
	pthread_mutex_init(&core->held_lock, NULL);
	pthread_mutex_init(&core->event_lock, NULL);
	core->iid = iid;
	core->held_tail = &core->held;
	core->released_tail[0] = &core->released[0];
	core->released_tail[1] = &core->released[1];
	core->notify = notify;
	core->context = context;
	return (core);
}

static void
free_list(struct am_held *held)
{
	while (held != NULL) {
		struct am_held *next = held->next;

		free(held);
		held = next;
	}
}

void
am_core_free(struct am_core *core)
{
	if (core == NULL)
		return;
	free_list(core->held);
	free_list(core->released[0]);
	free_list(core->released[1]);
	lisp_tables_fini(&core->tables);
	pthread_rwlock_destroy(&core->lock);
	pthread_mutex_destroy(&core->held_lock);
	pthread_mutex_destroy(&core->event_lock);
	free(core);
}

/* ------------------------------------------------------------------ control */

int
am_core_set_site(struct am_core *core, const struct am_site *site)
{
	struct lisp_lpm *eids = lisp_lpm_new(), *routes = lisp_lpm_new();
	struct lisp_tables *tables = &core->tables, fresh;
	unsigned i;
	int error = 0;

	if (eids == NULL || routes == NULL || site->iid > LISP_IID_MAX) {
		lisp_lpm_free(eids);
		lisp_lpm_free(routes);
		return (eids == NULL || routes == NULL ? ENOMEM : EINVAL);
	}
	/* Built apart and swapped, so that an error leaves what was and a packet sees one or the other. */
	memset(&fresh, 0, sizeof(fresh));
	fresh.eids = eids;
	fresh.routes = routes;
	fresh.max_eids = tables->max_eids;
	error = lisp_tables_set_rlocs(&fresh, site->rlocs, site->nrlocs);
	for (i = 0; i < site->neids && error == 0; i++)
		error = lisp_tables_add_eid(&fresh, site->iid, &site->eids[i]);
	for (i = 0; i < site->nroutes && error == 0; i++)
		error = lisp_tables_add_route(&fresh, site->iid, &site->routes[i]);
	if (error != 0) {
		lisp_lpm_free(eids);
		lisp_lpm_free(routes);
		return (error);
	}
	pthread_rwlock_wrlock(&core->lock);
	for (i = 0; i < tables->nrlocs; i++)
		if (!lisp_tables_is_local_rloc(&fresh, &tables->rlocs[i]))
			lisp_pins_forget_rloc(tables->pins, &tables->rlocs[i]);
	eids = tables->eids;
	routes = tables->routes;
	tables->eids = fresh.eids;
	tables->routes = fresh.routes;
	tables->neids = fresh.neids;
	tables->nroutes = fresh.nroutes;
	tables->nrlocs = fresh.nrlocs;
	memcpy(tables->rlocs, fresh.rlocs, sizeof(tables->rlocs));
	tables->source_check = site->source_check;
	tables->glean = site->glean;
	if (site->underlay_mtu != 0)
		tables->underlay_mtu = site->underlay_mtu;
	core->iid = site->iid;
	pthread_rwlock_unlock(&core->lock);
	lisp_lpm_free(eids);
	lisp_lpm_free(routes);
	return (0);
}

/* Packets that waited for this prefix go on; whether they get through is decided anew. */
static void
release(struct am_core *core, uint32_t iid, const struct lisp_prefix *eid)
{
	struct am_held **link, *held;

	pthread_mutex_lock(&core->held_lock);
	for (link = &core->held; (held = *link) != NULL;) {
		if (held->iid != iid || !lisp_prefix_contains(eid, &held->eid)) {
			link = &held->next;
			continue;
		}
		*link = held->next;
		held->next = NULL;
		*core->released_tail[held->direction] = held;
		core->released_tail[held->direction] = &held->next;
		__atomic_fetch_add(&core->nreleased[held->direction], 1, __ATOMIC_RELEASE);
	}
	core->held_tail = link;
	pthread_mutex_unlock(&core->held_lock);
}

int
am_core_set_mapping(struct am_core *core, const struct lisp_mapping *mapping)
{
	int error;

	pthread_rwlock_wrlock(&core->lock);
	error = lisp_mapcache_set(core->tables.mapcache, mapping);
	pthread_rwlock_unlock(&core->lock);
	if (error == 0)
		release(core, mapping->iid, &mapping->eid);
	return (error);
}

int
am_core_delete_mapping(struct am_core *core, uint32_t iid, const struct lisp_prefix *eid)
{
	int error;

	pthread_rwlock_wrlock(&core->lock);
	error = lisp_mapcache_delete(core->tables.mapcache, iid, eid);
	pthread_rwlock_unlock(&core->lock);
	return (error);
}

int
am_core_next_mapping(struct am_core *core, uint32_t *cursor, struct lisp_mapping *out)
{
	int error;

	pthread_rwlock_rdlock(&core->lock);
	error = lisp_mapcache_next(core->tables.mapcache, cursor, out);
	pthread_rwlock_unlock(&core->lock);
	return (error);
}

int
am_core_pin(struct am_core *core, const struct lisp_flow *flow, const struct lisp_path *path)
{
	int error;

	pthread_rwlock_wrlock(&core->lock);
	error = lisp_pins_set(core->tables.pins, flow, path);
	pthread_rwlock_unlock(&core->lock);
	return (error);
}

int
am_core_unpin(struct am_core *core, const struct lisp_flow *flow)
{
	int error;

	pthread_rwlock_wrlock(&core->lock);
	error = lisp_pins_delete(core->tables.pins, flow);
	pthread_rwlock_unlock(&core->lock);
	return (error);
}

int
am_core_next_pin(struct am_core *core, uint64_t *cursor, struct lisp_pin *out)
{
	int error;

	pthread_rwlock_rdlock(&core->lock);
	error = lisp_pins_next(core->tables.pins, cursor, am_now_ms(), out);
	pthread_rwlock_unlock(&core->lock);
	return (error);
}

int
am_core_set_path_state(struct am_core *core, const struct lisp_path *path, bool up)
{
	int error;

	pthread_rwlock_wrlock(&core->lock);
	error = lisp_paths_set_state(core->tables.paths, path, up);
	pthread_rwlock_unlock(&core->lock);
	return (error);
}

int
am_core_get_path(struct am_core *core, uint32_t number, struct lisp_path_info *out)
{
	int error;

	pthread_rwlock_rdlock(&core->lock);
	error = lisp_paths_get(core->tables.paths, number, out);
	pthread_rwlock_unlock(&core->lock);
	return (error);
}

uint32_t
am_core_iid(struct am_core *core)
{
	return (lisp_load32(&core->iid));
}

void
am_core_stats(struct am_core *core, struct am_stats *out)
{
	unsigned i;

	memset(out, 0, sizeof(*out));
	out->encapsulated = lisp_load64(&core->encapsulated);
	out->decapsulated = lisp_load64(&core->decapsulated);
	out->icmp_sent = lisp_load64(&core->icmp_sent);
	for (i = 0; i < LISP_DROP_COUNT; i++)
		out->drops[i] = lisp_load64(&core->drops[i]);
	pthread_rwlock_rdlock(&core->lock);
	out->mappings = lisp_mapcache_count(core->tables.mapcache);
	out->pins = lisp_pins_count(core->tables.pins, false) + lisp_pins_count(core->tables.pins, true);
	pthread_rwlock_unlock(&core->lock);
	pthread_mutex_lock(&core->held_lock);
	out->queued = core->nheld[AM_ENCAP] + core->nheld[AM_DECAP];
	pthread_mutex_unlock(&core->held_lock);
	pthread_mutex_lock(&core->event_lock);
	out->events_dropped = core->events_dropped;
	pthread_mutex_unlock(&core->event_lock);
}

/* ------------------------------------------------------------------- events */

static bool
spend(struct bucket *bucket, uint64_t now_ms, uint32_t per_second)
{
	if (bucket->second != now_ms / 1000) {
		bucket->second = now_ms / 1000;
		bucket->used = 0;
	}
	return (bucket->used < per_second && bucket->used++ < per_second);
}

static void
push_event(struct am_core *core, const struct am_event *event, uint64_t now_ms)
{
	bool first = false;

	pthread_mutex_lock(&core->event_lock);
	if (core->nevents == EVENTS || !spend(&core->event_buckets[event->type][event->direction], now_ms, EVENTS_PER_SECOND))
		core->events_dropped++;
	else {
		core->events[(core->first_event + core->nevents) % EVENTS] = *event;
		first = core->nevents++ == 0;
	}
	pthread_mutex_unlock(&core->event_lock);
	if (first && core->notify != NULL)
		core->notify(core->context);
}

unsigned
am_core_events(struct am_core *core, struct am_event *out, unsigned room)
{
	unsigned taken = 0;

	pthread_mutex_lock(&core->event_lock);
	while (taken < room && core->nevents != 0) {
		out[taken++] = core->events[core->first_event];
		core->first_event = (core->first_event + 1) % EVENTS;
		core->nevents--;
	}
	pthread_mutex_unlock(&core->event_lock);
	return (taken);
}

/* Whether the same was told a moment ago, to whoever asks with this hash. */
static bool
told_lately(struct am_core *core, uint32_t hash, uint64_t now_ms)
{
	bool repeated;

	pthread_mutex_lock(&core->event_lock);
	repeated = core->misses[hash % MISS_SLOTS].hash == hash &&
	    now_ms - core->misses[hash % MISS_SLOTS].last_ms < MISS_REPEAT_MS;
	if (!repeated) {
		core->misses[hash % MISS_SLOTS].hash = hash;
		core->misses[hash % MISS_SLOTS].last_ms = now_ms;
	}
	pthread_mutex_unlock(&core->event_lock);
	return (repeated);
}

static void
miss(struct am_core *core, enum am_direction direction, uint32_t iid, const struct lisp_addr *eid, uint64_t now_ms)
{
	struct am_event event;

	if (told_lately(core, lisp_hash_words(eid->words, 4, iid * 2 + direction + eid->af), now_ms))
		return;
	memset(&event, 0, sizeof(event));
	event.type = AM_EVENT_MISS;
	event.direction = direction;
	event.eid = *eid;
	event.flow.iid = iid;
	push_event(core, &event, now_ms);
}

/* A packet for an EID that is not of this site: its sender may have an old mapping (RFC 9301 section 6.1). */
static void
stray(struct am_core *core, const struct lisp_decap_plan *plan, uint64_t now_ms)
{
	const struct lisp_flow *flow = &plan->inner.flow;
	struct am_event event;
	uint32_t hash;

	hash = lisp_hash_words(plan->path.remote.words, 4, plan->path.remote.af);
	if (told_lately(core, lisp_hash_words(flow->dst.words, 4, hash ^ flow->iid), now_ms))
		return;
	memset(&event, 0, sizeof(event));
	event.type = AM_EVENT_STRAY;
	event.direction = AM_DECAP;
	event.flow = *flow;
	event.path = plan->path;
	push_event(core, &event, now_ms);
}

/* -------------------------------------------------------------- packet path */

void
am_core_drop(struct am_core *core, enum lisp_drop cause, unsigned packets)
{
	lisp_add64(&core->drops[cause], packets);
}

void
am_core_encap(struct am_core *core, const struct lisp_inner *inner, uint32_t wire_length, uint32_t packets, uint64_t octets,
    uint64_t now_ms, struct lisp_encap_plan *plan)
{
	pthread_rwlock_rdlock(&core->lock);
	lisp_encap_decide(&core->tables, core->iid, inner, wire_length, now_ms, plan);
	if (plan->verdict == LISP_FORWARD && plan->path_number != LISP_PATH_NONE)
		lisp_paths_sent(core->tables.paths, plan->path_number, packets, octets);
	pthread_rwlock_unlock(&core->lock);
	if (plan->verdict != LISP_FORWARD)
		return;
	lisp_add64(&core->encapsulated, packets);
	if (plan->path_number == LISP_PATH_NONE) {
		pthread_rwlock_wrlock(&core->lock);
		plan->path_number = lisp_paths_add(core->tables.paths, &plan->path);
		lisp_paths_sent(core->tables.paths, plan->path_number, packets, octets);
		pthread_rwlock_unlock(&core->lock);
	}
}

unsigned
am_core_decap(struct am_core *core, const struct lisp_outer *outer, uint8_t *data, size_t length, size_t size, uint64_t now_ms,
    struct lisp_decap_plan *plans, unsigned room)
{
	unsigned made = 0, good = 0, i;
	uint32_t number = LISP_PATH_NONE;
	uint64_t octets = 0;
	bool glean = false, known;

	if (size == 0 || size > length)
		size = length;
	pthread_rwlock_rdlock(&core->lock);
	do {
		size_t this = length < size ? length : size;
		struct lisp_decap_plan *plan = &plans[made];

		if (made == 0 || !lisp_decap_again(&plans[made - 1], outer, data, this, this, plan))
			lisp_decap_decide(&core->tables, outer, data, this, this, now_ms, plan);
		if (plan->verdict == LISP_FORWARD) {
			lisp_decap_apply(plan, data + LISP_HEADER_SIZE);
			good++;
			octets += plan->inner.length;
			glean = glean || plan->glean;
			number = plan->path_number;
		}
		made++;
		data += this;
		length -= this;
	} while (length != 0 && made < room);
	known = number != LISP_PATH_NONE;
	if (known)
		lisp_paths_received(core->tables.paths, number, good, octets, now_ms);
	pthread_rwlock_unlock(&core->lock);
	for (i = 0; i < made; i++)
		if (plans[i].verdict == LISP_DROP && plans[i].cause == LISP_DROP_NOT_LOCAL)
			stray(core, &plans[i], now_ms);
	if (good == 0)
		return (made);
	lisp_add64(&core->decapsulated, good);
	/* Seldom: the first packet of a flow or path. With no check of sources anybody could fill the table of paths. */
	if (known ? glean : core->tables.source_check || glean) {
		struct am_event event;

		memset(&event, 0, sizeof(event));
		event.type = AM_EVENT_GLEANED;
		for (i = 0; i < made; i++) {
			int error;

			if (plans[i].verdict != LISP_FORWARD || (!plans[i].glean && known))
				continue;
			event.flow = lisp_flow_reverse(&plans[i].inner.flow);
			event.path = plans[i].path;
			pthread_rwlock_wrlock(&core->lock);
			if (!known) {
				number = lisp_paths_add(core->tables.paths, &plans[i].path);
				lisp_paths_received(core->tables.paths, number, good, octets, now_ms);
				known = true;
			}
			error = plans[i].glean ? lisp_pins_glean(core->tables.pins, &event.flow, &event.path, now_ms) : EALREADY;
			pthread_rwlock_unlock(&core->lock);
			if (error == 0)
				push_event(core, &event, now_ms);
		}
	}
	return (made);
}

static bool
has_mapping(struct am_core *core, uint32_t iid, const struct lisp_addr *eid)
{
	const struct lisp_locator *locators;
	uint8_t action = LISP_ACTION_SEND_MAP_REQUEST;
	unsigned count = 0;
	bool found;

	pthread_rwlock_rdlock(&core->lock);
	found = lisp_mapcache_peek(core->tables.mapcache, iid, eid, &action, &locators, &count) == 0;
	pthread_rwlock_unlock(&core->lock);
	return (found && (count != 0 || action != LISP_ACTION_SEND_MAP_REQUEST));
}

void
am_core_hold(struct am_core *core, enum am_direction direction, uint32_t iid, const struct lisp_addr *eid,
    const struct lisp_outer *outer, const void *meta, size_t meta_length, const uint8_t *data, size_t length, uint64_t now_ms)
{
	struct am_held *held = NULL, *other;
	unsigned same = 0;
	bool full;

	pthread_mutex_lock(&core->held_lock);
	for (other = core->held; other != NULL; other = other->next)
		same += other->direction == direction && other->iid == iid && lisp_addr_equal(&other->eid, eid);
	full = core->nheld[direction] >= HELD_PACKETS || core->held_octets[direction] + length > HELD_OCTETS ||
	    same >= HELD_PER_EID;
	if (!full && (held = malloc(sizeof(*held) + length)) != NULL) {
		memset(held, 0, sizeof(*held));
		held->direction = direction;
		held->iid = iid;
		held->eid = *eid;
		held->deadline_ms = now_ms + HELD_MS;
		if (outer != NULL)
			held->outer = *outer;
		if (meta_length != 0)
			memcpy(held->meta, meta, meta_length);
		held->length = length;
		memcpy(held->data, data, length);
		*core->held_tail = held;
		core->held_tail = &held->next;
		core->nheld[direction]++;
		core->held_octets[direction] += length;
	}
	pthread_mutex_unlock(&core->held_lock);
	if (held == NULL)
		am_core_drop(core, full ? LISP_DROP_QUEUE_FULL : LISP_DROP_NO_MEMORY, 1);
	else if (has_mapping(core, iid, eid)) {
		/* It came between the decision and now: nobody would release the packet. */
		struct lisp_prefix host;

		memset(&host, 0, sizeof(host));
		host.addr = *eid;
		host.len = (uint8_t)(lisp_addr_size(eid->af) * 8);
		release(core, iid, &host);
		return;
	}
	miss(core, direction, iid, eid, now_ms);
}

bool
am_core_has_released(struct am_core *core, enum am_direction direction)
{
	return (__atomic_load_n(&core->nreleased[direction], __ATOMIC_ACQUIRE) != 0);
}

struct am_held *
am_core_released(struct am_core *core, enum am_direction direction)
{
	struct am_held *list, *held;

	pthread_mutex_lock(&core->held_lock);
	list = core->released[direction];
	core->released[direction] = NULL;
	core->released_tail[direction] = &core->released[direction];
	__atomic_store_n(&core->nreleased[direction], 0, __ATOMIC_RELEASE);
	for (held = list; held != NULL; held = held->next) {
		core->nheld[direction]--;
		core->held_octets[direction] -= held->length;
	}
	pthread_mutex_unlock(&core->held_lock);
	return (list);
}

void
am_core_lower_mtu(struct am_core *core, const struct lisp_path *path, uint16_t mtu, uint64_t now_ms)
{
	struct am_event event;
	uint32_t overhead = path->remote.af == LISP_AF_V6 ? LISP_OUTER_V6 : LISP_OUTER_V4, number;
	bool lower = false;

	pthread_rwlock_wrlock(&core->lock);
	/* Only what this plane sends to is of interest; a forged report must not fill the table of paths. */
	number = lisp_paths_find(core->tables.paths, path);
	if (number != LISP_PATH_NONE && mtu < core->tables.underlay_mtu)
		lower = lisp_paths_lower_mtu(core->tables.paths, path, mtu, now_ms);
	if (lower)
		mtu = lisp_paths_mtu(core->tables.paths, number);
	pthread_rwlock_unlock(&core->lock);
	if (!lower)
		return;
	memset(&event, 0, sizeof(event));
	event.type = AM_EVENT_PATH_MTU;
	event.path = *path;
	event.mtu = (uint16_t)(mtu > overhead ? mtu - overhead : 0);
	push_event(core, &event, now_ms);
}

bool
am_core_icmp_allowed(struct am_core *core, uint64_t now_ms)
{
	bool allowed;

	pthread_mutex_lock(&core->event_lock);
	allowed = spend(&core->icmp_bucket, now_ms, ICMP_PER_SECOND);
	pthread_mutex_unlock(&core->event_lock);
	if (allowed)
		lisp_add64(&core->icmp_sent, 1);
	return (allowed);
}

void
am_core_housekeeping(struct am_core *core, uint64_t now_ms)
{
	struct am_held *expired = NULL, *held;
	unsigned count = 0;

	pthread_rwlock_wrlock(&core->lock);
	lisp_pins_age(core->tables.pins, now_ms, GLEANED_IDLE_MS, 4096);
	lisp_paths_age(core->tables.paths, now_ms, PATH_MTU_MS);
	pthread_rwlock_unlock(&core->lock);

	pthread_mutex_lock(&core->held_lock);
	/* Oldest first, all with the same patience. */
	while ((held = core->held) != NULL && held->deadline_ms <= now_ms) {
		core->held = held->next;
		if (core->held == NULL)
			core->held_tail = &core->held;
		core->nheld[held->direction]--;
		core->held_octets[held->direction] -= held->length;
		held->next = expired;
		expired = held;
		count++;
	}
	pthread_mutex_unlock(&core->held_lock);
	if (count != 0)
		am_core_drop(core, LISP_DROP_QUEUE_EXPIRED, count);
	free_list(expired);
}
