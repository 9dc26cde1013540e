/*
 * test_http1.c - the recogniser: borders of messages, whatever the cuts. Input
 * ends at a page that can't be read, so that a byte too far is a crash.
 */
#include "unit.h"

#include "proto/http1.h"
#include "reqscope/trace_format.h"

#include <stdlib.h>
#include <sys/mman.h>

struct seen {
	unsigned begun, ended, bad, tunnels;
	unsigned status;
	size_t end_at; /* offset behind the last ended message */
	uint8_t method;
	char route[RQS_ROUTE_MAX + 1];
};

static void note(struct seen *seen, enum rqs_http1_event event, size_t at)
{
	seen->begun += event == RQS_HTTP1_BEGIN;
	seen->bad += event == RQS_HTTP1_BAD;
	seen->tunnels += event == RQS_HTTP1_TUNNEL;
	if (event == RQS_HTTP1_END) {
		seen->ended++;
		seen->end_at = at;
	}
}

static bool feed_in(struct rqs_http1_in *in, struct seen *seen, const uint8_t *p, size_t n, size_t *at)
{
	while (n) {
		enum rqs_http1_event event;
		size_t taken = rqs_http1_in(in, p, n, &event);

		p += taken;
		n -= taken;
		*at += taken;
		note(seen, event, *at);
		if (event == RQS_HTTP1_START_LINE) {
			seen->method = in->method;
			memcpy(seen->route, in->route.text, in->route.length);
			seen->route[in->route.length] = 0;
		}
		if (event == RQS_HTTP1_BAD)
			return false;
	}
	return true;
}

static bool feed_out(struct rqs_http1_out *out, struct seen *seen, uint8_t method, const uint8_t *p, size_t n, size_t *at)
{
	while (n) {
		enum rqs_http1_event event;
		size_t taken = rqs_http1_out(out, p, n, &event);

		p += taken;
		n -= taken;
		*at += taken;
		note(seen, event, *at);
		if (event == RQS_HTTP1_BEGIN)
			out->method = method;
		if (event == RQS_HTTP1_START_LINE)
			seen->status = out->status;
		if (event == RQS_HTTP1_BAD || event == RQS_HTTP1_TUNNEL)
			return false;
	}
	return true;
}

/* Requests fed in pieces: `piece` bytes each, or cut once at `cut` when piece is 0. */
static struct seen requests(const char *text, size_t length, size_t piece, size_t cut)
{
	struct rqs_http1_in in;
	struct seen seen = { 0 };
	size_t at = 0;

	memset(&in, 0xa5, sizeof(in));
	rqs_http1_in_reset(&in);
	for (size_t from = 0, n; from < length; from += n) {
		n = piece ? piece : from < cut ? cut : length - from;
		if (n > length - from)
			n = length - from;
		const uint8_t *p = at_page_end(text + from, n);
		if (!feed_in(&in, &seen, p, n, &at))
			break;
	}
	return seen;
}

static struct seen responses(const char *text, size_t length, uint8_t method, size_t piece, size_t cut)
{
	struct rqs_http1_out out;
	struct seen seen = { 0 };
	size_t at = 0;

	memset(&out, 0xa5, sizeof(out));
	rqs_http1_out_reset(&out);
	for (size_t from = 0, n; from < length; from += n) {
		n = piece ? piece : from < cut ? cut : length - from;
		if (n > length - from)
			n = length - from;
		const uint8_t *p = at_page_end(text + from, n);
		if (!feed_out(&out, &seen, method, p, n, &at))
			break;
	}
	return seen;
}

struct request_case {
	const char *text;
	unsigned begun, ended, bad;
	uint8_t method;
	const char *route;
};

