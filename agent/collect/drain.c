/*
 * drain.c - passes over the region.
 *
 * A pass goes over the owner words: 64 KiB, whatever is in use. Of a records
 * chunk the owner thread moves `head`, and we keep `tail`:
 *
 *    | header | read | committed, not yet read | free |
 *                    ^ tail                    ^ head
 */
#include "collect/drain.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>

#define ROOM (RQS_CHUNK_SIZE - (uint32_t)sizeof(struct rqs_chunk_header))
#define RECORD_MAX (sizeof(struct rqs_record) + ((RQS_ROUTE_MAX + 7u) & ~7u))
#define SLOTS_NUMBERED (RQS_CHUNKS * 64u)
/* A time this far outside of the session is nonsense; one nearer is the clocks' disagreement, and is moved inside. */
#define CLOCK_SLACK_NS 1000000000ull
#define THREADS_AHEAD 1024u

int rqs_drain_init(struct rqs_drain *drain)
{
	drain->chunks = calloc(RQS_CHUNKS, sizeof(*drain->chunks));
	drain->last_ordinal = calloc(SLOTS_NUMBERED, sizeof(*drain->last_ordinal));
	drain->start_ns = drain->now_ns = rqs_monotonic_ns();
	memset(&drain->steps, 0, sizeof(drain->steps));
	rqs_steps_look(&drain->steps);
	drain->threads_used = 0;
	drain->malformed_records = drain->broken_chunks = 0;
	if (drain->chunks && drain->last_ordinal)
		return 0;
	rqs_drain_free(drain);
	return -ENOMEM;
}

void rqs_drain_free(struct rqs_drain *drain)
{
	free(drain->chunks);
	free(drain->last_ordinal);
	drain->chunks = NULL;
	drain->last_ordinal = NULL;
}

static void begin_view(struct rqs_drain *drain, uint32_t chunk, uint64_t owner)
{
	drain->chunks[chunk] = (struct rqs_chunk_view){.owner = owner};
	memset(&drain->last_ordinal[chunk * 64], 0, 64 * sizeof(*drain->last_ordinal));
}

/* The view of a chunk as its owner word is now; a new owner starts a new view. */
static struct rqs_chunk_view *look_at(struct rqs_drain *drain, uint32_t chunk)
{
	uint64_t owner = __atomic_load_n(&drain->region->owners[chunk], __ATOMIC_ACQUIRE);

	if (drain->chunks[chunk].owner != owner)
		begin_view(drain, chunk, owner);
	return &drain->chunks[chunk];
}

static struct rqs_watched *owner_of(struct rqs_drain *drain, uint64_t owner)
{
	return owner ? rqs_processes_at(drain->processes, rqs_owner_process(owner)) : NULL;
}

/* Before it is free: the same thread may claim it at once, and its owner word is then what it was. */
static void free_chunk(struct rqs_drain *drain, uint32_t chunk)
{
	begin_view(drain, chunk, 0);
	rqs_region_free_chunk(drain->region, chunk);
}

static enum rqs_chunk_kind kind_of(const struct rqs_drain *drain, uint32_t chunk)
{
	return __atomic_load_n(&rqs_chunk_at(drain->region, chunk)->kind, __ATOMIC_ACQUIRE);
}

static uint64_t clamp(uint64_t value)
{
	return value < RQS_VALUE_MAX ? value : RQS_VALUE_MAX;
}

/* A request's slot must be one of its own process's. */
static bool slot_is_right(struct rqs_drain *drain, uint32_t slot, uint64_t ordinal, uint64_t owner)
{
	uint32_t chunk = slot / 64, index = slot % 64;

	if (chunk >= RQS_CHUNKS || index >= RQS_SLOTS_PER_CHUNK || !ordinal)
		return false;
	return rqs_owner_process(look_at(drain, chunk)->owner) == rqs_owner_process(owner) &&
	       kind_of(drain, chunk) == RQS_CHUNK_SLOTS;
}

/* Records of one slot may stand in chunks of different threads, so that the later may be read the sooner. */
static void remember_ordinal(struct rqs_drain *drain, const struct rqs_record *record)
{
	uint64_t *last = &drain->last_ordinal[record->slot];

	if (record->ordinal > *last)
		*last = record->ordinal;
}

