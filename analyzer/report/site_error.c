/* site_error.c - variances and intervals of estimates. */
#include "report/site_error.h"

#include <math.h>
#include <stddef.h>

double rqs_site_variance(const struct rqs_site_estimate *e)
{
	return e->samples ? fmax(e->bytes_variance, e->bytes * e->bytes / (double)e->samples) : 0;
}

void rqs_site_range(const struct rqs_site_estimate *e, double one, double *low, double *high)
{
	struct rqs_site_estimate other_run = *e;

	other_run.bytes_variance = rqs_site_variance(e);
	struct rqs_site_interval i = rqs_site_bytes_interval(&other_run, NULL);
	*low = e->samples ? i.low : 0;
	*high = e->samples ? i.high : RQS_SITE_UNSEEN * one;
}

static double binomial_term(uint64_t n, uint64_t k, double share)
{
	double m = (double)n, i = (double)k;

	return exp(lgamma(m + 1) - lgamma(i + 1) - lgamma(m - i + 1) + i * log(share) + (m - i) * log1p(-share));
}

double rqs_site_counts_p(uint64_t a, uint64_t b, double share)
{
	uint64_t least = a < b ? a : b, n = a + b;
	double below = 0, own;

	if (!(share > 0 && share < 1))
		return 1;
	share = a < b ? share : 1 - share;
	own = binomial_term(n, least, share);
	for (uint64_t k = 0; k < least; k++)
		below += binomial_term(n, k, share);
	return fmin(1, 2 * fmin(below + own, 1 - below));
}
