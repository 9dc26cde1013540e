/* unite_rows.c - payload to block, block to chunk, chunk to payload. */
#include "merge/unite_rows.h"
#include "base/alloc.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#define CHUNK_ROWS 32768u  /* as many as the collector has in a frame */
#define SAMPLES_MAX 16384u /* that wait at most */
#define SAMPLES_WORTH_WRITING 2048u

/* Whose a column is. */
static enum rqs_frame_type type_of(uint8_t column)
{
	if (column >= RQS_COL_SITE_EVENT)
		return RQS_FRAME_SITES;
	return column >= RQS_COL_RSS ? RQS_FRAME_SAMPLES : RQS_FRAME_REQUESTS;
}

static const uint8_t columns[] = {
#define COLUMN(symbol, id, name, nullable) id,
    RQS_COLUMNS(COLUMN)
#undef COLUMN
};
#define COLUMNS (sizeof(columns) / sizeof(columns[0]))

void rqs_unite_rows_start(struct rqs_unite_rows *u, struct rqs_inputs *inputs, struct rqs_writer *writer)
{
	u->inputs = inputs;
	u->writer = writer;
	rqs_unite_stacks_start(&u->stacks, inputs);
	rqs_encoder_init(&u->encoder);
	rqs_block_init(&u->block);
	for (unsigned i = 0; i < COLUMNS; i++)
		u->value[columns[i]] = rqs_zalloc(CHUNK_ROWS, sizeof(uint64_t));
	u->sample = rqs_zalloc(SAMPLES_MAX + RQS_BLOCK_ROWS, sizeof(*u->sample));
	u->used = rqs_zalloc(CHUNK_ROWS, sizeof(*u->used));
}

void rqs_unite_rows_free(struct rqs_unite_rows *u)
{
	for (unsigned i = 0; i < COLUMNS; i++)
		free(u->value[columns[i]]);
	rqs_unite_stacks_free(&u->stacks);
	rqs_encoder_free(&u->encoder);
	free(u->table);
	free(u->place);
	free(u->used);
	free(u->sample);
}

/* ---- writing a chunk ---- */

/* Times in the chunk's column are us from `start` on the common clock. Makes the earliest 0. */
static uint64_t rebase(struct rqs_unite_rows *u, uint64_t start, uint64_t *last)
{
	uint64_t *time = u->value[RQS_COL_TIME], min = UINT64_MAX, max = 0;

	for (uint32_t i = 0; i < u->rows; i++) {
		min = time[i] < min ? time[i] : min;
		max = time[i] > max ? time[i] : max;
	}
	for (uint32_t i = 0; i < u->rows; i++)
		time[i] -= min;
	*last = start + max * 1000;
	return start + min * 1000;
}

static bool is_in(uint8_t column, enum rqs_frame_type type)
{
	return column == RQS_COL_TIME || column == RQS_COL_PROCESS || type_of(column) == type;
}

static int write_chunk(struct rqs_unite_rows *u, enum rqs_frame_type type, uint64_t start)
{
	uint64_t first, last;

	if (!u->rows)
		return 0;
	first = rebase(u, start, &last);
	rqs_encoder_begin(&u->encoder, u->rows);
	for (uint32_t i = 0; i < u->used_count; i++) {
		const struct rqs_table_entry *entry = &u->table[u->used[i]];

		rqs_encoder_route(&u->encoder, entry->method, entry->text, entry->length);
		u->place[u->used[i]] = 0;
	}
	for (unsigned i = 0; i < COLUMNS; i++)
		if (is_in(columns[i], type))
			rqs_encoder_column(&u->encoder, columns[i], u->value[columns[i]]);
	u->rows = 0;
	u->used_count = 0;
	int error = rqs_encoder_end(&u->encoder);
	if (error || last >= RQS_TIME_LIMIT)
		return error ? error : -ERANGE;
	return rqs_writer_append(u->writer, type, first, last, u->encoder.bytes, u->encoder.length);
}

/* ---- requests and sites ---- */

static void read_table(struct rqs_unite_rows *u, struct rqs_columns *c)
{
	struct rqs_table_entry *entry;

	u->routes = c->routes;
	u->table = rqs_grow(u->table, c->routes, sizeof(*u->table));
	u->place = rqs_grow(u->place, c->routes, sizeof(*u->place));
	memset(u->place, 0, c->routes * sizeof(*u->place));
	for (entry = u->table; rqs_columns_route(c, &entry->method, &entry->text, &entry->length); entry++)
		;
}

static uint64_t place_of(struct rqs_unite_rows *u, uint64_t route)
{
	if (!u->place[route]) {
		u->used[u->used_count] = (uint32_t)route;
		u->place[route] = ++u->used_count;
	}
	return u->place[route] - 1;
}

static void copy_columns(struct rqs_unite_rows *u, enum rqs_frame_type type)
{
	for (unsigned i = 0; i < COLUMNS; i++)
		if (is_in(columns[i], type))
			memcpy(u->value[columns[i]] + u->rows, u->block.column[columns[i]],
			       u->block.rows * sizeof(uint64_t));
}

static void take_requests(struct rqs_unite_rows *u, struct rqs_input *in)
{
	copy_columns(u, RQS_FRAME_REQUESTS);
	for (uint32_t i = u->rows; i < u->rows + u->block.rows; i++) {
		uint64_t *process = &u->value[RQS_COL_PROCESS][i], *route = &u->value[RQS_COL_ROUTE][i];

		*process = rqs_inputs_process(u->inputs, in, *process);
		*route = place_of(u, *route);
	}
	u->rows += u->block.rows;
}

