/*
 * test_sample.c - sampled allocations in the target: when they are due, what
 * their records hold, and the table of followed blocks. The expectations are
 * those of the exponential distribution.
 */
#include "unit.h"

#include "collect/mapping.h"
#include "core/followed.h"
#include "core/request.h"
#include "core/sample.h"

#include <math.h>
#include <pthread.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/uio.h>
#include <unistd.h>

#define KB 1024ull
#define MEAN (512 * KB)
#define PAGE 4096u

/* ---- the distance ---- */

static int by_value(const void *a, const void *b)
{
	double x = *(const double *)a, y = *(const double *)b;

	return x < y ? -1 : x > y;
}

/* Kolmogorov-Smirnov: sqrt(n) * D is above 1.95 once in 1,000 times, and the seeds are fixed. */
static void distances_are_exponential(void **state)
{
	enum { N = 200000 };
	static double drawn[N];
	(void)state;

	for (uint64_t seed = 1; seed <= 3; seed++) {
		uint64_t random = seed * 0x9e3779b97f4a7c15ull;
		double sum = 0, furthest = 0;

		for (int i = 0; i < N; i++)
			sum += drawn[i] = (double)rqs_sample_distance(&random, MEAN);
		qsort(drawn, N, sizeof(*drawn), by_value);
		for (int i = 0; i < N; i++) {
			double expected = -expm1(-drawn[i] / MEAN);

			furthest = fmax(furthest, fmax(fabs(expected - (double)i / N), fabs(expected - (i + 1.0) / N)));
		}
		assert_true(furthest * sqrt(N) < 1.95);
		assert_true(fabs(sum / N / MEAN - 1) < 4 / sqrt(N));
	}
}

/* Beyond k means there are e^-k of them, and within a thousandth of one a thousandth. */
static void distances_have_their_tails(void **state)
{
	enum { N = 4000000 };
	uint64_t random = 42;
	unsigned beyond[] = {0, 0, 0}, within = 0;
	const unsigned means[] = {3, 6, 10};
	(void)state;

	for (int i = 0; i < N; i++) {
		uint64_t distance = rqs_sample_distance(&random, MEAN);

		assert_true(distance >= 1 && distance < 50 * MEAN);
		within += distance <= MEAN / 1024;
		for (int k = 0; k < 3; k++)
			beyond[k] += distance > means[k] * MEAN;
	}
	for (int k = 0; k < 3; k++) {
		double expected = N * exp(-(double)means[k]);

		assert_true(fabs(beyond[k] - expected) < 4 * sqrt(expected));
	}
	double expected = N * -expm1(-1.0 / 1024);
	assert_true(fabs(within - expected) < 4 * sqrt(expected));
}

/* Each one by itself against the libm's logarithm; both see the same draw. */
static void a_distance_is_the_logarithm(void **state)
{
	uint64_t random = 7;
	(void)state;

	for (int i = 0; i < 1000000; i++) {
		uint64_t x = random;

		x ^= x >> 12;
		x ^= x << 25;
		x ^= x >> 27;
		double u = (double)(x * 0x2545f4914f6cdd1dull) / 18446744073709551616.0;
		double expected = -log(u) * (1ull << 40), got = (double)rqs_sample_distance(&random, 1ull << 40);

		assert_true(fabs(got - expected) < 4 + 1e-6 * expected);
	}
}

static void extreme_means_do_no_harm(void **state)
{
	uint64_t random = 1;
	(void)state;

	for (int i = 0; i < 1000; i++) {
		assert_true(rqs_sample_distance(&random, 1) >= 1);
		assert_true(rqs_sample_distance(&random, UINT64_MAX) < RQS_SAMPLE_NEVER / 1024);
	}
}

/* ---- a worker ---- */

static struct rqs_region region;
static struct rqs_agent agent;
static struct rqs_worker worker;
static struct rqs_alive alive;
static uint64_t tables[RQS_FOLLOWED_SIZE / 8];
static unsigned copies;

static uint32_t one(void)
{
	return 1;
}

static size_t copy(void *to, const void *from, size_t n)
{
	struct iovec local = {to, n}, pages[8];
	uint64_t at = (uint64_t)from, end = at + n;
	unsigned long count = 0;

	copies++;
	for (; at < end; at += pages[count++].iov_len) {
		uint64_t next = (at | (PAGE - 1)) + 1;

		pages[count] = (struct iovec){(void *)at, (next < end ? next : end) - at};
	}
	ssize_t got = process_vm_readv(getpid(), &local, 1, pages, count, 0);
	return got > 0 ? (size_t)got : 0;
}

static const struct rqs_env env = {.pid = one, .tid = one, .parent_pid = one, .copy = copy};

