/* test_site_rows.c - sampled allocations from the region to rows: what they wait for, and for how long. */
#include "unit.h"

#include "collect/drain.h"
#include "fake_agent.h"

#define MEAN 4096u
#define ROWS 200000u

/* A collector without its loop, and an agent, on one region. */
static struct {
	struct rqs_region region;
	struct rqs_calibration clock;
	struct rqs_processes processes;
	struct rqs_batch requests, sites;
	struct rqs_stack_table *stacks;
	struct rqs_drain drain;
	struct fake_agent agent;
	uint64_t number; /* of the last sample */
} t;

/* What came out: rows with their routes' texts. */
static struct {
	struct rqs_site_row row;
	char route[RQS_ROUTE_MAX + 1];
} out[ROWS];
static uint32_t out_count, waves;

static void full_of_sites(void *context)
{
	assert_ptr_equal(context, &t);
	waves++;
	for (uint32_t i = 0; i < t.sites.count; i++) {
		const struct rqs_site_row *row = (const struct rqs_site_row *)t.sites.rows + i;

		assert_true(out_count < ROWS);
		out[out_count].row = *row;
		out[out_count].route[0] = 0;
		if (row->route != RQS_NULL) {
			const struct rqs_batch_route *route = &t.sites.routes[row->route];

			assert_true(row->route < t.sites.route_count);
			memcpy(out[out_count].route, t.sites.texts + route->text, route->length);
			out[out_count].route[route->length] = 0;
		}
		out_count++;
	}
	rqs_batch_clear(&t.sites);
}

static void full_of_requests(void *context)
{
	(void)context;
	rqs_batch_clear(&t.requests);
}

static int set_up(void **state)
{
	(void)state;
	memset(&t, 0, sizeof(t));
	out_count = waves = 0;
	t.clock = (struct rqs_calibration){.clock = RQS_CLOCK_MONOTONIC, .ns_per_tick = 1ull << 32};
	assert_int_equal(rqs_region_create(&t.region), 0);
	t.region.header->clock = RQS_CLOCK_MONOTONIC;
	rqs_processes_init(&t.processes, &t.region, &t.clock, -1);
	assert_int_equal(rqs_batch_init(&t.requests, &rqs_batch_requests), 0);
	assert_int_equal(rqs_batch_init(&t.sites, &rqs_batch_sites), 0);
	t.stacks = rqs_stack_table_new();
	t.drain.region = &t.region;
	t.drain.clock = &t.clock;
	t.drain.processes = &t.processes;
	t.drain.requests = &t.requests;
	t.drain.full = full_of_requests;
	t.drain.sites = rqs_site_rows_new(MEAN, &(struct rqs_site_sink){&t.sites, t.stacks, full_of_sites, &t});
	assert_non_null(t.drain.sites);
	assert_int_equal(rqs_drain_init(&t.drain), 0);
	fake_attach(&t.agent, t.region.header);
	fake_process(&t.agent, 0, 0);
	fake_thread(&t.agent);
	fake_slot(&t.agent, 0);
	return 0;
}

static int tear_down(void **state)
{
	(void)state;
	rqs_drain_free(&t.drain);
	rqs_site_rows_free(t.drain.sites);
	rqs_stack_table_free(t.stacks);
	rqs_batch_free(&t.requests);
	rqs_batch_free(&t.sites);
	rqs_processes_free(&t.processes);
	rqs_region_destroy(&t.region);
	return 0;
}

/* The agent's process, noted. */
static struct rqs_watched *watched(void)
{
	struct rqs_watched *it = rqs_processes_at(&t.processes, t.agent.process);

	assert_non_null(it);
	assert_true(rqs_processes_note(&t.processes, it));
	return it;
}

static void die(struct rqs_watched *it)
{
	it->dying = true;
	rqs_drain_dying(&t.drain);
}

/* A sample for the open request of a slot; NO_SLOT for none. */
static struct rqs_sample_record *fill_sample(uint32_t slot, uint64_t ordinal, uint32_t stack_bytes)
{
	uint16_t size = (uint16_t)(sizeof(struct rqs_sample_record) + stack_bytes);
	struct rqs_sample_record *sample = fake_room(&t.agent, size);

