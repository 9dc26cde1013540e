/*
 * openmetrics.c - OpenMetrics 1.0 (prometheus/OpenMetrics, specification): the
 * duration of requests as a classic histogram under OpenTelemetry's name, all
 * other metrics as summaries by route, figures of the process as gauges and
 * counters. Each line has the trace's file as a label.
 */
#include "export/telemetry.h"
#include "base/alloc.h"
#include "render/escape.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

struct open_metrics {
	const struct rqs_export *what;
	struct rqs_outcomes *outcomes;
};

static void *start_openmetrics(const struct rqs_export *what)
{
	struct open_metrics *m = rqs_zalloc(1, sizeof(*m));

	m->what = what;
	m->outcomes = rqs_outcomes_new(what);
	return m;
}

static void take_openmetrics(void *state, const struct rqs_chosen *chosen)
{
	rqs_outcomes_take(((struct open_metrics *)state)->outcomes, chosen);
}

/* ---- labels ---- */

static void put_label(FILE *out, const char *separator, const char *name, const char *text)
{
	char *valid = rqs_valid_utf8(text);

	fprintf(out, "%s%s=\"", separator, name);
	for (const char *p = valid; *p; p++) {
		if (*p == '\n') {
			fputs("\\n", out);
			continue;
		}
		if (*p == '"' || *p == '\\')
			putc('\\', out);
		putc(*p, out);
	}
	putc('"', out);
	free(valid);
}

static void put_route_labels(const struct open_metrics *m, const struct rqs_trace *trace, unsigned row)
{
	const struct rqs_traces *traces = m->what->traces;

	put_label(m->what->out, "{", "trace", trace->file);
	put_label(m->what->out, ",", "http_request_method", rqs_telemetry_method(traces, row));
	put_label(m->what->out, ",", "http_route", rqs_routes_get(traces->routes, row).path);
}

/* All but the closing brace. */
static void put_outcome_labels(const struct open_metrics *m, const struct rqs_outcome *one)
{
	char text[8], status[8];
	const char *error = rqs_telemetry_error(one, text);

	put_route_labels(m, &m->what->traces->trace[one->trace], one->row);
	snprintf(status, sizeof(status), "%u", one->status % 1000);
	if (one->status)
		put_label(m->what->out, ",", "http_response_status_code", status);
	if (error)
		put_label(m->what->out, ",", "error_type", error);
}

static void put_family(FILE *out, const char *name, const char *type, const char *unit, const char *help)
{
	fprintf(out, "# TYPE %s %s\n", name, type);
	if (*unit)
		fprintf(out, "# UNIT %s %s\n", name, unit);
	fprintf(out, "# HELP %s %s.\n", name, help);
}

/* ---- the duration of requests ---- */

#define DURATION "http_server_request_duration_seconds"

static void put_buckets(const struct open_metrics *m, const struct rqs_outcome *one)
{
	static const char *const bounds[] = {
#define TEXT(text) #text,
	    RQS_LATENCY_BOUNDS(TEXT)
#undef TEXT
		"+Inf",
	};
	uint64_t sum = 0;

	for (unsigned b = 0; b <= RQS_LATENCY_BOUND_COUNT; b++) {
		sum += one->at_most[b];
		fputs(DURATION "_bucket", m->what->out);
		put_outcome_labels(m, one);
		fprintf(m->what->out, ",le=\"%s\"} %" PRIu64 "\n", bounds[b], sum);
	}
}

static void put_duration(const struct open_metrics *m, const struct rqs_outcome *one)
{
	FILE *out = m->what->out;

	if (!one->timed)
		return;
	put_buckets(m, one);
	fputs(DURATION "_count", out);
	put_outcome_labels(m, one);
	fprintf(out, "} %" PRIu64 "\n" DURATION "_sum", one->timed);
	put_outcome_labels(m, one);
	fputs("} ", out);
	rqs_put_seconds(out, one->sum);
	putc('\n', out);
}

