/*
 * test_connection.c - the core from events to records, on a real region:
 * every request ends in exactly one way, and the sums balance.
 */
#include "unit.h"

#include "collect/mapping.h"
#include "core/agent.h"
#include "core/request.h"
#include "reqscope/trace_format.h"

#include <stdlib.h>

static struct rqs_region region;
static struct rqs_agent agent;
static struct rqs_worker worker;
static struct rqs_alive alive;
static uint32_t fake_pid, fake_parent;
static bool socket_answer;
static uint64_t clock_now;

static uint64_t fake_monotonic(void)
{
	return ++clock_now;
}

static uint32_t get_pid(void)
{
	return fake_pid;
}

static uint32_t get_parent(void)
{
	return fake_parent;
}

static bool get_socket(int fd)
{
	(void)fd;
	return socket_answer;
}

static enum rqs_origin origin_answer;
static unsigned origins_asked;

static enum rqs_origin get_origin(int fd)
{
	(void)fd;
	origins_asked++;
	return origin_answer;
}

static unsigned yields;

static void count_yield(void)
{
	yields++;
}

static const struct rqs_env env = {
	.monotonic = fake_monotonic,
	.realtime = fake_monotonic,
	.pid = get_pid,
	.tid = get_pid,
	.parent_pid = get_parent,
	.is_stream_socket = get_socket,
	.origin = get_origin,
	.yield = count_yield,
};

static int start(void **state)
{
	(void)state;
	memset(&agent, 0, sizeof(agent));
	memset(&worker, 0, sizeof(worker));
	memset(&alive, 0, sizeof(alive));
	fake_pid = 100;
	fake_parent = 1;
	socket_answer = true;
	origin_answer = RQS_ORIGIN_SERVED;
	origins_asked = 0;
	if (rqs_region_create(&region))
		return -1;
	agent.env = &env;
	agent.alive = &alive;
	agent.connection_limit = 256;
	agent.connections = calloc(agent.connection_limit, sizeof(struct rqs_conn));
	agent.runtime = RQS_RUNTIME_NATIVE;
	return rqs_agent_start(&agent, region.header, region.size) ? 0 : -1;
}

static int stop(void **state)
{
	(void)state;
	free(agent.connections);
	rqs_region_destroy(&region);
	return 0;
}

static struct rqs_call call_by(struct rqs_worker *by)
{
	if (alive.epoch == 0)
		rqs_agent_revive(&agent);
	if (by->epoch != alive.epoch)
		rqs_worker_start(&agent, by);
	return (struct rqs_call){ .agent = &agent, .worker = by, .ticks = ++clock_now };
}

static void accepted(int fd)
{
	struct rqs_call call = call_by(&worker);
	rqs_conn_accepted(&call, fd);
}

static void passed(int fd)
{
	struct rqs_call call = call_by(&worker);
	rqs_conn_passed(&call, fd);
}

static void in(int fd, const char *text)
{
	struct rqs_call call = call_by(&worker);
	rqs_conn_input(&call, fd, at_page_end(text, strlen(text)), strlen(text));
}

static void out(int fd, const char *text)
{
	struct rqs_call call = call_by(&worker);
	rqs_conn_output(&call, fd, at_page_end(text, strlen(text)), strlen(text));
}

static void closing(int fd)
{
	struct rqs_call call = call_by(&worker);
	rqs_conn_closing(&call, fd);
}

struct totals {
	uint64_t started, finished, dropped, given_up, open, records, aborted;
	char route[RQS_ROUTE_MAX + 1];
	struct rqs_record last; /* without its template */
};

static void add_records(struct totals *t, const struct rqs_chunk_header *chunk)
{
	for (uint32_t at = 0; at < chunk->head;) {
		const struct rqs_record *r = (const void *)((const char *)(chunk + 1) + at);

		t->records++;
		t->aborted += (r->flags & RQS_RECORD_ABORTED) != 0;
		t->last = *r;
		memcpy(t->route, r->route, r->route_length);
		t->route[r->route_length] = 0;
		at += r->size;
	}
}

static struct totals totals(void)
{
	struct totals t = { 0 };