	assert_non_null(sample);
	memset(sample, 0, size);
	sample->size = size;
	sample->type = RQS_RECORD_SAMPLE;
	sample->slot = slot;
	sample->ordinal = ordinal;
	sample->stack_bytes = stack_bytes;
	sample->ticks = fake_ticks(&t.agent);
	sample->number = ++t.number;
	sample->bytes = 1000;
	return sample;
}

static void commit(struct rqs_sample_record *sample)
{
	fake_commit(&t.agent, sample->size);
}

static void sample_in(uint32_t index)
{
	commit(fill_sample(t.agent.slots * 64 + index, fake_slot(&t.agent, index)->opened, 64));
}

static void sample_of_none(void)
{
	commit(fill_sample(RQS_SAMPLE_NO_SLOT, 0, 64));
}

static void free_sample(uint64_t number, uint32_t withdrawn)
{
	struct rqs_freed_record *freed = fake_room(&t.agent, sizeof(*freed));

	*freed = (struct rqs_freed_record){.size = sizeof(*freed),
					   .type = RQS_RECORD_FREED,
					   .withdrawn = withdrawn,
					   .ticks = fake_ticks(&t.agent),
					   .number = number};
	fake_commit(&t.agent, sizeof(*freed));
}

/* A pass; how many rows have come out so far. */
static uint32_t pass(void)
{
	rqs_drain_records(&t.drain);
	full_of_sites(&t);
	return out_count;
}

static uint32_t pass_and_note(void)
{
	rqs_drain_records(&t.drain);
	rqs_site_rows_noted(t.drain.sites);
	full_of_sites(&t);
	return out_count;
}

static struct rqs_site_troubles troubles(void)
{
	struct rqs_site_troubles it;

	rqs_site_rows_troubles(t.drain.sites, &it);
	return it;
}

static void assert_row(uint32_t i, uint64_t number, enum rqs_site_owner owner, const char *route)
{
	assert_true(i < out_count);
	assert_int_equal(out[i].row.event, RQS_SITE_ALLOCATED);
	assert_int_equal(out[i].row.number, number);
	assert_int_equal(out[i].row.owner, owner);
	assert_string_equal(out[i].route, route ? route : "");
	assert_int_equal(out[i].row.route == RQS_NULL, !route);
	assert_int_equal(out[i].row.sample_bytes, MEAN);
}

/* Waiting */

static void a_sample_gets_its_requests_route(void **state)
{
	(void)state;
	watched();
	fake_open(&t.agent, 3);
	fake_open(&t.agent, 4);
	sample_in(3);
	sample_in(4);
	sample_in(3);
	assert_int_equal(pass(), 0);
	assert_int_equal(pass(), 0);
	fake_finish(&t.agent, 3, "/three", 1);
	assert_int_equal(pass(), 2);
	assert_row(0, 3, RQS_SITE_OF_REQUEST, "/three");
	assert_row(1, 1, RQS_SITE_OF_REQUEST, "/three");
	fake_finish(&t.agent, 4, "/four", 1);
	assert_int_equal(pass(), 3);
	assert_row(2, 2, RQS_SITE_OF_REQUEST, "/four");
	assert_int_equal(out[2].row.bytes, 1000);
	assert_int_equal(out[2].row.process, 0);
	assert_int_equal(out[2].row.followed, 0);
	assert_in_range(out[2].row.time, t.drain.start_ns, rqs_monotonic_ns());
	assert_int_equal(watched()->samples_waiting, 0);
}

static void samples_of_no_request_wait_for_nothing(void **state)
{
	(void)state;
	struct rqs_sample_record *sample;

	watched();
	sample_of_none();
	sample = fill_sample(RQS_SAMPLE_NO_SLOT, 0, 0);
	sample->flags = RQS_SAMPLE_AFTER | RQS_SAMPLE_FOLLOWED;
	commit(sample);
	assert_int_equal(pass(), 2);
	assert_row(0, 1, RQS_SITE_UNATTRIBUTED, NULL);
	assert_row(1, 2, RQS_SITE_AFTER_RESPONSE, NULL);
	assert_int_equal(out[1].row.followed, 1);
}

