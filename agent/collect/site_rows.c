/*
 * site_rows.c - samples, and what they wait for.
 *
 * A sample is committed before its request's record, but maybe by another
 * thread, to a chunk that is read later. So the routes of recent records are
 * kept, too, and a sample whose request has ended waits for one whole pass
 * more: what was committed before that pass began has been read at its end.
 */
#include "collect/site_rows.h"
#include "collect/mapping.h"

#include <stdlib.h>
#include <string.h>

#define SLOTS_NUMBERED (RQS_CHUNKS * 64u)
#define WAITING_MAX 65536u
#define WAITING_OF_PROCESS (WAITING_MAX / 4)
#define EARLY_MAX 65536u
#define RECENT_MAX 16384u
#define NOWHERE UINT32_MAX

/* A sample whose request's record hasn't been read. */
struct waiting {
	struct rqs_site_row row;
	struct rqs_watched *watched; /* NULL: the entry is free */
	uint64_t ordinal;
	uint32_t slot;
	uint32_t next; /* + 1: in the slot's list, or that of free entries */
	bool ended;    /* so was the request at the end of an earlier pass */
	bool vain;     /* to be given up */
};

/* A row of a process that isn't noted. */
struct early {
	struct rqs_site_row row;
	const struct rqs_watched *watched;
};

/* A request's record that was read. */
struct recent {
	uint64_t owner; /* the process's, 0 none */
	uint64_t ordinal;
	uint32_t slot;
	uint16_t route_length;
	uint8_t method;
	char route[RQS_ROUTE_MAX];
};

struct rqs_site_rows {
	struct rqs_site_sink sink;
	uint64_t sample_bytes;
	struct waiting *waiting;
	uint32_t waiting_used, waiting_capacity; /* entries from `waiting_used` on were never used */
	uint32_t waiting_free;                   /* + 1 */
	uint32_t waiting_count;
	uint32_t *by_slot; /* the first waiting of each slot, + 1 */
	struct early *early;
	uint32_t early_count, early_capacity;
	struct recent *recent;
	struct rqs_site_troubles troubles;
};

struct rqs_site_rows *rqs_site_rows_new(uint64_t sample_bytes, const struct rqs_site_sink *sink)
{
	struct rqs_site_rows *rows = calloc(1, sizeof(*rows));

	if (!rows)
		return NULL;
	rows->sink = *sink;
	rows->sample_bytes = sample_bytes;
	rows->by_slot = calloc(SLOTS_NUMBERED, sizeof(*rows->by_slot));
	rows->recent = calloc(RECENT_MAX, sizeof(*rows->recent));
	if (rows->by_slot && rows->recent)
		return rows;
	rqs_site_rows_free(rows);
	return NULL;
}

void rqs_site_rows_free(struct rqs_site_rows *rows)
{
	if (!rows)
		return;
	free(rows->waiting);
	free(rows->by_slot);
	free(rows->early);
	free(rows->recent);
	free(rows);
}

/* An array that has one element more, or what it was. */
static void *grown(void *array, uint32_t count, uint32_t *capacity, uint32_t limit, size_t size)
{
	uint32_t more = *capacity ? 2 * *capacity : 256;

	if (count < *capacity || count == limit)
		return array;
	void *bigger = realloc(array, (more < limit ? more : limit) * size);
	if (!bigger)
		return array;
	*capacity = more < limit ? more : limit;
	return bigger;
}

/* Rows on their way out */

static void add_row(struct rqs_site_rows *rows, const struct rqs_watched *watched, struct rqs_site_row *row)
{
	row->process = watched->index;
	rqs_batch_add(rows->sink.batch, row);
	if (rqs_batch_is_full(rows->sink.batch))
		rows->sink.full(rows->sink.context);
}

static void keep_early(struct rqs_site_rows *rows, const struct rqs_watched *watched, const struct rqs_site_row *row)
{
	rows->early = grown(rows->early, rows->early_count, &rows->early_capacity, EARLY_MAX, sizeof(*rows->early));
	if (rows->early_count == rows->early_capacity) {
		rows->troubles.unkept++;
		return;
	}
	rows->early[rows->early_count++] = (struct early){*row, watched};
}

