/*
 * fuzz_http1.c - the recogniser: whatever the bytes and wherever they are cut,
 * it takes no more than it is given, comes to an end, and finds the same
 * messages in one piece as in many.
 */
#include "proto/http1.h"

#include <stdlib.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t length);

#define EVENTS_MAX 4096

struct told {
	struct {
		enum rqs_http1_event event;
		size_t at;
	} event[EVENTS_MAX];
	size_t count;
	bool over;
};

static void tell(struct told *told, enum rqs_http1_event event, size_t at)
{
	if (event == RQS_HTTP1_MORE || told->count == EVENTS_MAX)
		return;
	told->event[told->count].event = event;
	told->event[told->count].at = at;
	told->count++;
	told->over = event == RQS_HTTP1_BAD || event == RQS_HTTP1_TUNNEL;
}

union machine {
	struct rqs_http1_in in;
	struct rqs_http1_out out;
};

/* Feeds a piece that begins at offset `at` of the whole. */
static void feed(union machine *m, bool out, uint8_t method, const uint8_t *p, size_t n, size_t at, struct told *told)
{
	unsigned idle = 0;

	while (n && !told->over) {
		enum rqs_http1_event event;
		size_t taken = out ? rqs_http1_out(&m->out, p, n, &event) : rqs_http1_in(&m->in, p, n, &event);

		if (taken > n)
			abort();
		idle = taken ? 0 : idle + 1;
		if (idle > 4)
			abort(); /* it would never end */
		p += taken;
		n -= taken;
		at += taken;
		if (out && event == RQS_HTTP1_BEGIN)
			m->out.method = method;
		if (!out && event == RQS_HTTP1_START_LINE && m->in.route.length > RQS_ROUTE_MAX)
			abort();
		tell(told, event, at);
	}
}

static void start(union machine *m, bool out)
{
	memset(m, 0x5a, sizeof(*m));
	if (out)
		rqs_http1_out_reset(&m->out);
	else
		rqs_http1_in_reset(&m->in);
}

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t length)
{
	static struct told whole, pieces;
	union machine m;

	if (length < 3)
		return 0;
	bool out = bytes[0] & 1;
	uint8_t method = bytes[0] >> 1 & 15;
	size_t piece = 1 + bytes[1] % 61;
	const uint8_t *text = bytes + 2;
	size_t n = length - 2;

	whole.count = pieces.count = 0;
	whole.over = pieces.over = false;
	start(&m, out);
	feed(&m, out, method, text, n, 0, &whole);
	start(&m, out);
	for (size_t at = 0; at < n; at += piece) {
		size_t part = piece < n - at ? piece : n - at;
		/* A block of its own, so that a byte read too far is seen. */
		uint8_t *copy = malloc(part);

		memcpy(copy, text + at, part);
		feed(&m, out, method, copy, part, at, &pieces);
		free(copy);
	}
	if (whole.count != pieces.count)
		abort();
	for (size_t i = 0; i < whole.count; i++) {
		bool bad = whole.event[i].event == RQS_HTTP1_BAD;

		/* Where a malformed message is noticed may differ; that it is, not. */
		if (whole.event[i].event != pieces.event[i].event || (!bad && whole.event[i].at != pieces.event[i].at))
			abort();
	}
	return 0;
}