/* Its record may be read first: from a chunk lower down. Later records of the slot don't hide it. */
static void a_sample_may_be_read_after_its_record(void **state)
{
	(void)state;
	watched();
	uint32_t low = fake_chunk(&t.agent, RQS_CHUNK_RECORDS), high = fake_chunk(&t.agent, RQS_CHUNK_RECORDS);

	t.agent.records = low;
	fake_open(&t.agent, 0);
	t.agent.records = high;
	sample_in(0);
	t.agent.records = low;
	fake_finish(&t.agent, 0, "/one", 1);
	fake_open(&t.agent, 0);
	fake_finish(&t.agent, 0, "/two", 1);
	assert_int_equal(pass(), 1);
	assert_row(0, 1, RQS_SITE_OF_REQUEST, "/one");
}

/* The next request of the slot may be told first. */
static void a_later_record_may_be_read_first(void **state)
{
	(void)state;
	watched();
	uint32_t low = fake_chunk(&t.agent, RQS_CHUNK_RECORDS), high = fake_chunk(&t.agent, RQS_CHUNK_RECORDS);

	t.agent.records = high;
	fake_open(&t.agent, 0);
	sample_in(0);
	fake_finish(&t.agent, 0, "/one", 1);
	t.agent.records = low;
	fake_open(&t.agent, 0);
	sample_in(0);
	fake_finish(&t.agent, 0, "/two", 1);
	assert_int_equal(pass(), 2);
	assert_row(0, 2, RQS_SITE_OF_REQUEST, "/two");
	assert_row(1, 1, RQS_SITE_OF_REQUEST, "/one");
}

/* Dropped or given up: no record comes. One pass begins after the end was seen, and then it's over. */
static void a_request_without_a_record_is_unattributed(void **state)
{
	(void)state;
	watched();
	for (uint32_t i = 0; i < 3; i++) {
		fake_open(&t.agent, i);
		sample_in(i);
	}
	assert_int_equal(pass(), 0);
	fake_slot(&t.agent, 0)->dropped++;
	fake_slot(&t.agent, 1)->given_up++;
	fake_open(&t.agent, 1);
	assert_int_equal(pass(), 0);
	assert_int_equal(pass(), 2);
	assert_row(0, 1, RQS_SITE_UNATTRIBUTED, NULL);
	assert_row(1, 2, RQS_SITE_UNATTRIBUTED, NULL);
	assert_int_equal(pass(), 2);
	rqs_site_rows_end(t.drain.sites, NULL);
	assert_int_equal(pass(), 3);
	assert_row(2, 3, RQS_SITE_UNATTRIBUTED, NULL);
}

/* Whose record comes in the pass after its slot has shown that it ended: it is its own. */
static void a_record_may_come_a_pass_later(void **state)
{
	(void)state;
	watched();
	fake_open(&t.agent, 0);
	sample_in(0);
	fake_slot(&t.agent, 0)->finished++;
	assert_int_equal(pass(), 0);
	fake_finish(&t.agent, 0, "/late", 0);
	assert_int_equal(pass(), 1);
	assert_row(0, 1, RQS_SITE_OF_REQUEST, "/late");
}

static void a_request_that_never_was_is_not_waited_for(void **state)
{
	(void)state;
	watched();
	fake_open(&t.agent, 0);
	commit(fill_sample(t.agent.slots * 64, 1ull << 60, 0));
	memset(fake_slot(&t.agent, 1), 0xff, 32);
	commit(fill_sample(t.agent.slots * 64 + 1, 1, 0));
	assert_int_equal(pass(), 0);
	assert_int_equal(pass(), 2);
	assert_int_equal(out[0].row.owner, RQS_SITE_UNATTRIBUTED);
	assert_int_equal(out[1].row.owner, RQS_SITE_UNATTRIBUTED);
}

