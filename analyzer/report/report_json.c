/* report_json.c - results as JSON. */
#include "report/report_json.h"
#include "report/call_sites.h"
#include "base/alloc.h"
#include "render/escape.h"

#include <inttypes.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>

void rqs_json_add_number(cJSON *object, const char *key, double v)
{
	if (isfinite(v))
		cJSON_AddNumberToObject(object, key, v);
	else
		cJSON_AddNullToObject(object, key);
}

void rqs_json_add_text(cJSON *object, const char *key, const char *text)
{
	if (!text) {
		cJSON_AddNullToObject(object, key);
		return;
	}
	char *valid = rqs_valid_utf8(text);
	cJSON_AddStringToObject(object, key, valid);
	free(valid);
}

char *rqs_unplaced_text(uint64_t programs)
{
	return rqs_format("%" PRIu64 " Go program%s ran unhooked: %s requests aren't recorded", programs,
			  programs == 1 ? "" : "s", programs == 1 ? "its" : "their");
}

/* ---- metadata ---- */

static void add_command(cJSON *object, const cJSON *run)
{
	cJSON *list = cJSON_AddArrayToObject(object, "command");
	const cJSON *word;

	cJSON_ArrayForEach(word, cJSON_GetObjectItemCaseSensitive(run, "command"))
	{
		if (!cJSON_IsString(word))
			continue;
		char *valid = rqs_valid_utf8(word->valuestring);
		cJSON_AddItemToArray(list, cJSON_CreateString(valid));
		free(valid);
	}
}

static void add_runtime(cJSON *object, const struct rqs_trace *t)
{
	const struct rqs_process *p = rqs_trace_main_process(t);

	if (!p) {
		cJSON_AddNullToObject(object, "runtime");
		return;
	}
	cJSON *runtime = cJSON_AddObjectToObject(object, "runtime");
	rqs_json_add_text(runtime, "name", p->runtime);
	rqs_json_add_text(runtime, "version", p->runtime_version);
}

static void add_stop(cJSON *object, const char *key, const cJSON *attach, const char *ns)
{
	rqs_json_add_number(object, key, rqs_json_string(attach, ns) ? (double)rqs_json_u64(attach, ns) * 1e-9 : NAN);
}

/* There for recordings of this kind alone. */
static void add_attach(cJSON *object, const struct rqs_trace *t)
{
	const cJSON *attach = rqs_trace_attach(t);

	if (!rqs_trace_is_attached(t))
		return;
	cJSON *o = cJSON_AddObjectToObject(object, "attach");
	rqs_json_add_number(o, "pid", attach ? (double)rqs_json_u64(attach, "pid") : NAN);
	rqs_json_add_number(o, "processes", attach ? (double)rqs_json_u64(attach, "processes") : NAN);
	add_stop(o, "stopped", attach, "attach_stopped_ns");
	add_stop(o, "detach_stopped", attach, "detach_stopped_ns");
}

void rqs_json_add_metadata(cJSON *object, const struct rqs_trace *t)
{
	char *start = t->start_realtime ? rqs_rfc3339(t->start_realtime) : NULL;

	rqs_json_add_text(object, "file", t->file);
	rqs_json_add_text(object, "label", rqs_trace_label(t));
	add_command(object, t->run);
	add_runtime(object, t);
	rqs_json_add_text(object, "start_time", start);
	add_attach(object, t);
	free(start);
}

/* ---- numbers ---- */

static void add_dist(cJSON *object, const struct rqs_metric_info *metric, const struct rqs_dist *d)
{
	double unit = metric->unit == RQS_UNIT_TIME ? 1e-9 : 1;

	if (!d->count) {
		cJSON_AddNullToObject(object, metric->name);
		return;
	}
	struct rqs_summary s = rqs_dist_summary(d);
	cJSON *o = cJSON_AddObjectToObject(object, metric->name);
	cJSON_AddNumberToObject(o, "count", (double)s.count);
	cJSON_AddNumberToObject(o, "mean", s.mean * unit);
	cJSON_AddNumberToObject(o, "min", s.min * unit);
#define ADD(name, q) cJSON_AddNumberToObject(o, #name, s.name *unit);
	RQS_QUANTILES(ADD)
#undef ADD
	cJSON_AddNumberToObject(o, "max", s.max * unit);
}

