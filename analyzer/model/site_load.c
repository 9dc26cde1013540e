/*
 * site_load.c - each allocated row is added to its site at once, and taken
 * off again when its end is read. What is retained is kept as differences from
 * part to part until all was read.
 */
#include "model/site_load.h"
#include "model/site_index.h"
#include "model/site_live.h"
#include "model/site_numbers.h"
#include "base/alloc.h"

#include <math.h>
#include <stdlib.h>

struct rqs_site_load {
	struct rqs_alloc_sites *sites;
	struct rqs_site_numbers numbers;
	struct rqs_site_live live;
	uint64_t from, to;
	uint64_t first, length; /* of the parts */
	bool several_means;
};

/* A row of a sites frame. */
struct site_event {
	uint64_t time, number, owner, route, stack, bytes, mean;
	uint16_t process;
	bool followed;
};

struct rqs_site_load *rqs_site_load_new(struct rqs_alloc_sites *sites, uint64_t from, uint64_t to, uint64_t first,
					uint64_t end)
{
	struct rqs_site_load *l = rqs_zalloc(1, sizeof(*l));

	l->sites = sites;
	l->from = from;
	l->to = to;
	l->first = first;
	l->length = end > first ? (end - first - 1) / RQS_SITE_BINS + 1 : 1;
	sites->runs = 1;
	rqs_site_index_start(sites);
	return l;
}

static unsigned part_of(const struct rqs_site_load *l, uint64_t time)
{
	uint64_t part = time < l->first ? 0 : (time - l->first) / l->length;

	return part < RQS_SITE_BINS ? (unsigned)part : RQS_SITE_BINS - 1;
}

static bool behind_parts(const struct rqs_site_load *l, uint64_t time)
{
	return time >= l->first && (time - l->first) / l->length >= RQS_SITE_BINS;
}

void rqs_site_load_stacks(struct rqs_site_load *l, const cJSON *object)
{
	l->sites->known = true;
	rqs_site_numbers_add(&l->numbers, l->sites, object);
}

void rqs_site_load_request(struct rqs_site_load *l, unsigned row, uint64_t end)
{
	rqs_site_index_requests(l->sites, row)[part_of(l, end)]++;
}

/* ---- estimates ---- */

/* What one sample of that size stands for. */
static struct rqs_site_estimate weight_of(uint64_t bytes, uint64_t mean)
{
	double s = (double)bytes, p = mean ? -expm1(-s / (double)mean) : 1;

	return (struct rqs_site_estimate){
	    .samples = 1,
	    .bytes = s / p,
	    .bytes_variance = s * s * (1 - p) / (p * p),
	    .count = 1 / p,
	    .count_variance = (1 - p) / (p * p),
	};
}

/* Of nothing exactly nothing stays, whatever was rounded. */
static void take_off(struct rqs_site_estimate *e, const struct rqs_site_estimate *one)
{
	e->samples -= one->samples;
	e->bytes -= one->bytes;
	e->bytes_variance -= one->bytes_variance;
	e->count -= one->count;
	e->count_variance -= one->count_variance;
	if (!e->samples)
		*e = (struct rqs_site_estimate){0};
}

/* ---- rows ---- */

static void settle_mean(struct rqs_site_load *l, uint64_t mean)
{
	struct rqs_alloc_sites *s = l->sites;

	l->several_means |= s->samples && s->sample_bytes != (double)mean;
	s->sample_bytes = l->several_means ? 0 : (double)mean;
}

/* The end of a sample that is live: within the parts it is done with. */
static void end_sample(struct rqs_site_load *l, struct rqs_site_live_entry *e, uint64_t time)
{
	struct rqs_site_estimate one = weight_of(e->bytes, e->mean);
	unsigned part = part_of(l, time);

	if (behind_parts(l, time)) {
		e->state = RQS_LIVE_FREED;
		e->freed = time;
		return;
	}
	l->sites->sites[e->site].retained_along[part > e->part ? part : e->part] -= one.bytes;
	rqs_site_live_remove(&l->live, e);
}