/* Its slots' numbers are given to others then, whose requests are none of its own. */
static void a_process_takes_its_samples_along(void **state)
{
	(void)state;
	struct rqs_watched *it = watched();
	uint32_t chunk = t.agent.slots;

	fake_open(&t.agent, 0);
	sample_in(0);
	fake_open(&t.agent, 1);
	sample_in(1);
	fake_finish(&t.agent, 1, "/old", 1);
	fake_open(&t.agent, 2);
	fake_finish(&t.agent, 2, "/also-old", 1);
	sample_of_none();
	die(it);
	full_of_sites(&t);
	assert_int_equal(out_count, 3);
	assert_row(0, 2, RQS_SITE_OF_REQUEST, "/old");
	assert_row(1, 3, RQS_SITE_UNATTRIBUTED, NULL);
	assert_row(2, 1, RQS_SITE_UNATTRIBUTED, NULL);

	fake_process(&t.agent, 0, 0);
	fake_thread(&t.agent);
	fake_slot(&t.agent, 0);
	assert_int_equal(t.agent.slots, chunk);
	watched();
	fake_open(&t.agent, 0);
	fake_open(&t.agent, 2);
	sample_in(0);
	sample_in(2);
	assert_int_equal(pass(), 3);
	fake_finish(&t.agent, 0, "/new", 1);
	fake_finish(&t.agent, 2, "/new-too", 1);
	assert_int_equal(pass(), 5);
	assert_row(3, 4, RQS_SITE_OF_REQUEST, "/new");
	assert_row(4, 5, RQS_SITE_OF_REQUEST, "/new-too");
	assert_int_equal(out[4].row.process, 1);
}

/* Both are read at its end, whatever the order; a kill loses nothing that was committed. */
static void a_killed_processes_last_records_count(void **state)
{
	(void)state;
	struct rqs_watched *it = watched();

	for (uint32_t i = 0; i < 50; i++) {
		fake_open(&t.agent, i);
		commit(fill_sample(t.agent.slots * 64 + i, 1, RQS_SAMPLE_STACK));
	}
	for (uint32_t i = 0; i < 50; i += 2)
		fake_finish(&t.agent, i, "/even", 0);
	die(it);
	full_of_sites(&t);
	assert_int_equal(out_count, 50);
	unsigned named = 0;
	for (uint32_t i = 0; i < 50; i++)
		named +=
		    out[i].row.owner == RQS_SITE_OF_REQUEST && !strcmp(out[i].route, "/even") && out[i].row.number % 2;
	assert_int_equal(named, 25);
	assert_int_equal(rqs_owner_process(t.region.owners[1]), UINT32_MAX);
}

/* Ends */

static void ends_are_rows_wherever_they_come(void **state)
{
	(void)state;
	watched();
	fake_open(&t.agent, 0);
	free_sample(1, 0);
	sample_in(0);
	sample_in(0);
	free_sample(2, 1);
	assert_int_equal(pass(), 2);
	assert_int_equal(out[0].row.event, RQS_SITE_FREED);
	assert_int_equal(out[0].row.number, 1);
	assert_int_equal(out[0].row.route, RQS_NULL);
	assert_int_equal(out[1].row.event, RQS_SITE_WITHDRAWN);
	assert_int_equal(out[1].row.number, 2);
	assert_int_equal(t.drain.malformed_records, 0);
}

static void numbers_that_are_none_are_malformed(void **state)
{
	(void)state;
	watched();
	free_sample(0, 0);
	free_sample(RQS_VALUE_MAX + 1, 0);
	free_sample(1, 2);
	assert_int_equal(pass(), 0);
	assert_int_equal(t.drain.malformed_records, 3);
	free_sample(RQS_VALUE_MAX, 0);
	assert_int_equal(pass(), 1);
}

/* Processes that don't serve */

