/* report_doc.c - a glance at each trace: what ran, how it did, then its routes. */
#include "report/report_doc.h"
#include "report/call_sites.h"
#include "report/charts.h"
#include "report/flames.h"
#include "report/report_json.h"
#include "report/report_parts.h"
#include "base/alloc.h"
#include "render/units.h"

#include <inttypes.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define COMMAND_MAX 100 /* bytes shown */

char *rqs_metric_text(enum rqs_unit unit, double v)
{
	switch (unit) {
	case RQS_UNIT_TIME:
		return rqs_human_time(v * 1e-9);
	case RQS_UNIT_BYTES:
		return rqs_human_bytes(v);
	case RQS_UNIT_COUNT:
		break;
	}
	return rqs_human_count(v);
}

char *rqs_trace_name(const struct rqs_trace *t)
{
	const char *label = rqs_trace_label(t);
	const char *slash = strrchr(t->file, '/'), *base = slash ? slash + 1 : t->file;
	const char *dot = strrchr(base, '.');

	if (label && *label)
		return rqs_strndup(label, strlen(label));
	if (dot && dot != base && !strcmp(dot, ".rqs"))
		return rqs_strndup(base, (size_t)(dot - base));
	return rqs_strndup(base, strlen(base));
}

char *rqs_route_text(const struct rqs_routes *routes, unsigned row)
{
	const char *path = rqs_routes_get(routes, row).path;

	if (row == RQS_ROUTE_UNMATCHED || row == RQS_ROUTE_OTHER)
		return rqs_strndup(path, strlen(path));
	return rqs_format("%s %s", rqs_route_method(routes, row), path);
}

/* ---- header ---- */

static char *command_text(const cJSON *run)
{
	char *text = rqs_strndup("", 0);
	const cJSON *word;

	cJSON_ArrayForEach(word, cJSON_GetObjectItemCaseSensitive(run, "command"))
	{
		if (!cJSON_IsString(word))
			continue;
		char *longer = rqs_format("%s%s%s", text, *text ? " " : "", word->valuestring);
		free(text);
		text = longer;
		if (strlen(text) > COMMAND_MAX)
			break;
	}
	if (strlen(text) > COMMAND_MAX)
		strcpy(text + COMMAND_MAX - 3, "...");
	return text;
}

static void add_identity(struct rqs_doc *d, const struct rqs_trace *t)
{
	const struct rqs_process *p = rqs_trace_main_process(t);
	char *command = command_text(t->run);
	char *start = t->start_realtime ? rqs_rfc3339(t->start_realtime) : NULL;

	if (*command)
		rqs_doc_fact(d, "command", "%s", command);
	if (p && p->runtime)
		rqs_doc_fact(d, "runtime", "%s%s%s, %" PRIu64 " process%s", p->runtime, p->runtime_version ? " " : "",
			     p->runtime_version ? p->runtime_version : "", t->result.processes,
			     t->result.processes == 1 ? "" : "es");
	if (start)
		rqs_doc_fact(d, "started", "%s", start);
	free(command);
	free(start);
}

/* How it began, where that wasn't with the program's start, and how it ended. */
static void add_attach(struct rqs_doc *d, const struct rqs_trace *t)
{
	const cJSON *attach = rqs_trace_attach(t);

	if (!rqs_trace_is_attached(t))
		return;
	if (!attach) {
		rqs_doc_fact(d, "attached", "while it ran: its start isn't recorded");
		return;
	}
	bool detached = rqs_json_string(attach, "detach_stopped_ns");
	char *in = rqs_human_time((double)rqs_json_u64(attach, "attach_stopped_ns") * 1e-9);
	char *out = rqs_human_time((double)rqs_json_u64(attach, "detach_stopped_ns") * 1e-9);
	rqs_doc_fact(d, "attached", "while it ran, to process %" PRIu64 "%s: threads stopped for at most %s%s%s",
		     rqs_json_u64(attach, "pid"), rqs_json_u64(attach, "processes") > 1 ? " and its children" : "", in,
		     detached ? ", to detach for " : "", detached ? out : "");
	free(in);
	free(out);
}

