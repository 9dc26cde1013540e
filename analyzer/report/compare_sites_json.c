/* compare_sites_json.c - sites by route, each with what the sides allocate there; by side, as everything in the JSON.
 */
#include "report/compare_json.h"
#include "report/frame_keys.h"
#include "report/report_json.h"

#include <math.h>
#include <stdlib.h>

#define SITES_MAX 100 /* of a route; the rest is counted */

static const char *const states[] = {
    [RQS_SITES_COMPARED] = "compared",
    [RQS_SITES_NOT_RECORDED] = "not recorded",
    [RQS_SITES_NOT_SHARED] = "not shared",
    [RQS_SITES_TOO_MANY_LOST] = "too many lost",
};

static const char *const kinds[RQS_KINDS] = {
    [RQS_KIND_NATIVE] = "native",         [RQS_KIND_PYTHON] = "python", [RQS_KIND_GO] = "go",
    [RQS_KIND_JAVASCRIPT] = "javascript", [RQS_KIND_NOTE] = "note",
};

static void add_text(cJSON *o, const char *key, const char *text)
{
	rqs_json_add_text(o, key, *text ? text : NULL);
}

static cJSON *make_pair(double low, double high)
{
	double pair[] = {low, high};

	return cJSON_CreateDoubleArray(pair, 2);
}

static cJSON *make_lines(const struct rqs_site_side *s)
{
	return s->low_line ? make_pair(s->low_line, s->high_line) : cJSON_CreateNull();
}

static cJSON *make_bytes(const struct rqs_site_side *s, double requests)
{
	cJSON *o;

	if (!(requests > 0))
		return cJSON_CreateNull();
	o = cJSON_CreateObject();
	cJSON_AddNumberToObject(o, "estimate", s->bytes);
	cJSON_AddItemToObject(o, "interval", make_pair(s->low, s->high));
	cJSON_AddNumberToObject(o, "samples", (double)s->samples);
	return o;
}

static cJSON *make_site(const struct rqs_compared_sites *s, const struct rqs_site_block *b,
			const struct rqs_compared_site *site)
{
	cJSON *o = cJSON_CreateObject(), *lines, *bytes, *against;

	add_text(o, "function", site->name->function);
	add_text(o, "file", site->name->file);
	add_text(o, "module", site->name->module);
	cJSON_AddStringToObject(o, "kind", kinds[site->name->kind]);
	lines = cJSON_AddArrayToObject(o, "lines");
	bytes = cJSON_AddArrayToObject(o, "bytes_per_request");
	against = cJSON_AddArrayToObject(o, "against_base");
	for (unsigned i = 0; i < s->sides; i++) {
		cJSON_AddItemToArray(lines, make_lines(&site->side[i]));
		cJSON_AddItemToArray(bytes, make_bytes(&site->side[i], b->requests[i]));
		cJSON_AddItemToArray(against, i ? rqs_json_difference(&site->difference[i]) : cJSON_CreateNull());
	}
	return o;
}

static cJSON *make_block(const struct rqs_findings *f, const struct rqs_site_block *b)
{
	const struct rqs_compared_sites *s = &f->sites;
	cJSON *o = cJSON_CreateObject(), *sites;
	bool after = b->route == RQS_AFTER_RESPONSES;

	cJSON_AddStringToObject(o, "of", after ? "after responses" : "requests");
	rqs_json_add_text(o, "route", after ? NULL : rqs_routes_get(f->c->traces.routes, (unsigned)b->route).path);
	rqs_json_add_text(o, "method", after ? NULL : rqs_route_method(f->c->traces.routes, (unsigned)b->route));
	cJSON_AddItemToObject(o, "requests", cJSON_CreateDoubleArray(b->requests, (int)s->sides));
	sites = cJSON_AddArrayToObject(o, "sites");
	for (unsigned i = 0; i < b->count && i < SITES_MAX; i++)
		cJSON_AddItemToArray(sites, make_site(s, b, &s->site[b->first + i]));
	cJSON_AddNumberToObject(o, "more_sites", b->count > SITES_MAX ? b->count - SITES_MAX : 0);
	return o;
}

cJSON *rqs_compare_sites_json(const struct rqs_findings *f)
{
	const struct rqs_compared_sites *s = &f->sites;
	cJSON *o = cJSON_CreateObject(), *sides, *routes;

	sides = cJSON_AddArrayToObject(o, "sides");
	for (unsigned i = 0; i < s->sides; i++)
		cJSON_AddItemToArray(sides, cJSON_CreateString(states[s->state[i]]));
	cJSON_AddNumberToObject(o, "tested", s->tested);
	cJSON_AddStringToObject(o, "p_adjusted_by", "benjamini-hochberg");
	routes = cJSON_AddArrayToObject(o, "routes");
	for (unsigned i = 0; i < s->blocks; i++)
		cJSON_AddItemToArray(routes, make_block(f, &s->block[i]));
	return o;
}
