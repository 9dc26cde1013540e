/*
 * permutation.h - the permutation test of a difference of means: among all ways to deal the values out to two sides of
 * these sizes, the share whose means differ at least as much as those seen.
 *
 * R. A. Fisher, "The Design of Experiments", 1935; exact while there are few ways. Of more, a random sample, counting
 * the one that was seen among them: Phipson and Smyth, "Permutation P-values should never be zero", Statistical
 * Applications in Genetics and Molecular Biology 9(1), 2010.
 */
#ifndef REQSCOPE_PERMUTATION_H
#define REQSCOPE_PERMUTATION_H

#define RQS_PERMUTATIONS_EXACT 200000 /* 10 against 10 runs have 184,756 */
#define RQS_PERMUTATIONS_SAMPLED 20000

/* Two-sided p; n and m >= 1 finite values. Ways that differ from the one seen by rounding alone count as ties. */
double rqs_permutation_p(const double *base, unsigned n, const double *new, unsigned m);
/*
 * The least p that sides of these sizes can have. Where it isn't below what a correction for many metrics asks, no
 * difference whatever can become significant: 5 runs a side have 2 / 252, which Holm's correction for seven metrics
 * makes more than 5 %.
 */
double rqs_permutation_least_p(unsigned n, unsigned m);

#endif
