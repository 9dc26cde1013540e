/*
 * py.h - the agent in CPython: allocations, CPU time and waits for the GIL,
 * each charged to the request on whose behalf it happens, also where many
 * requests take turns on one thread.
 *
 * How it is known. A context variable of ours holds a number that names a
 * request, a connection or a thread. Python itself hands it on: to tasks, to
 * gather(), to_thread() and anyio's workers. The hooks of the allocators look
 * whether the current context is still the one they last looked into, and
 * read the variable only when it isn't. Source of the design: shared
 * prototypes; docs.python.org/3/library/contextvars.html.
 *
 * What is charged late, to a request that has ended, is `after_response`.
 */
#ifndef REQSCOPE_PY_H
#define REQSCOPE_PY_H

#include "core/agent.h"
#include "core/request.h"
#include "python/py_api.h"

/* A request's costs, by its slot in the region. */
struct rqs_py_request {
	uint32_t live; /* its id, 0 when it has ended */
	uint32_t id;   /* of the last request in this slot, from 1 */
	int fd;
	bool handed_over;  /* to another thread or task, in a way that can't be followed */
	uint64_t sequence; /* counts all requests of the process */
	uint64_t allocators; /* Python's when it began (py_allocators.c) */
	/* Written by whoever holds the GIL, */
	uint64_t alloc_count;
	uint64_t alloc_bytes;
	/* and with atomic adds by anybody: malloc called by C code, which may not. */
	uint64_t raw_count;
	uint64_t raw_bytes;
	uint64_t recv_bytes;
	uint64_t cpu_ticks;
	uint64_t cpu_ns;
	uint64_t gil_ticks;
	uint64_t loop_ticks; /* UINT64_MAX: not measured */
};

/* A thread; zero is its start. */
struct rqs_py_thread {
	/* What the owner was resolved from. state NULL: look again. */
	void *state;
	uint64_t version;
	void *variables;
	void *context;
	/* The request that what happens now is for, and its id; NULL: nobody's. */
	struct rqs_py_request *owner;
	uint32_t owner_id;
	int owner_fd; /* where it has ended: its descriptor */
	/* The request that this thread has read last, and serves if it isn't an event loop's. */
	struct rqs_py_request *served;
	uint32_t served_id;
	struct rqs_thread *counters; /* of the thread, in the region; NULL: not found yet, in this process */
	bool inside;       /* a call of ours, or one whose allocation is counted already */
	bool saw_malloc;   /* called meanwhile */
	bool is_loop;      /* it has waited for several descriptors at once */
	bool is_main;
	bool known;        /* the two above are set */
	bool aftermath;    /* its last request has ended, and it hasn't waited for the next one yet */
	bool hands_over;   /* the requests that it reads are served by others */
	uint32_t number;   /* of its thread slot, 0 none yet */
	int last_fd;       /* read from since the loop woke, -1 none */
	void *accept_context; /* values that are set there are the connection's, not its own */
	void *shared_context; /* of a loop that has one for all connections, NULL: none such seen */
	uint64_t since;       /* ticks (loops) or ns of CPU time (others) from when on the owner is to be charged; 0 off */
	uint64_t wait_began, wait_ended; /* ticks; of an event loop */
	/* The last big allocation: a receive buffer is told by a read into it, and cut to size afterwards. */
	char *big;
	size_t big_size;
	bool big_received;
};
extern _Thread_local struct rqs_py_thread rqs_py_self;

/* Set once: the allocators are wrapped, and the context variable is there. */
extern bool rqs_py_on;

extern const struct rqs_meter rqs_meter_python;

/*
 * When the process turns out to be a server: installs all this, if the
 * interpreter is there. May be called again; holds the GIL meanwhile.
 * False: it can't be measured here (yet).
 */
bool rqs_py_install(void);

/* ---- told by the interposers, where rqs_py_on ---- */

void rqs_py_accepted(int fd);
void rqs_py_closing(int fd);
/* Before the core is told: bytes came from fd to that memory. */
void rqs_py_received(int fd, const void *memory);
/* A read to that memory brought nothing. */
void rqs_py_received_nothing(const void *memory);
/* The calling thread waits for what comes next, or has got it: it is done with the request before. */
static inline void rqs_py_next(void)
{
	if (rqs_py_self.aftermath) {
		rqs_py_self.aftermath = false;
		rqs_py_self.state = NULL;
	}
}

/* Does the calling thread, not an event loop's, have a request open that it has read? */
bool rqs_py_is_serving(void);
/* The calling thread reads requests for other threads to serve: what it does isn't all of them. */
void rqs_py_hands_over(void);
void rqs_py_wait_begins(void);
void rqs_py_wait_ends(void);
/* C code's own call of the malloc family. */
void rqs_py_raw_allocated(size_t bytes);

/* ---- between its own files ---- */

/* The request that the calling thread works for: makes sure that owner is right. With the GIL. */
void rqs_py_resolve(struct rqs_py_thread *thread, void *state);
/* Charges the owner so far and makes another (or NULL) the owner. */
void rqs_py_switch(struct rqs_py_thread *thread, struct rqs_py_request *request, uint32_t id);
bool rqs_py_context_install(void);
void rqs_py_gil_find(void);
/* A part of that request's response is sent by this thread: is it known by the right name there? */
void rqs_py_notice_stale(const struct rqs_py_thread *thread, struct rqs_py_request *request);
/* False: it began before that was noticed; some of what it did may have been charged otherwise. */
bool rqs_py_is_sure(const struct rqs_py_request *request);
/* False: what is wrapped now couldn't be watched; nothing is wrapped. */
bool rqs_py_memory_install(void);
/* The calling thread runs another interpreter than the one that we are in. With its GIL. */
bool rqs_py_is_elsewhere(void);
/* Some thread did: each may have a GIL of its own, and what relied on there being one ends. */
void rqs_py_memory_shared(void);
/* Where Python keeps those two, which are set; false: not found. */
bool rqs_py_allocators_find(const struct rqs_py_allocator *mem, const struct rqs_py_allocator *obj);
/* Names the allocators that Python uses at the moment: as long as the number stays, they are the same. */
uint64_t rqs_py_allocators_now(void);
/* Offsets in PyThreadState and PyContext, found by trying; -1 unknown. */
extern int rqs_py_context_offset, rqs_py_version_offset, rqs_py_variables_offset;
/* Names the request, open now, in the current context, or sees to it that it is done soon. */
void rqs_py_name_request(struct rqs_py_thread *thread, struct rqs_py_request *request);
struct rqs_py_request *rqs_py_request_at(uint32_t slot);

#endif
