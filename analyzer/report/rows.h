/*
 * rows.h - a comparison's rows: a figure of the whole or of a route, each
 * side's value with its interval, and how each differs from the first side.
 */
#ifndef REQSCOPE_ROWS_H
#define REQSCOPE_ROWS_H

#include "report/figures.h"
#include "report/sides.h"
#include "report/verdict.h"

#define RQS_WANTED_CHANGE 0.05 /* what runs are wanted for where no threshold says it */

struct rqs_row_side {
	double value; /* of all runs together; NAN: not measured */
	/* Within the runs: from their segments pooled. why says whether there is one. */
	enum rqs_no_interval why;
	double low, high;
	unsigned runs; /* that have a value */
};

struct rqs_row {
	enum rqs_figure figure;
	int route;
	struct rqs_row_side *side;
	struct rqs_difference *difference; /* by side; the base's own is empty */
};

struct rqs_rows {
	unsigned sides, count;
	struct rqs_row *row; /* of the whole, then of each route by its impact */
};

/* What a reader can set. */
struct rqs_compare_options {
	double threshold; /* of 1: what a difference of less isn't called a regression for */
	bool strict;
	bool allow_single_run;     /* gates also judge differences within one run */
	bool allow_unmatched_load; /* gates also judge latencies of different loads */
	bool inconclusive_passes;
	bool sites; /* compare call sites of allocations, too */
};

/* Of all figures that any side has. Takes some time: thousands of resamples a row. */
struct rqs_rows rqs_rows_make(const struct rqs_comparison *c, const struct rqs_compare_options *options);
/* The row, or NULL when no side has a value. */
const struct rqs_row *rqs_rows_find(const struct rqs_rows *rows, enum rqs_figure figure, int route);
/* One row's difference of side `i` as it is, or as a ratio, unadjusted and without a verdict. */
struct rqs_difference rqs_row_difference(const struct rqs_comparison *c, enum rqs_figure figure, int route, unsigned i,
					 bool ratio);
/* The worst verdict of a row's sides. */
enum rqs_verdict rqs_row_verdict(const struct rqs_rows *rows, const struct rqs_row *row);
/* "+8.1 % [+3.2 .. +13.0]", or in the figure's unit; empty when there is nothing to say; to be freed. */
char *rqs_difference_text(enum rqs_figure figure, const struct rqs_difference *d);
void rqs_rows_free(struct rqs_rows *rows);

/* A route's segments of all runs of a side (RQS_WHOLE: of all routes), their sums by metric; to be freed. */
struct rqs_segments rqs_side_segments(const struct rqs_comparison *c, const struct rqs_side *side, int route);

#endif
