/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Watches the LISP data packets (RFC 9300, UDP 4341) of one interface and adds them up by outer address pair and inner TCP
 * 4-tuple. This is the lab's own reading of the wire, on purpose without a line of the product's.
 *
 *   flowwatch DEVICE [PORT]
 *
 * Each line on standard input is answered with one JSON array; end of input ends it. Flows are directed: out and back are
 * two entries. "syn": 'capable' or 'join' when a SYN with that MPTCP option (RFC 8684 section 3) was seen, 'plain' without one.
 */
#include <arpa/inet.h>
#include <errno.h>
#include <linux/if_ether.h>
#include <linux/if_packet.h>
#include <net/if.h>
#include <poll.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#define BUCKETS 65536
#define SNAP 512

struct key {
	uint8_t outer_family, inner_family;
	uint8_t outer[32], inner[32];
	uint8_t ports[4];
};

struct entry {
	struct key key;
	uint64_t packets, bytes;
	const char *syn;
	struct entry *next;
};

static struct entry *table[BUCKETS];
static uint64_t malformed;
static uint16_t lisp_port = 4341;

static struct entry *lookup(const struct key *key)
{
	const uint8_t *octets = (const uint8_t *)key;
	uint32_t hash = 2166136261u;
	struct entry *entry;
	size_t i;

	for (i = 0; i < sizeof(*key); i++)
		hash = (hash ^ octets[i]) * 16777619u;
	hash &= BUCKETS - 1;
	for (entry = table[hash]; entry != NULL; entry = entry->next)
		if (memcmp(&entry->key, key, sizeof(*key)) == 0)
			return entry;
	entry = calloc(1, sizeof(*entry));
	if (entry == NULL)
		exit(1);
	entry->key = *key;
	entry->next = table[hash];
	table[hash] = entry;
	return entry;
}

/* Octets of an IP header with its options, 0 when it is none; v6 extension headers do not occur in the lab. */
static size_t ip_header(const uint8_t *p, size_t len, uint8_t *family, uint8_t *protocol, uint8_t pair[32])
{
	memset(pair, 0, 32);
	if (len >= 20 && p[0] >> 4 == 4) {
		size_t header = (size_t)(p[0] & 15) * 4;

		*family = 4;
		*protocol = p[9];
		memcpy(pair, p + 12, 4);
		memcpy(pair + 16, p + 16, 4);
		return header >= 20 && header <= len ? header : 0;
	}
	if (len >= 40 && p[0] >> 4 == 6) {
		*family = 6;
		*protocol = p[6];
		memcpy(pair, p + 8, 16);
		memcpy(pair + 16, p + 24, 16);
		return 40;
	}
	return 0;
}

static const char *syn_kind(const uint8_t *tcp, size_t len)
{
	size_t end = (size_t)(tcp[12] >> 4) * 4, at = 20;

	if (end > len)
		end = len;
	while (at + 1 < end && tcp[at] != 0) {
		if (tcp[at] == 1) {
			at++;
			continue;
		}
		if (tcp[at + 1] < 2)
			break;
		if (tcp[at] == 30 && at + 2 < end) {
			if (tcp[at + 2] >> 4 == 0)
				return "capable";
			if (tcp[at + 2] >> 4 == 1)
				return "join";
		}
		at += tcp[at + 1];
	}
	return "plain";
}

static void account(const uint8_t *p, size_t captured, size_t length)
{
	struct entry *entry;
	struct key key;
	uint8_t protocol;
	size_t at, header;

	memset(&key, 0, sizeof(key));
	at = ip_header(p, captured, &key.outer_family, &protocol, key.outer);
	if (at == 0 || protocol != 17 || at + 8 > captured)
		return;
	if ((p[at + 2] << 8 | p[at + 3]) != lisp_port)
		return;
	at += 16; /* UDP and LISP headers */
	header = at < captured ? ip_header(p + at, captured - at, &key.inner_family, &protocol, key.inner) : 0;
	if (header == 0) {
		malformed++;
		return;
	}
	at += header;
	if (protocol != 6)
		return;
	if (at + 20 > captured) {
		malformed++;
		return;
	}
	memcpy(key.ports, p + at, 4);
	entry = lookup(&key);
	entry->packets++;
	entry->bytes += length;
	if ((p[at + 13] & 0x12) == 0x02)
		entry->syn = syn_kind(p + at, captured - at);
}

static const char *text(uint8_t family, const uint8_t *address, char *buffer)
{
	return inet_ntop(family == 4 ? AF_INET : AF_INET6, address, buffer, INET6_ADDRSTRLEN);
}

static void report(void)
{
	char a[INET6_ADDRSTRLEN], b[INET6_ADDRSTRLEN], c[INET6_ADDRSTRLEN], d[INET6_ADDRSTRLEN];
	const char *comma = "";
	size_t i;

	printf("{\"malformed\":%llu,\"flows\":[", (unsigned long long)malformed);
	for (i = 0; i < BUCKETS; i++)
		for (const struct entry *e = table[i]; e != NULL; e = e->next) {
			const struct key *k = &e->key;

			printf("%s{\"outer\":[\"%s\",\"%s\"],\"inner\":[\"%s\",%d,\"%s\",%d],\"packets\":%llu,\"bytes\":%llu,\"syn\":",
			    comma, text(k->outer_family, k->outer, a), text(k->outer_family, k->outer + 16, b),
			    text(k->inner_family, k->inner, c), k->ports[0] << 8 | k->ports[1],
			    text(k->inner_family, k->inner + 16, d), k->ports[2] << 8 | k->ports[3],
			    (unsigned long long)e->packets, (unsigned long long)e->bytes);
			printf(e->syn != NULL ? "\"%s\"}" : "null}", e->syn);
			comma = ",";
		}
	printf("]}\n");
	fflush(stdout);
}

int main(int argc, char **argv)
{
	struct sockaddr_ll where = {.sll_family = AF_PACKET, .sll_protocol = htons(ETH_P_ALL)};
	int s, size = 8 << 20;

	if (argc < 2) {
		fprintf(stderr, "usage: flowwatch DEVICE [PORT]\n");
		return 2;
	}
	if (argc > 2)
		lisp_port = (uint16_t)atoi(argv[2]);
	s = socket(AF_PACKET, SOCK_DGRAM, htons(ETH_P_ALL));
	if (s < 0) {
		perror("flowwatch: packet socket");
		return 1;
	}
	where.sll_ifindex = (int)if_nametoindex(argv[1]);
	setsockopt(s, SOL_SOCKET, SO_RCVBUF, &size, sizeof(size));
	if (where.sll_ifindex == 0 || bind(s, (struct sockaddr *)&where, sizeof(where)) < 0) {
		perror("flowwatch: device");
		return 1;
	}
	printf("ready\n");
	fflush(stdout);
	for (;;) {
		struct pollfd wait[2] = {{.fd = s, .events = POLLIN}, {.fd = 0, .events = POLLIN}};
		uint8_t packet[SNAP];
		char line[64];
		ssize_t n;

		if (poll(wait, 2, -1) < 0 && errno != EINTR)
			return 1;
		if (wait[0].revents & POLLIN) {
			/* Everything queued first: a question is answered with all that came before it. */
			while ((n = recv(s, packet, sizeof(packet), MSG_DONTWAIT | MSG_TRUNC)) >= 0)
				account(packet, (size_t)n < sizeof(packet) ? (size_t)n : sizeof(packet), (size_t)n);
		}
		if (wait[1].revents & (POLLIN | POLLHUP)) {
			n = read(0, line, sizeof(line));
			if (n <= 0)
				return 0;
			report();
		}
	}
}
