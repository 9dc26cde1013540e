/*
 * otlp.c - OTLP as JSON lines: an ExportMetricsServiceRequest a line, of one
 * trace and one metric (open-telemetry/opentelemetry-proto,
 * metrics/v1/metrics.proto; JSON as its docs/specification.md maps it).
 *
 * Distributions are exponential histograms of scale 8, which are the very
 * buckets of the report: bucket k there has index k - 1 here. The duration of
 * requests is in seconds, as OpenTelemetry wants it; others are in ns.
 */
#include "export/telemetry.h"
#include "base/alloc.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#define SCALE "8"
#define CUMULATIVE "2"

struct otlp {
	const struct rqs_export *what;
	struct rqs_outcomes *outcomes;
	FILE *out;
	/* The line being written. */
	const struct rqs_trace *trace;
	unsigned points;
	uint64_t first, last; /* ns since the epoch */
};

static void *start_otlp(const struct rqs_export *what)
{
	struct otlp *o = rqs_zalloc(1, sizeof(*o));

	o->what = what;
	o->out = what->out;
	o->outcomes = rqs_outcomes_new(what);
	return o;
}

static void take_otlp(void *state, const struct rqs_chosen *chosen)
{
	rqs_outcomes_take(((struct otlp *)state)->outcomes, chosen);
}

/* ---- JSON ---- */

static void put_text_attribute(FILE *out, const char *separator, const char *key, const char *text)
{
	fprintf(out, "%s{\"key\":\"%s\",\"value\":{\"stringValue\":", separator, key);
	rqs_put_json_string(out, text);
	fputs("}}", out);
}

static void put_int_attribute(FILE *out, const char *separator, const char *key, int64_t value)
{
	fprintf(out, "%s{\"key\":\"%s\",\"value\":{\"intValue\":\"%" PRId64 "\"}}", separator, key, value);
}

/* ---- a line ---- */

static void put_resource(const struct otlp *o)
{
	const struct rqs_process *process = rqs_trace_main_process(o->trace);
	const cJSON *host = cJSON_GetObjectItemCaseSensitive(o->trace->run, "host");
	const char *kernel = rqs_json_string(host, "kernel"), *cpu = rqs_json_string(host, "cpu");

	fputs("\"resource\":{\"attributes\":[", o->out);
	put_text_attribute(o->out, "", "service.name", rqs_telemetry_service(o->trace));
	put_text_attribute(o->out, ",", "reqscope.trace", o->trace->file);
	put_text_attribute(o->out, ",", "os.type", "linux");
	if (rqs_trace_host(o->trace))
		put_text_attribute(o->out, ",", "host.name", rqs_trace_host(o->trace));
	if (kernel)
		put_text_attribute(o->out, ",", "os.version", kernel);
	if (cpu)
		put_text_attribute(o->out, ",", "host.cpu.model.name", cpu);
	if (process)
		put_int_attribute(o->out, ",", "process.pid", process->pid);
	if (process && process->runtime)
		put_text_attribute(o->out, ",", "process.runtime.name", process->runtime);
	if (process && process->runtime_version)
		put_text_attribute(o->out, ",", "process.runtime.version", process->runtime_version);
	fputs("]}", o->out);
}

/* `data`: the metric's data up to its points. */
static void begin_line(struct otlp *o, const char *name, const char *unit, const char *help, const char *data)
{
	o->points = 0;
	fputs("{\"resourceMetrics\":[{", o->out);
	put_resource(o);
	fputs(",\"scopeMetrics\":[{\"scope\":{\"name\":\"reqscope\",\"version\":\"" RQS_VERSION "\"},\"metrics\":[",
	      o->out);
	fprintf(o->out, "{\"name\":\"%s\",\"unit\":\"%s\",\"description\":\"%s\",%s\"dataPoints\":[", name, unit, help,
		data);
}

static void end_line(struct otlp *o)
{
	fputs("]}}]}]}]}\n", o->out);
}

