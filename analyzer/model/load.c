/*
 * load.c - the first of the two passes over each trace, and their order: the
 * survey reads the route tables, the statuses and the time that a trace spans.
 */
#include "model/load.h"
#include "base/alloc.h"

#include <stdlib.h>
#include <string.h>

#define HTTP_NOT_FOUND 404

void rqs_load_progress(void *context, uint64_t done, uint64_t size)
{
	struct rqs_load *l = context;
	unsigned passes = l->traces->count * 2;

	l->options->progress(l->options->progress_context, l->trace->file, l->passes_done, passes, done, size);
}

static void survey_json(void *context, enum rqs_frame_type type, const cJSON *object)
{
	struct rqs_trace *t = ((struct rqs_load *)context)->trace;

	if (type != RQS_FRAME_RUN || t->run)
		return;
	t->run = cJSON_Duplicate(object, true);
	t->start_monotonic = rqs_json_u64(object, "start_monotonic_ns");
	t->start_realtime = rqs_json_u64(object, "start_realtime_ns");
}

static void note_times(struct rqs_load *l, const struct rqs_frame *frame)
{
	if (frame->header.first_time < l->trace->first_arrival)
		l->trace->first_arrival = frame->header.first_time;
	if (frame->header.last_time > l->trace->last_arrival)
		l->trace->last_arrival = frame->header.last_time;
}

/* Most frames bring no new template, and then their statuses don't matter. */
static bool survey_wants_rows(void *context, const struct rqs_frame *frame, struct rqs_columns *columns)
{
	struct rqs_load *l = context;
	const char *text;
	uint16_t length;
	uint8_t method;

	note_times(l, frame);
	while (rqs_columns_route(columns, &method, &text, &length))
		if (!rqs_routes_has(l->traces->routes, text, length))
			return true;
	return false;
}

static void survey_routes(void *context, const struct rqs_frame *frame, struct rqs_columns *columns)
{
	struct rqs_load *l = context;

	note_times(l, frame);
	l->routes = columns->routes;
	l->table = *columns;
	l->found = rqs_grow(l->found, l->routes, 1);
	memset(l->found, 0, l->routes);
}

static void survey_requests(void *context, const struct rqs_frame *frame, const struct rqs_block *block)
{
	struct rqs_load *l = context;
	const uint64_t *route = block->column[RQS_COL_ROUTE], *status = block->column[RQS_COL_STATUS];

	(void)frame;
	for (uint32_t i = 0; i < block->rows; i++)
		l->found[route[i]] |= status[i] != HTTP_NOT_FOUND;
}

static void survey_requests_end(void *context)
{
	struct rqs_load *l = context;
	const char *text;
	uint16_t length;
	uint8_t method;

	for (uint32_t i = 0; rqs_columns_route(&l->table, &method, &text, &length); i++)
		if (l->found[i])
			rqs_routes_add(l->traces->routes, text, length);
}

static void survey(struct rqs_load *l, struct rqs_reader *reader)
{
	const struct rqs_visitor visitor = {
	    .context = l,
	    .request_columns = RQS_COLUMN_BIT(RQS_COL_ROUTE) | RQS_COLUMN_BIT(RQS_COL_STATUS),
	    .json = survey_json,
	    .wants_rows = survey_wants_rows,
	    .routes = survey_routes,
	    .requests = survey_requests,
	    .requests_end = survey_requests_end,
	    .progress = l->options->progress ? rqs_load_progress : NULL,
	};

	l->trace->first_arrival = UINT64_MAX;
	rqs_scan(reader, &visitor, &l->trace->scan);
	rqs_reader_release(reader);
}

static void open_trace(struct rqs_load *l, struct rqs_reader *reader)
{
	struct rqs_trace *t = l->trace;
	int error = rqs_reader_open(reader, t->file);

	if (error) {
		t->fatal = rqs_open_problem(error);
		return;
	}
	survey(l, reader);
	if (!t->scan.frames) {
		t->fatal = rqs_unreadable(&t->scan, reader->source.size);
		rqs_reader_close(reader);
	}
}

void rqs_traces_load(struct rqs_traces *traces, char *const *files, unsigned count,
		     const struct rqs_load_options *options)
{
	struct rqs_reader *reader = rqs_zalloc(count, sizeof(*reader));
	struct rqs_load *l = rqs_zalloc(1, sizeof(*l));

	traces->count = count;
	traces->trace = rqs_zalloc(count, sizeof(*traces->trace));
	traces->routes = rqs_routes_new();
	l->traces = traces;
	l->options = options;
	for (unsigned i = 0; i < count; i++, l->passes_done++) {
		l->trace = &traces->trace[i];
		l->trace->file = files[i];
		open_trace(l, &reader[i]);
	}
	rqs_routes_finish(traces->routes);
	for (unsigned i = 0; i < count; i++, l->passes_done++) {
		l->trace = &traces->trace[i];
		if (l->trace->fatal)
			continue;
		rqs_load_add_up(l, &reader[i]);
		rqs_reader_close(&reader[i]);
		if (options->loaded)
			options->loaded(options->loaded_context, i);
	}
	free(l->cell);
	free(l->row);
	free(l->site_row);
	free(l->group_of);
	free(l->found);
	free(l);
	free(reader);
}
