/* SPDX-License-Identifier: BSD-2-Clause */
#include "plane.h"

#include <arpa/inet.h>
#include <fcntl.h>
#include <ifaddrs.h>
#include <linux/errqueue.h>
#include <linux/if_tun.h>
#include <net/if.h>
#include <netinet/in.h>
#include <poll.h>
#include <stdatomic.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/ioctl.h>
#include <sys/random.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>
#include "plane_segments.h"

#ifndef UDP_SEGMENT
#define	UDP_SEGMENT	103
#endif
#ifndef UDP_GRO
#define	UDP_GRO	104
#endif
#ifndef UDP_NO_CHECK6_RX
#define	UDP_NO_CHECK6_RX	102
#endif
#ifndef TUN_F_USO4
#define	TUN_F_USO4	0x20
#define	TUN_F_USO6	0x40
#endif

#define	SENDERS		8u	/* sockets per RLOC: source ports seen by equal-cost paths on the way */
#define	BUFFER		(65536 + AM_VNET_SIZE)
#define	DATAGRAMS	4	/* taken by one recvmmsg: all buffers together should stay in the processor's cache */
#define	TUN_BATCH	64	/* packets read before other work is looked at */
#define	SMALL		2048	/* packets up to this are copied and sent together */
#define	PACKETS		4	/* buffers for packets from the TUN: a run may refer to this many less one */
#define	SOCKET_BUFFER	(8 << 20)
#define	TICK_MS		250
#define	TCP_FIN		0x01
#define	TCP_SYN		0x02
#define	TCP_RST		0x04
#define	MTU_DISCOVER_DO	2	/* IP_PMTUDISC_DO and IPV6_PMTUDISC_DO */

struct rloc {
	struct lisp_addr	addr;
	int			receive;
	int			send[SENDERS];
};

struct sockets {
	unsigned	count;
	struct rloc	rlocs[LISP_MAX_LOCAL_RLOCS];
};

/* Small packets of one outer flow and one size on their way into a single UDP_SEGMENT datagram. */
struct batch {
	int			fd;
	struct lisp_encap_plan	plan;
	unsigned		segment;
	unsigned		count;
	size_t			length;
	uint8_t			data[AM_UDP_MAX + 1];
};

enum { ENCAP_THREAD = 0, DECAP_THREAD = 1 };

struct am_plane {
	struct am_core		*core;
	int			tun;
	int			epoll;
	int			wake[2];
	atomic_bool		stopping;
	pthread_t		threads[2];
	unsigned		nthreads;

	/* A thread works with the sockets it has seen; who replaces them waits until both have seen the new ones. */
	pthread_mutex_t		swap;
	pthread_cond_t		swapped;
	struct sockets		*sockets;
	uint64_t		generation;
	uint64_t		seen[2];

	/* of the encap thread */
	uint8_t			*packets;
	struct batch		batch;
	/*
	 * A super-packet is a little more than a datagram can carry, once each segment has its LISP header. What is left of it waits
	 * here for the next one's first segments; without that every second datagram would be one of two or three segments.
	 */
	struct am_run		run;
	int			run_fd;
	struct lisp_encap_plan	run_plan;
	unsigned		run_earlier;	/* segments in it of packets before the present one */
	/* of the decap thread */
	uint8_t			*datagrams;
	struct lisp_decap_plan	plans[AM_SEGMENTS_MAX];
	struct am_join		join;
};

/* ------------------------------------------------------------------ sockets */

static socklen_t
to_sockaddr(const struct lisp_addr *addr, uint16_t port, struct sockaddr_storage *out)
{
	memset(out, 0, sizeof(*out));
	if (addr->af == LISP_AF_V4) {
		struct sockaddr_in *sin = (struct sockaddr_in *)out;

		sin->sin_family = AF_INET;
		sin->sin_port = htons(port);
		memcpy(&sin->sin_addr, addr->bytes, 4);
		return (sizeof(*sin));
	} else {
		struct sockaddr_in6 *sin6 = (struct sockaddr_in6 *)out;

		sin6->sin6_family = AF_INET6;
		sin6->sin6_port = htons(port);
		memcpy(&sin6->sin6_addr, addr->bytes, 16);
		return (sizeof(*sin6));
	}
}

static struct lisp_addr
from_sockaddr(const struct sockaddr_storage *from)
{
	struct lisp_addr none;

	if (from->ss_family == AF_INET)
		return (lisp_addr_v4((const uint8_t *)&((const struct sockaddr_in *)from)->sin_addr));
	if (from->ss_family == AF_INET6)
		return (lisp_addr_v6((const uint8_t *)&((const struct sockaddr_in6 *)from)->sin6_addr));
	memset(&none, 0, sizeof(none));
	return (none);
}

static int
option(int fd, int level, int name, int value)
{
	return (setsockopt(fd, level, name, &value, sizeof(value)));
}

/* What both kinds of socket need. The address may come up later (FREEBIND): an interface that is down must not stop the daemon. */
static int
open_socket(const struct lisp_addr *addr, int buffer, int forced)
{
	bool v4 = addr->af == LISP_AF_V4;
	int fd = socket(v4 ? AF_INET : AF_INET6, SOCK_DGRAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);

	if (fd < 0)
		return (-1);
	if (v4)
		option(fd, IPPROTO_IP, IP_FREEBIND, 1);
	else {
		option(fd, IPPROTO_IPV6, IPV6_V6ONLY, 1);
		option(fd, IPPROTO_IPV6, 78 /* IPV6_FREEBIND */, 1);
	}
	/* Beyond the system's limit with CAP_NET_ADMIN, else up to it. */
	if (option(fd, SOL_SOCKET, forced, SOCKET_BUFFER) != 0)
		option(fd, SOL_SOCKET, buffer, SOCKET_BUFFER);
	return (fd);
}

