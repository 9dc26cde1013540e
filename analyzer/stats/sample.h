/* sample.h - mean, variance and percentiles of some numbers. */
#ifndef REQSCOPE_SAMPLE_H
#define REQSCOPE_SAMPLE_H

/* n >= 1. */
double rqs_sample_mean(const double *value, unsigned n);
/* The unbiased one, with n - 1; 0 of one value. */
double rqs_sample_variance(const double *value, unsigned n);

/* Copies those of n values that are numbers (not NAN), ascending; returns how many. */
unsigned rqs_sample_sort(double *sorted, const double *value, unsigned n);
/* The value with a share p of n >= 1 sorted ones below it: number p (n + 1), between neighbours by distance. */
double rqs_sample_percentile(const double *sorted, unsigned n, double p);

#endif