#define HISTOGRAM "\"exponentialHistogram\":{\"aggregationTemporality\":" CUMULATIVE ","
#define SUM "\"sum\":{\"isMonotonic\":true,\"aggregationTemporality\":" CUMULATIVE ","
#define GAUGE "\"gauge\":{"

/* The point's times and its list of attributes, open. */
static void begin_point(struct otlp *o)
{
	fprintf(o->out, "%s{\"startTimeUnixNano\":\"%" PRIu64 "\",\"timeUnixNano\":\"%" PRIu64 "\",\"attributes\":[",
		o->points++ ? "," : "", o->first, o->last);
}

static void put_route(const struct otlp *o, unsigned row)
{
	const struct rqs_traces *traces = o->what->traces;

	put_text_attribute(o->out, "", "http.request.method", rqs_telemetry_method(traces, row));
	put_text_attribute(o->out, ",", "http.route", rqs_routes_get(traces->routes, row).path);
}

static void put_outcome(const struct otlp *o, const struct rqs_outcome *one)
{
	char text[8];
	const char *error = rqs_telemetry_error(one, text);

	put_route(o, one->row);
	if (one->status)
		put_int_attribute(o->out, ",", "http.response.status_code", one->status);
	if (error)
		put_text_attribute(o->out, ",", "error.type", error);
}

/* Bucket k has index k - 1 - shift; all from the first to the last that isn't empty. */
static void put_buckets(const struct otlp *o, const struct rqs_histogram *h, int shift)
{
	unsigned first = RQS_BUCKET_LIMIT, last = 0;

	for (unsigned k = 0; k < RQS_BUCKET_LIMIT; k++) {
		if (!rqs_histogram_at(h, k))
			continue;
		first = k < first ? k : first;
		last = k;
	}
	fprintf(o->out, ",\"scale\":" SCALE ",\"zeroCount\":\"%" PRIu64 "\"", h->zeros);
	if (first > last)
		return;
	fprintf(o->out, ",\"positive\":{\"offset\":%d,\"bucketCounts\":[", (int)first - 1 - shift);
	for (unsigned k = first; k <= last; k++)
		fprintf(o->out, "%s\"%" PRIu64 "\"", k > first ? "," : "", rqs_histogram_at(h, k));
	fputs("]}", o->out);
}

/* ---- metrics ---- */

static void put_duration(struct otlp *o, const struct rqs_outcome *one)
{
	begin_point(o);
	put_outcome(o, one);
	fprintf(o->out, "],\"count\":\"%" PRIu64 "\",\"sum\":", one->timed);
	rqs_put_seconds(o->out, one->sum);
	fputs(",\"min\":", o->out);
	rqs_put_seconds(o->out, one->min);
	fputs(",\"max\":", o->out);
	rqs_put_seconds(o->out, one->max);
	put_buckets(o, one->histogram, RQS_SECOND_BITS * RQS_BUCKETS_PER_OCTAVE);
	putc('}', o->out);
}

static void put_outcomes(struct otlp *o, unsigned trace)
{
	unsigned count = rqs_outcomes_count(o->outcomes);

	begin_line(o, "http.server.request.duration", "s", "From a request's arrival to the last byte of its response",
		   HISTOGRAM);
	for (unsigned i = 0; i < count; i++)
		if (rqs_outcomes_get(o->outcomes, i)->trace == trace && rqs_outcomes_get(o->outcomes, i)->timed)
			put_duration(o, rqs_outcomes_get(o->outcomes, i));
	end_line(o);
	begin_line(o, "reqscope.requests", "{request}", "Requests, also those without a duration", SUM);
	for (unsigned i = 0; i < count; i++) {
		const struct rqs_outcome *one = rqs_outcomes_get(o->outcomes, i);

		if (one->trace != trace)
			continue;
		begin_point(o);
		put_outcome(o, one);
		fprintf(o->out, "],\"asInt\":\"%" PRIu64 "\"}", one->requests);
	}
	end_line(o);
}

