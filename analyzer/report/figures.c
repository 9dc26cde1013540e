/* figures.c - the figures' values and how they are told. */
#include "report/figures.h"
#include "base/alloc.h"
#include "render/units.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#define TAIL_FROM 90000 /* 1/100,000 */
#define SAME 0.005      /* what differs by less is called the same */
#define NOTABLE 0.05    /* what differs by less gets no colour: it may well be chance */

const struct rqs_figure_info rqs_figures[RQS_FIGURE_COUNT_OF] = {
#define FIGURE(symbol, name, title, unit, better, scope, greater, smaller)                                             \
	{#name, title, RQS_FIGURE_##unit, RQS_BETTER_##better, RQS_SCOPE_##scope, greater, smaller},
    RQS_FIGURES(FIGURE)
#undef FIGURE
};

/* X(figure, metric): means of a metric. */
#define MEANS(X)                                                                                                       \
	X(MEAN, LATENCY)                                                                                               \
	X(QUEUE, QUEUE)                                                                                                \
	X(CPU_TIME, CPU_TIME)                                                                                          \
	X(SCHED_WAIT, SCHED_WAIT)                                                                                      \
	X(CHILDREN_CPU_TIME, CHILDREN_CPU_TIME)                                                                        \
	X(GIL_WAIT, GIL_WAIT)                                                                                          \
	X(LOOP_DELAY, LOOP_DELAY)                                                                                      \
	X(ALLOC_BYTES, ALLOC_BYTES)                                                                                    \
	X(ALLOC_COUNT, ALLOC_COUNT)                                                                                    \
	X(RECV_BUFFER_BYTES, RECV_BUFFER_BYTES)                                                                        \
	X(REQUEST_BYTES, REQUEST_BYTES)                                                                                \
	X(RESPONSE_BYTES, RESPONSE_BYTES)

static double mean(const struct rqs_cell *c, enum rqs_metric m)
{
	double scale = rqs_metrics[m].unit == RQS_UNIT_TIME ? 1e-9 : 1;

	return c->metric[m].count ? (double)c->metric[m].sum / (double)c->metric[m].count * scale : NAN;
}

static double latency(const struct rqs_cell *c, uint32_t q)
{
	const struct rqs_dist *d = &c->metric[RQS_METRIC_LATENCY];

	return d->count ? rqs_dist_quantile(d, q) / 1e9 : NAN;
}

static double error_rate(const struct rqs_cell *c)
{
	return c->requests ? (double)c->errors / (double)c->requests : NAN;
}

/* A count as a rate, a time as a share, so that runs of different lengths compare. */
static double per_second(const struct rqs_result *r, const struct rqs_counted *counted)
{
	return counted->known && r->duration > 0 ? counted->value / r->duration : NAN;
}

double rqs_figure_value(enum rqs_figure figure, const struct rqs_result *r, const struct rqs_cell *c)
{
	const struct rqs_dist *d = &c->metric[RQS_METRIC_LATENCY];

	switch (figure) {
#define MEAN_CASE(symbol, metric)                                                                                      \
	case RQS_FIGURE_##symbol:                                                                                      \
		return mean(c, RQS_METRIC_##metric);
		MEANS(MEAN_CASE)
#undef MEAN_CASE
	case RQS_FIGURE_THROUGHPUT:
		return rqs_throughput(r, c);
	case RQS_FIGURE_P50:
		return latency(c, 50000);
	case RQS_FIGURE_P90:
		return latency(c, 90000);
	case RQS_FIGURE_P99:
		return latency(c, 99000);
	case RQS_FIGURE_P999:
		return latency(c, 99900);
	case RQS_FIGURE_MAX:
		return d->count ? (double)d->max / 1e9 : NAN;
	case RQS_FIGURE_ERROR_RATE:
		return error_rate(c);
	case RQS_FIGURE_CPU:
		return rqs_cpu_per_request(r);
	case RQS_FIGURE_RSS_MEAN:
		return r->rss.known ? r->rss.mean : NAN;
	case RQS_FIGURE_RSS_PEAK:
		return r->rss.known ? r->rss.peak : NAN;
	case RQS_FIGURE_HEAP_MEAN:
		return r->heap_in_use.known ? r->heap_in_use.mean : NAN;
	case RQS_FIGURE_HEAP_PEAK:
		return r->heap_in_use.known ? r->heap_in_use.peak : NAN;
	case RQS_FIGURE_GC_RATE:
		return per_second(r, &r->gc_cycles);
	case RQS_FIGURE_GC_PAUSE:
		return per_second(r, &r->gc_pause);
	case RQS_FIGURE_GOROUTINES_MEAN:
		return r->goroutines.known ? r->goroutines.mean : NAN;
	case RQS_FIGURE_GOROUTINES_PEAK:
		return r->goroutines.known ? r->goroutines.peak : NAN;
	case RQS_FIGURE_AFTER_RESPONSE:
		return rqs_alloc_per_request(r, &r->after_response);
	case RQS_FIGURE_UNATTRIBUTED:
		return rqs_alloc_per_request(r, &r->unattributed);
	case RQS_FIGURE_COUNT_OF:
		break;
	}
	return NAN;
}

bool rqs_figure_statistic(enum rqs_figure figure, struct rqs_statistic *statistic, double *scale)
{
	*scale = rqs_figures[figure].unit == RQS_FIGURE_SECONDS ? 1e-9 : 1;
	switch (figure) {
#define MEAN_CASE(symbol, metric)                                                                                      \
	case RQS_FIGURE_##symbol:                                                                                      \
		*statistic = (struct rqs_statistic){RQS_STATISTIC_MEAN, RQS_METRIC_##metric};                          \
		return true;
		MEANS(MEAN_CASE)
#undef MEAN_CASE
	case RQS_FIGURE_P50:
		*statistic = (struct rqs_statistic){RQS_STATISTIC_QUANTILE, 50000};
		return true;
	case RQS_FIGURE_P90:
		*statistic = (struct rqs_statistic){RQS_STATISTIC_QUANTILE, 90000};
		return true;
	case RQS_FIGURE_P99:
		*statistic = (struct rqs_statistic){RQS_STATISTIC_QUANTILE, 99000};
		return true;
	case RQS_FIGURE_P999:
		*statistic = (struct rqs_statistic){RQS_STATISTIC_QUANTILE, 99900};
		return true;
	case RQS_FIGURE_THROUGHPUT:
		*statistic = (struct rqs_statistic){.kind = RQS_STATISTIC_RATE};
		return true;
	case RQS_FIGURE_ERROR_RATE:
		*statistic = (struct rqs_statistic){.kind = RQS_STATISTIC_ERROR_SHARE};
		return true;
	default:
		return false;
	}
}

bool rqs_figure_is_tail(enum rqs_figure figure)
{
	struct rqs_statistic statistic;
	double scale;

	return rqs_figure_statistic(figure, &statistic, &scale) && statistic.kind == RQS_STATISTIC_QUANTILE &&
	       statistic.which >= TAIL_FROM;
}

bool rqs_figure_is_latency(enum rqs_figure figure)
{
	return figure >= RQS_FIGURE_MEAN && figure <= RQS_FIGURE_MAX;
}

bool rqs_figure_find(const char *name, size_t length, enum rqs_figure *figure)
{
	static const char *const prefix = "latency_", *const endings[] = {"", "_mean", "_per_request"};

	for (unsigned f = 0; f < RQS_FIGURE_COUNT_OF; f++) {
		const char *whole = rqs_figures[f].name;
		const char *brief = strncmp(whole, prefix, strlen(prefix)) ? whole : whole + strlen(prefix);

		for (unsigned e = 0; e < sizeof(endings) / sizeof(endings[0]); e++) {
			size_t room = strlen(brief), end = strlen(endings[e]);
			bool ends = room > end && !strcmp(brief + room - end, endings[e]);

			if ((strlen(whole) == length && !memcmp(whole, name, length)) ||
			    (ends && room - end == length && !memcmp(brief, name, length))) {
				*figure = f;
				return true;
			}
		}
	}
	return false;
}

char *rqs_figure_text(enum rqs_figure figure, double value)
{
	switch (rqs_figures[figure].unit) {
	case RQS_FIGURE_RATE:
		return rqs_human_rate(value);
	case RQS_FIGURE_SECONDS:
		return rqs_human_time(value);
	case RQS_FIGURE_BYTES:
		return rqs_human_bytes(value);
	case RQS_FIGURE_PART:
		return rqs_human_percent(value);
	case RQS_FIGURE_COUNT:
		break;
	}
	return rqs_human_count(value);
}

double rqs_figure_ratio(double base, double new)
{
	if (base == 0)
		return new == 0 ? 1 : NAN;
	return new / base;
}

char *rqs_figure_factor(enum rqs_figure figure, double base, double new)
{
	const struct rqs_figure_info *f = &rqs_figures[figure];
	double ratio = rqs_figure_ratio(base, new);

	if (isnan(ratio))
		return rqs_format("%s", "");
	if (fabs(ratio - 1) < SAME)
		return rqs_format("the same");
	if (ratio == 0)
		return rqs_format("none left");
	char *factor = rqs_human_factor(ratio > 1 ? ratio : 1 / ratio);
	char *text = rqs_format("%s %s", factor, ratio > 1 ? f->greater : f->smaller);
	free(factor);
	return text;
}

int rqs_figure_judge(enum rqs_figure figure, double base, double new)
{
	double ratio = rqs_figure_ratio(base, new);

	if (isnan(base) || isnan(new) || fabs(ratio - 1) < NOTABLE)
		return 0;
	return (new > base ? 1 : -1) * (int)rqs_figures[figure].better;
}
