/* compare_json.c - sides, preflight findings, a row for each figure of the whole and of each route, and the gates. */
#include "report/compare_json.h"
#include "report/attribution.h"
#include "report/preflight.h"
#include "report/report_json.h"
#include "base/alloc.h"

#include <inttypes.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>

static cJSON *number_or_null(double v)
{
	return isfinite(v) ? cJSON_CreateNumber(v) : cJSON_CreateNull();
}

static cJSON *make_side(const struct rqs_comparison *c, const struct rqs_side *s)
{
	cJSON *o = cJSON_CreateObject();

	rqs_json_add_metadata(o, &c->traces.trace[s->first]);
	cJSON_DeleteItemFromObject(o, "label");
	rqs_json_add_text(o, "label", s->name);
	cJSON *files = cJSON_AddArrayToObject(o, "files");
	for (unsigned i = 0; i < s->runs; i++)
		cJSON_AddItemToArray(files, cJSON_CreateString(c->file[s->first + i]));
	cJSON_AddNumberToObject(o, "runs", s->runs);
	rqs_json_add_result(o, &s->result, c->traces.routes);
	return o;
}

static const char *const units[] = {
    [RQS_FIGURE_RATE] = "1/s", [RQS_FIGURE_SECONDS] = "s", [RQS_FIGURE_BYTES] = "B",
    [RQS_FIGURE_COUNT] = "1",  [RQS_FIGURE_PART] = "1",
};

static const char *better_name(enum rqs_better better)
{
	return better == RQS_BETTER_LOWER ? "lower" : better == RQS_BETTER_HIGHER ? "higher" : "neither";
}

static cJSON *pair_or_null(bool known, double low, double high)
{
	cJSON *pair;

	if (!known || !isfinite(low) || !isfinite(high))
		return cJSON_CreateNull();
	pair = cJSON_CreateArray();
	cJSON_AddItemToArray(pair, cJSON_CreateNumber(low));
	cJSON_AddItemToArray(pair, cJSON_CreateNumber(high));
	return pair;
}

static cJSON *text_or_null(const char *text)
{
	return text ? cJSON_CreateString(text) : cJSON_CreateNull();
}

/* Values and their intervals within the runs; differences are against the first side, whose own place holds null. */
static void add_values(cJSON *row, const struct rqs_row *r, unsigned sides)
{
	cJSON *values = cJSON_AddArrayToObject(row, "values"), *intervals = cJSON_AddArrayToObject(row, "intervals");
	cJSON *runs = cJSON_AddArrayToObject(row, "runs"), *difference = cJSON_AddArrayToObject(row, "difference");
	cJSON *relative = cJSON_AddArrayToObject(row, "relative");
	double base = r->side[0].value;

	for (unsigned i = 0; i < sides; i++) {
		const struct rqs_row_side *s = &r->side[i];

		cJSON_AddItemToArray(values, number_or_null(s->value));
		cJSON_AddItemToArray(intervals, pair_or_null(s->why == RQS_INTERVAL, s->low, s->high));
		cJSON_AddItemToArray(runs, cJSON_CreateNumber(s->runs));
		cJSON_AddItemToArray(difference, number_or_null(i ? s->value - base : NAN));
		cJSON_AddItemToArray(relative, number_or_null(i && base != 0 ? s->value / base - 1 : NAN));
	}
}

cJSON *rqs_json_difference(const struct rqs_difference *d)
{
	double shift = d->ratio ? 1 : 0;
	bool known = d->basis != RQS_BASIS_NONE;
	cJSON *o = cJSON_CreateObject();

	cJSON_AddItemToObject(o, "basis", text_or_null(rqs_basis_name(d->basis)));
	cJSON_AddBoolToObject(o, "relative", d->ratio);
	cJSON_AddItemToObject(o, "estimate", number_or_null(known ? d->estimate - shift : NAN));
	cJSON_AddItemToObject(o, "interval", pair_or_null(known, d->low - shift, d->high - shift));
	cJSON_AddItemToObject(o, "p", number_or_null(known ? d->p : NAN));
	cJSON_AddItemToObject(o, "p_adjusted", number_or_null(known ? d->adjusted : NAN));
	cJSON_AddItemToObject(o, "smallest_detectable", number_or_null(known ? d->detectable : NAN));
	cJSON_AddItemToObject(o, "runs_needed",
			      d->runs_needed ? cJSON_CreateNumber(d->runs_needed) : cJSON_CreateNull());
	cJSON_AddItemToObject(o, "verdict", text_or_null(rqs_verdict_name(d->verdict)));
	return o;
}

