/*
 * verdict.h - what is said of a difference: the rules of a comparison, apart
 * from where its numbers come from.
 */
#ifndef REQSCOPE_VERDICT_H
#define REQSCOPE_VERDICT_H

#include <stdbool.h>

/* From good to bad, as exit statuses rank them. */
enum rqs_verdict {
	RQS_VERDICT_NONE, /* nothing to say: not measured, neither better nor worse, or one run and no interval within
			     it */
	RQS_VERDICT_OK,   /* no worse than allowed */
	RQS_VERDICT_IMPROVED,
	RQS_VERDICT_INCONCLUSIVE, /* the runs are too few or too noisy to tell */
	RQS_VERDICT_UNRESOLVED,   /* a quantile too far out for so few values */
	RQS_VERDICT_NOT_COMPARABLE,
	RQS_VERDICT_REGRESSED,
};

enum rqs_basis {
	RQS_BASIS_NONE,
	RQS_BASIS_WITHIN_RUNS,  /* the segment bootstrap */
	RQS_BASIS_BETWEEN_RUNS, /* Welch's interval and the exact permutation test */
};

/* new against base. */
struct rqs_difference {
	enum rqs_basis basis;
	bool ratio;                 /* new / base, otherwise new - base */
	double estimate, low, high; /* 95 %; NAN when there is no basis */
	double p, adjusted;         /* two-sided; adjusted for the comparison's other rows */
	double se, df, resolution;  /* of the estimate, or of its logarithm */
	double detectable; /* the smallest effect that 80 % of such comparisons find: of the ratio - 1, or absolute */
	unsigned runs_needed; /* a side, to find a change of the threshold's size; 0: unknown, or too many */
	bool unresolved;
	enum rqs_verdict verdict;
};

/* "regressed", ... as in JSON; NULL for none. */
const char *rqs_verdict_name(enum rqs_verdict verdict);
const char *rqs_basis_name(enum rqs_basis basis);

/*
 * `threshold`: what is allowed, of 1 for ratios, else absolute. Below 0 it is an improvement that is asked for: the
 * interval lies within it (ok or improved), beyond it (regressed), or across. `better`: -1 when lower is, 1 when higher
 * is. strict: a regression must be beyond the threshold with all of its interval.
 */
enum rqs_verdict rqs_verdict_of(const struct rqs_difference *d, int better, double threshold, bool strict);

#endif
