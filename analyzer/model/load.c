/*
 * load.c - the two passes over each trace.
 *
 * The survey reads the route tables and the statuses; the second pass adds
 * each request to the cell of its route. Its inner loops go metric by metric
 * over a block of rows, which is what makes it fast.
 */
#include "model/totals.h"
#include "model/trace.h"
#include "model/usage.h"
#include "base/alloc.h"

#include <stdlib.h>
#include <string.h>

/* Histograms of hostile traces fold into one route above this. Ordinary traces take a few MiB. */
#define STATS_MEMORY_MAX ((size_t)96 << 20)
#define HTTP_NOT_FOUND 404
#define NO_GROUP UINT16_MAX

struct load {
	struct rqs_traces *traces;
	const struct rqs_load_options *options;
	struct rqs_trace *trace; /* the one being read */
	unsigned index;          /* of it */
	unsigned passes_done;

	/* The requests frame being read: its route table. */
	uint32_t routes;
	struct rqs_cell **cell; /* by the frame's route index */
	uint8_t *found;         /* survey: something else than 404 was seen */
	struct rqs_columns table;

	/* The second pass. */
	uint64_t from, to; /* the window, ns on the trace's clock */
	uint64_t first, last;
	struct rqs_usage usage;
	bool folded;
	uint64_t latency[RQS_BLOCK_ROWS];

	/* A block's rows inside the window, those of one route next to each other. */
	unsigned groups;
	struct row_group {
		uint32_t route; /* of the frame */
		uint32_t rows;
		uint32_t first; /* in order[] */
	} group[RQS_BLOCK_ROWS];
	uint16_t order[RQS_BLOCK_ROWS];
	uint16_t *group_of; /* by the frame's route index; NO_GROUP between blocks */
};

static void report_progress(void *context, uint64_t done, uint64_t size)
{
	struct load *l = context;
	unsigned passes = l->traces->count * 2;

	l->options->progress(l->options->progress_context, l->trace->file, l->passes_done, passes, done, size);
}

/* ---- first pass ---- */

static void survey_json(void *context, enum rqs_frame_type type, const cJSON *object)
{
	struct rqs_trace *t = ((struct load *)context)->trace;

	if (type != RQS_FRAME_RUN || t->run)
		return;
	t->run = cJSON_Duplicate(object, true);
	t->start_monotonic = rqs_json_u64(object, "start_monotonic_ns");
	t->start_realtime = rqs_json_u64(object, "start_realtime_ns");
}

static void note_arrival(struct load *l, const struct rqs_frame *frame)
{
	if (frame->header.first_time < l->trace->first_arrival)
		l->trace->first_arrival = frame->header.first_time;
}

/* Most frames bring no new template, and then their statuses don't matter. */
static bool survey_wants_rows(void *context, const struct rqs_frame *frame, struct rqs_columns *columns)
{
	struct load *l = context;
	const char *text;
	uint16_t length;
	uint8_t method;

	note_arrival(l, frame);
	while (rqs_columns_route(columns, &method, &text, &length))
		if (!rqs_routes_has(l->traces->routes, text, length))
			return true;
	return false;
}

static void survey_routes(void *context, const struct rqs_frame *frame, struct rqs_columns *columns)
{
	struct load *l = context;

	note_arrival(l, frame);
	l->routes = columns->routes;
	l->table = *columns;
	l->found = rqs_grow(l->found, l->routes, 1);
	memset(l->found, 0, l->routes);
}

static void survey_requests(void *context, const struct rqs_frame *frame, const struct rqs_block *block)
{
	struct load *l = context;
	const uint64_t *route = block->column[RQS_COL_ROUTE], *status = block->column[RQS_COL_STATUS];

	(void)frame;
	for (uint32_t i = 0; i < block->rows; i++)
		l->found[route[i]] |= status[i] != HTTP_NOT_FOUND;
}

static void survey_requests_end(void *context)
{
	struct load *l = context;
	const char *text;
	uint16_t length;
	uint8_t method;

	for (uint32_t i = 0; rqs_columns_route(&l->table, &method, &text, &length); i++)
		if (l->found[i])
			rqs_routes_add(l->traces->routes, text, length);
}

/* ---- second pass ---- */

static struct rqs_process *process_at(struct rqs_trace *t, uint64_t index)
{
	if (index >= t->processes) {
		t->process = rqs_grow(t->process, index + 1, sizeof(*t->process));
		memset(&t->process[t->processes], 0, (index + 1 - t->processes) * sizeof(*t->process));
		t->processes = (unsigned)index + 1;
	}
	return &t->process[index];
}

