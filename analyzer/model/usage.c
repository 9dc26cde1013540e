/* usage.c - samples to what a window counted, and to gauges. */
#include "model/timeline.h"
#include "read/columns.h"
#include "base/alloc.h"

#include <stdlib.h>
#include <string.h>

static struct rqs_usage_process *process_at(struct rqs_usage *u, uint32_t index)
{
	if (index >= u->processes) {
		u->process = rqs_grow(u->process, index + 1, sizeof(*u->process));
		memset(&u->process[u->processes], 0, (index + 1 - u->processes) * sizeof(*u->process));
		u->processes = index + 1;
	}
	return &u->process[index];
}

static uint32_t halve(struct rqs_usage_series *s)
{
	uint32_t kept = 0;

	for (uint32_t i = 0; i < s->points; i++)
		if (i % 2 == 0 || i == s->points - 1)
			s->point[kept++] = s->point[i];
	s->points = kept;
	return kept;
}

static void halve_all(struct rqs_usage *u)
{
	u->points = 0;
	for (uint32_t i = 0; i < u->processes; i++)
		for (unsigned k = 0; k < RQS_COUNTERS_COUNT; k++)
			u->points += halve(&u->process[i].series[k]);
}

/* The two edges of each series stay, however many there are. */
static void thin_out(struct rqs_usage *u)
{
	uint64_t before;

	do {
		before = u->points;
		halve_all(u);
	} while (u->points > RQS_USAGE_POINTS_MAX / 4 * 3 && u->points < before);
	u->kept = u->points;
}

static void add_point(struct rqs_usage *u, struct rqs_usage_series *s, struct rqs_usage_point point)
{
	/* Two samples of one time, or clocks gone back: the counters of the later one stand. */
	if (s->points && s->point[s->points - 1].time >= point.time) {
		memcpy(s->point[s->points - 1].value, point.value, sizeof(point.value));
		return;
	}
	if (s->points == s->allocated) {
		s->allocated = s->allocated ? s->allocated * 2 : 16;
		s->point = rqs_grow(s->point, s->allocated, sizeof(*s->point));
	}
	s->point[s->points++] = point;
	/* Of very many processes hardly any point can be spared; that is found out now and then, not each time. */
	if (++u->points > RQS_USAGE_POINTS_MAX && u->points > 2 * u->kept)
		thin_out(u);
}

void rqs_usage_start(struct rqs_usage *u, uint32_t process, uint64_t time)
{
	struct rqs_usage_process *p = process_at(u, process);

	p->started = true;
	p->start = time;
}

/* Of two counters, one that isn't measured stays where it is. */
static void add_counters(struct rqs_usage *u, struct rqs_usage_process *p, unsigned k,
			 const struct rqs_usage_sample *sample)
{
	struct rqs_usage_series *s = &p->series[k];
	struct rqs_usage_point point = {.time = sample->time};

	if (sample->counter[k][0] == RQS_NULL && sample->counter[k][1] == RQS_NULL)
		return;
	if (!s->points && p->started)
		add_point(u, s, (struct rqs_usage_point){.time = p->start});
	for (unsigned i = 0; i < 2; i++) {
		bool measured = sample->counter[k][i] != RQS_NULL;

		if (s->points)
			point.value[i] = s->point[s->points - 1].value[i];
		if (measured)
			point.value[i] = sample->counter[k][i];
		u->counted[k][i] |= measured;
	}
	add_point(u, s, point);
}

static void close_sweep(struct rqs_usage *u)
{
	for (unsigned i = 0; i < RQS_GAUGE_COUNT; i++) {
		struct rqs_usage_gauge *gauge = &u->gauge[i];

		if (!gauge->measured)
			continue;
		if (u->timeline)
			rqs_timeline_gauge(u->timeline, i, u->sweep_start, gauge->now);
		gauge->sweeps++;
		gauge->sum += gauge->now;
		gauge->peak = gauge->now > gauge->peak ? gauge->now : gauge->peak;
		gauge->measured = false;
		gauge->now = 0;
	}
	u->sweep_open = false;
}

