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

struct rqs_install {
	struct rqs_tracee *tracee; /* taken, or borrowed */
	struct rqs_threads *threads; /* of one that runs, to be stopped but for the borrowed one; NULL: at its exec */
	const struct rqs_plan *plan;
	int file; /* the program, as planned */
	struct rqs_loadable *payload;
	struct rqs_go_setup *setup; /* all but clock_gettime, which is found here */
	uint64_t bias;              /* result: load address minus linked address */
	int error;                  /* result, of one that runs: -errno */
	char why[RQS_REASON];       /* result: what was in the way */
};

/* False: `why` says; the program is as it was, but for the region's descriptor, which is closed. */
bool rqs_install(struct rqs_install *install);

/*
 * Of a program that runs: jumps are taken out, and memory is given back but
 * for the code. True also where nothing is placed. setup and file aren't used.
 */
bool rqs_uninstall(struct rqs_install *install);

/* Load address minus linked address of a process's program; false: not known. */
bool rqs_install_bias(pid_t pid, int file, uint64_t *bias);

#endif
