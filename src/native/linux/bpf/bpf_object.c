/* SPDX-License-Identifier: BSD-2-Clause */
#include "bpf_object.h"

#include <elf.h>
#include <errno.h>
#include <linux/bpf.h>
#include <pthread.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "lisp_bpf.h"

#define	LOG_SIZE	(1u << 20)
#define	R_BPF_64_64	1

static int
bpf(int command, void *attr, size_t size)
{
	return ((int)syscall(SYS_bpf, command, attr, size));
}

static uint64_t
address(const void *pointer)
{
	return ((uint64_t)(uintptr_t)pointer);
}

/* ---------------------------------------------------------------- the object file */

struct image {
	const uint8_t		*data;
	size_t			size;
	const Elf64_Ehdr	*header;
	const Elf64_Shdr	*sections;
	const Elf64_Sym		*symbols;
	size_t			nsymbols;
	const char		*names;		/* of symbols */
	size_t			names_size;
	unsigned		maps_section;	/* 0: none */
	const char		*license;
};

struct context {
	struct image	image;
	struct bpf_object *object;
	/* Where in the section each map's description is. */
	uint64_t	map_offsets[BPF_OBJECT_MAPS];
	char		*error;
	size_t		room;
};

static int
fail(struct context *context, int code, const char *format, ...)
{
	va_list arguments;

	va_start(arguments, format);
	vsnprintf(context->error, context->room, format, arguments);
	va_end(arguments);
	return (code);
}

static bool
inside(const struct image *image, uint64_t offset, uint64_t size)
{
	return (offset <= image->size && size <= image->size - offset);
}

/* NULL when the name does not end inside the table. */
static const char *
string_at(const char *table, size_t size, uint64_t offset)
{
	if (offset >= size || memchr(table + offset, 0, size - offset) == NULL)
		return (NULL);
	return (table + offset);
}

static int
open_image(struct context *context)
{
	struct image *image = &context->image;
	const Elf64_Ehdr *header = (const Elf64_Ehdr *)image->data;
	const Elf64_Shdr *section;
	const char *name;
	unsigned i;

	if (image->size < sizeof(*header) || memcmp(header->e_ident, ELFMAG, SELFMAG) != 0 ||
	    header->e_ident[EI_CLASS] != ELFCLASS64 || header->e_machine != EM_BPF || header->e_type != ET_REL)
		return (fail(context, ENOEXEC, "not an eBPF object file"));
#if __BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__
	if (header->e_ident[EI_DATA] != ELFDATA2LSB)
#else
	if (header->e_ident[EI_DATA] != ELFDATA2MSB)
#endif
		return (fail(context, ENOEXEC, "an eBPF object file of the other byte order"));
	if (header->e_shentsize != sizeof(Elf64_Shdr) || header->e_shoff % 8 != 0 ||
	    !inside(image, header->e_shoff, (uint64_t)header->e_shnum * sizeof(Elf64_Shdr)) ||
	    header->e_shstrndx >= header->e_shnum)
		return (fail(context, ENOEXEC, "the object file's section table is damaged"));
	image->header = header;
	image->sections = (const Elf64_Shdr *)(image->data + header->e_shoff);
	for (i = 0; i < header->e_shnum; i++) {
		section = &image->sections[i];
		if (section->sh_type != SHT_NOBITS && !inside(image, section->sh_offset, section->sh_size))
			return (fail(context, ENOEXEC, "section %u lies outside of the object file", i));
	}
	for (i = 0; i < header->e_shnum; i++) {
		section = &image->sections[i];
		if (section->sh_type == SHT_SYMTAB && section->sh_link < header->e_shnum && section->sh_offset % 8 == 0) {
			const Elf64_Shdr *names = &image->sections[section->sh_link];

			image->symbols = (const Elf64_Sym *)(image->data + section->sh_offset);
			image->nsymbols = section->sh_size / sizeof(Elf64_Sym);
			image->names = (const char *)image->data + names->sh_offset;
			image->names_size = names->sh_size;
		}
		name = string_at((const char *)image->data + image->sections[header->e_shstrndx].sh_offset,
		    image->sections[header->e_shstrndx].sh_size, section->sh_name);
		if (name == NULL)
			return (fail(context, ENOEXEC, "section %u has no name", i));
		if (strcmp(name, "maps") == 0)
			image->maps_section = i;
		if (strcmp(name, "license") == 0)
			image->license = string_at((const char *)image->data + section->sh_offset, section->sh_size, 0);
	}
	if (image->symbols == NULL || image->maps_section == 0 || image->license == NULL)
		return (fail(context, ENOEXEC, "the object file lacks symbols, maps or a licence"));
	return (0);
}

