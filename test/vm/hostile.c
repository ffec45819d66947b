/* SPDX-License-Identifier: BSD-2-Clause */

/*
 * A peer that speaks MPTCP as far as it pleases: a TCP of its own on raw frames, beside the kernel's.
 *
 *	QEMU (FreeBSD) ==== tap ---- this program: 198.18.0.0/16, behind 203.0.113.66 with the Ethernet address 02:00:00:00:00:66
 *	                        \--- Linux
 *
 *	hostile <tap> <server's IPv4 address> <its Ethernet address>
 *
 * Commands on standard input, one a line, each answered with one line. Each connection has an address and port of its own. Those behind
 * the first four are about the connection opened last.
 *
 *	halfopen PORT COUNT	SYNs with MP_CAPABLE, and nothing after them
 *	undecided PORT COUNT	handshakes whose third ACK is out of order and has no option
 *	open PORT COUNT		connections, established; nothing is sent
 *	reset			RST to all that were opened
 *	echo COUNT		sends so many octets and waits until they come back
 *	send COUNT		the same, but waits only for TCP's acknowledgement
 *	beyond COUNT		segments of data a gigabyte beyond the window of the connection
 *	tiny COUNT		segments of one octet, every other one missing
 *	again COUNT		the same octet, as often, under mappings that contradict each other
 *	maps COUNT		mappings of single octets that do not come
 *	addaddr COUNT right|wrong	ADD_ADDRs, with a right or a wrong HMAC
 *	join COUNT right|wrong|silent|unknown	MP_JOINs: with a right or wrong HMAC, without a third ACK, with tokens nobody has
 */
#include <arpa/inet.h>
#include <linux/if_packet.h>
#include <net/ethernet.h>
#include <net/if.h>
#include <poll.h>
#include <stdio.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#include "mptcp_option.h"
#include "packet.h"

#define	CONNECTIONS	16384
#define	FIRST_PORT	20000
#define	DATA_MAX	1000
#define	PATIENCE_MS	10000

enum { FIN = 0x01, SYN = 0x02, RST = 0x04, PSH = 0x08, ACK = 0x10 };

struct connection {
	uint32_t	address;	/* host order */
	uint16_t	port, server;
	uint32_t	iss, irs, snd_next, rcv_next, acked;
	uint32_t	window;
	uint64_t	key, peer_key;
	uint32_t	token, peer_token;
	uint64_t	dsn, peer_dsn;	/* next to be sent, next to come */
	uint64_t	dsn_first, peer_dsn_first;
	struct connection *owner;	/* of a further subflow */
	uint32_t	nonce, peer_nonce;
	bool		synack, mptcp, reset, fourth, proven;
	unsigned	echoes;		/* of ADD_ADDR */
	uint64_t	octets;		/* that came back as they should */
	bool		different;
};

static struct connection connections[CONNECTIONS];
static unsigned used, opened;
static struct connection *current;
static int fd;
static struct sockaddr_ll to = { .sll_family = AF_PACKET, .sll_halen = 6 };
static const uint8_t own_mac[6] = { 2, 0, 0, 0, 0, 0x66 };
static uint8_t server_mac[6];
static uint32_t server_address;

static uint64_t
any64(void)
{
	return ((uint64_t)any() << 32 | any());
}

/* The octet with this data sequence number. */
static uint8_t
octet(const struct connection *c, uint64_t dsn)
{
	return ((uint8_t)((dsn - c->dsn_first) * 31 >> 3));
}

/* ---- out ---- */

