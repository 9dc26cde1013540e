/*
 * usage.h - CPU and memory of a trace's processes, from the 10 Hz samples.
 *
 * CPU counters only grow, so the CPU of a window is read off at its edges,
 * between two samples by interpolation. A process's counters are 0 at its
 * start, which serves for a window that begins before its first sample.
 * Memory is summed over the processes of one sweep of the sampler.
 *
 * Bounded: when there are too many points of all processes together, every
 * second one is forgotten, edges excepted.
 */
#ifndef REQSCOPE_USAGE_H
#define REQSCOPE_USAGE_H

#include <stdbool.h>
#include <stdint.h>

#define RQS_USAGE_POINTS_MAX 200000
#define RQS_USAGE_SWEEP_NS 50000000ull /* samples closer than this, of different processes, are one sweep */

struct rqs_usage_point {
	uint64_t time;         /* ns */
	uint64_t user, system; /* us since the process began */
};

struct rqs_usage_process {
	uint32_t points, allocated;
	struct rqs_usage_point *point;
	uint64_t sweep; /* the last one it was in */
};

struct rqs_usage {
	uint32_t processes;
	struct rqs_usage_process *process; /* by the trace's process index */
	uint64_t points;
	bool cpu; /* at least one CPU value was there */
	/* memory, over finished sweeps */
	uint64_t sweeps;
	unsigned __int128 rss_sum;
	uint64_t rss_peak;
	/* the sweep that is going on */
	uint64_t sweep, sweep_start, sweep_rss;
	bool sweep_open;
};

/* The process's counters were 0 at `time`. */
void rqs_usage_start(struct rqs_usage *u, uint32_t process, uint64_t time);
/* user, system (us), rss (bytes): RQS_NULL when not measured. Called in the order of the trace. */
void rqs_usage_sample(struct rqs_usage *u, uint32_t process, uint64_t time, uint64_t user, uint64_t system,
		      uint64_t rss);
void rqs_usage_finish(struct rqs_usage *u);
/* Seconds of CPU in [from, to] ns, all processes. False when no CPU was sampled. */
bool rqs_usage_cpu(const struct rqs_usage *u, uint64_t from, uint64_t to, double *user, double *system);
void rqs_usage_free(struct rqs_usage *u);

#endif