static char *copy_string(const cJSON *object, const char *key)
{
	const char *text = rqs_json_string(object, key);

	return text ? rqs_strndup(text, strlen(text)) : NULL;
}

static void take_process(struct load *l, const cJSON *object)
{
	const cJSON *runtime = cJSON_GetObjectItemCaseSensitive(object, "runtime");
	uint64_t index = rqs_json_u64(object, "process");
	struct rqs_process *p;

	if (index > UINT16_MAX)
		return;
	p = process_at(l->trace, index);
	if (p->present)
		return;
	p->present = true;
	p->pid = (int64_t)rqs_json_u64(object, "pid");
	p->runtime = copy_string(runtime, "name");
	p->runtime_version = copy_string(runtime, "version");
	l->trace->result.processes++;
	l->trace->result.has_runtime_stats |= p->runtime && !strcmp(p->runtime, "go");
	uint64_t start = rqs_json_u64(object, "start_monotonic_ns");
	if (start && start < RQS_TIME_LIMIT)
		rqs_usage_start(&l->usage, (uint32_t)index, start);
}

static void take_json(void *context, enum rqs_frame_type type, const cJSON *object)
{
	struct load *l = context;

	if (type == RQS_FRAME_PROCESS)
		take_process(l, object);
	if (type != RQS_FRAME_TOTALS && type != RQS_FRAME_END)
		return;
	cJSON_Delete(l->trace->totals);
	l->trace->totals = cJSON_Duplicate(object, true);
}

static void take_routes(void *context, const struct rqs_frame *frame, struct rqs_columns *columns)
{
	struct load *l = context;
	const char *text;
	uint16_t length;
	uint8_t method;

	(void)frame;
	l->routes = columns->routes;
	l->cell = rqs_grow(l->cell, l->routes, sizeof(struct rqs_cell *));
	l->group_of = rqs_grow(l->group_of, l->routes, sizeof(*l->group_of));
	memset(l->group_of, 0xff, l->routes * sizeof(*l->group_of));
	for (uint32_t i = 0; rqs_columns_route(columns, &method, &text, &length); i++) {
		unsigned row = rqs_routes_find(l->traces->routes, method, text, length);

		l->cell[i] = rqs_result_cell(&l->trace->result, l->folded ? RQS_ROUTE_OTHER : row);
	}
}

/* Hostile input only: values so spread over so many routes that their histograms would not fit. */
static void fold_routes(struct load *l)
{
	struct rqs_result *r = &l->trace->result;
	struct rqs_cell *other = rqs_result_cell(r, RQS_ROUTE_OTHER);

	for (unsigned i = 0; i < r->cells; i++) {
		if (!r->cell[i] || r->cell[i] == other)
			continue;
		rqs_cell_merge(other, r->cell[i]);
		rqs_cell_free(r->cell[i]);
	}
	for (uint32_t i = 0; i < l->routes; i++)
		l->cell[i] = other;
	l->folded = true;
	rqs_result_note(r, "routes", "their values are too many to keep apart; shown together as (other)");
}

/* Which group each row of the block goes to, or NO_GROUP outside of the window; how many rows each group has. */
static void find_groups(struct load *l, const struct rqs_frame *frame, const struct rqs_block *block, uint16_t *of_row)
{
	const uint64_t *route = block->column[RQS_COL_ROUTE], *time = block->column[RQS_COL_TIME];

	l->groups = 0;
	for (uint32_t i = 0; i < block->rows; i++) {
		uint64_t arrival = frame->header.first_time + time[i] * 1000;
		uint16_t g = l->group_of[route[i]];

		of_row[i] = NO_GROUP;
		if (arrival < l->from || arrival >= l->to)
			continue;
		if (g == NO_GROUP) {
			g = l->group_of[route[i]] = (uint16_t)l->groups;
			l->group[l->groups++] = (struct row_group){.route = (uint32_t)route[i]};
		}
		of_row[i] = g;
		l->group[g].rows++;
	}
}

/* Sorts the rows by group: then each route's sums stay in registers, and its counters in the cache. */
static void group_rows(struct load *l, const struct rqs_frame *frame, const struct rqs_block *block)
{
	uint16_t of_row[RQS_BLOCK_ROWS];
	uint32_t next = 0;

	find_groups(l, frame, block, of_row);
	for (unsigned g = 0; g < l->groups; g++) {
		l->group[g].first = next;
		next += l->group[g].rows;
		l->group[g].rows = 0;
		l->group_of[l->group[g].route] = NO_GROUP;
	}
	for (uint32_t i = 0; i < block->rows; i++) {
		if (of_row[i] == NO_GROUP)
			continue;
		struct row_group *g = &l->group[of_row[i]];
		l->order[g->first + g->rows++] = (uint16_t)i;
	}
}