static bool time_is_sane(const struct rqs_drain *drain, uint64_t ns)
{
	return ns <= drain->now_ns + CLOCK_SLACK_NS && ns + CLOCK_SLACK_NS >= drain->start_ns;
}

static bool times_are_sane(const struct rqs_drain *drain, const struct rqs_record *record, uint64_t read_ns)
{
	const struct rqs_calibration *clock = drain->clock;

	if (!time_is_sane(drain, read_ns))
		return false;
	if ((record->flags & RQS_RECORD_HAS_FIRST) &&
	    !time_is_sane(drain, rqs_calibration_ns(clock, record->first_out)))
		return false;
	return !(record->flags & RQS_RECORD_HAS_LAST) ||
	       time_is_sane(drain, rqs_calibration_ns(clock, record->last_out));
}

static void set_times(struct rqs_drain *drain, const struct rqs_record *record, struct rqs_request_row *row)
{
	uint16_t flags = record->flags;

	if ((flags & RQS_RECORD_HAS_QUEUE) && record->queue_ns < row->time &&
	    rqs_steps_leave(&drain->steps, row->time, record->queue_ns)) {
		row->queue = record->queue_ns;
		row->time -= record->queue_ns;
	}
	if (flags & RQS_RECORD_HAS_FIRST)
		row->handler = rqs_calibration_span(drain->clock, record->read, record->first_out);
	/* An aborted request has no end of its response. */
	if ((flags & RQS_RECORD_HAS_FIRST) && (flags & RQS_RECORD_HAS_LAST) && !(flags & RQS_RECORD_ABORTED))
		row->send = rqs_calibration_span(drain->clock, record->first_out, record->last_out);
}

/* A number of ticks as ns. */
static uint64_t span_of(const struct rqs_drain *drain, uint64_t ticks)
{
	return clamp(rqs_calibration_span(drain->clock, 0, ticks));
}

/* Null where the interpreter has no such thing, or the agent couldn't tell. */
static void set_python_costs(const struct rqs_drain *drain, const struct rqs_record *record,
			     struct rqs_request_row *row)
{
	row->gil_wait = row->loop_delay = row->recv_buffer_bytes = RQS_NULL;
	if (record->flags & RQS_RECORD_HAS_GIL)
		row->gil_wait = span_of(drain, record->gil_ticks);
	/* A part of queue, by the same clocks: where a step makes that doubtful, this is as well. */
	if ((record->flags & RQS_RECORD_HAS_LOOP) && row->queue != RQS_NULL)
		row->loop_delay = span_of(drain, record->loop_ticks);
	/* The kernel's stamp is of the newest segment, so that queue may be the shorter; null is the greatest. */
	if (row->loop_delay != RQS_NULL && row->loop_delay > row->queue)
		row->loop_delay = row->queue;
	if (record->flags & RQS_RECORD_HAS_RECV)
		row->recv_buffer_bytes = clamp(record->recv_buffer_bytes);
}

/* What the request took besides time: null where the agent couldn't tell. */
static void set_costs(const struct rqs_drain *drain, const struct rqs_watched *watched, const struct rqs_record *record,
		      struct rqs_request_row *row)
{
	row->alloc_count = row->alloc_bytes = RQS_NULL;
	row->cpu_time = row->sched_wait = row->children_cpu_time = RQS_NULL;
	if (record->flags & RQS_RECORD_HAS_ALLOC) {
		row->alloc_count = clamp(record->alloc_count);
		row->alloc_bytes = clamp(rqs_net(record->alloc_bytes));
	}
	if (record->flags & RQS_RECORD_HAS_CPU)
		row->cpu_time = span_of(drain, record->cpu_ticks);
	if (!(record->flags & RQS_RECORD_HAS_SCHED))
		return;
	row->sched_wait = span_of(drain, record->sched_ticks);
	if (watched->measures & RQS_MEASURES_CHILDREN)
		row->children_cpu_time = span_of(drain, record->children_ticks);
}

