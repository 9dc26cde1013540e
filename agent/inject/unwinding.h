/*
 * unwinding.h - the stack of a stopped thread, read from its process's memory.
 *
 * What tells how to unwind is read where the process itself has it, page by
 * page, and kept: so most of it can be read before a thread is stopped.
 */
#ifndef REQSCOPE_UNWINDING_H
#define REQSCOPE_UNWINDING_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>
#include <sys/user.h>

struct rqs_unwinder;

/* NULL: no memory. `memory` is /proc/PID/mem; it stays the caller's. */
struct rqs_unwinder *rqs_unwinder_new(pid_t pid, int memory);
void rqs_unwinder_free(struct rqs_unwinder *unwinder);

/* What is mapped may have changed. False: it can't be told. */
bool rqs_unwinder_look(struct rqs_unwinder *unwinder);

enum rqs_unwound {
	RQS_UNWOUND,  /* up to the thread's first function */
	RQS_ENDED,    /* visit said false */
	RQS_IN_SIGNAL_HANDLER,
	RQS_UNKNOWN,  /* of some function it isn't told how */
};

/* Visits each function's address, the innermost first. */
enum rqs_unwound rqs_unwind(struct rqs_unwinder *unwinder, const struct user_regs_struct *registers,
			    bool (*visit)(void *data, unsigned depth, uint64_t address), void *data);

/* Up to `size` bytes, as much as can be read; the number. */
uint64_t rqs_unwinder_read(struct rqs_unwinder *unwinder, uint64_t address, void *bytes, uint64_t size);

/* Where the mapping that the address lies in ends; 0 there is none. */
uint64_t rqs_unwinder_end(const struct rqs_unwinder *unwinder, uint64_t address);
bool rqs_unwinder_is_code(const struct rqs_unwinder *unwinder, uint64_t address);
/* Does the address lie in code of who makes an interrupted wait again for the time that is left: Python's and libuv's? */
bool rqs_unwinder_knows_eintr(const struct rqs_unwinder *unwinder, uint64_t address);
/* Does the address lie in code of glibc's loader? */
bool rqs_unwinder_in_loader(const struct rqs_unwinder *unwinder, uint64_t address);

#endif