/* Numbers of allocations are those of a process, and so they stay unique. */
static void take_sites(struct rqs_unite_rows *u, struct rqs_input *in)
{
	copy_columns(u, RQS_FRAME_SITES);
	for (uint32_t i = u->rows; i < u->rows + u->block.rows; i++) {
		uint64_t *process = &u->value[RQS_COL_PROCESS][i], *route = &u->value[RQS_COL_SITE_ROUTE][i],
			 *stack = &u->value[RQS_COL_SITE_STACK][i];

		*process = rqs_inputs_process(u->inputs, in, *process);
		*route = *route == RQS_NULL ? RQS_NULL : place_of(u, *route);
		*stack = rqs_unite_stacks_number(&u->stacks, in, *stack);
	}
	u->rows += u->block.rows;
}

static int unite_table(struct rqs_unite_rows *u, struct rqs_input *in, enum rqs_frame_type type,
		       void (*take)(struct rqs_unite_rows *u, struct rqs_input *in))
{
	uint64_t start = in->frame.header.first_time + in->shift;
	struct rqs_damage damage;
	struct rqs_columns c;
	int error = 0;
	const uint8_t *payload = rqs_reader_payload(&in->reader, &in->frame, &damage);

	/* What is wrong with a payload was told after the first pass. */
	if (!payload || !rqs_columns_open(&c, payload, in->frame.header.raw_length, UINT64_MAX) ||
	    (type == RQS_FRAME_REQUESTS && !c.routes))
		return 0;
	read_table(u, &c);
	while (!error && rqs_columns_decode(&c, &u->block)) {
		take(u, in);
		if (u->rows + RQS_BLOCK_ROWS > CHUNK_ROWS)
			error = write_chunk(u, type, start);
	}
	return error ? error : write_chunk(u, type, start);
}

int rqs_unite_requests(struct rqs_unite_rows *u, struct rqs_input *in)
{
	return unite_table(u, in, RQS_FRAME_REQUESTS, take_requests);
}

int rqs_unite_sites(struct rqs_unite_rows *u, struct rqs_input *in)
{
	return unite_table(u, in, RQS_FRAME_SITES, take_sites);
}

/* ---- samples ---- */

static int by_time(const void *a, const void *b)
{
	const struct rqs_sample *x = a, *y = b;

	if (x->time != y->time)
		return x->time < y->time ? -1 : 1;
	return x->process < y->process ? -1 : x->process > y->process;
}

/* No sample that is yet to come is earlier. */
static uint64_t safe_time(const struct rqs_inputs *inputs)
{
	uint64_t safe = UINT64_MAX;

	for (unsigned i = 0; i < inputs->count; i++)
		if (inputs->input[i].more && inputs->input[i].sampled < safe)
			safe = inputs->input[i].sampled;
	return safe;
}

/* Writes the first `count` of the waiting samples. */
static int write_samples(struct rqs_unite_rows *u, uint32_t count)
{
	uint64_t start = u->sample[0].time / 1000 * 1000;
	int error;

	if (!count)
		return 0;
	for (uint32_t i = 0; i < count; i++) {
		for (unsigned k = 0; k < COLUMNS; k++)
			u->value[columns[k]][i] = u->sample[i].value[columns[k]];
		u->value[RQS_COL_TIME][i] = (u->sample[i].time - start) / 1000;
		u->value[RQS_COL_PROCESS][i] = u->sample[i].process;
	}
	u->rows = count;
	error = write_chunk(u, RQS_FRAME_SAMPLES, start);
	memmove(u->sample, u->sample + count, (u->samples - count) * sizeof(*u->sample));
	u->samples -= count;
	return error;
}

/* Those whose turn it is; where one trace is far behind with its samples, the older half. */
static int write_ready(struct rqs_unite_rows *u)
{
	uint64_t safe = safe_time(u->inputs);
	uint32_t ready = 0;

	if (u->samples < SAMPLES_WORTH_WRITING)
		return 0;
	qsort(u->sample, u->samples, sizeof(*u->sample), by_time);
	while (ready < u->samples && u->sample[ready].time < safe)
		ready++;
	if (u->samples > SAMPLES_MAX && ready < u->samples / 2)
		ready = u->samples / 2;
	return ready >= SAMPLES_WORTH_WRITING / 2 ? write_samples(u, ready) : 0;
}

static void keep_sample(struct rqs_unite_rows *u, struct rqs_input *in, uint32_t row)
{
	struct rqs_sample *s = &u->sample[u->samples++];

	for (unsigned k = 0; k < COLUMNS; k++)
		s->value[columns[k]] = u->block.column[columns[k]][row];
	s->time = in->frame.header.first_time + in->shift + s->value[RQS_COL_TIME] * 1000;
	s->process = rqs_inputs_process(u->inputs, in, s->value[RQS_COL_PROCESS]);
	if (s->time > in->sampled)
		in->sampled = s->time;
}

int rqs_unite_samples(struct rqs_unite_rows *u, struct rqs_input *in)
{
	struct rqs_damage damage;
	struct rqs_columns c;
	int error = 0;
	const uint8_t *payload = rqs_reader_payload(&in->reader, &in->frame, &damage);

	if (!payload || !rqs_columns_open(&c, payload, in->frame.header.raw_length, UINT64_MAX))
		return 0;
	while (!error && rqs_columns_decode(&c, &u->block)) {
		for (uint32_t i = 0; i < u->block.rows; i++)
			keep_sample(u, in, i);
		error = write_ready(u);
	}
	return error;
}

int rqs_unite_samples_end(struct rqs_unite_rows *u)
{
	if (u->samples)
		qsort(u->sample, u->samples, sizeof(*u->sample), by_time);
	return u->samples ? write_samples(u, u->samples) : 0;
}
