/* SPDX-License-Identifier: BSD-2-Clause */

#include <sys/param.h>
#include <sys/ioctl.h>
#include <sys/socket.h>

#include <arpa/inet.h>

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "control.h"

int
control_open(const char *device, bool writable, int *fd)
{
	char path[64];

	*fd = -1;
	if (snprintf(path, sizeof(path), "/dev/%s", device) >= (int)sizeof(path))
		return (ENAMETOOLONG);
	*fd = open(path, (writable ? O_RDWR : O_RDONLY) | O_CLOEXEC);
	return (*fd == -1 ? errno : 0);
}

void
control_close(int *fd)
{
	if (*fd != -1)
		close(*fd);
	*fd = -1;
}

int
control_command(int fd, unsigned long request, void *argument)
{
	return (ioctl(fd, request, argument) == -1 ? errno : 0);
}

int
control_take_list(int fd, unsigned long request, uint32_t version, size_t size, void **list, size_t *count)
{
	struct control_list piece;
	const uint32_t least = 256;
	uint64_t cursor = 0;
	size_t filled = 0, room = 0;
	char *array = NULL, *grown;
	int error;

	do {
		if (filled + least > room) {
			room = room == 0 ? least : room * 2;
			grown = realloc(array, room * size);
			if (grown == NULL) {
				free(array);
				return (ENOMEM);
			}
			array = grown;
		}
		memset(&piece, 0, sizeof(piece));
		piece.version = version;
		piece.count = (uint32_t)(room - filled);
		piece.buffer = (uint64_t)(uintptr_t)(array + filled * size);
		piece.cursor = cursor;
		error = control_command(fd, request, &piece);
		if (error != 0) {
			free(array);
			return (error);
		}
		filled += piece.count;
		cursor = piece.cursor;
	} while (cursor != 0);
	*list = array;
	*count = filled;
	return (0);
}

int
control_events(int fd, void *events, size_t size, size_t room, size_t *count)
{
	ssize_t octets;

	*count = 0;
	octets = read(fd, events, room * size);
	if (octets == -1)
		return (errno == EAGAIN ? 0 : errno);
	*count = (size_t)octets / size;
	return (0);
}

int
control_parse(const char *text, uint8_t *family, uint8_t *length, uint8_t octets[16])
{
	char copy[64], *end, *slash;
	unsigned long bits, value;

	if (strlcpy(copy, text, sizeof(copy)) >= sizeof(copy))
		return (EINVAL);
	memset(octets, 0, 16);
	*length = 0;
	slash = strchr(copy, '/');
	if (slash != NULL)
		*slash++ = '\0';
	if (inet_pton(AF_INET, copy, octets) == 1) {
		*family = 4;
		bits = 32;
	} else if (inet_pton(AF_INET6, copy, octets) == 1) {
		*family = 6;
		bits = 128;
	} else
		return (EINVAL);
	if (slash == NULL)
		return (0);
	errno = 0;
	value = strtoul(slash, &end, 10);
	if (errno != 0 || end == slash || *end != '\0' || value > bits)
		return (EINVAL);
	*length = (uint8_t)value;
	return (0);
}

const char *
control_format(uint8_t family, const uint8_t octets[16], char *text, size_t room)
{
	if (family != 4 && family != 6)
		snprintf(text, room, "-");
	else if (inet_ntop(family == 4 ? AF_INET : AF_INET6, octets, text, (socklen_t)room) == NULL && room > 0)
		text[0] = '\0';
	return (text);
}
