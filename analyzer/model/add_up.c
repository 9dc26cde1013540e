/*
 * add_up.c - the second pass over a trace, which adds each request to the cell
 * of its route. Its inner loops go metric by metric over a block of rows,
 * which is what makes it fast.
 */
#include "model/load.h"
#include "model/totals.h"
#include "base/alloc.h"

#include <stdlib.h>
#include <string.h>

/* Histograms of hostile traces fold into one route above this. Ordinary traces take a few MiB. */
#define STATS_MEMORY_MAX ((size_t)96 << 20)
#define NO_GROUP UINT16_MAX

static struct rqs_process *process_at(struct rqs_trace *t, uint64_t index)
{
	if (index >= t->processes) {
		t->process = rqs_grow(t->process, index + 1, sizeof(*t->process));
		memset(&t->process[t->processes], 0, (index + 1 - t->processes) * sizeof(*t->process));
		t->processes = (unsigned)index + 1;
	}
	return &t->process[index];
}

static char *copy_text(const char *text)
{
	return text ? rqs_strndup(text, strlen(text)) : NULL;
}

/* What the process says of its recording, as one of a merged trace does; else what its trace's only recording says. */
static char *copy_origin(const cJSON *process, const char *key, const char *of_trace)
{
	bool own = cJSON_GetObjectItemCaseSensitive(process, key) != NULL;

	return copy_text(own ? rqs_json_string(process, key) : of_trace);
}

static void take_process(struct rqs_load *l, const cJSON *object)
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
	p->runtime = copy_text(rqs_json_string(runtime, "name"));
	p->runtime_version = copy_text(rqs_json_string(runtime, "version"));
	p->host = copy_origin(object, "host", rqs_trace_host(l->trace));
	p->label = copy_origin(object, "label", rqs_trace_label(l->trace));
	l->trace->result.processes++;
	l->trace->result.has_runtime_stats |= p->runtime && !strcmp(p->runtime, "go");
	uint64_t start = rqs_json_u64(object, "start_monotonic_ns");
	if (start && start < RQS_TIME_LIMIT)
		rqs_usage_start(&l->usage, (uint32_t)index, start);
}

static void take_json(void *context, enum rqs_frame_type type, const cJSON *object)
{
	struct rqs_load *l = context;

	if (type == RQS_FRAME_PROCESS)
		take_process(l, object);
	if (type != RQS_FRAME_TOTALS && type != RQS_FRAME_END)
		return;
	cJSON_Delete(l->trace->totals);
	l->trace->totals = cJSON_Duplicate(object, true);
}

static void take_routes(void *context, const struct rqs_frame *frame, struct rqs_columns *columns)
{
	struct rqs_load *l = context;
	const char *text;
	uint16_t length;
	uint8_t method;

	(void)frame;
	l->routes = columns->routes;
	l->cell = rqs_grow(l->cell, l->routes, sizeof(struct rqs_cell *));
	l->row = rqs_grow(l->row, l->routes, sizeof(*l->row));
	size_t groups = (size_t)l->routes * l->trace->result.grid.count;
	l->group_of = rqs_grow(l->group_of, groups, sizeof(*l->group_of));
	memset(l->group_of, 0xff, groups * sizeof(*l->group_of));
	for (uint32_t i = 0; rqs_columns_route(columns, &method, &text, &length); i++) {
		unsigned row = rqs_routes_find(l->traces->routes, method, text, length);

		l->row[i] = row;
		l->cell[i] = rqs_result_cell(&l->trace->result, l->folded ? RQS_ROUTE_OTHER : row);
	}
}

/* Hostile input only: values so spread over so many routes that their histograms would not fit. */
static void fold_routes(struct rqs_load *l)
{
	struct rqs_result *r = &l->trace->result;
	struct rqs_cell *other = rqs_result_cell(r, RQS_ROUTE_OTHER);

	for (unsigned i = 0; i < r->cells; i++) {
		if (!r->cell[i] || r->cell[i] == other)
			continue;
		rqs_cell_merge(other, r->cell[i]);
		rqs_slices_merge(&other->slices, &r->cell[i]->slices, &r->grid);
		rqs_cell_free(r->cell[i]);
	}
	for (uint32_t i = 0; i < l->routes; i++)
		l->cell[i] = other;
	l->folded = true;
	rqs_result_note(r, "routes", "their values are too many to keep apart; shown together as (other)");
}

