/* call_sites.c - a table of sites for each route, leaks first. */
#include "report/call_sites.h"
#include "report/report_doc.h"
#include "report/report_json.h"
#include "base/alloc.h"
#include "render/units.h"

#include <inttypes.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

/* ---- names ---- */

/* The last two parts of a path: enough to find a file by. */
static const char *short_path(const char *path)
{
	const char *slash = strrchr(path, '/');

	while (slash && slash > path && slash[-1] != '/')
		slash--;
	return slash ? slash : path;
}

char *rqs_frame_text(const struct rqs_alloc_sites *s, uint32_t frame)
{
	const struct rqs_frame_name *f = frame < s->frame_count ? &s->frames[frame] : NULL;

	if (!f)
		return rqs_format("(not known)");
	if (*f->file && f->line)
		return rqs_format("%s (%s:%u)", f->function, short_path(f->file), f->line);
	if (*f->file)
		return rqs_format("%s (%s)", f->function, short_path(f->file));
	return *f->module ? rqs_format("%s [%s]", f->function, f->module) : rqs_format("%s", f->function);
}

char *rqs_frame_line(const struct rqs_frame_name *f)
{
	const char *where = *f->file ? f->file : f->module;

	if (!*where)
		return rqs_format("%s", f->function);
	return *f->file && f->line ? rqs_format("%s %s:%u", f->function, where, f->line)
				   : rqs_format("%s %s", f->function, where);
}

/* NULL: it had no requests. */
static const struct rqs_cell *cell_of(const struct rqs_result *r, uint32_t row)
{
	const struct rqs_cell *c = row >= RQS_SITES_ROW_ALL ? &r->all : row < r->cells ? r->cell[row] : NULL;

	return c && c->requests ? c : NULL;
}

double rqs_site_requests(const struct rqs_result *r, uint32_t row)
{
	const struct rqs_cell *c = cell_of(r, row);

	if (!c)
		return NAN;
	return row >= RQS_SITES_ROW_ALL ? (double)c->requests : rqs_cell_measured_requests(c);
}

/* Of a row's requests, 1 over the part that its figures are divided by. */
static double unmeasured_factor(const struct rqs_result *r, uint32_t row)
{
	const struct rqs_cell *c = cell_of(r, row);

	return c ? (double)c->requests / rqs_site_requests(r, row) : 1;
}

struct rqs_site_growth rqs_growth_of_site(const struct rqs_result *r, const struct rqs_alloc_site *site)
{
	struct rqs_site_growth g = rqs_site_growth(&r->sites, site);

	double factor = unmeasured_factor(r, site->row);

	g.slope *= factor;
	g.low *= factor;
	g.high *= factor;
	return g;
}

/* ---- a table ---- */

struct site_table {
	struct rqs_table *table;
	const struct rqs_result *result;
	const struct rqs_alloc_sites *sites;
	double requests, total;
	bool followed; /* some site's memory was */
	struct rqs_alloc_site nowhere;
};

static void add_number(struct site_table *t, enum rqs_tone tone, char *text, double key)
{
	rqs_table_cell(t->table, tone, text);
	rqs_table_sort_key(t->table, key);
}

static char *range_text(double low, double high)
{
	char *from = rqs_human_bytes(low), *to = isfinite(high) ? rqs_human_bytes(high) : rqs_format("?");
	char *text = rqs_format("%s .. %s", from, to);

	free(from);
	free(to);
	return text;
}

static void add_growth(struct site_table *t, const struct rqs_alloc_site *site)
{
	struct rqs_site_growth g = rqs_growth_of_site(t->result, site);

	if (g.why) {
		add_number(t, RQS_TONE_DIM, rqs_human_bytes(NAN), NAN);
		return;
	}
	char *range = range_text(g.low, g.high);
	add_number(t, g.leak ? RQS_TONE_BAD : RQS_TONE_PLAIN,
		   g.leak ? rqs_format("LEAK %s", range) : rqs_format("%s", range), g.slope);
	free(range);
}

