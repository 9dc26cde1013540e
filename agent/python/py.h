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
	bool behind;       /* it was read together with one before it */
	bool in_shared;    /* it was read in a context that all connections share, */
	bool followed;     /* and is known in others */
	uint64_t sequence; /* counts all requests of the process */
	uint64_t allocators; /* Python's when it began (py_allocators.c) */
	/* With atomic adds by anybody. */
	uint64_t alloc_count; /* of Python's allocators */
	uint64_t raw_count;   /* of malloc, called by C code */
	uint64_t alloc_bytes; /* of both */
	uint64_t recv_bytes;
	uint64_t cpu_ticks;
	uint64_t cpu_ns;
	uint64_t gil_ticks;
	uint64_t loop_ticks; /* UINT64_MAX: not measured */
};

/* Whether it is the same request as when it had that id, and open. Any thread. */
static inline bool rqs_py_is_still(const struct rqs_py_request *request, uint32_t id)
{
	return request && rqs_load_relaxed(&request->live) == id;
}

/* A thread; zero is its start. */
struct rqs_py_thread {
	/* What the owner was resolved from. state RQS_PY_LOOK_AGAIN: from nothing that holds. */
	void *state;
	uint64_t version;
	void *variables;
	void *context;
	void *own; /* its state, as last seen */
	/* The request that what happens now is for, and its id; NULL: nobody's. */
	struct rqs_py_request *owner;
	uint32_t owner_id;
	int owner_fd; /* where it has ended: its descriptor */
	/* The request that this thread has read last, and serves if it isn't an event loop's. */
	struct rqs_py_request *served;
	uint32_t served_id;
	uint32_t generation; /* rqs_py_generation when the counters were found; else much of this is of another recording */
	struct rqs_thread *counters; /* of the thread, in the region; NULL: not found yet, in this process */
	/* Allocations that are neither charged to the owner nor counted there yet. */
	uint64_t count, raw;
	/* Bytes from the last allocation to the next sample; what it was when all bytes were charged. */
	int64_t ahead, charged_at;
	/* Where Python keeps the thread's state; NULL: it has to be asked. */
	void *const *slot;
	size_t quick;      /* smaller or equal sizes, but 0, can be counted the quick way now */
	bool inside;       /* a call of ours, or one whose allocation is counted already */
	bool saw_malloc;   /* called meanwhile */
	bool is_loop;      /* it has waited for several descriptors at once */
	bool is_main;
	bool known;        /* the two above are set */
	bool aftermath;    /* its last request has ended, and it hasn't waited for the next one yet */
	bool hands_over;   /* the requests that it reads are served by others */
	bool unsure;       /* it may be an event loop's; set, with the two above, until it is seen to wait */
	uint32_t number;   /* of its thread slot, 0 none yet */
	/* Values that are set there are the connection's, not its own, and right until it is left. */
	void *accept_context;
	uint64_t accept_version;
	/* Of a loop that has one for all connections, NULL: none such seen. The value is right until it is left. */
	void *shared_context;
	uint64_t shared_version;
	uint32_t loops; /* how often an event loop has waited */
	bool naming;    /* set_soon() is under way */
	bool reading;   /* rather than writing */
	uint64_t since;       /* ticks (loops) or ns of CPU time (others) from when on the owner is to be charged; 0 off */
	uint64_t wait_began, wait_ended; /* ticks; of an event loop */
	/* The last big allocation: a receive buffer is told by a read into it, and cut to size afterwards. */
	char *big;
	size_t big_size;
	bool big_received;
	struct rqs_py_request *big_request; /* whose receive buffer it is, and its id; NULL: nobody's */
	uint32_t big_id;
};
extern _Thread_local struct rqs_py_thread rqs_py_self;

/* The owner of what happens next may be another. No thread state is there, nor where none is (NULL). */
#define RQS_PY_LOOK_AGAIN ((void *)1)
static inline void rqs_py_look_again(struct rqs_py_thread *thread)
{
	thread->state = RQS_PY_LOOK_AGAIN;
}

/* The allocators are wrapped, and the context variable is there. */
extern bool rqs_py_on;
/* Counts installations and their ends, from 1. */
extern uint32_t rqs_py_generation;