/* Which group each row of the block goes to, or NO_GROUP outside of the window; how many rows each group has. */
static void find_groups(struct rqs_load *l, const struct rqs_frame *frame, const struct rqs_block *block,
			uint16_t *of_row)
{
	const uint64_t *route = block->column[RQS_COL_ROUTE], *time = block->column[RQS_COL_TIME];
	const struct rqs_grid *grid = &l->trace->result.grid;

	uint64_t start = grid->first; /* of the slice that the last arrival was in */
	unsigned slice = 0;

	l->groups = 0;
	for (uint32_t i = 0; i < block->rows; i++) {
		uint64_t arrival = l->arrival[i] = frame->header.first_time + time[i] * 1000;

		of_row[i] = NO_GROUP;
		if (arrival < l->from || arrival >= l->to)
			continue;
		/* Requests come in nearly the order of their arrival: a division a slice is enough. */
		if (arrival - start >= grid->length) {
			slice = rqs_grid_index(grid, arrival);
			start = grid->first + slice * grid->length;
		}
		uint16_t *group = &l->group_of[route[i] * grid->count + slice];
		if (*group == NO_GROUP) {
			*group = (uint16_t)l->groups;
			l->group[l->groups++] = (struct row_group){.route = (uint32_t)route[i], .slice = slice};
		}
		of_row[i] = *group;
		l->group[*group].rows++;
	}
}

/* Sorts the rows by group: then each one's sums stay in registers, and its counters in the cache. */
static void group_rows(struct rqs_load *l, const struct rqs_frame *frame, const struct rqs_block *block)
{
	uint16_t of_row[RQS_BLOCK_ROWS];
	uint32_t next = 0;

	find_groups(l, frame, block, of_row);
	for (struct row_group *g = l->group; g < l->group + l->groups; g++) {
		g->first = next;
		next += g->rows;
		g->rows = 0;
		l->group_of[g->route * l->trace->result.grid.count + g->slice] = NO_GROUP;
	}
	for (uint32_t i = 0; i < block->rows; i++) {
		if (of_row[i] == NO_GROUP)
			continue;
		struct row_group *g = &l->group[of_row[i]];
		l->order[g->first + g->rows++] = (uint16_t)i;
	}
}

/* Latency of each row. */
static void find_latencies(struct rqs_load *l, const struct rqs_block *block)
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

static struct rqs_segment *segment_of(struct rqs_load *l, const struct row_group *g)
{
	return rqs_slices_at(&l->cell[g->route]->slices, &l->trace->result.grid, RQS_METRIC_COUNT, g->slice);
}

/* Counts of one group, and the time that the counted requests span. */
static void count_group(struct rqs_load *l, const struct row_group *g, const struct rqs_block *block)
{
	struct rqs_cell *c = l->cell[g->route];
	struct rqs_segment *segment = segment_of(l, g);
	uint64_t errors = c->errors;

	for (uint32_t k = 0; k < g->rows; k++) {
		uint32_t i = l->order[g->first + k];
		uint64_t latency = l->latency[i], status = block->column[RQS_COL_STATUS][i];
		uint64_t end = latency == RQS_NULL ? end_of(block, l->arrival[i], i) : l->arrival[i] + latency;
		bool aborted = block->column[RQS_COL_FLAGS][i] & RQS_FLAG_ABORTED;
		bool stamped = block->column[RQS_COL_QUEUE][i] != RQS_NULL;

		l->first = l->arrival[i] < l->first ? l->arrival[i] : l->first;
		l->last = end > l->last ? end : l->last;
		if (l->sites)
			rqs_site_load_request(l->sites, l->row[g->route], end);
		c->from_kernel += latency != RQS_NULL && stamped;
		c->from_read += latency != RQS_NULL && !stamped;
		c->aborted += aborted;
		c->errors += aborted || status >= 500;
		c->status[status]++;
	}
	c->requests += g->rows;
	segment->requests += g->rows;
	segment->errors += c->errors - errors;
}

/* The parts of a latency that the block has columns of. */
static struct rqs_part_columns find_parts(const struct rqs_block *block)
{
	static const uint8_t columns[] = {
#define PART_COLUMN(symbol, metric, ...) RQS_COL_##metric,
	    RQS_PARTS(PART_COLUMN)
#undef PART_COLUMN
	};
	struct rqs_part_columns parts = {0};

	for (unsigned p = 0; p < RQS_PART_COUNT; p++)
		if (block->present & RQS_COLUMN_BIT(columns[p]))
			parts.column[parts.count++] = (struct rqs_part_column){p, block->column[columns[p]]};
	return parts;
}

