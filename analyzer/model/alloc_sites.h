/*
 * alloc_sites.h - sampled allocations as they are added up: by route and by stack.
 *
 * Estimates are Horvitz and Thompson's: a sample of s bytes at mean distance M
 * stands for s/p bytes and 1/p allocations, p = 1 - exp(-s/M); the variances
 * are those estimates' own. "Retained": of followed allocations what isn't
 * freed, at the end of the recording and along it.
 */
#ifndef REQSCOPE_ALLOC_SITES_H
#define REQSCOPE_ALLOC_SITES_H

#include <stdbool.h>
#include <stdint.h>

#define RQS_SITE_BINS 64u /* parts of the recording, for what changes along it */
/* In place of a route's row. */
#define RQS_SITES_ROW_AFTER_RESPONSE UINT32_MAX
#define RQS_SITES_ROW_UNATTRIBUTED (UINT32_MAX - 1)

enum rqs_frame_name_kind {
	RQS_KIND_NATIVE,
	RQS_KIND_PYTHON,
	RQS_KIND_GO,
	RQS_KIND_JAVASCRIPT,
	RQS_KIND_NOTE, /* no code: "(truncated)" */
};

/* Texts are valid UTF-8 without control characters, "" where not known. */
struct rqs_frame_name {
	const char *function, *file, *module;
	uint32_t line; /* 0 not known */
	enum rqs_frame_name_kind kind;
	bool inlined;
};

/* stack 0 is the empty one; every other has its caller at a lower index. */
struct rqs_stack_node {
	uint32_t caller;
	uint32_t frame;
};

struct rqs_estimate {
	uint64_t samples;
	double bytes, bytes_variance;
	double count, count_variance;
};

/* All that one stack allocated for one route. */
struct rqs_alloc_site {
	uint32_t row; /* of the routes, or one of the above */
	uint32_t stack;
	struct rqs_estimate allocated;
	struct rqs_estimate followed; /* of these, those whose end would be seen */
	struct rqs_estimate retained; /* of the followed, not freed at the end */
	double retained_along[RQS_SITE_BINS]; /* bytes at the end of each part; of several runs their sum */
};

struct rqs_alloc_sites {
	bool known; /* false: the trace has none (recorded without --sites) */
	unsigned runs;
	double sample_bytes; /* mean distance; of runs that differ 0 */
	uint64_t samples, withdrawn, lost, unfollowed;
	unsigned frame_count, stack_count, site_count;
	struct rqs_frame_name *frames;
	struct rqs_stack_node *stacks;
	struct rqs_alloc_site *sites; /* by row, then bytes, descending */
	/* Requests that had ended, by row of the routes, at the end of each part; NULL rows had none. */
	unsigned rows;
	double (*requests_along)[RQS_SITE_BINS];
};

/* Which frame of a stack is named as its site: the innermost that isn't an allocator's or a runtime's helper. 0xffffffff none. */
uint32_t rqs_alloc_sites_frame_of(const struct rqs_alloc_sites *sites, uint32_t stack);

/* Adds another run's; stacks and frames that are the same become one. */
void rqs_alloc_sites_merge(struct rqs_alloc_sites *into, const struct rqs_alloc_sites *from);
void rqs_alloc_sites_free(struct rqs_alloc_sites *sites);

#endif
