/*
 * patching.h - how the preloaded library, in a dynamic Go program, gets its
 * patches: from `reqscope patches`, which looks at the program's file in a
 * process of its own, so that no parser and no allocator runs in the host.
 *
 * Over one stream: a request; then the answer, its head, the patches, the stubs.
 */
#ifndef REQSCOPE_PATCHING_H
#define REQSCOPE_PATCHING_H

#include "inject/stub.h"

/* Standard input is the connection, standard output the program's file. */
#define RQS_PATCHING_COMMAND "patches"

struct rqs_patching_request {
	uint32_t version; /* RQS_REGION_VERSION, which goes up with this, too */
	uint32_t room;    /* bytes for stubs */
	uint64_t base;    /* where they are to lie */
	uint64_t bias;    /* load address minus linked address */
	uint64_t entries[RQS_SITE_KINDS];
};

struct rqs_patching_answer {
	uint32_t version; /* of the sender */
	uint32_t measures;
	uint32_t curg_offset;
	uint32_t patch_count;
	uint32_t stubs_size; /* 0: there is nothing to patch, for the reason in `why` */
	char go_version[32];
	char why[RQS_REASON];
	struct rqs_plan_figures figures; /* bias not added */
};

#endif