static void add_metrics(cJSON *object, const struct rqs_cell *c)
{
	for (unsigned m = 0; m < RQS_METRIC_COUNT; m++)
		add_dist(object, &rqs_metrics[m], &c->metric[m]);
}

static void add_completeness(cJSON *object, const struct rqs_completeness *c)
{
	cJSON *o = cJSON_AddObjectToObject(object, "completeness");

	/* Without totals only finished is known: what was read. */
#define ADD(name) rqs_json_add_number(o, #name, c->known || &c->name == &c->finished ? (double)c->name : NAN);
	RQS_COMPLETENESS(ADD)
#undef ADD
}

static void add_connections(cJSON *object, const struct rqs_result *r)
{
	if (!r->connections_known) {
		cJSON_AddNullToObject(object, "connections");
		return;
	}
	cJSON *o = cJSON_AddObjectToObject(object, "connections");
	cJSON_AddNumberToObject(o, "accepted", (double)r->accepted);
	cJSON_AddNumberToObject(o, "peak", (double)r->peak);
}

static void add_alloc(cJSON *object, const char *key, const struct rqs_alloc *a)
{
	if (!a->known) {
		cJSON_AddNullToObject(object, key);
		return;
	}
	cJSON *o = cJSON_AddObjectToObject(object, key);
	cJSON_AddNumberToObject(o, "alloc_bytes", (double)a->bytes);
	cJSON_AddNumberToObject(o, "alloc_count", (double)a->count);
}

static void add_usage(cJSON *object, const struct rqs_result *r)
{
	cJSON *memory = cJSON_AddObjectToObject(object, "memory");
	rqs_json_add_number(memory, "rss_mean", r->rss.known ? r->rss.mean : NAN);
	rqs_json_add_number(memory, "rss_peak", r->rss.known ? r->rss.peak : NAN);

	cJSON *cpu = cJSON_AddObjectToObject(object, "cpu");
	rqs_json_add_number(cpu, "user", r->cpu_known ? r->cpu_user : NAN);
	rqs_json_add_number(cpu, "system", r->cpu_known ? r->cpu_system : NAN);
	rqs_json_add_number(cpu, "per_request", rqs_cpu_per_request(r));
}

static void add_level(cJSON *object, const char *key, const struct rqs_level *level)
{
	if (!level->known) {
		cJSON_AddNullToObject(object, key);
		return;
	}
	cJSON *o = cJSON_AddObjectToObject(object, key);
	cJSON_AddNumberToObject(o, "mean", level->mean);
	cJSON_AddNumberToObject(o, "peak", level->peak);
}

/* Empty where no runtime keeps such figures. */
static void add_runtime_stats(cJSON *object, const struct rqs_result *r)
{
	cJSON *o = cJSON_AddObjectToObject(object, "runtime_stats");

	if (!r->has_runtime_stats && !r->heap_in_use.known)
		return;
#define ADD(name) add_level(o, #name, &r->name);
	RQS_RUNTIME_LEVELS(ADD)
#undef ADD
#define ADD(name) rqs_json_add_number(o, #name, r->name.known ? r->name.value : NAN);
	RQS_RUNTIME_COUNTS(ADD)
#undef ADD
}

static void add_note(cJSON *list, const char *what, const char *why)
{
	cJSON *note = cJSON_CreateObject();

	rqs_json_add_text(note, "what", what);
	rqs_json_add_text(note, "why", why);
	cJSON_AddItemToArray(list, note);
}

static void add_notes(cJSON *object, const struct rqs_result *r)
{
	cJSON *list = cJSON_AddArrayToObject(object, "not_measured");

	if (r->unplaced) {
		char *why = rqs_unplaced_text(r->unplaced);

		add_note(list, "processes", why);
		free(why);
	}
	for (unsigned i = 0; i < r->notes; i++)
		add_note(list, r->note[i].what, r->note[i].why);
}

/* ---- routes ---- */

struct timed_row {
	int row;
	unsigned __int128 time;
	uint64_t requests;
};

static int by_time(const void *a, const void *b)
{
	const struct timed_row *x = a, *y = b;

	if (x->time != y->time)
		return x->time > y->time ? -1 : 1;
	if (x->requests != y->requests)
		return x->requests > y->requests ? -1 : 1;
	return x->row - y->row;
}

