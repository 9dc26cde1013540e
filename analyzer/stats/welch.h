/*
 * welch.h - the 95 % interval of a difference of means whose variances may differ.
 *
 * B. L. Welch, "The generalization of 'Student's' problem when several different population variances are involved",
 * Biometrika 34, 1947. Used on the logarithms of the runs' quantiles, the difference is the logarithm of their ratio.
 */
#ifndef REQSCOPE_WELCH_H
#define REQSCOPE_WELCH_H

#include <stdbool.h>

struct rqs_welch {
	double difference; /* mean of new - mean of base; there are values on both sides */
	/*
	 * Whether the rest is set. It isn't when a side has one value, which says nothing of its spread. When neither
	 * side has any spread, the standard error is 0, df is that of equal variances, and the interval is the
	 * difference alone, widened by the resolution.
	 */
	bool known;
	double se, df;
	double low, high;
};

/*
 * n and m >= 1 values. `resolution`: values closer than this aren't told apart (a bucket's width), 0 for exact ones;
 * the interval is widened by it on both sides, since the means of values that share their buckets don't average it out.
 */
struct rqs_welch rqs_welch(const double *base, unsigned n, const double *new, unsigned m, double resolution);

#endif
