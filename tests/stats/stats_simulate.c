/*
 * stats_simulate.c - how often the statistics are right, on a server whose truth is known.
 *
 * A queue with one server, Poisson arrivals at 1,000/s and utilisation 0.7 (M/G/1); 0.2 % of the requests take 20 ms,
 * the others an exponential time. A latency is the wait in the queue and the service.
 *
 *   stats_simulate coverage RUNS SECONDS 0   intervals of single runs that hold the truth: all the runs' own figure
 *   stats_simulate single PAIRS SECONDS F    pairs of runs that are told apart; the new one's latency has F p50 more
 *   stats_simulate several PAIRS SECONDS F   the same of 5 runs a side, which besides differ by 2 % in speed
 *
 * Prints one JSON object.
 */
#include "stats/adjust.h"
#include "stats/bootstrap.h"
#include "stats/permutation.h"
#include "stats/random.h"
#include "stats/shift.h"
#include "stats/welch.h"
#include "base/alloc.h"

#include <math.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define RATE 1e3 /* a second; times below are seconds */
#define UTILISATION 0.7
#define SLOW_SHARE 0.002
#define SLOW 0.020
#define TYPICAL 0.001624 /* p50, as simulated */
#define RUNS 5

static const struct rqs_statistic statistic[] = {
    {RQS_STATISTIC_QUANTILE, 50000}, {RQS_STATISTIC_QUANTILE, 90000}, {RQS_STATISTIC_QUANTILE, 99000},
    {RQS_STATISTIC_QUANTILE, 99900}, {RQS_STATISTIC_MEAN, 0},         {RQS_STATISTIC_RATE, 0},
};
static const char *const name[] = {"p50", "p90", "p99", "p999", "mean", "rate"};
enum { STATISTICS = sizeof(statistic) / sizeof(*statistic), P50 = 0, P99 = 2, MEAN = 4 };

static struct rqs_random generator;

static double uniform(void)
{
	return ((double)(rqs_random_next(&generator) >> 11) + 0.5) / 9007199254740992.0;
}

static double exponential(double mean)
{
	return -mean * log(uniform());
}

static double normal(void)
{
	return sqrt(-2 * log(uniform())) * cos(2 * M_PI * uniform());
}

static double service(void)
{
	if (uniform() < SLOW_SHARE)
		return SLOW;
	return exponential((UTILISATION / RATE - SLOW_SHARE * SLOW) / (1 - SLOW_SHARE));
}

/* A run: its segments, and all of its latencies. */
struct run {
	struct rqs_segments segments;
	struct rqs_histogram *all;
};

struct recording {
	struct rqs_histogram *histogram;
	uint64_t min, max;
};

static void start_segment(struct recording *r)
{
	*r = (struct recording){.histogram = rqs_zalloc(1, sizeof(*r->histogram)), .min = UINT64_MAX};
}

static void finish_segment(struct run *run, unsigned at, struct recording *r)
{
	rqs_segment_pack(&run->segments.segment[at], r->histogram, r->min, r->max);
	rqs_histogram_merge(run->all, r->histogram);
	rqs_histogram_free(r->histogram);
}

static void record(struct rqs_segment *s, struct recording *r, double latency)
{
	uint64_t ns = (uint64_t)(latency * 1e9);

	rqs_histogram_add(r->histogram, ns, 1);
	r->min = ns < r->min ? ns : r->min;
	r->max = ns > r->max ? ns : r->max;
	s->requests++;
	s->sum[0].sum += (double)ns;
	s->sum[0].count++;
}

/* A run, after ten seconds that aren't recorded. Latencies are those of the queue times `slower`, and `more`. */
static void simulate(struct run *run, double seconds, double slower, double more)
{
	unsigned count = rqs_segments_of(seconds), at = 0;
	double now = -10, wait = 0, length = seconds / count;
	struct recording recording;

	rqs_segments_init(&run->segments, count, 1);
	run->all = rqs_zalloc(1, sizeof(*run->all));
	start_segment(&recording);
	while (at < count) {
		double gap = exponential(1 / RATE), own = service();

		now += gap;
		wait = fmax(0, wait - gap);
		while (at < count && now >= length * (at + 1)) {
			finish_segment(run, at, &recording);
			start_segment(&recording);
			run->segments.segment[at++].seconds = length;
		}
		if (now >= 0 && at < count)
			record(&run->segments.segment[at], &recording, (wait + own) * slower + more);
		wait += own;
	}
	rqs_histogram_free(recording.histogram);
}