/* Exact values in their buckets. */
static struct rqs_histogram *spread(const struct rqs_tally *tally)
{
	struct rqs_histogram *h = rqs_zalloc(1, sizeof(*h));

	for (uint32_t i = 0; i <= tally->mask; i++)
		if (tally->slot[i].count)
			rqs_histogram_add(h, tally->slot[i].value, tally->slot[i].count);
	return h;
}

static void put_distribution(struct otlp *o, unsigned row, const struct rqs_dist *d)
{
	struct rqs_histogram *exact = d->tally ? spread(d->tally) : NULL;

	begin_point(o);
	put_route(o, row);
	fprintf(o->out, "],\"count\":\"%" PRIu64 "\",\"sum\":", d->count);
	rqs_put_sum(o->out, d->sum, RQS_UNIT_COUNT); /* in ns, too: as an integer */
	fprintf(o->out, ",\"min\":%" PRIu64 ",\"max\":%" PRIu64, d->min, d->max);
	put_buckets(o, exact ? exact : d->histogram, 0);
	putc('}', o->out);
	rqs_histogram_free(exact);
}

static void put_metric(struct otlp *o, unsigned metric)
{
	static const char *const units[] = {[RQS_UNIT_TIME] = "ns", [RQS_UNIT_BYTES] = "By", [RQS_UNIT_COUNT] = "1"};
	const struct rqs_result *r = &o->trace->result;
	char *name = rqs_format("reqscope.request.%s", rqs_metrics[metric].name);

	begin_line(o, name, units[rqs_metrics[metric].unit], "Of a request; reqscope-report(1) tells what", HISTOGRAM);
	for (unsigned row = 0; row < r->cells; row++)
		if (r->cell[row] && r->cell[row]->metric[metric].count && rqs_export_has_route(o->what, row))
			put_distribution(o, row, &r->cell[row]->metric[metric]);
	end_line(o);
	free(name);
}

static void put_figures(struct otlp *o)
{
	struct rqs_figure figure[RQS_FIGURES_MAX];
	unsigned count = rqs_telemetry_figures(&o->trace->result, figure);

	for (unsigned i = 0; i < count; i++) {
		const struct rqs_figure *f = &figure[i];

		if (!i || strcmp(f->name, f[-1].name))
			begin_line(o, f->name, f->unit, f->help, f->counter ? SUM : GAUGE);
		begin_point(o);
		if (f->key)
			put_text_attribute(o->out, "", f->key, f->value);
		fprintf(o->out, "],\"asDouble\":%.17g}", f->number);
		if (i + 1 == count || strcmp(f->name, f[1].name))
			end_line(o);
	}
}

/* Without requests there is no time that figures could be of. */
static void put_trace(struct otlp *o, unsigned trace)
{
	const struct rqs_result *r = &o->what->traces->trace[trace].result;

	o->trace = &o->what->traces->trace[trace];
	if (!rqs_outcomes_span(o->outcomes, trace, &o->first, &o->last))
		return;
	put_outcomes(o, trace);
	for (unsigned metric = RQS_METRIC_LATENCY + 1; metric < RQS_METRIC_COUNT; metric++)
		if (r->all.metric[metric].count)
			put_metric(o, metric);
	put_figures(o);
}

static void finish_otlp(void *state)
{
	struct otlp *o = state;

	for (unsigned t = 0; t < o->what->traces->count; t++)
		if (!o->what->traces->trace[t].fatal)
			put_trace(o, t);
}

static void free_otlp(void *state)
{
	struct otlp *o = state;

	rqs_outcomes_free(o->outcomes);
	free(o);
}

const struct rqs_exporter rqs_exporter_otlp = {
    .name = "otlp",
    .start = start_otlp,
    .take = take_otlp,
    .finish = finish_otlp,
    .free = free_otlp,
};
