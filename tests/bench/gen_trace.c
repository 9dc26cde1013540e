/*
 * gen_trace.c - writes a synthetic trace, to measure how fast reports read.
 *
 *   gen_trace FILE REQUESTS [SEED]
 *
 * Eight routes as of a small API at 20,000 requests a second on two
 * processes, latencies log-normal with a tail, some errors and 404s.
 */
#include "collect/encode.h"
#include "collect/writer.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define ROWS 65536u
#define START 1000000000000ull /* ns */
#define REALTIME 1767225600000000000ull
#define RATE 20000.0

static const char *const templates[] = {"/json", "/users/{}", "/alloc",     "/sleep",
					"/db",   "/echo",     "/static/{}", "/health"};
#define ROUTES (sizeof(templates) / sizeof(templates[0]))

static uint64_t state;

static uint64_t next_random(void)
{
	state ^= state << 13;
	state ^= state >> 7;
	state ^= state << 17;
	return state;
}

static double uniform(void)
{
	return (double)(next_random() >> 11) * 0x1p-53;
}

/* The sum of four uniforms is normal enough. */
static double log_normal(double median, double sigma)
{
	double z = (uniform() + uniform() + uniform() + uniform() - 2) * sqrt(3);

	return median * exp(sigma * z);
}

static uint64_t columns[RQS_COL_LIMIT][ROWS];
static const uint8_t request_columns[] = {RQS_COL_TIME,           RQS_COL_PROCESS,     RQS_COL_ROUTE,
					  RQS_COL_STATUS,         RQS_COL_FLAGS,       RQS_COL_QUEUE,
					  RQS_COL_HANDLER,        RQS_COL_SEND,        RQS_COL_REQUEST_BYTES,
					  RQS_COL_RESPONSE_BYTES, RQS_COL_ALLOC_COUNT, RQS_COL_ALLOC_BYTES};

static void fill_row(uint32_t i, uint64_t offset_us)
{
	unsigned route = (unsigned)(uniform() * uniform() * ROUTES);

	columns[RQS_COL_TIME][i] = offset_us;
	columns[RQS_COL_PROCESS][i] = next_random() & 1;
	columns[RQS_COL_ROUTE][i] = route;
	columns[RQS_COL_STATUS][i] = next_random() % 1000 ? 200 : route == 1 ? 404 : 500;
	columns[RQS_COL_FLAGS][i] = 0;
	columns[RQS_COL_QUEUE][i] = (uint64_t)log_normal(20e3, 0.8);
	columns[RQS_COL_HANDLER][i] = (uint64_t)log_normal(150e3 * (route + 1), 0.5);
	columns[RQS_COL_SEND][i] = (uint64_t)log_normal(5e3, 0.5);
	columns[RQS_COL_REQUEST_BYTES][i] = 40 + strlen(templates[route]);
	columns[RQS_COL_RESPONSE_BYTES][i] = 150 + route * 300 + (route == 1 ? next_random() % 64 : 0);
	columns[RQS_COL_ALLOC_COUNT][i] = 20 + route * 3 + next_random() % 4;
	columns[RQS_COL_ALLOC_BYTES][i] = 2048 * (route + 1) + 16 * (next_random() % 32);
}

static void check(int error, const char *what)
{
	if (!error)
		return;
	fprintf(stderr, "gen_trace: %s: %s\n", what, strerror(-error));
	exit(2);
}

static void write_text(struct rqs_writer *w, enum rqs_frame_type type, uint64_t time, const char *text)
{
	check(rqs_writer_append(w, type, time, time, text, strlen(text)), "write");
}

static uint64_t write_requests(struct rqs_writer *w, struct rqs_encoder *e, uint64_t time, uint32_t rows)
{
	double offset = 0;

	for (uint32_t i = 0; i < rows; i++) {
		fill_row(i, (uint64_t)offset);
		offset += -log(1 - uniform()) * 1e6 / RATE;
	}
	rqs_encoder_begin(e, rows);
	for (unsigned i = 0; i < ROUTES; i++)
		rqs_encoder_route(e, RQS_METHOD_GET, templates[i], (uint16_t)strlen(templates[i]));
	for (unsigned i = 0; i < sizeof(request_columns); i++)
		rqs_encoder_column(e, request_columns[i], columns[request_columns[i]]);
	check(rqs_encoder_end(e), "encode");
	uint64_t end = time + (uint64_t)offset * 1000;
	check(rqs_writer_append(w, RQS_FRAME_REQUESTS, time, end, e->bytes, e->length), "write");
	return end;
}

int main(int argc, char **argv)
{
	struct rqs_writer w = {0};
	struct rqs_encoder e;
	char text[1024];
	uint64_t time = START, requests = argc > 2 ? strtoull(argv[2], NULL, 10) : 0;

	if (!requests) {
		fputs("usage: gen_trace FILE REQUESTS [SEED]\n", stderr);
		return 2;
	}
	state = 0x9E3779B97F4A7C15ull ^ (argc > 3 ? strtoull(argv[3], NULL, 10) * 0xBF58476D1CE4E5B9ull : 1);
	check(rqs_writer_open(&w, argv[1], true), argv[1]);
	rqs_encoder_init(&e);
	snprintf(text, sizeof(text),
		 "{\"schema\":\"reqscope.run/1\",\"mode\":\"run\",\"label\":null,\"command\":[\"gen_trace\",\"%s\"],"
		 "\"start_monotonic_ns\":\"%llu\",\"start_realtime_ns\":\"%llu\"}",
		 argc > 3 ? argv[3] : "", START, REALTIME);
	write_text(&w, RQS_FRAME_RUN, START, text);
	for (int i = 0; i < 2; i++) {
		snprintf(text, sizeof(text),
			 "{\"process\":%d,\"pid\":%d,\"ppid\":1,\"start_monotonic_ns\":\"%llu\",\"command\":\"gen\","
			 "\"runtime\":{\"name\":\"native\",\"version\":null}}",
			 i, i + 100, START);
		write_text(&w, RQS_FRAME_PROCESS, START, text);
	}
	for (uint64_t left = requests; left;) {
		uint32_t rows = left < ROWS ? (uint32_t)left : ROWS;

		time = write_requests(&w, &e, time, rows);
		left -= rows;
	}
	snprintf(
	    text, sizeof(text),
	    "{\"reason\":\"exited\",\"end_monotonic_ns\":\"%llu\",\"completeness\":{\"started\":%llu,\"finished\":%llu,"
	    "\"dropped\":0,\"unfinished\":0,\"given_up\":0},\"notes\":[],\"processes\":[]}",
	    (unsigned long long)time, (unsigned long long)requests, (unsigned long long)requests);
	write_text(&w, RQS_FRAME_END, time, text);
	rqs_encoder_free(&e);
	rqs_writer_close(&w);
	return 0;
}