static void add_route(cJSON *o, const struct rqs_comparison *c, int route)
{
	bool whole = route == RQS_WHOLE;

	rqs_json_add_text(o, "route", whole ? NULL : rqs_routes_get(c->traces.routes, (unsigned)route).path);
	rqs_json_add_text(o, "method", whole ? NULL : rqs_route_method(c->traces.routes, (unsigned)route));
}

static cJSON *make_row(const struct rqs_findings *f, const struct rqs_row *r)
{
	const struct rqs_figure_info *figure = &rqs_figures[r->figure];
	cJSON *row = cJSON_CreateObject();

	cJSON_AddStringToObject(row, "metric", figure->name);
	add_route(row, f->c, r->route);
	cJSON_AddStringToObject(row, "unit", units[figure->unit]);
	cJSON_AddStringToObject(row, "better", better_name(figure->better));
	add_values(row, r, f->c->sides);
	cJSON *against = cJSON_AddArrayToObject(row, "against_base");
	cJSON_AddItemToArray(against, cJSON_CreateNull());
	for (unsigned i = 1; i < f->c->sides; i++)
		cJSON_AddItemToArray(against, rqs_json_difference(&r->difference[i]));
	cJSON_AddItemToObject(row, "verdict", text_or_null(rqs_verdict_name(rqs_row_verdict(&f->rows, r))));
	return row;
}

static cJSON *make_gate(const struct rqs_findings *f, const struct rqs_gate_result *r)
{
	cJSON *o = cJSON_CreateObject();

	rqs_json_add_text(o, "gate", r->gate->text);
	rqs_json_add_text(o, "side", f->c->side[r->side].name);
	cJSON_AddItemToObject(o, "base", number_or_null(r->base));
	cJSON_AddItemToObject(o, "value", number_or_null(r->value));
	cJSON_AddItemToObject(o, "against_base",
			      r->gate->kind == RQS_GATE_LIMIT ? cJSON_CreateNull() : rqs_json_difference(&r->difference));
	cJSON_AddItemToObject(o, "verdict", text_or_null(rqs_verdict_name(r->verdict)));
	cJSON_AddItemToObject(o, "why", text_or_null(r->why));
	cJSON_AddBoolToObject(o, "passed", rqs_gate_passed(r, &f->options));
	char *text = rqs_gate_text(r, f->c);
	rqs_json_add_text(o, "text", text);
	free(text);
	return o;
}

/* A part's seconds by side, and what it adds to the difference of the means. */
static cJSON *make_part(const struct rqs_composition *composition, unsigned sides, unsigned part)
{
	cJSON *o = cJSON_CreateObject(), *values, *difference;

	cJSON_AddStringToObject(o, "part", rqs_part_name(part));
	values = cJSON_AddArrayToObject(o, "values");
	difference = cJSON_AddArrayToObject(o, "difference");
	for (unsigned i = 0; i < sides; i++) {
		bool known = composition[i].requests > 0 && composition[i].measured[part];

		cJSON_AddItemToArray(values, number_or_null(known ? composition[i].part[part] : NAN));
		cJSON_AddItemToArray(difference,
				     number_or_null(i && composition[i].requests > 0 && composition[0].requests > 0
							? composition[i].part[part] - composition[0].part[part]
							: NAN));
	}
	return o;
}

static cJSON *make_attribution(const struct rqs_findings *f, int route, double share)
{
	unsigned sides = f->c->sides;
	struct rqs_composition *composition = rqs_zalloc(sides, sizeof(*composition));
	cJSON *o = cJSON_CreateObject();

	for (unsigned i = 0; i < sides; i++)
		composition[i] = rqs_compose(&f->c->side[i].result, route, share);
	add_route(o, f->c, route);
	cJSON_AddNumberToObject(o, "share", share);
	cJSON *latency = cJSON_AddArrayToObject(o, "latency_mean");
	for (unsigned i = 0; i < sides; i++)
		cJSON_AddItemToArray(latency,
				     number_or_null(composition[i].requests > 0 ? composition[i].latency : NAN));
	cJSON *parts = cJSON_AddArrayToObject(o, "parts");
	for (unsigned p = 0; p < RQS_PARTS_AND_OTHER; p++)
		cJSON_AddItemToArray(parts, make_part(composition, sides, p));
	free(composition);
	return o;
}

