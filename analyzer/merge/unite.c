/* unite.c - run frame, process frames, stacks, rows by time, totals. */
#include "merge/unite.h"
#include "base/alloc.h"
#include "merge/unite_json.h"
#include "merge/unite_rows.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

/* As long as a reader takes a JSON payload to be sane. */
#define JSON_MAX (4u << 20)

struct uniting {
	struct rqs_inputs *inputs;
	struct rqs_input *input; /* of which processes and stacks are read */
	struct rqs_writer writer;
	struct rqs_unite_rows *rows;
	int error; /* -errno */
	char *problem;
};

/* Frees the object. */
static void write_json(struct uniting *u, enum rqs_frame_type type, uint64_t time, cJSON *object)
{
	char *text = cJSON_PrintUnformatted(object);

	if (text && strlen(text) > JSON_MAX && !u->problem)
		u->problem = rqs_format("%s", "too many traces or processes for one: its metadata would be over 4 MiB");
	else if (text && !u->error)
		u->error = rqs_writer_append(&u->writer, type, time, time, text, strlen(text));
	free(text);
	cJSON_Delete(object);
}

/* ---- processes and stacks ---- */

static void take_process(void *context, enum rqs_frame_type type, const cJSON *object)
{
	struct uniting *u = context;

	if (type != RQS_FRAME_PROCESS)
		return;
	cJSON *process = cJSON_Duplicate(object, true);
	if (rqs_unite_process(u->inputs, u->input, process))
		write_json(u, type, u->input->start, process);
	else
		cJSON_Delete(process);
}

static void take_stacks(void *context, const cJSON *object)
{
	struct uniting *u = context;

	rqs_unite_stacks_take(&u->rows->stacks, u->input, object);
}

static void write_processes(struct uniting *u, uint64_t start)
{
	const struct rqs_visitor visitor = {.context = u, .json = take_process, .stacks = take_stacks};
	struct rqs_scan scan;

	for (unsigned i = 0; i < u->inputs->count && !u->error; i++) {
		u->input = &u->inputs->input[i];
		rqs_scan(&u->input->reader, &visitor, &scan);
		rqs_reader_release(&u->input->reader);
	}
	if (!u->error)
		u->error = rqs_unite_stacks_write(&u->rows->stacks, &u->writer, start);
}

/* ---- rows ---- */

static bool has_rows(unsigned type)
{
	return type == RQS_FRAME_REQUESTS || type == RQS_FRAME_SAMPLES || type == RQS_FRAME_SITES;
}

/* To the next frame with rows; in->more tells whether there is one. */
static void advance(struct rqs_input *in)
{
	struct rqs_damage damage;
	enum rqs_read_result what;

	rqs_reader_release(&in->reader);
	in->more = false;
	while ((what = rqs_reader_next(&in->reader, &in->frame, &damage)) != RQS_READ_END) {
		if (in->frame.offset > in->last_offset)
			return;
		in->more = what == RQS_READ_FRAME && has_rows(in->frame.header.type);
		if (in->more)
			return;
	}
}

/* Frames are written when they are complete, so their last time is their place. */
static struct rqs_input *earliest(struct rqs_inputs *inputs)
{
	struct rqs_input *best = NULL;
	uint64_t time = 0;

	for (unsigned i = 0; i < inputs->count; i++) {
		struct rqs_input *in = &inputs->input[i];

		if (!in->more || (best && in->frame.header.last_time + in->shift >= time))
			continue;
		best = in;
		time = in->frame.header.last_time + in->shift;
	}
	return best;
}

static void tell_progress(const struct rqs_inputs *inputs, const struct rqs_input *current)
{
	uint64_t done = 0, size = 0;

	if (!inputs->progress)
		return;
	for (unsigned i = 0; i < inputs->count; i++) {
		done += inputs->input[i].reader.offset;
		size += inputs->input[i].reader.source.size;
	}
	inputs->progress(inputs->progress_context, current->file, 1, 2, done, size);
}

static int unite_frame(struct rqs_unite_rows *rows, struct rqs_input *in)
{
	switch (in->frame.header.type) {
	case RQS_FRAME_REQUESTS:
		return rqs_unite_requests(rows, in);
	case RQS_FRAME_SITES:
		return rqs_unite_sites(rows, in);
	default:
		return rqs_unite_samples(rows, in);
	}
}

static void write_rows(struct uniting *u)
{
	struct rqs_input *in;

	for (unsigned i = 0; i < u->inputs->count; i++) {
		rqs_reader_rewind(&u->inputs->input[i].reader);
		advance(&u->inputs->input[i]);
	}
	while (!u->error && !u->inputs->too_many && (in = earliest(u->inputs))) {
		u->error = unite_frame(u->rows, in);
		advance(in);
		tell_progress(u->inputs, in);
	}
	if (!u->error)
		u->error = rqs_unite_samples_end(u->rows);
}

/* ---- all ---- */

static void write_totals(struct uniting *u)
{
	bool whole = true;
	uint64_t time;

	for (unsigned i = 0; i < u->inputs->count; i++)
		whole &= rqs_input_is_whole(&u->inputs->input[i]);
	cJSON *totals = rqs_unite_totals(u->inputs, whole, &time);
	if (totals)
		write_json(u, whole ? RQS_FRAME_END : RQS_FRAME_TOTALS, time, totals);
}

static void write_all(struct uniting *u)
{
	cJSON *run = rqs_unite_runs(u->inputs, &u->problem);

	if (!run)
		return;
	uint64_t start = rqs_json_u64(run, "start_monotonic_ns");
	write_json(u, RQS_FRAME_RUN, start, run);
	write_processes(u, start);
	write_rows(u);
	write_totals(u);
	if (u->inputs->too_many && !u->problem)
		u->problem = rqs_format("more than %u processes in all; a trace can have no more", RQS_PROCESSES_MAX);
}

char *rqs_unite(struct rqs_inputs *inputs, int fd)
{
	struct uniting u = {.inputs = inputs, .rows = rqs_zalloc(1, sizeof(*u.rows))};

	u.error = rqs_writer_start(&u.writer, fd);
	if (!u.error) {
		rqs_unite_rows_start(u.rows, inputs, &u.writer);
		write_all(&u);
		rqs_unite_rows_free(u.rows);
		rqs_writer_close(&u.writer);
	}
	free(u.rows);
	if (u.error && !u.problem)
		u.problem =
		    rqs_format("%s", u.error == -ERANGE ? "a time in the traces is impossible" : strerror(-u.error));
	return u.problem;
}