static void rows_wait_until_their_process_serves(void **state)
{
	(void)state;
	sample_of_none();
	fake_open(&t.agent, 0);
	sample_in(0);
	free_sample(1, 0);
	assert_int_equal(pass_and_note(), 0);
	assert_int_equal(t.processes.noted_count, 0);
	fake_finish(&t.agent, 0, "/first", 1);
	assert_int_equal(pass_and_note(), 3);
	assert_row(0, 2, RQS_SITE_OF_REQUEST, "/first");
	assert_row(1, 1, RQS_SITE_UNATTRIBUTED, NULL);
	assert_int_equal(out[2].row.event, RQS_SITE_FREED);
	assert_int_equal(out[1].row.process, 0);
}

/* A helper that a server runs is nothing to the trace; others' rows go on waiting. */
static void a_helpers_rows_go_with_it(void **state)
{
	(void)state;
	struct fake_agent other;

	sample_of_none();
	other = t.agent;
	fake_process(&t.agent, (uint32_t)getppid(), 0);
	fake_thread(&t.agent);
	sample_of_none();
	fake_open(&t.agent, 0);
	sample_in(0);
	assert_int_equal(pass(), 0);
	/* One that opened a request serves, and is noted when it ends. */
	die(rqs_processes_at(&t.processes, t.agent.process));
	full_of_sites(&t);
	assert_int_equal(out_count, 2);
	die(rqs_processes_at(&t.processes, other.process));
	full_of_sites(&t);
	assert_int_equal(out_count, 2);
	assert_int_equal(t.processes.noted_count, 1);
	assert_int_equal(troubles().samples, 3);
	assert_int_equal(troubles().unkept, 0);
}

static void not_all_rows_of_helpers_are_kept(void **state)
{
	(void)state;
	for (uint32_t i = 0; i < 70000; i++) {
		free_sample(i + 1, 0);
		if (i % 1000 == 0)
			assert_int_equal(pass(), 0);
	}
	assert_int_equal(pass(), 0);
	assert_int_equal(troubles().unkept, 70000 - 65536);
	watched();
	assert_int_equal(pass_and_note(), 65536);
	assert_int_equal(waves >= 2, 1);
	free_sample(1, 0);
	assert_int_equal(pass(), 65537);
}

/* Bounds */

/* What finds no room to wait is unattributed, and the rest is as it should be. */
static void too_many_waiting_are_unattributed(void **state)
{
	(void)state;
	const uint32_t most = 16384;

	watched();
	fake_open(&t.agent, 0);
	for (uint32_t i = 0; i < most + 100; i++) {
		sample_in(0);
		if (i % 1000 == 0)
			pass();
	}
	assert_int_equal(pass(), 100);
	for (uint32_t i = 0; i < 100; i++)
		assert_row(i, out[i].row.number, RQS_SITE_UNATTRIBUTED, NULL);
	assert_int_equal(troubles().unwaited, 100);
	/* Other processes' samples find room. */
	struct fake_agent heavy = t.agent;
	fake_process(&t.agent, (uint32_t)getppid(), 0);
	fake_thread(&t.agent);
	fake_open(&t.agent, 1);
	sample_in(1);
	fake_finish(&t.agent, 1, "/light", 1);
	assert_int_equal(pass(), 101);
	assert_row(100, most + 101, RQS_SITE_OF_REQUEST, "/light");
	t.agent = heavy;
	fake_finish(&t.agent, 0, "/heavy", 1);
	assert_int_equal(pass(), most + 101);
	for (uint32_t i = 101; i < most + 101; i++)
		assert_row(i, out[i].row.number, RQS_SITE_OF_REQUEST, "/heavy");
	/* There is room again. */
	fake_open(&t.agent, 0);
	sample_in(0);
	fake_finish(&t.agent, 0, "/heavy", 1);
	assert_int_equal(pass(), most + 102);
	assert_row(most + 101, most + 102, RQS_SITE_OF_REQUEST, "/heavy");
	assert_int_equal(troubles().unwaited, 100);
}