/* A row that needs no route. */
static void emit(struct rqs_site_rows *rows, const struct rqs_watched *watched, struct rqs_site_row *row)
{
	if (watched->index == RQS_UNNOTED)
		keep_early(rows, watched, row);
	else
		add_row(rows, watched, row);
}

static void emit_unattributed(struct rqs_site_rows *rows, const struct rqs_watched *watched, struct rqs_site_row *row)
{
	row->owner = RQS_SITE_UNATTRIBUTED;
	emit(rows, watched, row);
}

/* A row of a request of which there is a record: its process is noted. */
static void emit_of_route(struct rqs_site_rows *rows, const struct rqs_watched *watched, struct rqs_site_row *row,
			  const struct recent *request)
{
	row->owner = RQS_SITE_OF_REQUEST;
	row->route = rqs_batch_route(rows->sink.batch, request->method, request->route, request->route_length);
	add_row(rows, watched, row);
}

void rqs_site_rows_noted(struct rqs_site_rows *rows)
{
	uint32_t kept = 0;

	for (uint32_t i = 0; i < rows->early_count; i++) {
		struct early *it = &rows->early[i];

		if (it->watched->index == RQS_UNNOTED)
			rows->early[kept++] = *it;
		else
			add_row(rows, it->watched, &it->row);
	}
	rows->early_count = kept;
}

/* Waiting */

/* A free entry, NOWHERE none. */
static uint32_t new_waiting(struct rqs_site_rows *rows)
{
	uint32_t at = rows->waiting_free - 1;

	if (rows->waiting_free) {
		rows->waiting_free = rows->waiting[at].next;
		return at;
	}
	rows->waiting =
	    grown(rows->waiting, rows->waiting_used, &rows->waiting_capacity, WAITING_MAX, sizeof(*rows->waiting));
	return rows->waiting_used < rows->waiting_capacity ? rows->waiting_used++ : NOWHERE;
}

static void wait_for_record(struct rqs_site_rows *rows, struct rqs_watched *watched, struct rqs_site_row *row,
			    uint32_t slot, uint64_t ordinal)
{
	uint32_t at = watched->samples_waiting < WAITING_OF_PROCESS ? new_waiting(rows) : NOWHERE;

	if (at == NOWHERE) {
		rows->troubles.unwaited++;
		emit_unattributed(rows, watched, row);
		return;
	}
	rows->waiting[at] = (struct waiting){
	    .row = *row, .watched = watched, .ordinal = ordinal, .slot = slot, .next = rows->by_slot[slot]};
	rows->by_slot[slot] = at + 1;
	rows->waiting_count++;
	watched->samples_waiting++;
}

/* Takes the entry that `link` leads to out of its slot's list. It is free now; its contents stay until the next use. */
static struct waiting *take_out(struct rqs_site_rows *rows, uint32_t *link)
{
	uint32_t at = *link - 1;
	struct waiting *it = &rows->waiting[at];

	*link = it->next;
	it->watched->samples_waiting--;
	it->watched = NULL;
	it->vain = false;
	it->next = rows->waiting_free;
	rows->waiting_free = at + 1;
	if (!--rows->waiting_count)
		rows->waiting_used = rows->waiting_free = 0;
	return it;
}

/* All that waits in vain: slot by slot, so that no list is gone through for each of its entries. */
static void give_up_vain(struct rqs_site_rows *rows)
{
	for (uint32_t i = 0; i < rows->waiting_used; i++) {
		uint32_t *link = &rows->by_slot[rows->waiting[i].slot];

		while (rows->waiting[i].vain && *link) {
			struct waiting *it = &rows->waiting[*link - 1];
			struct rqs_watched *watched = it->watched;

			if (!it->vain) {
				link = &it->next;
				continue;
			}
			struct rqs_site_row row = take_out(rows, link)->row;
			emit_unattributed(rows, watched, &row);
		}
	}
}

static struct recent *recent_at(struct rqs_site_rows *rows, uint32_t slot, uint64_t ordinal)
{
	return &rows->recent[(slot * 0x9e3779b1u + ordinal) % RECENT_MAX];
}

static struct recent *find_recent(struct rqs_site_rows *rows, const struct rqs_watched *watched, uint32_t slot,
				  uint64_t ordinal)
{
	struct recent *it = recent_at(rows, slot, ordinal);

	return it->owner == watched->owner && it->slot == slot && it->ordinal == ordinal ? it : NULL;
}