extern const struct rqs_meter rqs_meter_python;

/*
 * When the process turns out to be a server: installs all this, if the
 * interpreter is there. May be called again; holds the GIL meanwhile.
 * False: it can't be measured here (yet).
 */
bool rqs_py_install(void);
/*
 * Takes out what was installed, so that it can be installed again; tables
 * and names stay, as contexts of Python's remember them. Holds the GIL
 * meanwhile. No connection below `connections` is of interest any more.
 */
void rqs_py_uninstall(uint32_t connections);
/* Takes out what threads that were inside the core have left with Python since. */
void rqs_py_forget(void);

/* A context that works for a connection as a whole; the reference to it is weak. */
struct rqs_py_own {
	void *context;
	void *reference;
};
#define RQS_PY_OWN 4

/* A connection, by its descriptor; zero is its start. Written by the thread that uses it. */
struct rqs_py_connection {
	uint32_t serial;
	uint64_t since; /* requests of this connection have higher sequence numbers */
	uint64_t first; /* that of its first, 0 none yet */
	/* Open on it now, or once: it is as long as it has that sequence number. NULL: none. */
	struct rqs_py_request *request;
	uint64_t sequence;
	struct rqs_py_own own[RQS_PY_OWN];
	/* For rqs_py_task_...(): the contexts in which it is read, and, of its own, answered; NULL none. */
	void *reads, *serves;
	uint32_t loops; /* of the thread, when a request was read or ended, or the task was last seen */
	uint32_t route; /* a hash of the last request's, 0 none */
	bool pipelined; /* on an event loop: whose turn it is can't be followed any more */
	bool woken;     /* the task has been seen since the request began, or has to see that no more will come */
	bool sends;     /* the last bytes of an answer went out by themselves: that may be what the task waited for */
};

/* ---- told by the interposers, where rqs_py_on ---- */

void rqs_py_accepted(int fd);
void rqs_py_closing(int fd);
/* Before the core is told: bytes came to that memory. */
void rqs_py_received(const void *memory);
/* After that. */
void rqs_py_was_told(int fd);
/* A read from fd to that memory brought nothing, or the end. */
void rqs_py_received_nothing(int fd, const void *memory, bool ended);
/* The calling thread waits for what comes next: it is done with the request before. */
static inline void rqs_py_next(void)
{
	if (rqs_py_self.aftermath) {
		if (rqs_py_self.unsure)
			rqs_py_self.unsure = rqs_py_self.hands_over = false;
		rqs_py_self.aftermath = false;
		rqs_py_look_again(&rqs_py_self);
	}
}
/* The same where it has got it, without having waited for it, as far as is known. */
static inline void rqs_py_goes_on(void)
{
	if (rqs_py_self.aftermath && !rqs_py_self.unsure)
		rqs_py_next();
}

/* How a thread was found that was there before the recording. */
enum rqs_py_found { RQS_PY_FOUND_NEW, RQS_PY_FOUND_LOOP, RQS_PY_FOUND_UNSURE };
/* The calling thread's first call in a recording of a process that is attached to. */
void rqs_py_thread_starts(enum rqs_py_found found);

/* Does the calling thread, not an event loop's, have a request open that it has read? */
bool rqs_py_is_serving(void);
/* The calling thread reads requests for other threads to serve: what it does isn't all of them. */
void rqs_py_hands_over(void);
void rqs_py_wait_begins(void);
void rqs_py_wait_ends(void);
/* C code's own call of the malloc family. True: it is to be a sample. */
bool rqs_py_raw_allocated(size_t bytes);

/* ---- between its own files ---- */

/* What is allocated from here to rqs_py_leave, which is given what `inside` was before, isn't counted. */
static inline void rqs_py_enter(struct rqs_py_thread *thread)
{
	thread->inside = true;
	thread->quick = 0;
}
void rqs_py_leave(struct rqs_py_thread *thread, bool before);

/* Finds out how rqs_py.thread_state does it. */
void rqs_py_slot_find(void);
/* Where the calling thread's state is found, without a call; NULL: unknown. With the GIL. */
void *const *rqs_py_slot(void);
/* Charges the owner what the calling thread has allocated so far. */
void rqs_py_settle(struct rqs_py_thread *thread);

