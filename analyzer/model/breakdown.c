/* breakdown.c - sums of parts by latency. */
#include "model/breakdown.h"
#include "base/alloc.h"
#include "read/columns.h"
#include "stats/histogram.h"

#include <math.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

static struct rqs_breakdown_page *page_at(struct rqs_breakdown *b, unsigned page)
{
	if (!b->page[page]) {
		b->page[page] = rqs_zalloc(1, sizeof(*b->page[page]));
		rqs_stats_memory += sizeof(*b->page[page]);
	}
	return b->page[page];
}

static struct rqs_breakdown_sums *sums_of(struct rqs_breakdown *b, uint64_t latency)
{
	unsigned k = latency ? rqs_bucket_of(latency) / RQS_BREAKDOWN_BUCKETS : 0;

	return &page_at(b, k / RQS_BREAKDOWN_PER_OCTAVE)->bucket[k % RQS_BREAKDOWN_PER_OCTAVE];
}

void rqs_breakdown_add(struct rqs_breakdown *b, const uint64_t *latency, const struct rqs_part_columns *parts,
		       const uint16_t *row, uint32_t n)
{
	for (uint32_t i = 0; i < n; i++) {
		uint32_t r = row[i];

		if (latency[r] == RQS_NULL)
			continue;
		struct rqs_breakdown_sums *sums = sums_of(b, latency[r]);
		sums->requests++;
		sums->latency += latency[r];
		for (const struct rqs_part_column *c = parts->column; c < parts->column + parts->count; c++) {
			bool measured = c->value[r] != RQS_NULL;

			sums->part[c->part] += measured ? c->value[r] : 0;
			b->measured[c->part] += measured;
		}
	}
}

void rqs_breakdown_merge(struct rqs_breakdown *into, const struct rqs_breakdown *from)
{
	for (unsigned p = 0; p < RQS_PART_COUNT; p++)
		into->measured[p] += from->measured[p];
	for (unsigned i = 0; i < RQS_BREAKDOWN_PAGES; i++) {
		if (!from->page[i])
			continue;
		struct rqs_breakdown_page *page = page_at(into, i);
		for (unsigned k = 0; k < RQS_BREAKDOWN_PER_OCTAVE; k++) {
			struct rqs_breakdown_sums *to = &page->bucket[k];
			const struct rqs_breakdown_sums *sums = &from->page[i]->bucket[k];

			to->requests += sums->requests;
			to->latency += sums->latency;
			for (unsigned p = 0; p < RQS_PART_COUNT; p++)
				to->part[p] += sums->part[p];
		}
	}
}

static double requests_of(const struct rqs_breakdown *b)
{
	double n = 0;

	for (unsigned i = 0; i < RQS_BREAKDOWN_PAGES; i++)
		for (unsigned k = 0; b->page[i] && k < RQS_BREAKDOWN_PER_OCTAVE; k++)
			n += (double)b->page[i]->bucket[k].requests;
	return n;
}

/* Adds the part of a bucket that is still wanted; what is wanted then. */
static double take(struct rqs_breakdown_mean *mean, const struct rqs_breakdown_sums *sums, double wanted)
{
	if (!sums->requests)
		return wanted;
	double taken = fmin(wanted, (double)sums->requests), share = taken / (double)sums->requests;

	mean->requests += taken;
	mean->latency += share * (double)sums->latency;
	for (unsigned p = 0; p < RQS_PART_COUNT; p++)
		mean->part[p] += share * (double)sums->part[p];
	return wanted - taken;
}

struct rqs_breakdown_mean rqs_breakdown_slowest(const struct rqs_breakdown *b, double share)
{
	struct rqs_breakdown_mean mean = {0};
	double wanted = ceil(requests_of(b) * share);

	for (unsigned i = RQS_BREAKDOWN_PAGES; i-- > 0 && wanted > 0;)
		for (unsigned k = RQS_BREAKDOWN_PER_OCTAVE; b->page[i] && k-- > 0 && wanted > 0;)
			wanted = take(&mean, &b->page[i]->bucket[k], wanted);
	if (!(mean.requests > 0))
		return mean;
	mean.latency /= mean.requests;
	for (unsigned p = 0; p < RQS_PART_COUNT; p++)
		mean.part[p] /= mean.requests;
	return mean;
}

void rqs_breakdown_free(struct rqs_breakdown *b)
{
	for (unsigned i = 0; i < RQS_BREAKDOWN_PAGES; i++) {
		if (!b->page[i])
			continue;
		rqs_stats_memory -= sizeof(*b->page[i]);
		free(b->page[i]);
	}
	memset(b, 0, sizeof(*b));
}