static void run_free(struct run *run)
{
	rqs_segments_free(&run->segments);
	rqs_histogram_free(run->all);
}

/* ---- coverage ---- */

struct tally {
	unsigned intervals, hold;
	double width;
};

static void count_interval(struct tally *t, const struct rqs_estimate *e, double truth)
{
	if (e->why != RQS_INTERVAL)
		return;
	t->intervals++;
	t->hold += e->low <= truth && truth <= e->high;
	t->width += (e->high - e->low) / truth;
}

static void coverage(unsigned runs, double seconds)
{
	struct run *run = rqs_zalloc(runs, sizeof(*run));
	const struct rqs_segments **each = rqs_zalloc(runs, sizeof(*each));
	struct rqs_segments all;
	struct rqs_estimate truth[STATISTICS] = {0};
	struct tally tally[STATISTICS] = {0};

	for (unsigned i = 0; i < runs; i++) {
		simulate(&run[i], seconds, 1, 0);
		each[i] = &run[i].segments;
	}
	rqs_segments_pool(&all, each, runs);
	rqs_bootstrap(&all, statistic, STATISTICS, 0, truth);
	for (unsigned i = 0; i < runs; i++) {
		struct rqs_estimate e[STATISTICS] = {0};

		rqs_bootstrap(&run[i].segments, statistic, STATISTICS, 1, e);
		for (unsigned k = 0; k < STATISTICS; k++)
			count_interval(&tally[k], &e[k], truth[k].estimate);
		run_free(&run[i]);
	}
	for (unsigned k = 0; k < STATISTICS; k++)
		printf("%s\"%s\": {\"truth\": %.6g, \"intervals\": %u, \"hold\": %u, \"width\": %.3g}", k ? ", " : "{",
		       name[k], truth[k].estimate, tally[k].intervals, tally[k].hold,
		       tally[k].intervals ? tally[k].width / tally[k].intervals : 0);
	printf("}\n");
	rqs_segments_free(&all);
	free(each);
	free(run);
}

/* ---- alarms ---- */

static const unsigned gated[] = {P50, P99, MEAN};
enum { GATED = sizeof(gated) / sizeof(*gated) };

struct alarms {
	unsigned compared[GATED], told_apart[GATED]; /* as one metric alone: its interval excludes 1 */
	unsigned significant[GATED], any;            /* and its p, adjusted for the three, is at most 5 % */
	unsigned shifted;                            /* the shift function's band excludes 1 somewhere */
};

static void count_alarms(struct alarms *a, const double *low, const double *high, double *p)
{
	bool any = false;

	rqs_adjust_holm(p, GATED);
	for (unsigned k = 0; k < GATED; k++) {
		bool apart = !isnan(p[k]) && (low[k] > 1 || high[k] < 1), significant = apart && p[k] <= 0.05;

		a->compared[k] += !isnan(p[k]);
		a->told_apart[k] += apart;
		a->significant[k] += significant;
		any |= significant;
	}
	a->any += any;
}

static bool is_shifted(const struct rqs_segments *base, const struct rqs_segments *new)
{
	struct rqs_shift shift;
	bool shifted = false;

	rqs_shift(base, new, &shift);
	for (unsigned i = 0; i < RQS_SHIFT_POINTS; i++)
		if (shift.point[i].why == RQS_INTERVAL)
			shifted |= shift.point[i].low > 1 || shift.point[i].high < 1;
	return shifted;
}

static void estimate_with(struct rqs_estimate *e, const struct run *run, unsigned stream)
{
	for (unsigned k = 0; k < STATISTICS; k++)
		e[k].replicate = rqs_zalloc(RQS_RESAMPLES, sizeof(double));
	rqs_bootstrap(&run->segments, statistic, STATISTICS, stream, e);
}

