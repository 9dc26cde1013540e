/* site_figures.c - what is told of sites: sums of those of one name, intervals, and growth with the requests. */
#include "model/alloc_sites.h"
#include "model/site_index.h"
#include "stats/gamma.h"
#include "stats/student.h"
#include "base/alloc.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

/* ---- sums ---- */

static bool in_row(const struct rqs_alloc_site *site, uint32_t row)
{
	return row == RQS_SITES_ROW_ALL || site->row == row;
}

struct rqs_site_estimate rqs_alloc_sites_total(const struct rqs_alloc_sites *s, uint32_t row)
{
	struct rqs_site_estimate sum = {0};

	for (unsigned i = 0; i < s->site_count; i++)
		if (in_row(&s->sites[i], row))
			rqs_site_estimate_add(&sum, &s->sites[i].allocated);
	return sum;
}

/* A site, and the frame that it is named by, or NULL. */
struct named {
	const struct rqs_frame_name *frame;
	const struct rqs_alloc_site *site;
};

static int by_address(const void *a, const void *b)
{
	return (uintptr_t)a < (uintptr_t)b ? -1 : (uintptr_t)a > (uintptr_t)b;
}

/* Texts that are the same are the same text. Inlined here and called there it is one line all the same. */
static int by_name(const struct rqs_frame_name *x, const struct rqs_frame_name *y)
{
	int order;

	if (x == y || !x || !y)
		return by_address(x, y);
	if ((order = by_address(x->function, y->function)) || (order = by_address(x->file, y->file)) ||
	    (order = by_address(x->module, y->module)))
		return order;
	if (x->line != y->line)
		return x->line < y->line ? -1 : 1;
	return (int)x->kind - (int)y->kind;
}

static int by_frame(const void *a, const void *b)
{
	const struct named *x = a, *y = b;
	int order = by_name(x->frame, y->frame);

	if (order)
		return order;
	if (x->site->allocated.bytes != y->site->allocated.bytes)
		return x->site->allocated.bytes > y->site->allocated.bytes ? -1 : 1;
	return by_address(x->site, y->site);
}

static const struct rqs_frame_name *name_of(const struct rqs_alloc_sites *s, const struct rqs_alloc_site *site)
{
	uint32_t frame = rqs_alloc_sites_frame_of(s, site->stack);

	return frame < s->frame_count ? &s->frames[frame] : NULL;
}

static int by_bytes(const void *a, const void *b)
{
	const struct rqs_alloc_site *x = a, *y = b;

	if (x->allocated.bytes != y->allocated.bytes)
		return x->allocated.bytes > y->allocated.bytes ? -1 : 1;
	return x->stack < y->stack ? -1 : x->stack > y->stack;
}

struct rqs_alloc_site *rqs_alloc_sites_of_row(const struct rqs_alloc_sites *s, uint32_t row, unsigned *count)
{
	struct named *named = rqs_zalloc(s->site_count, sizeof(*named));
	unsigned n = 0, sums = 0;

	for (unsigned i = 0; i < s->site_count; i++)
		if (in_row(&s->sites[i], row) && s->sites[i].allocated.samples)
			named[n++] = (struct named){name_of(s, &s->sites[i]), &s->sites[i]};
	struct rqs_alloc_site *sum = rqs_zalloc(n, sizeof(*sum));
	qsort(named, n, sizeof(*named), by_frame);
	for (unsigned i = 0; i < n; i++) {
		if (!i || by_name(named[i].frame, named[i - 1].frame)) {
			sum[sums] = *named[i].site;
			sum[sums++].row = row;
		} else {
			rqs_site_index_add(&sum[sums - 1], named[i].site);
		}
	}
	qsort(sum, sums, sizeof(*sum), by_bytes);
	free(named);
	*count = sums;
	return sum;
}

/* ---- intervals ---- */

static double quantile_of_count(double p, double count)
{
	return count > 0 ? rqs_chi_square_quantile(p, 2 * count) / 2 : 0;
}

/*
 * Where nearly all is sampled, what wasn't is a few allocations or none: the least number of them that, beside n
 * samples of probability p each, isn't exceeded in 97.5 % (a negative binomial).
 */
