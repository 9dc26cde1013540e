/*
 * cliff.h - Cliff's delta of two histograms: the share of pairs in which the new value is the greater one, less the
 * share in which the base's is; from -1 to 1, and 0 when neither tends to be greater. Descriptive.
 *
 * N. Cliff, "Dominance statistics: ordinal analyses to answer ordinal questions", Psychological Bulletin 114, 1993.
 * Values in one bucket are ties. The counts are exact integers.
 */
#ifndef REQSCOPE_CLIFF_H
#define REQSCOPE_CLIFF_H

#include "stats/histogram.h"

/* NAN when a side is empty. */
double rqs_cliff_delta(const struct rqs_histogram *base, const struct rqs_histogram *new);

#endif
