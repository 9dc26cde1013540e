/* compare_sites.c - where the sides' memory comes from: sites with their differences, route by route, and flame graphs.
 */
#include "report/compare_parts.h"
#include "report/flames.h"
#include "report/frame_keys.h"
#include "report/report_doc.h"
#include "base/alloc.h"
#include "render/units.h"

#include <math.h>
#include <stdlib.h>

#define ROUTES_MAX 8 /* shown; JSON has all */
#define SITES_MAX 8  /* of a route */

/* ---- texts ---- */

static unsigned compared_sides(const struct rqs_compared_sites *s)
{
	unsigned n = 0;

	for (unsigned i = 1; i < s->sides; i++)
		n += rqs_sites_are_compared(s, i);
	return n;
}

static char *route_text(const struct rqs_findings *f, int route)
{
	return route == RQS_AFTER_RESPONSES ? rqs_format("after responses, of all routes")
					    : rqs_route_text(f->c->traces.routes, (unsigned)route);
}

static char *lines_text(const struct rqs_site_side *s)
{
	if (s->low_line == s->high_line)
		return rqs_format("%u", s->low_line);
	return rqs_format("%u-%u", s->low_line, s->high_line);
}

/* "handler (app/views.py:12)"; of sides whose lines differ "(app/views.py:12, 15)". Of one side, or of all compared
 * ones. */
static char *site_text(const struct rqs_compared_sites *all, const struct rqs_compared_site *site, int only)
{
	char *place = rqs_frame_place(site->name), *text = rqs_strndup("", 0);
	const struct rqs_site_side *before = NULL;

	for (unsigned i = 0; i < all->sides; i++) {
		const struct rqs_site_side *s = &site->side[i];

		if (only >= 0 ? (int)i != only : !rqs_sites_are_compared(all, i))
			continue;
		if (!s->low_line || (before && before->low_line == s->low_line && before->high_line == s->high_line))
			continue;
		char *lines = lines_text(s), *longer = rqs_format("%s%s%s", text, before ? ", " : ":", lines);
		free(lines);
		free(text);
		text = longer;
		before = s;
	}
	const char *function = *site->name->function ? site->name->function : "(unknown)";
	char *whole = *place ? rqs_format("%s (%s%s)", function, place, text) : rqs_format("%s", function);
	free(place);
	free(text);
	return whole;
}

/* Where no sample was there may have been something. */
static char *bytes_text(const struct rqs_site_side *s)
{
	char *bytes = rqs_human_bytes(s->samples ? s->bytes : s->high);
	char *text = rqs_format("%s%s", s->samples ? "" : "<", bytes);

	free(bytes);
	return text;
}

static char *signed_bytes(double bytes)
{
	char *text = rqs_human_bytes(fabs(bytes)), *whole = rqs_format("%s%s", bytes < 0 ? "-" : "+", text);

	free(text);
	return whole;
}

static char *change_text(const struct rqs_difference *d)
{
	if (d->basis == RQS_BASIS_NONE)
		return NULL;
	char *change = signed_bytes(d->estimate), *low = signed_bytes(d->low), *high = signed_bytes(d->high);
	char *text = rqs_format("%s [%s .. %s]", change, low, high);

	free(change);
	free(low);
	free(high);
	return text;
}

static enum rqs_tone tone_of(enum rqs_verdict verdict)
{
	return verdict == RQS_VERDICT_IMPROVED    ? RQS_TONE_GOOD
	       : verdict == RQS_VERDICT_REGRESSED ? RQS_TONE_BAD
						  : RQS_TONE_PLAIN;
}

/* ---- sides that are compared ---- */

static void add_compared_row(struct rqs_table *t, const struct rqs_compared_sites *s,
			     const struct rqs_compared_site *site)
{
	rqs_table_row(t, false);
	rqs_table_cell(t, RQS_TONE_PLAIN, site_text(s, site, -1));
	for (unsigned i = 0; i < s->sides; i++) {
		const struct rqs_difference *d = &site->difference[i];

		if (!rqs_sites_are_compared(s, i))
			continue;
		rqs_table_cell(t, RQS_TONE_PLAIN, bytes_text(&site->side[i]));
		rqs_table_sort_key(t, site->side[i].bytes);
		if (!i)
			continue;
		rqs_table_cell(t, tone_of(d->verdict), change_text(d));
		rqs_table_sort_key(t, d->estimate);
		rqs_table_cell(t, tone_of(d->verdict), rqs_verdict_text(d));
	}
}

/* By a side that is compared; the others' sites are in the list, too. */
static bool is_seen(const struct rqs_compared_sites *s, const struct rqs_compared_site *site)
{
	for (unsigned i = 0; i < s->sides; i++)
		if (rqs_sites_are_compared(s, i) && site->side[i].samples)
			return true;
	return false;
}

static void add_compared_table(struct rqs_doc *d, const struct rqs_findings *f, const struct rqs_site_block *b)
{
	const struct rqs_compared_sites *s = &f->sites;
	unsigned seen = 0;

	for (unsigned i = 0; i < b->count; i++)
		seen += is_seen(s, &s->site[b->first + i]);
	if (!seen)
		return;
	struct rqs_table *t = rqs_doc_table(d);
	rqs_table_column(t, false, "SITE");
	for (unsigned i = 0; i < s->sides; i++) {
		if (!rqs_sites_are_compared(s, i))
			continue;
		rqs_table_column(t, true, f->c->side[i].name);
		if (!i)
			continue;
		rqs_table_column(t, true, "CHANGE/REQ [95 %]");
		rqs_table_column(t, false, "VERDICT");
	}
	for (unsigned i = 0, n = 0; i < b->count && n < SITES_MAX; i++)
		if (is_seen(s, &s->site[b->first + i]) && ++n)
			add_compared_row(t, s, &s->site[b->first + i]);
	if (seen > SITES_MAX)
		rqs_doc_text(d, RQS_TONE_DIM, "and %u more sites that differ less (--format json has more)",
			     seen - SITES_MAX);
}

