/* SPDX-License-Identifier: BSD-2-Clause */

#include <sys/param.h>
#include <sys/socket.h>

#include <netinet/in.h>
#include <netinet/in_systm.h>
#include <netinet/ip.h>
#include <netinet/ip_icmp.h>
#include <netinet/tcp.h>

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <unistd.h>

#include "divert.h"

#define	OPTION_MPTCP	30	/* of TCP (RFC 8684 section 3) */
#define	MP_JOIN		1	/* its subtype */
#define	IPV6_HEADER	40

/* RFC 1071. */
static uint32_t
add(uint32_t sum, const void *octets, size_t length)
{
	const unsigned char *p = octets;
	size_t i;

	for (i = 0; i + 1 < length; i += 2)
		sum += (uint32_t)p[i] << 8 | p[i + 1];
	if (length % 2 != 0)
		sum += (uint32_t)p[length - 1] << 8;
	return (sum);
}

static uint16_t
fold(uint32_t sum)
{
	while (sum >> 16 != 0)
		sum = (sum & 0xffff) + (sum >> 16);
	return (htons((uint16_t)~sum));
}

int
divert_open(uint16_t port, int buffer, int *fd)
{
	struct sockaddr_in address = { .sin_len = sizeof(address), .sin_family = AF_INET, .sin_port = htons(port) };
	int error, s;

	s = socket(PF_DIVERT, SOCK_RAW | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
	if (s == -1)
		return (errno);
	/* As much as the system allows is enough: the default holds some 200 SYNs. */
	if (buffer > 0)
		(void)setsockopt(s, SOL_SOCKET, SO_RCVBUF, &buffer, sizeof(buffer));
	if (bind(s, (struct sockaddr *)&address, sizeof(address)) == -1) {
		error = errno;
		close(s);
		return (error);
	}
	*fd = s;
	return (0);
}

/*
 * On a virtual network a sender may leave the checksum open: the field has the sum of the pseudo header, and the kernel knew from the
 * interface that it need not look. That is forgotten on the way through here, so the sum is finished.
 */
static void
finish_checksum(struct divert_packet *packet)
{
	struct ip ip;
	size_t header, length;
	uint32_t pseudo;
	uint16_t sum;

	if (packet->length < sizeof(ip))
		return;
	memcpy(&ip, packet->octets, sizeof(ip));
	header = (size_t)ip.ip_hl << 2;
	if (ip.ip_p != IPPROTO_TCP || (ip.ip_off & htons(IP_MF | IP_OFFMASK)) != 0 || ntohs(ip.ip_len) > packet->length ||
	    ntohs(ip.ip_len) < header + sizeof(struct tcphdr))
		return;
	length = ntohs(ip.ip_len) - header;
	pseudo = add(0, &ip.ip_src, sizeof(ip.ip_src) + sizeof(ip.ip_dst)) + IPPROTO_TCP + (uint32_t)length;
	memcpy(&sum, packet->octets + header + offsetof(struct tcphdr, th_sum), sizeof(sum));
	if (sum != (uint16_t)~fold(pseudo))
		return;
	/* What is summed has the pseudo header's sum in it, in the field. */
	sum = fold(add(0, packet->octets + header, length));
	memcpy(packet->octets + header + offsetof(struct tcphdr, th_sum), &sum, sizeof(sum));
}

int
divert_receive(int fd, struct divert_packet *packet)
{
	struct iovec room = { .iov_base = packet->octets, .iov_len = sizeof(packet->octets) };
	struct msghdr message = { .msg_name = &packet->from, .msg_namelen = sizeof(packet->from), .msg_iov = &room,
	    .msg_iovlen = 1 };
	ssize_t octets;

	do
		octets = recvmsg(fd, &message, 0);
	while (octets == -1 && errno == EINTR);
	if (octets == -1)
		return (errno);
	if ((message.msg_flags & MSG_TRUNC) != 0)
		return (EMSGSIZE);
	packet->length = (size_t)octets;
	finish_checksum(packet);
	return (0);
}

bool
divert_parse(const struct divert_packet *packet, struct divert_syn *syn)
{
	struct tcphdr th;
	struct ip ip;
	size_t header;

	if (packet->length < sizeof(ip))
		return (false);
	memcpy(&ip, packet->octets, sizeof(ip));
	header = (size_t)ip.ip_hl << 2;
	if (ip.ip_v != IPVERSION || header < sizeof(ip) || ip.ip_p != IPPROTO_TCP ||
	    (ip.ip_off & htons(IP_MF | IP_OFFMASK)) != 0 || ntohs(ip.ip_len) > packet->length ||
	    ntohs(ip.ip_len) < header + sizeof(th))
		return (false);
	memcpy(&th, packet->octets + header, sizeof(th));
	if ((th.th_flags & (TH_SYN | TH_ACK | TH_RST | TH_FIN)) != TH_SYN || ((size_t)th.th_off << 2) < sizeof(th) ||
	    header + ((size_t)th.th_off << 2) > ntohs(ip.ip_len))
		return (false);
	memset(syn, 0, sizeof(*syn));
	syn->client.sin_len = syn->destination.sin_len = sizeof(struct sockaddr_in);
	syn->client.sin_family = syn->destination.sin_family = AF_INET;
	syn->client.sin_addr = ip.ip_src;
	syn->client.sin_port = th.th_sport;
	syn->destination.sin_addr = ip.ip_dst;
	syn->destination.sin_port = th.th_dport;
	syn->sequence = ntohl(th.th_seq);
	syn->joins = divert_joins(packet->octets, packet->length);
	return (true);
}

bool
divert_joins(const unsigned char *packet, size_t length)
{
	const unsigned char *tcp;
	size_t at, header, options;

	if (length < sizeof(struct ip))
		return (false);
	if (packet[0] >> 4 == IPVERSION)
		header = (size_t)(packet[0] & 0xf) << 2;
	else if (packet[0] >> 4 == 6 && length >= IPV6_HEADER && packet[6] == IPPROTO_TCP)
		header = IPV6_HEADER;
	else
		return (false);
	if (length < header + sizeof(struct tcphdr))
		return (false);
	tcp = packet + header;
	options = (size_t)(tcp[12] >> 4) << 2;
	if (length < header + options)
		return (false);
	for (at = sizeof(struct tcphdr); at < options && tcp[at] != TCPOPT_EOL;) {
		if (tcp[at] == TCPOPT_NOP) {
			at++;
			continue;
		}
		if (at + 2 > options || tcp[at + 1] < 2 || at + tcp[at + 1] > options)
			return (false);
		if (tcp[at] == OPTION_MPTCP && tcp[at + 1] > 2)
			return (tcp[at + 2] >> 4 == MP_JOIN);
		at += tcp[at + 1];
	}
	return (false);
}

static int
put(int fd, const void *octets, size_t length, const struct sockaddr_in *where)
{
	ssize_t sent;

	do
		sent = sendto(fd, octets, length, 0, (const struct sockaddr *)where, sizeof(*where));
	while (sent == -1 && errno == EINTR);
	return (sent == -1 ? errno : 0);
}

int
divert_inject(int fd, const struct divert_packet *packet)
{
	return (put(fd, packet->octets, packet->length, &packet->from));
}

/* To output instead of input: no address says so. The direction stays, or pf would divert it. */
static int
put_out(int fd, const struct divert_packet *packet, const void *octets, size_t length)
{
	struct sockaddr_in where = packet->from;

	where.sin_addr.s_addr = INADDR_ANY;
	memset(where.sin_zero, 0, sizeof(where.sin_zero));
	return (put(fd, octets, length, &where));
}

static void
ip_header(struct ip *ip, size_t length, uint8_t protocol, struct in_addr source, struct in_addr destination)
{
	memset(ip, 0, sizeof(*ip));
	ip->ip_v = IPVERSION;
	ip->ip_hl = sizeof(*ip) >> 2;
	ip->ip_len = htons((uint16_t)length);
	ip->ip_off = htons(IP_DF);
	ip->ip_ttl = IPDEFTTL;
	ip->ip_p = protocol;
	ip->ip_src = source;
	ip->ip_dst = destination;
	ip->ip_sum = fold(add(0, ip, sizeof(*ip)));
}

int
divert_refuse(int fd, const struct divert_packet *packet)
{
	struct {
		struct ip ip;
		struct tcphdr th;
	} answer;
	struct divert_syn syn;
	struct tcphdr th;
	struct ip ip;
	size_t carried, header;
	uint32_t sum;

	if (!divert_parse(packet, &syn))
		return (EINVAL);
	memcpy(&ip, packet->octets, sizeof(ip));
	header = (size_t)ip.ip_hl << 2;
	memcpy(&th, packet->octets + header, sizeof(th));
	carried = ntohs(ip.ip_len) - header - ((size_t)th.th_off << 2);
	memset(&answer, 0, sizeof(answer));
	ip_header(&answer.ip, sizeof(answer), IPPROTO_TCP, syn.destination.sin_addr, syn.client.sin_addr);
	answer.th.th_sport = syn.destination.sin_port;
	answer.th.th_dport = syn.client.sin_port;
	/* RFC 9293 section 3.10.7.1: the SYN counts for one, and so does each octet it carries. */
	answer.th.th_ack = htonl(syn.sequence + 1 + (uint32_t)carried);
	answer.th.th_off = sizeof(answer.th) >> 2;
	answer.th.th_flags = TH_RST | TH_ACK;
	sum = add(0, &answer.ip.ip_src, sizeof(answer.ip.ip_src) + sizeof(answer.ip.ip_dst));
	sum += IPPROTO_TCP + sizeof(answer.th);
	answer.th.th_sum = fold(add(sum, &answer.th, sizeof(answer.th)));
	return (put_out(fd, packet, &answer, sizeof(answer)));
}

int
divert_unreachable(int fd, const struct divert_packet *packet, uint8_t code)
{
	struct {
		struct ip ip;
		uint8_t type, code;
		uint16_t sum;
		uint32_t zero;
		unsigned char quoted[60 + 8];
	} answer;
	struct divert_syn syn;
	size_t quoted;
	struct ip ip;

	if (!divert_parse(packet, &syn) || packet->from.sin_addr.s_addr == INADDR_ANY)
		return (EINVAL);
	memcpy(&ip, packet->octets, sizeof(ip));
	memset(&answer, 0, sizeof(answer));
	answer.type = ICMP_UNREACH;
	answer.code = code;
	/* RFC 792: the header and eight octets of what is behind it. */
	quoted = ((size_t)ip.ip_hl << 2) + 8;
	memcpy(answer.quoted, packet->octets, quoted);
	answer.sum = fold(add(0, &answer.type, 8 + quoted));
	ip_header(&answer.ip, sizeof(ip) + 8 + quoted, IPPROTO_ICMP, packet->from.sin_addr, syn.client.sin_addr);
	return (put_out(fd, packet, &answer, sizeof(ip) + 8 + quoted));
}