static void join_sweep(struct rqs_usage *u, struct rqs_usage_process *p, uint64_t time)
{
	bool same = u->sweep_open && p->sweep != u->sweep && time >= u->sweep_start &&
		    time - u->sweep_start < RQS_USAGE_SWEEP_NS;

	if (!same) {
		close_sweep(u);
		u->sweep++;
		u->sweep_open = true;
		u->sweep_start = time;
	}
	p->sweep = u->sweep;
}

static void add_gauges(struct rqs_usage *u, struct rqs_usage_process *p, const struct rqs_usage_sample *sample)
{
	bool joined = false;

	for (unsigned i = 0; i < RQS_GAUGE_COUNT; i++) {
		if (sample->gauge[i] == RQS_NULL)
			continue;
		if (!joined)
			join_sweep(u, p, sample->time);
		joined = true;
		u->gauge[i].measured = true;
		u->gauge[i].now += sample->gauge[i];
	}
}

void rqs_usage_add(struct rqs_usage *u, uint32_t process, const struct rqs_usage_sample *sample)
{
	struct rqs_usage_process *p = process_at(u, process);

	for (unsigned k = 0; k < RQS_COUNTERS_COUNT; k++)
		add_counters(u, p, k, sample);
	add_gauges(u, p, sample);
}

void rqs_usage_finish(struct rqs_usage *u)
{
	close_sweep(u);
}

/* The first point at or behind the time; s->points when there is none. */
static uint32_t find(const struct rqs_usage_series *s, uint64_t time)
{
	uint32_t low = 0, high = s->points;

	while (low < high) {
		uint32_t middle = (low + high) / 2;

		if (s->point[middle].time < time)
			low = middle + 1;
		else
			high = middle;
	}
	return low;
}

/* Both counters at a time. Flat before the first point and behind the last one. */
static void counters_at(const struct rqs_usage_series *s, uint64_t time, double value[2])
{
	uint32_t i = find(s, time);
	const struct rqs_usage_point *b = &s->point[i < s->points ? i : s->points - 1];
	const struct rqs_usage_point *a = i ? &s->point[i - 1] : b;
	double part = a == b || b->time == a->time ? 1 : (double)(time - a->time) / (double)(b->time - a->time);

	if (i == s->points)
		part = 1;
	for (unsigned k = 0; k < 2; k++)
		value[k] = (double)a->value[k] + part * ((double)b->value[k] - (double)a->value[k]);
}

void rqs_usage_counted(const struct rqs_usage *u, enum rqs_counters counters, uint64_t from, uint64_t to,
		       double counted[2])
{
	counted[0] = counted[1] = 0;
	for (uint32_t i = 0; i < u->processes; i++) {
		const struct rqs_usage_series *s = &u->process[i].series[counters];
		double before[2], after[2];

		if (!s->points)
			continue;
		counters_at(s, from, before);
		counters_at(s, to, after);
		counted[0] += after[0] - before[0];
		counted[1] += after[1] - before[1];
	}
}

void rqs_usage_gained(const struct rqs_usage *u, enum rqs_counters counters, uint64_t from, uint64_t to,
		      double gained[2])
{
	gained[0] = gained[1] = 0;
	for (uint32_t i = 0; i < u->processes; i++) {
		const struct rqs_usage_series *s = &u->process[i].series[counters];

		if (!s->points)
			continue;
		uint32_t first = find(s, from), last = find(s, to);
		if (first == s->points || (first && s->point[first].time > from))
			first--;
		if (last == s->points)
			last--;
		for (unsigned k = 0; k < 2; k++)
			gained[k] += (double)s->point[last].value[k] - (double)s->point[first].value[k];
	}
}

void rqs_usage_free(struct rqs_usage *u)
{
	for (uint32_t i = 0; i < u->processes; i++)
		for (unsigned k = 0; k < RQS_COUNTERS_COUNT; k++)
			free(u->process[i].series[k].point);
	free(u->process);
	memset(u, 0, sizeof(*u));
}
