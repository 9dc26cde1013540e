/* test_drain.c - the collector against regions as agents leave them, and as no agent would. */
#include "unit.h"

#include "collect/drain.h"
#include "collect/frame_json.h"
#include "fake_agent.h"

#include <pthread.h>
#include <signal.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/wait.h>

/* A collector without its loop, and an agent, on one region. */
static struct {
	struct rqs_region region;
	struct rqs_calibration clock;
	struct rqs_processes processes;
	struct rqs_batch requests;
	struct rqs_drain drain;
	struct fake_agent agent;
	uint32_t flushed; /* rows */
} t;

static void full(void *context)
{
	(void)context;
	t.flushed += t.requests.count;
	rqs_batch_clear(&t.requests);
}

static int set_up(void **state)
{
	(void)state;
	memset(&t, 0, sizeof(t));
	t.clock = (struct rqs_calibration){.clock = RQS_CLOCK_MONOTONIC, .ns_per_tick = 1ull << 32};
	assert_int_equal(rqs_region_create(&t.region), 0);
	t.region.header->clock = RQS_CLOCK_MONOTONIC;
	rqs_processes_init(&t.processes, &t.region, &t.clock, -1);
	assert_int_equal(rqs_batch_init(&t.requests, &rqs_batch_requests), 0);
	t.drain.region = &t.region;
	t.drain.clock = &t.clock;
	t.drain.processes = &t.processes;
	t.drain.requests = &t.requests;
	t.drain.full = full;
	assert_int_equal(rqs_drain_init(&t.drain), 0);
	fake_attach(&t.agent, t.region.header);
	return 0;
}

static int tear_down(void **state)
{
	(void)state;
	if (t.agent.table)
		munmap(t.agent.table, sizeof(*t.agent.table));
	rqs_drain_free(&t.drain);
	rqs_batch_free(&t.requests);
	rqs_processes_free(&t.processes);
	rqs_region_destroy(&t.region);
	return 0;
}

static void join(void)
{
	fake_process(&t.agent, 0, 0);
	fake_thread(&t.agent);
}

/* The watched of the agent's present process. */
static struct rqs_watched *watched(void)
{
	struct rqs_watched *it = rqs_processes_at(&t.processes, t.agent.process);

	assert_non_null(it);
	return it;
}

/* As if its pidfd had told of its death. */
static void die(struct rqs_watched *it)
{
	it->dying = true;
	rqs_drain_dying(&t.drain);
}

static void assert_counts(struct rqs_completeness c, unsigned started, unsigned finished, unsigned dropped,
			  unsigned unfinished, unsigned given_up)
{
	assert_int_equal(c.started, started);
	assert_int_equal(c.finished, finished);
	assert_int_equal(c.dropped, dropped);
	assert_int_equal(c.unfinished, unfinished);
	assert_int_equal(c.given_up, given_up);
	assert_int_equal(c.started, c.finished + c.dropped + c.unfinished + c.given_up);
}

static void assert_region_is_free(void)
{
	for (uint32_t i = 0; i < RQS_CHUNKS; i++)
		assert_int_equal(t.region.owners[i], 0);
	for (uint32_t i = 0; i < RQS_THREADS; i++)
		assert_int_equal(t.region.threads[i].owner, 0);
	for (uint32_t i = 0; i < RQS_PROCESSES; i++)
		assert_int_equal(t.region.processes[i].owner, 0);
	for (uint32_t i = 0; i < RQS_TABLES; i++)
		assert_int_equal(t.region.table_owners[i], 0);
}

static const struct rqs_request_row *last_row(void)
{
	assert_true(t.requests.count > 0);
	return (const struct rqs_request_row *)t.requests.rows + t.requests.count - 1;
}

/* One request, recorded after `change` has had its way with the record. */
static void finish_changed(void (*change)(struct rqs_record *))
{
	fake_open(&t.agent, 0);
	struct rqs_record *record = fake_room(&t.agent, sizeof(*record) + RQS_ROUTE_MAX);
	uint32_t size = fake_fill(&t.agent, record, 0, "/json");

	change(record);
	fake_commit(&t.agent, size);
	fake_slot(&t.agent, 0)->finished++;
}

/* Sound agents */

static void a_request_becomes_a_row(void **state)
{
	(void)state;
	join();
	fake_open(&t.agent, 3);
	fake_finish(&t.agent, 3, "/users/{}", 1);
	assert_int_equal(rqs_drain_records(&t.drain), 1);
	assert_int_equal(rqs_drain_records(&t.drain), 0);
	const struct rqs_request_row *row = last_row();
	assert_int_equal(row->status, 200);
	assert_int_equal(row->process, 0);
	assert_in_range(row->handler, 200000, 400000);
	assert_in_range(row->queue, 10000, 20000);
	assert_int_equal(row->alloc_count, RQS_NULL);
	assert_memory_equal(t.requests.texts, "/users/{}", 9);
	assert_true(row->time + row->queue + row->handler + row->send <= rqs_monotonic_ns());
}

/* Chunk after chunk is sealed, read and freed: they don't pile up. */
static void sealed_chunks_come_back(void **state)
{
	(void)state;
	join();
	for (int i = 0; i < 100000; i++) {
		fake_open(&t.agent, 0);
		fake_finish(&t.agent, 0, "/json", 1);
		if (i % 1000 == 999)
			rqs_drain_records(&t.drain);
	}
	assert_int_equal(t.flushed + t.requests.count, 100000);
	for (uint32_t i = 40; i < RQS_CHUNKS; i++)
		assert_int_equal(t.region.owners[i], 0);
	assert_true(t.region.header->reclaimed > 500);
	struct rqs_watched *it = watched();
	die(it);
	assert_counts(rqs_completeness_of(it), 100000, 100000, 0, 0, 0);
	assert_region_is_free();
}