static void
transmit(struct connection *c, uint8_t flags, uint32_t seq, const struct mptcp_option *option, const uint8_t *data, size_t length)
{
	uint8_t frame[14 + 20 + 60 + DATA_MAX] = { 0 }, *ip = frame + 14, *tcp = ip + 20, *end = tcp + 20;
	size_t size = 0, total;

	memcpy(frame, server_mac, 6);
	memcpy(frame + 6, own_mac, 6);
	put16(frame + 12, ETHERTYPE_IP);
	if (flags & SYN) {
		static const uint8_t mss[] = { 2, 4, 1460 >> 8, 1460 & 255 };

		memcpy(end, mss, sizeof(mss));
		end += sizeof(mss);
	}
	if (option != NULL) {
		size = mptcp_option_build(option, (flags & (SYN | ACK)) == SYN ? MPTCP_SEGMENT_SYN : MPTCP_SEGMENT_OTHER, end, 40);
		if (size == 0)
			abort();
		for (end += size; (end - tcp) % 4 != 0; )
			*end++ = 1;
	}
	put16(tcp, c->port);
	put16(tcp + 2, c->server);
	put32(tcp + 4, seq);
	put32(tcp + 8, flags & ACK ? c->rcv_next : 0);
	tcp[12] = (uint8_t)((end - tcp) / 4 << 4);
	tcp[13] = flags;
	put16(tcp + 14, 65535);
	if (length > 0)
		memcpy(end, data, length);
	end += length;
	total = (size_t)(end - ip);
	ip[0] = 0x45;
	put16(ip + 2, (unsigned)total);
	put16(ip + 4, any() & 0xffff);
	ip[8] = 64;
	ip[9] = 6;
	put32(ip + 12, c->address);
	put32(ip + 16, server_address);
	put16(ip + 10, finish(add(0, ip, 20)));
	put16(tcp + 16, finish(add(add(6 + (uint32_t)(end - tcp), ip + 12, 8), tcp, (size_t)(end - tcp))));
	for (int tries = 0; sendto(fd, frame, total + 14, 0, (struct sockaddr *)&to, sizeof(to)) == -1 && tries < 1000; tries++)
		usleep(1000);
}

static struct mptcp_option
data_ack(const struct connection *c)
{
	return ((struct mptcp_option){ .subtype = MPTCP_DSS, .dss = { .has_ack = true, .ack_64 = true, .ack = c->owner->peer_dsn } });
}

static void
acknowledge(struct connection *c)
{
	struct mptcp_option option = data_ack(c);

	transmit(c, ACK, c->snd_next, c->mptcp ? &option : NULL, NULL, 0);
}

static struct mptcp_option
mapping(const struct connection *c, uint64_t dsn, uint32_t ssn, size_t length)
{
	struct mptcp_option option = data_ack(c);

	option.dss.has_map = option.dss.dsn_64 = true;
	option.dss.dsn = dsn;
	option.dss.ssn = ssn;
	option.dss.length = (uint16_t)length;
	return (option);
}

static void
send_data(struct connection *c, uint64_t dsn, const uint8_t *data, size_t length)
{
	struct mptcp_option option = mapping(c, dsn, c->snd_next - c->iss, length);

	transmit(c, ACK | PSH, c->snd_next, &option, data, length);
	c->snd_next += (uint32_t)length;
}

/* ---- in ---- */

static void
take(struct connection *c, const uint8_t *tcp, size_t length)
{
	size_t header = (size_t)(tcp[12] >> 4) * 4, octets = length - header, i;
	uint32_t seq = get32(tcp + 4);
	uint8_t flags = tcp[13], hmac[MPTCP_HMAC_SIZE];
	const struct mptcp_option *option;
	struct mptcp_options options;

	mptcp_options_parse(tcp + 20, header - 20, flags & SYN ? MPTCP_SEGMENT_SYNACK : MPTCP_SEGMENT_OTHER, &options);
	if (flags & RST) {
		c->reset = true;
		return;
	}
	if ((flags & (SYN | ACK)) == (SYN | ACK)) {
		c->irs = seq;
		c->rcv_next = seq + 1;
		c->snd_next = c->iss + 1;
		c->acked = get32(tcp + 8);
		if ((option = mptcp_options_find(&options, MPTCP_MP_CAPABLE)) != NULL) {
			c->mptcp = true;
			c->peer_key = option->capable.sender_key;
			mptcp_key_derive(c->peer_key, &c->peer_token, &c->peer_dsn);
			c->peer_dsn_first = ++c->peer_dsn;
		} else if ((option = mptcp_options_find(&options, MPTCP_MP_JOIN)) != NULL) {
			c->mptcp = true;
			c->peer_nonce = option->join.nonce;
			mptcp_join_hmac(c->peer_key, c->key, c->peer_nonce, c->nonce, hmac);
			c->proven = memcmp(hmac, option->join.hmac, MPTCP_HMAC_SYNACK) == 0;
		}
		c->synack = true;
		return;
	}
	if (!c->synack)
		return;
	c->acked = get32(tcp + 8);
	c->window = get16(tcp + 14);
	c->fourth = true;
	if ((option = mptcp_options_find(&options, MPTCP_ADD_ADDR)) != NULL && option->add_addr.echo)
		c->echoes++;
	if (octets > 0) {
		option = mptcp_options_find(&options, MPTCP_DSS);
		if (seq == c->rcv_next && option != NULL && option->dss.has_map) {
			struct connection *o = c->owner;
			uint64_t at = option->dss.dsn + (seq - c->irs - option->dss.ssn) - o->peer_dsn_first;

			c->rcv_next += (uint32_t)octets;
			for (i = 0; i < octets; i++)
				o->different |= tcp[header + i] != octet(o, o->dsn_first + (uint32_t)at + i);
			o->octets += octets;
			/* Whichever subflow it came by: none is lost here, so all before it comes soon. */
			o->peer_dsn += octets;
		}
		acknowledge(c);
	}
}

