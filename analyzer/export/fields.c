/* fields.c - columns of a block to columns of a table. */
#include "export/fields.h"
#include "base/alloc.h"
#include "render/escape.h"

#include <stdlib.h>
#include <string.h>

#define UNIT_TIME "_ns"
#define UNIT_BYTES
#define UNIT_COUNT

const struct rqs_field rqs_fields[RQS_FIELD_COUNT] = {
#define FIELD(symbol, name, type, nullable) {#name, RQS_FIELD_##type, nullable},
    RQS_FIELDS(FIELD)
#undef FIELD
#define FIELD(symbol, name, column, unit) {#name UNIT_##unit, RQS_FIELD_NUMBER, true},
	RQS_METRICS(FIELD)
#undef FIELD
};

/* Numbers of texts by something else's number: found once, then known. */
struct known {
	unsigned count;
	uint64_t *text; /* + 1; 0: not yet known; RQS_NULL: none */
};

#define TEXTS_MAX 10000 /* hostile traces alone have more texts of processes than that: they are then not told */

struct rqs_field_reader {
	const struct rqs_traces *traces;
	unsigned texts;
	char **text;
	const struct rqs_trace *trace; /* of the block before */
	uint64_t trace_name, label, host;
	uint64_t kernel, read;
	struct known runtime, label_of, host_of; /* by the trace's process index */
	struct known method, path;               /* by the routes' row */
};

/* There are few: file names, routes, runtimes. */
static uint64_t text_of(struct rqs_field_reader *r, const char *text)
{
	if (!text)
		return RQS_NULL;
	char *valid = rqs_valid_utf8(text);

	for (unsigned i = 0; i < r->texts; i++) {
		if (strcmp(r->text[i], valid))
			continue;
		free(valid);
		return i;
	}
	r->text = rqs_grow(r->text, r->texts + 1, sizeof(char *));
	r->text[r->texts] = valid;
	return r->texts++;
}

static uint64_t *known_at(struct known *k, unsigned index)
{
	if (index >= k->count) {
		unsigned count = index < 64 ? 64 : index * 2;

		k->text = rqs_grow(k->text, count, sizeof(*k->text));
		memset(k->text + k->count, 0, (count - k->count) * sizeof(*k->text));
		k->count = count;
	}
	return &k->text[index];
}

static uint64_t remember(uint64_t *at, uint64_t text)
{
	*at = text == RQS_NULL ? RQS_NULL : text + 1;
	return text;
}

static uint64_t recall(uint64_t known)
{
	return known == RQS_NULL ? RQS_NULL : known - 1;
}

static uint64_t method_of(struct rqs_field_reader *r, unsigned row)
{
	uint64_t *at = known_at(&r->method, row);

	return *at ? recall(*at) : remember(at, text_of(r, rqs_route_method(r->traces->routes, row)));
}

static uint64_t path_of(struct rqs_field_reader *r, unsigned row)
{
	uint64_t *at = known_at(&r->path, row);

	return *at ? recall(*at) : remember(at, text_of(r, rqs_routes_get(r->traces->routes, row).path));
}

static const struct rqs_process *process_of(const struct rqs_field_reader *r, uint64_t index)
{
	const struct rqs_process *p = index < r->trace->processes ? &r->trace->process[index] : NULL;

	return p && p->present ? p : NULL;
}

static uint64_t process_text(struct rqs_field_reader *r, struct known *known, uint64_t index, const char *text)
{
	uint64_t *at = known_at(known, (unsigned)index);

	return *at ? recall(*at) : remember(at, text_of(r, r->texts < TEXTS_MAX ? text : NULL));
}

static uint64_t runtime_of(struct rqs_field_reader *r, uint64_t index)
{
	const struct rqs_process *p = process_of(r, index);

	return p ? process_text(r, &r->runtime, index, p->runtime) : RQS_NULL;
}

static uint64_t label_of(struct rqs_field_reader *r, uint64_t index)
{
	const struct rqs_process *p = process_of(r, index);

	return p ? process_text(r, &r->label_of, index, p->label) : r->label;
}

static uint64_t host_of(struct rqs_field_reader *r, uint64_t index)
{
	const struct rqs_process *p = process_of(r, index);

	return p ? process_text(r, &r->host_of, index, p->host) : r->host;
}

/* What a table can't hold is not known: only a hostile trace has it. */
static uint64_t number(uint64_t value)
{
	return value > INT64_MAX ? RQS_NULL : value;
}

static uint64_t pid_of(const struct rqs_field_reader *r, uint64_t index)
{
	const struct rqs_process *p = process_of(r, index);

	return p ? number((uint64_t)p->pid) : RQS_NULL;
}