	for (uint32_t i = 0; i < RQS_CHUNKS; i++) {
		const struct rqs_chunk_header *chunk = rqs_chunk_at(&region, i);

		if (!region.owners[i])
			continue;
		if (chunk->kind == RQS_CHUNK_RECORDS)
			add_records(&t, chunk);
		for (uint32_t s = 0; chunk->kind == RQS_CHUNK_SLOTS && s < RQS_SLOTS_PER_CHUNK; s++) {
			const struct rqs_slot *slot = rqs_slots_of(&region, i) + s;

			t.started += slot->opened;
			t.finished += slot->finished;
			t.dropped += slot->dropped;
			t.given_up += slot->given_up;
			t.open += slot->opened - slot->finished - slot->dropped - slot->given_up;
		}
	}
	for (uint32_t i = 0; i < RQS_PROCESSES; i++) {
		t.started += region.processes[i].unslotted;
		t.dropped += region.processes[i].unslotted;
	}
	assert_int_equal(t.records, t.finished);
	assert_int_equal(t.started, t.finished + t.dropped + t.given_up + t.open);
	return t;
}

#define REQUEST "GET /a HTTP/1.1\r\n\r\n"
#define RESPONSE "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"

static void keep_alive(void **state)
{
	(void)state;
	accepted(5);
	for (int i = 0; i < 1000; i++) {
		in(5, REQUEST);
		assert_int_equal(totals().open, 1);
		out(5, RESPONSE);
		if (i % 100 == 0)
			assert_int_equal(totals().finished, i + 1);
	}
	closing(5);
	struct totals t = totals();
	assert_int_equal(t.started, 1000);
	assert_int_equal(t.finished, 1000);
	assert_int_equal(t.last.status, 200);
	assert_int_equal(t.last.request_bytes, strlen(REQUEST));
	assert_int_equal(t.last.response_bytes, strlen(RESPONSE));
	assert_string_equal(t.route, "/a");
	assert_int_equal(agent.process->connections, 0);
	assert_int_equal(agent.process->accepted, 1);
}

static void pipelined_requests_are_separate(void **state)
{
	(void)state;
	accepted(5);
	in(5, REQUEST REQUEST "HEAD /b HTTP/1.1\r\n\r\n" REQUEST);
	assert_int_equal(totals().open, 4);
	out(5, RESPONSE RESPONSE);
	assert_int_equal(totals().finished, 2);
	out(5, "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n" RESPONSE);
	assert_int_equal(totals().finished, 4);
	assert_int_equal(totals().open, 0);
}

static void nothing_is_counted_without_a_byte(void **state)
{
	(void)state;
	accepted(5);
	closing(5);
	assert_int_equal(totals().started, 0);
}

static void other_protocols_are_given_up(void **state)
{
	(void)state;
	accepted(5);
	in(5, "\x16\x03\x01");
	in(5, "more of it");
	out(5, "whatever");
	closing(5);
	accepted(5);
	in(5, REQUEST);
	out(5, RESPONSE);
	struct totals t = totals();
	assert_int_equal(t.given_up, 1);
	assert_int_equal(t.finished, 1);
	assert_int_equal(agent.process->events[RQS_EVENT_UNSUPPORTED], 1);
}

static void aborted_requests_are_recorded(void **state)
{
	(void)state;
	accepted(5);
	in(5, REQUEST);
	out(5, "HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\npart");
	closing(5);
	struct totals t = totals();
	assert_int_equal(t.aborted, 1);
	assert_int_equal(t.last.flags & (RQS_RECORD_HAS_FIRST | RQS_RECORD_HAS_LAST), RQS_RECORD_HAS_FIRST);
	accepted(5);
	in(5, "GET /never-answered HTTP/1.1\r\nHo");
	closing(5);
	t = totals();
	assert_int_equal(t.aborted, 2);
	assert_int_equal(t.last.flags & RQS_RECORD_HAS_FIRST, 0);
	accepted(5);
	in(5, "GE");
	closing(5);
	assert_int_equal(totals().given_up, 1);
}