/* Takes what has come, and waits for it `ms` at most. */
static bool
pump(int ms)
{
	static uint8_t frame[70000];
	struct pollfd pfd = { .fd = fd, .events = POLLIN };
	struct sockaddr_ll from;
	socklen_t from_length;
	const uint8_t *ip = frame + 14, *tcp;
	struct connection *c;
	size_t header, length;
	bool any_came = false;
	ssize_t n;

	while (poll(&pfd, 1, any_came ? 0 : ms) > 0) {
		from_length = sizeof(from);
		n = recvfrom(fd, frame, sizeof(frame), 0, (struct sockaddr *)&from, &from_length);
		if (n < 14 + 40 || from.sll_pkttype == PACKET_OUTGOING || memcmp(frame, own_mac, 6) != 0 || get16(frame + 12) != ETHERTYPE_IP ||
		    ip[9] != 6)
			continue;
		header = (size_t)(ip[0] & 15) * 4;
		length = get16(ip + 2);
		tcp = ip + header;
		if (length > (size_t)n - 14 || length < header + 20 || length < header + (size_t)(tcp[12] >> 4) * 4)
			continue;
		c = &connections[(get16(tcp + 2) - FIRST_PORT) % CONNECTIONS];
		if (c->port == get16(tcp + 2) && c->address == get32(ip + 16))
			take(c, tcp, length - header);
		any_came = true;
	}
	return (any_came);
}

static uint64_t
now_ms(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	return ((uint64_t)ts.tv_sec * 1000 + (uint64_t)ts.tv_nsec / 1000000);
}

/* Until nothing has come for 300 ms, or patience ends. */
static void
settle(void)
{
	uint64_t end = now_ms() + PATIENCE_MS;

	while (pump(300) && now_ms() < end)
		;
}

static bool
all(struct connection *first, unsigned count, bool (*is)(const struct connection *))
{
	for (unsigned i = 0; i < count; i++)
		if (!is(&first[i]))
			return (false);
	return (true);
}

static void
wait_some(struct connection *first, unsigned count, bool (*is)(const struct connection *), unsigned ms)
{
	uint64_t end = now_ms() + ms;

	while (!all(first, count, is) && now_ms() < end)
		pump(50);
}

static void
wait_for(struct connection *first, unsigned count, bool (*is)(const struct connection *))
{
	wait_some(first, count, is, PATIENCE_MS);
}

static bool is_answered(const struct connection *c) { return (c->synack || c->reset); }
static bool is_decided(const struct connection *c) { return (c->fourth || c->reset); }
static bool is_acknowledged(const struct connection *c) { return (c->reset || (int32_t)(c->acked - c->snd_next) >= 0); }

static unsigned
count_of(const struct connection *first, unsigned count, bool (*is)(const struct connection *))
{
	unsigned n = 0;

	for (unsigned i = 0; i < count; i++)
		n += is(&first[i]);
	return (n);
}

