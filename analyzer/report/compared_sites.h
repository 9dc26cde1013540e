/*
 * compared_sites.h - what the sites of allocations allocate a request, and how
 * each side's differ from the first one's.
 *
 * A row is a site of a route: a function of a file (frame_keys.h), which lines
 * of it is shown for each side. Where both sides have several runs, these are
 * the unit: Welch's interval of the runs' estimates, whose standard error is
 * never less than what the samples' number makes it. Otherwise there is that
 * alone (site_error.h): the rows then hold for these runs. p is that of the
 * difference, or that of the numbers of samples alone where either side has
 * few of them and it is greater; of what has no site (no stack) on a side any
 * site may have all, so that less than that is no difference; and it is corrected by Benjamini and Hochberg
 * for all rows that are tested, apart from the metrics' rows. Tested are those
 * with RQS_SITE_FEW samples on both sides together: that sum doesn't tell which
 * side has more, so choosing by it does no harm (R. Bourgon, R. Gentleman and
 * W. Huber, "Independent filtering increases detection power", PNAS 107, 2010).
 */
#ifndef REQSCOPE_COMPARED_SITES_H
#define REQSCOPE_COMPARED_SITES_H

#include "model/alloc_sites.h"
#include "report/sides.h"
#include "report/verdict.h"

/* In place of a route: after responses, of all routes. */
#define RQS_AFTER_RESPONSES (-2)

struct rqs_site_side {
	double bytes, low, high; /* a request: the mean of the runs, 95 % */
	uint64_t samples;
	uint32_t low_line, high_line; /* 0 not known, or no samples */
};

struct rqs_compared_site {
	int route;
	const struct rqs_frame_name *name; /* as the first side that has it has it */
	struct rqs_site_side *side;
	struct rqs_difference *difference; /* by side, in bytes a request; the base's own is empty */
	double greatest;                   /* difference of any side, absolute */
};

/* A route's sites, or those after responses: by their greatest difference. */
struct rqs_site_block {
	int route;
	double *requests; /* by side; 0: the route has none there */
	unsigned first, count;
	double impact; /* the greatest difference of bytes, of one site */
};

enum rqs_sites_state {
	RQS_SITES_COMPARED,
	RQS_SITES_NOT_RECORDED,  /* without --sites */
	RQS_SITES_NOT_SHARED,    /* no site in common with the base: other runtimes, other programs */
	RQS_SITES_TOO_MANY_LOST, /* of a run's samples: it has more than what is known of it */
};

struct rqs_compared_sites {
	bool asked;
	unsigned sides;
	enum rqs_sites_state *state; /* by side; of the base, whether it has any */
	unsigned count;
	struct rqs_compared_site *site; /* by block */
	unsigned blocks;
	struct rqs_site_block *block; /* by impact */
	unsigned tested;              /* differences with a p */
};

struct rqs_compared_sites rqs_compare_sites(const struct rqs_comparison *c, double threshold, bool strict);
/* Whether a side is compared with the base; of the base itself, whether it can be. */
bool rqs_sites_are_compared(const struct rqs_compared_sites *s, unsigned side);
void rqs_compared_sites_free(struct rqs_compared_sites *s);

#endif