static void responses_until_close(void **state)
{
	struct rqs_call call;

	(void)state;
	accepted(5);
	in(5, REQUEST);
	out(5, "HTTP/1.0 200 OK\r\n\r\nbody");
	assert_int_equal(totals().open, 1);
	closing(5);
	assert_int_equal(totals().finished, 1);
	assert_int_equal(totals().aborted, 0);
	accepted(6);
	in(6, REQUEST);
	out(6, "HTTP/1.0 200 OK\r\n\r\nbody");
	call = call_by(&worker);
	rqs_agent_exit(&agent, call.worker);
	assert_int_equal(totals().finished, 2);
}

static void a_tunnel_is_left_alone(void **state)
{
	(void)state;
	accepted(5);
	in(5, REQUEST);
	out(5, "HTTP/1.1 101 Switching Protocols\r\n\r\n\x81\x05hello");
	in(5, "\x81\x85 frames");
	out(5, RESPONSE);
	closing(5);
	struct totals t = totals();
	assert_int_equal(t.finished, 1);
	assert_int_equal(t.last.status, 101);
	assert_int_equal(t.started, 1);
}

static void early_responses_end_the_request(void **state)
{
	(void)state;
	accepted(5);
	in(5, "POST /p HTTP/1.1\r\nContent-Length: 10\r\n\r\n12345");
	out(5, "HTTP/1.1 413 Too Large\r\nContent-Length: 0\r\n\r\n");
	assert_int_equal(totals().finished, 1);
	in(5, "67890" REQUEST);
	out(5, RESPONSE);
	assert_int_equal(totals().finished, 2);
	assert_int_equal(totals().given_up, 0);
}

static void garbage_behind_requests_loses_none_of_them(void **state)
{
	(void)state;
	accepted(5);
	in(5, REQUEST REQUEST "garbage\r\n\r\n");
	assert_int_equal(totals().given_up, 1);
	out(5, RESPONSE RESPONSE);
	assert_int_equal(totals().finished, 2);
	out(5, "HTTP/1.1 400 Bad Request\r\n\r\n");
	closing(5);
	assert_int_equal(totals().started, 3);
}

static void duplicates_share_a_connection(void **state)
{
	struct rqs_call call;

	(void)state;
	accepted(5);
	call = call_by(&worker);
	rqs_conn_duplicated(&call, 5, 9);
	rqs_conn_duplicated(&call, 9, 12);
	in(9, REQUEST);
	closing(5); /* the first descriptor goes; the connection stays */
	assert_int_equal(totals().open, 1);
	out(12, RESPONSE);
	assert_int_equal(totals().finished, 1);
	in(12, REQUEST);
	closing(12);
	assert_int_equal(totals().open, 1);
	closing(9);
	assert_int_equal(totals().aborted, 1);
	assert_int_equal(agent.process->connections, 0);
}

static void adopted_descriptors(void **state)
{
	(void)state;
	in(7, REQUEST);
	out(7, RESPONSE);
	assert_int_equal(totals().finished, 1);
	in(8, "not a request");
	in(8, REQUEST);
	assert_int_equal(totals().started, 1);
	out(9, "we spoke first");
	in(9, REQUEST);
	assert_int_equal(totals().started, 1);
	socket_answer = false;
	in(10, REQUEST);
	assert_int_equal(totals().started, 1);
}

/* They aren't served until they are seen to be; what the number was before ends first. */
static void passed_descriptors(void **state)
{
	(void)state;
	for (int fd = 7; fd < 10; fd++)
		passed(fd);
	assert_int_equal(agent.process->connections, 0);
	in(7, REQUEST);
	out(7, RESPONSE);
	assert_int_equal(totals().finished, 1);
	assert_int_equal(agent.process->connections, 1);
	assert_int_equal(agent.process->accepted, 0);
	in(8, "not a request");
	in(8, REQUEST);
	out(9, "we spoke first");
	in(9, REQUEST);
	assert_int_equal(totals().started, 1);
	accepted(6);
	passed(6);
	assert_int_equal(agent.connections[6].kind, RQS_CONN_SERVED);
	closing(7);
	assert_int_equal(agent.connections[7].kind, RQS_CONN_UNKNOWN);
	passed(5);
	closing(5);
	assert_int_equal(agent.connections[5].kind, RQS_CONN_UNKNOWN);
}

