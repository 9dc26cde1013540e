/* request.c - see request.h, and the head of region.h for the counting. */
#include "core/request.h"

#include "core/sample.h"
#include "reqscope/trace_format.h"

/* Most records are no longer. */
#define RECORD_EXPECTED 192u

static const char unread_route[] = "(incomplete)";

struct rqs_slot *rqs_slot_at(const struct rqs_agent *agent, uint32_t slot)
{
	struct rqs_chunk_header *chunk = rqs_chunk_of(agent, slot / 64);

	return (struct rqs_slot *)(void *)(chunk + 1) + slot % 64;
}

/* ---- slots ---- */

static uint32_t take_bit(const struct rqs_agent *agent, uint32_t chunk_index)
{
	const uint64_t all = (1ull << RQS_SLOTS_PER_CHUNK) - 1;
	struct rqs_chunk_header *chunk = rqs_chunk_of(agent, chunk_index);
	uint64_t bitmap = rqs_load_relaxed(&chunk->bitmap);

	while ((bitmap & all) != all) {
		unsigned bit = (unsigned)__builtin_ctzll(~bitmap);
		if (__atomic_compare_exchange_n(&chunk->bitmap, &bitmap, bitmap | 1ull << bit, false, __ATOMIC_ACQ_REL,
						__ATOMIC_RELAXED))
			return chunk_index * 64 + bit;
	}
	return RQS_NO_SLOT;
}

static uint32_t search_slots(struct rqs_agent *agent)
{
	uint32_t count = rqs_load(&agent->slot_chunks);
	uint32_t hint = rqs_load_relaxed(&agent->slot_hint);

	if (count > RQS_CHUNKS)
		count = RQS_CHUNKS;
	for (uint32_t n = 0; n < count; n++) {
		uint32_t i = (hint + n) % count;
		uint32_t chunk = rqs_load(&agent->slot_chunk[i]);
		uint32_t slot = chunk ? take_bit(agent, chunk - 1) : RQS_NO_SLOT;

		if (slot != RQS_NO_SLOT) {
			if (n)
				rqs_store_relaxed(&agent->slot_hint, i);
			return slot;
		}
	}
	return RQS_NO_SLOT;
}

static uint32_t claim_slot(const struct rqs_call *call)
{
	struct rqs_agent *agent = call->agent;
	uint32_t slot = call->worker->spare;
	uint32_t index;

	if (slot != RQS_NO_SLOT) {
		call->worker->spare = RQS_NO_SLOT;
		return slot;
	}
	slot = search_slots(agent);
	if (slot != RQS_NO_SLOT)
		return slot;
	if (!rqs_chunk_claim(agent, call->worker, RQS_CHUNK_SLOTS, &index))
		return RQS_NO_SLOT;
	slot = take_bit(agent, index);
	uint32_t entry = rqs_add(&agent->slot_chunks, 1);
	if (entry < RQS_CHUNKS)
		rqs_store(&agent->slot_chunk[entry], index + 1);
	return slot;
}

/* Where workers stay for good, each keeps one slot at hand: its memory isn't other processors', nor is the bitmap. */
static void release_slot(const struct rqs_call *call, uint32_t slot)
{
	if (call->agent->threadless && call->worker->spare == RQS_NO_SLOT) {
		call->worker->spare = slot;
		return;
	}
	struct rqs_chunk_header *chunk = rqs_chunk_of(call->agent, slot / 64);

	__atomic_fetch_and(&chunk->bitmap, ~(1ull << slot % 64), __ATOMIC_RELEASE);
}

/* ---- opening ---- */

/* The collector was the last to touch the memory of the next record: it is fetched while the request is served. */
static void expect_record(const struct rqs_worker *worker)
{
	const struct rqs_chunk_header *chunk = worker->chunk;

	if (!chunk || sizeof(*chunk) + worker->chunk_used + RECORD_EXPECTED > RQS_CHUNK_SIZE)
		return;
	const char *record = (const char *)(chunk + 1) + worker->chunk_used;
	for (unsigned at = 0; at < RECORD_EXPECTED; at += 64)
		rqs_prefetch_write(record + at);
}

static void append(const struct rqs_call *call, struct rqs_conn *conn, uint32_t slot)
{
	if (conn->first == RQS_NO_SLOT)
		conn->first = slot;
	else
		rqs_request_at(call->agent, conn->last)->next = slot;
	conn->last = slot;
}