/* A receive buffer: as if it had never been. */
static void withdraw(struct rqs_site_load *l, struct rqs_site_live_entry *e)
{
	struct rqs_site_estimate one = weight_of(e->bytes, e->mean);
	struct rqs_alloc_site *site = &l->sites->sites[e->site];

	take_off(&site->allocated, &one);
	take_off(&site->followed, &one);
	site->retained_along[e->part] -= one.bytes;
	l->sites->samples--;
	l->sites->withdrawn++;
	rqs_site_live_remove(&l->live, e);
}

static void take_end(struct rqs_site_load *l, const struct site_event *event, bool withdrawn)
{
	struct rqs_site_live_entry *e = rqs_site_live_find(&l->live, event->process, event->number, true);

	if (!e)
		return;
	if (e->state == RQS_LIVE_NONE) {
		e->state = withdrawn ? RQS_LIVE_WITHDRAWN : RQS_LIVE_FREED;
		e->freed = event->time;
	} else if (e->state == RQS_LIVE_LEFT_OUT) {
		rqs_site_live_remove(&l->live, e);
	} else if (e->state == RQS_LIVE_ALLOCATED) {
		withdrawn ? withdraw(l, e) : end_sample(l, e, event->time);
	}
}

static uint32_t row_of(const struct site_event *event, const unsigned *row)
{
	if (event->owner == RQS_SITE_AFTER_RESPONSE)
		return RQS_SITES_ROW_AFTER_RESPONSE;
	if (event->owner == RQS_SITE_UNATTRIBUTED || event->route == RQS_NULL)
		return RQS_SITES_ROW_UNATTRIBUTED;
	return row[event->route];
}

static uint32_t count_sample(struct rqs_site_load *l, const struct site_event *event, const unsigned *row)
{
	struct rqs_site_estimate one = weight_of(event->bytes, event->mean);
	uint32_t stack = rqs_site_numbers_stack(&l->numbers, event->stack);
	uint32_t site = rqs_site_index_site(l->sites, row_of(event, row), stack);

	settle_mean(l, event->mean);
	rqs_site_estimate_add(&l->sites->sites[site].allocated, &one);
	l->sites->samples++;
	return site;
}

static void follow(struct rqs_site_load *l, const struct site_event *event, struct rqs_site_live_entry *e,
		   uint32_t number)
{
	struct rqs_site_estimate one = weight_of(event->bytes, event->mean);
	struct rqs_alloc_site *site = &l->sites->sites[number];
	bool ended = e->state == RQS_LIVE_FREED;

	e->state = RQS_LIVE_ALLOCATED;
	e->bytes = event->bytes;
	e->mean = event->mean;
	e->allocated = event->time;
	e->site = number;
	e->part = (uint8_t)part_of(l, event->time);
	rqs_site_estimate_add(&site->followed, &one);
	site->retained_along[e->part] += one.bytes;
	if (ended)
		end_sample(l, e, e->freed);
}

static void take_sample(struct rqs_site_load *l, const struct site_event *event, const unsigned *row)
{
	bool inside = event->time >= l->from && event->time < l->to;
	struct rqs_site_live_entry *e = NULL;

	if (!event->bytes)
		return; /* no allocation of nothing crosses a point */
	if (event->followed)
		e = rqs_site_live_find(&l->live, event->process, event->number, true);
	if (e && e->site != UINT32_MAX)
		return; /* its number was given already */
	if (e && !inside) {
		if (e->state == RQS_LIVE_NONE)
			e->state = RQS_LIVE_LEFT_OUT;
		else
			rqs_site_live_remove(&l->live, e);
	}
	if (!inside)
		return;
	if (e && e->state == RQS_LIVE_WITHDRAWN) {
		l->sites->withdrawn++;
		rqs_site_live_remove(&l->live, e);
		return;
	}
	uint32_t site = count_sample(l, event, row);
	if (e)
		follow(l, event, e, site);
	else
		l->sites->unfollowed++;
}