static const struct request_case request_cases[] = {
	{ "GET /a HTTP/1.1\r\nHost: x\r\n\r\n", 1, 1, 0, RQS_METHOD_GET, "/a" },
	{ "GET /a?b=c HTTP/1.0\r\n\r\n", 1, 1, 0, RQS_METHOD_GET, "/a" },
	{ "\r\n\r\nGET / HTTP/1.1\r\n\r\n", 1, 1, 0, RQS_METHOD_GET, "/" },
	{ "GET /x HTTP/1.1\nHost: x\n\n", 1, 1, 0, RQS_METHOD_GET, "/x" },
	{ "POST /p HTTP/1.1\r\nContent-Length: 5\r\n\r\nhello", 1, 1, 0, RQS_METHOD_POST, "/p" },
	{ "POST /p HTTP/1.1\r\ncontent-LENGTH:\t 5 \r\n\r\nhelloGET /two HTTP/1.1\r\n\r\n", 2, 2, 0, RQS_METHOD_GET, "/two" },
	{ "POST /p HTTP/1.1\r\nContent-Length: 0\r\n\r\n", 1, 1, 0, RQS_METHOD_POST, "/p" },
	{ "POST /c HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n", 1, 1, 0, RQS_METHOD_POST, "/c" },
	{ "PUT /c HTTP/1.1\r\nTransfer-Encoding: gzip, chunked\r\n\r\nA;ext=\"1\"\r\n0123456789\r\n0\r\nT: 1\r\n\r\n"
	  "GET /n HTTP/1.1\r\n\r\n", 2, 2, 0, RQS_METHOD_GET, "/n" },
	{ "GET /1 HTTP/1.1\r\n\r\nGET /a HTTP/1.1\r\n\r\nGET /b HTTP/1.1\r\n\r\n", 3, 3, 0, RQS_METHOD_GET, "/b" },
	{ "POST /f HTTP/1.1\r\nContent-Length:\r\n  5\r\nA: b\r\n 77\r\n\r\nhello", 1, 1, 0, RQS_METHOD_POST, "/f" },
	{ "POST /f HTTP/1.1\r\nTransfer-Encoding: gzip,\r\n\tchunked\r\n\r\n0\r\n\r\n", 1, 1, 0, RQS_METHOD_POST, "/f" },
	{ "GET /h HTTP/1.1\r\nHost: example.org\r\nUser-Agent: something/1.0 (of some length)\r\nAccept: */*\r\n"
	  "Content-Length: 3\r\nX: y\r\n\r\nabc", 1, 1, 0, RQS_METHOD_GET, "/h" },
	{ "OPTIONS * HTTP/1.1\r\n\r\n", 1, 1, 0, RQS_METHOD_OPTIONS, "*" },
	{ "GET http://h:1/a/b?x HTTP/1.1\r\n\r\n", 1, 1, 0, RQS_METHOD_GET, "/a/b" },
	{ "GET https://host HTTP/1.1\r\n\r\n", 1, 1, 0, RQS_METHOD_GET, "/" },
	{ "CONNECT h:443 HTTP/1.1\r\n\r\n", 1, 1, 0, RQS_METHOD_CONNECT, "{}" },
	{ "BREW /pot HTTP/1.1\r\n\r\n", 1, 1, 0, RQS_METHOD_OTHER, "/pot" },
	{ "GET /a HTTP/1.1\r\nContent-Length: 5\r\nContent-Length: 5\r\n\r\nhello", 1, 1, 0, RQS_METHOD_GET, "/a" },
	{ "GET /a HTTP/1.1\r\nContent-Length: 5\r\nContent-Length: 6\r\n\r\nhello", 1, 0, 1, RQS_METHOD_GET, "/a" },
	{ "GET /a HTTP/1.1\r\nContent-Length: -1\r\n\r\n", 1, 0, 1, RQS_METHOD_GET, "/a" },
	{ "GET /a HTTP/1.1\r\nContent-Length: 99999999999999999999999\r\n\r\n", 1, 0, 1, RQS_METHOD_GET, "/a" },
	{ "POST /c HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\nxyz\r\n", 1, 0, 1, RQS_METHOD_POST, "/c" },
	{ "POST /c HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhelloGET", 1, 0, 1, RQS_METHOD_POST, "/c" },
	{ "PUT /t HTTP/1.1\r\nTE: x\r\nTrailer: T\r\nTRANSFER-ENCODING: CHUNKED\r\nC: d\r\n\r\n0\r\n\r\n", 1, 1, 0, RQS_METHOD_PUT, "/t" },
	{ "GET /n HTTP/1.1\r\nContent\rLength: 5\r\nContent-Type: a\r\nContent-Lengthy: 7\r\nContent\nC:\r\n\r\n", 1, 1, 0, RQS_METHOD_GET, "/n" },
	{ "GET /n HTTP/1.1\r\nTransfer-Encodin: chunked\r\nTransfer-Encodin\x07: chunked\r\n\r\n", 1, 1, 0, RQS_METHOD_GET, "/n" },
	{ "GET /s HTTP/1.1\r\nCookie: 0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef\r\n"
	  "content-length: 3\r\nConnection: close\r\n\r\nabcGET /z HTTP/1.1\r\n\r\n", 2, 2, 0, RQS_METHOD_GET, "/z" },
	{ "\x16\x03\x01\x02", 1, 0, 1, 0, "" },
	{ "*3\r\n$3\r\nSET\r\n", 1, 0, 1, 0, "" },
	{ "GET /a\r\n", 1, 0, 1, RQS_METHOD_GET, "" },
	{ "GET a HTTP/1.1\r\n\r\n", 1, 0, 1, 0, "" },
	{ "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", 1, 0, 1, 0, "" },
	{ "HELO mail.example.org\r\n", 1, 0, 1, 0, "" },
};