static int
open_receiver(const struct lisp_addr *addr)
{
	int fd = open_socket(addr, SO_RCVBUF, SO_RCVBUFFORCE);
	struct sockaddr_storage name;
	socklen_t length = to_sockaddr(addr, LISP_DATA_PORT, &name);

	if (fd < 0)
		return (-1);
	if (addr->af == LISP_AF_V4) {
		option(fd, IPPROTO_IP, IP_RECVTOS, 1);
		option(fd, IPPROTO_IP, IP_RECVTTL, 1);
	} else {
		option(fd, IPPROTO_IPV6, IPV6_RECVTCLASS, 1);
		option(fd, IPPROTO_IPV6, IPV6_RECVHOPLIMIT, 1);
		/* LISP sends zero checksums (RFC 9300 section 5.3, RFC 6935). */
		option(fd, IPPROTO_UDP, UDP_NO_CHECK6_RX, 1);
	}
	/* Without it (Linux before 5.0) packets come one by one. */
	option(fd, IPPROTO_UDP, UDP_GRO, 1);
	if (bind(fd, (struct sockaddr *)&name, length) != 0) {
		int error = errno;

		close(fd);
		errno = error;
		return (-1);
	}
	return (fd);
}

static int
open_sender(const struct lisp_addr *addr)
{
	/* Nothing is expected here but errors: whatever arrives is refused by a filter of one instruction, 'ret 0'. */
	struct { uint16_t code; uint8_t jt, jf; uint32_t k; } refuse = { 0x06, 0, 0, 0 };
	struct { unsigned short len; void *filter; } program = { 1, &refuse };
	int fd = open_socket(addr, SO_SNDBUF, SO_SNDBUFFORCE), tries;
	struct sockaddr_storage name;

	if (fd < 0)
		return (-1);
	setsockopt(fd, SOL_SOCKET, SO_ATTACH_FILTER, &program, sizeof(program));
	if (addr->af == LISP_AF_V4) {
		option(fd, IPPROTO_IP, IP_MTU_DISCOVER, MTU_DISCOVER_DO);
		option(fd, IPPROTO_IP, IP_RECVERR, 1);
	} else {
		option(fd, IPPROTO_IPV6, IPV6_MTU_DISCOVER, MTU_DISCOVER_DO);
		option(fd, IPPROTO_IPV6, IPV6_RECVERR, 1);
	}
	/* A random port of the upper range, so that forged ICMP has something to guess. */
	for (tries = 0; tries < 64; tries++) {
		uint16_t port = 0;
		socklen_t length;

		if (getentropy(&port, sizeof(port)) != 0)
			port = (uint16_t)(tries * 251);
		length = to_sockaddr(addr, (uint16_t)(49152 + port % 16384), &name);
		if (bind(fd, (struct sockaddr *)&name, length) == 0)
			return (fd);
		if (errno != EADDRINUSE)
			break;
	}
	tries = errno;
	close(fd);
	errno = tries;
	return (-1);
}

static void
close_rloc(struct rloc *rloc)
{
	unsigned i;

	if (rloc->receive >= 0)
		close(rloc->receive);
	for (i = 0; i < SENDERS; i++)
		if (rloc->send[i] >= 0)
			close(rloc->send[i]);
}

static int
watch(struct am_plane *plane, int fd, uint32_t events)
{
	struct epoll_event event;

	memset(&event, 0, sizeof(event));
	event.events = events;
	event.data.fd = fd;
	return (epoll_ctl(plane->epoll, EPOLL_CTL_ADD, fd, &event));
}

static int
open_rloc(struct am_plane *plane, const struct lisp_addr *addr, struct rloc *rloc)
{
	unsigned i;
	int error;

	rloc->addr = *addr;
	rloc->receive = -1;
	for (i = 0; i < SENDERS; i++)
		rloc->send[i] = -1;
	if ((rloc->receive = open_receiver(addr)) < 0 || watch(plane, rloc->receive, EPOLLIN) != 0)
		goto fail;
	/* Error queues only: EPOLLERR is always reported. */
	for (i = 0; i < SENDERS; i++)
		if ((rloc->send[i] = open_sender(addr)) < 0 || watch(plane, rloc->send[i], 0) != 0)
			goto fail;
	return (0);
fail:
	error = errno;
	close_rloc(rloc);
	return (error);
}

static const struct sockets *
current_sockets(struct am_plane *plane, unsigned thread)
{
	const struct sockets *sockets;

	pthread_mutex_lock(&plane->swap);
	if (plane->seen[thread] != plane->generation) {
		plane->seen[thread] = plane->generation;
		pthread_cond_broadcast(&plane->swapped);
	}
	sockets = plane->sockets;
	pthread_mutex_unlock(&plane->swap);
	return (sockets);
}

static void
poke(int eventfd)
{
	uint64_t one = 1;

	if (write(eventfd, &one, sizeof(one)) < 0) {
		/* Full means: it is awake already. */
	}
}

void
am_plane_wake(struct am_plane *plane)
{
	if (am_core_has_released(plane->core, AM_ENCAP))
		poke(plane->wake[ENCAP_THREAD]);
	if (am_core_has_released(plane->core, AM_DECAP))
		poke(plane->wake[DECAP_THREAD]);
}

static const struct rloc *
find_rloc(const struct sockets *sockets, const struct lisp_addr *addr)
{
	unsigned i;

	for (i = 0; i < sockets->count; i++)
		if (lisp_addr_equal(&sockets->rlocs[i].addr, addr))
			return (&sockets->rlocs[i]);
	return (NULL);
}

