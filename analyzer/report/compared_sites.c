/* compared_sites.c - all sites of all runs as one list, sorted, and a row for each group of it. */
#include "report/compared_sites.h"
#include "report/frame_keys.h"
#include "report/site_error.h"
#include "base/alloc.h"
#include "stats/adjust.h"
#include "stats/power.h"
#include "stats/student.h"
#include "stats/welch.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#define ENOUGH 30 /* samples of one weight, for their number to be as good as normally distributed */

static const struct rqs_frame_name nowhere = {.function = "(unknown)", .file = "", .module = "", .kind = RQS_KIND_NOTE};

/* A site of a run, its figures a request. */
struct entry {
	int route;
	uint32_t key;
	unsigned side, run;
	const struct rqs_frame_name *name;
	double bytes, variance;
	uint64_t samples;
};

struct entries {
	const struct rqs_comparison *c;
	struct rqs_intern keys; /* of frames */
	unsigned count, allocated;
	struct entry *entry;
};

/* ---- the list ---- */

static int route_of(uint32_t row)
{
	return row == RQS_SITES_ROW_AFTER_RESPONSE ? RQS_AFTER_RESPONSES : (int)row;
}

static double requests_of(const struct rqs_result *r, int route)
{
	const struct rqs_cell *cell = rqs_route_cell(r, route == RQS_AFTER_RESPONSES ? RQS_WHOLE : route);

	if (!cell)
		return 0;
	return route == RQS_AFTER_RESPONSES ? (double)cell->requests : rqs_cell_measured_requests(cell);
}

/* What of the route has no site, at most. */
static double nowhere_of(const struct rqs_result *r, int route)
{
	uint32_t row = route == RQS_AFTER_RESPONSES ? RQS_SITES_ROW_AFTER_RESPONSE : (uint32_t)route;
	struct rqs_alloc_site hidden = rqs_alloc_sites_nowhere(&r->sites, row);

	return rqs_site_bytes_interval(&hidden.allocated, NULL).high;
}

static void add_entry(struct entries *e, unsigned side, unsigned run, const struct rqs_result *r,
		      const struct rqs_alloc_site *s)
{
	int route = route_of(s->row);
	double requests = requests_of(r, route);
	uint32_t frame = rqs_alloc_sites_frame_of(&r->sites, s->stack);
	const struct rqs_frame_name *name = frame < r->sites.frame_count ? &r->sites.frames[frame] : &nowhere;

	if (!requests || !s->allocated.samples)
		return;
	if (e->count == e->allocated) {
		e->allocated = e->allocated ? 2 * e->allocated : 256;
		e->entry = rqs_grow(e->entry, e->allocated, sizeof(*e->entry));
	}
	e->entry[e->count++] = (struct entry){
	    .route = route,
	    .key = rqs_frame_key(&e->keys, name),
	    .side = side,
	    .run = run,
	    .name = name,
	    .bytes = s->allocated.bytes / requests,
	    .variance = rqs_site_variance(&s->allocated) / (requests * requests),
	    .samples = s->allocated.samples,
	};
}

static int by_place(const void *a, const void *b)
{
	const struct entry *x = a, *y = b;

	if (x->route != y->route)
		return x->route < y->route ? -1 : 1;
	if (x->key != y->key)
		return x->key < y->key ? -1 : 1;
	if (x->side != y->side)
		return x->side < y->side ? -1 : 1;
	return x->run < y->run ? -1 : x->run > y->run;
}

static void list_all(struct entries *e)
{
	for (unsigned i = 0; i < e->c->sides; i++)
		for (unsigned run = 0; run < e->c->side[i].runs; run++) {
			const struct rqs_result *r = &e->c->traces.trace[e->c->side[i].first + run].result;

			for (unsigned k = 0; k < r->sites.site_count; k++)
				if (r->sites.sites[k].row != RQS_SITES_ROW_UNATTRIBUTED)
					add_entry(e, i, run, r, &r->sites.sites[k]);
		}
	if (e->count)
		qsort(e->entry, e->count, sizeof(*e->entry), by_place);
}

/* ---- a row ---- */

bool rqs_sites_are_compared(const struct rqs_compared_sites *s, unsigned side)
{
	return s->state[0] == RQS_SITES_COMPARED && s->state[side] == RQS_SITES_COMPARED;
}

/* What a side has of one site. */
struct tally {
	double *run; /* bytes a request, of those runs that had requests of the route */
	unsigned runs;
	double variance; /* of their mean, by sampling */
	double unseen;   /* what one sample stands for, a request */
	double requests;
	double nowhere; /* bytes a request, at most, that any site may have more */
};