static void check_request(const struct request_case *c, const struct seen *s)
{
	assert_int_equal(s->begun, c->begun);
	assert_int_equal(s->ended, c->ended);
	assert_int_equal(s->bad, c->bad);
	if (c->ended || c->route[0]) {
		if (c->ended)
			assert_int_equal(s->end_at, strlen(c->text));
		if (s->route[0]) {
			assert_string_equal(s->route, c->route);
			assert_int_equal(s->method, c->method);
		}
	}
}

static void requests_survive_any_cut(void **state)
{
	(void)state;
	for (size_t i = 0; i < sizeof(request_cases) / sizeof(request_cases[0]); i++) {
		const struct request_case *c = &request_cases[i];
		size_t n = strlen(c->text);

		for (size_t cut = 1; cut <= n; cut++) {
			struct seen s = requests(c->text, n, 0, cut);
			check_request(c, &s);
		}
		for (size_t piece = 1; piece < 8; piece++) {
			struct seen s = requests(c->text, n, piece, 0);
			check_request(c, &s);
		}
	}
}

struct response_case {
	const char *text;
	uint8_t method;
	unsigned begun, ended, bad, tunnels, status;
};

static const struct response_case response_cases[] = {
	{ "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok", RQS_METHOD_GET, 1, 1, 0, 0, 200 },
	{ "HTTP/1.1 200\r\nContent-Length: 0\r\n\r\n", RQS_METHOD_GET, 1, 1, 0, 0, 200 },
	{ "HTTP/1.1 200 OK\r\nContent-Length: 20\r\n\r\n", RQS_METHOD_HEAD, 1, 1, 0, 0, 200 },
	{ "HTTP/1.1 204 No Content\r\n\r\n", RQS_METHOD_GET, 1, 1, 0, 0, 204 },
	{ "HTTP/1.1 304 Not Modified\r\nContent-Length: 20\r\n\r\n", RQS_METHOD_GET, 1, 1, 0, 0, 304 },
	{ "HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 103 Early Hints\r\nLink: x\r\n\r\nHTTP/1.1 201 C\r\nContent-Length: 1\r\n\r\nx",
	  RQS_METHOD_POST, 1, 1, 0, 0, 201 },
	{ "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n00\r\n\r\n", RQS_METHOD_GET, 1, 1, 0, 0, 200 },
	{ "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nContent-Length: 3\r\n\r\n1\r\na\r\n0\r\nTr: x\r\nTr2: y\r\n\r\n",
	  RQS_METHOD_GET, 1, 1, 0, 0, 200 },
	{ "HTTP/1.1 200 OK\r\n\r\nuntil the end", RQS_METHOD_GET, 1, 0, 0, 0, 200 },
	{ "HTTP/1.0 404 Not Found\r\nContent-Length: 2\r\n\r\nno", RQS_METHOD_GET, 1, 1, 0, 0, 404 },
	{ "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\n\r\n", RQS_METHOD_GET, 1, 0, 0, 1, 0 },
	{ "HTTP/1.1 200 Connected\r\n\r\n", RQS_METHOD_CONNECT, 1, 0, 0, 1, 200 },
	{ "SSH-2.0-OpenSSH\r\n", RQS_METHOD_GET, 1, 0, 1, 0, 0 },
	{ "HTTP/1.1 OK\r\n\r\n", RQS_METHOD_GET, 1, 0, 1, 0, 0 },
};