/* ---------------------------------------------------------------- maps */

static int
create_map(const struct lisp_bpf_map *wanted, const char *name)
{
	union bpf_attr attr;

	memset(&attr, 0, sizeof(attr));
	attr.map_type = wanted->type;
	attr.key_size = wanted->key_size;
	attr.value_size = wanted->value_size;
	attr.max_entries = wanted->max_entries;
	attr.map_flags = wanted->flags;
	/* The kernel keeps 15 characters. */
	memcpy(attr.map_name, name, strnlen(name, sizeof(attr.map_name) - 1));
	return (bpf(BPF_MAP_CREATE, &attr, sizeof(attr)));
}

static int
create_maps(struct context *context)
{
	const struct image *image = &context->image;
	const Elf64_Shdr *section = &image->sections[image->maps_section];
	struct bpf_object *object = context->object;
	struct bpf_object_map *map;
	struct lisp_bpf_map wanted;
	const Elf64_Sym *symbol;
	const char *name;
	size_t i;

	for (i = 0; i < image->nsymbols; i++) {
		symbol = &image->symbols[i];
		if (symbol->st_shndx != image->maps_section || ELF64_ST_TYPE(symbol->st_info) != STT_OBJECT)
			continue;
		name = string_at(image->names, image->names_size, symbol->st_name);
		if (name == NULL || strlen(name) >= BPF_OBJECT_NAME || object->nmaps == BPF_OBJECT_MAPS ||
		    symbol->st_value > section->sh_size || section->sh_size - symbol->st_value < sizeof(wanted))
			return (fail(context, ENOEXEC, "the description of a map is damaged"));
		memcpy(&wanted, image->data + section->sh_offset + symbol->st_value, sizeof(wanted));
		map = &object->maps[object->nmaps];
		strcpy(map->name, name);
		map->type = wanted.type;
		map->key_size = wanted.key_size;
		map->value_size = wanted.value_size;
		map->max_entries = wanted.max_entries;
		map->fd = create_map(&wanted, name);
		if (map->fd < 0)
			return (fail(context, errno, "creating the map %s", name));
		context->map_offsets[object->nmaps++] = symbol->st_value;
	}
	return (0);
}

/* ---------------------------------------------------------------- programs */

/* Puts the maps' descriptors where the compiler left a reference to a map. */
static int
relocate(struct context *context, unsigned of, struct bpf_insn *code, size_t ninstructions)
{
	const struct image *image = &context->image;
	const struct bpf_object *object = context->object;
	unsigned i, map;
	size_t at, count;

	for (i = 0; i < image->header->e_shnum; i++) {
		const Elf64_Shdr *section = &image->sections[i];
		const Elf64_Rel *entries = (const Elf64_Rel *)(image->data + section->sh_offset);

		if (section->sh_type != SHT_REL || section->sh_info != of)
			continue;
		if (section->sh_offset % 8 != 0)
			return (fail(context, ENOEXEC, "relocations are damaged"));
		count = section->sh_size / sizeof(Elf64_Rel);
		for (at = 0; at < count; at++) {
			uint64_t symbol = ELF64_R_SYM(entries[at].r_info);
			uint64_t instruction = entries[at].r_offset / sizeof(*code);

			if (ELF64_R_TYPE(entries[at].r_info) != R_BPF_64_64 || symbol >= image->nsymbols ||
			    image->symbols[symbol].st_shndx != image->maps_section ||
			    entries[at].r_offset % sizeof(*code) != 0 || instruction + 1 >= ninstructions ||
			    code[instruction].code != (BPF_LD | BPF_IMM | BPF_DW))
				return (fail(context, ENOEXEC, "a relocation that refers to no map"));
			for (map = 0; map < object->nmaps; map++)
				if (context->map_offsets[map] == image->symbols[symbol].st_value)
					break;
			if (map == object->nmaps)
				return (fail(context, ENOEXEC, "a relocation that refers to no map"));
			code[instruction].src_reg = BPF_PSEUDO_MAP_FD;
			code[instruction].imm = object->maps[map].fd;
		}
	}
	return (0);
}