/* With nobody reading, all chunks fill; what finds none is counted, and the rest is whole. */
static void a_full_region_drops_and_counts(void **state)
{
	(void)state;
	const unsigned requests = (RQS_CHUNKS + 5) * (RQS_CHUNK_SIZE / 96);

	join();
	for (unsigned i = 0; i < requests; i++) {
		fake_open(&t.agent, 0);
		fake_finish(&t.agent, 0, "/", 1);
	}
	uint64_t dropped = fake_slot(&t.agent, 0)->dropped;
	assert_true(dropped > 0);
	rqs_drain_records(&t.drain);
	struct rqs_watched *it = watched();
	die(it);
	assert_counts(rqs_completeness_of(it), requests, requests - (unsigned)dropped, (unsigned)dropped, 0, 0);
	assert_region_is_free();
	/* Chunks high up were given back to the kernel, and are zero for the next owner. */
	assert_int_equal(fake_header(&t.agent, RQS_CHUNKS - 1)->head, 0);
}

/* What held records may hold request slots next, and an agent relies on their counters being 0. */
static void a_freed_chunk_is_all_zero(void **state)
{
	(void)state;
	static const unsigned char zero[RQS_CHUNK_SIZE];

	join();
	fake_slot(&t.agent, 0);
	for (int i = 0; i < 400; i++) {
		fake_open(&t.agent, 0);
		fake_finish(&t.agent, 0, "/json", 1);
	}
	rqs_drain_records(&t.drain);
	assert_int_equal(t.region.owners[1], 0);
	assert_memory_equal(fake_header(&t.agent, 1), zero, RQS_CHUNK_SIZE);
	die(watched());
	for (uint32_t i = 0; i < 5; i++)
		assert_memory_equal(fake_header(&t.agent, i), zero, RQS_CHUNK_SIZE);
}

static void open_slots_are_unfinished(void **state)
{
	(void)state;
	join();
	for (uint32_t i = 0; i < 5; i++)
		fake_open(&t.agent, i);
	fake_finish(&t.agent, 0, "/", 1);
	fake_slot(&t.agent, 1)->given_up++;
	fake_slot(&t.agent, 2)->dropped++;
	t.agent.processes[t.agent.process].unslotted = 4;
	t.agent.processes[t.agent.process].preceding = 3;
	rqs_drain_records(&t.drain);
	rqs_drain_survey(&t.drain);
	rqs_processes_refresh(&t.processes, rqs_monotonic_ns());
	struct rqs_watched *it = watched();
	assert_counts(rqs_completeness_of(it), 12, 1, 5, 5, 1);
	die(it);
	assert_counts(rqs_completeness_of(it), 12, 1, 5, 5, 1);
}

/* The head of reqscope/region.h: a kill between the commit of a record and the store of `finished`. */
static void a_kill_after_the_commit_counts_once(void **state)
{
	(void)state;
	join();
	for (uint32_t i = 0; i < 3; i++)
		fake_open(&t.agent, i);
	fake_finish(&t.agent, 1, "/", 0);
	fake_finish(&t.agent, 2, "/", 1);
	struct rqs_watched *it = watched();
	die(it); /* reads the records, too */
	assert_counts(rqs_completeness_of(it), 3, 2, 0, 1, 0);
	assert_int_equal(t.requests.count, 2);
}

/* A slot's later request may have been read, by another thread's chunk, before its earlier one. */
static void records_of_a_slot_may_come_out_of_order(void **state)
{
	(void)state;
	join();
	fake_slot(&t.agent, 0);
	uint32_t low = fake_chunk(&t.agent, RQS_CHUNK_RECORDS), high = fake_chunk(&t.agent, RQS_CHUNK_RECORDS);
	t.agent.records = high;
	fake_open(&t.agent, 0);
	fake_finish(&t.agent, 0, "/first", 1);
	t.agent.records = low;
	fake_open(&t.agent, 0);
	fake_finish(&t.agent, 0, "/second", 0);
	struct rqs_watched *it = watched();
	die(it);
	assert_counts(rqs_completeness_of(it), 2, 2, 0, 0, 0);
}

static void *record_from_a_thread(void *unused)
{
	(void)unused;
	fake_thread(&t.agent);
	t.agent.threads[t.agent.thread].alloc_count = 7;
	t.agent.threads[t.agent.thread].alloc_bytes = 700;
	fake_open(&t.agent, 0);
	fake_finish(&t.agent, 0, "/", 1);
	return NULL;
}

/* The linker puts this in the place of the collector's own (Makefile). */
void __real_rqs_region_free_chunk(struct rqs_region *region, uint32_t chunk);
void __wrap_rqs_region_free_chunk(struct rqs_region *region, uint32_t chunk);
static bool claimed_at_once;

void __wrap_rqs_region_free_chunk(struct rqs_region *region, uint32_t chunk)
{
	__real_rqs_region_free_chunk(region, chunk);
	if (!claimed_at_once)
		return;
	claimed_at_once = false;
	fake_open(&t.agent, 0);
	fake_finish(&t.agent, 0, "/", 1);
	assert_int_equal(t.agent.records, chunk);
}

/* The owner word is then what it was before the chunk was freed, and what is in it is new all the same. */
static void a_freed_chunk_may_be_claimed_at_once(void **state)
{
	(void)state;
	join();
	fake_open(&t.agent, 0);
	fake_finish(&t.agent, 0, "/", 1);
	fake_header(&t.agent, t.agent.records)->sealed = 1;
	t.agent.records = RQS_CHUNKS;
	claimed_at_once = true;
	assert_int_equal(rqs_drain_records(&t.drain), 1);
	assert_false(claimed_at_once);
	assert_int_equal(rqs_drain_records(&t.drain), 1);
	assert_int_equal(t.drain.broken_chunks, 0);
}