static double missed(double n, double p)
{
	double share = exp((n + 1) * log(p)), sum = share, k = 0;

	for (; sum < 0.975; k++, sum += share)
		share *= (n + 1 + k) * (1 - p) / (k + 1);
	return k;
}

#define MISSED_MOST 50.0 /* on average; from there on their number is as good as continuous */

/* `weight`: what one sample more would stand for, where there is none. */
static struct rqs_site_interval interval(double n, double sum, double variance, double weight)
{
	if (!(variance > 0))
		return (struct rqs_site_interval){sum, sum + weight * quantile_of_count(0.975, 1)};
	weight = variance / sum;
	struct rqs_site_interval i = {
	    weight * quantile_of_count(0.025, sum / weight),
	    weight * quantile_of_count(0.975, sum / weight + 1),
	};
	/* The probability of a sample, if it was the same of all. */
	double p = 1 - n * variance / (sum * sum);
	if (p < 0.5 || n * (1 - p) / p > MISSED_MOST)
		return i;
	double high = (1 + missed(n, p) / n) * p * sum;
	return (struct rqs_site_interval){fmax(i.low, p * sum), fmax(i.high, high)};
}

static double weight_of(double variance, double sum)
{
	return sum > 0 ? variance / sum : 0;
}

struct rqs_site_interval rqs_site_bytes_interval(const struct rqs_site_estimate *e,
						 const struct rqs_site_estimate *like)
{
	bool none = !e->samples && like;

	return interval((double)e->samples, e->bytes, e->bytes_variance,
			none ? weight_of(like->bytes_variance, like->bytes) : 0);
}

struct rqs_site_interval rqs_site_count_interval(const struct rqs_site_estimate *e,
						 const struct rqs_site_estimate *like)
{
	bool none = !e->samples && like;

	return interval((double)e->samples, e->count, e->count_variance,
			none ? weight_of(like->count_variance, like->count) : 0);
}

/* ---- what isn't known ---- */

bool rqs_alloc_sites_are_lost(const struct rqs_alloc_sites *s)
{
	return s->lost > (s->samples + s->withdrawn) / (RQS_SITES_LOST - 1);
}

bool rqs_alloc_site_is_known(const struct rqs_alloc_sites *s, const struct rqs_alloc_site *site)
{
	const struct rqs_frame_name *name = name_of(s, site);

	return name && name->kind != RQS_KIND_NOTE;
}

struct rqs_alloc_site rqs_alloc_sites_nowhere(const struct rqs_alloc_sites *s, uint32_t row)
{
	struct rqs_alloc_site sum = {.row = row};

	for (unsigned i = 0; i < s->site_count; i++)
		if (in_row(&s->sites[i], row) && !rqs_alloc_site_is_known(s, &s->sites[i]))
			rqs_site_index_add(&sum, &s->sites[i]);
	return sum;
}

static struct rqs_site_interval widened(const struct rqs_alloc_sites *s, struct rqs_site_interval own, double nowhere)
{
	own.high = rqs_alloc_sites_are_lost(s) ? INFINITY : own.high + nowhere;
	return own;
}

struct rqs_site_interval rqs_alloc_site_allocated(const struct rqs_alloc_sites *s, const struct rqs_alloc_site *site,
						  const struct rqs_alloc_site *nowhere)
{
	bool is_more = nowhere && rqs_alloc_site_is_known(s, site);

	return widened(s, rqs_site_bytes_interval(&site->allocated, NULL),
		       is_more ? rqs_site_bytes_interval(&nowhere->allocated, NULL).high : 0);
}

struct rqs_site_interval rqs_alloc_site_retained(const struct rqs_alloc_sites *s, const struct rqs_alloc_site *site,
						 const struct rqs_alloc_site *nowhere)
{
	bool is_more = nowhere && rqs_alloc_site_is_known(s, site);

	return widened(s, rqs_site_bytes_interval(&site->retained, &site->followed),
		       is_more ? rqs_site_bytes_interval(&nowhere->retained, &nowhere->followed).high : 0);
}

