/*
 * site_error.h - how far a site's estimate may be from what the program
 * would allocate there in another run of as many requests.
 *
 * The variance of Horvitz and Thompson's estimate is that of the sampling
 * alone: it holds for what this run allocated. Requests aren't all the same,
 * so another run allocates something else; as for events that come at random
 * (compound Poisson), the variance is then the sum of the squared weights, at
 * least bytes^2 / samples. A comparison takes the greater of the two.
 *
 * Its interval is that of rqs_site_bytes_interval(), with that variance; of no
 * samples it ends at what three stand for (the rule of three).
 */
#ifndef REQSCOPE_SITE_ERROR_H
#define REQSCOPE_SITE_ERROR_H

#include "model/alloc_sites.h"

#define RQS_SITE_UNSEEN 3.0 /* samples that there may have been where none was seen */

double rqs_site_variance(const struct rqs_site_estimate *e);
/* 95 % of the bytes; `one` is what a sample stands for where there is none. */
void rqs_site_range(const struct rqs_site_estimate *e, double one, double *low, double *high);
/*
 * How often numbers of samples of one rate are at least as far apart: the conditional exact test of two Poisson numbers
 * (J. Przyborowski and H. Wilenski, Biometrika 31, 1940), its lesser tail doubled. `share` is the first one's part of
 * what is expected of both.
 */
double rqs_site_counts_p(uint64_t a, uint64_t b, double share);

#endif