/*
 * [[upper bound in s, requests], ...]; zeros have the bound 0. As text: a tree of so many numbers takes ten times the
 * memory.
 */
static cJSON *make_histogram(const struct rqs_dist *d)
{
	char *text = NULL;
	size_t length;
	FILE *out = open_memstream(&text, &length);
	const char *separator = "";

	if (!out)
		return cJSON_CreateNull();
	fputc('[', out);

	for (int k = -1; d->histogram && k < (int)RQS_BUCKET_LIMIT; k++) {
		const uint64_t *page = k < 0 ? NULL : d->histogram->page[k / RQS_BUCKETS_PER_OCTAVE];
		uint64_t count = k < 0 ? d->histogram->zeros : page ? page[k % RQS_BUCKETS_PER_OCTAVE] : 0;

		if (!count)
			continue;
		fprintf(out, "%s[%.17g,%" PRIu64 "]", separator, k < 0 ? 0 : rqs_bucket_upper((unsigned)k) / 1e9,
			count);
		separator = ",";
	}
	fputc(']', out);
	fclose(out);
	cJSON *buckets = cJSON_CreateRaw(text);

	free(text);
	return buckets;
}

static void add_histograms(cJSON *o, const struct rqs_findings *f, int route)
{
	cJSON *entry = cJSON_CreateObject(), *sides;

	add_route(entry, f->c, route);
	sides = cJSON_AddArrayToObject(entry, "sides");
	for (unsigned i = 0; i < f->c->sides; i++) {
		const struct rqs_side *s = &f->c->side[i];
		const struct rqs_cell *cell = rqs_route_cell(&s->result, route);

		cJSON_AddItemToArray(sides,
				     cell ? make_histogram(&cell->metric[RQS_METRIC_LATENCY]) : cJSON_CreateNull());
	}
	cJSON_AddItemToArray(o, entry);
}

static void add_finding(void *context, const char *id, const char *text)
{
	cJSON *finding = cJSON_CreateObject();

	rqs_json_add_text(finding, "id", id);
	rqs_json_add_text(finding, "text", text);
	cJSON_AddItemToArray(context, finding);
}

/* For the whole and for each route, by impact. */
static void for_each_route(cJSON *o, const struct rqs_findings *f,
			   void (*add)(cJSON *o, const struct rqs_findings *f, int route))
{
	int *routes = rqs_comparison_rows(f->c);

	add(o, f, RQS_WHOLE);
	for (const int *route = routes; *route >= 0; route++)
		add(o, f, *route);
	free(routes);
}

static void add_attributions(cJSON *o, const struct rqs_findings *f, int route)
{
	cJSON_AddItemToArray(o, make_attribution(f, route, 1));
	cJSON_AddItemToArray(o, make_attribution(f, route, RQS_SLOWEST));
}

cJSON *rqs_compare_json(const struct rqs_findings *f)
{
	const struct rqs_comparison *c = f->c;
	cJSON *o = cJSON_CreateObject();

	cJSON_AddStringToObject(o, "schema", "reqscope.compare/1");
	cJSON *sides = cJSON_AddArrayToObject(o, "sides");
	for (unsigned i = 0; i < c->sides; i++)
		cJSON_AddItemToArray(sides, make_side(c, &c->side[i]));
	rqs_preflight(c, add_finding, cJSON_AddArrayToObject(o, "preflight"));
	cJSON_AddNumberToObject(o, "threshold", f->options.threshold);
	cJSON *rows = cJSON_AddArrayToObject(o, "rows");
	for (unsigned r = 0; r < f->rows.count; r++)
		cJSON_AddItemToArray(rows, make_row(f, &f->rows.row[r]));
	for_each_route(cJSON_AddArrayToObject(o, "attribution"), f, add_attributions);
	for_each_route(cJSON_AddArrayToObject(o, "histograms"), f, add_histograms);
	cJSON *gates = cJSON_AddArrayToObject(o, "gates");
	for (unsigned i = 0; i < f->gates.results; i++)
		cJSON_AddItemToArray(gates, make_gate(f, &f->gates.result[i]));
	if (f->sites.asked)
		cJSON_AddItemToObject(o, "sites", rqs_compare_sites_json(f));
	cJSON_AddItemToObject(o, "verdict", text_or_null(rqs_verdict_name(rqs_gates_verdict(&f->gates))));
	cJSON_AddNumberToObject(o, "exit_status", rqs_findings_status(f));
	return o;
}