/* The runs of a side that had requests of the route; their values follow. */
static struct tally start_tally(const struct rqs_comparison *c, unsigned side, int route, int *at)
{
	struct tally t = {.run = rqs_zalloc(c->side[side].runs, sizeof(*t.run))};
	double sample_bytes = 0, hidden = 0;

	for (unsigned i = 0; i < c->side[side].runs; i++) {
		const struct rqs_result *r = &c->traces.trace[c->side[side].first + i].result;
		double requests = requests_of(r, route);

		at[i] = requests > 0 && r->sites.known ? (int)t.runs++ : -1;
		if (at[i] < 0)
			continue;
		t.requests += requests;
		sample_bytes = fmax(sample_bytes, r->sites.sample_bytes);
		hidden += nowhere_of(r, route);
	}
	t.unseen = t.requests > 0 ? sample_bytes / t.requests : 0;
	t.nowhere = t.requests > 0 ? hidden / t.requests : 0;
	return t;
}

static struct tally add_up(const struct entries *e, const struct entry *from, const struct entry *to, unsigned side,
			   int route, struct rqs_site_side *shown)
{
	int *at = rqs_zalloc(e->c->side[side].runs, sizeof(*at));
	struct tally t = start_tally(e->c, side, route, at);

	for (; from < to; from++) {
		if (from->side != side || at[from->run] < 0)
			continue;
		t.run[at[from->run]] += from->bytes;
		t.variance += from->variance / ((double)t.runs * t.runs);
		shown->samples += from->samples;
		uint32_t line = from->name->line;
		if (line && (!shown->low_line || line < shown->low_line))
			shown->low_line = line;
		if (line > shown->high_line)
			shown->high_line = line;
	}
	for (unsigned i = 0; i < t.runs; i++)
		shown->bytes += t.run[i] / t.runs;
	free(at);
	struct rqs_site_estimate whole = {
	    .samples = shown->samples, .bytes = shown->bytes, .bytes_variance = t.variance};
	rqs_site_range(&whole, t.unseen, &shown->low, &shown->high);
	return t;
}

static const struct rqs_difference no_difference = {
    .estimate = NAN, .low = NAN, .high = NAN, .p = NAN, .adjusted = NAN, .se = NAN, .detectable = NAN};

/*
 * What the numbers of samples say alone. Where these have different weights, of a few great ones and many small ones,
 * the sum is as uncertain as that of fewer of one weight: of their variance divided by their sum.
 */
static double counts_p(const struct rqs_site_side *a, const struct rqs_site_side *b, const struct tally *x,
		       const struct tally *y)
{
	double sum = a->bytes * x->requests + b->bytes * y->requests;
	double weight = (x->variance * x->requests * x->requests + y->variance * y->requests * y->requests) / sum;
	double base = a->bytes * x->requests / weight, new = b->bytes * y->requests / weight;

	if (!(weight > 0) || (base >= ENOUGH && new >= ENOUGH))
		return 0;
	return rqs_site_counts_p((uint64_t)base, (uint64_t) new, x->requests / (x->requests + y->requests));
}

static void compare_runs(struct rqs_difference *d, const struct tally *a, const struct tally *b)
{
	struct rqs_welch w = rqs_welch(a->run, a->runs, b->run, b->runs, 0);

	d->basis = RQS_BASIS_BETWEEN_RUNS;
	d->df = w.df;
	d->se = fmax(w.se, sqrt(a->variance + b->variance));
	d->low = d->estimate - rqs_student_quantile(0.975, d->df) * d->se;
	d->high = d->estimate + rqs_student_quantile(0.975, d->df) * d->se;
}

/*
 * The sides' own intervals, which aren't symmetric, taken together: G. Y. Zou and A. Donner, "Construction of
 * confidence limits about effect measures", Statistics in Medicine 27, 2008.
 */
static void compare_samples(struct rqs_difference *d, const struct rqs_site_side *a, const struct rqs_site_side *b,
			    double variance)
{
	d->basis = RQS_BASIS_WITHIN_RUNS;
	d->df = INFINITY;
	d->se = sqrt(variance);
	d->low = d->estimate - hypot(b->bytes - b->low, a->high - a->bytes);
	d->high = d->estimate + hypot(b->high - b->bytes, a->bytes - a->low);
}

/*
 * The standard error of a difference of sides that don't differ: each has the variance of both together, for its
 * requests. By its own one a side with few requests that has less by chance would seem to be surer of it.
 */
static double common_error(const struct tally *a, const struct tally *b)
{
	double requests = a->requests + b->requests;
	double squares = a->variance * a->requests * a->requests + b->variance * b->requests * b->requests;

	return sqrt(squares / requests * (1 / a->requests + 1 / b->requests));
}