/* ---- growth ---- */

/*
 * What a leak retains grows by independent amounts from one stretch of requests to the next; what a queue or a cache
 * holds goes up and down, so that its steps take each other back, and look more uncertain than they are: the interval
 * of the mean of steps is right for the one (also for a random walk) and wide for the other. Steps are those between
 * equal numbers of requests. The first stretch, in which everything fills, isn't looked at.
 */
#define STRETCHES 9u
#define LEAST_STEPS 5u
#define LEAST_SAMPLES 20u

struct step {
	double requests, bytes;
};

/* The requests of a row; those that aren't of one route grow with all. */
static void requests_of(const struct rqs_alloc_sites *s, uint32_t row, double *along)
{
	memset(along, 0, RQS_SITE_BINS * sizeof(*along));
	for (uint32_t i = 0; i < s->rows; i++)
		for (unsigned b = 0; b < RQS_SITE_BINS; b++)
			if (row >= RQS_SITES_ROW_ALL || row == i)
				along[b] += s->requests_along[i][b];
}

static unsigned find_steps(const double *requests, const double *bytes, struct step *step)
{
	double each = requests[RQS_SITE_BINS - 1] / STRETCHES, next = each;
	unsigned last = 0, steps = 0;
	bool begun = false;

	for (unsigned b = 0; b < RQS_SITE_BINS; b++) {
		if (requests[b] < next * (1 - 1e-9) || requests[b] <= 0)
			continue;
		if (begun)
			step[steps++] = (struct step){requests[b] - requests[last], bytes[b] - bytes[last]};
		begun = true;
		last = b;
		while (next <= requests[b] * (1 + 1e-9))
			next += each;
	}
	return steps;
}

/* Bytes a request, from one of the steps on. */
static double slope_of(const struct step *step, unsigned from, unsigned to)
{
	double bytes = 0, requests = 0;

	for (unsigned i = from; i < to; i++) {
		bytes += step[i].bytes;
		requests += step[i].requests;
	}
	return requests > 0 ? bytes / requests : 0;
}

/* Half of the 95 % interval of the slope over the last `last` steps; what a step may differ by is learnt from all. */
static double margin_of(const struct step *step, unsigned steps, unsigned last, double slope)
{
	double squares = 0, requests = 0;

	for (unsigned i = 0; i < steps; i++) {
		double rest = step[i].bytes - slope * step[i].requests;

		squares += rest * rest;
		requests += i >= steps - last ? step[i].requests : 0;
	}
	return rqs_student_quantile(0.975, steps - 1) * sqrt(squares / (steps - 1) * last) / requests;
}

/* It grew in the first half as well, surely in the second one, and at the end it still grows about as it did. */
static bool goes_on(const struct step *step, unsigned steps, double slope)
{
	unsigned half = steps / 2, quarter = steps - steps / 4;
	double later = slope_of(step, half, steps);

	return slope_of(step, 0, half) > slope / 3 && later > slope / 2 &&
	       later > margin_of(step, steps, steps - half, slope) && slope_of(step, quarter, steps) > slope / 3;
}

struct rqs_site_growth rqs_site_growth(const struct rqs_alloc_sites *s, const struct rqs_alloc_site *site)
{
	struct rqs_site_growth g = {.why = NULL};
	double requests[RQS_SITE_BINS];
	struct step step[STRETCHES];

	if (!site->followed.samples)
		g.why = "when these are freed isn't seen";
	else if (site->retained.samples < LEAST_SAMPLES)
		g.why = "fewer than 20 samples were still live at the end";
	if (g.why)
		return g;
	requests_of(s, site->row, requests);
	unsigned steps = find_steps(requests, site->retained_along, step);
	if (steps < LEAST_STEPS) {
		g.why = "the requests are spread over too little of the recording";
		return g;
	}
	g.slope = slope_of(step, 0, steps);
	double margin = margin_of(step, steps, steps, g.slope);
	g.low = g.slope - margin;
	g.high = g.slope + margin;
	g.leak = g.low > 0 && goes_on(step, steps, g.slope);
	return g;
}
