/*
 * fuzz_merge.c - a trace united with a good one. The outcome must be a whole
 * trace without damage, and have the rows of both.
 */
#include "collect/encode.h"
#include "made_trace.h"
#include "merge/unite.h"

#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define GOOD_ROWS 3

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t length);

struct rows {
	uint64_t requests, samples, sites;
};

/* ---- the good trace ---- */

static void put_text(struct made_trace *t, enum rqs_frame_type type, const char *json)
{
	made_trace_frame(t, type, json, strlen(json));
}

static void put_rows(struct made_trace *t, enum rqs_frame_type type, uint8_t column)
{
	static const uint64_t time[GOOD_ROWS] = {0, 5, 900}, value[GOOD_ROWS] = {1, 2, 1};
	struct rqs_encoder encoder;

	rqs_encoder_init(&encoder);
	rqs_encoder_begin(&encoder, GOOD_ROWS);
	if (type != RQS_FRAME_SAMPLES)
		rqs_encoder_route(&encoder, 0, "/a/{}", 5);
	rqs_encoder_column(&encoder, RQS_COL_TIME, time);
	rqs_encoder_column(&encoder, column, value);
	if (rqs_encoder_end(&encoder))
		abort();
	made_trace_frame(t, type, encoder.bytes, encoder.length);
	rqs_encoder_free(&encoder);
}

static void make_good(struct made_trace *t)
{
	made_trace_start(t);
	put_text(t, RQS_FRAME_RUN, "{\"label\":\"good\",\"start_monotonic_ns\":\"1000\",\"start_realtime_ns\":\"5000\"}");
	put_text(t, RQS_FRAME_PROCESS, "{\"process\":0,\"pid\":7,\"start_monotonic_ns\":\"1000\"}");
	put_text(t, RQS_FRAME_STACKS,
		 "{\"first_frame\":0,\"frames\":[{\"function\":\"malloc\",\"kind\":\"native\"},{\"function\":\"f\"}],"
		 "\"first_stack\":1,\"stacks\":[0,0,1,1]}");
	put_rows(t, RQS_FRAME_REQUESTS, RQS_COL_HANDLER);
	put_rows(t, RQS_FRAME_SAMPLES, RQS_COL_RSS);
	put_rows(t, RQS_FRAME_SITES, RQS_COL_SITE_STACK);
	put_text(t, RQS_FRAME_END,
		 "{\"reason\":\"exited\",\"end_monotonic_ns\":\"2000\",\"completeness\":{},\"connections\":{\"peak\":1},"
		 "\"notes\":[],\"processes\":[{\"process\":0}]}");
}

/* ---- counting ---- */

#define COUNT(what)                                                                                                    \
	static void count_##what(void *context, const struct rqs_frame *frame, const struct rqs_block *block)          \
	{                                                                                                              \
		(void)frame;                                                                                           \
		((struct rows *)context)->what += block->rows;                                                         \
	}
COUNT(requests)
COUNT(samples)
COUNT(sites)
#undef COUNT

/* What nobody asks for isn't read, nor its damage seen. */
static void see_json(void *context, enum rqs_frame_type type, const cJSON *object)
{
	(void)context;
	(void)type;
	(void)object;
}

static void see_stacks(void *context, const cJSON *object)
{
	(void)context;
	(void)object;
}

/* Adds a trace's rows. */
static struct rqs_scan count(char *path, struct rows *rows)
{
	const struct rqs_visitor visitor = {
	    .context = rows,
	    .request_columns = UINT64_MAX,
	    .json = see_json,
	    .requests = count_requests,
	    .samples = count_samples,
	    .stacks = see_stacks,
	    .sites = count_sites,
	};
	struct rqs_reader reader;
	struct rqs_scan scan;

	if (rqs_reader_open(&reader, path))
		abort();
	rqs_scan(&reader, &visitor, &scan);
	rqs_reader_close(&reader);
	return scan;
}

/* ---- uniting ---- */

static void check(struct made_trace *united, char *const *files, bool whole)
{
	struct rows before = {0}, after = {0};

	count(files[0], &before);
	count(files[1], &before);
	struct rqs_scan scan = count(united->path, &after);
	if (scan.damages || scan.version || !scan.run || scan.end != whole || memcmp(&before, &after, sizeof(before)))
		abort();
}

static void unite(char *const *files)
{
	struct rqs_inputs inputs;
	struct made_trace united;

	rqs_inputs_open(&inputs, files, 2, NULL, NULL);
	if (inputs.input[1].fatal)
		abort();
	if (!inputs.input[0].fatal) {
		made_trace_start(&united);
		bool whole = rqs_input_is_whole(&inputs.input[0]);
		char *problem = rqs_unite(&inputs, dup(united.fd));
		if (!problem)
			check(&united, files, whole);
		free(problem);
		close(united.fd);
	}
	rqs_inputs_close(&inputs);
}

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t length)
{
	struct made_trace trace, good;

	if (!length)
		return 0;
	made_trace_of(&trace, bytes, length);
	make_good(&good);
	unite((char *const[]){trace.path, good.path});
	close(good.fd);
	close(trace.fd);
	return 0;
}
