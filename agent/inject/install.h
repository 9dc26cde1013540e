/*
 * install.h - puts payload, stubs and jumps into a Go program that is stopped
 * at its exec, or that runs and has one thread stopped; and takes them out.
 */
#ifndef REQSCOPE_INSTALL_H
#define REQSCOPE_INSTALL_H

#include "go/setup.h"
#include "inject/go_threads.h"
#include "inject/loadable.h"
#include "inject/plan.h"
#include "inject/tracee.h"
#include "inject/visitor.h"

struct rqs_install {
	struct rqs_tracee *tracee;   /* taken; of one that runs, the visitor's, with `memory` open */
	struct rqs_visitor *visitor; /* for one that runs: pid and the two instructions are set; NULL: at its exec */
	const struct rqs_plan *plan;
	int file; /* the program, as planned */
	struct rqs_loadable *payload;
	struct rqs_go_setup *setup; /* all but clock_gettime, which is found here */
	uint64_t bias;              /* result: load address minus linked address */
	int error;                  /* result, of one that runs: -errno */
	uint64_t stopped_ns;        /* result, likewise: the longest that a thread was kept from running */
	char why[RQS_REASON];       /* result: what was in the way */
};

/* False: `why` says; the program is as it was, but for the region's descriptor, which is closed. */
bool rqs_install(struct rqs_install *install);

/*
 * Of a program that runs. What is placed stays there, and is used the next
 * time. Uninstalling takes the jumps out and gives memory back but for that;
 * true also where nothing is placed. setup isn't used then.
 */
bool rqs_install_running(struct rqs_install *install);
bool rqs_uninstall_running(struct rqs_install *install);

/* Load address minus linked address of a process's program; false: not known. */
bool rqs_install_bias(pid_t pid, int file, uint64_t *bias);

#endif
