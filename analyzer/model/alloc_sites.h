/*
 * alloc_sites.h - sampled allocations as they are added up: by route and by stack.
 *
 * Estimates are Horvitz and Thompson's: a sample of s bytes at mean distance M
 * stands for s/p bytes and 1/p allocations, p = 1 - exp(-s/M); the variances
 * are those estimates' own. "Retained": of followed allocations what isn't
 * freed when the last response has been sent or the window ends, and along the
 * recording. (What a program frees at its exit, as CPython does with all that
 * it has, isn't looked at.)
 *
 * They are a part of struct rqs_result, `sites`: of each run, and of a side
 * of several runs. Loaded only where rqs_load_options.sites asks for them.
 */
#ifndef REQSCOPE_ALLOC_SITES_H
#define REQSCOPE_ALLOC_SITES_H

#include <stdbool.h>
#include <stdint.h>

#define RQS_SITE_BINS 64u /* parts of the recording, for what changes along it */
/* In place of a route's row. */
#define RQS_SITES_ROW_AFTER_RESPONSE UINT32_MAX
#define RQS_SITES_ROW_UNATTRIBUTED (UINT32_MAX - 1)
#define RQS_SITES_ROW_ALL (UINT32_MAX - 2) /* to ask for: all of them together */
#define RQS_NO_FRAME UINT32_MAX
#define RQS_SITE_DEPTH_MAX 1024u /* frames of a stack, at most */

enum rqs_frame_name_kind {
	RQS_KIND_NATIVE,
	RQS_KIND_PYTHON,
	RQS_KIND_GO,
	RQS_KIND_JAVASCRIPT,
	RQS_KIND_NOTE, /* no code: "(truncated)" */
	RQS_KINDS,
};

/* Texts are valid UTF-8 without control characters, "" where not known. */
struct rqs_frame_name {
	const char *function, *file, *module;
	uint32_t line; /* 0 not known */
	enum rqs_frame_name_kind kind;
	bool inlined;
	bool helper; /* an allocator's or the runtime's own: no site where there is another frame */
};

/* stack 0 is the empty one; every other has its caller at a lower index. */
struct rqs_stack_node {
	uint32_t caller;
	uint32_t frame; /* of stack 0 RQS_NO_FRAME */
};

struct rqs_site_estimate {
	uint64_t samples;
	double bytes, bytes_variance;
	double count, count_variance;
};

/* All that one stack allocated for one route. */
struct rqs_alloc_site {
	uint32_t row; /* of the routes, or one of the above */
	uint32_t stack;
	struct rqs_site_estimate allocated;
	struct rqs_site_estimate followed;    /* of these, those whose end would be seen */
	struct rqs_site_estimate retained;    /* of the followed, not freed at the end */
	double retained_along[RQS_SITE_BINS]; /* bytes at the end of each part; of several runs their sum */
};

struct rqs_site_index; /* how frames, stacks and sites are found again; private */

struct rqs_alloc_sites {
	bool known; /* false: the trace has none (recorded without --sites), or they weren't asked for */
	unsigned runs;
	double sample_bytes; /* mean distance; of runs that differ 0 */
	uint64_t samples, withdrawn, lost, unfollowed;
	unsigned frame_count, stack_count, site_count;
	struct rqs_frame_name *frames;
	struct rqs_stack_node *stacks;
	struct rqs_alloc_site *sites; /* by row, then bytes, descending */
	/* Requests that had ended, by row of the routes, at the end of each part. */
	unsigned rows;
	double (*requests_along)[RQS_SITE_BINS];
	struct rqs_site_index *index;
};

/* Adds another run's; stacks and frames that are the same become one. */
void rqs_alloc_sites_merge(struct rqs_alloc_sites *into, const struct rqs_alloc_sites *from);
void rqs_alloc_sites_free(struct rqs_alloc_sites *sites);

/* Which frame of a stack is named as its site: the innermost that isn't an allocator's or a runtime's helper. */
uint32_t rqs_alloc_sites_frame_of(const struct rqs_alloc_sites *sites, uint32_t stack);
/*
 * The sites of one row (a route's, or one of RQS_SITES_ROW_*) as people name them: those of the same frame_of(),
 * inlined or not, are one, its `stack` the one that allocated most. By bytes, descending; *count of them, to be freed.
 */
struct rqs_alloc_site *rqs_alloc_sites_of_row(const struct rqs_alloc_sites *sites, uint32_t row, unsigned *count);
/* The sum of them. */
struct rqs_site_estimate rqs_alloc_sites_total(const struct rqs_alloc_sites *sites, uint32_t row);

#define RQS_SITE_FEW 10u /* samples below which an estimate is hardly one */

/*
 * The 95 % interval of an estimate's bytes: Fay and Feuer's for weighted Poisson counts (Statistics in Medicine 16,
 * 1997), which for samples of one weight is the exact one of their number. Of no samples it is up to what `like` says
 * of one sample's weight; NULL: [0, 0].
 */
struct rqs_site_interval {
	double low, high;
};
struct rqs_site_interval rqs_site_bytes_interval(const struct rqs_site_estimate *e,
						 const struct rqs_site_estimate *like);
struct rqs_site_interval rqs_site_count_interval(const struct rqs_site_estimate *e,
						 const struct rqs_site_estimate *like);

/*
 * Where stacks weren't recorded, or samples were lost, a site may have allocated more than what is known of it. Of a
 * row all that has no site is `nowhere`: any site's interval ends as much higher as that one's. Where more than
 * 1/RQS_SITES_LOST of all samples were lost nothing tells where it ends (INFINITY).
 */
#define RQS_SITES_LOST 20u
bool rqs_alloc_sites_are_lost(const struct rqs_alloc_sites *sites);
/* Is it a place in the code that the site is named by? */
bool rqs_alloc_site_is_known(const struct rqs_alloc_sites *sites, const struct rqs_alloc_site *site);
struct rqs_alloc_site rqs_alloc_sites_nowhere(const struct rqs_alloc_sites *sites, uint32_t row);
/* Of what `site` allocated, or retained. NULL: that of all sites. */
struct rqs_site_interval rqs_alloc_site_allocated(const struct rqs_alloc_sites *sites,
						  const struct rqs_alloc_site *site,
						  const struct rqs_alloc_site *nowhere);
struct rqs_site_interval rqs_alloc_site_retained(const struct rqs_alloc_sites *sites, const struct rqs_alloc_site *site,
						 const struct rqs_alloc_site *nowhere);

/* How what is retained grows with the requests. */
struct rqs_site_growth {
	const char *why;  /* why there is none, or NULL */
	double slope;     /* bytes a request */
	double low, high; /* its 95 % interval */
	bool leak;        /* it grows, and it isn't something that fills and then stays */
};
struct rqs_site_growth rqs_site_growth(const struct rqs_alloc_sites *sites, const struct rqs_alloc_site *site);

#endif