static bool has_synack(const struct connection *c) { return (c->synack); }
static bool has_mptcp(const struct connection *c) { return (c->mptcp); }
static bool has_reset(const struct connection *c) { return (c->reset); }
static bool has_fourth(const struct connection *c) { return (c->fourth && !c->reset); }
static bool has_proof(const struct connection *c) { return (c->proven); }

/* ---- commands ---- */

/* Fresh ones, side by side. */
static struct connection *
fresh(unsigned count, uint16_t server)
{
	struct connection *first;

	if (count > CONNECTIONS)
		count = CONNECTIONS;
	if (used + count > CONNECTIONS)
		used = opened = 0;
	first = &connections[used];
	for (unsigned i = 0; i < count; i++) {
		struct connection *c = &first[i];

		memset(c, 0, sizeof(*c));
		c->port = (uint16_t)(FIRST_PORT + used);
		/* Never the same two together for long: what an earlier one left must not be met. */
		c->address = 0xc6120000 + 1 + any() % 65000;
		c->server = server;
		c->owner = c;
		c->iss = any();
		c->key = any64();
		mptcp_key_derive(c->key, &c->token, &c->dsn);
		c->dsn_first = ++c->dsn;
		used++;
	}
	return (first);
}

static void
begin(struct connection *c)
{
	struct mptcp_option option = { .subtype = MPTCP_MP_CAPABLE, .capable = { .flags = MPTCP_CAPABLE_SHA256 } };

	transmit(c, SYN, c->iss, &option, NULL, 0);
}

static void
handshakes(char kind, uint16_t port, unsigned count)
{
	struct connection *first = fresh(count, port), *c;

	for (unsigned left = count, batch; left > 0; left -= batch) {
		batch = left < 32 ? left : 32;
		c = &first[count - left];
		for (unsigned i = 0; i < batch; i++)
			begin(&c[i]);
		/* Those half open are not to be waited for long: there may be no answer. */
		wait_some(c, batch, is_answered, kind == 'h' ? 200 : PATIENCE_MS);
		for (unsigned i = 0; i < batch && kind != 'h'; i++) {
			static const uint8_t data[] = "?";
			struct mptcp_option option = { .subtype = MPTCP_MP_CAPABLE, .capable = { .flags = MPTCP_CAPABLE_SHA256,
			    .sender_key = c[i].key, .receiver_key = c[i].peer_key } };

			if (!c[i].synack)
				continue;
			if (kind == 'u')
				transmit(&c[i], ACK, c[i].snd_next + 100, NULL, data, 1);
			else {
				transmit(&c[i], ACK, c[i].snd_next, c[i].mptcp ? &option : NULL, NULL, 0);
				acknowledge(&c[i]);
			}
		}
		pump(5);
	}
	settle();
	current = &first[count - 1];
	printf("sent %u synacks %u mptcp %u resets %u\n", count, count_of(first, count, has_synack), count_of(first, count, has_mptcp),
	    count_of(first, count, has_reset));
}

static void
reset(void)
{
	unsigned n = 0;

	for (; opened < used; opened++) {
		struct connection *c = &connections[opened];

		if (c->synack && !c->reset) {
			transmit(c, RST | ACK, c->snd_next, NULL, NULL, 0);
			n++;
		}
		if (n % 32 == 31)
			pump(5);
	}
	settle();
	printf("reset %u\n", n);
}

static bool
came_back(const struct connection *c)
{
	return (c->reset || c->dsn_first + c->octets >= c->dsn);
}

static void
echo(unsigned count, bool (*arrived)(const struct connection *))
{
	uint8_t data[DATA_MAX];

	for (unsigned n; count > 0 && !current->reset; count -= n) {
		n = count < DATA_MAX ? count : DATA_MAX;
		for (unsigned i = 0; i < n; i++)
			data[i] = octet(current, current->dsn + i);
		send_data(current, current->dsn, data, n);
		current->dsn += n;
		wait_for(current, 1, arrived);
	}
	printf("%s %llu\n", current->reset ? "reset" : current->different ? "different" : !arrived(current) ? "missing" :
	    arrived == came_back ? "same" : "sent", (unsigned long long)current->octets);
}