static void start(uint64_t mean)
{
	assert_int_equal(rqs_region_create(&region), 0);
	region.header->sample_bytes = mean;
	memset(&agent, 0, sizeof(agent));
	memset(&worker, 0, sizeof(worker));
	alive.epoch = 0;
	copies = 0;
	agent.env = &env;
	agent.alive = &alive;
	assert_true(rqs_agent_start(&agent, region.header, region.size));
	rqs_worker_start(&agent, &worker);
	rqs_followed_start(tables);
}

static void stop(void)
{
	rqs_followed_stop();
	memset(tables, 0, sizeof(tables));
	rqs_region_destroy(&region);
}

/* As memory.c does. */
static bool allocate(uint64_t bytes)
{
	if (!rqs_worker_allocated(&worker, bytes))
		return false;
	rqs_sample_draw(&agent, &worker);
	return true;
}

/* Among allocations of all sizes each is a sample with the probability that its size gives, whatever came before it. */
static void sizes_are_sampled_by_their_probability(void **state)
{
	static const uint64_t sizes[] = {1 * KB, 16 * KB, 100 * KB, 512 * KB, 1024 * KB, 4096 * KB};
	enum { SIZES = 6, ROUNDS = 300000 };
	unsigned sampled[SIZES] = {0};
	double estimate = 0, total = 0;
	(void)state;

	start(MEAN);
	worker.random = 12345;
	worker.sample_at = rqs_sample_next(&agent, &worker);
	for (unsigned i = 0; i < ROUNDS; i++) {
		for (unsigned k = 0; k < SIZES; k++) {
			double p = -expm1(-(double)sizes[k] / MEAN);

			total += (double)sizes[k];
			if (allocate(sizes[k])) {
				sampled[k]++;
				estimate += (double)sizes[k] / p;
			}
		}
	}
	for (unsigned k = 0; k < SIZES; k++) {
		double p = -expm1(-(double)sizes[k] / MEAN);

		assert_true(fabs(sampled[k] - ROUNDS * p) <= 4 * sqrt(ROUNDS * p * (1 - p)));
	}
	assert_true(fabs(estimate / total - 1) < 0.01);
	stop();
}

static void nothing_is_due_where_no_samples_are_taken(void **state)
{
	(void)state;

	start(0);
	assert_true(worker.sample_at == RQS_SAMPLE_NEVER);
	assert_false(rqs_worker_allocated(&worker, 1ull << 50));
	stop();
	/* Nor by a thread that shares its counters. */
	start(4096);
	memset(&worker, 0, sizeof(worker));
	for (unsigned i = 0; i < RQS_THREADS; i++)
		agent.threads[i].owner = 1;
	rqs_worker_start(&agent, &worker);
	assert_int_equal(worker.thread, RQS_THREADS);
	assert_true(worker.sample_at == RQS_SAMPLE_NEVER);
	stop();
}

static void seeds_differ(void **state)
{
	struct rqs_worker others[2] = {{.tid = 1}, {.tid = 1}};
	(void)state;

	assert_true(rqs_sample_seed(&others[0]) != rqs_sample_seed(&others[1]));
	assert_true(rqs_sample_seed(&others[0]) != rqs_sample_seed(&others[0]));
}

/* ---- records ---- */

static const struct rqs_sample_record *record_at(uint32_t offset)
{
	return (const void *)((const char *)(worker.chunk + 1) + offset);
}

static struct rqs_sample_facts facts_of(const uint64_t *registers)
{
	return (struct rqs_sample_facts){
	    .kind = RQS_SAMPLE_NATIVE, .bytes = 100, .slot = RQS_SAMPLE_NO_SLOT, .registers = registers};
}

/* With so many bytes of stack, at most 8192. */
static struct rqs_sample_facts facts_on_stack(size_t bytes)
{
	static const char stack[8192] __attribute__((aligned(16)));
	static uint64_t registers[RQS_SAMPLE_REGISTERS];
	struct rqs_sample_facts facts = facts_of(registers);

	registers[RQS_SAMPLE_RSP] = (uint64_t)stack;
	facts.stack_end = (uint64_t)stack + bytes;
	return facts;
}