/* Latency of each row. */
static void find_latencies(struct load *l, const struct rqs_block *block)
{
	const uint64_t *queue = block->column[RQS_COL_QUEUE];
	const uint64_t *handler = block->column[RQS_COL_HANDLER], *send = block->column[RQS_COL_SEND];

	for (uint32_t i = 0; i < block->rows; i++) {
		uint64_t sum = (queue[i] == RQS_NULL ? 0 : queue[i]) + handler[i] + send[i];

		l->latency[i] = handler[i] == RQS_NULL || send[i] == RQS_NULL ? RQS_NULL : sum;
	}
}

/* When the last byte that is known of a request went out: of an aborted one, as far as it came. */
static uint64_t end_of(const struct rqs_block *block, uint64_t arrival, uint32_t i)
{
	static const uint8_t parts[] = {RQS_COL_QUEUE, RQS_COL_HANDLER, RQS_COL_SEND};

	for (unsigned p = 0; p < sizeof(parts); p++)
		if (block->column[parts[p]][i] != RQS_NULL)
			arrival += block->column[parts[p]][i];
	return arrival;
}

/* Counts of one group, and the time that the counted requests span. */
static void count_group(struct load *l, const struct row_group *g, const struct rqs_frame *frame,
			const struct rqs_block *block)
{
	struct rqs_cell *c = l->cell[g->route];

	c->requests += g->rows;
	for (uint32_t k = 0; k < g->rows; k++) {
		uint32_t i = l->order[g->first + k];
		uint64_t arrival = frame->header.first_time + block->column[RQS_COL_TIME][i] * 1000;
		uint64_t latency = l->latency[i], status = block->column[RQS_COL_STATUS][i];
		uint64_t end = latency == RQS_NULL ? end_of(block, arrival, i) : arrival + latency;
		bool aborted = block->column[RQS_COL_FLAGS][i] & RQS_FLAG_ABORTED;
		bool stamped = block->column[RQS_COL_QUEUE][i] != RQS_NULL;

		l->first = arrival < l->first ? arrival : l->first;
		l->last = end > l->last ? end : l->last;
		c->from_kernel += latency != RQS_NULL && stamped;
		c->from_read += latency != RQS_NULL && !stamped;
		c->aborted += aborted;
		c->errors += aborted || status >= 500;
		c->status[status]++;
	}
}

static void count_processes(struct load *l, const struct rqs_block *block)
{
	const uint64_t *process = block->column[RQS_COL_PROCESS];

	for (uint32_t i = 0; i < block->rows; i++) {
		if (process[i] >= l->trace->processes)
			process_at(l->trace, process[i]);
		l->trace->process[process[i]].requests++;
	}
}

static void add_metric(struct load *l, unsigned m, const uint64_t *value)
{
	for (const struct row_group *g = l->group; g < l->group + l->groups; g++)
		rqs_dist_add(&l->cell[g->route]->metric[m], value, l->order + g->first, g->rows,
			     rqs_metrics[m].unit != RQS_UNIT_TIME);
}

static void take_requests(void *context, const struct rqs_frame *frame, const struct rqs_block *block)
{
	struct load *l = context;

	l->trace->result.recorded += block->rows;
	group_rows(l, frame, block);
	find_latencies(l, block);
	count_processes(l, block);
	for (unsigned g = 0; g < l->groups; g++)
		count_group(l, &l->group[g], frame, block);
	add_metric(l, RQS_METRIC_LATENCY, l->latency);
	for (unsigned m = RQS_METRIC_LATENCY + 1; m < RQS_METRIC_COUNT; m++)
		if (block->present & RQS_COLUMN_BIT(rqs_metrics[m].column))
			add_metric(l, m, block->column[rqs_metrics[m].column]);
	if (rqs_stats_memory > STATS_MEMORY_MAX && !l->folded)
		fold_routes(l);
}

static void take_samples(void *context, const struct rqs_frame *frame, const struct rqs_block *block)
{
	struct load *l = context;

	for (uint32_t i = 0; i < block->rows; i++) {
#define COUNTERS(symbol, first, second) {block->column[RQS_COL_##first][i], block->column[RQS_COL_##second][i]},
#define GAUGE(column_) block->column[RQS_COL_##column_][i],
		struct rqs_usage_sample sample = {
		    .time = frame->header.first_time + block->column[RQS_COL_TIME][i] * 1000,
		    .counter = {RQS_COUNTERS(COUNTERS)},
		    .gauge = {RQS_GAUGES(GAUGE)},
		};
#undef COUNTERS
#undef GAUGE
		rqs_usage_add(&l->usage, (uint32_t)block->column[RQS_COL_PROCESS][i], &sample);
	}
}