/* The contents of a record as a row; false when they can't be. */
static bool make_row(struct rqs_drain *drain, const struct rqs_watched *watched, const struct rqs_record *record,
		     struct rqs_request_row *row)
{
	*row = (struct rqs_request_row){
	    .time = rqs_calibration_ns(drain->clock, record->read),
	    .status = record->status < 1000 ? record->status : 0,
	    .flags = record->flags & RQS_RECORD_ABORTED ? RQS_FLAG_ABORTED : 0,
	    .queue = RQS_NULL,
	    .handler = RQS_NULL,
	    .send = RQS_NULL,
	    .request_bytes = clamp(record->request_bytes),
	    .response_bytes = clamp(record->response_bytes),
	};
	if (!times_are_sane(drain, record, row->time))
		return false;
	if (row->time > drain->now_ns)
		row->time = drain->now_ns;
	set_times(drain, record, row);
	set_costs(drain, watched, record, row);
	set_python_costs(drain, record, row);
	return true;
}

static void count_alloc(struct rqs_watched *watched, const struct rqs_request_row *row)
{
	if (row->alloc_count == RQS_NULL)
		return;
	watched->with_alloc++;
	watched->record_alloc_count += row->alloc_count;
	watched->record_alloc_bytes += row->alloc_bytes;
}

/* A record that can't be believed was a request all the same: it is counted as dropped. */
static void take_record(struct rqs_drain *drain, struct rqs_watched *watched, uint64_t owner,
			const struct rqs_record *record)
{
	struct rqs_request_row row;
	uint8_t method = record->method < RQS_METHOD_COUNT ? record->method : RQS_METHOD_OTHER;

	if (!slot_is_right(drain, record->slot, record->ordinal, owner)) {
		drain->malformed_records++;
		return;
	}
	remember_ordinal(drain, record);
	watched->records++;
	if (!make_row(drain, watched, record, &row) || !rqs_processes_note(drain->processes, watched)) {
		drain->malformed_records++;
		watched->lost++;
		return;
	}
	watched->record_flags |= record->flags;
	count_alloc(watched, &row);
	row.process = watched->index;
	row.route = rqs_batch_route(drain->requests, method, record->route, record->route_length);
	rqs_batch_add(drain->requests, &row);
	if (drain->sites)
		rqs_site_rows_request(drain->sites, watched, record, method);
	if (rqs_batch_is_full(drain->requests))
		drain->full(drain->context);
}

/* The code records that are committed, and will be read. */
static void take_codes_of(const struct rqs_drain *drain, uint32_t chunk, uint32_t at, struct rqs_watched *watched)
{
	const struct rqs_chunk_header *header = rqs_chunk_at(drain->region, chunk);
	const unsigned char *data = (const unsigned char *)(header + 1);
	uint32_t head = __atomic_load_n(&header->head, __ATOMIC_ACQUIRE);
	uint16_t size;

	for (; head <= ROOM && at + sizeof(struct rqs_code_record) <= head; at += size) {
		union {
			struct rqs_code_record record;
			unsigned char bytes[RQS_CHUNK_SIZE];
		} copy;

		memcpy(copy.bytes, data + at, sizeof(copy.record));
		size = copy.record.size;
		if (size < 8 || size % 8 || size > head - at)
			return;
		if (copy.record.type != RQS_RECORD_CODE)
			continue;
		memcpy(copy.bytes, data + at, size);
		copy.record.type = RQS_RECORD_CODE;
		rqs_site_rows_take(drain->sites, watched, &copy, size, drain->now_ns);
	}
}

/*
 * Chunks are read in the order of their numbers, and may have been written in
 * another: the code that a sample names may stand in one that is yet to come.
 * It was committed before the sample. To take it again then is no harm.
 */
#define CODE_SEARCHES 64u /* a pass, as a process may name what there never was */
static void take_codes(struct rqs_drain *drain, struct rqs_watched *watched)
{
	if (!drain->code_searches)
		return;
	drain->code_searches--;
	for (uint32_t chunk = 0; chunk < RQS_CHUNKS; chunk++) {
		const struct rqs_chunk_view *view = look_at(drain, chunk);

		if (view->broken || owner_of(drain, view->owner) != watched)
			continue;
		if (kind_of(drain, chunk) == RQS_CHUNK_RECORDS)
			take_codes_of(drain, chunk, view->tail, watched);
	}
}

