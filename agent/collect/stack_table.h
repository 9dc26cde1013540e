/*
 * stack_table.h - the frames and stacks of a whole trace, each with a number
 * that it keeps: a stack is its caller's stack and one frame more. What is new
 * is written as JSON, in pieces that any reader takes, before rows name it.
 *
 * Memory is bounded: stacks beyond are one note in place of their frames.
 */
#ifndef COLLECT_STACK_TABLE_H
#define COLLECT_STACK_TABLE_H

#include "unwind/code.h"

#define RQS_STACKS_MAX 1000000u
#define RQS_STACK_FRAMES_MAX 262144u
#define RQS_STACK_TEXTS_MAX (32u << 20) /* bytes of all names */
#define RQS_STACK_TEXT_MAX 1024u        /* bytes of a name; the rest is cut off */

struct rqs_stack_table;

/* NULL: no memory. */
struct rqs_stack_table *rqs_stack_table_new(void);
void rqs_stack_table_free(struct rqs_stack_table *table);

/*
 * Frames from now on are of that source, which keeps their texts where they are
 * as long as there is no other: the same pointer is the same text. 0: of any.
 */
void rqs_stack_table_source(struct rqs_stack_table *table, uint64_t source);

/* The number of a stack, of which the innermost frame comes first. 0: it has no frame, or there is no memory. */
uint32_t rqs_stack_table_number(struct rqs_stack_table *table, const struct rqs_code_frame *frames, size_t count);

/* How many stacks found no room, and are the note. */
uint64_t rqs_stack_table_beyond(const struct rqs_stack_table *table);

/* A piece of what wasn't written yet. */
struct rqs_stack_piece {
	char *text; /* a stacks frame's payload; the caller's to free. NULL: no memory */
	uint32_t frames, stacks;
};

/* False: there is nothing new. */
bool rqs_stack_table_piece(const struct rqs_stack_table *table, struct rqs_stack_piece *piece);
/* That piece is in the trace. */
void rqs_stack_table_written(struct rqs_stack_table *table, const struct rqs_stack_piece *piece);

#endif