/* All of one slot's, given up together. */
static void many_may_wait_in_vain(void **state)
{
	(void)state;
	const uint32_t most = 16384;

	watched();
	fake_open(&t.agent, 0);
	fake_open(&t.agent, 1);
	for (uint32_t i = 0; i < most; i++)
		sample_in(i % 16 == 0);
	pass();
	fake_slot(&t.agent, 0)->dropped++;
	pass();
	assert_int_equal(pass(), most - most / 16);
	fake_finish(&t.agent, 1, "/", 1);
	assert_int_equal(pass(), most);
	assert_int_equal(watched()->samples_waiting, 0);
}

/* Broken ones */

static void too_many_frames(struct rqs_sample_record *sample)
{
	sample->frame_count = RQS_SAMPLE_FRAMES + 1;
}

static void frames_beyond_the_record(struct rqs_sample_record *sample)
{
	sample->frame_count = 9;
}

static void stack_beyond_the_record(struct rqs_sample_record *sample)
{
	sample->stack_bytes += 8;
}

static void stack_of_4_GiB(struct rqs_sample_record *sample)
{
	sample->stack_bytes = 0xfffffff8;
}

static void odd_stack(struct rqs_sample_record *sample)
{
	sample->stack_bytes = 57;
}

static void no_such_kind(struct rqs_sample_record *sample)
{
	sample->kind = 3;
}

static void no_bytes(struct rqs_sample_record *sample)
{
	sample->bytes = 0;
}

static void number_0(struct rqs_sample_record *sample)
{
	sample->number = 0;
}

static void number_too_great(struct rqs_sample_record *sample)
{
	sample->number = UINT64_MAX;
}

static void taken_never(struct rqs_sample_record *sample)
{
	sample->ticks = 0;
}

static void taken_next_year(struct rqs_sample_record *sample)
{
	sample->ticks += 365ull * 86400 * 1000000000;
}

static void slot_of_no_chunk(struct rqs_sample_record *sample)
{
	sample->slot = 64 * 100;
}

static void slot_63(struct rqs_sample_record *sample)
{
	sample->slot = t.agent.slots * 64 + 63;
}

static void slot_without_ordinal(struct rqs_sample_record *sample)
{
	sample->slot = t.agent.slots * 64;
}

static void slot_among_records(struct rqs_sample_record *sample)
{
	sample->slot = t.agent.records * 64;
	sample->ordinal = 1;
}

/* A record of its size, but none that can be: what comes behind it is read. */
static void impossible_samples_are_malformed(void **state)
{
	(void)state;
	static void (*const changes[])(struct rqs_sample_record *) = {
	    too_many_frames,
	    frames_beyond_the_record,
	    stack_beyond_the_record,
	    stack_of_4_GiB,
	    odd_stack,
	    no_such_kind,
	    no_bytes,
	    number_0,
	    number_too_great,
	    taken_never,
	    taken_next_year,
	    slot_of_no_chunk,
	    slot_63,
	    slot_without_ordinal,
	    slot_among_records,
	};
	const unsigned count = sizeof(changes) / sizeof(changes[0]);

	watched();
	for (unsigned i = 0; i < count; i++) {
		struct rqs_sample_record *sample = fill_sample(RQS_SAMPLE_NO_SLOT, 0, 64);

		changes[i](sample);
		commit(sample);
		sample_of_none();
		assert_int_equal(pass(), i + 1);
		assert_int_equal(t.drain.malformed_records, i + 1);
	}
	assert_int_equal(t.drain.broken_chunks, 0);
	assert_int_equal(troubles().samples, count);
}

/* Shorter than its kind is, where memory ends for all that the copy may tell. */
static void short_records_are_malformed(void **state)
{
	(void)state;
	watched();
	for (unsigned type = RQS_RECORD_SAMPLE; type <= RQS_RECORD_CODE; type++)
		for (uint16_t size = 8; size < 24; size += 8) {
			uint64_t *words = fake_room(&t.agent, size);

			memset(words, 0xff, size);
			words[0] = size | type << 16;
			fake_commit(&t.agent, size);
		}
	assert_int_equal(pass(), 0);
	assert_int_equal(t.drain.malformed_records, 6);
	assert_int_equal(t.drain.broken_chunks, 0);
}