static void check_response(const struct response_case *c, const struct seen *s)
{
	assert_int_equal(s->begun, c->begun);
	assert_int_equal(s->ended, c->ended);
	assert_int_equal(s->bad, c->bad);
	assert_int_equal(s->tunnels, c->tunnels);
	assert_int_equal(s->status, c->status);
	if (c->ended)
		assert_int_equal(s->end_at, strlen(c->text));
}

static void responses_survive_any_cut(void **state)
{
	(void)state;
	for (size_t i = 0; i < sizeof(response_cases) / sizeof(response_cases[0]); i++) {
		const struct response_case *c = &response_cases[i];
		size_t n = strlen(c->text);

		for (size_t cut = 1; cut <= n; cut++) {
			struct seen s = responses(c->text, n, c->method, 0, cut);
			check_response(c, &s);
		}
		for (size_t piece = 1; piece < 8; piece++) {
			struct seen s = responses(c->text, n, c->method, piece, 0);
			check_response(c, &s);
		}
	}
}

/* A body that looks like requests is a body; a head of 64 KiB is a head. */
static void bodies_are_not_looked_at(void **state)
{
	static const char text[] = "POST /p HTTP/1.1\r\nContent-Length: 27\r\n\r\nGET /fake HTTP/1.1\r\nA: b\r\n\r\n";
	struct seen s = requests(text, sizeof(text) - 2, 0, 1000);

	(void)state;
	assert_int_equal(s.begun, 1);
	assert_int_equal(s.ended, 1);
	assert_string_equal(s.route, "/p");
}

static void a_long_head_is_a_head(void **state)
{
	size_t padding = 70000, n = 0;
	char *text = malloc(padding + 200);

	(void)state;
	n += (size_t)sprintf(text, "GET /long HTTP/1.1\r\nX-Padding: ");
	memset(text + n, 'a', padding);
	n += padding;
	n += (size_t)sprintf(text + n, "\r\nContent-Length: 3\r\n\r\nabc");
	for (size_t piece = 1000; piece < 80000; piece += 7919) {
		struct seen s = requests(text, n, piece, 0);
		assert_int_equal(s.ended, 1);
		assert_int_equal(s.end_at, n);
		assert_string_equal(s.route, "/long");
	}
	free(text);
}

/* White space in a cut header can't push its value out of what is kept. */
static void padded_values_are_found_when_cut(void **state)
{
	char text[600];
	int n = sprintf(text, "POST /w HTTP/1.1\r\nTransfer-Encoding:%300schunked\r\n\r\n1\r\na\r\n0\r\n\r\n", "");

	(void)state;
	for (size_t cut = 1; cut < (size_t)n; cut++) {
		struct seen s = requests(text, (size_t)n, 0, cut);
		assert_int_equal(s.ended, 1);
		assert_int_equal(s.end_at, n);
	}
}

static void sendfile_counts_as_body(void **state)
{
	static const char head[] = "HTTP/1.1 200 OK\r\nContent-Length: 1000\r\n\r\n";
	struct rqs_http1_out out;
	struct seen seen = { 0 };
	enum rqs_http1_event event;
	size_t at = 0;

	(void)state;
	rqs_http1_out_reset(&out);
	feed_out(&out, &seen, RQS_METHOD_GET, (const uint8_t *)head, sizeof(head) - 1, &at);
	assert_int_equal(rqs_http1_out_skip(&out, 600, &event), 600);
	assert_int_equal(event, RQS_HTTP1_MORE);
	assert_int_equal(rqs_http1_out_skip(&out, 400, &event), 400);
	assert_int_equal(event, RQS_HTTP1_END);
	/* The next response may follow at once; bytes unseen between responses are an error. */
	feed_out(&out, &seen, RQS_METHOD_GET, (const uint8_t *)head, sizeof(head) - 1, &at);
	assert_int_equal(rqs_http1_out_skip(&out, 1001, &event), 0);
	assert_int_equal(event, RQS_HTTP1_BAD);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(requests_survive_any_cut),
		cmocka_unit_test(responses_survive_any_cut),
		cmocka_unit_test(bodies_are_not_looked_at),
		cmocka_unit_test(a_long_head_is_a_head),
		cmocka_unit_test(padded_values_are_found_when_cut),
		cmocka_unit_test(sendfile_counts_as_body),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