/* No slot, or older requests without one (order must hold): started and dropped in one store. */
static void open_blind(const struct rqs_call *call, struct rqs_conn *conn)
{
	rqs_add(&call->agent->process->unslotted, 1);
	conn->blind++;
	conn->reading = RQS_BLIND_SLOT;
}

void rqs_request_open(const struct rqs_call *call, struct rqs_conn *conn)
{
	struct rqs_agent *agent = call->agent;
	uint32_t index = conn->blind ? RQS_NO_SLOT : claim_slot(call);

	if (index == RQS_NO_SLOT) {
		open_blind(call, conn);
		return;
	}
	struct rqs_slot *slot = rqs_slot_at(agent, index);
	struct rqs_request *request = rqs_request_at(agent, index);

	request->read = call->ticks;
	request->first_out = 0;
	request->queue_ns = call->queue_ns;
	request->has_queue = call->has_queue;
	request->read_ns = call->returned_ns;
	request->request_bytes = 0;
	request->response_bytes = 0;
	request->forks = rqs_load_relaxed(&agent->forks);
	request->next = RQS_NO_SLOT;
	request->status = 0;
	request->method = RQS_METHOD_OTHER;
	request->route_length = 0;
	expect_record(call->worker);
	append(call, conn, index);
	conn->reading = index;
	conn->awaits_stamp = call->returned_ns && !call->arrived_ns;
	rqs_store(&slot->opened, slot->opened + 1);
	if (conn->first == index)
		agent->meter->begin(call, index);
}

/* What arrived when the rest did, and before its beginning was read, tells when the whole arrived. */
static void late_stamp(const struct rqs_call *call, struct rqs_conn *conn, struct rqs_request *request)
{
	if (!call->arrived_ns)
		return;
	conn->awaits_stamp = false;
	request->has_queue = rqs_wait_between(call->arrived_ns, request->read_ns, &request->queue_ns);
}

void rqs_request_read_on(const struct rqs_call *call, struct rqs_conn *conn)
{
	const struct rqs_agent *agent = call->agent;

	if (!rqs_request_is_slot(conn->reading))
		return;
	struct rqs_request *request = rqs_request_at(agent, conn->reading);
	if (request->route_length)
		return;
	if (rqs_unlikely(conn->awaits_stamp))
		late_stamp(call, conn, request);
	if (agent->meter->read_on && conn->reading == conn->first)
		agent->meter->read_on(call, conn->reading);
}

void rqs_request_named(const struct rqs_call *call, struct rqs_conn *conn, uint8_t method, const char *route,
		       size_t length)
{
	if (conn->reading == RQS_BLIND_SLOT && conn->blind <= 64 && method == RQS_METHOD_HEAD)
		conn->blind_heads |= 1ull << (conn->blind - 1);
	conn->awaits_stamp = false;
	if (!rqs_request_is_slot(conn->reading))
		return;
	struct rqs_request *request = rqs_request_at(call->agent, conn->reading);

	request->method = method;
	request->route_length = (uint8_t)length;
	rqs_copy(request->route, route, length);
}

uint8_t rqs_request_method(const struct rqs_call *call, const struct rqs_conn *conn)
{
	if (conn->first != RQS_NO_SLOT)
		return rqs_request_at(call->agent, conn->first)->method;
	return conn->blind_heads & 1 ? RQS_METHOD_HEAD : RQS_METHOD_OTHER;
}

void rqs_request_answered(const struct rqs_call *call, struct rqs_conn *conn, uint64_t n, uint16_t status)
{
	if (conn->first == RQS_NO_SLOT)
		return;
	struct rqs_request *request = rqs_request_at(call->agent, conn->first);

	/* Interim responses (1xx) aren't the answer, but for 101, which is the last word of HTTP. */
	if (!request->first_out && (status >= 200 || status == 101))
		request->first_out = call->ticks;
	request->response_bytes += n;
	request->status = status;
	if (call->agent->meter->answered)
		call->agent->meter->answered(call, conn->first);
}

/* ---- ending ---- */