static struct rqs_difference differ(const struct rqs_site_side *a, const struct rqs_site_side *b, const struct tally *x,
				    const struct tally *y)
{
	struct rqs_difference d = no_difference;
	double error;

	if (!x->runs || !y->runs)
		return d;
	d.estimate = b->bytes - a->bytes;
	d.unresolved = a->samples + b->samples < RQS_SITE_FEW;
	if (x->runs > 1 && y->runs > 1)
		compare_runs(&d, x, y);
	else
		compare_samples(&d, a, b, x->variance + y->variance);
	d.low -= x->nowhere;
	d.high += y->nowhere;
	d.detectable = rqs_detectable(d.se, d.df);
	if (d.unresolved)
		return d;
	error = fmax(d.se, common_error(x, y));
	double sure = fmax(0, fabs(d.estimate) - (d.estimate > 0 ? x->nowhere : y->nowhere));
	d.p = error > 0 ? 2 * rqs_student_cdf(-sure / error, d.df) : sure == 0;
	d.p = fmax(d.p, counts_p(a, b, x, y));
	return d;
}

/* Where nothing is compared, the bytes themselves. */
static double greatest_of(const struct rqs_compared_sites *s, const struct rqs_compared_site *site)
{
	double difference = 0, bytes = 0;
	bool compared = false;

	for (unsigned i = 0; i < s->sides; i++) {
		bytes = fmax(bytes, site->side[i].bytes);
		if (!i || !rqs_sites_are_compared(s, i))
			continue;
		compared = true;
		difference = fmax(difference, fabs(site->side[i].bytes - site->side[0].bytes));
	}
	return compared ? difference : bytes;
}

static void add_site(struct rqs_compared_sites *s, const struct entries *e, const struct entry *from,
		     const struct entry *to)
{
	struct rqs_compared_site site = {from->route, from->name, rqs_zalloc(s->sides, sizeof(*site.side)),
					 rqs_zalloc(s->sides, sizeof(*site.difference)), 0};
	struct tally *tally = rqs_zalloc(s->sides, sizeof(*tally));

	for (unsigned i = 0; i < s->sides; i++)
		tally[i] = add_up(e, from, to, i, from->route, &site.side[i]);
	site.difference[0] = no_difference;
	for (unsigned i = 1; i < s->sides; i++) {
		site.difference[i] = rqs_sites_are_compared(s, i) && from->name->kind != RQS_KIND_NOTE
					 ? differ(&site.side[0], &site.side[i], &tally[0], &tally[i])
					 : no_difference;
	}
	site.greatest = greatest_of(s, &site);
	for (unsigned i = 0; i < s->sides; i++)
		free(tally[i].run);
	free(tally);
	s->site = rqs_grow(s->site, s->count + 1, sizeof(*s->site));
	s->site[s->count++] = site;
}

/* ---- which sides are compared ---- */

static bool recorded(const struct rqs_comparison *c, unsigned side)
{
	for (unsigned run = 0; run < c->side[side].runs; run++)
		if (!c->traces.trace[c->side[side].first + run].result.sites.known)
			return false;
	return true;
}

static const char *runtime(const struct rqs_comparison *c, unsigned side)
{
	const struct rqs_process *p = rqs_trace_main_process(&c->traces.trace[c->side[side].first]);

	return p && p->runtime ? p->runtime : "";
}

/* A site that both have. */
static bool shares(const struct entries *e, unsigned side)
{
	char *sides = rqs_zalloc(e->keys.count, 1);
	bool found = false;

	for (unsigned i = 0; i < e->count; i++)
		sides[e->entry[i].key] |= e->entry[i].side == 0 ? 1 : e->entry[i].side == side ? 2 : 0;
	for (unsigned k = 0; k < e->keys.count; k++)
		found |= sides[k] == 3;
	free(sides);
	return found;
}

static bool has_any(const struct entries *e, unsigned side)
{
	for (unsigned i = 0; i < e->count; i++)
		if (e->entry[i].side == side)
			return true;
	return false;
}

static bool lost_too_many(const struct rqs_comparison *c, unsigned side)
{
	for (unsigned run = 0; run < c->side[side].runs; run++)
		if (rqs_alloc_sites_are_lost(&c->traces.trace[c->side[side].first + run].result.sites))
			return true;
	return false;
}