int
am_plane_set_rlocs(struct am_plane *plane, const struct lisp_addr *rlocs, unsigned count, const char **what)
{
	struct sockets *fresh, *old = plane->sockets;
	const struct rloc *have;
	struct timespec deadline;
	unsigned i, j;
	int error;

	*what = "opening a socket on a local RLOC, UDP port 4341";
	if (count > LISP_MAX_LOCAL_RLOCS)
		return (EINVAL);
	if ((fresh = calloc(1, sizeof(*fresh))) == NULL)
		return (ENOMEM);
	for (i = 0; i < count; i++) {
		have = find_rloc(old, &rlocs[i]);
		if (have != NULL)
			fresh->rlocs[i] = *have;
		else if ((error = open_rloc(plane, &rlocs[i], &fresh->rlocs[i])) != 0) {
			for (j = 0; j < i; j++)
				if (find_rloc(old, &rlocs[j]) == NULL)
					close_rloc(&fresh->rlocs[j]);
			free(fresh);
			return (error);
		}
		fresh->count++;
	}
	pthread_mutex_lock(&plane->swap);
	plane->sockets = fresh;
	plane->generation++;
	poke(plane->wake[0]);
	poke(plane->wake[1]);
	clock_gettime(CLOCK_REALTIME, &deadline);
	deadline.tv_sec += 5;
	while (plane->seen[0] != plane->generation || plane->seen[1] != plane->generation)
		if (pthread_cond_timedwait(&plane->swapped, &plane->swap, &deadline) == ETIMEDOUT)
			break;
	pthread_mutex_unlock(&plane->swap);
	for (i = 0; i < old->count; i++)
		if (find_rloc(fresh, &old->rlocs[i].addr) == NULL)
			close_rloc(&old->rlocs[i]);
	free(old);
	return (0);
}

/* -------------------------------------------------------------- encapsulate */

/* MTU towards the far end as this host's routing knows it now; 0 when it does not say. */
static uint16_t
ask_mtu(const struct lisp_path *path)
{
	bool v4 = path->remote.af == LISP_AF_V4;
	int fd = socket(v4 ? AF_INET : AF_INET6, SOCK_DGRAM | SOCK_CLOEXEC, 0), mtu = 0;
	struct sockaddr_storage name;
	socklen_t length, size = sizeof(mtu);

	if (fd < 0)
		return (0);
	length = to_sockaddr(&path->local, 0, &name);
	if (bind(fd, (struct sockaddr *)&name, length) == 0) {
		length = to_sockaddr(&path->remote, LISP_DATA_PORT, &name);
		if (connect(fd, (struct sockaddr *)&name, length) != 0 ||
		    getsockopt(fd, v4 ? IPPROTO_IP : IPPROTO_IPV6, v4 ? IP_MTU : IPV6_MTU, &mtu, &size) != 0)
			mtu = 0;
	}
	close(fd);
	return ((uint16_t)(mtu < 0 || mtu > 65535 ? 0 : mtu));
}

/* One datagram, cut by the kernel into `segment` octets each when that is less than all of it. 0 or an errno. */
static int
send_datagram(int fd, const struct lisp_encap_plan *plan, struct iovec *iov, size_t niov, size_t length, unsigned segment)
{
	union {
		char		space[CMSG_SPACE(sizeof(int)) * 2 + CMSG_SPACE(sizeof(uint16_t))];
		struct cmsghdr	align;
	} control;
	struct sockaddr_storage name;
	struct msghdr message;
	struct cmsghdr *cmsg;
	bool v4 = plan->path.remote.af == LISP_AF_V4;
	int value, tries;

	memset(&message, 0, sizeof(message));
	memset(&control, 0, sizeof(control));
	message.msg_namelen = to_sockaddr(&plan->path.remote, LISP_DATA_PORT, &name);
	message.msg_name = &name;
	message.msg_iov = iov;
	message.msg_iovlen = niov;
	message.msg_control = &control;
	message.msg_controllen = sizeof(control);
	cmsg = CMSG_FIRSTHDR(&message);
	cmsg->cmsg_level = v4 ? IPPROTO_IP : IPPROTO_IPV6;
	cmsg->cmsg_type = v4 ? IP_TTL : IPV6_HOPLIMIT;
	cmsg->cmsg_len = CMSG_LEN(sizeof(int));
	value = plan->ttl;
	memcpy(CMSG_DATA(cmsg), &value, sizeof(value));
	cmsg = CMSG_NXTHDR(&message, cmsg);
	cmsg->cmsg_level = v4 ? IPPROTO_IP : IPPROTO_IPV6;
	cmsg->cmsg_type = v4 ? IP_TOS : IPV6_TCLASS;
	cmsg->cmsg_len = CMSG_LEN(sizeof(int));
	value = plan->tos;
	memcpy(CMSG_DATA(cmsg), &value, sizeof(value));
	message.msg_controllen = CMSG_SPACE(sizeof(int)) * 2;
	if (segment < length) {
		uint16_t size = (uint16_t)segment;

		message.msg_controllen = sizeof(control);
		cmsg = CMSG_NXTHDR(&message, cmsg);
		cmsg->cmsg_level = IPPROTO_UDP;
		cmsg->cmsg_type = UDP_SEGMENT;
		cmsg->cmsg_len = CMSG_LEN(sizeof(size));
		memcpy(CMSG_DATA(cmsg), &size, sizeof(size));
		message.msg_controllen = CMSG_SPACE(sizeof(int)) * 2 + CMSG_SPACE(sizeof(size));
	}
	for (tries = 0; tries < 3; tries++) {
		if (sendmsg(fd, &message, MSG_DONTWAIT | MSG_NOSIGNAL) >= 0)
			return (0);
		/* An error of an earlier packet, told at the next occasion; or a signal. */
		if (errno != ECONNREFUSED && errno != EHOSTUNREACH && errno != ENETUNREACH && errno != EINTR)
			break;
	}
	return (errno);
}