/* ---- sides that aren't ---- */

static unsigned next_own(const struct rqs_compared_sites *s, const struct rqs_site_block *b, unsigned side,
			 double below)
{
	unsigned best = s->count;

	for (unsigned i = b->first; i < b->first + b->count; i++) {
		double bytes = s->site[i].side[side].bytes;

		if (bytes > 0 && bytes < below && (best == s->count || bytes > s->site[best].side[side].bytes))
			best = i;
	}
	return best;
}

/* Its own greatest sites. */
static void add_own_table(struct rqs_doc *d, const struct rqs_findings *f, const struct rqs_site_block *b,
			  unsigned side)
{
	const struct rqs_compared_sites *s = &f->sites;
	unsigned i = next_own(s, b, side, INFINITY);

	if (i == s->count)
		return;
	rqs_doc_text(d, RQS_TONE_PLAIN, "%s by itself:", f->c->side[side].name);
	struct rqs_table *t = rqs_doc_table(d);
	rqs_table_column(t, false, "SITE");
	rqs_table_column(t, true, "BYTES/REQ");
	rqs_table_column(t, true, "[95 %]");
	for (unsigned n = 0; i < s->count && n < SITES_MAX; n++) {
		const struct rqs_site_side *own = &s->site[i].side[side];
		char *low = rqs_human_bytes(own->low), *high = rqs_human_bytes(own->high);

		rqs_table_row(t, false);
		rqs_table_cell(t, RQS_TONE_PLAIN, site_text(s, &s->site[i], (int)side));
		rqs_table_cell(t, RQS_TONE_PLAIN, bytes_text(own));
		rqs_table_format(t, RQS_TONE_DIM, "%s .. %s", low, high);
		free(low);
		free(high);
		i = next_own(s, b, side, own->bytes);
	}
}

/* ---- all ---- */

static void add_block(struct rqs_doc *d, const struct rqs_findings *f, const struct rqs_site_block *b)
{
	const struct rqs_compared_sites *s = &f->sites;
	char *route = route_text(f, b->route);
	bool any = compared_sides(s) > 0;

	rqs_doc_text(d, RQS_TONE_STRONG, "%s", route);
	if (any)
		add_compared_table(d, f, b);
	for (unsigned i = 0; i < s->sides; i++)
		if (i ? !rqs_sites_are_compared(s, i) : !any)
			add_own_table(d, f, b, i);
	free(route);
}

static void add_states(struct rqs_doc *d, const struct rqs_findings *f)
{
	const struct rqs_compared_sites *s = &f->sites;

	for (unsigned i = 0; i < s->sides; i++) {
		if (s->state[i] == RQS_SITES_NOT_RECORDED)
			rqs_doc_warning(
			    d, "%s has no sampled allocations, or not in all of its runs: record it with --sites",
			    f->c->side[i].name);
		if (s->state[i] == RQS_SITES_TOO_MANY_LOST)
			rqs_doc_warning(d,
					"more than 5 %% of the sampled allocations of %s, or of one of its runs, were "
					"lost: its sites aren't compared",
					f->c->side[i].name);
		if (s->state[i] == RQS_SITES_NOT_SHARED)
			rqs_doc_warning(d,
					"%s has no site in common with %s, or runs on another runtime: its own sites "
					"are shown, and "
					"aren't compared",
					f->c->side[i].name, f->c->side[0].name);
	}
}

static void add_legend(struct rqs_doc *d, const struct rqs_findings *f)
{
	const struct rqs_compared_sites *s = &f->sites;
	bool within = false, unresolved = false;

	for (unsigned i = 0; i < s->count; i++)
		for (unsigned k = 1; k < s->sides; k++) {
			within |= s->site[i].difference[k].basis == RQS_BASIS_WITHIN_RUNS;
			unresolved |=
			    is_seen(s, &s->site[i]) && s->site[i].difference[k].verdict == RQS_VERDICT_UNRESOLVED;
		}
	if (s->tested)
		rqs_doc_text(
		    d, RQS_TONE_DIM,
		    "Bytes a request, estimated by samples. p values are corrected (Benjamini and Hochberg) for the "
		    "%u rows of sites that were tested, apart from those of the figures above.",
		    s->tested);
	if (within)
		rqs_doc_text(
		    d, RQS_TONE_DIM,
		    "* by the number of samples alone: with one run a side, how another run would differ isn't "
		    "known.");
	if (unresolved)
		rqs_doc_text(d, RQS_TONE_DIM, "unresolved: fewer than %u samples on both sides together.",
			     RQS_SITE_FEW);
}

void rqs_doc_add_compared_sites(struct rqs_doc *d, const struct rqs_findings *f)
{
	const struct rqs_compared_sites *s = &f->sites;

	if (!s->asked)
		return;
	rqs_doc_heading(d, "Memory by call site");
	add_states(d, f);
	for (unsigned i = 0; i < s->blocks && i < ROUTES_MAX; i++)
		add_block(d, f, &s->block[i]);
	if (s->blocks > ROUTES_MAX)
		rqs_doc_text(d, RQS_TONE_DIM, "and %u more routes (--format json has all)", s->blocks - ROUTES_MAX);
	add_legend(d, f);
	for (unsigned i = 1; i < s->sides; i++)
		if (rqs_sites_are_compared(s, i))
			rqs_doc_add_flame_differences(d, f, i);
}
