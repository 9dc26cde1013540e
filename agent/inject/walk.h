/* walk.h - a function's instructions, one after another. */
#ifndef REQSCOPE_WALK_H
#define REQSCOPE_WALK_H

#include "inject/go_table.h"
#include "inject/instruction.h"

struct rqs_walk {
	const struct rqs_go_function *function;
	uint64_t next;               /* address */
	bool failed;                 /* it ended at what is no instruction */
	struct rqs_instruction step; /* the current one */
};

/* A walk that starts at an address in the function. function may be NULL: the walk is over at once. */
struct rqs_walk rqs_walk_from(const struct rqs_go_function *function, uint64_t address);
static inline struct rqs_walk rqs_walk(const struct rqs_go_function *function)
{
	return rqs_walk_from(function, function ? function->start : 0);
}

/* Takes the next step; false at the function's end, or where the code can't be decoded. */
bool rqs_walk_on(struct rqs_walk *walk);

/* The address of the variable, `bits` wide, that an operand of the current instruction is; 0 where it is none. */
uint64_t rqs_walk_variable(const struct rqs_walk *walk, int operand, unsigned bits);

#endif
