/* numbers.h - mean, variance and percentiles of some numbers. */
#ifndef REQSCOPE_NUMBERS_H
#define REQSCOPE_NUMBERS_H

/* n >= 1. */
double rqs_numbers_mean(const double *value, unsigned n);
/* The unbiased one, with n - 1; 0 of one value. */
double rqs_numbers_variance(const double *value, unsigned n);

/* Copies those of n values that are numbers (not NAN), ascending; returns how many. */
unsigned rqs_numbers_sort(double *sorted, const double *value, unsigned n);
/* The value with a share p of n >= 1 sorted ones below it: number p (n + 1), between neighbours by distance. */
double rqs_numbers_percentile(const double *sorted, unsigned n, double p);

#endif
