/* SPDX-License-Identifier: BSD-2-Clause */
#include "bpf_attach.h"

#include <arpa/inet.h>
#include <errno.h>
#include <linux/bpf.h>
#include <linux/if_ether.h>
#include <linux/netlink.h>
#include <linux/pkt_cls.h>
#include <linux/pkt_sched.h>
#include <linux/rtnetlink.h>
#include <net/if.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/time.h>
#include <unistd.h>

/* Newer than the headers of some distributions whose kernels have them. */
#define	ATTACH_TCX_INGRESS	46
#define	ATTACH_TCX_EGRESS	47

/* By these a filter is ours. */
#define	PRIORITY	4341
#define	HANDLE		1
#define	NAME		"amptcp"

struct request {
	struct nlmsghdr	header;
	struct tcmsg	body;
	char		room[256];
};

int
bpf_attach_tcx(int program, uint32_t device, bool egress)
{
	/* union bpf_attr's link_create with the members of tcx, which older headers lack. */
	struct {
		uint32_t	prog_fd;
		uint32_t	target_ifindex;
		uint32_t	attach_type;
		uint32_t	flags;
		uint32_t	relative_fd;
		uint32_t	zero;
		uint64_t	expected_revision;
	} attr;

	memset(&attr, 0, sizeof(attr));
	attr.prog_fd = (uint32_t)program;
	attr.target_ifindex = device;
	attr.attach_type = egress ? ATTACH_TCX_EGRESS : ATTACH_TCX_INGRESS;
	return ((int)syscall(SYS_bpf, BPF_LINK_CREATE, &attr, sizeof(attr)));
}

/* ---------------------------------------------------------------- rtnetlink */

static void
begin(struct request *request, unsigned short type, unsigned short flags, uint32_t device)
{
	memset(request, 0, sizeof(*request));
	request->header.nlmsg_type = type;
	request->header.nlmsg_flags = (unsigned short)(NLM_F_REQUEST | flags);
	request->header.nlmsg_len = NLMSG_LENGTH(sizeof(request->body));
	request->body.tcm_family = AF_UNSPEC;
	request->body.tcm_ifindex = (int)device;
}

static struct rtattr *
add(struct request *request, unsigned short type, const void *value, size_t size)
{
	struct rtattr *attribute = (struct rtattr *)(void *)((char *)request + NLMSG_ALIGN(request->header.nlmsg_len));

	attribute->rta_type = type;
	attribute->rta_len = (unsigned short)RTA_LENGTH(size);
	if (size != 0)
		memcpy(RTA_DATA(attribute), value, size);
	request->header.nlmsg_len = (uint32_t)(NLMSG_ALIGN(request->header.nlmsg_len) + RTA_ALIGN(attribute->rta_len));
	return (attribute);
}

/* 0 or errno. Answers other than the last are counted. */
static int
ask(const struct request *request, unsigned *answers)
{
	struct timeval patience = { .tv_sec = 2 };
	union {
		char		room[16384];
		struct nlmsghdr	align;
	} answer;
	const struct nlmsghdr *one;
	int fd = socket(AF_NETLINK, SOCK_RAW | SOCK_CLOEXEC, NETLINK_ROUTE), error = EPROTO;
	bool done = false;

	if (fd < 0)
		return (errno);
	setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &patience, sizeof(patience));
	if (send(fd, request, request->header.nlmsg_len, 0) < 0)
		done = (error = errno, true);
	while (!done) {
		ssize_t got = recv(fd, &answer, sizeof(answer), 0);
		unsigned length = got < 0 ? 0 : (unsigned)got;

		if (got < 0 && errno == EINTR)
			continue;
		if (got <= 0) {
			error = got < 0 ? errno : EPROTO;
			break;
		}
		for (one = &answer.align; NLMSG_OK(one, length); one = NLMSG_NEXT(one, length)) {
			if (one->nlmsg_type == NLMSG_DONE)
				done = (error = 0, true);
			else if (one->nlmsg_type == NLMSG_ERROR && one->nlmsg_len >= NLMSG_LENGTH(sizeof(struct nlmsgerr)))
				done = (error = -((const struct nlmsgerr *)NLMSG_DATA(one))->error, true);
			else if (answers != NULL)
				(*answers)++;
		}
	}
	close(fd);
	return (error);
}

