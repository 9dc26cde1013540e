/* batch.c - gathers rows and turns them into columns. */
#include "collect/batch.h"
#include "collect/text.h"
#include "reqscope/region.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#define BUCKETS (2 * RQS_BATCH_ROWS)
#define RADIX_BITS 11
#define RADIX (1u << RADIX_BITS)

#define FIELD(type, column, name)                                                                                      \
	{                                                                                                              \
		RQS_COL_##column, offsetof(struct type, name)                                                          \
	}
#define COUNT(array) (sizeof(array) / sizeof((array)[0]))

static const struct rqs_batch_field request_fields[] = {
    FIELD(rqs_request_row, TIME, time),
    FIELD(rqs_request_row, PROCESS, process),
    FIELD(rqs_request_row, ROUTE, route),
    FIELD(rqs_request_row, STATUS, status),
    FIELD(rqs_request_row, FLAGS, flags),
    FIELD(rqs_request_row, QUEUE, queue),
    FIELD(rqs_request_row, HANDLER, handler),
    FIELD(rqs_request_row, SEND, send),
    FIELD(rqs_request_row, REQUEST_BYTES, request_bytes),
    FIELD(rqs_request_row, RESPONSE_BYTES, response_bytes),
    FIELD(rqs_request_row, ALLOC_COUNT, alloc_count),
    FIELD(rqs_request_row, ALLOC_BYTES, alloc_bytes),
    FIELD(rqs_request_row, CPU_TIME, cpu_time),
    FIELD(rqs_request_row, SCHED_WAIT, sched_wait),
    FIELD(rqs_request_row, CHILDREN_CPU_TIME, children_cpu_time),
    FIELD(rqs_request_row, GIL_WAIT, gil_wait),
    FIELD(rqs_request_row, LOOP_DELAY, loop_delay),
    FIELD(rqs_request_row, RECV_BUFFER_BYTES, recv_buffer_bytes),
};

static const struct rqs_batch_field sample_fields[] = {
    FIELD(rqs_sample_row, TIME, time),
    FIELD(rqs_sample_row, PROCESS, process),
    FIELD(rqs_sample_row, RSS, rss),
    FIELD(rqs_sample_row, CPU_USER, cpu_user),
    FIELD(rqs_sample_row, CPU_SYSTEM, cpu_system),
    FIELD(rqs_sample_row, THREADS, threads),
    FIELD(rqs_sample_row, FDS, fds),
    FIELD(rqs_sample_row, HEAP_IN_USE, heap_in_use),
    FIELD(rqs_sample_row, HEAP_GOAL, heap_goal),
    FIELD(rqs_sample_row, GC_CYCLES, gc_cycles),
    FIELD(rqs_sample_row, GC_PAUSE_TOTAL, gc_pause_total),
    FIELD(rqs_sample_row, GOROUTINES, goroutines),
};

static const struct rqs_batch_field site_fields[] = {
    FIELD(rqs_site_row, TIME, time),
    FIELD(rqs_site_row, PROCESS, process),
    FIELD(rqs_site_row, SITE_EVENT, event),
    FIELD(rqs_site_row, SITE_NUMBER, number),
    FIELD(rqs_site_row, SITE_OWNER, owner),
    FIELD(rqs_site_row, SITE_ROUTE, route),
    FIELD(rqs_site_row, SITE_STACK, stack),
    FIELD(rqs_site_row, SITE_BYTES, bytes),
    FIELD(rqs_site_row, SITE_MEAN, sample_bytes),
    FIELD(rqs_site_row, SITE_FOLLOWED, followed),
};

const struct rqs_batch_kind rqs_batch_requests = {
    .frame = RQS_FRAME_REQUESTS,
    .row_size = sizeof(struct rqs_request_row),
    .fields = request_fields,
    .field_count = COUNT(request_fields),
};

const struct rqs_batch_kind rqs_batch_samples = {
    .frame = RQS_FRAME_SAMPLES,
    .row_size = sizeof(struct rqs_sample_row),
    .fields = sample_fields,
    .field_count = COUNT(sample_fields),
};

const struct rqs_batch_kind rqs_batch_sites = {
    .frame = RQS_FRAME_SITES,
    .row_size = sizeof(struct rqs_site_row),
    .fields = site_fields,
    .field_count = COUNT(site_fields),
};

int rqs_batch_init(struct rqs_batch *batch, const struct rqs_batch_kind *kind)
{
	memset(batch, 0, sizeof(*batch));
	batch->kind = kind;
	batch->rows = malloc(RQS_BATCH_ROWS * kind->row_size);
	batch->values = malloc(RQS_BATCH_ROWS * sizeof(*batch->values));
	batch->keys = malloc(RQS_BATCH_ROWS * sizeof(*batch->keys));
	batch->spare = malloc(RQS_BATCH_ROWS * sizeof(*batch->spare));
	batch->routes = malloc(RQS_BATCH_ROWS * sizeof(*batch->routes));
	batch->buckets = calloc(BUCKETS, sizeof(*batch->buckets));
	batch->texts_capacity = 65536;
	batch->texts = malloc(batch->texts_capacity);
	if (batch->rows && batch->values && batch->keys && batch->spare && batch->routes && batch->buckets &&
	    batch->texts)
		return 0;
	rqs_batch_free(batch);
	return -ENOMEM;
}

void rqs_batch_free(struct rqs_batch *batch)
{
	free(batch->rows);
	free(batch->values);
	free(batch->keys);
	free(batch->spare);
	free(batch->routes);
	free(batch->buckets);
	free(batch->texts);
	memset(batch, 0, sizeof(*batch));
}

