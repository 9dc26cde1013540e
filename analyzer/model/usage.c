/* usage.c - samples to CPU of a window and to memory. */
#include "model/usage.h"
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

static void thin_out(struct rqs_usage *u)
{
	u->points = 0;
	for (uint32_t i = 0; i < u->processes; i++) {
		struct rqs_usage_process *p = &u->process[i];
		uint32_t kept = 0;

		for (uint32_t j = 0; j < p->points; j++)
			if (j % 2 == 0 || j == p->points - 1)
				p->point[kept++] = p->point[j];
		p->points = kept;
		u->points += kept;
	}
}

static void add_point(struct rqs_usage *u, struct rqs_usage_process *p, struct rqs_usage_point point)
{
	/* Two samples of one time, or clocks gone back: the counters of the later one stand. */
	if (p->points && p->point[p->points - 1].time >= point.time) {
		p->point[p->points - 1].user = point.user;
		p->point[p->points - 1].system = point.system;
		return;
	}
	if (p->points == p->allocated) {
		p->allocated = p->allocated ? p->allocated * 2 : 16;
		p->point = rqs_grow(p->point, p->allocated, sizeof(*p->point));
	}
	p->point[p->points++] = point;
	if (++u->points > RQS_USAGE_POINTS_MAX)
		thin_out(u);
}

void rqs_usage_start(struct rqs_usage *u, uint32_t process, uint64_t time)
{
	add_point(u, process_at(u, process), (struct rqs_usage_point){.time = time});
}

static void close_sweep(struct rqs_usage *u)
{
	if (!u->sweep_open)
		return;
	u->sweeps++;
	u->rss_sum += u->sweep_rss;
	if (u->sweep_rss > u->rss_peak)
		u->rss_peak = u->sweep_rss;
	u->sweep_open = false;
}

static void add_rss(struct rqs_usage *u, struct rqs_usage_process *p, uint64_t time, uint64_t rss)
{
	bool same = u->sweep_open && p->sweep != u->sweep && time >= u->sweep_start &&
		    time - u->sweep_start < RQS_USAGE_SWEEP_NS;

	if (!same) {
		close_sweep(u);
		u->sweep++;
		u->sweep_open = true;
		u->sweep_start = time;
		u->sweep_rss = 0;
	}
	p->sweep = u->sweep;
	u->sweep_rss += rss;
}

void rqs_usage_sample(struct rqs_usage *u, uint32_t process, uint64_t time, uint64_t user, uint64_t system,
		      uint64_t rss)
{
	struct rqs_usage_process *p = process_at(u, process);

	if (user != RQS_NULL && system != RQS_NULL) {
		add_point(u, p, (struct rqs_usage_point){time, user, system});
		u->cpu = true;
	}
	if (rss != RQS_NULL)
		add_rss(u, p, time, rss);
}

void rqs_usage_finish(struct rqs_usage *u)
{
	close_sweep(u);
}

/* Both counters of a process at a time, in us. Flat before the first point and behind the last one. */
static void counters_at(const struct rqs_usage_process *p, uint64_t time, double *user, double *system)
{
	uint32_t low = 0, high = p->points;

	while (low < high) { /* finds the first point at or behind the time */
		uint32_t middle = (low + high) / 2;

		if (p->point[middle].time < time)
			low = middle + 1;
		else
			high = middle;
	}
	const struct rqs_usage_point *b = &p->point[low < p->points ? low : p->points - 1];
	const struct rqs_usage_point *a = low ? &p->point[low - 1] : b;
	double part = a == b || b->time == a->time ? 1 : (double)(time - a->time) / (double)(b->time - a->time);

	if (low == p->points)
		part = 1;
	*user = (double)a->user + part * ((double)b->user - (double)a->user);
	*system = (double)a->system + part * ((double)b->system - (double)a->system);
}

bool rqs_usage_cpu(const struct rqs_usage *u, uint64_t from, uint64_t to, double *user, double *system)
{
	*user = *system = 0;
	for (uint32_t i = 0; i < u->processes; i++) {
		double user_from, user_to, system_from, system_to;

		if (!u->process[i].points)
			continue;
		counters_at(&u->process[i], from, &user_from, &system_from);
		counters_at(&u->process[i], to, &user_to, &system_to);
		*user += (user_to - user_from) / 1e6;
		*system += (system_to - system_from) / 1e6;
	}
	return u->cpu;
}

void rqs_usage_free(struct rqs_usage *u)
{
	for (uint32_t i = 0; i < u->processes; i++)
		free(u->process[i].point);
	free(u->process);
	memset(u, 0, sizeof(*u));
}
