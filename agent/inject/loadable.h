/*
 * loadable.h - the payload (agent/go), as it is to lie in a program's memory.
 *
 * The payload is a shared object inside of this program: no undefined symbols,
 * relative relocations only, and segments on pages of their own.
 */
#ifndef REQSCOPE_LOADABLE_H
#define REQSCOPE_LOADABLE_H

#include <stddef.h>
#include <stdint.h>

#define RQS_LOADABLE_SEGMENTS 8
#define RQS_PAGE 4096u

static inline uint64_t rqs_page_up(uint64_t size)
{
	return (size + RQS_PAGE - 1) & ~(uint64_t)(RQS_PAGE - 1);
}

struct rqs_loadable {
	uint8_t *bytes; /* of the whole range, gaps and all */
	size_t size;    /* whole pages */
	struct {
		uint64_t offset, filled; /* bytes from `filled` on are zero */
		uint64_t size;           /* whole pages */
		int protection;          /* PROT_* */
	} segments[RQS_LOADABLE_SEGMENTS];
	size_t segment_count;
	uint64_t entries, setup, begin, began, end, leave, stack_end; /* offsets of what setup.h names */
};

/* 0 or -errno: -ENOEXEC when the payload isn't what the above says. rqs_loadable_free() in any case. */
int rqs_loadable_make(struct rqs_loadable *payload);
void rqs_loadable_free(struct rqs_loadable *payload);

/* Makes the bytes those for an address. */
void rqs_loadable_relocate(struct rqs_loadable *payload, uint64_t base);

#endif
