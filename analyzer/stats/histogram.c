/* histogram.c - pages, merging and ranks. */
#include "stats/histogram.h"
#include "base/alloc.h"

#include <stdlib.h>

size_t rqs_stats_memory;

void rqs_histogram_make_page(struct rqs_histogram *h, unsigned page)
{
	h->page[page] = rqs_zalloc(RQS_BUCKETS_PER_OCTAVE, sizeof(uint64_t));
	rqs_stats_memory += RQS_BUCKETS_PER_OCTAVE * sizeof(uint64_t);
}

void rqs_histogram_merge(struct rqs_histogram *into, const struct rqs_histogram *from)
{
	into->zeros += from->zeros;
	for (unsigned p = 0; p < RQS_HISTOGRAM_PAGES; p++) {
		if (!from->page[p])
			continue;
		if (!into->page[p])
			rqs_histogram_make_page(into, p);
		for (unsigned i = 0; i < RQS_BUCKETS_PER_OCTAVE; i++)
			into->page[p][i] += from->page[p][i];
	}
}

double rqs_histogram_rank(const struct rqs_histogram *h, uint64_t rank)
{
	uint64_t seen = h->zeros;
	double last = 0;

	if (seen >= rank)
		return 0;
	for (unsigned p = 0; p < RQS_HISTOGRAM_PAGES; p++) {
		if (!h->page[p])
			continue;
		for (unsigned i = 0; i < RQS_BUCKETS_PER_OCTAVE; i++) {
			if (!h->page[p][i])
				continue;
			last = rqs_bucket_middle(p * RQS_BUCKETS_PER_OCTAVE + i);
			seen += h->page[p][i];
			if (seen >= rank)
				return last;
		}
	}
	return last;
}

void rqs_histogram_free(struct rqs_histogram *h)
{
	if (!h)
		return;
	for (unsigned p = 0; p < RQS_HISTOGRAM_PAGES; p++) {
		if (h->page[p])
			rqs_stats_memory -= RQS_BUCKETS_PER_OCTAVE * sizeof(uint64_t);
		free(h->page[p]);
	}
	free(h);
}