static void add_site(struct site_table *t, const struct rqs_alloc_site *site)
{
	const struct rqs_site_estimate *e = &site->allocated;
	struct rqs_site_interval i = rqs_alloc_site_allocated(t->sites, site, &t->nowhere);
	enum rqs_tone tone = e->samples < RQS_SITE_FEW ? RQS_TONE_DIM : RQS_TONE_PLAIN;
	double n = t->requests;

	rqs_table_row(t->table, false);
	add_number(t, tone == RQS_TONE_DIM ? tone : RQS_TONE_STRONG, rqs_human_bytes(e->bytes / n), e->bytes);
	add_number(t, tone, range_text(i.low / n, i.high / n), i.high);
	add_number(t, tone, rqs_human_percent(e->bytes / t->total), e->bytes);
	add_number(t, tone, rqs_format("%" PRIu64 "%s", e->samples, e->samples < RQS_SITE_FEW ? " (few)" : ""),
		   (double)e->samples);
	if (t->followed) {
		double retained = site->followed.samples ? site->retained.bytes / n : NAN;

		add_number(t, tone, rqs_human_bytes(retained), retained);
		add_growth(t, site);
	}
	/* The last one: it gets all the room that there is. */
	rqs_table_cell(t->table, tone, rqs_frame_text(t->sites, rqs_alloc_sites_frame_of(t->sites, site->stack)));
}

static bool any_followed(const struct rqs_alloc_site *site, unsigned count)
{
	for (unsigned i = 0; i < count; i++)
		if (site[i].followed.samples)
			return true;
	return false;
}

static void add_columns(const struct site_table *t)
{
	static const char *const heads[] = {"BYTES/REQ", "95 %", "SHARE", "SAMPLES", "LIVE/REQ", "GROWTH/REQ"};

	for (unsigned i = 0; i < sizeof(heads) / sizeof(heads[0]); i++)
		if (i < 4 || t->followed)
			rqs_table_column(t->table, true, heads[i]);
	rqs_table_column(t->table, false, "SITE");
}

/* By which requests the bytes of a route are divided, where not by all. */
static void add_measured(struct rqs_doc *d, const struct rqs_result *r, uint32_t row)
{
	if (unmeasured_factor(r, row) <= 1)
		return;
	char *measured = rqs_human_count(rqs_site_requests(r, row));
	char *all = rqs_human_count((double)r->cell[row]->requests);
	rqs_doc_text(d, RQS_TONE_DIM, "of the %s of its %s requests whose memory is known", measured, all);
	free(measured);
	free(all);
}

/* The sites of one row under its name. */
static void add_row(struct rqs_doc *d, const struct rqs_result *r, uint32_t row, const char *name, unsigned top)
{
	unsigned count;
	struct rqs_alloc_site *site = rqs_alloc_sites_of_row(&r->sites, row, &count);
	struct rqs_site_estimate sum = rqs_alloc_sites_total(&r->sites, row);
	struct site_table t = {
	    .result = r,
	    .sites = &r->sites,
	    .requests = rqs_site_requests(r, row),
	    .total = sum.bytes,
	    .followed = any_followed(site, count),
	    .nowhere = rqs_alloc_sites_nowhere(&r->sites, row),
	};

	if (count) {
		struct rqs_alloc_site all = {.allocated = sum};
		struct rqs_site_interval i = rqs_alloc_site_allocated(&r->sites, &all, NULL);
		char *each = rqs_human_bytes(sum.bytes / t.requests),
		     *range = range_text(i.low / t.requests, i.high / t.requests);

		rqs_doc_text(d, RQS_TONE_STRONG, "%s: %s a request (%s) at %u site%s", name, each, range, count,
			     count == 1 ? "" : "s");
		free(each);
		free(range);
		add_measured(d, r, row);
		t.table = rqs_doc_table(d);
		add_columns(&t);
		for (unsigned k = 0; k < count && k < top; k++)
			add_site(&t, &site[k]);
	}
	if (count > top)
		rqs_doc_text(d, RQS_TONE_DIM, "and %u more sites (--sites-top N shows more)", count - top);
	free(site);
}

/* ---- leaks ---- */