/* The same, one segment at a time: for devices and kernels that cannot cut UDP. */
static unsigned
send_one_by_one(int fd, const struct lisp_encap_plan *plan, struct iovec *iov, size_t niov, unsigned segment, int *error)
{
	unsigned lost = 0;
	size_t i, first = 0, length = 0;

	*error = 0;
	for (i = 0; i < niov; i++) {
		length += iov[i].iov_len;
		if (length == segment || i + 1 == niov) {
			int result = send_datagram(fd, plan, &iov[first], i + 1 - first, length, (unsigned)length);

			if (result != 0) {
				*error = result;
				lost++;
			}
			first = i + 1;
			length = 0;
		}
	}
	return (lost);
}

/* True when the path turned out to be narrower than was known: the packet is to be decided again. */
static bool
transmit(struct am_plane *plane, int fd, const struct lisp_encap_plan *plan, struct iovec *iov, size_t niov, size_t length,
    unsigned segment, unsigned packets)
{
	int error = send_datagram(fd, plan, iov, niov, length, segment);
	unsigned lost = packets;

	if (error == 0)
		return (false);
	if ((error == EIO || error == EINVAL || error == EOPNOTSUPP) && segment < length && niov > 1)
		lost = send_one_by_one(fd, plan, iov, niov, segment, &error);
	if (error == EMSGSIZE) {
		uint16_t mtu = ask_mtu(&plan->path);

		if (mtu != 0) {
			am_core_lower_mtu(plane->core, &plan->path, mtu, am_now_ms());
			return (true);
		}
	}
	if (lost != 0)
		am_core_drop(plane->core, LISP_DROP_SEND, lost);
	return (false);
}

static void
flush(struct am_plane *plane)
{
	struct batch *batch = &plane->batch;
	struct iovec iov = { batch->data, batch->length };
	unsigned i, count = batch->count;

	if (count == 0)
		return;
	batch->count = 0;
	if (count == 1) {
		if (transmit(plane, batch->fd, &batch->plan, &iov, 1, batch->length, (unsigned)batch->length, 1))
			am_core_drop(plane->core, LISP_DROP_SEND, 1);
		return;
	}
	if (send_datagram(batch->fd, &batch->plan, &iov, 1, batch->length, batch->segment) == 0)
		return;
	for (i = 0; i < count; i++) {
		iov.iov_base = batch->data + (size_t)i * batch->segment;
		iov.iov_len = i + 1 < count ? batch->segment : batch->length - (size_t)i * batch->segment;
		if (transmit(plane, batch->fd, &batch->plan, &iov, 1, iov.iov_len, (unsigned)iov.iov_len, 1))
			am_core_drop(plane->core, LISP_DROP_SEND, 1);
	}
}

/* True when the path turned out to be narrower than was known: the present packet is to be decided again. */
static bool
send_run(struct am_plane *plane)
{
	struct am_run *run = &plane->run;
	unsigned earlier = plane->run_earlier;
	bool narrower = transmit(plane, plane->run_fd, &plane->run_plan, run->iov, run->niov, run->length, run->segment, run->segments);

	am_run_empty(run);
	plane->run_earlier = 0;
	if (narrower && earlier != 0)
		am_core_drop(plane->core, LISP_DROP_SEND, earlier);
	return (narrower);
}

/* What waits, without a packet that could be decided again. */
static void
flush_run(struct am_plane *plane)
{
	plane->run_earlier = plane->run.segments;
	if (plane->run.segments != 0)
		(void)send_run(plane);
}

static bool
same_outer(const struct lisp_encap_plan *a, const struct lisp_encap_plan *b)
{
	return (a->tos == b->tos && a->ttl == b->ttl && lisp_addr_equal(&a->path.local, &b->path.local) &&
	    lisp_addr_equal(&a->path.remote, &b->path.remote));
}

static void
add_small(struct am_plane *plane, int fd, const struct lisp_encap_plan *plan, const uint8_t *lisp, const uint8_t *packet,
    size_t length, bool alone)
{
	struct batch *batch = &plane->batch;
	unsigned size = (unsigned)(LISP_HEADER_SIZE + length);

	if (batch->count != 0 && (alone || batch->fd != fd || batch->plan.tos != plan->tos || batch->plan.ttl != plan->ttl ||
	    size > batch->segment || batch->length % batch->segment != 0 || batch->count == AM_SEGMENTS_MAX ||
	    batch->length + size > AM_UDP_MAX || !lisp_addr_equal(&batch->plan.path.remote, &plan->path.remote)))
		flush(plane);
	if (batch->count == 0) {
		batch->fd = fd;
		batch->plan = *plan;
		batch->segment = size;
		batch->length = 0;
	}
	memcpy(batch->data + batch->length, lisp, LISP_HEADER_SIZE);
	memcpy(batch->data + batch->length + LISP_HEADER_SIZE, packet, length);
	batch->length += size;
	batch->count++;
}

static void
to_device(struct am_plane *plane, struct iovec *iov, int niov, unsigned packets)
{
	int tries;

	for (tries = 0; tries < 3; tries++) {
		if (writev(plane->tun, iov, niov) >= 0)
			return;
		if (errno != EINTR)
			break;
	}
	am_core_drop(plane->core, errno == EIO ? LISP_DROP_DOWN : LISP_DROP_DELIVER, packets);
}

