/*
 * setup.h - what the code in a Go program is given at its start, by the
 * placing step or the preloaded library.
 */
#ifndef REQSCOPE_SETUP_H
#define REQSCOPE_SETUP_H

#include "go/sites.h"
#include "reqscope/region.h"

#include <stdbool.h>

struct rqs_go_setup {
	/*
	 * Where the program begins, and its stack: rqs_go_begin goes on there if
	 * nobody stops it (it was killed). Attached to one that runs: rqs_go_leave.
	 */
	uint64_t entry;
	uint64_t stack;
	int32_t region;       /* descriptor of the session's region; closed by rqs_go_start(). -1: joins by the token */
	uint32_t measures;    /* RQS_MEASURES_* that hooks are placed for */
	uint32_t curg_offset; /* of runtime.m's curg */
	bool foreign_pids;
	uint64_t region_size; /* as the welcome said */
	uint64_t clock_gettime; /* address of the vDSO's __vdso_clock_gettime, 0 none */
	char version[32];     /* of Go */
	/* The placing program's path and the session's token, for Go programs that this one starts. */
	char program[4096];
	char token[RQS_TOKEN_LENGTH + 1];
	bool no_sched;
	bool attached; /* to a program that runs already */
	int32_t error; /* result: -errno of the joining, 0 none */
};

/*
 * Takes the region into use: maps what it takes, claims a process slot and a
 * table of goroutines. Runs before the program's first instruction (or in a
 * constructor), on a stack of ours or any with 8 KiB left. False: nothing is
 * to be hooked; nothing of ours stays but the code itself.
 */
bool rqs_go_start(struct rqs_go_setup *setup);

/*
 * The end of that, once no hook is reached any more: gives the memory back.
 * False, with nothing done: a thread is inside of a hook.
 */
bool rqs_go_stop(void);

/*
 * In the payload's image (a shared object without undefined symbols, and with
 * relative relocations only), found by name in its dynamic symbols:
 *   rqs_go_entries   uint64_t[RQS_SITE_KINDS], the hooks' addresses
 *   rqs_go_setup     struct rqs_go_setup, to be filled
 *   rqs_go_begin     code to be run once, on a stack of 16 KiB: calls rqs_go_start(&rqs_go_setup), and
 *                    ends at the SYSCALL instruction rqs_go_began with the result, 0 or 1, in RBX
 *   rqs_go_end       likewise: calls rqs_go_stop(), and ends at rqs_go_began
 *   rqs_go_leave     code that ends the thread, without a stack
 *   rqs_go_stack     char[RQS_GO_STACK], a stack for a thread that comes to run these in a program that runs
 */
#define RQS_GO_STACK 32768u
extern const uint64_t rqs_go_entries[RQS_SITE_KINDS];

#endif
