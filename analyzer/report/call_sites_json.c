/* call_sites_json.c - sites as JSON. Bytes and counts are of a request; of what is no route's, of all requests. */
#include "report/call_sites.h"
#include "report/report_json.h"
#include "model/site_numbers.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#define STACKS_ROOM ((size_t)64 << 20) /* bytes that all stacks of a trace may take */
#define LINE_COST 100                  /* of memory, for a line beside its text */

struct writer {
	const struct rqs_result *result;
	unsigned top;
	size_t room;
};

static cJSON *numbers(double low, double high)
{
	cJSON *pair = cJSON_CreateArray();

	cJSON_AddItemToArray(pair, isfinite(low) ? cJSON_CreateNumber(low) : cJSON_CreateNull());
	cJSON_AddItemToArray(pair, isfinite(high) ? cJSON_CreateNumber(high) : cJSON_CreateNull());
	return pair;
}

static void add_frame(cJSON *o, const struct rqs_alloc_sites *s, uint32_t frame)
{
	const struct rqs_frame_name *f = frame < s->frame_count ? &s->frames[frame] : NULL;

	rqs_json_add_text(o, "function", f ? f->function : NULL);
	rqs_json_add_text(o, "file", f && *f->file ? f->file : NULL);
	rqs_json_add_number(o, "line", f && f->line ? (double)f->line : NAN);
	rqs_json_add_text(o, "module", f && *f->module ? f->module : NULL);
	rqs_json_add_text(o, "kind", f ? rqs_frame_kind_name(f->kind) : NULL);
}

static void add_retained(cJSON *o, const struct rqs_alloc_sites *s, const struct rqs_alloc_site *site,
			 const struct rqs_alloc_site *nowhere, double requests)
{
	struct rqs_site_interval i = rqs_alloc_site_retained(s, site, nowhere);

	if (!site->followed.samples) {
		cJSON_AddNullToObject(o, "retained_bytes_per_request");
		cJSON_AddNullToObject(o, "retained_interval");
		return;
	}
	rqs_json_add_number(o, "retained_bytes_per_request", site->retained.bytes / requests);
	cJSON_AddItemToObject(o, "retained_interval", numbers(i.low / requests, i.high / requests));
}

static void add_growth(cJSON *o, const struct rqs_site_growth *g)
{
	if (g->why) {
		cJSON_AddNullToObject(o, "retained_slope");
		cJSON_AddStringToObject(o, "retained_slope_why", g->why);
		return;
	}
	cJSON *slope = cJSON_AddObjectToObject(o, "retained_slope");
	cJSON_AddNumberToObject(slope, "bytes_per_request", g->slope);
	cJSON_AddItemToObject(slope, "interval", numbers(g->low, g->high));
	cJSON_AddBoolToObject(slope, "leak", g->leak);
}

/* Hostile traces have stacks that are long and many: beyond the room that there is they are cut. */
static void add_stack(cJSON *o, struct writer *w, uint32_t stack)
{
	const struct rqs_alloc_sites *s = &w->result->sites;
	cJSON *list = cJSON_AddArrayToObject(o, "stack");

	for (; stack && w->room; stack = s->stacks[stack].caller) {
		char *line = rqs_frame_line(&s->frames[s->stacks[stack].frame]);
		size_t cost = strlen(line) + LINE_COST;

		w->room -= cost < w->room ? cost : w->room;
		cJSON_AddItemToArray(list, cJSON_CreateString(line));
		free(line);
	}
}

/* All that a row's sites share. */
struct row {
	double requests, total;
	struct rqs_alloc_site nowhere;
};