static void put_outcomes(const struct open_metrics *m)
{
	FILE *out = m->what->out;
	unsigned count = rqs_outcomes_count(m->outcomes);

	put_family(out, DURATION, "histogram", "seconds",
		   "From the arrival of a request to the last byte of its response");
	for (unsigned i = 0; i < count; i++)
		put_duration(m, rqs_outcomes_get(m->outcomes, i));
	put_family(out, "reqscope_requests", "counter", "", "Requests, also those without a duration");
	for (unsigned i = 0; i < count; i++) {
		const struct rqs_outcome *one = rqs_outcomes_get(m->outcomes, i);

		fputs("reqscope_requests_total", out);
		put_outcome_labels(m, one);
		fprintf(out, "} %" PRIu64 "\n", one->requests);
	}
}

/* ---- the other metrics of requests ---- */

/* queue: reqscope_request_queue_seconds; alloc_count: reqscope_request_allocs, because _count has a meaning. */
static char *metric_name(const struct rqs_metric_info *metric)
{
	size_t length = strlen(metric->name), suffix = strlen("_count");

	if (metric->unit == RQS_UNIT_TIME)
		return rqs_format("reqscope_request_%s_seconds", metric->name);
	if (length > suffix && !strcmp(metric->name + length - suffix, "_count"))
		return rqs_format("reqscope_request_%.*ss", (int)(length - suffix), metric->name);
	return rqs_format("reqscope_request_%s", metric->name);
}

static void put_quantiles(const struct open_metrics *m, const struct rqs_trace *t, unsigned row, const char *name,
			  const struct rqs_dist *d, double scale)
{
	static const struct {
		uint32_t q;
		const char *label;
	} quantiles[] = {{50000, "0.5"}, {90000, "0.9"}, {99000, "0.99"}, {99900, "0.999"}};

	for (unsigned i = 0; i < sizeof(quantiles) / sizeof(quantiles[0]); i++) {
		fputs(name, m->what->out);
		put_route_labels(m, t, row);
		fprintf(m->what->out, ",quantile=\"%s\"} %.9g\n", quantiles[i].label,
			rqs_dist_quantile(d, quantiles[i].q) * scale);
	}
}

static void put_summary(const struct open_metrics *m, const struct rqs_trace *t, unsigned row, unsigned metric,
			const char *name)
{
	const struct rqs_dist *d = &t->result.cell[row]->metric[metric];
	enum rqs_unit unit = rqs_metrics[metric].unit;
	FILE *out = m->what->out;

	if (!d->count)
		return;
	put_quantiles(m, t, row, name, d, unit == RQS_UNIT_TIME ? 1e-9 : 1);
	fprintf(out, "%s_count", name);
	put_route_labels(m, t, row);
	fprintf(out, "} %" PRIu64 "\n%s_sum", d->count, name);
	put_route_labels(m, t, row);
	fputs("} ", out);
	rqs_put_sum(out, d->sum, unit);
	putc('\n', out);
}

static bool measured(const struct rqs_traces *traces, unsigned metric)
{
	for (unsigned t = 0; t < traces->count; t++)
		if (traces->trace[t].result.all.metric[metric].count)
			return true;
	return false;
}

static void put_metric(const struct open_metrics *m, unsigned metric)
{
	static const char *const units[] = {
	    [RQS_UNIT_TIME] = "seconds", [RQS_UNIT_BYTES] = "bytes", [RQS_UNIT_COUNT] = ""};
	const struct rqs_traces *traces = m->what->traces;
	char *name = metric_name(&rqs_metrics[metric]);

	put_family(m->what->out, name, "summary", units[rqs_metrics[metric].unit],
		   "Of a request; reqscope-report(1) tells what");
	for (unsigned t = 0; t < traces->count; t++)
		for (unsigned row = 0; row < traces->trace[t].result.cells; row++)
			if (traces->trace[t].result.cell[row] && rqs_export_has_route(m->what, row))
				put_summary(m, &traces->trace[t], row, metric, name);
	free(name);
}

/* ---- figures of the processes ---- */

struct all_figures {
	unsigned *count; /* by trace */
	struct rqs_figure (*figure)[RQS_FIGURES_MAX];
};