void rqs_site_load_rows(struct rqs_site_load *l, uint64_t first_time, const struct rqs_block *block,
			const unsigned *row)
{
	l->sites->known = true;
	for (uint32_t i = 0; i < block->rows; i++) {
		const struct site_event event = {
		    .time = first_time + block->column[RQS_COL_TIME][i] * 1000,
		    .process = (uint16_t)block->column[RQS_COL_PROCESS][i],
		    .number = block->column[RQS_COL_SITE_NUMBER][i],
		    .owner = block->column[RQS_COL_SITE_OWNER][i],
		    .route = block->column[RQS_COL_SITE_ROUTE][i],
		    .stack = block->column[RQS_COL_SITE_STACK][i],
		    .bytes = block->column[RQS_COL_SITE_BYTES][i],
		    .mean = block->column[RQS_COL_SITE_MEAN][i],
		    .followed = block->column[RQS_COL_SITE_FOLLOWED][i],
		};

		if (block->column[RQS_COL_SITE_EVENT][i] == RQS_SITE_ALLOCATED)
			take_sample(l, &event, row);
		else
			take_end(l, &event, block->column[RQS_COL_SITE_EVENT][i] == RQS_SITE_WITHDRAWN);
	}
}

/* ---- the end ---- */

/* What is left is live, or was freed behind the parts: then it depends on when the last request ended. */
static void add_retained(struct rqs_site_load *l, uint64_t last)
{
	for (uint32_t i = 0; i < l->live.size; i++) {
		const struct rqs_site_live_entry *e = &l->live.entry[i];

		if (e->state == RQS_LIVE_NONE || e->site == UINT32_MAX)
			continue;
		struct rqs_site_estimate one = weight_of(e->bytes, e->mean);
		struct rqs_alloc_site *site = &l->sites->sites[e->site];
		bool freed = e->state == RQS_LIVE_FREED && e->freed <= last;
		if (freed || (e->allocated > last && behind_parts(l, e->allocated)))
			site->retained_along[RQS_SITE_BINS - 1] -= one.bytes;
		else
			rqs_site_estimate_add(&site->retained, &one);
	}
}

/* Every sample stands for a byte at least: less is what rounding left. */
static void sum_up(double *along, double least)
{
	double sum = 0;

	for (unsigned b = 0; b < RQS_SITE_BINS; b++) {
		sum += along[b];
		along[b] = sum < least ? 0 : sum;
	}
}

/* All routes have become one. */
static void fold_rows(struct rqs_alloc_sites *s, uint32_t folded)
{
	double *to = rqs_site_index_requests(s, folded);

	for (uint32_t i = 0; i < s->site_count; i++)
		if (s->sites[i].row < RQS_SITES_ROW_ALL)
			s->sites[i].row = folded;
	for (uint32_t row = 0; row < s->rows; row++)
		for (unsigned b = 0; b < RQS_SITE_BINS && row != folded; b++) {
			to[b] += s->requests_along[row][b];
			s->requests_along[row][b] = 0;
		}
}

void rqs_site_load_end(struct rqs_site_load *l, uint64_t last, uint32_t folded)
{
	struct rqs_alloc_sites *s = l->sites;

	add_retained(l, last);
	if (folded != UINT32_MAX)
		fold_rows(s, folded);
	for (uint32_t i = 0; i < s->site_count; i++)
		sum_up(s->sites[i].retained_along, 0.5);
	for (uint32_t row = 0; row < s->rows; row++)
		sum_up(s->requests_along[row], 0);
	rqs_site_index_sort(s);
	rqs_site_numbers_free(&l->numbers);
	rqs_site_live_free(&l->live);
	free(l);
}