/* The group's latencies by time, and what they consist of. */
static void place_group(struct rqs_load *l, const struct row_group *g, const struct rqs_part_columns *parts)
{
	struct rqs_cell *c = l->cell[g->route];

	rqs_slices_latencies(&c->slices, g->slice, l->latency, l->order + g->first, g->rows);
	rqs_breakdown_add(&c->breakdown, l->latency, parts, l->order + g->first, g->rows);
}

static void count_processes(struct rqs_load *l, const struct rqs_block *block)
{
	const uint64_t *process = block->column[RQS_COL_PROCESS];

	for (uint32_t i = 0; i < block->rows; i++) {
		if (process[i] >= l->trace->processes)
			process_at(l->trace, process[i]);
		l->trace->process[process[i]].requests++;
	}
}

/* The histogram of latencies is made at the end, of those of the slices. */
static void add_metric(struct rqs_load *l, unsigned m, const uint64_t *value)
{
	for (const struct row_group *g = l->group; g < l->group + l->groups; g++) {
		struct rqs_dist *dist = &l->cell[g->route]->metric[m];
		struct rqs_segment_sum *sum = &segment_of(l, g)->sum[m];
		uint64_t count = dist->count;
		unsigned __int128 before = dist->sum;

		if (m == RQS_METRIC_LATENCY)
			rqs_dist_add_sums(dist, value, l->order + g->first, g->rows);
		else
			rqs_dist_add(dist, value, l->order + g->first, g->rows, rqs_metrics[m].unit != RQS_UNIT_TIME);
		sum->count += dist->count - count;
		sum->sum += (double)(dist->sum - before);
	}
}

static void finish_latencies(struct rqs_result *r)
{
	for (unsigned i = 0; i < r->cells; i++) {
		if (!r->cell[i])
			continue;
		struct rqs_dist *dist = &r->cell[i]->metric[RQS_METRIC_LATENCY];

		if (dist->count)
			dist->histogram = rqs_zalloc(1, sizeof(*dist->histogram));
		if (dist->count)
			rqs_slices_sum(&r->cell[i]->slices, dist->histogram);
		rqs_slices_pack(&r->cell[i]->slices, r->grid.count);
	}
}

/* Of very many routes the latencies by time take much; those of finished slices can be had smaller. */
static void pack_slices(struct rqs_load *l)
{
	const struct rqs_result *r = &l->trace->result;
	unsigned newest = l->groups ? l->group[l->groups - 1].slice : 0;

	for (unsigned i = 0; i < r->cells; i++)
		if (r->cell[i])
			rqs_slices_pack(&r->cell[i]->slices, newest);
}

static void show_rows(const struct rqs_load *l, const struct rqs_frame *frame, const struct rqs_block *block)
{
	const struct rqs_request_rows rows = {
	    .trace = l->trace,
	    .block = block,
	    .first_time = frame->header.first_time,
	    .latency = l->latency,
	    .route = l->row,
	    .from = l->from,
	    .to = l->to,
	};

	l->options->rows(l->options->rows_context, &rows);
}

static void take_requests(void *context, const struct rqs_frame *frame, const struct rqs_block *block)
{
	struct rqs_load *l = context;

	l->trace->result.recorded += block->rows;
	group_rows(l, frame, block);
	find_latencies(l, block);
	count_processes(l, block);
	const struct rqs_part_columns parts = find_parts(block);
	for (unsigned g = 0; g < l->groups; g++) {
		count_group(l, &l->group[g], block);
		place_group(l, &l->group[g], &parts);
	}
	add_metric(l, RQS_METRIC_LATENCY, l->latency);
	for (unsigned m = RQS_METRIC_LATENCY + 1; m < RQS_METRIC_COUNT; m++)
		if (block->present & RQS_COLUMN_BIT(rqs_metrics[m].column))
			add_metric(l, m, block->column[rqs_metrics[m].column]);
	if (rqs_stats_memory > STATS_MEMORY_MAX && !l->folded) {
		pack_slices(l);
		if (rqs_stats_memory > STATS_MEMORY_MAX / 4 * 3)
			fold_routes(l);
	}
	if (l->options->rows)
		show_rows(l, frame, block);
}

static void take_samples(void *context, const struct rqs_frame *frame, const struct rqs_block *block)
{
	struct rqs_load *l = context;

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
		uint32_t process = (uint32_t)block->column[RQS_COL_PROCESS][i];
		rqs_usage_add(&l->usage, process, &sample);
	}
}

