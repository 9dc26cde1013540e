/* sampler.c - rounds of samples. */
#include "collect/sampler.h"
#include "collect/procfs.h"

#define ROUND_NS 100000000ull
#define SLOW_ROUND_NS 1000000000ull
/* A round of more processes than this comes as much less often: about 25 us a process, 10 times a second. */
#define PROCESSES_AT_FULL_RATE 32u

static void sample_slowly(struct rqs_watched *watched, struct rqs_sample_row *row)
{
	uint64_t value;

	if (rqs_procfs_rss_peak(watched->procdir, &value) && value > watched->rss_peak)
		watched->rss_peak = value;
	if (rqs_procfs_fds(watched->procdir, &value))
		row->fds = value;
}

static void sample_one(struct rqs_watched *watched, bool slowly, struct rqs_sample_row *row)
{
	struct rqs_procfs_stat stat;

	*row = (struct rqs_sample_row){
	    .time = rqs_monotonic_ns(),
	    .process = watched->index,
	    .rss = RQS_NULL,
	    .cpu_user = RQS_NULL,
	    .cpu_system = RQS_NULL,
	    .threads = RQS_NULL,
	    .fds = RQS_NULL,
	};
	if (rqs_procfs_stat(watched->procdir, &stat)) {
		row->cpu_user = stat.utime;
		row->cpu_system = stat.stime;
		row->threads = stat.threads;
	}
	if (rqs_procfs_rss(watched->procdir, &row->rss) && row->rss > watched->rss_peak)
		watched->rss_peak = row->rss;
	if (slowly)
		sample_slowly(watched, row);
	rqs_go_read(&watched->go, row);
	if (watched->heap_in_use)
		row->heap_in_use = watched->heap_in_use;
}

static bool is_sampled(const struct rqs_watched *watched)
{
	return watched && watched->index != RQS_UNNOTED && watched->procdir >= 0 && !watched->dying &&
	       !(watched->flags & RQS_PROCESS_EXECED);
}

void rqs_sample(struct rqs_sampler *sampler, struct rqs_processes *processes, struct rqs_batch *samples,
		uint64_t now_ns, void (*full)(void *context), void *context)
{
	bool slowly = now_ns >= sampler->next_slow_ns;
	uint32_t sampled = 0;

	if (now_ns < sampler->next_ns)
		return;
	for (uint32_t slot = 0; slot < RQS_PROCESSES; slot++) {
		struct rqs_watched *watched = processes->by_slot[slot];
		struct rqs_sample_row row;

		if (!is_sampled(watched))
			continue;
		sampled++;
		sample_one(watched, slowly, &row);
		rqs_batch_add(samples, &row);
		if (rqs_batch_is_full(samples))
			full(context);
	}
	sampler->next_ns = now_ns + ROUND_NS * (1 + sampled / PROCESSES_AT_FULL_RATE);
	/* Until the first process is there, the first slow round is still to come. */
	if (slowly && sampled)
		sampler->next_slow_ns = now_ns + SLOW_ROUND_NS;
}