/* FNV-1a: routes are short and few. */
static uint32_t hash_route(uint8_t method, const char *text, uint16_t length)
{
	uint32_t hash = 2166136261u ^ method;

	for (uint16_t i = 0; i < length; i++)
		hash = (hash ^ (unsigned char)text[i]) * 16777619u;
	return hash;
}

/* Room for a text at the end of `texts`; without memory for it the routes' names are cut, not their rows. */
static uint16_t reserve_text(struct rqs_batch *batch, uint16_t length)
{
	if (batch->texts_length + length <= batch->texts_capacity)
		return length;
	char *texts = realloc(batch->texts, 2 * (size_t)batch->texts_capacity);
	if (!texts)
		return 0;
	batch->texts = texts;
	batch->texts_capacity *= 2;
	return length;
}

uint32_t rqs_batch_route(struct rqs_batch *batch, uint8_t method, const char *text, uint16_t length)
{
	char clean[RQS_ROUTE_MAX];

	if (length > sizeof(clean))
		length = sizeof(clean);
	memcpy(clean, text, length);
	rqs_make_printable(clean, length);

	uint32_t hash = hash_route(method, clean, length), bucket = hash % BUCKETS;
	for (; batch->buckets[bucket]; bucket = (bucket + 1) % BUCKETS) {
		const struct rqs_batch_route *route = &batch->routes[batch->buckets[bucket] - 1];

		if (route->hash == hash && route->method == method && route->length == length &&
		    !memcmp(batch->texts + route->text, clean, length))
			return batch->buckets[bucket] - 1;
	}
	if (batch->route_count == RQS_BATCH_ROWS) /* can't be, with one call a row */
		return 0;
	length = reserve_text(batch, length);
	batch->routes[batch->route_count] = (struct rqs_batch_route){batch->texts_length, length, method, hash};
	memcpy(batch->texts + batch->texts_length, clean, length);
	batch->texts_length += length;
	batch->buckets[bucket] = batch->route_count + 1;
	return batch->route_count++;
}

void rqs_batch_add(struct rqs_batch *batch, const void *row)
{
	memcpy(batch->rows + batch->count * batch->kind->row_size, row, batch->kind->row_size);
	batch->count++;
}

static inline uint64_t value_at(const struct rqs_batch *batch, uint32_t row, size_t offset)
{
	uint64_t value;

	memcpy(&value, batch->rows + row * batch->kind->row_size + offset, sizeof(value));
	return value;
}

static void time_range(const struct rqs_batch *batch, uint64_t *first, uint64_t *last)
{
	*first = UINT64_MAX;
	*last = 0;
	for (uint32_t i = 0; i < batch->count; i++) {
		uint64_t time = value_at(batch, i, 0);

		*first = time < *first ? time : *first;
		*last = time > *last ? time : *last;
	}
	*first -= *first % 1000;
}

/* One pass of a radix sort of `keys` by the digit at `shift`, through `spare`. */
static void sort_by_digit(struct rqs_batch *batch, unsigned shift)
{
	uint32_t starts[RADIX] = {0}, sum = 0;
	uint64_t *swap = batch->keys;

	for (uint32_t i = 0; i < batch->count; i++)
		starts[(batch->keys[i] >> shift) % RADIX]++;
	for (uint32_t digit = 0; digit < RADIX; digit++) {
		uint32_t count = starts[digit];

		starts[digit] = sum;
		sum += count;
	}
	for (uint32_t i = 0; i < batch->count; i++)
		batch->spare[starts[(batch->keys[i] >> shift) % RADIX]++] = batch->keys[i];
	batch->keys = batch->spare;
	batch->spare = swap;
}

/*
 * Fills `keys` with the order of time: the time in us since `first` in the
 * high bits, the row's number in the low 16. Threads were drained one after
 * another; in order of time the differences are small, and compress.
 */
static void sort_by_time(struct rqs_batch *batch, uint64_t first, uint64_t last)
{
	uint64_t range = (last - first) / 1000;

	for (uint32_t i = 0; i < batch->count; i++)
		batch->keys[i] = (value_at(batch, i, 0) - first) / 1000 << 16 | i;
	for (unsigned shift = 0; shift < 48 && range >> shift; shift += RADIX_BITS)
		sort_by_digit(batch, 16 + shift);
}
_Static_assert(RQS_BATCH_ROWS <= 1u << 16, "a row's number fits 16 bits");

int rqs_batch_encode(struct rqs_batch *batch, struct rqs_encoder *encoder, uint64_t *first, uint64_t *last)
{
	time_range(batch, first, last);
	sort_by_time(batch, *first, *last);
	rqs_encoder_begin(encoder, batch->count);
	for (uint32_t i = 0; i < batch->route_count; i++) {
		const struct rqs_batch_route *route = &batch->routes[i];

		rqs_encoder_route(encoder, route->method, batch->texts + route->text, route->length);
	}
	for (unsigned field = 0; field < batch->kind->field_count; field++) {
		const struct rqs_batch_field *f = &batch->kind->fields[field];

		for (uint32_t i = 0; i < batch->count; i++)
			batch->values[i] = f->column == RQS_COL_TIME
					       ? batch->keys[i] >> 16
					       : value_at(batch, (uint32_t)(batch->keys[i] & 0xffff), f->offset);
		rqs_encoder_column(encoder, f->column, batch->values);
	}
	return rqs_encoder_end(encoder);
}

void rqs_batch_clear(struct rqs_batch *batch)
{
	if (batch->route_count)
		memset(batch->buckets, 0, BUCKETS * sizeof(*batch->buckets));
	batch->count = 0;
	batch->route_count = 0;
	batch->texts_length = 0;
}