static void a_dead_threads_things_are_freed(void **state)
{
	(void)state;
	pthread_t thread;

	fake_process(&t.agent, 0, 0);
	fake_thread(&t.agent);
	fake_slot(&t.agent, 0);
	uint32_t own = t.agent.thread;
	for (int i = 0; i < 3; i++) {
		pthread_create(&thread, NULL, record_from_a_thread, NULL);
		pthread_join(thread, NULL);
	}
	rqs_drain_dead_threads(&t.drain);
	struct rqs_watched *it = watched();
	assert_int_equal(it->records, 3);
	assert_int_equal(it->folded.alloc_count, 21);
	assert_int_equal(it->folded.alloc_bytes, 2100);
	assert_int_equal(t.region.threads[t.agent.thread].owner, 0);
	assert_int_equal(t.region.owners[t.agent.records], 0);
	assert_int_not_equal(t.region.threads[own].owner, 0);
	assert_int_not_equal(t.region.owners[t.agent.slots], 0);
	die(it);
	assert_counts(rqs_completeness_of(it), 3, 3, 0, 0, 0);
	assert_region_is_free();
}

/* A process of another pid namespace: its tids mean nothing here. */
static void foreign_threads_are_left_alone(void **state)
{
	(void)state;
	fake_process(&t.agent, 2, RQS_PROCESS_FOREIGN_PIDS);
	t.agent.thread = fake_claim(&t.agent.threads->owner, sizeof(struct rqs_thread), RQS_THREADS,
				    (uint64_t)(t.agent.process + 1) << 32 | 0x7fffffff);
	fake_open(&t.agent, 0);
	fake_finish(&t.agent, 0, "/", 1);
	rqs_drain_records(&t.drain);
	rqs_drain_dead_threads(&t.drain);
	assert_int_not_equal(t.region.threads[t.agent.thread].owner, 0);
	assert_int_not_equal(t.region.owners[t.agent.records], 0);
	assert_false(watched()->dying);
	assert_int_equal(watched()->pidfd, -1);
}

static void a_new_image_ends_the_old_one(void **state)
{
	(void)state;
	join();
	fake_open(&t.agent, 0);
	struct rqs_watched *old = watched();
	assert_true(rqs_processes_note(&t.processes, old));
	t.agent.processes[t.agent.process].flags |= RQS_PROCESS_EXECED;
	rqs_processes_refresh(&t.processes, rqs_monotonic_ns());
	rqs_drain_dying(&t.drain);
	assert_false(old->ended);
	join();
	struct rqs_watched *new = watched();
	rqs_drain_dying(&t.drain);
	assert_true(old->ended);
	assert_false(new->dying);
	assert_counts(rqs_completeness_of(old), 1, 0, 0, 1, 0);
}

static void a_killed_process_is_seen_dead(void **state)
{
	(void)state;
	struct rqs_watched *it;
	pid_t child = fork();

	if (!child) {
		join();
		fake_open(&t.agent, 0);
		fake_open(&t.agent, 1);
		fake_finish(&t.agent, 1, "/", 0);
		kill(getpid(), SIGKILL);
	}
	waitpid(child, NULL, 0);
	rqs_processes_scan(&t.processes, rqs_monotonic_ns());
	it = t.processes.by_slot[0];
	assert_non_null(it);
	assert_true(it->dying); /* its pid is gone: known at first sight */
	rqs_drain_dying(&t.drain);
	assert_int_equal(t.processes.noted_count, 1);
	assert_counts(rqs_completeness_of(t.processes.noted[0]), 2, 1, 0, 1, 0);
	assert_region_is_free();
}

/* Killed between claiming its slot and being ready. */
static void a_claim_never_ready_is_undone(void **state)
{
	(void)state;
	pid_t child = fork();
	uint64_t now = rqs_monotonic_ns();

	if (!child)
		_exit(0);
	waitpid(child, NULL, 0);
	t.region.processes[7].owner = 1ull << 32 | (uint32_t)child;
	rqs_processes_scan(&t.processes, now);
	assert_int_not_equal(t.region.processes[7].owner, 0);
	rqs_processes_scan(&t.processes, now + 2000000000);
	assert_int_equal(t.region.processes[7].owner, 0);
}

static void helpers_leave_no_trace(void **state)
{
	(void)state;
	join();
	struct rqs_watched *it = watched();
	rqs_processes_refresh(&t.processes, rqs_monotonic_ns());
	die(it);
	assert_int_equal(t.processes.noted_count, 0);
	assert_int_equal(t.processes.registered, 1);
}

/* Go programs */

static void join_as_go(uint32_t pid, uint32_t measures)
{
	fake_go_process(&t.agent, pid, t.region.fd, measures);
	assert_true(t.agent.table != MAP_FAILED);
}

static uint64_t bytes_of_region(void)
{
	struct stat stat;

	assert_int_equal(fstat(t.region.fd, &stat), 0);
	return (uint64_t)stat.st_blocks * 512;
}

/* Goroutines all over the table, its first and last entries included. */
static void allocate_here_and_there(void)
{
	for (uint64_t i = 0; i < 1000; i++)
		fake_allocate(&t.agent, (0xc000000000 + i * 7919 * 512) & ~511ull, i);
	fake_allocate(&t.agent, (uint64_t)RQS_TABLE_ENTRIES << 9, 500);
	fake_allocate(&t.agent, ((uint64_t)RQS_TABLE_ENTRIES - 1) << 9, 500);
	t.agent.table->lost_bytes = 40;
	t.agent.table->lost_count = 2;
}

