/* timeline.c - adding to the part of the recording that a time falls into. */
#include "model/timeline.h"
#include "base/alloc.h"

#include <stdlib.h>
#include <string.h>

void rqs_timeline_start(struct rqs_timeline *t, const struct rqs_grid *grid)
{
	t->grid = *grid;
	for (unsigned i = 0; i < RQS_GAUGE_COUNT; i++)
		t->gauge[i] = rqs_zalloc(grid->count, sizeof(*t->gauge[i]));
}

void rqs_timeline_gauge(struct rqs_timeline *t, enum rqs_gauge gauge, uint64_t time, uint64_t value)
{
	const struct rqs_grid *g = &t->grid;

	if (!g->count || time < g->first || time - g->first >= g->length * g->count)
		return;
	struct rqs_timeline_gauge *to = &t->gauge[gauge][rqs_grid_index(g, time)];
	to->sum += (double)value;
	to->sweeps++;
}

static void read_counters(struct rqs_timeline *t, const struct rqs_usage *usage, enum rqs_counters counters)
{
	double *const *counter = t->counter[counters];

	for (unsigned i = 0; i < t->grid.count; i++) {
		uint64_t from = t->grid.first + i * t->grid.length;
		double counted[2];

		rqs_usage_counted(usage, counters, from, from + t->grid.length, counted);
		counter[0][i] = counted[0];
		counter[1][i] = counted[1];
	}
}

void rqs_timeline_finish(struct rqs_timeline *t, const struct rqs_usage *usage)
{
	for (unsigned k = 0; k < RQS_COUNTERS_COUNT; k++) {
		memcpy(t->counted[k], usage->counted[k], sizeof(t->counted[k]));
		t->counter[k][0] = rqs_zalloc(t->grid.count, sizeof(double));
		t->counter[k][1] = rqs_zalloc(t->grid.count, sizeof(double));
		read_counters(t, usage, k);
	}
}

void rqs_timeline_free(struct rqs_timeline *t)
{
	for (unsigned i = 0; i < RQS_GAUGE_COUNT; i++)
		free(t->gauge[i]);
	for (unsigned k = 0; k < RQS_COUNTERS_COUNT; k++) {
		free(t->counter[k][0]);
		free(t->counter[k][1]);
	}
	memset(t, 0, sizeof(*t));
}