static cJSON *make_site(struct writer *w, const struct rqs_alloc_site *site, const struct rqs_site_growth *growth,
			const struct row *row)
{
	const struct rqs_alloc_sites *s = &w->result->sites;
	const struct rqs_site_estimate *e = &site->allocated;
	struct rqs_site_interval i = rqs_alloc_site_allocated(s, site, &row->nowhere);
	double requests = row->requests;
	cJSON *o = cJSON_CreateObject();

	add_frame(o, s, rqs_alloc_sites_frame_of(s, site->stack));
	cJSON_AddNumberToObject(o, "samples", (double)e->samples);
	cJSON_AddBoolToObject(o, "few_samples", e->samples < RQS_SITE_FEW);
	rqs_json_add_number(o, "bytes_per_request", e->bytes / requests);
	cJSON_AddItemToObject(o, "bytes_per_request_interval", numbers(i.low / requests, i.high / requests));
	rqs_json_add_number(o, "share", e->bytes / row->total);
	rqs_json_add_number(o, "count_per_request", e->count / requests);
	add_retained(o, s, site, &row->nowhere, requests);
	add_growth(o, growth);
	add_stack(o, w, site->stack);
	return o;
}

/* The `top` sites of a row, and those beyond that leak. */
static void add_list(cJSON *object, struct writer *w, uint32_t row)
{
	const struct rqs_result *r = w->result;
	unsigned count;
	struct rqs_alloc_site *site = rqs_alloc_sites_of_row(&r->sites, row, &count);
	const struct row of_row = {rqs_site_requests(r, row), rqs_alloc_sites_total(&r->sites, row).bytes,
				   rqs_alloc_sites_nowhere(&r->sites, row)};
	cJSON *list = cJSON_AddArrayToObject(object, "sites");

	for (unsigned i = 0; i < count; i++) {
		struct rqs_site_growth growth = rqs_growth_of_site(r, &site[i]);

		if (i < w->top || growth.leak)
			cJSON_AddItemToArray(list, make_site(w, &site[i], &growth, &of_row));
	}
	free(site);
}

static void add_block(cJSON *object, const char *key, struct writer *w, uint32_t row)
{
	const struct rqs_alloc_sites *s = &w->result->sites;
	struct rqs_site_estimate sum = rqs_alloc_sites_total(s, row);
	struct rqs_site_interval i = rqs_alloc_site_allocated(s, &(struct rqs_alloc_site){.allocated = sum}, NULL);
	cJSON *o = cJSON_AddObjectToObject(object, key);

	cJSON_AddNumberToObject(o, "samples", (double)sum.samples);
	cJSON_AddNumberToObject(o, "bytes", sum.bytes);
	cJSON_AddItemToObject(o, "bytes_interval", numbers(i.low, i.high));
	cJSON_AddNumberToObject(o, "bytes_without_site", rqs_alloc_sites_nowhere(s, row).allocated.bytes);
	add_list(o, w, row);
}

void rqs_json_add_sites(cJSON *trace, const struct rqs_result *r, unsigned top)
{
	const struct rqs_alloc_sites *s = &r->sites;
	struct writer w = {r, top, STACKS_ROOM};
	cJSON *route = cJSON_GetObjectItemCaseSensitive(trace, "routes")->child;

	if (!s->known) {
		cJSON_AddNullToObject(trace, "sites");
		return;
	}
	cJSON *o = cJSON_AddObjectToObject(trace, "sites");
	rqs_json_add_number(o, "sample_bytes", s->sample_bytes > 0 ? s->sample_bytes : NAN);
	cJSON_AddNumberToObject(o, "samples", (double)s->samples);
	cJSON_AddNumberToObject(o, "lost", (double)s->lost);
	cJSON_AddNumberToObject(o, "not_followed", (double)s->unfollowed);
	cJSON_AddNumberToObject(o, "withdrawn", (double)s->withdrawn);
	add_block(o, "all", &w, RQS_SITES_ROW_ALL);
	add_block(o, "after_response", &w, RQS_SITES_ROW_AFTER_RESPONSE);
	add_block(o, "unattributed", &w, RQS_SITES_ROW_UNATTRIBUTED);
	int *rows = rqs_rows_by_time(r);
	for (unsigned i = 0; rows[i] >= 0 && route; i++, route = route->next)
		add_list(route, &w, (uint32_t)rows[i]);
	free(rows);
}