static void with_alloc(struct rqs_record *record)
{
	record->flags |= RQS_RECORD_HAS_ALLOC;
	record->alloc_count = 100;
	record->alloc_bytes = 4950;
}

static void goroutines_are_summed(void **state)
{
	(void)state;
	join_as_go(0, RQS_MEASURES_ALLOC);
	fake_thread(&t.agent);
	t.agent.threads[t.agent.thread].alloc_bytes = 1 << 20; /* of C code in the program */
	allocate_here_and_there();
	finish_changed(with_alloc);
	uint64_t size = bytes_of_region();
	rqs_drain_records(&t.drain);
	rqs_drain_dead_threads(&t.drain); /* the chunks name none */
	for (int i = 0; i < 3; i++)
		rqs_drain_survey(&t.drain);
	assert_true(bytes_of_region() < size + (1 << 20)); /* holes stayed holes */
	struct rqs_watched *it = watched();
	assert_int_equal(it->records, 1);
	assert_true(it->table.known);
	assert_int_equal(it->live.alloc_bytes, 999 * 1000 / 2 + 1040);
	assert_int_equal(it->live.alloc_count, 1004);
	assert_int_equal(it->record_alloc_bytes, 4950);
	fake_allocate(&t.agent, 512, 1);
	die(it);
	assert_int_equal(it->folded.alloc_bytes, 999 * 1000 / 2 + 1041);
	assert_int_equal(it->folded.alloc_count, 1005);
	assert_int_equal(it->live.alloc_bytes, 0);
	assert_null(it->table.table);
	assert_counts(rqs_completeness_of(it), 1, 1, 0, 0, 0);
	assert_region_is_free();
	assert_true(bytes_of_region() < size);
	assert_int_equal(t.agent.table->lost_bytes, 0); /* zero for the next owner */
	assert_int_equal(fake_goroutine(&t.agent, 512)->alloc_bytes, 0);
}

static void with_sched(struct rqs_record *record)
{
	record->flags |= RQS_RECORD_HAS_CPU | RQS_RECORD_HAS_SCHED;
	record->cpu_ticks = 2000000;
	record->sched_ticks = 31000000;
	record->children_ticks = 7;
}

static void with_impossible_sched(struct rqs_record *record)
{
	record->flags |= RQS_RECORD_HAS_CPU | RQS_RECORD_HAS_SCHED;
	record->cpu_ticks = record->sched_ticks = record->children_ticks = UINT64_MAX;
}

static void assert_sched(uint64_t cpu_time, uint64_t sched_wait, uint64_t children_cpu_time)
{
	rqs_drain_records(&t.drain);
	assert_int_equal(last_row()->cpu_time, cpu_time);
	assert_int_equal(last_row()->sched_wait, sched_wait);
	assert_int_equal(last_row()->children_cpu_time, children_cpu_time);
}

static void times_of_the_scheduler_are_taken(void **state)
{
	(void)state;
	t.clock.ns_per_tick = 1ull << 31;
	t.clock.latest_ticks = t.clock.latest_ns = rqs_monotonic_ns();
	join_as_go(0, RQS_MEASURES_SCHED | RQS_MEASURES_CHILDREN);
	finish_changed(with_sched);
	assert_sched(1000000, 15500000, 3);
	finish_changed(with_impossible_sched);
	assert_sched(RQS_VALUE_MAX, RQS_VALUE_MAX, RQS_VALUE_MAX);
	finish_changed(with_alloc);
	assert_sched(RQS_NULL, RQS_NULL, RQS_NULL);
	t.agent.processes[t.agent.process].measures = RQS_MEASURES_SCHED;
	rqs_processes_refresh(&t.processes, rqs_monotonic_ns());
	finish_changed(with_sched);
	assert_sched(1000000, 15500000, RQS_NULL);
}

static void go_processes_are_kept_apart(void **state)
{
	(void)state;
	join_as_go((uint32_t)getppid(), RQS_MEASURES_ALLOC);
	fake_allocate(&t.agent, 1024, 10);
	struct rqs_watched *one = watched();
	join_as_go(0, RQS_MEASURES_ALLOC);
	fake_allocate(&t.agent, 1024, 200);
	struct rqs_watched *two = watched();
	rqs_drain_survey(&t.drain);
	assert_int_equal(one->live.alloc_bytes, 10);
	assert_int_equal(two->live.alloc_bytes, 200);
	assert_true(rqs_processes_note(&t.processes, one));
	die(one);
	assert_int_equal(t.region.table_owners[0], 0);
	assert_int_not_equal(t.region.table_owners[1], 0);
	fake_allocate(&t.agent, 1024, 5);
	rqs_drain_survey(&t.drain);
	assert_int_equal(one->folded.alloc_bytes, 10);
	assert_int_equal(two->live.alloc_bytes, 205);
	die(two);
	assert_region_is_free();
}

/* Without that hook the table has other uses, and its counters none. */
static void unmeasured_allocations_are_not_summed(void **state)
{
	(void)state;
	join_as_go(0, RQS_MEASURES_SCHED);
	fake_allocate(&t.agent, 512, 100);
	struct rqs_watched *it = watched();
	rqs_drain_survey(&t.drain);
	assert_int_equal(it->live.alloc_bytes, 0);
	assert_false(it->table.known);
	assert_null(it->table.table);
	die(it);
	assert_region_is_free();
}

