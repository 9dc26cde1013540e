/* running.h - what install_running.c and patch_running.c have in common: the work in a Go program that runs. */
#ifndef REQSCOPE_RUNNING_H
#define REQSCOPE_RUNNING_H

#include "inject/install_work.h"

struct rqs_running {
	struct rqs_work work;
	struct rqs_visitor *visitor;
	struct rqs_threads threads;
	bool same_stubs; /* those that are there from before */
	bool alone;      /* no thread of ours could be started */
	bool forbidden;  /* by a filter of system calls */
	uint64_t deadline_ns;
};

/* False, and the installation's error and reason say. */
bool rqs_running_fails(struct rqs_running *r, int error, const char *why);

/* What is to change, for go_threads.h. Addresses are those of `work`. */
struct rqs_change rqs_running_change(const struct rqs_running *r);

/* All patches in, or out, while all threads are stopped. */
bool rqs_running_patch(struct rqs_running *r);
bool rqs_running_unpatch(struct rqs_running *r);

#endif