/* The slot and the time of a record of a sampled allocation, before the rest of it is looked at. */
static bool take_site(struct rqs_drain *drain, struct rqs_watched *watched, uint64_t owner, const void *record,
		      uint32_t size)
{
	const struct rqs_sample_record *sample = record;
	const struct rqs_freed_record *freed = record;
	uint64_t ns = drain->now_ns;

	if (sample->type == RQS_RECORD_SAMPLE) {
		if (size < sizeof(*sample) ||
		    (sample->slot != RQS_SAMPLE_NO_SLOT && !slot_is_right(drain, sample->slot, sample->ordinal, owner)))
			return false;
		ns = rqs_calibration_ns(drain->clock, sample->ticks);
	} else if (freed->type == RQS_RECORD_FREED) {
		if (size < sizeof(*freed))
			return false;
		ns = rqs_calibration_ns(drain->clock, freed->ticks);
	}
	if (!time_is_sane(drain, ns))
		return false;
	if (sample->type == RQS_RECORD_SAMPLE && !rqs_site_rows_know(watched, sample, size))
		take_codes(drain, watched);
	return rqs_site_rows_take(drain->sites, watched, record, size, ns < drain->now_ns ? ns : drain->now_ns);
}

/* Checks a record's lengths against each other and against what is committed; 0 when they make no sense. */
static uint32_t checked_size(const struct rqs_record *record, uint32_t copied, uint32_t left)
{
	uint32_t size = record->size;

	if (size < 8 || size % 8 || size > left)
		return 0;
	if (record->type != RQS_RECORD_REQUEST)
		return size;
	if (size < sizeof(*record) || copied < sizeof(*record) || record->route_length > RQS_ROUTE_MAX ||
	    sizeof(*record) + record->route_length > size)
		return 0;
	return size;
}

static void give_up_chunk(struct rqs_drain *drain, struct rqs_chunk_view *view)
{
	view->broken = true;
	drain->broken_chunks++;
}

static size_t read_chunk(struct rqs_drain *drain, uint32_t chunk, struct rqs_chunk_view *view,
			 struct rqs_watched *watched)
{
	const struct rqs_chunk_header *header = rqs_chunk_at(drain->region, chunk);
	const unsigned char *data = (const unsigned char *)(header + 1);
	uint32_t head = __atomic_load_n(&header->head, __ATOMIC_ACQUIRE);
	size_t records = 0;

	if (view->broken || head == view->tail)
		return 0;
	if (head > ROOM || head < view->tail || head % 8) {
		give_up_chunk(drain, view);
		return 0;
	}
	drain->now_ns = rqs_monotonic_ns(); /* after `head`: what is read next isn't younger */
	while (view->tail < head) {
		union {
			struct rqs_record record;
			unsigned char bytes[RQS_CHUNK_SIZE]; /* touched as far as a record is long */
		} copy;
		uint32_t left = head - view->tail, copied = left < RECORD_MAX ? left : (uint32_t)RECORD_MAX;

		memcpy(copy.bytes, data + view->tail, copied);
		uint32_t size = checked_size(&copy.record, copied, left);
		if (!size) {
			give_up_chunk(drain, view);
			break;
		}
		if (copy.record.type != RQS_RECORD_REQUEST && size > copied && drain->sites)
			memcpy(copy.bytes + copied, data + view->tail + copied, size - copied);
		view->tail += size;
		if (copy.record.type == RQS_RECORD_REQUEST)
			take_record(drain, watched, view->owner, &copy.record);
		else if (!drain->sites)
			continue;
		else if (!take_site(drain, watched, view->owner, copy.bytes, size))
			drain->malformed_records++;
		records++;
	}
	return records;
}

/* `sealed` is read first: the head read after it is then the last. */
static size_t visit_records(struct rqs_drain *drain, uint32_t chunk, struct rqs_chunk_view *view,
			    struct rqs_watched *watched)
{
	bool sealed = __atomic_load_n(&rqs_chunk_at(drain->region, chunk)->sealed, __ATOMIC_ACQUIRE);
	size_t records = read_chunk(drain, chunk, view, watched);

	if (sealed)
		free_chunk(drain, chunk);
	return records;
}

void rqs_drain_beat(struct rqs_drain *drain)
{
	__atomic_store_n(&drain->region->header->heartbeat, rqs_calibration_ticks(drain->clock), __ATOMIC_RELAXED);
}

