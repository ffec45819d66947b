/* SPDX-License-Identifier: BSD-2-Clause */

/*
 * control: what the libraries over our modules' control devices share (lispctl, tproxyctl). Every function that can fail
 * returns 0 or an errno value.
 */
#ifndef CONTROL_H
#define	CONTROL_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* /dev/<device>, for changes too if `writable`. `*fd` is -1 on an error. */
int	control_open(const char *device, bool writable, int *fd);
void	control_close(int *fd);
int	control_command(int fd, unsigned long request, void *argument);

/* What the modules' list structures begin with, and all of them are this large. */
struct control_list {
	uint32_t	version;
	uint32_t	count;
	uint64_t	buffer;
	uint64_t	cursor;
	uint32_t	own[2];
};
/*
 * Takes a list of elements of `size` in pieces until the kernel says it is whole; free(3) it. A list that changes meanwhile is
 * taken as it comes: the callers show it, or compare and correct.
 */
int	control_take_list(int fd, unsigned long request, uint32_t version, size_t size, void **list, size_t *count);

/* Events of `size`: 0 with `*count` of them (none when nothing waits and the descriptor is non-blocking). */
int	control_events(int fd, void *events, size_t size, size_t room, size_t *count);

/* The modules' addresses: family 4 or 6, IPv4 in the first four octets. "192.0.2.1" (length 0), "192.0.2.0/24". */
int	control_parse(const char *text, uint8_t *family, uint8_t *length, uint8_t octets[16]);
/* Without the length; "-" where there is no family. `room` of 46 octets is enough. */
const char *control_format(uint8_t family, const uint8_t octets[16], char *text, size_t room);

#endif