void rqs_site_rows_request(struct rqs_site_rows *rows, const struct rqs_watched *watched,
			   const struct rqs_record *record, uint8_t method)
{
	struct recent *request = recent_at(rows, record->slot, record->ordinal);
	uint32_t *link = &rows->by_slot[record->slot];

	request->owner = watched->owner;
	request->slot = record->slot;
	request->ordinal = record->ordinal;
	request->method = method;
	request->route_length = record->route_length < RQS_ROUTE_MAX ? record->route_length : RQS_ROUTE_MAX;
	memcpy(request->route, record->route, request->route_length);
	while (*link) {
		struct waiting *it = &rows->waiting[*link - 1];

		if (it->ordinal != record->ordinal || it->watched != watched) {
			link = &it->next;
			continue;
		}
		struct rqs_site_row row = take_out(rows, link)->row;
		emit_of_route(rows, watched, &row, request);
	}
}

/* The slot's counters may hold anything; a request that can't be open isn't. */
static bool request_is_open(const struct rqs_region *region, uint32_t slot, uint64_t ordinal)
{
	const struct rqs_slot *it = &rqs_slots_of(region, slot / 64)[slot % 64];
	uint64_t ended = __atomic_load_n(&it->finished, __ATOMIC_ACQUIRE);

	ended += __atomic_load_n(&it->dropped, __ATOMIC_ACQUIRE);
	ended += __atomic_load_n(&it->given_up, __ATOMIC_ACQUIRE);
	return ended < ordinal && __atomic_load_n(&it->opened, __ATOMIC_ACQUIRE) == ordinal;
}

void rqs_site_rows_pass(struct rqs_site_rows *rows, const struct rqs_region *region)
{
	bool any = false;

	for (uint32_t i = 0; i < rows->waiting_used; i++) {
		struct waiting *it = &rows->waiting[i];

		if (it->watched && it->ended)
			any = it->vain = true;
		else if (it->watched)
			it->ended = !request_is_open(region, it->slot, it->ordinal);
	}
	if (any)
		give_up_vain(rows);
}

void rqs_site_rows_end(struct rqs_site_rows *rows, const struct rqs_watched *watched)
{
	uint32_t kept = 0;

	for (uint32_t i = 0; i < rows->waiting_used; i++)
		rows->waiting[i].vain = rows->waiting[i].watched && (!watched || rows->waiting[i].watched == watched);
	give_up_vain(rows);
	rqs_site_rows_noted(rows);
	for (uint32_t i = 0; i < rows->early_count; i++)
		if (watched && rows->early[i].watched != watched)
			rows->early[kept++] = rows->early[i];
	rows->early_count = kept;
}

/* Records */

static bool sample_is_sane(const struct rqs_sample_record *sample, size_t size)
{
	if (size < sizeof(*sample) || sample->frame_count > RQS_SAMPLE_FRAMES ||
	    sample->stack_bytes > RQS_SAMPLE_STACK || sample->stack_bytes % 8 || sample->kind > RQS_SAMPLE_GO)
		return false;
	return sizeof(*sample) + sample->frame_count * sizeof(sample->frames[0]) + sample->stack_bytes <= size &&
	       sample->bytes && sample->number && sample->number <= RQS_VALUE_MAX;
}

bool rqs_site_rows_know(const struct rqs_watched *watched, const struct rqs_sample_record *sample, size_t size)
{
	if (!watched->code || !sample_is_sane(sample, size))
		return true;
	for (uint16_t i = 0; i < sample->frame_count; i++)
		if (sample->frames[i].code && !rqs_code_knows_python(watched->code, sample->frames[i].code))
			return false;
	return true;
}

static void note_reason(struct rqs_site_rows *rows, const char *why)
{
	for (unsigned i = 0; i < RQS_SITE_REASONS; i++) {
		struct rqs_site_reason *reason = &rows->troubles.reasons[i];
		const size_t length = sizeof(reason->why) - 1;

		if (!reason->samples)
			memcpy(reason->why, why, strnlen(why, length));
		else if (strncmp(reason->why, why, length))
			continue;
		reason->samples++;
		return;
	}
}

