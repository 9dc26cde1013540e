/* result.c - notes, merging runs, and derived figures. */
#include "model/result.h"
#include "base/alloc.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

void rqs_result_note(struct rqs_result *r, const char *what, const char *why)
{
	for (unsigned i = 0; i < r->notes; i++)
		if (!strcmp(r->note[i].what, what) && !strcmp(r->note[i].why, why))
			return;
	r->note = rqs_grow(r->note, r->notes + 1, sizeof(*r->note));
	r->note[r->notes].what = rqs_strndup(what, strlen(what));
	r->note[r->notes].why = rqs_strndup(why, strlen(why));
	r->notes++;
}

static uint64_t capped(uint64_t a, uint64_t b)
{
	return a > UINT64_MAX - b ? UINT64_MAX : a + b;
}

void rqs_alloc_add(struct rqs_alloc *alloc, uint64_t bytes, uint64_t count)
{
	alloc->bytes = capped(alloc->bytes, bytes);
	alloc->count = capped(alloc->count, count);
}

struct rqs_cell *rqs_result_cell(struct rqs_result *r, unsigned row)
{
	if (row >= r->cells) {
		r->cell = rqs_grow(r->cell, row + 1, sizeof(struct rqs_cell *));
		memset(r->cell + r->cells, 0, (row + 1 - r->cells) * sizeof(struct rqs_cell *));
		r->cells = row + 1;
	}
	if (!r->cell[row])
		r->cell[row] = rqs_zalloc(1, sizeof(struct rqs_cell));
	return r->cell[row];
}

void rqs_result_sum(struct rqs_result *r)
{
	for (unsigned i = 0; i < r->cells; i++) {
		if (!r->cell[i])
			continue;
		rqs_cell_merge(&r->all, r->cell[i]);
		rqs_slices_merge(&r->all.slices, &r->cell[i]->slices, &r->grid);
	}
}

/* What is known of a side is known of each of its runs. */
static void merge_alloc(const struct rqs_result *into, struct rqs_alloc *to, const struct rqs_alloc *alloc)
{
	to->known = (to->known || !into->runs) && alloc->known;
	rqs_alloc_add(to, alloc->bytes, alloc->count);
}

static void merge_level(const struct rqs_result *into, struct rqs_level *to, const struct rqs_result *from,
			const struct rqs_level *level)
{
	to->known = (to->known || !into->runs) && level->known;
	to->mean = (to->mean * into->runs + level->mean * from->runs) / (into->runs + from->runs);
	to->peak = fmax(to->peak, level->peak);
}

static void merge_counted(const struct rqs_result *into, struct rqs_counted *to, const struct rqs_counted *counted)
{
	to->known = (to->known || !into->runs) && counted->known;
	to->value += counted->value;
}

static void merge_usage(struct rqs_result *into, const struct rqs_result *from)
{
	into->cpu_known = (into->cpu_known || !into->runs) && from->cpu_known;
	into->cpu_user += from->cpu_user;
	into->cpu_system += from->cpu_system;
	merge_level(into, &into->rss, from, &from->rss);
	into->has_runtime_stats |= from->has_runtime_stats;
#define MERGE(name) merge_level(into, &into->name, from, &from->name);
	RQS_RUNTIME_LEVELS(MERGE)
#undef MERGE
#define MERGE(name) merge_counted(into, &into->name, &from->name);
	RQS_RUNTIME_COUNTS(MERGE)
#undef MERGE
}

void rqs_result_move_cells(struct rqs_result *into, struct rqs_result *from)
{
	if (from->thin)
		return;
	from->thin = true;
	for (unsigned i = 0; i < from->cells; i++) {
		if (!from->cell[i])
			continue;
		rqs_cell_merge(rqs_result_cell(into, i), from->cell[i]);
		rqs_cell_thin(from->cell[i]);
	}
	rqs_cell_merge(&into->all, &from->all);
	rqs_cell_thin(&from->all);
}

void rqs_result_merge(struct rqs_result *into, const struct rqs_result *from)
{
	merge_usage(into, from);
	into->processes += from->processes;
	into->recorded += from->recorded;
	into->truncated |= from->truncated;
	into->damaged |= from->damaged;
	into->windowed |= from->windowed;
	into->duration += from->duration;
	into->completeness.known = (into->completeness.known || !into->runs) && from->completeness.known;
#define ADD(name) into->completeness.name += from->completeness.name;
	RQS_COMPLETENESS(ADD)
#undef ADD
	into->unplaced += from->unplaced;
	into->connections_known = (into->connections_known || !into->runs) && from->connections_known;
	into->accepted += from->accepted;
	into->peak = from->peak > into->peak ? from->peak : into->peak;
#define MERGE(name) merge_alloc(into, &into->name, &from->name);
	RQS_ALLOCS(MERGE)
#undef MERGE
	rqs_alloc_sites_merge(&into->sites, &from->sites);
	for (unsigned i = 0; i < from->notes; i++)
		rqs_result_note(into, from->note[i].what, from->note[i].why);
	into->runs += from->runs;
}

void rqs_result_free(struct rqs_result *r)
{
	for (unsigned i = 0; i < r->cells; i++) {
		if (r->cell[i])
			rqs_cell_free(r->cell[i]);
		free(r->cell[i]);
	}
	free(r->cell);
	rqs_cell_free(&r->all);
	rqs_timeline_free(&r->timeline);
	rqs_alloc_sites_free(&r->sites);
	for (unsigned i = 0; i < r->notes; i++) {
		free(r->note[i].what);
		free(r->note[i].why);
	}
	free(r->note);
	memset(r, 0, sizeof(*r));
}

double rqs_throughput(const struct rqs_result *r, const struct rqs_cell *c)
{
	if (!c->requests)
		return 0;
	return r->duration > 0 ? (double)c->requests / r->duration : NAN;
}

double rqs_in_flight_mean(const struct rqs_result *r)
{
	const struct rqs_dist *latency = &r->all.metric[RQS_METRIC_LATENCY];

	if (!latency->count || !(r->duration > 0))
		return NAN;
	return (double)latency->sum / 1e9 / r->duration;
}

double rqs_alloc_per_request(const struct rqs_result *r, const struct rqs_alloc *alloc)
{
	return alloc->known && r->recorded ? (double)alloc->bytes / (double)r->recorded : NAN;
}

double rqs_cpu_per_request(const struct rqs_result *r)
{
	if (!r->cpu_known || !r->all.requests)
		return NAN;
	return (r->cpu_user + r->cpu_system) / (double)r->all.requests;
}
