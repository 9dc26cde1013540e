/*
 * significance.h - the p values of many rows, corrected for being many.
 *
 * Benjamini and Hochberg's correction of the rows' own p alone would be blind: five runs a side have no p of the
 * permutation test below 2 / 252, which among the rows of twenty routes is never significant, so that one route that
 * takes ten times as long would go unseen. So it is also made of a p that knows how far out a row is: of t, whose
 * standard error is the row's own and the median one of its figure's rows together, as in V. G. Tusher, R. Tibshirani
 * and G. Chu, "Significance analysis of microarrays applied to the ionizing radiation response", PNAS 98(9), 2001. (By
 * its own error alone, rows whose runs fall into two groups would often be infinitely far out by chance.) What is
 * reported is the better of the two, and never less than the row's own p.
 *
 * By simulation, of 5 runs a side that don't differ, with 16, 190 and 1,500 rows, of normal, t(2), exponential squared
 * and bimodal values, by row or by run: some row is significant in 0 to 3 % of comparisons. Four of 190 rows that
 * differ by six standard deviations between runs are found in 80 %, by ten always.
 */
#ifndef REQSCOPE_SIGNIFICANCE_H
#define REQSCOPE_SIGNIFICANCE_H

#include "report/rows.h"

/* Sets each difference's adjusted p; NAN of what isn't judged. */
void rqs_rows_adjust(struct rqs_rows *rows);

#endif