/* ---------------------------------------------------------------- clsact */

static uint32_t
side(bool egress)
{
	return (TC_H_MAKE(TC_H_CLSACT, egress ? TC_H_MIN_EGRESS : TC_H_MIN_INGRESS));
}

static void
filter(struct request *request, unsigned short type, unsigned short flags, uint32_t device, bool egress)
{
	begin(request, type, (unsigned short)(NLM_F_ACK | flags), device);
	request->body.tcm_parent = side(egress);
	request->body.tcm_handle = HANDLE;
	request->body.tcm_info = TC_H_MAKE((uint32_t)PRIORITY << 16, htons(ETH_P_ALL));
	add(request, TCA_KIND, "bpf", sizeof("bpf"));
}

static int
make_qdisc(uint32_t device)
{
	struct request request;
	int error;

	begin(&request, RTM_NEWQDISC, NLM_F_ACK | NLM_F_CREATE | NLM_F_EXCL, device);
	request.body.tcm_parent = TC_H_CLSACT;
	request.body.tcm_handle = TC_H_MAKE(TC_H_CLSACT, 0);
	add(&request, TCA_KIND, "clsact", sizeof("clsact"));
	error = ask(&request, NULL);
	return (error == EEXIST ? 0 : error);
}

static bool
in_use(uint32_t device)
{
	struct request request;
	unsigned filters = 0;
	int egress;

	for (egress = 0; egress < 2; egress++) {
		begin(&request, RTM_GETTFILTER, NLM_F_DUMP, device);
		request.body.tcm_parent = side(egress != 0);
		if (ask(&request, &filters) != 0)
			return (true);
	}
	return (filters != 0);
}

int
bpf_attach_clsact(int program, uint32_t device, bool egress)
{
	uint32_t descriptor = (uint32_t)program, flags = TCA_BPF_FLAG_ACT_DIRECT;
	struct request request;
	struct rtattr *options;
	int error = make_qdisc(device);

	if (error != 0)
		return (error);
	filter(&request, RTM_NEWTFILTER, NLM_F_CREATE | NLM_F_REPLACE, device, egress);
	options = add(&request, TCA_OPTIONS, NULL, 0);
	add(&request, TCA_BPF_FD, &descriptor, sizeof(descriptor));
	add(&request, TCA_BPF_NAME, NAME, sizeof(NAME));
	add(&request, TCA_BPF_FLAGS, &flags, sizeof(flags));
	options->rta_len = (unsigned short)((char *)&request + request.header.nlmsg_len - (char *)options);
	return (ask(&request, NULL));
}

void
bpf_detach_clsact(uint32_t device, bool egress)
{
	struct request request;

	filter(&request, RTM_DELTFILTER, 0, device, egress);
	/* Without our filter the qdisc is somebody else's, empty or not. */
	if (ask(&request, NULL) != 0 || in_use(device))
		return;
	begin(&request, RTM_DELQDISC, NLM_F_ACK, device);
	request.body.tcm_parent = TC_H_CLSACT;
	request.body.tcm_handle = TC_H_MAKE(TC_H_CLSACT, 0);
	(void)ask(&request, NULL);
}

void
bpf_clsact_clean(void)
{
	struct if_nameindex *all = if_nameindex(), *one;

	if (all == NULL)
		return;
	for (one = all; one->if_index != 0; one++) {
		bpf_detach_clsact(one->if_index, false);
		bpf_detach_clsact(one->if_index, true);
	}
	if_freenameindex(all);
}