size_t rqs_drain_records(struct rqs_drain *drain)
{
	size_t records = 0;

	drain->code_searches = CODE_SEARCHES;
	drain->chunks_read = 0;
	for (uint32_t chunk = 0; chunk < RQS_CHUNKS; chunk++) {
		struct rqs_chunk_view *view = look_at(drain, chunk);
		struct rqs_watched *watched = owner_of(drain, view->owner);

		if (watched && kind_of(drain, chunk) == RQS_CHUNK_RECORDS) {
			size_t read = visit_records(drain, chunk, view, watched);

			records += read;
			drain->chunks_read += read != 0;
			if (read) /* many samples may take long */
				rqs_drain_beat(drain);
		}
	}
	if (drain->sites)
		rqs_site_rows_pass(drain->sites, drain->region);
	return records;
}

static bool thread_is_gone(const struct rqs_watched *watched, uint64_t owner)
{
	pid_t tid = (pid_t)(uint32_t)owner;

	if (watched->dying || tid <= 0 || (watched->flags & (RQS_PROCESS_FOREIGN_PIDS | RQS_PROCESS_EXECED)))
		return false;
	return syscall(SYS_tgkill, watched->pid, tid, 0) && errno == ESRCH;
}

/* What a Go process's threads allocate is that of the C code in it, and none of its requests'. */
static void fold_thread(struct rqs_drain *drain, uint32_t thread, const struct rqs_watched *watched,
			struct rqs_sums *sums)
{
	const struct rqs_thread *slot = &drain->region->threads[thread];

	if (rqs_watched_is_go(watched))
		return;
	sums->alloc_count += __atomic_load_n(&slot->alloc_count, __ATOMIC_RELAXED);
	sums->alloc_bytes += __atomic_load_n(&slot->alloc_bytes, __ATOMIC_RELAXED);
}

static void dead_thread_chunks(struct rqs_drain *drain)
{
	for (uint32_t chunk = 0; chunk < RQS_CHUNKS; chunk++) {
		struct rqs_chunk_view *view = look_at(drain, chunk);
		struct rqs_watched *watched = owner_of(drain, view->owner);

		if (!watched || kind_of(drain, chunk) == RQS_CHUNK_SLOTS || !thread_is_gone(watched, view->owner))
			continue;
		/* Its kind may have been set since, and records written: the last look is taken now. */
		if (kind_of(drain, chunk) == RQS_CHUNK_SLOTS)
			continue;
		if (kind_of(drain, chunk) == RQS_CHUNK_RECORDS)
			read_chunk(drain, chunk, view, watched);
		free_chunk(drain, chunk);
	}
}

/*
 * Calls visit for each taken thread slot. A process claims slots upwards from
 * the lowest, so that a look somewhat beyond the highest one ever seen finds
 * new ones, and the rest of the array stays untouched.
 */
static void each_thread(struct rqs_drain *drain,
			void (*visit)(struct rqs_drain *, uint32_t thread, struct rqs_watched *, uint64_t owner))
{
	for (uint32_t i = 0; i < RQS_THREADS && i < drain->threads_used + THREADS_AHEAD; i++) {
		uint64_t owner = __atomic_load_n(&drain->region->threads[i].owner, __ATOMIC_ACQUIRE);
		struct rqs_watched *watched = owner_of(drain, owner);

		if (owner && i >= drain->threads_used)
			drain->threads_used = i + 1;
		if (watched)
			visit(drain, i, watched, owner);
	}
}

static void visit_dead_thread(struct rqs_drain *drain, uint32_t thread, struct rqs_watched *watched, uint64_t owner)
{
	if (!thread_is_gone(watched, owner))
		return;
	fold_thread(drain, thread, watched, &watched->folded);
	rqs_region_free_thread(drain->region, thread);
}

void rqs_drain_dead_threads(struct rqs_drain *drain)
{
	dead_thread_chunks(drain);
	each_thread(drain, visit_dead_thread);
}

/* Adds up one chunk of request slots. */
static void fold_slots(struct rqs_drain *drain, uint32_t chunk, struct rqs_sums *sums)
{
	const struct rqs_slot *slots = rqs_slots_of(drain->region, chunk);

	for (uint32_t i = 0; i < RQS_SLOTS_PER_CHUNK; i++) {
		uint64_t finished = __atomic_load_n(&slots[i].finished, __ATOMIC_ACQUIRE);
		uint64_t dropped = __atomic_load_n(&slots[i].dropped, __ATOMIC_ACQUIRE);
		uint64_t given_up = __atomic_load_n(&slots[i].given_up, __ATOMIC_ACQUIRE);
		uint64_t opened = __atomic_load_n(&slots[i].opened, __ATOMIC_ACQUIRE);

		sums->opened += opened;
		sums->dropped += dropped;
		sums->given_up += given_up;
		/* Killed between a record's commit and the store of `finished`: the record counts, not the slot. */
		if (opened > finished + dropped + given_up && drain->last_ordinal[chunk * 64 + i] < opened)
			sums->unfinished++;
	}
}