/* Tells the sender of an inner packet what fits: through the device, as if from the packet's destination. */
static void
answer_too_big(struct am_plane *plane, const uint8_t *packet, const struct lisp_inner *inner, uint16_t mtu, uint64_t now)
{
	uint8_t vnet[AM_VNET_SIZE] = { 0 }, icmp[LISP_ICMP_MAX];
	struct iovec iov[2] = { { vnet, sizeof(vnet) }, { icmp, 0 } };

	am_core_drop(plane->core, LISP_DROP_TOO_BIG, 1);
	iov[1].iov_len = lisp_icmp_too_big(packet, inner, inner->length, &inner->flow.dst, mtu, icmp, sizeof(icmp));
	if (iov[1].iov_len != 0 && am_core_icmp_allowed(plane->core, now))
		to_device(plane, iov, 2, 0);
}

static const struct am_vnet plain;

static void encapsulate(struct am_plane *plane, const struct sockets *sockets, uint8_t *packet, size_t length,
    const struct am_vnet *vnet, uint64_t now, unsigned depth);

/* RFC 791 fragmentation of an IPv4 packet that may be fragmented, before it is encapsulated (RFC 9300 section 7.1). */
static void
fragment(struct am_plane *plane, const struct sockets *sockets, const uint8_t *packet, const struct lisp_inner *inner,
    uint16_t mtu, uint64_t now, unsigned depth)
{
	uint8_t piece[SMALL];
	unsigned header = inner->header_length, room, done, field = lisp_get16(packet + 6);
	unsigned payload = inner->length - header;

	if (mtu > sizeof(piece))
		mtu = sizeof(piece);
	room = mtu > header ? (mtu - header) & ~7u : 0;
	if (room == 0) {
		am_core_drop(plane->core, LISP_DROP_TOO_BIG, 1);
		return;
	}
	for (done = 0; done < payload; done += room) {
		unsigned this = payload - done < room ? payload - done : room;
		bool more = done + this < payload || (field & 0x2000) != 0;

		/* Options are copied into each: more than need be, never less. */
		memcpy(piece, packet, header);
		memcpy(piece + header, packet + header + done, this);
		lisp_put16(piece + 2, (uint16_t)(header + this));
		lisp_put16(piece + 6, (uint16_t)((more ? 0x2000u : 0) | (((field & 0x1fff) + done / 8) & 0x1fff)));
		lisp_put16(piece + 10, 0);
		lisp_put16(piece + 10, lisp_sum_fold(lisp_sum(piece, header, 0)));
		encapsulate(plane, sockets, piece, header + this, &plain, now, depth + 1);
	}
}

static void
encapsulate(struct am_plane *plane, const struct sockets *sockets, uint8_t *packet, size_t length, const struct am_vnet *vnet,
    uint64_t now, unsigned depth)
{
	struct lisp_inner inner;
	struct lisp_encap_plan plan;
	enum lisp_drop cause;
	const struct rloc *rloc;
	struct am_cut cut;
	struct am_run *run = &plane->run;
	uint8_t lisp[LISP_HEADER_SIZE];
	unsigned segments;
	int fd;

	if (!lisp_inner_parse(packet, length, length, false, &inner, &cause)) {
		am_core_drop(plane->core, cause, 1);
		return;
	}
	if (!am_cut_start(&cut, packet, &inner, vnet)) {
		am_core_drop(plane->core, LISP_DROP_INNER_HEADER, 1);
		return;
	}
	am_core_encap(plane->core, &inner, am_cut_wire_length(&cut), am_cut_count(&cut),
	    cut.payload + (uint64_t)am_cut_count(&cut) * cut.transport, now, &plan);
	switch (plan.verdict) {
	case LISP_FORWARD:
		break;
	case LISP_MISS:
		/* Its checksum, if it was open, is not any more, unless it is a super-packet. */
		if (vnet->gso_type == AM_GSO_NONE)
			am_core_hold(plane->core, AM_ENCAP, plan.iid, &inner.flow.dst, NULL, NULL, 0, packet, inner.length, now);
		else
			am_core_hold(plane->core, AM_ENCAP, plan.iid, &inner.flow.dst, NULL, vnet, sizeof(*vnet), packet,
			    inner.length, now);
		return;
	case LISP_TOO_BIG:
		if (!inner.df && vnet->gso_type == AM_GSO_NONE && depth < 2)
			fragment(plane, sockets, packet, &inner, plan.mtu, now, depth);
		else
			answer_too_big(plane, packet, &inner, plan.mtu, now);
		return;
	default:
		am_core_drop(plane->core, plan.cause, am_cut_count(&cut));
		return;
	}
	rloc = find_rloc(sockets, &plan.path.local);
	if (rloc == NULL) {
		am_core_drop(plane->core, LISP_DROP_NO_LOCATOR, am_cut_count(&cut));
		return;
	}
	fd = rloc->send[plan.hash % SENDERS];
	lisp_encap_write_lisp(&plan, lisp);
	if (run->segments != 0 && (fd != plane->run_fd || !am_run_takes(run, &cut) || !same_outer(&plan, &plane->run_plan)))
		flush_run(plane);
	if (cut.size == 0 && inner.length <= SMALL) {
		/* Connections begin and end at once, and each by itself for whoever watches. */
		bool alone = (inner.tcp_flags & (TCP_FIN | TCP_SYN | TCP_RST)) != 0;

		add_small(plane, fd, &plan, lisp, packet, inner.length, alone);
		if (alone)
			flush(plane);
		return;
	}
	flush(plane);
	plane->run_fd = fd;
	plane->run_plan = plan;
	plane->run_earlier = run->segments;
	while (am_cut_next(&cut, lisp, run)) {
		if (run->length > AM_UDP_MAX) {
			am_core_drop(plane->core, LISP_DROP_TOO_BIG, 1);
			am_run_empty(run);
			return;
		}
		if (am_run_open(run))
			break;
		segments = run->segments - plane->run_earlier;
		if (send_run(plane)) {
			/* The checksum of a packet that is none has been completed by now. */
			if (depth < 2)
				encapsulate(plane, sockets, packet, length, vnet->gso_type == AM_GSO_NONE ? &plain : vnet, now,
				    depth + 1);
			else
				am_core_drop(plane->core, LISP_DROP_SEND, segments);
			return;
		}
	}
}