/* The end of the verifier's log says what it did not like. */
static int
refused(struct context *context, int code, const char *name, char *log)
{
	size_t length = strlen(log), from;

	from = length > 400 ? length - 400 : 0;
	return (fail(context, code, "the kernel refused the program %s%s%s", name, length ? ": " : "", log + from));
}

/*
 * The verifier gives up with EAGAIN when a signal is pending, be it that a child has ended or a profiler's: that is no word on the
 * program, so signals wait.
 */
static int
load_undisturbed(union bpf_attr *attr)
{
	sigset_t all, before;
	int fd, error;

	sigfillset(&all);
	pthread_sigmask(SIG_SETMASK, &all, &before);
	fd = bpf(BPF_PROG_LOAD, attr, sizeof(*attr));
	error = errno;
	pthread_sigmask(SIG_SETMASK, &before, NULL);
	errno = error;
	return (fd);
}

static int
load_program(struct context *context, const Elf64_Sym *symbol, const char *name)
{
	const struct image *image = &context->image;
	const Elf64_Shdr *section = &image->sections[symbol->st_shndx];
	struct bpf_object *object = context->object;
	size_t ninstructions = section->sh_size / sizeof(struct bpf_insn);
	struct bpf_insn *code;
	union bpf_attr attr;
	char *log = NULL;
	int error, fd;

	if (symbol->st_value != 0 || section->sh_size % sizeof(struct bpf_insn) != 0 || section->sh_size == 0 ||
	    strlen(name) >= BPF_OBJECT_NAME || object->nprograms == BPF_OBJECT_PROGRAMS)
		return (fail(context, ENOEXEC, "the program %s is damaged", name));
	code = malloc(section->sh_size);
	if (code == NULL)
		return (fail(context, ENOMEM, "loading the program %s", name));
	memcpy(code, image->data + section->sh_offset, section->sh_size);
	error = relocate(context, symbol->st_shndx, code, ninstructions);
	if (error != 0)
		goto out;

	memset(&attr, 0, sizeof(attr));
	attr.prog_type = BPF_PROG_TYPE_SCHED_CLS;
	attr.insns = address(code);
	attr.insn_cnt = (uint32_t)ninstructions;
	attr.license = address(image->license);
	memcpy(attr.prog_name, name, strnlen(name, sizeof(attr.prog_name) - 1));
	fd = load_undisturbed(&attr);
	if (fd < 0) {
		/* Again with a log, which costs time that only a refusal is worth. */
		error = errno;
		log = calloc(1, LOG_SIZE);
		if (log != NULL && error != EPERM) {
			attr.log_buf = address(log);
			attr.log_size = LOG_SIZE;
			attr.log_level = 1;
			fd = load_undisturbed(&attr);
		}
		if (fd < 0) {
			error = refused(context, error, name, log == NULL ? (char[]){ "" } : log);
			goto out;
		}
	}
	strcpy(object->programs[object->nprograms].name, name);
	object->programs[object->nprograms++].fd = fd;
	error = 0;
out:
	free(log);
	free(code);
	return (error);
}

static int
load_programs(struct context *context)
{
	const struct image *image = &context->image;
	const Elf64_Sym *symbol;
	const char *name;
	size_t i;
	int error;

	for (i = 0; i < image->nsymbols; i++) {
		symbol = &image->symbols[i];
		if (ELF64_ST_TYPE(symbol->st_info) != STT_FUNC || symbol->st_shndx >= image->header->e_shnum)
			continue;
		name = string_at(image->names, image->names_size, symbol->st_name);
		if (name == NULL)
			return (fail(context, ENOEXEC, "a program has no name"));
		error = load_program(context, symbol, name);
		if (error != 0)
			return (error);
	}
	return (0);
}