static bool says_something(const struct rqs_dist *dist)
{
	return dist->count && dist->max;
}

static void add_traffic(struct rqs_doc *d, const struct rqs_result *r)
{
	char *requests = rqs_human_count((double)r->all.requests), *rate = rqs_human_rate(rqs_throughput(r, &r->all));
	char *duration = rqs_human_time(r->duration), *errors = rqs_human_count((double)r->all.errors);
	double in_flight = rqs_in_flight_mean(r);

	rqs_doc_fact(d, "requests", "%s in %s: %s, %s error%s", requests, duration, rate, errors,
		     r->all.errors == 1 ? "" : "s");
	free(requests);
	free(rate);
	free(duration);
	free(errors);
	if (isnan(in_flight))
		return;
	char *flight = rqs_human_count(in_flight), *peak = rqs_human_count((double)r->peak);
	char *accepted = rqs_human_count((double)r->accepted);
	if (r->connections_known)
		rqs_doc_fact(d, "concurrency", "%s in flight on average; %s connections accepted, at most %s at once",
			     flight, accepted, peak);
	else
		rqs_doc_fact(d, "concurrency", "%s in flight on average", flight);
	free(flight);
	free(peak);
	free(accepted);
}

/* What a request took of something; `remark` stands behind it. All 0 says nothing. */
static void add_metric_fact(struct rqs_doc *d, const struct rqs_cell *c, enum rqs_metric m, const char *name,
			    const char *remark)
{
	if (!says_something(&c->metric[m]))
		return;
	enum rqs_unit unit = rqs_metrics[m].unit;
	struct rqs_summary s = rqs_dist_summary(&c->metric[m]);
	char *p50 = rqs_metric_text(unit, s.p50), *p90 = rqs_metric_text(unit, s.p90);
	char *p99 = rqs_metric_text(unit, s.p99), *p999 = rqs_metric_text(unit, s.p999);
	char *max = rqs_metric_text(unit, s.max), *mean = rqs_metric_text(unit, s.mean);

	rqs_doc_fact(d, name, "p50 %s   p90 %s   p99 %s   p99.9 %s   max %s   mean %s%s", p50, p90, p99, p999, max,
		     mean, remark);
	free(p50);
	free(p90);
	free(p99);
	free(p999);
	free(max);
	free(mean);
}

static const struct {
	enum rqs_metric metric;
	const char *name, *remark;
} metric_facts[] = {
    {RQS_METRIC_LATENCY, "latency", ""},
    {RQS_METRIC_LOOP_DELAY, "loop delay", "   (a part of queue)"},
    {RQS_METRIC_CPU_TIME, "on a CPU", ""},
    {RQS_METRIC_SCHED_WAIT, "for a CPU", ""},
    {RQS_METRIC_CHILDREN_CPU_TIME, "children", ""},
    {RQS_METRIC_GIL_WAIT, "for the GIL", ""},
    {RQS_METRIC_RECV_BUFFER_BYTES, "recv buffers", "   (not in allocated)"},
    {RQS_METRIC_ALLOC_BYTES, "allocated", ""},
};

static void add_metric_facts(struct rqs_doc *d, const struct rqs_cell *c)
{
	for (unsigned i = 0; i < sizeof(metric_facts) / sizeof(metric_facts[0]); i++)
		add_metric_fact(d, c, metric_facts[i].metric, metric_facts[i].name, metric_facts[i].remark);
}

/* "412 MB, of that 3.2 MB after responses, 18.0 MB unattributed": of the whole recording, whatever the window. */
static void add_process_alloc(struct rqs_doc *d, const struct rqs_result *r)
{
	char *whole = rqs_human_bytes((double)r->process_alloc.bytes);
	char *after = rqs_human_bytes((double)r->after_response.bytes);
	char *rest = rqs_human_bytes((double)r->unattributed.bytes);
	bool has_after = r->after_response.known && r->after_response.bytes;
	/* Where nothing is ever attributed, malloc's share of a runtime's memory is a riddle. */
	bool attributes = r->after_response.known || r->all.metric[RQS_METRIC_ALLOC_BYTES].count;

	if (attributes && r->process_alloc.bytes && r->unattributed.known)
		rqs_doc_fact(d, "in all", "%s allocated%s, of that %s%s%s unattributed", whole,
			     r->windowed ? " in the whole recording" : "", has_after ? after : "",
			     has_after ? " after responses, " : "", rest);
	free(whole);
	free(after);
	free(rest);
}