static void a_table_of_others_is_not_read(void **state)
{
	(void)state;
	static const uint64_t numbers[] = {0, 2, 3, RQS_TABLES, RQS_TABLES + 1, 1ull << 32 | 1, UINT64_MAX};

	t.region.table_owners[2] = 7ull << 32; /* of a process slot that nobody is in */
	t.region.table_owners[RQS_TABLES - 1] = UINT64_MAX;
	join_as_go(0, RQS_MEASURES_ALLOC);
	fake_allocate(&t.agent, 512, 100);
	struct rqs_watched *it = watched();
	for (size_t i = 0; i < sizeof(numbers) / sizeof(numbers[0]); i++) {
		it->table.number = numbers[i];
		rqs_drain_survey(&t.drain);
		assert_false(it->table.known);
		assert_int_equal(it->live.alloc_bytes, 0);
	}
	die(it);
	assert_int_equal(t.region.table_owners[0], 0);
	assert_int_not_equal(t.region.table_owners[2], 0);
}

static void impossible_sums_stop_at_the_greatest_value(void **state)
{
	(void)state;
	join_as_go(0, RQS_MEASURES_ALLOC);
	struct rqs_watched *it = watched();
	memset(t.agent.table, 0xff, 1 << 20);
	t.region.header->tables_offset = 77; /* what it says by now is not asked */
	rqs_drain_survey(&t.drain);
	assert_int_equal(it->live.alloc_bytes, RQS_VALUE_MAX);
	assert_int_equal(it->live.alloc_count, RQS_VALUE_MAX);
	die(it);
	assert_int_equal(t.agent.table->lost_bytes, 0);
	assert_region_is_free();
}

/* Killed between claiming a table and being ready. */
static void a_table_never_used_is_freed(void **state)
{
	(void)state;
	pid_t child = fork();
	uint64_t now = rqs_monotonic_ns();

	if (!child)
		_exit(0);
	waitpid(child, NULL, 0);
	t.region.processes[7].owner = 1ull << 32 | (uint32_t)child;
	t.region.table_owners[9] = 8ull << 32;
	rqs_processes_scan(&t.processes, now);
	assert_int_not_equal(t.region.table_owners[9], 0);
	rqs_processes_scan(&t.processes, now + 2000000000);
	assert_region_is_free();
}

static void a_killed_go_program_loses_no_count(void **state)
{
	(void)state;
	pid_t child = fork();

	if (!child) {
		join_as_go(0, RQS_MEASURES_ALLOC);
		fake_allocate(&t.agent, 1ull << 29, 4950);
		fake_allocate(&t.agent, 1ull << 28, 50);
		finish_changed(with_alloc);
		kill(getpid(), SIGKILL);
	}
	waitpid(child, NULL, 0);
	rqs_processes_scan(&t.processes, rqs_monotonic_ns());
	rqs_drain_dying(&t.drain);
	assert_int_equal(t.processes.noted_count, 1);
	assert_int_equal(t.processes.noted[0]->folded.alloc_bytes, 5000);
	assert_int_equal(t.processes.noted[0]->record_alloc_bytes, 4950);
	assert_region_is_free();
}

/* A limit on the sizes of files leaves no room for tables; all else works. */
static void a_short_region_has_no_tables(void **state)
{
	(void)state;
	struct rqs_region region;
	struct rlimit limit, before;

	signal(SIGXFSZ, SIG_IGN);
	getrlimit(RLIMIT_FSIZE, &before);
	limit = before;
	limit.rlim_cur = 1ull << 30;
	setrlimit(RLIMIT_FSIZE, &limit);
	assert_int_equal(rqs_region_create(&region), 0);
	setrlimit(RLIMIT_FSIZE, &before);
	assert_int_equal(region.header->tables_offset, 0);
	region.table_owners[0] = 1ull << 32;
	struct rqs_table_view view = {.number = 1};
	rqs_table_read(&view, &region, 0);
	assert_false(view.known);
	rqs_region_free_process(&region, 0);
	assert_int_equal(lseek(region.fd, 0, SEEK_END), region.header->region_size);
	rqs_region_destroy(&region);
}

/* Python */

static void with_python(struct rqs_record *record)
{
	record->flags |= RQS_RECORD_HAS_CPU | RQS_RECORD_HAS_GIL | RQS_RECORD_HAS_LOOP | RQS_RECORD_HAS_RECV;
	record->queue_ns = 10000;
	record->cpu_ticks = 2000000;
	record->gil_ticks = 40000;
	record->loop_ticks = 5000;
	record->recv_buffer_bytes = 262144;
}

static void with_impossible_python(struct rqs_record *record)
{
	with_python(record);
	record->gil_ticks = record->loop_ticks = record->recv_buffer_bytes = UINT64_MAX;
}

static void without_a_stamp(struct rqs_record *record)
{
	with_impossible_python(record);
	record->flags &= (uint16_t)~RQS_RECORD_HAS_QUEUE;
}

static void with_bytes_given_back(struct rqs_record *record)
{
	record->flags |= RQS_RECORD_HAS_ALLOC;
	record->alloc_bytes = -20ull;
}

static void assert_python(uint64_t gil_wait, uint64_t loop_delay, uint64_t recv_buffer_bytes)
{
	rqs_drain_records(&t.drain);
	assert_int_equal(last_row()->gil_wait, gil_wait);
	assert_int_equal(last_row()->loop_delay, loop_delay);
	assert_int_equal(last_row()->recv_buffer_bytes, recv_buffer_bytes);
	assert_int_equal(last_row()->sched_wait, RQS_NULL);
}