static void compare_single(struct alarms *a, double seconds, double more)
{
	struct run base, new;
	struct rqs_estimate of_base[STATISTICS] = {0}, of_new[STATISTICS] = {0};
	double low[GATED], high[GATED], p[GATED];

	simulate(&base, seconds, 1, 0);
	simulate(&new, seconds, 1, more);
	estimate_with(of_base, &base, 1);
	estimate_with(of_new, &new, 2);
	for (unsigned k = 0; k < GATED; k++) {
		struct rqs_contrast c;

		rqs_bootstrap_ratio(&of_base[gated[k]], &of_new[gated[k]], &c);
		low[k] = c.low;
		high[k] = c.high;
		p[k] = c.why == RQS_INTERVAL ? c.p : NAN;
	}
	count_alarms(a, low, high, p);
	a->shifted += is_shifted(&base.segments, &new.segments);
	for (unsigned k = 0; k < STATISTICS; k++) {
		free(of_base[k].replicate);
		free(of_new[k].replicate);
	}
	run_free(&base);
	run_free(&new);
}

static double log_quantile(const struct run *run, uint32_t q)
{
	uint64_t n = 0;

	for (unsigned i = 0; i < run->segments.count; i++)
		n += run->segments.segment[i].requests;
	return log(rqs_histogram_rank(run->all, (n * q + 99999) / 100000));
}

static double log_mean(const struct run *run)
{
	double sum = 0, n = 0;

	for (unsigned i = 0; i < run->segments.count; i++) {
		sum += run->segments.segment[i].sum[0].sum;
		n += (double)run->segments.segment[i].sum[0].count;
	}
	return log(sum / n);
}

static void several_runs(double value[GATED][RUNS], double seconds, double more)
{
	for (unsigned i = 0; i < RUNS; i++) {
		struct run run;

		simulate(&run, seconds, exp(0.02 * normal()), more);
		for (unsigned k = 0; k < GATED; k++)
			value[k][i] = gated[k] == MEAN ? log_mean(&run) : log_quantile(&run, statistic[gated[k]].which);
		run_free(&run);
	}
}

static void compare_several(struct alarms *a, double seconds, double more)
{
	double base[GATED][RUNS], new[GATED][RUNS], low[GATED], high[GATED], p[GATED];

	several_runs(base, seconds, 0);
	several_runs(new, seconds, more);
	for (unsigned k = 0; k < GATED; k++) {
		struct rqs_welch w = rqs_welch(base[k], RUNS, new[k], RUNS, gated[k] == MEAN ? 0 : M_LN2 / 256);

		low[k] = exp(w.low);
		high[k] = exp(w.high);
		p[k] = rqs_permutation_p(base[k], RUNS, new[k], RUNS);
	}
	count_alarms(a, low, high, p);
}

static void print_alarms(const struct alarms *a)
{
	printf("{\"any\": %u, \"shifted\": %u", a->any, a->shifted);
	for (unsigned k = 0; k < GATED; k++)
		printf(", \"%s\": {\"compared\": %u, \"told_apart\": %u, \"significant\": %u}", name[gated[k]],
		       a->compared[k], a->told_apart[k], a->significant[k]);
	printf("}\n");
}

static void compare(void (*one)(struct alarms *, double, double), unsigned pairs, double seconds, double more)
{
	struct alarms alarms = {0};

	for (unsigned i = 0; i < pairs; i++)
		one(&alarms, seconds, more);
	print_alarms(&alarms);
}

int main(int argc, char **argv)
{
	if (argc != 5)
		return 2;
	unsigned count = (unsigned)atoi(argv[2]);
	double seconds = atof(argv[3]), more = atof(argv[4]) * TYPICAL;

	rqs_random_seed(&generator, 1);
	if (!strcmp(argv[1], "coverage"))
		coverage(count, seconds);
	else if (!strcmp(argv[1], "single"))
		compare(compare_single, count, seconds, more);
	else if (!strcmp(argv[1], "several"))
		compare(compare_several, count, seconds, more);
	else
		return 2;
}