/* Of an image that exec replaces, or has, /proc may tell what isn't its own. */
static bool code_is_its_own(const struct rqs_watched *watched)
{
	return watched->code && !watched->replaced && !(watched->flags & RQS_PROCESS_EXECED);
}

/* At once: the process may be gone soon. */
static uint32_t stack_of(struct rqs_site_rows *rows, struct rqs_watched *watched,
			 const struct rqs_sample_record *sample)
{
	struct rqs_code_frame frames[RQS_CODE_FRAMES];
	size_t count = code_is_its_own(watched) ? rqs_code_frames(watched->code, sample, frames) : 0;

	if (count && frames[count - 1].kind == RQS_FRAME_NOTE)
		note_reason(rows, frames[count - 1].function);
	rqs_stack_table_source(rows->sink.stacks, count ? rqs_code_serial(watched->code) : 0);
	uint32_t stack = rqs_stack_table_number(rows->sink.stacks, frames, count);
	rows->troubles.no_stack += !stack;
	return stack;
}

static bool take_sample(struct rqs_site_rows *rows, struct rqs_watched *watched, const struct rqs_sample_record *sample,
			size_t size, uint64_t time_ns)
{
	if (!sample_is_sane(sample, size))
		return false;
	struct rqs_site_row row = {
	    .time = time_ns,
	    .event = RQS_SITE_ALLOCATED,
	    .number = sample->number,
	    .owner = sample->flags & RQS_SAMPLE_AFTER ? RQS_SITE_AFTER_RESPONSE : RQS_SITE_UNATTRIBUTED,
	    .route = RQS_NULL,
	    .stack = stack_of(rows, watched, sample),
	    .bytes = sample->bytes < RQS_VALUE_MAX ? sample->bytes : RQS_VALUE_MAX,
	    .sample_bytes = rows->sample_bytes,
	    .followed = (sample->flags & RQS_SAMPLE_FOLLOWED) != 0,
	};
	rows->troubles.samples++;
	if (sample->slot == RQS_SAMPLE_NO_SLOT || (sample->flags & RQS_SAMPLE_AFTER)) {
		emit(rows, watched, &row);
		return true;
	}
	const struct recent *request = find_recent(rows, watched, sample->slot, sample->ordinal);
	if (request)
		emit_of_route(rows, watched, &row, request);
	else
		wait_for_record(rows, watched, &row, sample->slot, sample->ordinal);
	return true;
}

static bool take_freed(struct rqs_site_rows *rows, struct rqs_watched *watched, const struct rqs_freed_record *freed,
		       size_t size, uint64_t time_ns)
{
	if (size < sizeof(*freed) || freed->withdrawn > 1 || !freed->number || freed->number > RQS_VALUE_MAX)
		return false;
	struct rqs_site_row row = {
	    .time = time_ns,
	    .event = freed->withdrawn ? RQS_SITE_WITHDRAWN : RQS_SITE_FREED,
	    .number = freed->number,
	    .route = RQS_NULL,
	};
	emit(rows, watched, &row);
	return true;
}

static bool take_code(struct rqs_watched *watched, const struct rqs_code_record *code, size_t size)
{
	if (size < sizeof(*code) || code->file_bytes > RQS_CODE_TEXT || code->name_bytes > RQS_CODE_TEXT ||
	    code->table_bytes > RQS_CODE_TABLE ||
	    sizeof(*code) + code->file_bytes + code->name_bytes + code->table_bytes > size)
		return false;
	if (watched->code)
		rqs_code_python(watched->code, code, size);
	return true;
}

bool rqs_site_rows_take(struct rqs_site_rows *rows, struct rqs_watched *watched, const void *record, size_t size,
			uint64_t time_ns)
{
	switch (((const struct rqs_record *)record)->type) {
	case RQS_RECORD_SAMPLE:
		return take_sample(rows, watched, record, size, time_ns);
	case RQS_RECORD_FREED:
		return take_freed(rows, watched, record, size, time_ns);
	case RQS_RECORD_CODE:
		return take_code(watched, record, size);
	default:
		return true;
	}
}

void rqs_site_rows_troubles(const struct rqs_site_rows *rows, struct rqs_site_troubles *troubles)
{
	*troubles = rows->troubles;
	troubles->beyond = rqs_stack_table_beyond(rows->sink.stacks);
}
