/* cliff.c - one pass over the buckets of both. */
#include "stats/cliff.h"

#include <math.h>

/* Totals of both sides up to a bucket, and the pairs among them. */
struct pairs {
	uint64_t base, new;
	unsigned __int128 greater, less;
};

static void next_bucket(struct pairs *p, uint64_t base, uint64_t new)
{
	p->greater += (unsigned __int128)new * p->base;
	p->less += (unsigned __int128)base * p->new;
	p->base += base;
	p->new += new;
}

double rqs_cliff_delta(const struct rqs_histogram *base, const struct rqs_histogram *new)
{
	struct pairs p = {0};

	next_bucket(&p, base->zeros, new->zeros);
	for (unsigned page = 0; page < RQS_HISTOGRAM_PAGES; page++) {
		const uint64_t *a = base->page[page], *b = new->page[page];

		for (unsigned i = 0; (a || b) && i < RQS_BUCKETS_PER_OCTAVE; i++)
			next_bucket(&p, a ? a[i] : 0, b ? b[i] : 0);
	}
	if (!p.base || !p.new)
		return NAN;
	__int128 difference = (__int128)p.greater - (__int128)p.less;

	return (double)difference / ((double)p.base * (double)p.new);
}
