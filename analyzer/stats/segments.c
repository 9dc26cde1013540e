/* segments.c - packing, pooling and freeing. */
#include "stats/segments.h"
#include "base/alloc.h"

#include <stdlib.h>
#include <string.h>

unsigned rqs_segments_of(double seconds)
{
	if (!(seconds >= 1))
		return seconds > 0;
	return seconds < RQS_SEGMENTS_OF_RUN ? (unsigned)seconds : RQS_SEGMENTS_OF_RUN;
}

void rqs_segments_init(struct rqs_segments *s, unsigned count, unsigned sums)
{
	s->count = count;
	s->sums = sums;
	s->segment = rqs_zalloc(count, sizeof(*s->segment));
	for (unsigned i = 0; i < count; i++)
		s->segment[i].sum = rqs_zalloc(sums, sizeof(*s->segment[i].sum));
}

static uint32_t used_buckets(const struct rqs_histogram *h)
{
	uint32_t used = h->zeros > 0;

	for (unsigned p = 0; p < RQS_HISTOGRAM_PAGES; p++)
		for (unsigned i = 0; h->page[p] && i < RQS_BUCKETS_PER_OCTAVE; i++)
			used += h->page[p][i] > 0;
	return used;
}

static void push(struct rqs_segment *s, unsigned bucket, uint64_t count)
{
	if (count)
		s->bucket_count[s->buckets++] = (struct rqs_bucket_count){.bucket = bucket, .count = count};
}

void rqs_segment_pack(struct rqs_segment *s, const struct rqs_histogram *h, uint64_t min, uint64_t max)
{
	free(s->bucket_count);
	s->bucket_count = rqs_zalloc(used_buckets(h), sizeof(*s->bucket_count));
	s->buckets = 0;
	s->min = min;
	s->max = max;
	push(s, 0, h->zeros);
	for (unsigned p = 0; p < RQS_HISTOGRAM_PAGES; p++)
		for (unsigned i = 0; h->page[p] && i < RQS_BUCKETS_PER_OCTAVE; i++)
			push(s, p * RQS_BUCKETS_PER_OCTAVE + i + 1, h->page[p][i]);
}

static void *copy_of(const void *from, size_t count, size_t size)
{
	void *copy = rqs_zalloc(count, size);

	if (count)
		memcpy(copy, from, count * size);
	return copy;
}

void rqs_segments_pool(struct rqs_segments *into, const struct rqs_segments *const *run, unsigned runs)
{
	unsigned count = 0;

	for (unsigned r = 0; r < runs; r++)
		count += run[r]->count;
	*into = (struct rqs_segments){.sums = runs ? run[0]->sums : 0};
	into->segment = rqs_zalloc(count, sizeof(*into->segment));
	for (unsigned r = 0; r < runs; r++)
		for (unsigned i = 0; i < run[r]->count; i++) {
			struct rqs_segment *s = &into->segment[into->count++];

			*s = run[r]->segment[i];
			s->bucket_count = copy_of(s->bucket_count, s->buckets, sizeof(*s->bucket_count));
			s->sum = copy_of(s->sum, into->sums, sizeof(*s->sum));
		}
}

void rqs_segments_free(struct rqs_segments *s)
{
	for (unsigned i = 0; i < s->count; i++) {
		free(s->segment[i].bucket_count);
		free(s->segment[i].sum);
	}
	free(s->segment);
	memset(s, 0, sizeof(*s));
}

double rqs_segment_bucket_value(unsigned bucket)
{
	return bucket ? rqs_bucket_middle(bucket - 1) : 0;
}
