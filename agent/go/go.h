/*
 * go.h - the agent in a Go program: its state, and how the hooks in
 * entries.S get from a goroutine's stack into C.
 *
 * Nothing here may rely on the thread: goroutines move between threads, and
 * there is no thread-local storage. Goroutine stacks are small and move:
 * C code runs on a context, a stack of ours, that is taken for one call and
 * given back; there is no waiting inside, so that few are ever in use at once.
 */
#ifndef REQSCOPE_GO_H
#define REQSCOPE_GO_H

#include "core/agent.h"
#include "go/layout.h"
#include "go/setup.h"

struct rqs_go {
	/* For entries.S. Before the start a table of one entry that is nobody's. */
	uint64_t goroutines;
	uint64_t goroutine_mask; /* of byte offsets */
	uint64_t goroutines_end;
	struct rqs_table *table;
	char *contexts;
	struct rqs_conn *connections; /* the agent's */
	uint64_t connection_limit;
	uint64_t curg; /* offset in runtime.m */
	uint64_t sched; /* 1: times are measured, too */
	uint64_t contended; /* calls that found no free context in time: their connections were given up */
	uint64_t sample;    /* what a new entry's `sample` is */
	uint64_t *samples_lost; /* never NULL */
	/* For C. */
	struct rqs_agent *agent;
	struct rqs_go_meter *meters; /* by request slot */
	char *placer; /* the placing program's path; NULL or "" none */
	char *token;  /* of the session */
	void (*activate)(void); /* NULL, or turns the agent on when the program turns out to be a server */
};
extern struct rqs_go rqs_go;

/* A stack and what belongs to it: records are appended by one call at a time. */
struct rqs_go_context {
	uint64_t taken;
	uint64_t sp; /* of the goroutine */
	struct rqs_worker worker;
};

/* A system call, as entries.S pushes it. */
struct rqs_go_call {
	uint64_t g;
	uint64_t arguments[6];
	uint64_t extra;  /* R13: ticks before a write, or where a stamped read's message is */
	uint64_t number; /* R12; CALL_STAMPED added */
	uint64_t result; /* done: as the kernel returned it, to be changed where ours was another call */
};

/* Called by entries.S, on a context. */
void rqs_go_call_begins(struct rqs_go_context *context, struct rqs_go_call *frame);
void rqs_go_call_done(struct rqs_go_context *context, struct rqs_go_call *frame);

/* An allocation, of a goroutine's at which a sample is due; as entries.S pushes it. */
struct rqs_go_due {
	struct rqs_goroutine *goroutine; /* to whose bytes it was added */
	uint64_t g;
	uint64_t bytes;
	uint64_t *stack; /* where the allocator's return address is */
	uint64_t rbp;
};
void rqs_go_sample_due(struct rqs_go_context *context, const struct rqs_go_due *due);

/* The open request that what the goroutine allocates now is counted for. False: none. */
bool rqs_go_request_of(const struct rqs_goroutine *goroutine, uint32_t *slot, uint64_t *ordinal);

/* Before an exec: of another static Go program it is made one of the placing program. */
bool rqs_go_exec_redirect(struct rqs_go_call *frame);

/* The costs of one request. Aligned to 16 bytes. */
struct rqs_go_meter {
	/* Of the goroutines started on its behalf; changed together (cmpxchg16b), so that nothing comes after its end. */
	uint32_t generation; /* of the request: raised at its beginning and end */
	uint32_t children_count;
	uint64_t children_bytes;
	uint64_t cpu_generation; /* the same number */
	uint64_t children_ticks;
	/* Ticks that its own goroutine's coroutines waited, and it with them, and of these for a CPU. Atomic adds. */
	uint64_t away;
	uint64_t away_runnable;
	struct rqs_goroutine *goroutine; /* that serves it, NULL: not in the table */
	uint64_t g; /* that goroutine, 0: none, the request hasn't begun */
	uint64_t born; /* not 0: goroutines were started on its behalf in this generation; stored before they run */
	bool shared; /* that goroutine served others meanwhile */
	/* That goroutine's, when it began. */
	uint64_t alloc_count;
	uint64_t alloc_bytes;
	uint64_t running;
	uint64_t runnable;
	uint64_t reserved[2];
};
_Static_assert(sizeof(struct rqs_go_meter) == 128, "a cache line pair each");

extern const struct rqs_meter rqs_meter_go;

/* In a process that may become a server: calls are looked at, and activate() is called at its first listener. */
bool rqs_go_await(struct rqs_agent *agent, void (*activate)(void));

/*
 * The two halves of rqs_go_start(), around rqs_agent_start(): what the agent
 * is in a Go program; and taking it into use. region: the session's memory.
 */
void rqs_go_prepare(struct rqs_agent *agent, const struct rqs_go_setup *setup);
void rqs_go_adopt(struct rqs_agent *agent, const struct rqs_go_setup *setup, int region);

#endif