static void
drain(int eventfd)
{
	uint64_t count;

	if (read(eventfd, &count, sizeof(count)) < 0) {
		/* Nothing there: somebody else's wake-up was enough. */
	}
}

static void *
encap_thread(void *context)
{
	struct am_plane *plane = context;
	struct pollfd fds[2] = { { plane->tun, POLLIN, 0 }, { plane->wake[ENCAP_THREAD], POLLIN, 0 } };

	while (!atomic_load(&plane->stopping)) {
		const struct sockets *sockets = current_sockets(plane, ENCAP_THREAD);
		uint64_t now = am_now_ms();
		bool idle = false;
		unsigned i, buffer = 0;

		for (i = 0; i < TUN_BATCH; i++) {
			uint8_t *packet = plane->packets + (size_t)buffer * BUFFER;
			ssize_t length = read(plane->tun, packet, BUFFER);
			struct am_vnet vnet;

			if (length < 0) {
				/* EBADFD and EIO: the device is going down; poll() waits for it or for the end. */
				idle = errno != EINTR;
				break;
			}
			if (length <= AM_VNET_SIZE)
				continue;
			memcpy(&vnet, packet, AM_VNET_SIZE);
			encapsulate(plane, sockets, packet + AM_VNET_SIZE, (size_t)length - AM_VNET_SIZE, &vnet, now, 0);
			/* A packet somebody refers to stays; one buffer is as good as four while nobody does, and is in the cache. */
			if (plane->run.segments == 0)
				buffer = 0;
			else if (++buffer == PACKETS) {
				flush_run(plane);
				buffer = 0;
			}
		}
		flush_run(plane);
		if (am_core_has_released(plane->core, AM_ENCAP)) {
			struct am_held *held = am_core_released(plane->core, AM_ENCAP);

			while (held != NULL) {
				struct am_held *next = held->next;
				struct am_vnet vnet;

				memcpy(&vnet, held->meta, sizeof(vnet));
				encapsulate(plane, sockets, held->data, held->length, &vnet, now, 0);
				flush_run(plane);
				free(held);
				held = next;
			}
		}
		/* Before the sockets are looked at again: these may be closed by then. */
		flush(plane);
		if (idle) {
			if (poll(fds, 2, 1000) < 0 && errno != EINTR)
				break;
			if (fds[0].revents & (POLLERR | POLLNVAL | POLLHUP)) {
				/* The device is gone or down; look again now and then. */
				fds[0].fd = -1;
				poll(&fds[1], 1, 100);
				fds[0].fd = plane->tun;
			}
			if (fds[1].revents & POLLIN)
				drain(plane->wake[ENCAP_THREAD]);
		}
	}
	return (NULL);
}

/* -------------------------------------------------------------- decapsulate */

static void
deliver_joined(struct am_plane *plane)
{
	struct am_join *join = &plane->join;
	unsigned packets = join->packets;

	if (join->niov == 0)
		return;
	am_join_finish(join);
	to_device(plane, join->iov, (int)join->niov, packets);
	join->niov = 0;
}

static void
decapsulate(struct am_plane *plane, const struct lisp_outer *outer, uint8_t *data, size_t length, size_t segment, uint64_t now)
{
	size_t done = 0;

	if (segment == 0 || segment > length)
		segment = length;
	while (done < length) {
		unsigned i, count = am_core_decap(plane->core, outer, data + done, length - done, segment, now, plane->plans,
		    AM_SEGMENTS_MAX);

		for (i = 0; i < count; i++, done += segment) {
			const struct lisp_decap_plan *plan = &plane->plans[i];
			uint8_t *packet = data + done + LISP_HEADER_SIZE;
			size_t this = length - done < segment ? length - done : segment;

			switch (plan->verdict) {
			case LISP_FORWARD:
				if (!am_join_add(&plane->join, packet, &plan->inner)) {
					deliver_joined(plane);
					(void)am_join_add(&plane->join, packet, &plan->inner);
				}
				break;
			case LISP_MISS:
				am_core_hold(plane->core, AM_DECAP, plan->header.iid, &plan->inner.flow.src, outer, NULL, 0, data + done,
				    this, now);
				break;
			default:
				am_core_drop(plane->core, plan->cause, 1);
				break;
			}
		}
	}
}