static void take_stacks(void *context, const cJSON *object)
{
	rqs_site_load_stacks(((struct rqs_load *)context)->sites, object);
}

static void take_site_routes(void *context, const struct rqs_frame *frame, struct rqs_columns *columns)
{
	struct rqs_load *l = context;
	const char *text;
	uint16_t length;
	uint8_t method;

	(void)frame;
	l->site_row = rqs_grow(l->site_row, columns->routes, sizeof(*l->site_row));
	for (uint32_t i = 0; rqs_columns_route(columns, &method, &text, &length); i++)
		l->site_row[i] = rqs_routes_find(l->traces->routes, method, text, length);
}

static void take_sites(void *context, const struct rqs_frame *frame, const struct rqs_block *block)
{
	struct rqs_load *l = context;

	rqs_site_load_rows(l->sites, frame->header.first_time, block, l->site_row);
}

static void start_sites(struct rqs_load *l)
{
	const struct rqs_trace *t = l->trace;
	uint64_t first = l->from > t->first_arrival ? l->from : t->first_arrival;
	uint64_t end = l->to > t->last_arrival ? t->last_arrival + 1 : l->to;

	l->sites = NULL;
	if (l->options->sites)
		l->sites = rqs_site_load_new(&l->trace->result.sites, l->from, l->to, first, end);
}

static void finish_sites(struct rqs_load *l)
{
	if (!l->sites)
		return;
	rqs_site_load_end(l->sites, l->last, l->folded ? RQS_ROUTE_OTHER : UINT32_MAX);
	rqs_totals_apply_sites(l->trace);
}

static void apply_counters(struct rqs_load *l)
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

static void apply_usage(struct rqs_load *l)
{
	struct rqs_result *r = &l->trace->result;
	const struct rqs_usage_gauge *gauge = l->usage.gauge;

	rqs_usage_finish(&l->usage);
	rqs_timeline_finish(&r->timeline, &l->usage);
	if (r->all.requests) {
		r->duration = (double)(l->last - l->first) / 1e9;
		apply_counters(l);
	}
	r->rss = level_of(&gauge[RQS_GAUGE_RSS]);
	r->heap_in_use = level_of(&gauge[RQS_GAUGE_HEAP_IN_USE]);
	r->heap_goal = level_of(&gauge[RQS_GAUGE_HEAP_GOAL]);
	r->goroutines = level_of(&gauge[RQS_GAUGE_GOROUTINES]);
}

static void set_window(struct rqs_load *l)
{
	const struct rqs_window *w = &l->options->window;
	struct rqs_trace *t = l->trace;

	l->from = rqs_moment_on_clock(&w->from, t->first_arrival, t->start_monotonic, t->start_realtime, 0);
	l->to = rqs_moment_on_clock(&w->to, t->first_arrival, t->start_monotonic, t->start_realtime, UINT64_MAX);
	l->first = UINT64_MAX;
	l->last = 0;

	uint64_t first = l->from > t->first_arrival ? l->from : t->first_arrival;
	uint64_t end = l->to > t->last_arrival ? t->last_arrival + 1 : l->to;
	t->result.grid = rqs_grid_make(first, end);
	rqs_timeline_start(&t->result.timeline, &t->result.grid);
	l->usage.timeline = &t->result.timeline;
}

void rqs_load_add_up(struct rqs_load *l, struct rqs_reader *reader)
{
	const struct rqs_visitor visitor = {
	    .context = l,
	    .request_columns = UINT64_MAX,
	    .json = take_json,
	    .routes = take_routes,
	    .requests = take_requests,
	    .samples = take_samples,
	    .stacks = l->options->sites ? take_stacks : NULL,
	    .site_routes = take_site_routes,
	    .sites = l->options->sites ? take_sites : NULL,
	    .progress = l->options->progress ? rqs_load_progress : NULL,
	};
	struct rqs_trace *t = l->trace;

	l->folded = false;
	set_window(l);
	start_sites(l);
	rqs_scan(reader, &visitor, &t->scan);
	finish_latencies(&t->result);
	rqs_result_sum(&t->result);
	rqs_slices_pack(&t->result.all.slices, t->result.grid.count);
	t->result.runs = 1;
	t->result.damaged = t->scan.damages || t->scan.version;
	t->result.truncated = t->result.damaged || !t->scan.end;
	t->result.windowed = t->result.all.requests != t->result.recorded;
	apply_usage(l);
	rqs_totals_apply(t);
	finish_sites(l);
	rqs_usage_free(&l->usage);
}