static void what_python_waits_for_is_taken(void **state)
{
	(void)state;
	t.clock.ns_per_tick = 1ull << 31;
	t.clock.latest_ticks = t.clock.latest_ns = rqs_monotonic_ns();
	join();
	finish_changed(with_python);
	assert_python(20000, 2500, 262144);
	assert_int_equal(last_row()->cpu_time, 1000000);
	finish_changed(with_alloc);
	assert_python(RQS_NULL, RQS_NULL, RQS_NULL);
	assert_int_equal(last_row()->cpu_time, RQS_NULL);
	/* A part of queue is never more than that. */
	finish_changed(with_impossible_python);
	assert_python(RQS_VALUE_MAX, 10000, RQS_VALUE_MAX);
	finish_changed(without_a_stamp);
	assert_python(RQS_VALUE_MAX, RQS_NULL, RQS_VALUE_MAX);
}

/* What of a wait isn't known has no known part. */
static void a_step_in_the_queue_is_in_its_part_as_well(void **state)
{
	uint64_t now = rqs_monotonic_ns();

	(void)state;
	join();
	t.drain.steps = (struct rqs_steps){0};
	rqs_steps_note(&t.drain.steps, now - 1, now, 0);
	rqs_steps_note(&t.drain.steps, now + 1000000000, now + 1000000001, 3600000000000);
	finish_changed(with_python);
	assert_python(40000, RQS_NULL, 262144);
	assert_int_equal(last_row()->queue, RQS_NULL);
	assert_true(last_row()->handler != RQS_NULL);
}

/* Its hooks are placed when it begins to listen, long after its slot was ready. */
static void what_is_measured_may_come_late(void **state)
{
	(void)state;
	join();
	struct rqs_process *process = &t.agent.processes[t.agent.process];
	struct rqs_watched *it = watched();
	struct rqs_thread *thread = &t.agent.threads[t.agent.thread];

	thread->alloc_count = 10;
	thread->alloc_bytes = 6000;
	rqs_drain_survey(&t.drain);
	assert_false(rqs_alloc_sums_of(it).measured);
	process->measures = RQS_MEASURES_ALLOC;
	finish_changed(with_alloc);
	thread->alloc_count += 103;
	thread->alloc_bytes += 5000;
	process->after_count = 3;
	process->after_bytes = 50;
	assert_true(rqs_processes_note(&t.processes, it));
	die(it);
	struct rqs_alloc_sums sums = rqs_alloc_sums_of(it);
	assert_true(sums.measured && sums.has_after);
	assert_int_equal(sums.bytes.whole, 11000);
	assert_int_equal(sums.bytes.requests, 4950);
	assert_int_equal(sums.bytes.after, 50);
	assert_int_equal(sums.count.whole, 113);
	assert_int_equal(sums.count.after, 3);
}

/* Broken ones */

static void no_size(struct rqs_record *record)
{
	record->size = 0;
}

static void odd_size(struct rqs_record *record)
{
	record->size = 97;
}

static void size_beyond_head(struct rqs_record *record)
{
	record->size += 8;
}

static void huge_size(struct rqs_record *record)
{
	record->size = 65528;
}

static void size_below_the_fixed_part(struct rqs_record *record)
{
	record->size = 80;
}

static void route_beyond_the_record(struct rqs_record *record)
{
	record->route_length = 17;
}

static void route_too_long(struct rqs_record *record)
{
	record->route_length = 65535;
}

static void bad_lengths_end_a_chunk(void **state)
{
	(void)state;
	static void (*const changes[])(struct rqs_record *) = {
	    no_size,        odd_size, size_beyond_head, huge_size, size_below_the_fixed_part, route_beyond_the_record,
	    route_too_long,
	};

	join();
	for (size_t i = 0; i < sizeof(changes) / sizeof(changes[0]); i++) {
		uint32_t before = t.requests.count;

		fake_open(&t.agent, 1);
		fake_finish(&t.agent, 1, "/good", 1);
		finish_changed(changes[i]);
		rqs_drain_records(&t.drain);
		assert_int_equal(t.requests.count, before + 1);
		assert_int_equal(t.drain.broken_chunks, i + 1);
		fake_header(&t.agent, t.agent.records)->sealed = 1;
		rqs_drain_records(&t.drain);
		assert_int_equal(t.region.owners[t.agent.records], 0);
		t.agent.records = RQS_CHUNKS;
	}
}

static void slot_out_of_range(struct rqs_record *record)
{
	record->slot = 0xffffffff;
}

static void slot_63(struct rqs_record *record)
{
	record->slot |= 63;
}

static void slot_of_no_chunk(struct rqs_record *record)
{
	record->slot += 64 * 100;
}

static void ordinal_0(struct rqs_record *record)
{
	record->ordinal = 0;
}

static void records_of_no_slot_are_refused(void **state)
{
	(void)state;
	static void (*const changes[])(struct rqs_record *) = {slot_out_of_range, slot_63, slot_of_no_chunk, ordinal_0};

	join();
	for (size_t i = 0; i < sizeof(changes) / sizeof(changes[0]); i++)
		finish_changed(changes[i]);
	fake_open(&t.agent, 0);
	fake_finish(&t.agent, 0, "/good", 1);
	rqs_drain_records(&t.drain);
	assert_int_equal(t.requests.count, 1);
	assert_int_equal(t.drain.malformed_records, 4);
	assert_int_equal(t.drain.broken_chunks, 0);
}

static void read_never(struct rqs_record *record)
{
	record->read = 0;
}

static void read_at_the_end_of_time(struct rqs_record *record)
{
	record->read = UINT64_MAX;
}

static void first_next_year(struct rqs_record *record)
{
	record->first_out += 365ull * 86400 * 1000000000;
}