static void code_records_are_checked(void **state)
{
	(void)state;
	struct rqs_code_record good = {.size = 24 + 16,
				       .type = RQS_RECORD_CODE,
				       .number = 1,
				       .file_bytes = 4,
				       .name_bytes = 4,
				       .table_bytes = 8,
				       .file_width = 1,
				       .name_width = 1},
			       bad[4] = {good, good, good, good};

	watched();
	bad[0].file_bytes = 13;
	bad[1].table_bytes = 65535;
	bad[2].name_bytes = RQS_CODE_TEXT + 1;
	bad[3].file_bytes = bad[3].name_bytes = bad[3].table_bytes = 65535;
	for (unsigned i = 0; i < 5; i++) {
		struct rqs_code_record *record = fake_room(&t.agent, good.size);

		*record = i < 4 ? bad[i] : good;
		fake_commit(&t.agent, good.size);
	}
	assert_int_equal(pass(), 0);
	assert_int_equal(t.drain.malformed_records, 4);
}

/* Its pid's maps are the new image's by now. */
static void a_replaced_images_stacks_are_not_known(void **state)
{
	(void)state;
	t.processes.sampled = true;
	struct rqs_watched *it = watched();
	assert_non_null(it->code);
	sample_of_none();
	assert_int_equal(pass(), 1);
	assert_int_not_equal(out[0].row.stack, 0);
	it->flags |= RQS_PROCESS_EXECED;
	sample_of_none();
	assert_int_equal(pass(), 2);
	assert_int_equal(out[1].row.stack, 0);
	it->flags = 0;
	sample_of_none();
	fake_process(&t.agent, 0, 0);
	watched();
	assert_int_equal(pass(), 3);
	assert_int_equal(out[2].row.stack, 0);
	assert_int_equal(troubles().no_stack, 2);
}

static void without_sites_all_of_it_is_skipped(void **state)
{
	(void)state;
	struct rqs_site_rows *rows = t.drain.sites;

	t.drain.sites = NULL;
	watched();
	fake_open(&t.agent, 0);
	sample_in(0);
	free_sample(1, 0);
	fake_finish(&t.agent, 0, "/", 1);
	assert_int_equal(rqs_drain_records(&t.drain), 1);
	assert_int_equal(t.requests.count, 1);
	assert_int_equal(t.sites.count, 0);
	assert_int_equal(t.drain.malformed_records + t.drain.broken_chunks, 0);
	t.drain.sites = rows;
}

#define WITH_REGION(test) cmocka_unit_test_setup_teardown(test, set_up, tear_down)

int main(void)
{
	const struct CMUnitTest tests[] = {
	    WITH_REGION(a_sample_gets_its_requests_route),
	    WITH_REGION(samples_of_no_request_wait_for_nothing),
	    WITH_REGION(a_sample_may_be_read_after_its_record),
	    WITH_REGION(a_later_record_may_be_read_first),
	    WITH_REGION(a_request_without_a_record_is_unattributed),
	    WITH_REGION(a_record_may_come_a_pass_later),
	    WITH_REGION(a_request_that_never_was_is_not_waited_for),
	    WITH_REGION(a_process_takes_its_samples_along),
	    WITH_REGION(a_killed_processes_last_records_count),
	    WITH_REGION(ends_are_rows_wherever_they_come),
	    WITH_REGION(numbers_that_are_none_are_malformed),
	    WITH_REGION(rows_wait_until_their_process_serves),
	    WITH_REGION(a_helpers_rows_go_with_it),
	    WITH_REGION(not_all_rows_of_helpers_are_kept),
	    WITH_REGION(too_many_waiting_are_unattributed),
	    WITH_REGION(many_may_wait_in_vain),
	    WITH_REGION(impossible_samples_are_malformed),
	    WITH_REGION(short_records_are_malformed),
	    WITH_REGION(code_records_are_checked),
	    WITH_REGION(a_replaced_images_stacks_are_not_known),
	    WITH_REGION(without_sites_all_of_it_is_skipped),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
