/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Loads lisp.bpf.o by bpf(2) alone. A loader of our own instead of libbpf: a host without a compiler needs no further
 * library to run what was built elsewhere, the libbpf of current Debian releases cannot attach to tcx, and the programs use
 * none of what makes a full loader large (BTF, CO-RE, global data, calls between functions).
 */
#ifndef BPF_OBJECT_H
#define BPF_OBJECT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

#define	BPF_OBJECT_MAPS		16
#define	BPF_OBJECT_PROGRAMS	4
#define	BPF_OBJECT_NAME		32

struct bpf_object_map {
	char		name[BPF_OBJECT_NAME];
	int		fd;
	uint32_t	type;
	uint32_t	key_size;
	uint32_t	value_size;
	uint32_t	max_entries;
};

struct bpf_object {
	unsigned	nmaps;
	struct bpf_object_map maps[BPF_OBJECT_MAPS];
	unsigned	nprograms;
	struct {
		char	name[BPF_OBJECT_NAME];
		int	fd;
	} programs[BPF_OBJECT_PROGRAMS];
};

/* 0 or errno; then nothing is left open and `error` says what was being done, with the verifier's last words. */
int	bpf_object_load(const uint8_t *elf, size_t size, struct bpf_object *object, char *error, size_t room);
void	bpf_object_close(struct bpf_object *object);

/* 0 or errno. */
int	bpf_map_update(int map, const void *key, const void *value);
int	bpf_map_delete(int map, const void *key);
int	bpf_map_lookup(int map, const void *key, void *value);
/* The key after `key` (NULL: the first); ENOENT at the end. */
int	bpf_map_next(int map, const void *key, void *next);

/* The ring's memory as this process sees it. */
struct bpf_ring {
	int		fd;
	uint32_t	size;
	void		*consumer;
	void		*producer;
	size_t		page;
};

int	bpf_ring_open(struct bpf_ring *ring, int fd, uint32_t size);
void	bpf_ring_close(struct bpf_ring *ring);
/* Calls back for each record that is there, `budget` at most; returns how many. */
unsigned bpf_ring_read(struct bpf_ring *ring, unsigned budget, void (*each)(const void *data, uint32_t size, void *context),
	    void *context);

#ifdef __cplusplus
}
#endif

#endif