static void apply_counters(struct load *l)
{
	const struct rqs_usage *u = &l->usage;
	struct rqs_result *r = &l->trace->result;
	double cpu[2], gc[2];

	rqs_usage_counted(u, RQS_COUNTERS_CPU, l->first, l->last, cpu);
	r->cpu_known = u->counted[RQS_COUNTERS_CPU][0] && u->counted[RQS_COUNTERS_CPU][1];
	r->cpu_user = cpu[0] / 1e6;
	r->cpu_system = cpu[1] / 1e6;
	rqs_usage_gained(u, RQS_COUNTERS_GC, l->first, l->last, gc);
	r->gc_cycles = (struct rqs_counted){u->counted[RQS_COUNTERS_GC][0], gc[0]};
	r->gc_pause = (struct rqs_counted){u->counted[RQS_COUNTERS_GC][1], gc[1] / 1e9};
}

static struct rqs_level level_of(const struct rqs_usage_gauge *gauge)
{
	if (!gauge->sweeps)
		return (struct rqs_level){.known = false};
	return (struct rqs_level){true, (double)gauge->sum / (double)gauge->sweeps, (double)gauge->peak};
}

static void apply_usage(struct load *l)
{
	struct rqs_result *r = &l->trace->result;
	const struct rqs_usage_gauge *gauge = l->usage.gauge;

	rqs_usage_finish(&l->usage);
	if (r->all.requests) {
		r->duration = (double)(l->last - l->first) / 1e9;
		apply_counters(l);
	}
	r->rss = level_of(&gauge[RQS_GAUGE_RSS]);
	r->heap_in_use = level_of(&gauge[RQS_GAUGE_HEAP_IN_USE]);
	r->heap_goal = level_of(&gauge[RQS_GAUGE_HEAP_GOAL]);
	r->goroutines = level_of(&gauge[RQS_GAUGE_GOROUTINES]);
}

/* ---- both ---- */

static void set_window(struct load *l)
{
	const struct rqs_window *w = &l->options->window;
	struct rqs_trace *t = l->trace;

	l->from = rqs_moment_on_clock(&w->from, t->first_arrival, t->start_monotonic, t->start_realtime, 0);
	l->to = rqs_moment_on_clock(&w->to, t->first_arrival, t->start_monotonic, t->start_realtime, UINT64_MAX);
	l->first = UINT64_MAX;
	l->last = 0;
}

static void survey(struct load *l, struct rqs_reader *reader)
{
	const struct rqs_visitor visitor = {
	    .context = l,
	    .request_columns = RQS_COLUMN_BIT(RQS_COL_ROUTE) | RQS_COLUMN_BIT(RQS_COL_STATUS),
	    .json = survey_json,
	    .wants_rows = survey_wants_rows,
	    .routes = survey_routes,
	    .requests = survey_requests,
	    .requests_end = survey_requests_end,
	    .progress = l->options->progress ? report_progress : NULL,
	};

	l->trace->first_arrival = UINT64_MAX;
	rqs_scan(reader, &visitor, &l->trace->scan);
	rqs_reader_release(reader);
}

static void add_up(struct load *l, struct rqs_reader *reader)
{
	const struct rqs_visitor visitor = {
	    .context = l,
	    .request_columns = UINT64_MAX,
	    .json = take_json,
	    .routes = take_routes,
	    .requests = take_requests,
	    .samples = take_samples,
	    .progress = l->options->progress ? report_progress : NULL,
	};
	struct rqs_trace *t = l->trace;

	l->folded = false;
	set_window(l);
	rqs_scan(reader, &visitor, &t->scan);
	rqs_result_sum(&t->result);
	t->result.runs = 1;
	t->result.damaged = t->scan.damages || t->scan.version;
	t->result.truncated = t->result.damaged || !t->scan.end;
	t->result.windowed = t->result.all.requests != t->result.recorded;
	apply_usage(l);
	rqs_totals_apply(t);
	rqs_usage_free(&l->usage);
}

static void open_trace(struct load *l, struct rqs_reader *reader)
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
	struct load *l = rqs_zalloc(1, sizeof(*l));

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
		add_up(l, &reader[i]);
		rqs_reader_close(&reader[i]);
	}
	free(l->cell);
	free(l->group_of);
	free(l->found);
	free(l);
	free(reader);
}