static void add_usage(struct rqs_doc *d, const struct rqs_result *r)
{
	char *mean = rqs_human_bytes(r->rss.mean), *peak = rqs_human_bytes(r->rss.peak);
	char *user = rqs_human_time(r->cpu_user), *system = rqs_human_time(r->cpu_system);
	char *each = rqs_human_time(rqs_cpu_per_request(r));

	if (r->cpu_known && r->duration > 0)
		rqs_doc_fact(d, "CPU", "%s a request: %.2f cores busy, %s user, %s system", each,
			     (r->cpu_user + r->cpu_system) / r->duration, user, system);
	if (r->rss.known)
		rqs_doc_fact(d, "memory", "mean %s, peak %s", mean, peak);
	free(mean);
	free(peak);
	free(user);
	free(system);
	free(each);
}

/* Frees both. */
static char *joined(char *list, char *one)
{
	char *longer = rqs_format("%s%s%s", list, *list ? ", " : "", one);

	free(list);
	free(one);
	return longer;
}

static char *level_text(const struct rqs_level *level, char *(*text)(double value), const char *format)
{
	char *mean = text(level->mean), *peak = text(level->peak);
	char *both = rqs_format(format, mean, peak);

	free(mean);
	free(peak);
	return both;
}

/* "heap 12.3 MB (peak 40.0 MB), goal 25.1 MB, 152 GCs, 31.2 ms paused, 12 goroutines (peak 1,013)", as far as known */
static void add_runtime_stats(struct rqs_doc *d, const struct rqs_result *r)
{
	char *text = rqs_format("%s", "");

	if (r->heap_in_use.known)
		text = joined(text, level_text(&r->heap_in_use, rqs_human_bytes, "heap %s (peak %s)"));
	if (r->heap_goal.known)
		text = joined(text, level_text(&r->heap_goal, rqs_human_bytes, "goal %s (peak %s)"));
	if (r->gc_cycles.known) {
		char *cycles = rqs_human_count(r->gc_cycles.value);

		text = joined(text, rqs_format("%s GC%s", cycles, r->gc_cycles.value == 1 ? "" : "s"));
		free(cycles);
	}
	if (r->gc_pause.known) {
		char *pause = rqs_human_time(r->gc_pause.value);

		text = joined(text, rqs_format("%s paused", pause));
		free(pause);
	}
	if (r->goroutines.known)
		text = joined(text, level_text(&r->goroutines, rqs_human_count, "%s goroutines (peak %s)"));
	bool is_go = r->heap_goal.known || r->gc_cycles.known || r->goroutines.known;
	if (*text)
		rqs_doc_fact(d, is_go ? "Go" : "V8", "%s", text);
	free(text);
}

static void add_completeness(struct rqs_doc *d, const struct rqs_completeness *c)
{
	char *started = rqs_human_count((double)c->started), *finished = rqs_human_count((double)c->finished);

	if (!c->known)
		rqs_doc_fact(d, "completeness", "unknown: the trace has no totals; %s requests were read", finished);
	else if (c->started == c->finished)
		rqs_doc_fact(d, "completeness", "all %s requests that were started are recorded", started);
	else
		rqs_doc_fact(d, "completeness",
			     "%s started: %s recorded, %" PRIu64 " dropped, %" PRIu64 " unfinished, %" PRIu64
			     " given up",
			     started, finished, c->dropped, c->unfinished, c->given_up);
	free(started);
	free(finished);
}