int
bpf_object_load(const uint8_t *elf, size_t size, struct bpf_object *object, char *error, size_t room)
{
	struct context context;
	int code;

	memset(object, 0, sizeof(*object));
	memset(&context, 0, sizeof(context));
	context.image.data = elf;
	context.image.size = size;
	context.object = object;
	context.error = error;
	context.room = room;
	code = open_image(&context);
	if (code == 0)
		code = create_maps(&context);
	if (code == 0)
		code = load_programs(&context);
	if (code != 0)
		bpf_object_close(object);
	return (code);
}

void
bpf_object_close(struct bpf_object *object)
{
	while (object->nprograms > 0)
		close(object->programs[--object->nprograms].fd);
	for (; object->nmaps > 0; object->nmaps--)
		if (object->maps[object->nmaps - 1].fd >= 0)
			close(object->maps[object->nmaps - 1].fd);
}

/* ---------------------------------------------------------------- elements of maps */

static int
element(int command, int map, const void *key, const void *value)
{
	union bpf_attr attr;

	memset(&attr, 0, sizeof(attr));
	attr.map_fd = (uint32_t)map;
	attr.key = address(key);
	attr.value = address(value);
	return (bpf(command, &attr, sizeof(attr)) < 0 ? errno : 0);
}

int
bpf_map_update(int map, const void *key, const void *value)
{
	return (element(BPF_MAP_UPDATE_ELEM, map, key, value));
}

int
bpf_map_delete(int map, const void *key)
{
	return (element(BPF_MAP_DELETE_ELEM, map, key, NULL));
}

int
bpf_map_lookup(int map, const void *key, void *value)
{
	return (element(BPF_MAP_LOOKUP_ELEM, map, key, value));
}

int
bpf_map_next(int map, const void *key, void *next)
{
	return (element(BPF_MAP_GET_NEXT_KEY, map, key, next));
}

/* ---------------------------------------------------------------- the ring of events */

int
bpf_ring_open(struct bpf_ring *ring, int fd, uint32_t size)
{
	int error;

	memset(ring, 0, sizeof(*ring));
	ring->fd = fd;
	ring->size = size;
	ring->page = (size_t)sysconf(_SC_PAGESIZE);
	ring->consumer = mmap(NULL, ring->page, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
	if (ring->consumer == MAP_FAILED)
		return (errno);
	/* The data is mapped twice in a row, so that no record has to be put together. */
	ring->producer = mmap(NULL, ring->page + 2 * (size_t)size, PROT_READ, MAP_SHARED, fd, (off_t)ring->page);
	if (ring->producer == MAP_FAILED) {
		error = errno;
		munmap(ring->consumer, ring->page);
		return (error);
	}
	return (0);
}

void
bpf_ring_close(struct bpf_ring *ring)
{
	munmap(ring->consumer, ring->page);
	munmap(ring->producer, ring->page + 2 * (size_t)ring->size);
}

unsigned
bpf_ring_read(struct bpf_ring *ring, unsigned budget, void (*each)(const void *data, uint32_t size, void *context),
    void *context)
{
	unsigned long *consumer = ring->consumer, at = __atomic_load_n(consumer, __ATOMIC_ACQUIRE);
	const unsigned long *producer = ring->producer;
	const uint8_t *data = (const uint8_t *)ring->producer + ring->page;
	unsigned count;

	for (count = 0; count < budget && at < __atomic_load_n(producer, __ATOMIC_ACQUIRE); count++) {
		const uint32_t *header = (const uint32_t *)(data + (at & (ring->size - 1)));
		uint32_t length = __atomic_load_n(header, __ATOMIC_ACQUIRE);

		if (length & BPF_RINGBUF_BUSY_BIT)
			break;
		if ((length & BPF_RINGBUF_DISCARD_BIT) == 0)
			each(header + BPF_RINGBUF_HDR_SZ / sizeof(*header), length, context);
		length &= ~BPF_RINGBUF_DISCARD_BIT;
		at += (length + BPF_RINGBUF_HDR_SZ + 7) & ~7UL;
		__atomic_store_n(consumer, at, __ATOMIC_RELEASE);
	}
	return (count);
}
