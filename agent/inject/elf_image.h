/*
 * elf_image.h - an ELF file as it will lie in memory.
 *
 * Segments are read as they are asked for, not mapped: a file that somebody
 * cuts meanwhile then is a failed read and no SIGBUS. Addresses are as linked.
 */
#ifndef REQSCOPE_ELF_IMAGE_H
#define REQSCOPE_ELF_IMAGE_H

#include <libelf.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define RQS_IMAGE_SEGMENTS 16

struct rqs_segment {
	uint64_t address, size;  /* in memory */
	uint64_t offset, filled; /* in the file */
	bool writable, executable;
	const uint8_t *bytes; /* `filled` of them, NULL not read yet */
};

struct rqs_image {
	Elf *elf;
	struct rqs_segment segments[RQS_IMAGE_SEGMENTS]; /* PT_LOAD, ascending, apart from each other */
	size_t segment_count;
	bool position_independent, dynamic;
	const uint8_t *relocations; /* Elf64_Rela[], from PT_DYNAMIC */
	size_t relocation_count;
};

/*
 * Opens the file at fd, which stays the caller's and must stay open. 0; 1 when
 * it is no ELF program for x86-64 that could be looked at; -errno when it can't
 * be read. rqs_image_close() in any case.
 */
int rqs_image_open(struct rqs_image *image, int fd);
void rqs_image_close(struct rqs_image *image);

/* The bytes of a segment; NULL when they can't be read. */
const uint8_t *rqs_image_segment(struct rqs_image *image, struct rqs_segment *segment);

/* `size` bytes at an address, NULL where the file doesn't have them all. */
const uint8_t *rqs_image_at(struct rqs_image *image, uint64_t address, uint64_t size);

/* The same with all that follow in the segment: *left says how many, at least one. */
const uint8_t *rqs_image_from(struct rqs_image *image, uint64_t address, uint64_t *left);

/* Whether the address is of a segment, file-backed or zero. */
bool rqs_image_holds(const struct rqs_image *image, uint64_t address, uint64_t size);

/* The pointer stored at an address, relocated; 0 where there is none. */
uint64_t rqs_image_pointer(struct rqs_image *image, uint64_t address);

/* A section's address and size; false where no section of that name is loaded. */
bool rqs_image_section(struct rqs_image *image, const char *name, uint64_t *address, uint64_t *size);

static inline uint64_t rqs_load64(const uint8_t *bytes)
{
	uint64_t value;

	__builtin_memcpy(&value, bytes, sizeof(value));
	return value;
}

static inline uint32_t rqs_load32(const uint8_t *bytes)
{
	uint32_t value;

	__builtin_memcpy(&value, bytes, sizeof(value));
	return value;
}

#endif