int *rqs_rows_by_time(const struct rqs_result *r)
{
	struct timed_row *timed = rqs_zalloc(r->cells, sizeof(*timed));
	int *rows = rqs_zalloc(r->cells + 1, sizeof(*rows));
	unsigned n = 0;

	for (unsigned i = 0; i < r->cells; i++)
		if (r->cell[i] && r->cell[i]->requests)
			timed[n++] = (struct timed_row){(int)i, r->cell[i]->metric[RQS_METRIC_LATENCY].sum,
							r->cell[i]->requests};
	qsort(timed, n, sizeof(*timed), by_time);
	for (unsigned i = 0; i < n; i++)
		rows[i] = timed[i].row;
	rows[n] = -1;
	free(timed);
	return rows;
}

static cJSON *make_route(const struct rqs_cell *c, const struct rqs_routes *routes, unsigned row)
{
	cJSON *o = cJSON_CreateObject();

	rqs_json_add_text(o, "route", rqs_routes_get(routes, row).path);
	cJSON_AddStringToObject(o, "method", rqs_route_method(routes, row));
	cJSON_AddNumberToObject(o, "requests", (double)c->requests);
	cJSON_AddNumberToObject(o, "errors", (double)c->errors);
	cJSON *status = cJSON_AddObjectToObject(o, "status");
	for (unsigned s = 0; s < RQS_STATUS_LIMIT; s++) {
		char key[8];

		snprintf(key, sizeof(key), "%u", s);
		if (c->status[s])
			cJSON_AddNumberToObject(status, key, (double)c->status[s]);
	}
	add_metrics(o, c);
	return o;
}

static void add_routes(cJSON *object, const struct rqs_result *r, const struct rqs_routes *routes)
{
	cJSON *list = cJSON_AddArrayToObject(object, "routes");
	int *rows = rqs_rows_by_time(r);

	for (const int *row = rows; *row >= 0; row++)
		cJSON_AddItemToArray(list, make_route(r->cell[*row], routes, (unsigned)*row));
	free(rows);
}

/* ---- all of it ---- */

void rqs_json_add_result(cJSON *object, const struct rqs_result *r, const struct rqs_routes *routes)
{
	cJSON_AddNumberToObject(object, "processes", (double)r->processes);
	cJSON_AddNumberToObject(object, "duration", r->duration);
	cJSON_AddBoolToObject(object, "truncated", r->truncated);
	add_completeness(object, &r->completeness);
	cJSON_AddNumberToObject(object, "requests", (double)r->all.requests);
	cJSON_AddNumberToObject(object, "errors", (double)r->all.errors);
	rqs_json_add_number(object, "throughput", rqs_throughput(r, &r->all));
	rqs_json_add_number(object, "in_flight_mean", rqs_in_flight_mean(r));
	cJSON *from = cJSON_AddObjectToObject(object, "latency_from");
	cJSON_AddNumberToObject(from, "kernel", (double)r->all.from_kernel);
	cJSON_AddNumberToObject(from, "read", (double)r->all.from_read);
	add_connections(object, r);
	add_metrics(object, &r->all);
#define ADD(name) add_alloc(object, #name, &r->name);
	RQS_ALLOCS(ADD)
#undef ADD
	add_usage(object, r);
	add_runtime_stats(object, r);
	add_notes(object, r);
	add_routes(object, r, routes);
}

cJSON *rqs_report_json(const struct rqs_traces *traces, unsigned sites)
{
	cJSON *report = cJSON_CreateObject();

	cJSON_AddStringToObject(report, "schema", "reqscope.report/1");
	cJSON *list = cJSON_AddArrayToObject(report, "traces");
	for (unsigned i = 0; i < traces->count; i++) {
		const struct rqs_trace *t = &traces->trace[i];

		if (t->fatal)
			continue;
		cJSON *o = cJSON_CreateObject();
		rqs_json_add_metadata(o, t);
		rqs_json_add_result(o, &t->result, traces->routes);
		if (sites)
			rqs_json_add_sites(o, &t->result, sites);
		cJSON_AddItemToArray(list, o);
	}
	return report;
}
