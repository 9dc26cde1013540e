/* inputs.c - the first pass: everything is read, decoded and checked once. */
#include "merge/inputs.h"
#include "base/alloc.h"

#include <stdlib.h>
#include <string.h>

struct survey {
	struct rqs_inputs *inputs;
	struct rqs_input *input;
};

static void take_json(void *context, enum rqs_frame_type type, const cJSON *object)
{
	struct rqs_input *in = ((struct survey *)context)->input;

	if (type == RQS_FRAME_RUN && !in->run)
		in->run = cJSON_Duplicate(object, true);
	if (type != RQS_FRAME_TOTALS && type != RQS_FRAME_END)
		return;
	cJSON_Delete(in->totals);
	in->totals = cJSON_Duplicate(object, true);
}

static void take_frame(void *context, const struct rqs_frame *frame)
{
	((struct survey *)context)->input->last_offset = frame->offset;
}

/* It is parsed to be checked. */
static void take_stacks(void *context, const cJSON *object)
{
	(void)context;
	(void)object;
}

/* They are decoded to be checked. */
static void take_rows(void *context, const struct rqs_frame *frame, const struct rqs_block *block)
{
	(void)context;
	(void)frame;
	(void)block;
}

static void tell_progress(void *context, uint64_t done, uint64_t size)
{
	const struct survey *s = context;
	const struct rqs_inputs *all = s->inputs;

	all->progress(all->progress_context, s->input->file, (unsigned)(s->input - all->input), 2 * all->count, done,
		      size);
}

static void find_clock(struct rqs_input *in)
{
	uint64_t monotonic = rqs_json_u64(in->run, "start_monotonic_ns");
	uint64_t realtime = rqs_json_u64(in->run, "start_realtime_ns");
	int64_t between = (int64_t)(realtime - monotonic), part = between % 1000;

	if (!realtime || realtime >= RQS_TIME_LIMIT / 2 || monotonic >= RQS_TIME_LIMIT / 2) {
		in->fatal =
		    rqs_format("doesn't say when it was recorded (its run frame is missing or odd), so it has no "
			       "place among others");
		return;
	}
	in->shift = (uint64_t)(between - (part < 0 ? part + 1000 : part));
	in->start = monotonic + in->shift;
	in->sampled = in->start;
}

static void survey(struct rqs_inputs *inputs, struct rqs_input *in)
{
	struct survey s = {inputs, in};
	const struct rqs_visitor visitor = {
	    .context = &s,
	    .request_columns = UINT64_MAX,
	    .json = take_json,
	    .requests = take_rows,
	    .samples = take_rows,
	    .stacks = take_stacks,
	    .sites = take_rows,
	    .frame = take_frame,
	    .progress = inputs->progress ? tell_progress : NULL,
	};
	int error = rqs_reader_open(&in->reader, in->file);

	if (error) {
		in->fatal = rqs_open_problem(error);
		in->reader.source.fd = -1;
		return;
	}
	rqs_scan(&in->reader, &visitor, &in->scan);
	rqs_reader_release(&in->reader);
	if (!in->scan.frames || in->scan.version)
		in->fatal = rqs_unreadable(&in->scan, in->reader.source.size);
	else
		find_clock(in);
}

void rqs_inputs_open(struct rqs_inputs *inputs, char *const *files, unsigned count, rqs_progress progress,
		     void *context)
{
	memset(inputs, 0, sizeof(*inputs));
	inputs->count = count;
	inputs->input = rqs_zalloc(count, sizeof(*inputs->input));
	inputs->progress = progress;
	inputs->progress_context = context;
	for (unsigned i = 0; i < count; i++) {
		inputs->input[i].file = files[i];
		survey(inputs, &inputs->input[i]);
	}
}

void rqs_inputs_close(struct rqs_inputs *inputs)
{
	for (unsigned i = 0; i < inputs->count; i++) {
		struct rqs_input *in = &inputs->input[i];

		rqs_reader_close(&in->reader);
		cJSON_Delete(in->run);
		cJSON_Delete(in->totals);
		free(in->process);
		free(in->fatal);
	}
	free(inputs->input);
}

uint32_t rqs_inputs_process(struct rqs_inputs *inputs, struct rqs_input *in, uint64_t process)
{
	if (process >= in->mapped) {
		unsigned mapped = (unsigned)process + 64;

		in->process = rqs_grow(in->process, mapped, sizeof(*in->process));
		memset(in->process + in->mapped, 0, (mapped - in->mapped) * sizeof(*in->process));
		in->mapped = mapped;
	}
	if (in->process[process])
		return in->process[process] - 1;
	if (inputs->processes == RQS_PROCESSES_MAX) {
		inputs->too_many = true;
		return 0;
	}
	in->process[process] = ++inputs->processes;
	return in->process[process] - 1;
}

bool rqs_input_is_whole(const struct rqs_input *in)
{
	return in->scan.end && !in->scan.damages;
}