static uint64_t moment(const struct rqs_request_rows *rows, uint64_t offset_us)
{
	const struct rqs_trace *t = rows->trace;
	uint64_t time = rows->first_time + offset_us * 1000;

	/* Arrivals from before the run frame are possible; the sum wraps to the right moment. */
	return t->start_realtime ? t->start_realtime + (time - t->start_monotonic) : RQS_NULL;
}

static uint64_t latency_from(const struct rqs_field_reader *r, const struct rqs_request_rows *rows, uint32_t i)
{
	if (rows->latency[i] == RQS_NULL)
		return RQS_NULL;
	return rows->block->column[RQS_COL_QUEUE][i] == RQS_NULL ? r->read : r->kernel;
}

static void forget(struct known *k)
{
	if (k->count)
		memset(k->text, 0, k->count * sizeof(*k->text));
}

static void begin_trace(struct rqs_field_reader *r, const struct rqs_trace *trace)
{
	r->trace = trace;
	r->trace_name = text_of(r, trace->file);
	r->label = text_of(r, rqs_trace_label(trace));
	r->host = text_of(r, rqs_trace_host(trace));
	forget(&r->runtime);
	forget(&r->label_of);
	forget(&r->host_of);
}

static void metric_values(const struct rqs_chosen *chosen, unsigned metric, uint64_t *to)
{
	const struct rqs_request_rows *rows = chosen->rows;
	const uint64_t *from =
	    metric == RQS_METRIC_LATENCY ? rows->latency : rows->block->column[rqs_metrics[metric].column];

	for (uint32_t k = 0; k < chosen->count; k++)
		to[k] = number(from[chosen->index[k]]);
}

/* Each case is a loop of its own over the block. */
#define EACH(value)                                                                                                    \
	for (uint32_t k = 0; k < chosen->count; k++) {                                                                 \
		uint32_t i = chosen->index[k];                                                                         \
		to[k] = (value);                                                                                       \
	}                                                                                                              \
	break

void rqs_field_values(struct rqs_field_reader *r, const struct rqs_chosen *chosen, unsigned field, uint64_t *to)
{
	const struct rqs_request_rows *rows = chosen->rows;
	const uint64_t(*column)[RQS_BLOCK_ROWS] = rows->block->column;

	if (rows->trace != r->trace)
		begin_trace(r, rows->trace);
	switch (field) {
	case RQS_FIELD_TRACE_ID:
		EACH(((void)i, r->trace_name));
	case RQS_FIELD_LABEL_ID:
		EACH(label_of(r, column[RQS_COL_PROCESS][i]));
	case RQS_FIELD_HOST_ID:
		EACH(host_of(r, column[RQS_COL_PROCESS][i]));
	case RQS_FIELD_PID_ID:
		EACH(pid_of(r, column[RQS_COL_PROCESS][i]));
	case RQS_FIELD_RUNTIME_ID:
		EACH(runtime_of(r, column[RQS_COL_PROCESS][i]));
	case RQS_FIELD_TIME_ID:
		EACH(number(moment(rows, column[RQS_COL_TIME][i])));
	case RQS_FIELD_METHOD_ID:
		EACH(method_of(r, rows->route[column[RQS_COL_ROUTE][i]]));
	case RQS_FIELD_ROUTE_ID:
		EACH(path_of(r, rows->route[column[RQS_COL_ROUTE][i]]));
	case RQS_FIELD_STATUS_ID:
		EACH(column[RQS_COL_STATUS][i] ? column[RQS_COL_STATUS][i] : RQS_NULL);
	case RQS_FIELD_ABORTED_ID:
		EACH(column[RQS_COL_FLAGS][i] & RQS_FLAG_ABORTED);
	case RQS_FIELD_LATENCY_FROM_ID:
		EACH(latency_from(r, rows, i));
	default:
		metric_values(chosen, field - RQS_FIELD_METRICS, to);
	}
}

struct rqs_field_reader *rqs_field_reader_new(const struct rqs_export *what)
{
	struct rqs_field_reader *r = rqs_zalloc(1, sizeof(*r));

	r->traces = what->traces;
	r->kernel = text_of(r, "kernel");
	r->read = text_of(r, "read");
	return r;
}

void rqs_field_reader_free(struct rqs_field_reader *r)
{
	for (unsigned i = 0; i < r->texts; i++)
		free(r->text[i]);
	free(r->text);
	free(r->runtime.text);
	free(r->label_of.text);
	free(r->host_of.text);
	free(r->method.text);
	free(r->path.text);
	free(r);
}

unsigned rqs_field_texts(const struct rqs_field_reader *r)
{
	return r->texts;
}

const char *rqs_field_text(const struct rqs_field_reader *r, uint64_t text)
{
	return r->text[text];
}
