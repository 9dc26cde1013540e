/*
 * telemetry.h - what OpenMetrics and OTLP have in common: names and values of
 * OpenTelemetry's attributes, figures of a whole trace, and exact decimals.
 *
 * Names are those of open-telemetry/semantic-conventions, docs/http/http-metrics.md
 * and docs/system/process-metrics.md, where there are any.
 */
#ifndef REQSCOPE_TELEMETRY_H
#define REQSCOPE_TELEMETRY_H

#include "export/outcomes.h"

/* service.name: the label, else the program's name. */
const char *rqs_telemetry_service(const struct rqs_trace *trace);
/* http.request.method: "_OTHER" also where several methods are united. */
const char *rqs_telemetry_method(const struct rqs_traces *traces, unsigned row);
/* error.type: "aborted", "500", ..., or NULL. The buffer is for the status. */
const char *rqs_telemetry_error(const struct rqs_outcome *one, char status[8]);
/* In quotes, valid UTF-8. */
void rqs_put_json_string(FILE *out, const char *text);
/* Of ns the seconds, without rounding: a decimal number with 9 digits behind the point. */
void rqs_put_seconds(FILE *out, unsigned __int128 ns);
/* The sum of a metric in its unit: seconds of times. */
void rqs_put_sum(FILE *out, unsigned __int128 sum, enum rqs_unit unit);

/* One figure of a whole trace, with at most one attribute. */
struct rqs_figure {
	const char *name; /* with dots */
	const char *unit; /* as UCUM writes it: s, By, 1 */
	const char *help;
	bool counter;            /* it only grows; else a gauge */
	const char *key, *value; /* an attribute, or NULL */
	double number;
};

#define RQS_FIGURES_MAX 32

/*
 * The figures that are known of one trace; figures of one name are next to
 * each other, and all traces have theirs in the same order. Returns their
 * number.
 */
unsigned rqs_telemetry_figures(const struct rqs_result *r, struct rqs_figure figure[RQS_FIGURES_MAX]);

#endif