static void
receive(struct am_plane *plane, const struct rloc *rloc)
{
	union {
		char		space[CMSG_SPACE(sizeof(int)) * 3];
		struct cmsghdr	align;
	} control[DATAGRAMS];
	struct mmsghdr messages[DATAGRAMS];
	struct iovec iov[DATAGRAMS];
	struct sockaddr_storage names[DATAGRAMS];
	unsigned round;
	int i, count;

	for (round = 0; round < 16; round++) {
		uint64_t now;

		memset(messages, 0, sizeof(messages));
		for (i = 0; i < DATAGRAMS; i++) {
			iov[i].iov_base = plane->datagrams + (size_t)i * BUFFER;
			iov[i].iov_len = BUFFER;
			messages[i].msg_hdr.msg_name = &names[i];
			messages[i].msg_hdr.msg_namelen = sizeof(names[i]);
			messages[i].msg_hdr.msg_iov = &iov[i];
			messages[i].msg_hdr.msg_iovlen = 1;
			messages[i].msg_hdr.msg_control = &control[i];
			messages[i].msg_hdr.msg_controllen = sizeof(control[i]);
		}
		count = recvmmsg(rloc->receive, messages, DATAGRAMS, MSG_DONTWAIT, NULL);
		if (count <= 0)
			break;
		now = am_now_ms();
		for (i = 0; i < count; i++) {
			struct msghdr *message = &messages[i].msg_hdr;
			struct lisp_outer outer;
			struct cmsghdr *cmsg;
			int segment = 0, value;

			if (message->msg_flags & MSG_TRUNC) {
				am_core_drop(plane->core, LISP_DROP_OUTER_TRUNCATED, 1);
				continue;
			}
			memset(&outer, 0, sizeof(outer));
			outer.src = from_sockaddr(&names[i]);
			outer.dst = rloc->addr;
			outer.sport = ntohs(((struct sockaddr_in *)&names[i])->sin_port);
			outer.ttl = 64;
			for (cmsg = CMSG_FIRSTHDR(message); cmsg != NULL; cmsg = CMSG_NXTHDR(message, cmsg)) {
				if (cmsg->cmsg_level == IPPROTO_IP && cmsg->cmsg_type == IP_TOS) {
					outer.tos = *CMSG_DATA(cmsg);
					continue;
				}
				memcpy(&value, CMSG_DATA(cmsg), sizeof(value));
				if (cmsg->cmsg_level == IPPROTO_UDP && cmsg->cmsg_type == UDP_GRO)
					segment = value;
				else if (cmsg->cmsg_level == IPPROTO_IPV6 && cmsg->cmsg_type == IPV6_TCLASS)
					outer.tos = (uint8_t)value;
				else if ((cmsg->cmsg_level == IPPROTO_IP && cmsg->cmsg_type == IP_TTL) ||
				    (cmsg->cmsg_level == IPPROTO_IPV6 && cmsg->cmsg_type == IPV6_HOPLIMIT))
					outer.ttl = (uint8_t)value;
			}
			if (messages[i].msg_len == 0)
				am_core_drop(plane->core, LISP_DROP_OUTER_TRUNCATED, 1);
			decapsulate(plane, &outer, iov[i].iov_base, messages[i].msg_len, segment > 0 ? (size_t)segment : 0, now);
		}
		/* Payload is referenced until it is written. */
		deliver_joined(plane);
		if (count < DATAGRAMS)
			break;
	}
}

/* What the underlay says of packets this socket has sent. */
static void
read_errors(struct am_plane *plane, const struct rloc *rloc, int fd)
{
	unsigned i;
	int pending;
	socklen_t size = sizeof(pending);

	for (i = 0; i < 64; i++) {
		union {
			char		space[512];
			struct cmsghdr	align;
		} control;
		uint8_t quote[64];
		struct iovec iov = { quote, sizeof(quote) };
		struct sockaddr_storage name;
		struct msghdr message;
		struct cmsghdr *cmsg;

		memset(&message, 0, sizeof(message));
		message.msg_name = &name;
		message.msg_namelen = sizeof(name);
		message.msg_iov = &iov;
		message.msg_iovlen = 1;
		message.msg_control = &control;
		message.msg_controllen = sizeof(control);
		if (recvmsg(fd, &message, MSG_ERRQUEUE | MSG_DONTWAIT) < 0)
			break;
		for (cmsg = CMSG_FIRSTHDR(&message); cmsg != NULL; cmsg = CMSG_NXTHDR(&message, cmsg)) {
			struct sock_extended_err error;
			struct lisp_path path;

			if (!(cmsg->cmsg_level == IPPROTO_IP && cmsg->cmsg_type == IP_RECVERR) &&
			    !(cmsg->cmsg_level == IPPROTO_IPV6 && cmsg->cmsg_type == IPV6_RECVERR))
				continue;
			memcpy(&error, CMSG_DATA(cmsg), sizeof(error));
			path.local = rloc->addr;
			path.remote = from_sockaddr(&name);
			if (error.ee_errno == EMSGSIZE && path.remote.af == path.local.af)
				am_core_lower_mtu(plane->core, &path, (uint16_t)(error.ee_info > 65535 ? 65535 : error.ee_info),
				    am_now_ms());
		}
	}
	/* Or it would be reported for ever. */
	(void)getsockopt(fd, SOL_SOCKET, SO_ERROR, &pending, &size);
}

static void *
decap_thread(void *context)
{
	struct am_plane *plane = context;
	struct epoll_event events[32];
	uint64_t next_tick = 0;

	while (!atomic_load(&plane->stopping)) {
		int i, count = epoll_wait(plane->epoll, events, 32, TICK_MS);
		const struct sockets *sockets = current_sockets(plane, DECAP_THREAD);
		uint64_t now = am_now_ms();

		if (count < 0 && errno != EINTR)
			break;
		for (i = 0; i < count; i++) {
			int fd = events[i].data.fd;
			unsigned r, s;

			if (fd == plane->wake[DECAP_THREAD]) {
				drain(fd);
				continue;
			}
			/* By number, for the socket may have been closed since. */
			for (r = 0; r < sockets->count; r++) {
				const struct rloc *rloc = &sockets->rlocs[r];

				if (rloc->receive == fd)
					receive(plane, rloc);
				for (s = 0; s < SENDERS; s++)
					if (rloc->send[s] == fd)
						read_errors(plane, rloc, fd);
			}
		}
		if (am_core_has_released(plane->core, AM_DECAP)) {
			struct am_held *held = am_core_released(plane->core, AM_DECAP);

			while (held != NULL) {
				struct am_held *next = held->next;

				decapsulate(plane, &held->outer, held->data, held->length, 0, now);
				deliver_joined(plane);
				free(held);
				held = next;
			}
		}
		if (now >= next_tick) {
			am_core_housekeeping(plane->core, now);
			next_tick = now + TICK_MS;
		}
	}
	return (NULL);
}

