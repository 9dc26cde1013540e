/*
 * request.h - the life of a request: open in a slot of the region, then
 * committed as a record, dropped or given up. Rules of context: agent.h; all
 * functions run under the connection's lock.
 */
#ifndef REQSCOPE_REQUEST_H
#define REQSCOPE_REQUEST_H

#include "core/agent.h"

/* The agent's part of struct rqs_slot. */
struct rqs_request {
	uint64_t read;      /* ticks */
	uint64_t first_out; /* ticks, 0: no response byte yet */
	uint64_t queue_ns;
	uint64_t read_ns; /* of the clock that arrivals are stamped by; 0: not known */
	uint64_t request_bytes;
	uint64_t response_bytes;
	uint64_t alloc_count; /* kept by the thread meter: the thread's counters at the start, */
	uint64_t alloc_bytes;
	uint64_t forks; /* the process's, at the start */
	uint32_t next;  /* on its connection, or RQS_NO_SLOT */
	uint32_t thread; /* which it was, */
	uint16_t status;
	uint8_t method;
	uint8_t route_length; /* 0: the start line isn't complete */
	bool has_queue;
	bool shared; /* and whether it did other things meanwhile */
	char route[RQS_ROUTE_MAX];
};
_Static_assert(sizeof(struct rqs_request) <= sizeof(((struct rqs_slot *)0)->state), "a request fits its slot");

struct rqs_slot *rqs_slot_at(const struct rqs_agent *agent, uint32_t slot);

static inline struct rqs_request *rqs_request_at(const struct rqs_agent *agent, uint32_t slot)
{
	return (struct rqs_request *)(void *)rqs_slot_at(agent, slot)->state;
}

/* Is this the index of a slot, neither RQS_NO_SLOT nor RQS_BLIND_SLOT? */
static inline bool rqs_request_is_slot(uint32_t slot)
{
	return slot < RQS_BLIND_SLOT;
}

/* Opens a request at the end of the connection's queue; its slot becomes conn->reading. */
void rqs_request_open(const struct rqs_call *call, struct rqs_conn *conn);

/* More has arrived, maybe of the start line of conn->reading; maybe with the stamp that its beginning came without. */
void rqs_request_read_on(const struct rqs_call *call, struct rqs_conn *conn);

/* What the start line told of conn->reading. */
void rqs_request_named(const struct rqs_call *call, struct rqs_conn *conn, uint8_t method, const char *route,
		       size_t length);

/* Is any request open on the connection? */
static inline bool rqs_request_any(const struct rqs_conn *conn)
{
	return conn->first != RQS_NO_SLOT || conn->blind;
}

/* The method of the connection's oldest open request. */
uint8_t rqs_request_method(const struct rqs_call *call, const struct rqs_conn *conn);

/* n bytes of the oldest open request's response went out. */
void rqs_request_answered(const struct rqs_call *call, struct rqs_conn *conn, uint64_t n, uint16_t status);

/* How a request may end. */
enum rqs_ending {
	RQS_ENDING_COMPLETE,
	RQS_ENDING_ABORTED,
	RQS_ENDING_GIVEN_UP,
};

/* Ends the connection's oldest open request. */
void rqs_request_end(const struct rqs_call *call, struct rqs_conn *conn, enum rqs_ending ending);

/* Gives up the youngest open request, the one being read, and leaves the older ones. */
void rqs_request_give_up_reading(const struct rqs_call *call, struct rqs_conn *conn);

#endif