/* A side without any sample is compared: it has gone down to next to nothing. */
static enum rqs_sites_state state_of(const struct entries *e, unsigned side)
{
	if (!recorded(e->c, side))
		return RQS_SITES_NOT_RECORDED;
	if (lost_too_many(e->c, side))
		return RQS_SITES_TOO_MANY_LOST;
	if (!side || !has_any(e, 0) || !has_any(e, side))
		return RQS_SITES_COMPARED;
	return strcmp(runtime(e->c, 0), runtime(e->c, side)) || !shares(e, side) ? RQS_SITES_NOT_SHARED
										 : RQS_SITES_COMPARED;
}

/* ---- all rows ---- */

static void make_rows(struct rqs_compared_sites *s, const struct entries *e)
{
	for (unsigned i = 0, next; i < e->count; i = next) {
		for (next = i + 1; next < e->count && e->entry[next].route == e->entry[i].route &&
				   e->entry[next].key == e->entry[i].key;
		     next++)
			;
		add_site(s, e, &e->entry[i], &e->entry[next]);
	}
}

static void adjust(struct rqs_compared_sites *s)
{
	double *p = rqs_zalloc((size_t)s->count * s->sides, sizeof(*p));
	unsigned n = 0;

	for (unsigned i = 0; i < s->count; i++)
		for (unsigned k = 1; k < s->sides; k++, n++) {
			p[n] = s->site[i].difference[k].p;
			s->tested += !isnan(p[n]);
		}
	rqs_adjust_benjamini_hochberg(p, n);
	n = 0;
	for (unsigned i = 0; i < s->count; i++)
		for (unsigned k = 1; k < s->sides; k++)
			s->site[i].difference[k].adjusted = p[n++];
	free(p);
}

static void judge(struct rqs_compared_sites *s, double threshold, bool strict)
{
	for (unsigned i = 0; i < s->count; i++)
		for (unsigned k = 1; k < s->sides; k++) {
			struct rqs_difference *d = &s->site[i].difference[k];

			d->verdict = rqs_sites_are_compared(s, k)
					 ? rqs_verdict_of(d, -1, threshold * s->site[i].side[0].bytes, strict)
					 : RQS_VERDICT_NOT_COMPARABLE;
		}
}

static int by_difference(const void *a, const void *b)
{
	const struct rqs_compared_site *x = a, *y = b;

	if (x->route != y->route)
		return x->route < y->route ? -1 : 1;
	if (x->greatest != y->greatest)
		return x->greatest > y->greatest ? -1 : 1;
	return strcmp(x->name->function, y->name->function);
}

static int by_impact(const void *a, const void *b)
{
	const struct rqs_site_block *x = a, *y = b;

	if (x->impact != y->impact)
		return x->impact > y->impact ? -1 : 1;
	return x->route < y->route ? -1 : x->route > y->route;
}

static void make_blocks(struct rqs_compared_sites *s, const struct rqs_comparison *c)
{
	if (s->count)
		qsort(s->site, s->count, sizeof(*s->site), by_difference);
	for (unsigned i = 0; i < s->count; i += s->block[s->blocks - 1].count) {
		struct rqs_site_block b = {s->site[i].route, rqs_zalloc(s->sides, sizeof(double)), i, 0, 0};

		for (unsigned k = 0; k < s->sides; k++) {
			b.requests[k] = requests_of(&c->side[k].result, b.route);
			b.impact = fmax(b.impact, b.requests[k] * s->site[i].greatest);
		}
		while (i + b.count < s->count && s->site[i + b.count].route == b.route)
			b.count++;
		s->block = rqs_grow(s->block, s->blocks + 1, sizeof(*s->block));
		s->block[s->blocks++] = b;
	}
	if (s->blocks)
		qsort(s->block, s->blocks, sizeof(*s->block), by_impact);
}

struct rqs_compared_sites rqs_compare_sites(const struct rqs_comparison *c, double threshold, bool strict)
{
	struct rqs_compared_sites s = {
	    .asked = true, .sides = c->sides, .state = rqs_zalloc(c->sides, sizeof(*s.state))};
	struct entries e = {.c = c};

	list_all(&e);
	for (unsigned i = 0; i < c->sides; i++)
		s.state[i] = state_of(&e, i);
	make_rows(&s, &e);
	adjust(&s);
	judge(&s, threshold, strict);
	make_blocks(&s, c);
	rqs_intern_free(&e.keys);
	free(e.entry);
	return s;
}

void rqs_compared_sites_free(struct rqs_compared_sites *s)
{
	for (unsigned i = 0; i < s->count; i++) {
		free(s->site[i].side);
		free(s->site[i].difference);
	}
	for (unsigned i = 0; i < s->blocks; i++)
		free(s->block[i].requests);
	free(s->state);
	free(s->site);
	free(s->block);
	memset(s, 0, sizeof(*s));
}
