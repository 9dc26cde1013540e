/*
 * http1_protocol.c - HTTP/1 on a connection: turns what the recogniser met
 * into the life of requests.
 */
#include "core/agent.h"
#include "core/request.h"
#include "proto/http1.h"
#include "proto/protocol.h"

static void start(struct rqs_conn *conn)
{
	rqs_http1_in_reset(&conn->http1.in);
	rqs_http1_out_reset(&conn->http1.out);
}

static void arrived(const struct rqs_call *call, const struct rqs_conn *conn, uint64_t n)
{
	if (rqs_request_is_slot(conn->reading))
		rqs_request_at(call->agent, conn->reading)->request_bytes += n;
}

/* What arrived isn't HTTP/1. Older requests of the connection may still be answered. */
static void input_bad(const struct rqs_call *call, struct rqs_conn *conn)
{
	rqs_request_give_up_reading(call, conn);
	conn->input_ended = true;
	if (!rqs_request_any(conn)) {
		rqs_count(call->agent, RQS_EVENT_UNSUPPORTED);
		rqs_conn_lose_interest(call, conn);
	}
}

static void input(const struct rqs_call *call, struct rqs_conn *conn, const uint8_t *p, size_t n)
{
	struct rqs_http1_in *in = &conn->http1.in;
	enum rqs_http1_event event;
	size_t at = 0;

	rqs_request_read_on(call, conn);
	while (at < n) {
		size_t taken = rqs_http1_in(in, p + at, n - at, &event);

		at += taken;
		arrived(call, conn, taken);
		switch (event) {
		case RQS_HTTP1_BEGIN:
			rqs_request_open(call, conn);
			break;
		case RQS_HTTP1_START_LINE:
			rqs_request_named(call, conn, in->method, in->route.text, in->route.length);
			break;
		case RQS_HTTP1_END:
			conn->reading = RQS_NO_SLOT;
			break;
		case RQS_HTTP1_BAD:
			input_bad(call, conn);
			return;
		default:
			break;
		}
	}
}

static void output_tunnel(const struct rqs_call *call, struct rqs_conn *conn)
{
	rqs_request_end(call, conn, RQS_ENDING_COMPLETE);
	rqs_conn_lose_interest(call, conn);
}

static void output_bad(const struct rqs_call *call, struct rqs_conn *conn)
{
	rqs_count(call->agent, RQS_EVENT_UNSUPPORTED);
	rqs_conn_lose_interest(call, conn);
}

/* The oldest request's response is complete. */
static void output_end(const struct rqs_call *call, struct rqs_conn *conn)
{
	rqs_request_end(call, conn, RQS_ENDING_COMPLETE);
	if (conn->input_ended && !rqs_request_any(conn))
		rqs_conn_lose_interest(call, conn);
}

static void output(const struct rqs_call *call, struct rqs_conn *conn, const uint8_t *p, size_t n)
{
	struct rqs_http1_out *out = &conn->http1.out;
	enum rqs_http1_event event;

	/* Without a request it is a server's parting word (408, say): not a response that is owed. */
	while (n && rqs_request_any(conn)) {
		size_t taken = rqs_http1_out(out, p, n, &event);

		p += taken;
		n -= taken;
		if (taken)
			rqs_request_answered(call, conn, taken, out->status);
		switch (event) {
		case RQS_HTTP1_BEGIN:
			out->method = rqs_request_method(call, conn);
			break;
		case RQS_HTTP1_END:
			output_end(call, conn);
			break;
		case RQS_HTTP1_TUNNEL:
			output_tunnel(call, conn);
			return;
		case RQS_HTTP1_BAD:
			output_bad(call, conn);
			return;
		default:
			break;
		}
	}
}

static void input_unseen(const struct rqs_call *call, struct rqs_conn *conn, uint64_t n)
{
	enum rqs_http1_event event;

	arrived(call, conn, rqs_http1_in_skip(&conn->http1.in, n, &event));
	if (event == RQS_HTTP1_END)
		conn->reading = RQS_NO_SLOT;
	else if (event == RQS_HTTP1_BAD)
		input_bad(call, conn);
}

static void output_unseen(const struct rqs_call *call, struct rqs_conn *conn, uint64_t n)
{
	enum rqs_http1_event event;

	if (!rqs_request_any(conn))
		return;
	uint64_t taken = rqs_http1_out_skip(&conn->http1.out, n, &event);
	rqs_request_answered(call, conn, taken, conn->http1.out.status);
	if (event == RQS_HTTP1_END)
		output_end(call, conn);
	else if (event == RQS_HTTP1_BAD)
		output_bad(call, conn);
}

static void output_ended(const struct rqs_call *call, struct rqs_conn *conn)
{
	if (rqs_request_any(conn) && rqs_http1_out_until_close(&conn->http1.out)) {
		rqs_http1_out_reset(&conn->http1.out);
		output_end(call, conn);
	}
}

static bool is_idle(const struct rqs_conn *conn)
{
	return rqs_http1_is_idle(&conn->http1.in, &conn->http1.out);
}

const struct rqs_protocol rqs_protocol_http1 = {
	.name = "http/1",
	.start = start,
	.input = input,
	.output = output,
	.input_unseen = input_unseen,
	.output_unseen = output_unseen,
	.output_ended = output_ended,
	.is_idle = is_idle,
};