/* Segments nobody answers would be lost to full queues: an old one in between is answered, as keepalives are. */
static void
keep_pace(struct connection *c)
{
	struct mptcp_option option = data_ack(c);

	c->fourth = false;
	transmit(c, ACK, c->snd_next - 1, &option, NULL, 0);
	wait_some(c, 1, is_decided, 200);
}

/* Data that is no use, as fast as TCP takes it. */
static void
flood(char kind, unsigned count)
{
	struct connection *c = current;
	uint8_t data[DATA_MAX] = { 0 };
	struct mptcp_option option;
	unsigned i;

	for (i = 0; i < count && !c->reset; i++) {
		switch (kind) {
		case 'm':
			option = mapping(c, c->dsn + 1 + 2 * (uint64_t)i, c->snd_next - c->iss + 1 + 2 * i, 1);
			transmit(c, ACK, c->snd_next, &option, NULL, 0);
			break;
		case 'b':
			send_data(c, c->dsn + (1u << 30) + i, data, DATA_MAX);
			break;
		case 't':
			data[0] = octet(c, c->dsn + 1 + 2 * (uint64_t)i);
			send_data(c, c->dsn + 1 + 2 * (uint64_t)i, data, 1);
			break;
		default:
			/* What is mapped already: only the first one counts. */
			data[0] = octet(c, c->dsn + 1);
			send_data(c, c->dsn + 1 + any() % 1000, data, 1);
			c->snd_next--;
			break;
		}
		if (i % 16 == 15) {
			if (kind == 'm')
				keep_pace(c);
			wait_for(c, 1, is_acknowledged);
			if (!is_acknowledged(c))
				break;
		}
	}
	if (kind == 'a')
		c->snd_next++;
	settle();
	printf("%s %u\n", c->reset ? "reset" : is_acknowledged(c) ? "sent" : "stuck", i);
}

static void
addaddr(unsigned count, bool right)
{
	struct connection *c = current;
	unsigned before = c->echoes;

	for (unsigned i = 0; i < count && !c->reset; i++) {
		struct mptcp_option option = { .subtype = MPTCP_ADD_ADDR, .add_addr = { .address_id = (uint8_t)(1 + i % 200), .address_length = 4 } };

		put32(option.add_addr.address, 0xc6130000 + i);
		mptcp_add_addr_hmac(c->key, c->peer_key, option.add_addr.address_id, option.add_addr.address, 4, 0, option.add_addr.hmac);
		if (!right)
			option.add_addr.hmac[any() % 8] ^= (uint8_t)(1 + any() % 255);
		transmit(c, ACK, c->snd_next, &option, NULL, 0);
		if (i % 32 == 31)
			keep_pace(c);
	}
	settle();
	printf("%s %u echoes %u\n", c->reset ? "reset" : "sent", count, c->echoes - before);
}

static void
join(unsigned count, const char *kind)
{
	struct connection *owner = current, *first, *c;
	uint8_t hmac[MPTCP_HMAC_SIZE];

	first = fresh(count, owner->server);
	for (unsigned left = count, batch; left > 0; left -= batch) {
		batch = left < 4 ? left : 4;
		c = &first[count - left];
		for (unsigned i = 0; i < batch; i++) {
			struct mptcp_option option = { .subtype = MPTCP_MP_JOIN, .join = { .address_id = (uint8_t)(1 + any() % 250),
			    .token = *kind == 'u' ? any() : owner->peer_token, .nonce = c[i].nonce = any() } };

			c[i].key = owner->key;
			c[i].peer_key = owner->peer_key;
			c[i].owner = owner;
			transmit(&c[i], SYN, c[i].iss, &option, NULL, 0);
		}
		/* The kernel sends no more than some hundred resets a second, so not all have an answer. */
		wait_some(c, batch, is_answered, *kind == 'u' || *kind == 's' ? 10 : PATIENCE_MS);
		for (unsigned i = 0; i < batch && (*kind == 'r' || *kind == 'w'); i++) {
			struct mptcp_option option = { .subtype = MPTCP_MP_JOIN };

			if (!c[i].synack)
				continue;
			mptcp_join_hmac(owner->key, owner->peer_key, c[i].nonce, c[i].peer_nonce, hmac);
			memcpy(option.join.hmac, hmac, MPTCP_HMAC_ACK);
			if (*kind == 'w')
				option.join.hmac[any() % MPTCP_HMAC_ACK] ^= (uint8_t)(1 + any() % 255);
			transmit(&c[i], ACK, c[i].snd_next, &option, NULL, 0);
		}
		if (*kind == 'r' || *kind == 'w')
			wait_for(c, batch, is_decided);
	}
	settle();
	printf("sent %u synacks %u proofs %u resets %u accepted %u\n", count, count_of(first, count, has_synack),
	    count_of(first, count, has_proof), count_of(first, count, has_reset), count_of(first, count, has_fourth));
}

