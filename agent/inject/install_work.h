/*
 * install_work.h - what install.c and install_running.c have in common: the
 * work of putting the hooks into one program.
 */
#ifndef REQSCOPE_INSTALL_WORK_H
#define REQSCOPE_INSTALL_WORK_H

#include "inject/install.h"
#include "inject/stub.h"

/* rqs_go_begin and rqs_go_end get this much; at least 16 KiB. */
#define RQS_INSTALL_STACK 65536u

struct rqs_work {
	struct rqs_install *in;
	struct rqs_tracee *tracee;
	uint64_t base, size; /* our mapping; base 0: none yet */
	bool reused;         /* it was there before */
	bool began;
	uint8_t *stubs;
	size_t stubs_size;         /* whole pages */
	struct rqs_patch *patches; /* in the order in which they are put in */
	size_t patch_count;
};

/* Room for what is made here. rqs_work_close() in any case. */
bool rqs_work_open(struct rqs_work *w, struct rqs_install *in);
void rqs_work_close(struct rqs_work *w);

/* False, and in->why says. */
bool rqs_work_fail(struct rqs_install *in, const char *format, ...) __attribute__((format(printf, 2, 3)));

/* That file and memory are as planned; bias and clock are found. Reads memory only. */
bool rqs_work_look(struct rqs_work *w);

/* Addresses to be tried for the mapping, the best first; 0 where there is none. */
#define RQS_WORK_CANDIDATES 40u
uint64_t rqs_work_candidate(const struct rqs_work *w, unsigned n);

/* Stubs and patches for the base. */
bool rqs_work_build(struct rqs_work *w);

/* Puts payload and stubs there, and lets them be run. */
bool rqs_work_write(struct rqs_work *w);
bool rqs_work_protect(struct rqs_work *w);

/* Runs rqs_go_begin or rqs_go_end, on the stack that ends there. */
bool rqs_work_begin(struct rqs_work *w, uint64_t stack_end);
bool rqs_work_end(struct rqs_work *w, uint64_t stack_end, bool *done);

#endif
