/*
 * code_file.h - a file that is mapped for its code, shared by the processes
 * that have it.
 *
 * Read piece by piece as it is asked for, never mapped: a file that somebody
 * cuts meanwhile then is a failed read and no SIGBUS. One thread.
 */
#ifndef UNWIND_CODE_FILE_H
#define UNWIND_CODE_FILE_H

#include <elf.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/stat.h>

#define RQS_CODE_LOADS 32u

struct rqs_symbols;
struct rqs_eh_frame;

/* A part that is loaded to be executed; addresses are as linked. */
struct rqs_code_load {
	uint64_t address, size, offset;
};

struct rqs_code_file {
	struct rqs_code_file *next;
	unsigned users;
	int fd; /* -1: its bytes are `image` */
	const uint8_t *image;
	uint64_t size;
	dev_t device;
	ino_t inode;
	struct timespec changed;
	uint8_t **chunks;
	uint32_t chunk_count;
	bool elf; /* the rest is set */
	struct rqs_code_load loads[RQS_CODE_LOADS];
	uint32_t load_count;
	uint64_t frame_header; /* .eh_frame_hdr, 0 none */
	bool symbols_sought, frames_sought;
	struct rqs_symbols *symbols;   /* of symbols.h; NULL not read, or none */
	struct rqs_eh_frame *eh_frame; /* of eh_frame.h, where there is no header; NULL not read, or none */
};

/* The file at fd, which is taken over. NULL: it can't be had. rqs_code_file_put() gives it back. */
struct rqs_code_file *rqs_code_file_get(int fd);
/* The kernel's own, [vdso]: the same in all processes of our kind. NULL none. */
struct rqs_code_file *rqs_code_file_vdso(void);
/* NULL is none. */
void rqs_code_file_put(struct rqs_code_file *file);

/* False: not all of it is there. */
bool rqs_code_file_read(struct rqs_code_file *file, uint64_t offset, void *bytes, size_t size);

/* What is to be added to addresses as linked where the executable part at that offset of the file lies at `start`. */
bool rqs_code_file_bias(const struct rqs_code_file *file, uint64_t start, uint64_t offset, uint64_t *bias);

#endif
