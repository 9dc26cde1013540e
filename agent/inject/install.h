/* install.h - puts payload, stubs and jumps into a Go program that is stopped at its exec. */
#ifndef REQSCOPE_INSTALL_H
#define REQSCOPE_INSTALL_H

#include "go/setup.h"
#include "inject/loadable.h"
#include "inject/plan.h"
#include "inject/tracee.h"

struct rqs_install {
	struct rqs_tracee *tracee; /* taken */
	const struct rqs_plan *plan;
	int file; /* the program, as planned */
	struct rqs_loadable *payload;
	struct rqs_go_setup *setup; /* all but clock_gettime, which is found here */
	uint64_t bias;              /* result: load address minus linked address */
	char why[RQS_REASON];       /* result: what was in the way */
};

/* False: `why` says; the program is as it was, but for the region's descriptor, which is closed. */
bool rqs_install(struct rqs_install *install);

#endif
