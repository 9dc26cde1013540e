/* inspect.c - counts frames, rows and damage, and shows them. */
#include "report/inspect.h"
#include "report/report_json.h"
#include "base/alloc.h"
#include "render/units.h"

#include <inttypes.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* ---- collecting ---- */

static void take_frame(void *context, const struct rqs_frame *frame)
{
	struct rqs_inspection *i = context;
	struct rqs_frame_sum *sum = &i->type[frame->header.type];

	sum->frames++;
	sum->stored += frame->header.stored_length;
	sum->raw += frame->header.raw_length;
	if (frame->header.type != RQS_FRAME_REQUESTS && frame->header.type != RQS_FRAME_SAMPLES &&
	    frame->header.type != RQS_FRAME_SITES)
		return;
	if (!i->first_time || frame->header.first_time < i->first_time)
		i->first_time = frame->header.first_time;
	if (frame->header.last_time > i->last_time)
		i->last_time = frame->header.last_time;
}

static void take_damage(void *context, const struct rqs_damage *damage)
{
	struct rqs_inspection *i = context;

	if (i->damages < RQS_DAMAGES_LISTED)
		i->damage[i->damages++] = *damage;
}

static void take_json(void *context, enum rqs_frame_type type, const cJSON *object)
{
	struct rqs_inspection *i = context;

	if (type == RQS_FRAME_PROCESS) {
		if (cJSON_GetArraySize(i->processes) < UINT16_MAX)
			cJSON_AddItemToArray(i->processes, cJSON_Duplicate(object, true));
		return;
	}
	cJSON **keep = type == RQS_FRAME_RUN ? &i->run : &i->totals;
	cJSON_Delete(*keep);
	*keep = cJSON_Duplicate(object, true);
}

static void take_requests(void *context, const struct rqs_frame *frame, const struct rqs_block *block)
{
	(void)frame;
	((struct rqs_inspection *)context)->requests += block->rows;
}

static void take_samples(void *context, const struct rqs_frame *frame, const struct rqs_block *block)
{
	(void)frame;
	((struct rqs_inspection *)context)->samples += block->rows;
}

static void take_sites(void *context, const struct rqs_frame *frame, const struct rqs_block *block)
{
	(void)frame;
	((struct rqs_inspection *)context)->sites += block->rows;
}

/* Two numbers a stack. */
static void take_stacks(void *context, const cJSON *object)
{
	const cJSON *stacks = cJSON_GetObjectItemCaseSensitive(object, "stacks");

	((struct rqs_inspection *)context)->stacks += (uint64_t)cJSON_GetArraySize(stacks) / 2;
}

void rqs_inspect(struct rqs_inspection *i, const char *file)
{
	const struct rqs_visitor visitor = {
	    .context = i,
	    .request_columns = UINT64_MAX, /* all are checked */
	    .json = take_json,
	    .requests = take_requests,
	    .samples = take_samples,
	    .stacks = take_stacks,
	    .sites = take_sites,
	    .frame = take_frame,
	    .damage = take_damage,
	};
	struct rqs_reader reader;

	memset(i, 0, sizeof(*i));
	i->file = file;
	i->processes = cJSON_CreateArray();
	int error = rqs_reader_open(&reader, file);
	if (error) {
		i->fatal = rqs_open_problem(error);
		return;
	}
	i->size = reader.source.size;
	rqs_scan(&reader, &visitor, &i->scan);
	rqs_reader_close(&reader);
	if (!i->scan.frames)
		i->fatal = rqs_unreadable(&i->scan, i->size);
}

void rqs_inspection_free(struct rqs_inspection *i)
{
	free(i->fatal);
	cJSON_Delete(i->run);
	cJSON_Delete(i->totals);
	cJSON_Delete(i->processes);
}

/* ---- showing ---- */

static double bytes_per_request(const struct rqs_inspection *i)
{
	return i->requests ? (double)i->size / (double)i->requests : NAN;
}

static const char *integrity(const struct rqs_inspection *i)
{
	if (i->scan.damages || i->scan.version)
		return "damaged";
	return i->scan.end ? "whole" : "truncated";
}