/* ------------------------------------------------------------ start and stop */

static void
destroy(struct am_plane *plane)
{
	unsigned i;

	if (plane->sockets != NULL)
		for (i = 0; i < plane->sockets->count; i++)
			close_rloc(&plane->sockets->rlocs[i]);
	free(plane->sockets);
	if (plane->epoll >= 0)
		close(plane->epoll);
	for (i = 0; i < 2; i++)
		if (plane->wake[i] >= 0)
			close(plane->wake[i]);
	if (plane->tun >= 0)
		close(plane->tun);
	free(plane->packets);
	free(plane->datagrams);
	pthread_mutex_destroy(&plane->swap);
	pthread_cond_destroy(&plane->swapped);
	free(plane);
}

int
am_plane_start(struct am_core *core, int tun, struct am_plane **out, const char **what)
{
	struct am_plane *plane = calloc(1, sizeof(*plane));
	int error, size = AM_VNET_SIZE, flags;

	*what = "memory for the data plane";
	if (plane == NULL) {
		close(tun);
		return (ENOMEM);
	}
	plane->core = core;
	plane->tun = tun;
	plane->epoll = plane->wake[0] = plane->wake[1] = -1;
	plane->generation = 1;
	pthread_mutex_init(&plane->swap, NULL);
	pthread_cond_init(&plane->swapped, NULL);
	plane->packets = malloc((size_t)PACKETS * BUFFER);
	plane->datagrams = malloc((size_t)DATAGRAMS * BUFFER);
	plane->sockets = calloc(1, sizeof(*plane->sockets));
	if (plane->packets == NULL || plane->datagrams == NULL || plane->sockets == NULL) {
		error = ENOMEM;
		goto fail;
	}
	*what = "setting the TUN device up for super-packets";
	/* Segmentation of UDP came with Linux 6.2; without it UDP comes cut. */
	if (ioctl(tun, TUNSETVNETHDRSZ, &size) != 0 ||
	    (ioctl(tun, TUNSETOFFLOAD, TUN_F_CSUM | TUN_F_TSO4 | TUN_F_TSO6 | TUN_F_TSO_ECN | TUN_F_USO4 | TUN_F_USO6) != 0 &&
	    ioctl(tun, TUNSETOFFLOAD, TUN_F_CSUM | TUN_F_TSO4 | TUN_F_TSO6 | TUN_F_TSO_ECN) != 0) ||
	    (flags = fcntl(tun, F_GETFL)) < 0 || fcntl(tun, F_SETFL, flags | O_NONBLOCK) != 0) {
		error = errno;
		goto fail;
	}
	*what = "opening event descriptors";
	if ((plane->epoll = epoll_create1(EPOLL_CLOEXEC)) < 0 ||
	    (plane->wake[0] = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK)) < 0 ||
	    (plane->wake[1] = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK)) < 0 ||
	    watch(plane, plane->wake[DECAP_THREAD], EPOLLIN) != 0) {
		error = errno;
		goto fail;
	}
	*what = "starting the data plane's threads";
	if ((error = pthread_create(&plane->threads[0], NULL, encap_thread, plane)) != 0)
		goto fail;
	if ((error = pthread_create(&plane->threads[1], NULL, decap_thread, plane)) != 0) {
		atomic_store(&plane->stopping, true);
		poke(plane->wake[0]);
		pthread_join(plane->threads[0], NULL);
		goto fail;
	}
	pthread_setname_np(plane->threads[0], "lisp-encap");
	pthread_setname_np(plane->threads[1], "lisp-decap");
	plane->nthreads = 2;
	*out = plane;
	return (0);
fail:
	destroy(plane);
	return (error);
}

void
am_plane_stop(struct am_plane *plane)
{
	unsigned i;

	if (plane == NULL)
		return;
	atomic_store(&plane->stopping, true);
	for (i = 0; i < plane->nthreads; i++)
		poke(plane->wake[i]);
	for (i = 0; i < plane->nthreads; i++)
		pthread_join(plane->threads[i], NULL);
	destroy(plane);
}

int
am_plane_interface_mtu(const struct lisp_addr *addr)
{
	struct ifaddrs *all, *one;
	struct ifreq request;
	int fd, mtu = 0;

	if (getifaddrs(&all) != 0)
		return (0);
	memset(&request, 0, sizeof(request));
	for (one = all; one != NULL; one = one->ifa_next) {
		struct sockaddr_storage name;
		struct lisp_addr have;

		if (one->ifa_addr == NULL || (one->ifa_addr->sa_family != AF_INET && one->ifa_addr->sa_family != AF_INET6))
			continue;
		memset(&name, 0, sizeof(name));
		memcpy(&name, one->ifa_addr, one->ifa_addr->sa_family == AF_INET ? sizeof(struct sockaddr_in) :
		    sizeof(struct sockaddr_in6));
		have = from_sockaddr(&name);
		if (lisp_addr_equal(&have, addr)) {
			strncpy(request.ifr_name, one->ifa_name, sizeof(request.ifr_name) - 1);
			break;
		}
	}
	freeifaddrs(all);
	if (request.ifr_name[0] == '\0' || (fd = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0)) < 0)
		return (0);
	if (ioctl(fd, SIOCGIFMTU, &request) == 0)
		mtu = request.ifr_mtu;
	close(fd);
	return (mtu);
}