void rqs_doc_add_warnings(struct rqs_doc *d, const struct rqs_result *r, const char *name)
{
	const char *colon = name ? ": " : "";

	if (!name)
		name = "";
	if (r->damaged)
		rqs_doc_warning(d, "%s%sthe trace is damaged; the numbers cover what could be read", name, colon);
	else if (r->truncated)
		rqs_doc_warning(d, "%s%sthe trace is truncated: it has no end frame, and may lack its last second",
				name, colon);
	if (r->completeness.known && r->completeness.dropped)
		rqs_doc_warning(d, "%s%s%" PRIu64 " requests were served but not recorded (dropped)", name, colon,
				r->completeness.dropped);
	if (r->unplaced) {
		char *text = rqs_unplaced_text(r->unplaced);

		rqs_doc_warning(d, "%s%s%s", name, colon, text);
		free(text);
	}
	if (!r->all.requests)
		rqs_doc_warning(d, "%s%sno request%s", name, colon,
				r->recorded ? " in the chosen part of the recording" : " was recorded");
}

/* ---- routes ---- */

static const struct {
	enum rqs_metric metric;
	const char *head;
} extra_columns[] = {
    {RQS_METRIC_QUEUE, "QUEUE p99"},     {RQS_METRIC_ALLOC_BYTES, "ALLOC/REQ"}, {RQS_METRIC_CPU_TIME, "CPU/REQ"},
    {RQS_METRIC_SCHED_WAIT, "WAIT/REQ"}, {RQS_METRIC_GIL_WAIT, "GIL/REQ"},
};
#define EXTRAS (sizeof(extra_columns) / sizeof(extra_columns[0]))

static double extra_value(const struct rqs_cell *c, enum rqs_metric m)
{
	const struct rqs_dist *dist = &c->metric[m];

	if (!dist->count)
		return NAN;
	return m == RQS_METRIC_QUEUE ? rqs_dist_quantile(dist, 99000) : (double)dist->sum / (double)dist->count;
}

static void add_number(struct rqs_table *t, enum rqs_tone tone, char *text, double value)
{
	rqs_table_cell(t, tone, text);
	rqs_table_sort_key(t, value);
}

static void add_route(struct rqs_table *t, const struct rqs_result *r, const struct rqs_routes *routes, unsigned row)
{
	const struct rqs_cell *c = r->cell[row];
	const struct rqs_dist *latency = &c->metric[RQS_METRIC_LATENCY];
	double total = (double)r->all.metric[RQS_METRIC_LATENCY].sum;
	double share = total > 0 ? (double)latency->sum / total : NAN;
	struct rqs_summary s = rqs_dist_summary(latency);

	if (!latency->count)
		s.p50 = s.p99 = s.p999 = s.max = NAN;
	rqs_table_row(t, false);
	rqs_table_cell(t, RQS_TONE_PLAIN, rqs_route_text(routes, row));
	add_number(t, RQS_TONE_PLAIN, rqs_human_count((double)c->requests), (double)c->requests);
	add_number(t, RQS_TONE_PLAIN, rqs_human_rate(rqs_throughput(r, c)), rqs_throughput(r, c));
	add_number(t, RQS_TONE_PLAIN, rqs_human_percent(share), share);
	add_number(t, c->errors ? RQS_TONE_BAD : RQS_TONE_DIM, rqs_human_count((double)c->errors), (double)c->errors);
	add_number(t, RQS_TONE_STRONG, rqs_metric_text(RQS_UNIT_TIME, s.p50), s.p50);
	add_number(t, RQS_TONE_STRONG, rqs_metric_text(RQS_UNIT_TIME, s.p99), s.p99);
	add_number(t, RQS_TONE_PLAIN, rqs_metric_text(RQS_UNIT_TIME, s.p999), s.p999);
	add_number(t, RQS_TONE_PLAIN, rqs_metric_text(RQS_UNIT_TIME, s.max), s.max);
	for (unsigned i = 0; i < EXTRAS; i++) {
		enum rqs_metric m = extra_columns[i].metric;
		double value = extra_value(c, m);

		if (says_something(&r->all.metric[m]))
			add_number(t, RQS_TONE_PLAIN, rqs_metric_text(rqs_metrics[m].unit, value), value);
	}
}

