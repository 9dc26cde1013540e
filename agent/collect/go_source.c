/* go_source.c - from a greeting's addresses to figures in samples. */
#include "collect/go_source.h"
#include "collect/batch.h"
#include "collect/process.h"

#include <unistd.h>

#define PATIENCE_NS 10000000000ull

static void forget(struct rqs_go_expected *expected, unsigned i)
{
	expected->arrivals[i] = expected->arrivals[--expected->count];
}

static void give_up(struct rqs_go_expected *expected, unsigned i)
{
	close(expected->arrivals[i].source.mem);
	forget(expected, i);
}

static void make_room(struct rqs_go_expected *expected, uint32_t pid)
{
	unsigned oldest = 0;

	for (unsigned i = 0; i < expected->count; i++) {
		if (expected->arrivals[i].source.facts.pid == pid) {
			give_up(expected, i);
			return;
		}
		if (expected->arrivals[i].since_ns < expected->arrivals[oldest].since_ns)
			oldest = i;
	}
	if (expected->count == RQS_GO_EXPECTED)
		give_up(expected, oldest);
}

void rqs_go_expect(struct rqs_go_expected *expected, const struct rqs_go_facts *facts, int mem, uint64_t now_ns)
{
	if (!rqs_is_spare(mem)) {
		close(mem);
		return;
	}
	make_room(expected, facts->pid);
	expected->arrivals[expected->count++] = (struct rqs_go_arrival){{mem, *facts}, now_ns};
}

/* Of several images of one pid it is the newest; one that has its facts already is an older one. */
static struct rqs_watched *find(struct rqs_processes *processes, uint32_t pid)
{
	struct rqs_watched *found = NULL;

	for (uint32_t slot = 0; slot < RQS_PROCESSES; slot++) {
		struct rqs_watched *watched = processes->by_slot[slot];

		if (watched && (uint32_t)watched->pid == pid && rqs_watched_is_go(watched) && !watched->dying &&
		    !(watched->flags & (RQS_PROCESS_FOREIGN_PIDS | RQS_PROCESS_EXECED)) &&
		    (!found || watched->owner > found->owner))
			found = watched;
	}
	return found && found->go.mem < 0 ? found : NULL;
}

void rqs_go_settle(struct rqs_go_expected *expected, struct rqs_processes *processes, uint64_t now_ns)
{
	for (unsigned i = expected->count; i-- > 0;) {
		const struct rqs_go_arrival *arrival = &expected->arrivals[i];
		struct rqs_watched *watched = find(processes, arrival->source.facts.pid);

		if (watched) {
			watched->go = arrival->source;
			forget(expected, i);
		} else if (now_ns - arrival->since_ns > PATIENCE_NS) {
			give_up(expected, i);
		}
	}
}

void rqs_go_forget_all(struct rqs_go_expected *expected)
{
	while (expected->count)
		give_up(expected, expected->count - 1);
}

static bool read_at(int mem, uint64_t address, void *value, size_t size)
{
	return address && pread(mem, value, size, (off_t)address) == (ssize_t)size;
}

/* What is beyond all measure is none: a goal of 2^64 - 1 is that of a program that doesn't collect. */
static uint64_t read_u64(int mem, uint64_t address)
{
	uint64_t value;

	return read_at(mem, address, &value, sizeof(value)) && value <= RQS_VALUE_MAX ? value : RQS_NULL;
}

static uint64_t read_u32(int mem, uint64_t address)
{
	uint32_t value;

	return read_at(mem, address, &value, sizeof(value)) ? value : RQS_NULL;
}

/* The counts are read one after another while they change. */
static uint64_t read_goroutines(int mem, const struct rqs_go_facts *facts)
{
	uint64_t all = read_u64(mem, facts->goroutines_all), system = read_u32(mem, facts->goroutines_system);
	uint64_t free = read_u32(mem, facts->goroutines_free);
	uint64_t bare = facts->goroutines_bare ? read_u32(mem, facts->goroutines_bare) : 0;

	if (all == RQS_NULL || free > INT32_MAX || bare > INT32_MAX || system > INT32_MAX)
		return RQS_NULL;
	return all > free + bare + system ? all - free - bare - system : 0;
}

void rqs_go_read(const struct rqs_go_source *source, struct rqs_sample_row *row)
{
	const struct rqs_go_facts *facts = &source->facts;

	row->heap_in_use = row->heap_goal = row->gc_cycles = row->gc_pause_total = row->goroutines = RQS_NULL;
	if (source->mem < 0)
		return;
	row->heap_in_use = read_u64(source->mem, facts->heap_in_use);
	row->heap_goal = read_u64(source->mem, facts->heap_goal);
	row->gc_cycles = read_u32(source->mem, facts->gc_cycles);
	row->gc_pause_total = read_u64(source->mem, facts->gc_pause_total);
	row->goroutines = read_goroutines(source->mem, facts);
}