/* A value of any JSON type in one line, to be freed. */
static char *value_text(const cJSON *value)
{
	if (cJSON_IsString(value))
		return rqs_strndup(value->valuestring, strlen(value->valuestring));
	if (!cJSON_IsArray(value)) {
		char *text = cJSON_PrintUnformatted(value);
		return text ? text : rqs_format("?");
	}
	char *text = rqs_format("%s", "");
	const cJSON *item;
	cJSON_ArrayForEach(item, value)
	{
		char *one = value_text(item), *longer = rqs_format("%s%s%s", text, *text ? " " : "", one);

		free(one);
		free(text);
		text = longer;
	}
	return text;
}

static void add_metadata(struct rqs_doc *d, const cJSON *object)
{
	const cJSON *value;

	cJSON_ArrayForEach(value, object)
	{
		if (!value->string || cJSON_IsNull(value) || !strcmp(value->string, "processes"))
			continue;
		char *text = value_text(value);
		rqs_doc_fact(d, value->string, "%s", text);
		free(text);
	}
}

/* What the frames of a type are made of, counted; NULL: nothing that is counted. */
static const uint64_t *rows_of(const struct rqs_inspection *i, unsigned type)
{
	switch (type) {
	case RQS_FRAME_REQUESTS:
		return &i->requests;
	case RQS_FRAME_SAMPLES:
		return &i->samples;
	case RQS_FRAME_STACKS:
		return &i->stacks;
	case RQS_FRAME_SITES:
		return &i->sites;
	default:
		return NULL;
	}
}

static void add_frame_row(struct rqs_table *t, const struct rqs_inspection *i, unsigned type)
{
	const struct rqs_frame_sum *sum = &i->type[type];
	const char *name = rqs_frame_type_name(type);
	const uint64_t *rows = rows_of(i, type);

	if (!sum->frames)
		return;
	rqs_table_row(t, false);
	rqs_table_cell(t, RQS_TONE_PLAIN, name ? rqs_format("%s", name) : rqs_format("type %u (skipped)", type));
	rqs_table_cell(t, RQS_TONE_PLAIN, rqs_human_count((double)sum->frames));
	rqs_table_cell(t, RQS_TONE_PLAIN, rqs_human_bytes((double)sum->stored));
	rqs_table_cell(t, RQS_TONE_PLAIN, rqs_human_bytes((double)sum->raw));
	rqs_table_cell(t, RQS_TONE_PLAIN, rows ? rqs_human_count((double)*rows) : NULL);
}

static void add_frames(struct rqs_doc *d, const struct rqs_inspection *i)
{
	static const char *const heads[] = {"COUNT", "STORED", "RAW", "ROWS"};
	struct rqs_table *t = rqs_doc_table(d);

	rqs_table_column(t, false, "FRAMES");
	for (unsigned k = 0; k < sizeof(heads) / sizeof(heads[0]); k++)
		rqs_table_column(t, true, heads[k]);
	for (unsigned type = 0; type < 256; type++)
		add_frame_row(t, i, type);
}

static void add_damage(struct rqs_doc *d, const struct rqs_inspection *i)
{
	if (i->scan.version)
		rqs_doc_warning(d, "offset %" PRIu64 ": format version %u, this reqscope reads %u; use a newer one",
				i->scan.version_offset, i->scan.version, RQS_TRACE_VERSION);
	for (unsigned k = 0; k < i->damages; k++)
		rqs_doc_warning(d, "offset %" PRIu64 ": %s", i->damage[k].offset, i->damage[k].what);
	if (i->scan.damages > i->damages)
		rqs_doc_warning(d, "and %" PRIu64 " more damaged places", i->scan.damages - i->damages);
	if (!i->scan.end && !i->scan.damages && !i->scan.version)
		rqs_doc_warning(d, "truncated: no end frame; the recording was cut off or is still going on");
}

static void add_unplaced(struct rqs_doc *d, const struct rqs_inspection *i)
{
	uint64_t programs = rqs_json_u64(i->totals, "unplaced");
	char *text = rqs_unplaced_text(programs);

	if (programs)
		rqs_doc_warning(d, "%s", text);
	free(text);
}

static char *process_text(const cJSON *process, const char *key)
{
	const cJSON *value = cJSON_GetObjectItemCaseSensitive(process, key);

	if (cJSON_IsObject(value)) /* runtime */
		value = cJSON_GetObjectItemCaseSensitive(value, "name");
	return value ? value_text(value) : NULL;
}

