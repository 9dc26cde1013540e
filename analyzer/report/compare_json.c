/* compare_json.c - sides, preflight findings, and a row for each figure of the whole and of each route. */
#include "report/compare_json.h"
#include "report/figures.h"
#include "report/preflight.h"
#include "report/report_json.h"

#include <math.h>
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

/* Differences are against the first side; its own place holds null. */
static void add_values(cJSON *row, const double *value, unsigned sides)
{
	cJSON *values = cJSON_AddArrayToObject(row, "values");
	cJSON *difference = cJSON_AddArrayToObject(row, "difference"),
	      *relative = cJSON_AddArrayToObject(row, "relative");

	for (unsigned i = 0; i < sides; i++) {
		cJSON_AddItemToArray(values, number_or_null(value[i]));
		cJSON_AddItemToArray(difference, number_or_null(i ? value[i] - value[0] : NAN));
		cJSON_AddItemToArray(relative, number_or_null(i && value[0] != 0 ? value[i] / value[0] - 1 : NAN));
	}
}

static void add_row(cJSON *rows, const struct rqs_comparison *c, enum rqs_figure figure, int route)
{
	const struct rqs_figure_info *f = &rqs_figures[figure];
	double *value = calloc(c->sides, sizeof(*value));
	bool known = false;

	for (unsigned i = 0; value && i < c->sides; i++) {
		const struct rqs_side *s = &c->side[i];
		const struct rqs_cell *cell = route < 0 ? &s->result.all : rqs_side_cell(s, (unsigned)route);

		value[i] = cell ? rqs_figure_value(figure, &s->result, cell) : NAN;
		known |= !isnan(value[i]);
	}
	if (known) {
		cJSON *row = cJSON_CreateObject();

		cJSON_AddStringToObject(row, "metric", f->name);
		rqs_json_add_text(row, "route",
				  route < 0 ? NULL : rqs_routes_get(c->traces.routes, (unsigned)route).path);
		rqs_json_add_text(row, "method",
				  route < 0 ? NULL : rqs_route_method(c->traces.routes, (unsigned)route));
		cJSON_AddStringToObject(row, "unit", units[f->unit]);
		cJSON_AddStringToObject(row, "better", better_name(f->better));
		add_values(row, value, c->sides);
		cJSON_AddNullToObject(row, "verdict");
		cJSON_AddItemToArray(rows, row);
	}
	free(value);
}

static void add_finding(void *context, const char *id, const char *text)
{
	cJSON *finding = cJSON_CreateObject();

	rqs_json_add_text(finding, "id", id);
	rqs_json_add_text(finding, "text", text);
	cJSON_AddItemToArray(context, finding);
}

cJSON *rqs_compare_json(const struct rqs_comparison *c)
{
	cJSON *o = cJSON_CreateObject();
	int *routes = rqs_comparison_rows(c);

	cJSON_AddStringToObject(o, "schema", "reqscope.compare/1");
	cJSON *sides = cJSON_AddArrayToObject(o, "sides");
	for (unsigned i = 0; i < c->sides; i++)
		cJSON_AddItemToArray(sides, make_side(c, &c->side[i]));
	rqs_preflight(c, add_finding, cJSON_AddArrayToObject(o, "preflight"));
	cJSON *rows = cJSON_AddArrayToObject(o, "rows");
	for (unsigned f = 0; f < RQS_FIGURE_COUNT_OF; f++)
		add_row(rows, c, f, -1);
	for (const int *route = routes; *route >= 0; route++)
		for (unsigned f = 0; f < RQS_FIGURE_COUNT_OF; f++)
			if (rqs_figures[f].scope == RQS_SCOPE_ROUTE)
				add_row(rows, c, f, *route);
	cJSON_AddNullToObject(o, "verdict");
	free(routes);
	return o;
}
