/*
 * connection.h - the table of connections by descriptor, and what the hooks
 * tell of each. Rules of context: agent.h.
 *
 * An entry of zeroes is a descriptor never looked at. Descriptors made by dup
 * share the entry of the first (kind ALIAS points to it).
 */
#ifndef REQSCOPE_CONNECTION_H
#define REQSCOPE_CONNECTION_H

#include "core/core_deps.h"
#include "proto/http1.h"

struct rqs_agent;
struct rqs_call;
struct rqs_protocol;

#define RQS_NO_SLOT UINT32_MAX
#define RQS_BLIND_SLOT (UINT32_MAX - 1) /* a request that found no slot */
#define RQS_DESCRIPTORS 1048576u

enum rqs_conn_kind {
	RQS_CONN_UNKNOWN = 0, /* never looked at: served if it reads a request head before it writes */
	RQS_CONN_SERVED,
	RQS_CONN_LISTENER,
	RQS_CONN_ALIAS, /* its state is in the entry `target` */
	RQS_CONN_RESYNC, /* served since before the attach, in the middle of something: until its next request begins */
	RQS_CONN_OTHER, /* of no interest until it is closed */
	RQS_CONN_PASSED, /* accepted by another recorded process: as UNKNOWN, but its reads bring arrival times */
};

struct rqs_conn {
	uint64_t lock;  /* 0, or the epoch of the process whose thread holds it */
	uint64_t epoch; /* of the process that the state belongs to */
	uint8_t kind;   /* enum rqs_conn_kind; may be read without the lock as a first guess */
	bool served;    /* counted as an open connection */
	bool input_ended; /* what arrives is no longer looked at; interest is lost with the last open request */
	bool stamped;     /* its reads bring the kernel's arrival time: the hooks asked for it (hook/arrival.h) */
	bool unstamped;   /* and took it back; what a listener accepts may still have it */
	bool awaits_stamp; /* the request that arrives began with a read without one: the next brings it */
	bool preceded;    /* RESYNC: the response to a request from before the attach was seen, and that is counted */
	uint32_t target;  /* ALIAS: descriptor of the entry that holds the state */
	uint32_t aliases; /* how many entries point here */
	/* Open requests in their order: slots chained by `next`, then those that found no slot. */
	uint32_t first, last;
	uint32_t blind;
	uint64_t blind_heads; /* bit i: the i-th of them is a HEAD request */
	uint32_t reading;     /* slot of the request whose message is arriving, RQS_NO_SLOT or RQS_BLIND_SLOT */
	const struct rqs_protocol *protocol;
	union {
		struct {
			struct rqs_http1_in in;
			struct rqs_http1_out out;
		} http1;
		uint64_t room[63]; /* entries begin where lines of the cache do */
	};
};
_Static_assert(sizeof(struct rqs_conn) % 64 == 0, "whole lines");
_Static_assert(sizeof(struct rqs_conn) <= 768, "at most 1 KiB a connection, table and request together");

/* The connection is of no more interest until it is closed; requests still open on it are given up. Under its lock. */
void rqs_conn_lose_interest(const struct rqs_call *call, struct rqs_conn *conn);

/*
 * Is a descriptor of this kind worth telling of what is read from or written
 * to it? A first guess, made without the lock, that spares other traffic.
 */
static inline bool rqs_conn_matters(uint8_t kind)
{
	return kind == RQS_CONN_SERVED || kind == RQS_CONN_UNKNOWN || kind == RQS_CONN_ALIAS ||
	       kind == RQS_CONN_RESYNC || kind == RQS_CONN_PASSED;
}

/* The entry that holds fd's state, or NULL. */
struct rqs_conn *rqs_conn_of(const struct rqs_agent *agent, int fd);

/* Data read from or written to fd, after the call; n > 0. */
void rqs_conn_input(const struct rqs_call *call, int fd, const void *p, size_t n);
void rqs_conn_output(const struct rqs_call *call, int fd, const void *p, size_t n);
/* n > 0 bytes written to fd, or read from it, that were not seen (sendfile, splice). */
void rqs_conn_output_unseen(const struct rqs_call *call, int fd, uint64_t n);
void rqs_conn_input_unseen(const struct rqs_call *call, int fd, uint64_t n);
/* fd is used from now on in ways that can't be seen: its open requests are given up. */
void rqs_conn_unseen(const struct rqs_call *call, int fd);

void rqs_conn_listening(const struct rqs_call *call, int fd);
void rqs_conn_accepted(const struct rqs_call *call, int fd);
/* fd was received from a process of ours that has accepted it, with stamps; rqs_conn_forget(fd) was told before. */
void rqs_conn_passed(const struct rqs_call *call, int fd);
/* fd was connected outwards. */
void rqs_conn_not_served(const struct rqs_call *call, int fd);
void rqs_conn_forget(const struct rqs_call *call, int fd);
/* Before fd is closed. */
void rqs_conn_closing(const struct rqs_call *call, int fd);
/* The server will send no more on fd. */
void rqs_conn_output_ended(const struct rqs_call *call, int fd);
/* to is now a second descriptor of from; rqs_conn_closing(to) was told before. */
void rqs_conn_duplicated(const struct rqs_call *call, int from, int to);

#endif
