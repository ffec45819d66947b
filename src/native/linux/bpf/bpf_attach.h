/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Programs on a device's input or output.
 *
 *   tcx (Linux 6.6)   a descriptor; the program goes when it is closed, by this process or by its end
 *   clsact (before)   a filter in the device's clsact qdisc, which stays until somebody removes it: bpf_clsact_clean()
 */
#ifndef BPF_ATTACH_H
#define BPF_ATTACH_H

#include <stdbool.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

/* A descriptor, or -1 and errno: EINVAL where the kernel has no tcx. */
int	bpf_attach_tcx(int program, uint32_t device, bool egress);

/* 0 or errno. Replaces what a predecessor left. */
int	bpf_attach_clsact(int program, uint32_t device, bool egress);
/* The qdisc goes too when nobody has a filter in it. */
void	bpf_detach_clsact(uint32_t device, bool egress);
/* Of every device in this network namespace. */
void	bpf_clsact_clean(void);

#ifdef __cplusplus
}
#endif

#endif
