/* slices.c - filling, packing and merging. */
#include "model/slices.h"
#include "stats/dist.h"
#include "base/alloc.h"

#include <stdlib.h>
#include <string.h>

struct rqs_grid rqs_grid_make(uint64_t from, uint64_t to)
{
	uint64_t span = to > from ? to - from : 1;
	unsigned segments = rqs_segments_of((double)span / 1e9);
	unsigned each = (RQS_SLICES + segments - 1) / segments, count = segments * each;

	return (struct rqs_grid){count, each, from, span / count + (span % count != 0)};
}

struct rqs_segment *rqs_slices_at(struct rqs_slices *s, const struct rqs_grid *grid, unsigned sums, unsigned index)
{
	if (!s->segments.segment) {
		rqs_segments_init(&s->segments, grid->count, sums);
		s->histogram = rqs_zalloc(grid->count, sizeof(struct rqs_histogram *));
		for (unsigned i = 0; i < grid->count; i++)
			s->segments.segment[i].seconds = (double)grid->length / 1e9;
	}
	return &s->segments.segment[index];
}

/* Buckets of segments are numbered from 1, as 0 is that of zeros. */
static void unpack(struct rqs_histogram *h, const struct rqs_segment *segment)
{
	for (uint32_t i = 0; i < segment->buckets; i++) {
		unsigned bucket = segment->bucket_count[i].bucket;
		uint64_t count = segment->bucket_count[i].count;

		if (!bucket) {
			h->zeros += count;
			continue;
		}
		unsigned page = (bucket - 1) / RQS_BUCKETS_PER_OCTAVE;
		if (!h->page[page])
			rqs_histogram_make_page(h, page);
		h->page[page][(bucket - 1) % RQS_BUCKETS_PER_OCTAVE] += count;
	}
}

/* The slice's latencies as a histogram. */
static struct rqs_histogram *open_slice(struct rqs_slices *s, unsigned index)
{
	struct rqs_segment *segment = &s->segments.segment[index];

	if (!s->histogram[index]) {
		s->histogram[index] = rqs_zalloc(1, sizeof(struct rqs_histogram));
		unpack(s->histogram[index], segment);
		free(segment->bucket_count);
		segment->bucket_count = NULL;
		if (!segment->buckets) {
			segment->min = UINT64_MAX;
			segment->max = 0;
		}
		segment->buckets = 0;
	}
	return s->histogram[index];
}

static void span(struct rqs_segment *segment, uint64_t least, uint64_t greatest)
{
	segment->min = least < segment->min ? least : segment->min;
	segment->max = greatest > segment->max ? greatest : segment->max;
}

void rqs_slices_latencies(struct rqs_slices *s, unsigned index, const uint64_t *value, const uint16_t *row, uint32_t n)
{
	struct rqs_histogram *h = open_slice(s, index);
	uint64_t least = UINT64_MAX, greatest = 0;

	for (uint32_t i = 0; i < n; i++) {
		uint64_t v = value[row[i]];

		if (v == RQS_DIST_SKIP)
			continue;
		least = v < least ? v : least;
		greatest = v > greatest ? v : greatest;
		rqs_histogram_add(h, v, 1);
	}
	span(&s->segments.segment[index], least, greatest);
}

void rqs_slices_pack(struct rqs_slices *s, unsigned count)
{
	for (unsigned i = 0; i < count && i < s->segments.count; i++) {
		struct rqs_segment *segment = &s->segments.segment[i];

		if (!s->histogram[i])
			continue;
		rqs_segment_pack(segment, s->histogram[i], segment->min, segment->max);
		rqs_histogram_free(s->histogram[i]);
		s->histogram[i] = NULL;
	}
}

void rqs_slices_sum(const struct rqs_slices *s, struct rqs_histogram *h)
{
	for (unsigned i = 0; i < s->segments.count; i++) {
		if (s->histogram[i])
			rqs_histogram_merge(h, s->histogram[i]);
		else
			unpack(h, &s->segments.segment[i]);
	}
}

static void merge_sums(struct rqs_segment *to, const struct rqs_segment *from, unsigned sums)
{
	to->requests += from->requests;
	to->errors += from->errors;
	for (unsigned k = 0; k < sums; k++) {
		to->sum[k].sum += from->sum[k].sum;
		to->sum[k].count += from->sum[k].count;
	}
}

void rqs_slices_merge(struct rqs_slices *into, const struct rqs_slices *from, const struct rqs_grid *grid)
{
	for (unsigned i = 0; i < from->segments.count; i++) {
		const struct rqs_segment *source = &from->segments.segment[i];
		const struct rqs_histogram *open = from->histogram[i];
		struct rqs_segment *to = rqs_slices_at(into, grid, from->segments.sums, i);

		merge_sums(to, source, from->segments.sums);
		if (!open && !source->buckets)
			continue;
		struct rqs_histogram *h = open_slice(into, i);
		span(to, source->min, source->max);
		if (open)
			rqs_histogram_merge(h, open);
		else
			unpack(h, source);
	}
}

/* Slices [first, first + count) as one segment. */
static void join(struct rqs_segment *to, const struct rqs_slices *s, unsigned first, unsigned count)
{
	struct rqs_histogram *h = rqs_zalloc(1, sizeof(*h));

	to->min = UINT64_MAX;
	for (unsigned i = first; i < first + count; i++) {
		const struct rqs_segment *from = &s->segments.segment[i];

		merge_sums(to, from, s->segments.sums);
		unpack(h, from);
		if (from->buckets)
			span(to, from->min, from->max);
	}
	rqs_segment_pack(to, h, to->min, to->max);
	rqs_histogram_free(h);
}

void rqs_slices_segments(const struct rqs_slices *s, const struct rqs_grid *grid, unsigned sums,
			 struct rqs_segments *segments)
{
	rqs_segments_init(segments, grid->count / grid->segment, sums);
	for (unsigned i = 0; i < segments->count; i++) {
		segments->segment[i].seconds = (double)(grid->length * grid->segment) / 1e9;
		if (s->segments.count)
			join(&segments->segment[i], s, i * grid->segment, grid->segment);
	}
}

void rqs_slices_free(struct rqs_slices *s)
{
	for (unsigned i = 0; s->histogram && i < s->segments.count; i++)
		rqs_histogram_free(s->histogram[i]);
	free(s->histogram);
	rqs_segments_free(&s->segments);
	memset(s, 0, sizeof(*s));
}