static void passed_descriptors_keep_their_duplicates(void **state)
{
	struct rqs_call call = call_by(&worker);

	(void)state;
	passed(7);
	rqs_conn_duplicated(&call, 7, 8);
	in(7, REQUEST);
	closing(7);
	assert_int_equal(agent.connections[8].kind, RQS_CONN_SERVED);
	out(8, RESPONSE);
	assert_int_equal(totals().finished, 1);
	closing(8);
	assert_int_equal(agent.process->connections, 0);
}

/* In the middle of a request, it is followed from the next one on. */
static void a_passed_descriptor_is_met_as_any_other(void **state)
{
	(void)state;
	agent.attached = true;
	origin_answer = RQS_ORIGIN_SERVED;
	passed(7);
	in(7, "the rest of a body");
	assert_int_equal(agent.connections[7].kind, RQS_CONN_RESYNC);
	assert_true(agent.connections[7].stamped);
	out(7, RESPONSE);
	in(7, REQUEST);
	out(7, RESPONSE);
	assert_int_equal(totals().finished, 1);
}

/* In a child, a request open at the fork stays the parent's. */
static void forked_children(void **state)
{
	(void)state;
	accepted(5);
	accepted(6);
	in(5, REQUEST);
	alive.epoch = 0; /* what fork does to the page */
	fake_parent = fake_pid;
	fake_pid = 101;
	out(5, RESPONSE); /* answered by the child: not its request */
	closing(5);
	in(6, REQUEST); /* idle at the fork: goes on here */
	out(6, RESPONSE);
	struct totals t = totals();
	assert_int_equal(t.finished, 1);
	assert_int_equal(t.open, 1);
	assert_int_equal(t.last.status, 200);
	assert_int_equal(agent.process->owner & UINT32_MAX, 101);
	assert_int_equal(agent.process->connections, 1);
}

static void unanswered_after_fork_is_given_up(void **state)
{
	(void)state;
	accepted(5);
	in(5, REQUEST);
	rqs_agent_forked(&agent);
	closing(5);
	assert_int_equal(totals().given_up, 1);
}

static void a_full_region_drops_and_counts(void **state)
{
	(void)state;
	accepted(5);
	in(5, REQUEST REQUEST);
	for (uint32_t i = 0; i < RQS_CHUNKS; i++)
		if (!region.owners[i])
			region.owners[i] = UINT64_MAX;
	for (int i = 0; i < 100; i++)
		in(5, "HEAD /b HTTP/1.1\r\n\r\n");
	/* The 63 slots of the chunk that is there, then none; two records' worth of room, then none. */
	for (int i = 0; i < 2; i++)
		out(5, RESPONSE);
	for (int i = 0; i < 100; i++)
		out(5, "HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\n");
	for (uint32_t i = 0; i < RQS_CHUNKS; i++)
		if (region.owners[i] == UINT64_MAX)
			region.owners[i] = 0;
	struct totals t = totals();
	assert_int_equal(t.started, 102);
	assert_int_equal(t.open, 0);
	assert_int_equal(t.dropped, 102);
	/* Chunks came back: recording goes on, on the same connection. */
	region.header->reclaimed++;
	in(5, REQUEST);
	out(5, RESPONSE);
	assert_int_equal(totals().finished, 1);
}

/* As the collector does with what it has read. */
static uint64_t free_sealed(void)
{
	uint64_t records = 0;

	for (uint32_t i = 0; i < RQS_CHUNKS; i++)
		if (region.owners[i] && rqs_chunk_at(&region, i)->sealed) {
			struct totals t = { 0 };

			add_records(&t, rqs_chunk_at(&region, i));
			records += t.records;
			rqs_region_free_chunk(&region, i);
		}
	return records;
}