static void last_next_year(struct rqs_record *record)
{
	record->last_out += 365ull * 86400 * 1000000000;
}

/* Believable as a request, not in its times: dropped, and counted so. */
static void impossible_times_drop_the_request(void **state)
{
	(void)state;
	static void (*const changes[])(struct rqs_record *) = {read_never, read_at_the_end_of_time, first_next_year,
							       last_next_year};

	join();
	for (size_t i = 0; i < sizeof(changes) / sizeof(changes[0]); i++)
		finish_changed(changes[i]);
	rqs_drain_records(&t.drain);
	assert_int_equal(t.requests.count, 0);
	struct rqs_watched *it = watched();
	assert_true(rqs_processes_note(&t.processes, it));
	die(it);
	assert_counts(rqs_completeness_of(it), 4, 0, 4, 0, 0);
}

static void everything_wild(struct rqs_record *record)
{
	record->method = 200;
	record->status = 65535;
	record->queue_ns = UINT64_MAX;
	record->first_out = record->read - 1000;
	record->last_out = record->read - 2000;
	record->request_bytes = record->response_bytes = UINT64_MAX;
	record->alloc_count = record->alloc_bytes = UINT64_MAX;
	record->flags = 0xffff & ~RQS_RECORD_ABORTED;
	memcpy(record->route, "/\xff\n\x1b[", 5);
}

static void wild_values_are_tamed(void **state)
{
	(void)state;
	join();
	finish_changed(everything_wild);
	rqs_drain_records(&t.drain);
	const struct rqs_request_row *row = last_row();
	assert_int_equal(row->status, 0);
	assert_int_equal(row->queue, RQS_NULL);
	assert_int_equal(row->handler, 0);
	assert_int_equal(row->send, 0);
	assert_int_equal(row->request_bytes, RQS_VALUE_MAX);
	assert_int_equal(row->alloc_bytes, 0);
	assert_int_equal(row->alloc_count, RQS_VALUE_MAX);
	assert_int_equal(row->loop_delay, RQS_NULL);
	assert_int_equal(t.requests.routes[0].method, RQS_METHOD_OTHER);
	assert_memory_equal(t.requests.texts, "/???[", 5);
}

/* Whatever counters hold: sums stop at the greatest value and at 0, and never begin again. */
static void wild_counters_are_tamed(void **state)
{
	(void)state;
	join();
	struct rqs_process *process = &t.agent.processes[t.agent.process];
	struct rqs_watched *it = watched();

	process->measures = RQS_MEASURES_ALLOC;
	process->after_count = 1ull << 60;
	process->after_bytes = UINT64_MAX;
	t.agent.threads[t.agent.thread].alloc_count = 1ull << 60;
	t.agent.threads[t.agent.thread].alloc_bytes = 1ull << 63;
	for (int i = 0; i < 5000; i++)
		finish_changed(everything_wild);
	rqs_drain_records(&t.drain);
	assert_true(rqs_processes_note(&t.processes, it));
	die(it);
	struct rqs_alloc_sums sums = rqs_alloc_sums_of(it);
	assert_int_equal(sums.count.whole, RQS_VALUE_MAX);
	assert_int_equal(sums.count.after, RQS_VALUE_MAX);
	assert_int_equal(sums.bytes.whole, 0);
	assert_int_equal(sums.bytes.after, 0);
	assert_true(sums.count.requests == (unsigned __int128)5000 * RQS_VALUE_MAX);
}

/* A buffer is taken off from another thread's counter, or another request's, than it was added to. */
static void a_counter_may_pass_below_0(void **state)
{
	(void)state;
	join();
	struct rqs_watched *it = watched();

	t.agent.processes[t.agent.process].measures = RQS_MEASURES_ALLOC;
	t.agent.processes[t.agent.process].after_bytes = -10ull;
	t.agent.threads[t.agent.thread].alloc_bytes = 1000;
	fake_thread(&t.agent);
	t.agent.threads[t.agent.thread].alloc_bytes = -300ull;
	finish_changed(with_bytes_given_back);
	rqs_drain_records(&t.drain);
	assert_int_equal(last_row()->alloc_bytes, 0);
	die(it);
	struct rqs_alloc_sums sums = rqs_alloc_sums_of(it);
	assert_int_equal(sums.bytes.whole, 700);
	assert_int_equal(sums.bytes.requests, 0);
	assert_int_equal(sums.bytes.after, 0);
}

static void unknown_records_are_skipped(void **state)
{
	(void)state;
	join();
	uint32_t *words = fake_room(&t.agent, 8);
	words[0] = 8 | 77 << 16;
	fake_commit(&t.agent, 8);
	fake_open(&t.agent, 0);
	fake_finish(&t.agent, 0, "/", 1);
	rqs_drain_records(&t.drain);
	assert_int_equal(t.requests.count, 1);
	assert_int_equal(t.drain.malformed_records + t.drain.broken_chunks, 0);
}

static void bad_heads_end_a_chunk(void **state)
{
	(void)state;
	static const uint32_t heads[] = {4, 8, RQS_CHUNK_SIZE, RQS_CHUNK_SIZE - 56, UINT32_MAX, UINT32_MAX - 7};

	join();
	fake_slot(&t.agent, 0);
	for (size_t i = 0; i < sizeof(heads) / sizeof(heads[0]); i++) {
		t.agent.records = RQS_CHUNKS;
		fake_open(&t.agent, 0);
		fake_finish(&t.agent, 0, "/", 1);
		rqs_drain_records(&t.drain);
		fake_header(&t.agent, t.agent.records)->head = heads[i]; /* not a multiple of 8, back, or beyond */
		rqs_drain_records(&t.drain);
		rqs_drain_records(&t.drain);
		assert_int_equal(t.drain.broken_chunks, i + 1);
	}
	struct rqs_watched *it = watched();
	die(it);
	assert_region_is_free();
}

