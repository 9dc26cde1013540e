/*
 * power.h - what a comparison could have seen: the smallest effect that it would find in 80 % of cases at a two-sided
 * level of 5 %, (t.975 + t.80) standard errors.
 *
 * H. S. Bloom, "Minimum detectable effects: a simple way to report the statistical power of experimental designs",
 * Evaluation Review 19(5), 1995.
 */
#ifndef REQSCOPE_POWER_H
#define REQSCOPE_POWER_H

#define RQS_RUNS_LIMIT 10000

/* In the unit of se. */
double rqs_detectable(double se, double df);
/*
 * The least number of runs a side at which this effect is detectable, at least 2, given the variances between the runs
 * of either side; 0 when it is more than RQS_RUNS_LIMIT. effect > 0.
 */
unsigned rqs_runs_needed(double effect, double base_variance, double new_variance);

#endif