static void
command(char *line)
{
	char *words[4] = { "", "", "", "" }, *save = NULL, *word;
	int n = 0;

	for (word = strtok_r(line, " \n", &save); word != NULL && n < 4; word = strtok_r(NULL, " \n", &save))
		words[n++] = word;
	if (strcmp(words[0], "halfopen") == 0 || strcmp(words[0], "undecided") == 0 || strcmp(words[0], "open") == 0)
		handshakes(*words[0], (uint16_t)atoi(words[1]), (unsigned)atoi(words[2]));
	else if (strcmp(words[0], "reset") == 0)
		reset();
	else if (current == NULL)
		printf("failed there is no connection\n");
	else if (strcmp(words[0], "echo") == 0)
		echo((unsigned)atoi(words[1]), came_back);
	else if (strcmp(words[0], "send") == 0)
		echo((unsigned)atoi(words[1]), is_acknowledged);
	else if (strcmp(words[0], "beyond") == 0 || strcmp(words[0], "tiny") == 0 || strcmp(words[0], "again") == 0 ||
	    strcmp(words[0], "maps") == 0)
		flood(*words[0], (unsigned)atoi(words[1]));
	else if (strcmp(words[0], "addaddr") == 0)
		addaddr((unsigned)atoi(words[1]), *words[2] == 'r');
	else if (strcmp(words[0], "join") == 0)
		join((unsigned)atoi(words[1]), words[2]);
	else
		printf("failed unknown command %s\n", words[0]);
	fflush(stdout);
}

int
main(int argc, char **argv)
{
	struct pollfd fds[2];
	static char line[256];
	int size = 16 << 20;
	struct in_addr in;

	if (argc != 4 || inet_pton(AF_INET, argv[2], &in) != 1 || sscanf(argv[3], "%hhx:%hhx:%hhx:%hhx:%hhx:%hhx", &server_mac[0],
	    &server_mac[1], &server_mac[2], &server_mac[3], &server_mac[4], &server_mac[5]) != 6)
		return (2);
	server_address = ntohl(in.s_addr);
	fd = socket(AF_PACKET, SOCK_RAW | SOCK_CLOEXEC, htons(ETH_P_ALL));
	to.sll_protocol = htons(ETH_P_ALL);
	to.sll_ifindex = (int)if_nametoindex(argv[1]);
	if (fd == -1 || to.sll_ifindex == 0 || bind(fd, (struct sockaddr *)&to, sizeof(to)) == -1) {
		perror(argv[1]);
		return (1);
	}
	(void)setsockopt(fd, SOL_SOCKET, SO_RCVBUFFORCE, &size, sizeof(size));
	setvbuf(stdin, NULL, _IONBF, 0);
	printf("ready\n");
	fflush(stdout);
	fds[0] = (struct pollfd){ .fd = 0, .events = POLLIN };
	fds[1] = (struct pollfd){ .fd = fd, .events = POLLIN };
	for (;;) {
		if (poll(fds, 2, -1) == -1)
			return (1);
		if (fds[1].revents != 0)
			pump(0);
		if (fds[0].revents != 0) {
			if (fgets(line, sizeof(line), stdin) == NULL)
				return (0);
			command(line);
		}
	}
}
