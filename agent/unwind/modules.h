/*
 * modules.h - what one process has mapped: files, looked at when an address
 * in them is met first, and memory of its own that it executes.
 */
#ifndef UNWIND_MODULES_H
#define UNWIND_MODULES_H

#include "unwind/code_file.h"
#include "unwind/texts.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct rqs_object {
	dev_t device;
	ino_t inode;      /* 0: the kernel's own */
	const char *path; /* without the " (deleted)" of one that has no name any more */
	const char *name; /* its last part */
	bool deleted, sought, ours;
	struct rqs_code_file *file; /* once it was sought; NULL it can't be read */
};

struct rqs_span {
	uint64_t start, end, offset;
	uint32_t executable;
	uint32_t object; /* 1 added; 0: memory of the process's own */
};

struct rqs_modules {
	int procdir, root; /* /proc/PID and its root; -1 none. The former is the caller's */
	struct rqs_texts *texts;
	struct rqs_span *spans;
	size_t span_count, span_room;
	struct rqs_object *objects; /* as long as the process lives: not fewer by what is unmapped */
	size_t object_count, object_room;
	uint64_t looked_ns;
	uint64_t looks; /* that found something changed */
};

/* texts: for paths, to stay as long. */
void rqs_modules_init(struct rqs_modules *modules, int procdir, struct rqs_texts *texts);
void rqs_modules_free(struct rqs_modules *modules);

/* Reads again what is mapped if that hasn't been done for long. */
void rqs_modules_refresh(struct rqs_modules *modules);

/* The mapping at that address; NULL none. */
const struct rqs_span *rqs_modules_at(const struct rqs_modules *modules, uint64_t address);

/* The executable one; where there is none it looks anew, though not too often. */
const struct rqs_span *rqs_modules_code(struct rqs_modules *modules, uint64_t address);

/* The mapping's object, its file sought; NULL: it has none. */
struct rqs_object *rqs_modules_object(struct rqs_modules *modules, const struct rqs_span *span);

/* The object's address as linked; false where the mapping isn't of ELF code. */
bool rqs_modules_linked(struct rqs_modules *modules, const struct rqs_span *span, uint64_t address, uint64_t *linked);

/* A regular file by its path below that root, for reading; no symbolic link leads out of it. -1 none. */
int rqs_open_below(int root, const char *path);

#endif