static void add_processes(struct rqs_doc *d, const struct rqs_inspection *i)
{
	static const char *const keys[] = {"process", "pid", "ppid", "runtime", "command"};
	static const char *const heads[] = {"PROCESS", "PID", "PPID", "RUNTIME", "COMMAND"};
	const unsigned columns = sizeof(keys) / sizeof(keys[0]);
	const cJSON *process;

	if (!cJSON_GetArraySize(i->processes))
		return;
	struct rqs_table *t = rqs_doc_table(d);
	for (unsigned k = 0; k < columns; k++)
		rqs_table_column(t, k < 3, heads[k]);
	cJSON_ArrayForEach(process, i->processes)
	{
		rqs_table_row(t, false);
		for (unsigned k = 0; k < columns; k++)
			rqs_table_cell(t, RQS_TONE_PLAIN, process_text(process, keys[k]));
	}
}

struct rqs_doc *rqs_inspection_doc(const struct rqs_inspection *i)
{
	struct rqs_doc *d = rqs_doc_new(i->file);
	char *size = rqs_human_bytes((double)i->size), *each = rqs_human_count(bytes_per_request(i));

	rqs_doc_heading(d, "%s", i->file);
	add_damage(d, i);
	add_unplaced(d, i);
	rqs_doc_fact(d, "integrity", "%s", integrity(i));
	rqs_doc_fact(d, "size", "%s (%" PRIu64 " bytes), %s bytes a request", size, i->size, each);
	if (i->last_time > i->first_time)
		rqs_doc_fact(d, "time span", "%.3f s", (double)(i->last_time - i->first_time) / 1e9);
	rqs_doc_fact(d, "format version", "%d", RQS_TRACE_VERSION);
	add_metadata(d, i->run);
	add_metadata(d, i->totals);
	add_processes(d, i);
	add_frames(d, i);
	free(size);
	free(each);
	return d;
}

static cJSON *copy_or_null(const cJSON *object)
{
	return object ? cJSON_Duplicate(object, true) : cJSON_CreateNull();
}

static void add_frames_json(cJSON *o, const struct rqs_inspection *i)
{
	cJSON *frames = cJSON_AddObjectToObject(o, "frames");

	for (unsigned type = 0; type < 256; type++) {
		const struct rqs_frame_sum *sum = &i->type[type];
		const char *name = rqs_frame_type_name(type);
		char number[8];

		if (!sum->frames)
			continue;
		snprintf(number, sizeof(number), "%u", type);
		cJSON *one = cJSON_AddObjectToObject(frames, name ? name : number);
		cJSON_AddNumberToObject(one, "count", (double)sum->frames);
		cJSON_AddNumberToObject(one, "stored_bytes", (double)sum->stored);
		cJSON_AddNumberToObject(one, "raw_bytes", (double)sum->raw);
	}
}

cJSON *rqs_inspection_json(const struct rqs_inspection *i)
{
	cJSON *o = cJSON_CreateObject();

	cJSON_AddStringToObject(o, "schema", "reqscope.info/1");
	rqs_json_add_text(o, "file", i->file);
	cJSON_AddNumberToObject(o, "format_version", RQS_TRACE_VERSION);
	cJSON_AddNumberToObject(o, "bytes", (double)i->size);
	cJSON_AddStringToObject(o, "integrity", integrity(i));
	cJSON_AddBoolToObject(o, "truncated", strcmp(integrity(i), "whole") != 0);
	cJSON *damage = cJSON_AddArrayToObject(o, "damage");
	for (unsigned k = 0; k < i->damages; k++) {
		cJSON *one = cJSON_CreateObject();

		cJSON_AddNumberToObject(one, "offset", (double)i->damage[k].offset);
		rqs_json_add_text(one, "what", i->damage[k].what);
		cJSON_AddItemToArray(damage, one);
	}
	cJSON_AddNumberToObject(o, "requests", (double)i->requests);
	rqs_json_add_number(o, "bytes_per_request", bytes_per_request(i));
	cJSON_AddNumberToObject(o, "samples", (double)i->samples);
	cJSON_AddNumberToObject(o, "sites", (double)i->sites);
	cJSON_AddNumberToObject(o, "stacks", (double)i->stacks);
	add_frames_json(o, i);
	cJSON_AddItemToObject(o, "run", copy_or_null(i->run));
	cJSON_AddItemToObject(o, "processes", cJSON_Duplicate(i->processes, true));
	cJSON_AddItemToObject(o, "totals", copy_or_null(i->totals));
	return o;
}