/* A thread a connection, each with a request now and then: some wait with a chunk of their own, and none takes the last. */
static void more_threads_than_chunks(void **state)
{
	const uint32_t count = RQS_CHUNKS + 1000;
	struct rqs_worker *many = calloc(count, sizeof(*many));
	uint64_t freed = 0;

	(void)state;
	accepted(5);
	for (uint32_t i = 0; i < 2 * count; i++) {
		struct rqs_call call = call_by(&many[i % count]);

		rqs_conn_input(&call, 5, REQUEST, strlen(REQUEST));
		rqs_conn_output(&call, 5, RESPONSE, strlen(RESPONSE));
		if (i % 1000 == 0)
			freed += free_sealed();
	}
	assert_int_equal(agent.process->events[RQS_EVENT_CHUNK_STARVED], 0);
	freed += free_sealed();
	uint64_t held = 0, chunks = 0;
	for (uint32_t i = 0; i < RQS_CHUNKS; i++) {
		struct totals t = { 0 };

		if (!region.owners[i] || rqs_chunk_at(&region, i)->kind != RQS_CHUNK_RECORDS)
			continue;
		add_records(&t, rqs_chunk_at(&region, i));
		held += t.records;
		chunks++;
	}
	assert_int_equal(freed + held, 2 * count);
	assert_in_range(chunks, 1, RQS_CHUNKS / RQS_STACKS_PART / 2);
	free(many);
}

/* A holder that doesn't come back is waited for by other threads' turns, not for ever, and its request is given up. */
static void a_lock_that_is_not_had(void **state)
{
	(void)state;
	accepted(5);
	in(5, REQUEST);
	yields = 0;
	agent.connections[5].lock = agent.epoch;
	out(5, RESPONSE);
	assert_true(yields > 0);
	assert_int_equal(agent.process->events[RQS_EVENT_LOCK_BUSY], 1);
	/* Behind a filter, without a system call. */
	yields = 0;
	agent.frozen = true;
	out(5, RESPONSE);
	agent.frozen = false;
	assert_int_equal(yields, 0);
	agent.connections[5].lock = 0;
	closing(5);
	assert_int_equal(totals().given_up, 1);
	assert_int_equal(agent.open_connections, 0);
	accepted(5);
	in(5, REQUEST);
	out(5, RESPONSE);
	assert_int_equal(totals().finished, 1);
}

/* A read that returned then, of bytes that arrived then; 0: not known. */
static void in_at(int fd, const char *text, uint64_t arrived, uint64_t returned)
{
	struct rqs_call call = call_by(&worker);

	call.arrived_ns = arrived;
	call.returned_ns = returned;
	call.has_queue = arrived && rqs_wait_between(arrived, returned, &call.queue_ns);
	rqs_conn_input(&call, fd, text, strlen(text));
}

static bool has_queue(uint64_t *ns)
{
	struct rqs_record record = totals().last;

	*ns = record.queue_ns;
	return record.flags & RQS_RECORD_HAS_QUEUE;
}

static void a_stamp_may_come_with_the_rest(void **state)
{
	const uint64_t sent = 1700000000000000000u;
	uint64_t queue;

	(void)state;
	accepted(5);
	/* One byte is read without a stamp; the rest, which arrived with it, brings it. */
	in_at(5, "G", 0, sent + 3000);
	assert_true(agent.connections[5].awaits_stamp);
	in_at(5, "ET /a HTTP/1.1\r\n\r\n", sent, sent + 90000);
	assert_false(agent.connections[5].awaits_stamp);
	out(5, RESPONSE);
	assert_true(has_queue(&queue));
	assert_int_equal(queue, 3000);

	/* The rest arrived when the first byte had been read: nothing is known of that. */
	in_at(5, "G", 0, sent);
	in_at(5, "ET /a HTTP/1.1\r\n\r\n", sent + 1, sent + 90000);
	out(5, RESPONSE);
	assert_false(has_queue(&queue));

	/* Byte by byte, the second is asked for its stamp, and those behind it tell nothing any more. */
	in_at(5, "G", 0, sent + 20);
	in_at(5, "E", sent, sent + 40);
	in_at(5, "T", 0, sent + 60);
	in_at(5, " /a HTTP/1.1\r\n\r\n", sent + 70, sent + 80);
	out(5, RESPONSE);
	assert_true(has_queue(&queue));
	assert_int_equal(queue, 20);

	/* A body's stamp isn't its request's. */
	in_at(5, "POST /a HTTP/1.1\r\nContent-Length: 2\r\n\r\n", 0, sent + 20);
	assert_false(agent.connections[5].awaits_stamp);
	in_at(5, "ab", sent, sent + 40);
	out(5, RESPONSE);
	assert_false(has_queue(&queue));
	assert_int_equal(totals().finished, 4);
}