static void a_sample_is_committed_whole(void **state)
{
	static const char stack[4096] __attribute__((aligned(16))) = {[0] = 'a', [4095] = 'z'};
	struct rqs_sample_frame frames[] = {{1, 2}, {3, 4 | RQS_FRAME_ENTRY}};
	uint64_t registers[RQS_SAMPLE_REGISTERS] = {11, (uint64_t)stack, 13, 14, 15, 16, 17, 18};
	(void)state;

	start(MEAN);
	struct rqs_sample_facts facts = facts_of(registers);
	facts.slot = 77;
	facts.ordinal = 5;
	facts.frames = frames;
	facts.frame_count = 2;
	facts.stack_end = (uint64_t)stack + sizeof(stack);
	assert_int_equal(rqs_sample_commit(&agent, &worker, &facts), 1);

	const struct rqs_sample_record *record = record_at(0);
	assert_int_equal(record->size, sizeof(*record) + sizeof(frames) + sizeof(stack));
	assert_int_equal(worker.chunk->head, record->size);
	assert_int_equal(record->type, RQS_RECORD_SAMPLE);
	assert_int_equal(record->kind, RQS_SAMPLE_NATIVE);
	assert_int_equal(record->flags, 0);
	assert_int_equal(record->slot, 77);
	assert_int_equal(record->ordinal, 5);
	assert_int_equal(record->number, 1);
	assert_int_equal(record->bytes, 100);
	assert_memory_equal(record->registers, registers, sizeof(registers));
	assert_int_equal(record->frame_count, 2);
	assert_memory_equal(record->frames, frames, sizeof(frames));
	assert_int_equal(record->stack_bytes, sizeof(stack));
	assert_memory_equal(record->frames + 2, stack, sizeof(stack));
	assert_int_equal(copies, 0);
	facts.after = facts.more_frames = true;
	uint32_t next = record->size;
	assert_int_equal(rqs_sample_commit(&agent, &worker, &facts), 2);
	assert_int_equal(record_at(next)->flags, RQS_SAMPLE_AFTER | RQS_SAMPLE_MORE_FRAMES);
	stop();
}

