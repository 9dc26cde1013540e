/* stack.h - whether functions of libc may be called in a thread that waits, as its stack tells. */
#ifndef REQSCOPE_STACK_H
#define REQSCOPE_STACK_H

#include "inject/remote_symbols.h"
#include "inject/unwinding.h"

struct rqs_stack {
	struct rqs_unwinder *unwinder; /* has looked at what is mapped */
	struct rqs_remote_functions functions;
};

/*
 * Neither a signal's handler, nor the loader, nor an allocator is in it.
 * `locked`: it waits for another thread, which may hold a lock of libc's, unless
 * the stack tells what for. *knows_eintr: its caller makes an interrupted wait
 * again for the time that is left.
 */
bool rqs_stack_is_safe(const struct rqs_stack *stack, const struct user_regs_struct *r, bool locked, bool *knows_eintr);

#endif