/* process.cpu.time in s: process_cpu_time_seconds. */
static char *figure_name(const struct rqs_figure *f)
{
	const char *unit = !strcmp(f->unit, "s") ? "_seconds" : !strcmp(f->unit, "By") ? "_bytes" : "";
	char *name = rqs_format("%s%s", f->name, unit);

	for (char *p = name; *p; p++)
		if (*p == '.')
			*p = '_';
	return name;
}

static void put_figure(const struct open_metrics *m, unsigned trace, const char *name, const struct rqs_figure *f)
{
	FILE *out = m->what->out;
	char *key = rqs_format("%s", f->key ? f->key : "");

	for (char *p = key; *p; p++)
		if (*p == '.')
			*p = '_';
	fprintf(out, "%s%s", name, f->counter ? "_total" : "");
	put_label(out, "{", "trace", m->what->traces->trace[trace].file);
	if (f->key)
		put_label(out, ",", key, f->value);
	fprintf(out, "} %.17g\n", f->number);
	free(key);
}

/* All traces' figures of this name; they are struck off by name = NULL. */
static void put_figures_like(const struct open_metrics *m, struct all_figures *all, const struct rqs_figure *first)
{
	struct rqs_figure head = *first;
	char *name = figure_name(&head);

	put_family(m->what->out, name, head.counter ? "counter" : "gauge",
		   !strcmp(head.unit, "s")    ? "seconds"
		   : !strcmp(head.unit, "By") ? "bytes"
					      : "",
		   head.help);
	for (unsigned t = 0; t < m->what->traces->count; t++) {
		for (unsigned i = 0; i < all->count[t]; i++) {
			struct rqs_figure *f = &all->figure[t][i];

			if (!f->name || strcmp(f->name, head.name))
				continue;
			put_figure(m, t, name, f);
			f->name = NULL;
		}
	}
	free(name);
}

static void put_figures(const struct open_metrics *m)
{
	unsigned traces = m->what->traces->count;
	struct all_figures all = {rqs_zalloc(traces, sizeof(*all.count)), rqs_zalloc(traces, sizeof(*all.figure))};

	for (unsigned t = 0; t < traces; t++)
		if (!m->what->traces->trace[t].fatal)
			all.count[t] = rqs_telemetry_figures(&m->what->traces->trace[t].result, all.figure[t]);
	for (unsigned t = 0; t < traces; t++)
		for (unsigned i = 0; i < all.count[t]; i++)
			if (all.figure[t][i].name)
				put_figures_like(m, &all, &all.figure[t][i]);
	free(all.count);
	free(all.figure);
}

static void put_traces(const struct open_metrics *m)
{
	FILE *out = m->what->out;

	put_family(out, "reqscope_trace", "info", "", "The traces");
	for (unsigned t = 0; t < m->what->traces->count; t++) {
		const struct rqs_trace *trace = &m->what->traces->trace[t];
		const char *label = rqs_trace_label(trace);

		if (trace->fatal)
			continue;
		fputs("reqscope_trace_info", out);
		put_label(out, "{", "trace", trace->file);
		if (label)
			put_label(out, ",", "label", label);
		put_label(out, ",", "truncated", trace->result.truncated ? "true" : "false");
		fputs("} 1\n", out);
	}
}

static void finish_openmetrics(void *state)
{
	const struct open_metrics *m = state;

	put_traces(m);
	put_outcomes(m);
	for (unsigned metric = RQS_METRIC_LATENCY + 1; metric < RQS_METRIC_COUNT; metric++)
		if (measured(m->what->traces, metric))
			put_metric(m, metric);
	put_figures(m);
	fputs("# EOF\n", m->what->out);
}

static void free_openmetrics(void *state)
{
	struct open_metrics *m = state;

	rqs_outcomes_free(m->outcomes);
	free(m);
}

const struct rqs_exporter rqs_exporter_openmetrics = {
    .name = "openmetrics",
    .start = start_openmetrics,
    .take = take_openmetrics,
    .finish = finish_openmetrics,
    .free = free_openmetrics,
};