static void a_worker_keeps_a_slot(void **state)
{
	struct rqs_worker other = { 0 };

	(void)state;
	agent.threadless = true;
	for (int fd = 5; fd < 100; fd++)
		accepted(fd);
	for (int i = 0; i < 1000; i++) {
		in(5, REQUEST);
		in(6, REQUEST);
		assert_int_equal(totals().open, 2);
		out(i % 2 ? 5 : 6, RESPONSE);
		struct rqs_call call = call_by(&other);
		rqs_conn_output(&call, i % 2 ? 6 : 5, RESPONSE, strlen(RESPONSE));
	}
	assert_int_equal(totals().finished, 2000);
	for (int fd = 5; fd < 100; fd++)
		in(fd, REQUEST);
	assert_int_equal(totals().open, 95);

	/* In a child the parent's slots are nobody's. */
	for (int fd = 5; fd < 100; fd++)
		out(fd, RESPONSE);
	alive.epoch = 0;
	fake_pid = 101;
	in(5, REQUEST);
	assert_int_equal(totals().open, 1);
	out(5, RESPONSE);
	assert_int_equal(totals().finished, 2000 + 95 + 1);
}

static void allocations_of_a_thread_of_its_own(void **state)
{
	struct rqs_worker other = { 0 };

	(void)state;
	accepted(5);
	in(5, REQUEST);
	rqs_worker_allocated(&worker, 1000);
	rqs_worker_allocated(&worker, 24);
	out(5, RESPONSE);
	struct totals t = totals();
	assert_true(t.last.flags & RQS_RECORD_HAS_ALLOC);
	assert_int_equal(t.last.alloc_count, 2);
	assert_int_equal(t.last.alloc_bytes, 1024);

	/* Two at once on one thread: neither can tell. */
	accepted(6);
	in(5, REQUEST);
	in(6, REQUEST);
	out(5, RESPONSE);
	assert_false(totals().last.flags & RQS_RECORD_HAS_ALLOC);
	out(6, RESPONSE);
	assert_false(totals().last.flags & RQS_RECORD_HAS_ALLOC);

	/* Answered by another thread. */
	in(5, REQUEST);
	struct rqs_call call = call_by(&other);
	rqs_conn_output(&call, 5, RESPONSE, strlen(RESPONSE));
	assert_int_equal(totals().finished, 4);

	/* A thread that waits for several descriptors. */
	worker.event_loop = true;
	in(5, REQUEST);
	out(5, RESPONSE);
	assert_false(totals().last.flags & RQS_RECORD_HAS_ALLOC);
}

/* ---- attached ---- */

static void an_idle_connection_from_before_is_followed(void **state)
{
	(void)state;
	agent.attached = true;
	in(5, REQUEST);
	assert_int_equal(agent.connections[5].kind, RQS_CONN_SERVED);
	out(5, RESPONSE);
	in(5, REQUEST);
	out(5, RESPONSE);
	assert_int_equal(origins_asked, 1);
	assert_int_equal(totals().finished, 2);
	assert_int_equal(agent.process->connections, 1);
	assert_int_equal(agent.process->accepted, 0);
	assert_int_equal(agent.process->preceding, 0);
	closing(5);
	assert_int_equal(agent.process->connections, 0);
}

static void a_response_from_before_is_counted_once(void **state)
{
	(void)state;
	agent.attached = true;
	out(5, RESPONSE);
	out(5, "and more of it");
	assert_int_equal(agent.connections[5].kind, RQS_CONN_RESYNC);
	assert_int_equal(agent.process->preceding, 1);
	assert_int_equal(agent.process->connections, 1);
	in(5, "GE");
	in(5, "T /a HTTP/1.1\r\n\r\n");
	out(5, RESPONSE);
	assert_int_equal(totals().finished, 1);
	assert_string_equal(totals().route, "/a");
	assert_int_equal(agent.process->preceding, 1);
	assert_int_equal(agent.process->connections, 1);

	/* Sent by sendfile. */
	struct rqs_call call = call_by(&worker);
	rqs_conn_output_unseen(&call, 6, 1000);
	assert_int_equal(agent.process->preceding, 2);
	closing(6);
	assert_int_equal(agent.process->connections, 1);
}

