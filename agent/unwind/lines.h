/* lines.h - the source lines of a file's code, and what was inlined there, by libdw. */
#ifndef UNWIND_LINES_H
#define UNWIND_LINES_H

#include <libelf.h>
#include <stddef.h>
#include <stdint.h>

struct rqs_lines;

/* What was called in a function, and where the call is; texts stay until the lines are freed. */
struct rqs_line {
	const char *function; /* as linked or as in the source, NULL unknown */
	const char *file;     /* NULL unknown */
	uint32_t line;        /* 0 unknown */
};

/* NULL: it has none that can be read. The file stays the caller's, and must stay open. */
struct rqs_lines *rqs_lines_new(Elf *elf);
void rqs_lines_free(struct rqs_lines *lines);

/*
 * Where the code at an address, as linked, comes from: the functions that were
 * inlined there, the innermost first, and then the one that has it. 0: it
 * isn't known.
 */
size_t rqs_lines_at(struct rqs_lines *lines, uint64_t address, struct rqs_line *found, size_t room);

#endif