/* Where a stack ends isn't known: the mapping does, and what is behind it can't be read. */
static void a_stack_is_copied_to_the_end_of_its_mapping(void **state)
{
	(void)state;

	start(MEAN);
	char *pages = mmap(NULL, 8 * PAGE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	memset(pages, 's', 7 * PAGE);
	mprotect(pages + 7 * PAGE, PAGE, PROT_NONE);
	const size_t left[] = {8, 64, PAGE, PAGE + 8, 2 * PAGE + 128, 3 * PAGE, 3 * PAGE + 8, 5 * PAGE};

	for (size_t i = 0; i < sizeof(left) / sizeof(*left); i++) {
		const char *from = pages + 7 * PAGE - left[i];
		uint64_t registers[RQS_SAMPLE_REGISTERS] = {[RQS_SAMPLE_RSP] = (uint64_t)from};
		struct rqs_sample_facts facts = facts_of(registers);
		size_t expected = left[i] < RQS_SAMPLE_STACK ? left[i] : RQS_SAMPLE_STACK;

		assert_int_not_equal(rqs_sample_commit(&agent, &worker, &facts), 0);
		const struct rqs_sample_record *record =
		    record_at(worker.chunk_used - (uint32_t)(sizeof(*record) + expected));
		assert_int_equal(record->number, i + 1);
		assert_int_equal(record->stack_bytes, expected);
		assert_int_equal(!!(record->flags & RQS_SAMPLE_MORE_STACK), left[i] >= RQS_SAMPLE_STACK);
		assert_memory_equal(record->frames, from, expected);
	}
	munmap(pages, 8 * PAGE);
	stop();
}

/* Behind a filter of the process's own no call is made: its own page is certain. */
static void a_frozen_agent_copies_the_page_it_is_on(void **state)
{
	(void)state;

	start(MEAN);
	char *pages = mmap(NULL, 3 * PAGE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	uint64_t registers[RQS_SAMPLE_REGISTERS] = {[RQS_SAMPLE_RSP] = (uint64_t)pages + PAGE - 256};
	struct rqs_sample_facts facts = facts_of(registers);

	agent.frozen = true;
	assert_int_equal(rqs_sample_commit(&agent, &worker, &facts), 1);
	assert_int_equal(record_at(0)->stack_bytes, 256);
	assert_int_equal(record_at(0)->flags, RQS_SAMPLE_MORE_STACK);
	assert_int_equal(copies, 0);
	munmap(pages, 3 * PAGE);
	stop();
}

/* The last sample. */
static bool is_bare(void)
{
	uint32_t size = sizeof(struct rqs_sample_record);

	return worker.chunk_used >= size && record_at(worker.chunk_used - size)->type == RQS_RECORD_SAMPLE &&
	       record_at(worker.chunk_used - size)->flags & RQS_SAMPLE_NO_ROOM;
}

static void starve(void)
{
	for (unsigned i = 0; i < RQS_CHUNKS; i++)
		agent.owners[i] = 1;
	worker.chunk = NULL;
}

static void without_room_a_sample_is_counted_as_lost(void **state)
{
	struct rqs_sample_facts facts = facts_on_stack(64);
	(void)state;

	start(MEAN);
	facts.memory = (void *)0x10000;
	starve();
	assert_int_equal(rqs_sample_commit(&agent, &worker, &facts), 0);
	assert_int_equal(agent.process->events[RQS_EVENT_SAMPLE_LOST], 1);
	assert_false(rqs_followed_maybe(facts.memory));
	stop();
}

/* However many samples nobody reads: requests find room, also in the chunk that a sample didn't fit into. */
static void samples_leave_room_for_requests(void **state)
{
	struct rqs_sample_facts facts = facts_on_stack(8192);
	unsigned committed = 0;
	(void)state;

	start(MEAN);
	while (rqs_sample_commit(&agent, &worker, &facts) && !is_bare())
		committed++;
	assert_in_range(committed, RQS_CHUNKS / RQS_STACKS_PART, 3 * RQS_CHUNKS / RQS_STACKS_PART);
	for (committed = 0; rqs_sample_commit(&agent, &worker, &facts); committed++)
		assert_true(is_bare());
	assert_in_range(committed, (RQS_CHUNKS / RQS_SAMPLES_PART - RQS_CHUNKS / RQS_STACKS_PART) * 140,
			RQS_CHUNKS / RQS_SAMPLES_PART * 145);
	assert_int_equal(agent.process->events[RQS_EVENT_CHUNK_STARVED], 0);
	const struct rqs_chunk_header *chunk = worker.chunk;
	assert_non_null(rqs_record_space(&agent, &worker, 8));
	assert_ptr_equal(worker.chunk, chunk);
	rqs_record_commit(&worker, 8);
	assert_non_null(rqs_record_space(&agent, &worker, 16000));
	assert_ptr_not_equal(worker.chunk, chunk);
	assert_int_equal(chunk->sealed, 1);
	/* Nor is the room in theirs for samples. */
	assert_int_equal(rqs_sample_commit(&agent, &worker, &facts), 0);
	stop();
}

/* As the collector does with what it has read. */
static void free_sealed(void)
{
	for (uint32_t i = 0; i < RQS_CHUNKS; i++)
		if (region.owners[i] && rqs_chunk_at(&region, i)->sealed)
			rqs_region_free_chunk(&region, i);
}

/* Of ever more threads, each with a sample and then asleep. */
static void threads_that_wait_leave_room_for_samples_of_others(void **state)
{
	struct rqs_sample_facts facts = facts_on_stack(4096);
	const uint32_t count = RQS_CHUNKS / RQS_SAMPLES_PART + 500;
	struct rqs_worker *many = calloc(count, sizeof(*many));
	(void)state;

	start(MEAN);
	for (uint32_t i = 0; i < count; i++) {
		rqs_worker_start(&agent, &many[i]);
		assert_int_not_equal(rqs_sample_commit(&agent, &many[i], &facts), 0);
		if (i % 100 == 0)
			free_sealed();
	}
	assert_null(many[count - 1].chunk);
	assert_int_equal(agent.process->events[RQS_EVENT_SAMPLE_LOST], 0);
	assert_int_equal(agent.process->events[RQS_EVENT_CHUNK_STARVED], 0);
	free(many);
	stop();
}

/* What is a request's stays known: to which it belongs, and how much. */
static void without_room_for_its_stack_a_sample_tells_the_rest(void **state)
{
	static const char stack[8192] __attribute__((aligned(16)));
	struct rqs_sample_frame frames[] = {{1, 10}, {2, 20 | RQS_FRAME_ENTRY}};
	uint64_t registers[RQS_SAMPLE_REGISTERS] = {[RQS_SAMPLE_RSP] = (uint64_t)stack};
	struct rqs_sample_facts facts = facts_of(registers);
	(void)state;

	start(MEAN);
	/* One that had a chunk keeps the next as well. */
	assert_non_null(rqs_record_space(&agent, &worker, 8));
	worker.chunk_used = RQS_CHUNK_SIZE;
	for (unsigned i = 0; i < RQS_CHUNKS / RQS_STACKS_PART; i++)
		agent.owners[i] = 1;
	facts.stack_end = (uint64_t)stack + sizeof(stack);
	facts.slot = 77;
	facts.ordinal = 5;
	facts.frames = frames;
	facts.frame_count = 2;
	facts.memory = (void *)0x10000;
	assert_int_equal(rqs_sample_commit(&agent, &worker, &facts), 1);
	const struct rqs_sample_record *record = record_at(0);
	assert_int_equal(record->flags, RQS_SAMPLE_NO_ROOM | RQS_SAMPLE_MORE_STACK | RQS_SAMPLE_FOLLOWED);
	assert_int_equal(record->size, sizeof(*record) + sizeof(frames));
	assert_int_equal(record->stack_bytes, 0);
	assert_int_equal(record->slot, 77);
	assert_int_equal(record->bytes, 100);
	assert_memory_equal(record->frames, frames, sizeof(frames));
	assert_int_equal(agent.process->events[RQS_EVENT_SAMPLE_LOST], 0);
	/* Chunks with room again: stacks are copied again, of what runs Python's functions the inner part. */
	memset(agent.owners, 0, RQS_CHUNKS / RQS_STACKS_PART * sizeof(*agent.owners));
	worker.stacks_starved_at = 0;
	assert_int_equal(rqs_sample_commit(&agent, &worker, &facts), 2);
	assert_int_equal(record_at(0)->stack_bytes, RQS_SAMPLE_SHORT);
	assert_int_equal(record_at(0)->flags & RQS_SAMPLE_NO_ROOM, 0);
	stop();
}

/* More of shorter ones fit. */
static void where_room_is_scarce_stacks_are_shorter(void **state)
{
	static const char stack[RQS_SAMPLE_STACK] __attribute__((aligned(16)));
	uint64_t registers[RQS_SAMPLE_REGISTERS] = {[RQS_SAMPLE_RSP] = (uint64_t)stack};
	struct rqs_sample_facts facts = facts_of(registers);
	(void)state;

	start(MEAN);
	facts.stack_end = (uint64_t)stack + sizeof(stack);
	assert_int_equal(rqs_sample_commit(&agent, &worker, &facts), 1);
	assert_int_equal(record_at(0)->stack_bytes, RQS_SAMPLE_STACK);
	for (unsigned i = 0; i < RQS_CHUNKS / RQS_STACKS_PART / 2 + 1; i++)
		agent.owners[i] = 1;
	assert_int_equal(rqs_sample_commit(&agent, &worker, &facts), 2);
	assert_int_equal(rqs_sample_commit(&agent, &worker, &facts), 3);
	assert_int_equal(record_at(worker.chunk_used - sizeof(struct rqs_sample_record) - RQS_SAMPLE_SHORT)->stack_bytes,
			 RQS_SAMPLE_SHORT);
	stop();
}

/* As often as one of the fewer bytes would have been a sample, of those of the more that were. */
static void a_sample_that_shrinks_stays_by_its_size(void **state)
{
	enum { N = 200000 };
	const struct {
		uint64_t from, to;
	} sizes[] = {{8 * MEAN, MEAN}, {MEAN, MEAN / 2}, {MEAN / 10, MEAN / 20}, {MEAN / 100, 1}, {100, 99}, {10, 10}};
	(void)state;

	start(MEAN);
	for (size_t i = 0; i < sizeof(sizes) / sizeof(*sizes); i++) {
		double expected = expm1(-(double)sizes[i].to / MEAN) / expm1(-(double)sizes[i].from / MEAN);
		unsigned stayed = 0;

		for (int k = 0; k < N; k++)
			stayed += rqs_sample_stays(&agent, &worker, sizes[i].from, sizes[i].to);
		assert_true(fabs(stayed - N * expected) <= 4 * sqrt(N * expected * (1 - expected)));
	}
	assert_false(rqs_sample_stays(&agent, &worker, 100, 0));
	stop();
}

static const struct rqs_freed_record *freed_at(uint32_t offset)
{
	return (const void *)record_at(offset);
}

static void the_end_of_a_followed_block_names_its_sample(void **state)
{
	struct rqs_sample_facts facts = facts_on_stack(64);
	(void)state;

	start(MEAN);
	facts.memory = (void *)0x10000;
	assert_int_equal(rqs_sample_commit(&agent, &worker, &facts), 1);
	assert_int_equal(record_at(0)->flags, RQS_SAMPLE_FOLLOWED);
	assert_true(rqs_followed_maybe(facts.memory));
	uint64_t followed = rqs_followed_take(facts.memory);
	uint32_t at = worker.chunk_used;
	rqs_sample_ended(&agent, &worker, followed, false);
	assert_int_equal(freed_at(at)->type, RQS_RECORD_FREED);
	assert_int_equal(freed_at(at)->number, 1);
	assert_int_equal(freed_at(at)->withdrawn, 0);

	/* Its free wasn't seen, and there it is again. */
	assert_int_equal(rqs_sample_commit(&agent, &worker, &facts), 2);
	at = worker.chunk_used;
	assert_int_equal(rqs_sample_commit(&agent, &worker, &facts), 3);
	assert_int_equal(freed_at(at)->type, RQS_RECORD_FREED);
	assert_int_equal(freed_at(at)->number, 2);

	/* A recording later it is none of this one's. */
	followed = rqs_followed_take(facts.memory);
	agent.epoch++;
	at = worker.chunk_used;
	rqs_sample_ended(&agent, &worker, followed, false);
	assert_int_equal(worker.chunk_used, at);
	stop();
}

static uint64_t unfollowed(void)
{
	return agent.process->events[RQS_EVENT_SAMPLE_UNFOLLOWED];
}

/* Neither a free inside of the core nor one without room is forgotten: the block would seem to live on. */
static void an_end_that_cannot_be_told_is_told_later(void **state)
{
	const uint64_t now = 1ull << 48, expected[] = {7, 5, 6};
	(void)state;

	start(MEAN);
	rqs_sample_ended_later(&agent, now | 5, false);
	starve();
	rqs_sample_ended(&agent, &worker, now | 6, true);
	memset(agent.owners, 0, RQS_CHUNKS * sizeof(*agent.owners));
	worker.samples_starved_at = 0;
	rqs_sample_ended(&agent, &worker, now | 7, false);
	for (uint32_t i = 0; i < 3; i++) {
		const struct rqs_freed_record *record = freed_at(i * (uint32_t)sizeof(*record));

		assert_int_equal(record->number, expected[i]);
		assert_int_equal(record->withdrawn, i == 2);
	}
	assert_int_equal(worker.chunk->head, 3 * sizeof(struct rqs_freed_record));
	assert_int_equal(unfollowed(), 0);
	for (unsigned i = 0; i <= RQS_SAMPLES_UNTOLD; i++)
		rqs_sample_ended_later(&agent, now | (i + 10), false);
	/* Also of those that will be told: a process that is killed first doesn't. */
	assert_int_equal(unfollowed(), RQS_SAMPLES_UNTOLD + 1);
	rqs_sample_tell_untold(&agent, &worker);
	assert_int_equal(unfollowed(), 1);
	/* That of a recording before. */
	rqs_sample_ended_later(&agent, now << 1 | 5, false);
	assert_int_equal(unfollowed(), 1);
	assert_false(agent.has_untold);
	stop();
}

static unsigned ends_in_chunk(void)
{
	unsigned ends = 0;

	for (uint32_t at = 0; at < worker.chunk_used; at += record_at(at)->size)
		ends += record_at(at)->type == RQS_RECORD_FREED;
	return ends;
}

/* No other followed block may ever be freed: whoever writes records next tells of those that are left. */
static void the_next_record_of_any_kind_brings_the_ends_along(void **state)
{
	static const char stack[64] __attribute__((aligned(16)));
	uint64_t registers[RQS_SAMPLE_REGISTERS] = {[RQS_SAMPLE_RSP] = (uint64_t)stack};
	const uint64_t now = 1ull << 48;
	struct rqs_conn conn = {.first = RQS_NO_SLOT, .last = RQS_NO_SLOT, .reading = RQS_NO_SLOT};
	(void)state;

	start(MEAN);
	struct rqs_sample_facts facts = facts_of(registers);
	facts.stack_end = (uint64_t)stack + sizeof(stack);
	rqs_sample_ended_later(&agent, now | 5, false);
	assert_int_not_equal(rqs_sample_commit(&agent, &worker, &facts), 0);
	assert_int_equal(ends_in_chunk(), 1);

	struct rqs_call call = {.agent = &agent, .worker = &worker, .ticks = 1};
	rqs_request_open(&call, &conn);
	rqs_sample_ended_later(&agent, now | 6, false);
	rqs_request_end(&call, &conn, RQS_ENDING_COMPLETE);
	assert_int_equal(ends_in_chunk(), 2);

	rqs_sample_ended_later(&agent, now | 7, false);
	rqs_agent_exit(&agent, &worker);
	assert_int_equal(ends_in_chunk(), 3);
	assert_int_equal(unfollowed(), 0);
	stop();
}

static void numbers_begin_anew_in_a_forks_child(void **state)
{
	struct rqs_sample_facts facts = facts_on_stack(64);
	(void)state;

	start(MEAN);
	assert_int_equal(rqs_sample_commit(&agent, &worker, &facts), 1);
	assert_int_equal(rqs_sample_commit(&agent, &worker, &facts), 2);
	uint64_t random = worker.random;
	alive.epoch = 0;
	assert_true(rqs_worker_enter(&agent, &worker));
	assert_true(worker.random != random);
	assert_int_equal(rqs_sample_commit(&agent, &worker, &facts), 1);
	stop();
}

/* ---- whose it is ---- */

static void samples_are_the_open_requests_own(void **state)
{
	struct rqs_call call;
	uint64_t registers[RQS_SAMPLE_REGISTERS] = {0};
	(void)state;

	start(MEAN);
	rqs_call_begin(&call, &agent, &worker, 0);
	call.fd = 5;
	call.ticks = 1;
	struct rqs_conn connection = {.first = RQS_NO_SLOT, .last = RQS_NO_SLOT, .reading = RQS_NO_SLOT};

	struct rqs_sample_facts facts = facts_of(registers);
	rqs_meter_thread.sampled(&call, &facts);
	assert_int_equal(facts.slot, RQS_SAMPLE_NO_SLOT);

	rqs_request_open(&call, &connection);
	rqs_meter_thread.sampled(&call, &facts);
	assert_int_equal(facts.slot, connection.first);
	assert_int_equal(facts.ordinal, 1);

	/* A second one open in the same thread: neither's allocations can be told. */
	struct rqs_conn other = connection;
	other.first = other.last = other.reading = RQS_NO_SLOT;
	rqs_request_open(&call, &other);
	facts = facts_of(registers);
	rqs_meter_thread.sampled(&call, &facts);
	assert_int_equal(facts.slot, RQS_SAMPLE_NO_SLOT);

	rqs_request_end(&call, &connection, RQS_ENDING_COMPLETE);
	rqs_request_end(&call, &other, RQS_ENDING_COMPLETE);
	rqs_request_open(&call, &connection);
	rqs_meter_thread.sampled(&call, &facts);
	assert_int_equal(facts.slot, connection.first);
	assert_int_equal(facts.ordinal, 2);
	worker.event_loop = true;
	facts = facts_of(registers);
	rqs_meter_thread.sampled(&call, &facts);
	assert_int_equal(facts.slot, RQS_SAMPLE_NO_SLOT);
	worker.event_loop = false;
	rqs_request_end(&call, &connection, RQS_ENDING_COMPLETE);
	rqs_meter_thread.sampled(&call, &facts);
	assert_int_equal(facts.slot, RQS_SAMPLE_NO_SLOT);
	stop();
}

/* ---- followed blocks ---- */

static const void *block(uint64_t i)
{
	return (const void *)(0x7f0000000000ull + i * 16);
}

static void followed_blocks_are_found_once(void **state)
{
	(void)state;

	assert_false(rqs_followed_maybe(block(1)));
	assert_false(rqs_followed_add(block(1), 1)); /* not begun */
	assert_int_equal(rqs_followed_take(block(1)), 0);
	start(MEAN);
	for (uint64_t i = 1; i <= 10000; i++)
		assert_true(rqs_followed_add(block(i), i));
	for (uint64_t i = 10001; i <= 20000; i++)
		assert_int_equal(rqs_followed_take(block(i)), 0);
	for (uint64_t i = 1; i <= 10000; i++) {
		assert_true(rqs_followed_maybe(block(i)));
		assert_int_equal(rqs_followed_take(block(i)), i);
		assert_int_equal(rqs_followed_take(block(i)), 0);
		assert_false(rqs_followed_maybe(block(i)));
	}
	assert_int_equal(rqs_followed_take(NULL), 0);
	stop();
	assert_false(rqs_followed_maybe(block(1)));
}

/* Other addresses of the same hash. */
static unsigned with_hash_of(const void *first, const void **found, unsigned wanted)
{
	unsigned n = 0;

	for (uint64_t i = 2; n < wanted; i++)
		if (rqs_followed_hash(block(i)) == rqs_followed_hash(first))
			found[n++] = block(i);
	return n;
}

static void collisions_and_tombstones_lose_nothing(void **state)
{
	const void *same[40];
	unsigned room = 0;
	(void)state;

	start(MEAN);
	with_hash_of(block(1), same, 40);
	while (room < 40 && rqs_followed_add(same[room], room + 1))
		room++;
	assert_in_range(room, 8, 39); /* full: not followed, not lost */
	/* What was taken leaves room, and those behind it are found. */
	assert_int_equal(rqs_followed_take(same[2]), 3);
	assert_int_equal(rqs_followed_take(same[room - 1]), room);
	assert_true(rqs_followed_add(same[room], 100));
	assert_true(rqs_followed_add(same[2], 101));
	assert_false(rqs_followed_add(same[room - 1], 102));
	assert_int_equal(rqs_followed_take(same[room]), 100);
	assert_int_equal(rqs_followed_take(same[2]), 101);
	for (unsigned i = 0; i < room - 1; i++)
		assert_int_equal(rqs_followed_take(same[i]), i == 2 ? 0 : i + 1);
	assert_false(rqs_followed_maybe(block(1)));
	stop();
}

static void a_full_table_says_so(void **state)
{
	uint64_t added = 0;
	(void)state;

	start(MEAN);
	for (uint64_t i = 0; i < 4 * RQS_FOLLOWED_TAGS; i++)
		added += rqs_followed_add(block(i), i + 1);
	assert_int_equal(added, RQS_FOLLOWED_TAGS);
	uint64_t taken = 0;
	for (uint64_t i = 0; i < 4 * RQS_FOLLOWED_TAGS; i++)
		taken += rqs_followed_take(block(i)) == i + 1;
	assert_int_equal(taken, added);
	stop();
}

/* Half full of live blocks it takes nearly all, however often they change. */
static void half_full_is_no_hindrance(void **state)
{
	enum { LIVE = RQS_FOLLOWED_TAGS / 2, TURNS = 20 * LIVE };
	static uint64_t live[LIVE];
	unsigned refused = 0;
	(void)state;

	start(MEAN);
	srand48(1);
	for (unsigned i = 0; i < TURNS; i++) {
		uint64_t *place = &live[i % LIVE];

		if (*place)
			assert_int_equal(rqs_followed_take(block(*place)), *place);
		*place = (uint64_t)lrand48() << 20 | i;
		if (!rqs_followed_add(block(*place), *place)) {
			*place = 0;
			refused++;
		}
	}
	assert_true(refused < TURNS / 1000);
	stop();
}

#define THREADS 4
#define ROUNDS 200000

static void *hammer(void *argument)
{
	uint64_t own = (uint64_t)argument;
	uintptr_t wrong = 0;

	for (uint64_t i = 0; i < ROUNDS; i++) {
		/* All of few hashes, with other threads' between them. */
		const void *mine = block((i % 64) * THREADS + own);
		uint64_t number = own << 32 | (i + 1);

		if (rqs_followed_add(mine, number) && (!rqs_followed_maybe(mine) || rqs_followed_take(mine) != number))
			wrong++;
	}
	return (void *)wrong;
}

static void threads_do_not_disturb_each_other(void **state)
{
	pthread_t threads[THREADS];
	(void)state;

	start(MEAN);
	for (uintptr_t i = 0; i < THREADS; i++)
		pthread_create(&threads[i], NULL, hammer, (void *)i);
	for (unsigned i = 0; i < THREADS; i++) {
		void *wrong;

		pthread_join(threads[i], &wrong);
		assert_null(wrong);
	}
	for (unsigned i = 0; i < RQS_FOLLOWED_TAGS; i++)
		assert_int_equal(rqs_followed_tags[i], 0);
	stop();
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(distances_are_exponential),
	    cmocka_unit_test(distances_have_their_tails),
	    cmocka_unit_test(a_distance_is_the_logarithm),
	    cmocka_unit_test(extreme_means_do_no_harm),
	    cmocka_unit_test(sizes_are_sampled_by_their_probability),
	    cmocka_unit_test(nothing_is_due_where_no_samples_are_taken),
	    cmocka_unit_test(seeds_differ),
	    cmocka_unit_test(a_sample_is_committed_whole),
	    cmocka_unit_test(a_stack_is_copied_to_the_end_of_its_mapping),
	    cmocka_unit_test(a_frozen_agent_copies_the_page_it_is_on),
	    cmocka_unit_test(without_room_a_sample_is_counted_as_lost),
	    cmocka_unit_test(samples_leave_room_for_requests),
	    cmocka_unit_test(threads_that_wait_leave_room_for_samples_of_others),
	    cmocka_unit_test(without_room_for_its_stack_a_sample_tells_the_rest),
	    cmocka_unit_test(where_room_is_scarce_stacks_are_shorter),
	    cmocka_unit_test(a_sample_that_shrinks_stays_by_its_size),
	    cmocka_unit_test(the_end_of_a_followed_block_names_its_sample),
	    cmocka_unit_test(an_end_that_cannot_be_told_is_told_later),
	    cmocka_unit_test(the_next_record_of_any_kind_brings_the_ends_along),
	    cmocka_unit_test(numbers_begin_anew_in_a_forks_child),
	    cmocka_unit_test(samples_are_the_open_requests_own),
	    cmocka_unit_test(followed_blocks_are_found_once),
	    cmocka_unit_test(collisions_and_tombstones_lose_nothing),
	    cmocka_unit_test(a_full_table_says_so),
	    cmocka_unit_test(half_full_is_no_hindrance),
	    cmocka_unit_test(threads_do_not_disturb_each_other),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