static void add_leaks_of(struct rqs_doc *d, const struct rqs_result *r, uint32_t row, const char *name)
{
	unsigned count;
	struct rqs_alloc_site *site = rqs_alloc_sites_of_row(&r->sites, row, &count);

	for (unsigned i = 0; i < count; i++) {
		struct rqs_site_growth g = rqs_growth_of_site(r, &site[i]);

		if (!g.leak)
			continue;
		char *slope = rqs_human_bytes(g.slope), *range = range_text(g.low, g.high);
		char *where = rqs_frame_text(&r->sites, rqs_alloc_sites_frame_of(&r->sites, site[i].stack));
		rqs_doc_text(d, RQS_TONE_BAD, "leak: %s keeps %s more with each request (%s) at %s", name, slope, range,
			     where);
		free(slope);
		free(range);
		free(where);
	}
	free(site);
}

/* ---- all ---- */

typedef void (*row_adder)(struct rqs_doc *d, const struct rqs_result *r, uint32_t row, const char *name, unsigned top);

static void add_leaks(struct rqs_doc *d, const struct rqs_result *r, uint32_t row, const char *name, unsigned top)
{
	(void)top;
	add_leaks_of(d, r, row, name);
}

static void for_rows(struct rqs_doc *d, const struct rqs_result *r, const struct rqs_routes *routes, unsigned top,
		     row_adder add)
{
	int *rows = rqs_rows_by_time(r);

	for (unsigned i = 0; rows[i] >= 0 && i < RQS_ROUTES_SHOWN; i++) {
		char *name = rqs_route_text(routes, (unsigned)rows[i]);

		add(d, r, (uint32_t)rows[i], name, top);
		free(name);
	}
	free(rows);
	add(d, r, RQS_SITES_ROW_AFTER_RESPONSE, "After responses", top);
	add(d, r, RQS_SITES_ROW_UNATTRIBUTED, "Unattributed", top);
}

#define WARN_SHARE 0.01 /* of the bytes: where fewer have no site it isn't worth a word */

static void warn_of_gaps(struct rqs_doc *d, const struct rqs_alloc_sites *s)
{
	double all = rqs_alloc_sites_total(s, RQS_SITES_ROW_ALL).bytes;
	double nowhere = rqs_alloc_sites_nowhere(s, RQS_SITES_ROW_ALL).allocated.bytes;

	if (s->lost)
		rqs_doc_warning(
		    d, "%" PRIu64 " of %" PRIu64 " sampled allocations were lost: what is told of sites is too low",
		    s->lost, s->samples + s->withdrawn + s->lost);
	if (nowhere <= WARN_SHARE * all)
		return;
	char *some = rqs_human_bytes(nowhere), *whole = rqs_human_bytes(all);
	rqs_doc_warning(
	    d,
	    "the sites of %s of %s aren't known, as the samples' stacks weren't recorded: intervals end higher "
	    "by as much",
	    some, whole);
	free(some);
	free(whole);
}

static void add_summary(struct rqs_doc *d, const struct rqs_alloc_sites *s)
{
	char *samples = rqs_human_count((double)s->samples), *mean = rqs_human_bytes(s->sample_bytes);

	if (s->sample_bytes > 0)
		rqs_doc_fact(d, "call sites", "%s sampled allocations, one every %s on average; with 95 %% intervals",
			     samples, mean);
	else
		rqs_doc_fact(d, "call sites", "%s sampled allocations; with 95 %% intervals", samples);
	warn_of_gaps(d, s);
	free(samples);
	free(mean);
}

void rqs_doc_add_sites(struct rqs_doc *d, const struct rqs_result *r, const struct rqs_routes *routes, unsigned top)
{
	if (!r->sites.known) {
		rqs_doc_text(d, RQS_TONE_DIM,
			     "no call sites: the trace was recorded without --sites (reqscope run --sites -- CMD)");
		return;
	}
	add_summary(d, &r->sites);
	if (!r->sites.samples)
		rqs_doc_text(d, RQS_TONE_DIM, "no allocation was sampled%s",
			     r->windowed ? " in the chosen part of the recording" : "");
	for_rows(d, r, routes, top, add_leaks);
	for_rows(d, r, routes, top, add_row);
}
