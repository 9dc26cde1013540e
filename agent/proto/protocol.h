/*
 * protocol.h - what a protocol is to a connection, and the list of them.
 *
 * One more protocol is one more file and one line in RQS_PROTOCOL_LIST; its
 * state goes into the union of struct rqs_conn. All functions run under the
 * connection's lock.
 */
#ifndef REQSCOPE_PROTOCOL_H
#define REQSCOPE_PROTOCOL_H

#include "core/connection.h"

struct rqs_protocol {
	const char *name;
	void (*start)(struct rqs_conn *conn);
	/* Bytes that came or went; all are taken. They may end the connection's interest (rqs_conn_lose_interest). */
	void (*input)(const struct rqs_call *call, struct rqs_conn *conn, const uint8_t *p, size_t n);
	void (*output)(const struct rqs_call *call, struct rqs_conn *conn, const uint8_t *p, size_t n);
	/* n bytes that weren't seen. */
	void (*input_unseen)(const struct rqs_call *call, struct rqs_conn *conn, uint64_t n);
	void (*output_unseen)(const struct rqs_call *call, struct rqs_conn *conn, uint64_t n);
	/* The server sends no more: ends the responses that this ends. */
	void (*output_ended)(const struct rqs_call *call, struct rqs_conn *conn);
	/* True between messages, with nothing owed to either side. */
	bool (*is_idle)(const struct rqs_conn *conn);
};

/* X(symbol): extern const struct rqs_protocol rqs_protocol_<symbol>. A connection starts with the first. */
#define RQS_PROTOCOL_LIST(X) X(http1)

#define RQS_DECLARE_PROTOCOL(symbol) extern const struct rqs_protocol rqs_protocol_##symbol;
RQS_PROTOCOL_LIST(RQS_DECLARE_PROTOCOL)
#undef RQS_DECLARE_PROTOCOL

#endif