static uint16_t record_flags(const struct rqs_request *request, enum rqs_ending ending)
{
	unsigned flags = ending == RQS_ENDING_ABORTED ? RQS_RECORD_ABORTED : RQS_RECORD_HAS_LAST;

	if (request->has_queue)
		flags |= RQS_RECORD_HAS_QUEUE;
	if (request->first_out)
		flags |= RQS_RECORD_HAS_FIRST;
	return (uint16_t)flags;
}

/* Commits the request as a record; false when there is no room. */
static bool commit(const struct rqs_call *call, uint32_t index, enum rqs_ending ending)
{
	const struct rqs_slot *slot = rqs_slot_at(call->agent, index);
	const struct rqs_request *request = rqs_request_at(call->agent, index);
	const char *route = request->route_length ? request->route : unread_route;
	size_t length = request->route_length ? request->route_length : sizeof(unread_route) - 1;
	size_t size = (offsetof(struct rqs_record, route) + length + 7) & ~(size_t)7;
	struct rqs_record *record = rqs_record_space(call->agent, call->worker, size);

	if (!record) {
		call->agent->meter->end(call, index, NULL);
		return false;
	}
	record->size = (uint16_t)size;
	record->type = RQS_RECORD_REQUEST;
	record->method = request->method;
	record->status = request->status;
	record->flags = record_flags(request, ending);
	record->slot = index;
	record->route_length = (uint16_t)length;
	record->reserved = 0;
	record->ordinal = slot->opened;
	record->read = request->read;
	record->first_out = request->first_out;
	record->last_out = call->ticks;
	record->queue_ns = request->queue_ns;
	record->request_bytes = request->request_bytes;
	record->response_bytes = request->response_bytes;
	record->alloc_count = 0;
	record->alloc_bytes = 0;
	record->cpu_ticks = 0;
	record->sched_ticks = 0;
	record->children_ticks = 0;
	record->gil_ticks = 0;
	record->loop_ticks = 0;
	record->recv_buffer_bytes = 0;
	rqs_copy(record->route, route, length);
	call->agent->meter->end(call, index, record);
	rqs_record_commit(call->worker, size);
	return true;
}

static void unlink_first(const struct rqs_call *call, struct rqs_conn *conn)
{
	uint32_t slot = conn->first;

	conn->first = rqs_request_at(call->agent, slot)->next;
	if (conn->first == RQS_NO_SLOT)
		conn->last = RQS_NO_SLOT;
	if (conn->reading == slot)
		conn->reading = RQS_NO_SLOT;
}

static void close_slot(const struct rqs_call *call, uint32_t index, enum rqs_ending ending)
{
	struct rqs_slot *slot = rqs_slot_at(call->agent, index);
	uint64_t *counter = &slot->given_up;

	if (ending != RQS_ENDING_GIVEN_UP)
		counter = commit(call, index, ending) ? &slot->finished : &slot->dropped;
	else
		call->agent->meter->end(call, index, NULL);

	rqs_store(counter, *counter + 1);
	release_slot(call, index);
}

void rqs_request_end(const struct rqs_call *call, struct rqs_conn *conn, enum rqs_ending ending)
{
	uint32_t slot = conn->first;

	if (slot == RQS_NO_SLOT) {
		if (conn->blind) {
			conn->blind--;
			conn->blind_heads >>= 1;
			if (!conn->blind && conn->reading == RQS_BLIND_SLOT)
				conn->reading = RQS_NO_SLOT;
		}
		return;
	}
	unlink_first(call, conn);
	close_slot(call, slot, ending);
	rqs_sample_tell_untold(call->agent, call->worker);
	if (conn->first != RQS_NO_SLOT)
		call->agent->meter->begin(call, conn->first);
}

void rqs_request_give_up_reading(const struct rqs_call *call, struct rqs_conn *conn)
{
	uint32_t slot = conn->reading;

	conn->reading = RQS_NO_SLOT;
	if (slot == RQS_BLIND_SLOT)
		conn->blind--;
	if (!rqs_request_is_slot(slot))
		return;
	if (conn->first == slot) {
		unlink_first(call, conn);
	} else {
		uint32_t before = conn->first;

		while (rqs_request_at(call->agent, before)->next != slot)
			before = rqs_request_at(call->agent, before)->next;
		rqs_request_at(call->agent, before)->next = RQS_NO_SLOT;
		conn->last = before;
	}
	close_slot(call, slot, RQS_ENDING_GIVEN_UP);
}
