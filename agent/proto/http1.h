/*
 * http1.h - a recogniser of HTTP/1.0 and 1.1 on a byte stream (RFC 9112).
 *
 * Two machines: one for the direction of requests, one for that of
 * responses. Each takes input cut at any byte, keeps no pointer to it, and
 * says what it met, one event a call. Bodies are skipped by their framing,
 * never looked at. Neither checks more than it needs to find the borders of
 * messages: what a lenient server may accept is accepted.
 */
#ifndef REQSCOPE_HTTP1_H
#define REQSCOPE_HTTP1_H

#include "core/core_deps.h"
#include "core/route.h"

/* Longest part of a cut header line that is kept, white space collapsed; a name and value of interest fit. */
#define RQS_LINE_MAX 112u
#define RQS_METHOD_MAX 24u

enum rqs_http1_event {
	RQS_HTTP1_MORE,  /* all input taken; nothing to tell */
	RQS_HTTP1_BEGIN, /* a message's first byte is next (none is taken by this) */
	RQS_HTTP1_START_LINE, /* requests: method and route are known; responses: status is */
	RQS_HTTP1_END,   /* the message's last byte was taken */
	RQS_HTTP1_BAD,   /* this isn't HTTP/1; the machine stays here until reset */
	RQS_HTTP1_TUNNEL, /* responses: the message ended and what follows belongs to another protocol */
};

/* The header section and the body of one message, the same for both directions. */
struct rqs_http1_message {
	uint8_t state;
	bool has_length;
	bool chunked;         /* the last transfer coding is chunked */
	bool transfer_coded;  /* there is a transfer coding */
	bool skip_line;       /* the rest of a line too long to keep */
	bool space;           /* the last kept byte of the line is white space */
	uint8_t field;        /* the header field that a folded line would go on with */
	bool digits;          /* the chunk size has a digit */
	uint8_t line_length;
	uint64_t left;        /* bytes of the body or chunk still to come */
	char line[RQS_LINE_MAX];
};

/* What each message needs stands first in all of these: few lines of the processor's cache are a connection's. */
struct rqs_http1_in {
	uint8_t method; /* enum rqs_method or RQS_METHOD_OTHER, once START_LINE was told */
	uint8_t method_length;
	uint8_t version_length;
	struct rqs_route route;
	struct rqs_http1_message m;
};

struct rqs_http1_out {
	uint8_t line_at;
	uint8_t method; /* of the request being answered; the caller sets it on BEGIN */
	uint16_t status;
	struct rqs_http1_message m;
};

void rqs_http1_in_reset(struct rqs_http1_in *in);
void rqs_http1_out_reset(struct rqs_http1_out *out);

/* Takes input until the next event. Returns the bytes taken, at most n. */
size_t rqs_http1_in(struct rqs_http1_in *in, const uint8_t *p, size_t n, enum rqs_http1_event *event);
size_t rqs_http1_out(struct rqs_http1_out *out, const uint8_t *p, size_t n, enum rqs_http1_event *event);

/*
 * n bytes of the message's body went by unseen (sendfile, splice). Returns how
 * many of them belong to it; fewer than n, with BAD, where the framing forbids it.
 */
uint64_t rqs_http1_in_skip(struct rqs_http1_in *in, uint64_t n, enum rqs_http1_event *event);
uint64_t rqs_http1_out_skip(struct rqs_http1_out *out, uint64_t n, enum rqs_http1_event *event);

/* True when the response is of the kind that the connection's end ends, and its head is complete. */
bool rqs_http1_out_until_close(const struct rqs_http1_out *out);

/* True when both machines are between messages. */
bool rqs_http1_is_idle(const struct rqs_http1_in *in, const struct rqs_http1_out *out);

#endif