static void a_body_from_before_begins_no_request(void **state)
{
	(void)state;
	agent.attached = true;
	in(5, "GET this is a body's end\nHTTP/1.1");
	in(5, REQUEST); /* not behind a response: still the body */
	out(5, "HTTP/1.1 100 Continue\r\n\r\n");
	assert_int_equal(agent.process->preceding, 0);
	in(5, "GET");
	assert_int_equal(totals().started, 0);
	out(5, RESPONSE);
	assert_int_equal(agent.process->preceding, 1);
	in(5, REQUEST);
	out(5, RESPONSE);
	assert_int_equal(totals().started, 1);
	assert_int_equal(totals().finished, 1);
}

static void only_served_connections_from_before_are_followed(void **state)
{
	(void)state;
	agent.attached = true;
	/* A client's: of no interest, whatever it reads. */
	origin_answer = RQS_ORIGIN_OTHER;
	out(5, REQUEST);
	in(5, REQUEST);
	in(6, REQUEST);
	assert_int_equal(agent.connections[5].kind, RQS_CONN_OTHER);
	assert_int_equal(agent.connections[6].kind, RQS_CONN_OTHER);
	/* It can't be told: who reads a head first is served. */
	origin_answer = RQS_ORIGIN_UNKNOWN;
	out(7, RESPONSE);
	assert_int_equal(agent.connections[7].kind, RQS_CONN_OTHER);
	in(8, REQUEST);
	out(8, RESPONSE);
	assert_int_equal(totals().finished, 1);
	/* Under TLS nothing is seen. */
	origin_answer = RQS_ORIGIN_SERVED;
	out(9, "\x17\x03\x03");
	assert_int_equal(agent.connections[9].kind, RQS_CONN_OTHER);
	assert_int_equal(agent.process->events[RQS_EVENT_UNSUPPORTED], 1);
	assert_int_equal(agent.process->preceding, 0);
	assert_int_equal(totals().started, 1);
}

static void a_response_from_before_stays_the_parents(void **state)
{
	(void)state;
	agent.attached = true;
	in(5, "the rest of a body");
	alive.epoch = 0;
	fake_pid = 101;
	out(5, RESPONSE);
	assert_int_equal(agent.connections[5].kind, RQS_CONN_OTHER);
	assert_int_equal(agent.process->preceding, 0);
	closing(5);
	assert_int_equal(agent.process->connections, 0);
}

static void nobody_asks_where_nothing_was_attached_to(void **state)
{
	(void)state;
	out(5, RESPONSE);
	in(6, REQUEST);
	in(7, "no request");
	assert_int_equal(origins_asked, 0);
	assert_int_equal(agent.connections[5].kind, RQS_CONN_OTHER);
	assert_int_equal(agent.connections[7].kind, RQS_CONN_OTHER);
	assert_int_equal(agent.process->preceding, 0);
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, start, stop)
	const struct CMUnitTest tests[] = {
		TEST(keep_alive),
		TEST(pipelined_requests_are_separate),
		TEST(nothing_is_counted_without_a_byte),
		TEST(other_protocols_are_given_up),
		TEST(aborted_requests_are_recorded),
		TEST(responses_until_close),
		TEST(a_tunnel_is_left_alone),
		TEST(early_responses_end_the_request),
		TEST(garbage_behind_requests_loses_none_of_them),
		TEST(duplicates_share_a_connection),
		TEST(adopted_descriptors),
		TEST(passed_descriptors),
		TEST(passed_descriptors_keep_their_duplicates),
		TEST(a_passed_descriptor_is_met_as_any_other),
		TEST(forked_children),
		TEST(unanswered_after_fork_is_given_up),
		TEST(a_full_region_drops_and_counts),
		TEST(more_threads_than_chunks),
		TEST(a_lock_that_is_not_had),
		TEST(a_stamp_may_come_with_the_rest),
		TEST(a_worker_keeps_a_slot),
		TEST(allocations_of_a_thread_of_its_own),
		TEST(an_idle_connection_from_before_is_followed),
		TEST(a_response_from_before_is_counted_once),
		TEST(a_body_from_before_begins_no_request),
		TEST(only_served_connections_from_before_are_followed),
		TEST(a_response_from_before_stays_the_parents),
		TEST(nobody_asks_where_nothing_was_attached_to),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