static void nonsense_owners_are_ignored(void **state)
{
	(void)state;
	t.region.owners[3] = 77;
	t.region.owners[4] = 0xffffffffull << 32;
	t.region.owners[5] = (uint64_t)(RQS_PROCESSES + 1) << 32 | 5;
	t.region.owners[6] = 9ull << 32 | 5;
	t.region.threads[0].owner = UINT64_MAX;
	for (uint32_t i = 3; i < 7; i++) {
		fake_header(&t.agent, i)->kind = i;
		fake_header(&t.agent, i)->head = 96;
	}
	rqs_drain_records(&t.drain);
	rqs_drain_dead_threads(&t.drain);
	rqs_drain_survey(&t.drain);
	rqs_drain_dying(&t.drain);
	assert_int_equal(t.requests.count, 0);
}

static void an_owner_word_changed_by_others_ends_the_process(void **state)
{
	(void)state;
	join();
	fake_open(&t.agent, 0);
	struct rqs_watched *it = watched();
	assert_true(rqs_processes_note(&t.processes, it));
	t.region.processes[t.agent.process].owner ^= 1ull << 40;
	rqs_processes_refresh(&t.processes, rqs_monotonic_ns());
	rqs_drain_dying(&t.drain);
	assert_true(it->ended);
	assert_int_equal(t.processes.live, 0);
	assert_region_is_free();
}

/* Whatever bytes stand in the region: no crash, no endless loop, every row in range. */
static void noise_does_no_harm(void **state)
{
	(void)state;
	uint64_t seed = 42;

	join();
	fake_slot(&t.agent, 0);
	for (int round = 0; round < 200; round++) {
		t.agent.records = RQS_CHUNKS;
		for (int i = 0; i < 20; i++) {
			fake_open(&t.agent, 0);
			fake_finish(&t.agent, 0, "/noise", 1);
		}
		unsigned char *bytes = (unsigned char *)fake_header(&t.agent, t.agent.records);
		for (int i = 0; i < 1 + round % 40; i++) {
			seed = seed * 6364136223846793005ull + 1442695040888963407ull;
			/* Not the kind: that would make it another test. */
			bytes[4 + (seed >> 33) % (round % 2 ? 2000 : 60)] = (unsigned char)(seed >> 55);
		}
		rqs_drain_records(&t.drain);
		__atomic_store_n(&fake_header(&t.agent, t.agent.records)->sealed, 1, __ATOMIC_RELEASE);
		rqs_drain_records(&t.drain);
	}
	const struct rqs_request_row *rows = (const struct rqs_request_row *)t.requests.rows;
	for (uint32_t i = 0; i < t.requests.count; i++) {
		assert_true(rows[i].status < 1000);
		assert_true(rows[i].route < t.requests.route_count);
		assert_true(rows[i].time <= rqs_monotonic_ns());
	}
	struct rqs_watched *it = watched();
	die(it);
	assert_region_is_free();
}

#define WITH_REGION(test) cmocka_unit_test_setup_teardown(test, set_up, tear_down)

int main(void)
{
	const struct CMUnitTest tests[] = {
	    WITH_REGION(a_request_becomes_a_row),
	    WITH_REGION(sealed_chunks_come_back),
	    WITH_REGION(a_full_region_drops_and_counts),
	    WITH_REGION(a_freed_chunk_is_all_zero),
	    WITH_REGION(open_slots_are_unfinished),
	    WITH_REGION(a_kill_after_the_commit_counts_once),
	    WITH_REGION(records_of_a_slot_may_come_out_of_order),
	    WITH_REGION(a_freed_chunk_may_be_claimed_at_once),
	    WITH_REGION(a_dead_threads_things_are_freed),
	    WITH_REGION(foreign_threads_are_left_alone),
	    WITH_REGION(a_new_image_ends_the_old_one),
	    WITH_REGION(a_killed_process_is_seen_dead),
	    WITH_REGION(a_claim_never_ready_is_undone),
	    WITH_REGION(helpers_leave_no_trace),
	    WITH_REGION(goroutines_are_summed),
	    WITH_REGION(times_of_the_scheduler_are_taken),
	    WITH_REGION(what_python_waits_for_is_taken),
	    WITH_REGION(a_step_in_the_queue_is_in_its_part_as_well),
	    WITH_REGION(what_is_measured_may_come_late),
	    WITH_REGION(a_counter_may_pass_below_0),
	    WITH_REGION(wild_counters_are_tamed),
	    WITH_REGION(go_processes_are_kept_apart),
	    WITH_REGION(unmeasured_allocations_are_not_summed),
	    WITH_REGION(a_table_of_others_is_not_read),
	    WITH_REGION(impossible_sums_stop_at_the_greatest_value),
	    WITH_REGION(a_table_never_used_is_freed),
	    WITH_REGION(a_killed_go_program_loses_no_count),
	    cmocka_unit_test(a_short_region_has_no_tables),
	    WITH_REGION(bad_lengths_end_a_chunk),
	    WITH_REGION(records_of_no_slot_are_refused),
	    WITH_REGION(impossible_times_drop_the_request),
	    WITH_REGION(wild_values_are_tamed),
	    WITH_REGION(unknown_records_are_skipped),
	    WITH_REGION(bad_heads_end_a_chunk),
	    WITH_REGION(nonsense_owners_are_ignored),
	    WITH_REGION(an_owner_word_changed_by_others_ends_the_process),
	    WITH_REGION(noise_does_no_harm),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
