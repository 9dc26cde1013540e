/*
 * slices.h - the requests of one route by when they arrived: a run cut into
 * equal times, each with its latencies and the sums of its other metrics.
 *
 * Latencies of a slice that is being filled are a histogram, those of finished
 * ones can be packed, which takes a tenth of the memory.
 */
#ifndef REQSCOPE_SLICES_H
#define REQSCOPE_SLICES_H

#include "stats/segments.h"

#include <stdint.h>

/*
 * Where the slices lie; the same for all routes of a run. For charts they are
 * RQS_SLICES at least, for statistics several adjoining ones are a segment.
 */
#define RQS_SLICES 60

struct rqs_grid {
	unsigned count;
	unsigned segment;       /* slices in one */
	uint64_t first, length; /* ns */
};

/* [from, to) in as many segments as its length allows, and those in slices. */
struct rqs_grid rqs_grid_make(uint64_t from, uint64_t to);

/* Times outside of it count in the nearest slice. count isn't 0. */
static inline unsigned rqs_grid_index(const struct rqs_grid *g, uint64_t time)
{
	uint64_t i = time < g->first ? 0 : (time - g->first) / g->length;

	return i < g->count ? (unsigned)i : g->count - 1;
}

/* A zeroed one is empty. */
struct rqs_slices {
	struct rqs_segments segments;     /* their latencies once packed */
	struct rqs_histogram **histogram; /* of the slices that aren't */
};

/* Makes room where there is none yet; `sums` metrics are summed. The slice, to add requests, errors and sums to. */
struct rqs_segment *rqs_slices_at(struct rqs_slices *s, const struct rqs_grid *grid, unsigned sums, unsigned index);
/* Latencies, ns, of a slice that there is: value[row[0 .. n)], without those that are RQS_DIST_SKIP. */
void rqs_slices_latencies(struct rqs_slices *s, unsigned index, const uint64_t *value, const uint16_t *row, uint32_t n);
/* Packs the latencies of the first `count` slices. More can be added afterwards. */
void rqs_slices_pack(struct rqs_slices *s, unsigned count);
/* The latencies of all slices, added to h. */
void rqs_slices_sum(const struct rqs_slices *s, struct rqs_histogram *h);
/* Adds slices of the same grid: another route's. */
void rqs_slices_merge(struct rqs_slices *into, const struct rqs_slices *from, const struct rqs_grid *grid);
/* The segments of packed slices; what it points to is the caller's. Of no slices as many empty ones. */
void rqs_slices_segments(const struct rqs_slices *s, const struct rqs_grid *grid, unsigned sums,
			 struct rqs_segments *segments);
void rqs_slices_free(struct rqs_slices *s); /* the contents, not the struct */

#endif
