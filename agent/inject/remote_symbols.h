/*
 * remote_symbols.h - where functions are in another process.
 *
 * Read from the tables that its loader uses, in its memory: also where files
 * were replaced since, or lie in a mount namespace that isn't ours.
 */
#ifndef REQSCOPE_REMOTE_SYMBOLS_H
#define REQSCOPE_REMOTE_SYMBOLS_H

#include "inject/remote_call.h"

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

/* Addresses in the process; 0 there is none. */
struct rqs_remote_libc {
	uint64_t dlopen_, dlerror_, errno_location;
	bool by_libc; /* dlopen_ is __libc_dlopen_mode, which glibc's own libraries use */
	bool musl;
};

struct rqs_remote_library {
	uint64_t attach, detach, release, probe;
};

/* `memory` is /proc/PID/mem. False: it has no C library that was loaded. */
bool rqs_remote_libc(pid_t pid, int memory, struct rqs_remote_libc *libc_);

/* False: its C library has no such instructions. */
bool rqs_remote_ways(pid_t pid, int memory, struct rqs_remote_ways *ways);

/* False: libreqscope.so isn't loaded there. */
bool rqs_remote_library(pid_t pid, int memory, struct rqs_remote_library *library);

/* A function that is of interest where it lies in a stack: it waits, or allocates or loads. */
struct rqs_remote_function {
	uint64_t start, end;
	bool waits; /* for another thread, with no lock of libc's */
	bool allocates;
};

struct rqs_remote_functions {
	unsigned waits; /* so many of the names looked for are of such that wait */
	unsigned count;
	struct rqs_remote_function all[96];
};

/* In the C library, and in allocators. */
void rqs_remote_functions(pid_t pid, int memory, struct rqs_remote_functions *functions);
/* Is that an address that one of them returns to, or stopped at? *waits is that one's. */
bool rqs_remote_is_in(const struct rqs_remote_functions *functions, uint64_t address, bool *waits);
bool rqs_remote_is_in_allocator(const struct rqs_remote_functions *functions, uint64_t address);

/* Is that glibc's loader? (musl's is its libc, too.) */
bool rqs_is_loader(const char *path);

#endif