/* The request that the calling thread works for: makes sure that owner is right. With the GIL. */
void rqs_py_resolve(struct rqs_py_thread *thread, void *state);
/* Charges the owner so far and makes another (or NULL) the owner. */
void rqs_py_switch(struct rqs_py_thread *thread, struct rqs_py_request *request, uint32_t id);
bool rqs_py_context_install(void);
/* Requests have ended, connections are to be begun anew. */
void rqs_py_context_uninstall(uint32_t connections);
/* No pending call of Python's is ours any more. From any thread. */
void rqs_py_context_forget(void);
/* Nothing of an earlier recording holds for the thread any more. */
void rqs_py_renew(struct rqs_py_thread *thread);
/* False: waits for the GIL, and its release, aren't told from others. */
bool rqs_py_gil_find(void);
/* A part of that request's response is sent by this thread: is it known by the right name there? */
void rqs_py_answers(struct rqs_py_thread *thread, struct rqs_py_request *request);
/* It has ended; the route isn't kept. */
void rqs_py_ends(const struct rqs_py_thread *thread, const struct rqs_py_request *request, const char *route,
		 uint32_t length);
/* False: what is wrapped now couldn't be watched; nothing is wrapped. */
bool rqs_py_memory_install(bool gil_is_seen);
void rqs_py_memory_uninstall(void);
/* What was known of blocks isn't any more; gives its memory back. */
void rqs_py_memory_forget(void);
/* The calling thread runs another interpreter than the one that we are in. With its GIL. */
bool rqs_py_is_elsewhere(void);
/* Some thread did: each may have a GIL of its own, and what relied on there being one ends. */
void rqs_py_memory_shared(void);
/* Where Python keeps those two, which are set; false: not found. */
bool rqs_py_allocators_find(const struct rqs_py_allocator *mem, const struct rqs_py_allocator *obj);
/* Names the allocators that Python uses at the moment: as long as the number stays, they are the same. */
uint64_t rqs_py_allocators_now(void);
/* Says in the region where it isn't known that those call ours. */
void rqs_py_allocators_check(void);
/* Those do: they stayed the same while ours counted. */
void rqs_py_allocators_reach_us(uint64_t allocators);
/* What a thread's time is charged by: ticks of an event loop, else ns of its own CPU time. */
uint64_t rqs_py_clock(const struct rqs_py_thread *thread);
/* Ticks that the request just read has waited for the event loop. */
uint64_t rqs_py_loop_delay(const struct rqs_py_thread *thread, const struct rqs_call *call);
/* The calling thread has waited for the GIL. */
void rqs_py_waited(uint64_t ticks);
/* Offsets in PyThreadState and PyContext, found by trying; -1 unknown. */
extern int rqs_py_context_offset, rqs_py_version_offset, rqs_py_variables_offset;
/* Names the request, open now, in the current context, or sees to it that it is done soon. */
void rqs_py_name_request(struct rqs_py_thread *thread, struct rqs_py_request *request);
struct rqs_py_request *rqs_py_request_at(uint32_t slot);
/* Sets the variable in the current context. With the GIL, between two bytecodes, as all below that take contexts. */
void rqs_py_put(uint64_t number);

bool rqs_py_connections_map(void);
/* NULL: out of the table. */
struct rqs_py_connection *rqs_py_connection_of(int fd);
struct rqs_py_request *rqs_py_open_on(int fd);
bool rqs_py_owns(const struct rqs_py_connection *connection, const void *context); /* anywhere with the GIL */
void rqs_py_adopt(struct rqs_py_connection *connection, void *context);
void rqs_py_disown(struct rqs_py_connection *connection);
/* Sets the variable in all of its contexts but the current one. */
void rqs_py_name_own(const struct rqs_py_connection *connection, uint64_t number, const void *current);
/* Of a task of the connection's own: it is at work; a request begins; one has been answered. */
void rqs_py_task_goes_on(struct rqs_py_connection *connection, const void *context, uint32_t loops);
void rqs_py_task_begins(struct rqs_py_connection *connection, struct rqs_py_request *request, uint32_t loops);
void rqs_py_task_answered(struct rqs_py_connection *connection, const void *context, const char *route, uint32_t length,
			  uint32_t loops);

#endif