static void fold_table(struct rqs_drain *drain, struct rqs_watched *watched, struct rqs_sums *sums)
{
	if (!rqs_watched_is_go(watched) || !(watched->measures & RQS_MEASURES_ALLOC))
		return;
	rqs_table_read(&watched->table, drain->region, watched->slot);
	sums->alloc_count += watched->table.alloc_count;
	sums->alloc_bytes += watched->table.alloc_bytes;
}

static void read_dying_chunks(struct rqs_drain *drain)
{
	for (uint32_t chunk = 0; chunk < RQS_CHUNKS; chunk++) {
		struct rqs_chunk_view *view = look_at(drain, chunk);
		struct rqs_watched *watched = owner_of(drain, view->owner);

		if (watched && watched->ending && kind_of(drain, chunk) == RQS_CHUNK_RECORDS)
			read_chunk(drain, chunk, view, watched);
	}
}

/* Only once all records have been read is it known which slots' requests have one. */
static void fold_dying_chunks(struct rqs_drain *drain)
{
	for (uint32_t chunk = 0; chunk < RQS_CHUNKS; chunk++) {
		struct rqs_watched *watched = owner_of(drain, look_at(drain, chunk)->owner);

		if (!watched || !watched->ending)
			continue;
		if (kind_of(drain, chunk) == RQS_CHUNK_SLOTS)
			fold_slots(drain, chunk, &watched->folded);
		free_chunk(drain, chunk);
	}
}

static void visit_dying_thread(struct rqs_drain *drain, uint32_t thread, struct rqs_watched *watched, uint64_t owner)
{
	(void)owner;
	if (!watched->ending)
		return;
	fold_thread(drain, thread, watched, &watched->folded);
	rqs_region_free_thread(drain->region, thread);
}

/* More may begin to die while we are at it; those have their turn at the next pass. */
static bool mark_ending(const struct rqs_processes *processes)
{
	bool any = false;

	for (uint32_t slot = 0; slot < RQS_PROCESSES; slot++)
		if (processes->by_slot[slot] && processes->by_slot[slot]->dying)
			any = processes->by_slot[slot]->ending = true;
	return any;
}

void rqs_drain_dying(struct rqs_drain *drain)
{
	struct rqs_processes *processes = drain->processes;

	if (!mark_ending(processes))
		return;
	read_dying_chunks(drain);
	fold_dying_chunks(drain);
	each_thread(drain, visit_dying_thread);
	rqs_processes_refresh(processes, rqs_monotonic_ns());
	for (uint32_t slot = 0; slot < RQS_PROCESSES; slot++) {
		struct rqs_watched *watched = processes->by_slot[slot];

		if (!watched || !watched->ending)
			continue;
		watched->live = (struct rqs_sums){0};
		fold_table(drain, watched, &watched->folded);
		if (drain->sites)
			rqs_site_rows_end(drain->sites, watched);
		rqs_processes_end(processes, watched);
	}
}

static void visit_live_thread(struct rqs_drain *drain, uint32_t thread, struct rqs_watched *watched, uint64_t owner)
{
	(void)owner;
	fold_thread(drain, thread, watched, &watched->live);
}

void rqs_drain_survey(struct rqs_drain *drain)
{
	for (uint32_t slot = 0; slot < RQS_PROCESSES; slot++) {
		struct rqs_watched *watched = drain->processes->by_slot[slot];

		if (!watched)
			continue;
		watched->live = (struct rqs_sums){0};
		fold_table(drain, watched, &watched->live);
	}
	for (uint32_t chunk = 0; chunk < RQS_CHUNKS; chunk++) {
		struct rqs_watched *watched = owner_of(drain, look_at(drain, chunk)->owner);

		if (watched && kind_of(drain, chunk) == RQS_CHUNK_SLOTS)
			fold_slots(drain, chunk, &watched->live);
	}
	each_thread(drain, visit_live_thread);
}