void rqs_report_add_routes(struct rqs_doc *d, const struct rqs_reported *what)
{
	const struct rqs_result *r = &what->trace->result;
	static const char *const heads[] = {"REQUESTS", "RATE", "TIME", "ERRORS", "p50", "p99", "p99.9", "MAX"};
	int *rows = rqs_rows_by_time(r);
	unsigned n = 0;

	if (*rows >= 0) {
		struct rqs_table *t = rqs_doc_table(d);

		rqs_table_column(t, false, "ROUTE");
		for (unsigned i = 0; i < sizeof(heads) / sizeof(heads[0]); i++)
			rqs_table_column(t, true, heads[i]);
		for (unsigned i = 0; i < EXTRAS; i++)
			if (says_something(&r->all.metric[extra_columns[i].metric]))
				rqs_table_column(t, true, extra_columns[i].head);
		for (; rows[n] >= 0; n++)
			if (n < RQS_ROUTES_SHOWN)
				add_route(t, r, what->traces->routes, (unsigned)rows[n]);
	}
	if (n > RQS_ROUTES_SHOWN)
		rqs_doc_text(d, RQS_TONE_DIM, "and %u more routes (--format json has all)", n - RQS_ROUTES_SHOWN);
	free(rows);
}

void rqs_report_add_notes(struct rqs_doc *d, const struct rqs_reported *what)
{
	const struct rqs_result *r = &what->trace->result;

	for (unsigned i = 0; i < r->notes; i++)
		rqs_doc_text(d, RQS_TONE_DIM, "not measured: %s (%s)", r->note[i].what, r->note[i].why);
}

void rqs_report_add_charts(struct rqs_doc *d, const struct rqs_reported *what)
{
	const struct rqs_result *r = &what->trace->result;
	struct rqs_chart_side side = {.name = what->name, .result = r, .run = r};

	if (!r->all.requests)
		return;
	rqs_slices_segments(&r->all.slices, &r->grid, RQS_METRIC_COUNT, &side.segments);
	rqs_doc_add_charts(d, &side, 1);
	rqs_segments_free(&side.segments);
}

void rqs_report_add_facts(struct rqs_doc *d, const struct rqs_reported *what)
{
	const struct rqs_trace *t = what->trace;

	add_identity(d, t);
	add_attach(d, t);
	if (t->result.all.requests) {
		add_traffic(d, &t->result);
		add_metric_facts(d, &t->result.all);
	}
	add_process_alloc(d, &t->result);
	add_usage(d, &t->result);
	add_runtime_stats(d, &t->result);
	add_completeness(d, &t->result.completeness);
}

void rqs_report_add_call_sites(struct rqs_doc *d, const struct rqs_reported *what)
{
	const struct rqs_routes *routes = what->traces->routes;

	if (!what->sites)
		return;
	rqs_doc_add_sites(d, &what->trace->result, routes, what->sites);
	rqs_doc_add_flames(d, &what->trace->result, routes, what->traces->count);
}

static void add_trace(struct rqs_doc *d, const struct rqs_traces *traces, const struct rqs_trace *t, unsigned sites)
{
	char *name = rqs_trace_name(t);
	const struct rqs_reported what = {.traces = traces, .trace = t, .name = name, .sites = sites};

	rqs_doc_heading(d, "%s", name);
	rqs_doc_add_warnings(d, &t->result, NULL);
#define ADD_PART(part) rqs_report_add_##part(d, &what);
	RQS_REPORT_PARTS(ADD_PART)
#undef ADD_PART
	free(name);
}

struct rqs_doc *rqs_report_doc(const struct rqs_traces *traces, unsigned sites)
{
	struct rqs_doc *d = rqs_doc_new("reqscope report");

	for (unsigned i = 0; i < traces->count; i++)
		if (!traces->trace[i].fatal)
			add_trace(d, traces, &traces->trace[i], sites);
	return d;
}
