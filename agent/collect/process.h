/*
 * process.h - the collector's own view of the processes in the region: who
 * they are, whether they live, and what they have counted so far.
 *
 * A watched process is one image of one process. It is *noted*, that is, given
 * an index in the trace, when it first shows signs of serving; helpers that a
 * server runs (sh, ls) never are, and leave nothing in the trace.
 */
#ifndef COLLECT_PROCESS_H
#define COLLECT_PROCESS_H

#include "collect/clock.h"
#include "collect/go_source.h"
#include "collect/tables.h"
#include "unwind/code.h"

#include <stdbool.h>
#include <sys/types.h>

#define RQS_UNNOTED UINT32_MAX

/* Sums over a process's request slots and thread slots. */
struct rqs_sums {
	uint64_t opened;
	uint64_t dropped;
	uint64_t given_up;
	uint64_t unfinished; /* by the rule at the head of reqscope/region.h */
	uint64_t alloc_count;
	uint64_t alloc_bytes;
};

struct rqs_watched {
	uint64_t owner; /* the slot's owner word: generation and pid */
	uint32_t slot;
	uint32_t index; /* in the trace, or RQS_UNNOTED */
	pid_t pid;
	pid_t parent;
	uint32_t flags; /* RQS_PROCESS_* */
	uint32_t runtime;
	uint32_t measures; /* RQS_MEASURES_* */
	char version[sizeof(((struct rqs_process *)0)->version)];
	char *command; /* arguments separated by NUL; NULL unknown */
	size_t command_length;
	uint64_t start_ns;
	uint64_t seen_ns; /* when the collector first saw it */
	int pidfd;        /* -1: its death is looked for in other ways */
	int procdir;      /* /proc/PID, -1: can't be read */
	bool dying;       /* dead or replaced: to be drained for the last time */
	bool replaced;    /* by exec: /proc/PID is another image's now */
	bool ending;      /* that is going on */
	bool ended;       /* drained and folded; its slot is free */
	bool framed;      /* its process frame is in the trace */

	/* As the process's slot said last. */
	int64_t listeners;
	int64_t connections;
	uint64_t accepted;
	uint64_t connections_peak;
	uint64_t unslotted;
	uint64_t preceding; /* began before the attach */
	uint64_t events[RQS_EVENT_COUNT];
	uint64_t heap_in_use; /* bytes, as Node says; 0 unknown */
	uint64_t after_count, after_bytes; /* allocated for requests that had ended */
	bool exchanged;                    /* what it has counted may not be all that it has allocated; Python only */

	/* As read from its records. */
	uint64_t records;
	uint64_t lost;         /* of these: malformed, or not written to the trace */
	uint16_t record_flags; /* RQS_RECORD_* that any of them has */
	uint64_t with_alloc;
	unsigned __int128 record_alloc_count; /* wide: no number of records makes these begin again at 0 */
	unsigned __int128 record_alloc_bytes;

	struct rqs_sums folded; /* of slots that are freed */
	struct rqs_sums live;   /* of slots still there, by the last survey */

	struct rqs_table_view table; /* of its goroutines; Go only */
	struct rqs_go_source go;     /* of its runtime's figures */

	uint64_t rss_peak; /* bytes, 0 unknown */

	struct rqs_code *code;    /* where samples are taken; NULL none */
	uint32_t samples_waiting; /* in site_rows.c */
};

/* Whether its goroutines' table, and not its threads' counters, tells what it allocates. */
static inline bool rqs_watched_is_go(const struct rqs_watched *watched)
{
	return watched->runtime == RQS_RUNTIME_GO;
}

/*
 * Bytes of a counter, or of several together. A buffer that is given back is
 * taken off, maybe from another counter than it was added to, so that one may
 * pass below 0; what ends there is 0.
 */
static inline uint64_t rqs_net(uint64_t bytes)
{
	return (int64_t)bytes < 0 ? 0 : bytes;
}

/* Its thread counters are of all that it allocates only once its allocators are hooked. */
static inline bool rqs_watched_is_python(const struct rqs_watched *watched)
{
	return watched->runtime == RQS_RUNTIME_PYTHON;
}

/*
 * Whether any request of its own is known. Who accepts connections for others
 * and passes them on, as the primary of Node's cluster, has none.
 */
static inline bool rqs_watched_serves(const struct rqs_watched *watched)
{
	return watched->records || watched->unslotted || watched->folded.opened || watched->live.opened;
}

struct rqs_processes {
	struct rqs_region *region;
	const struct rqs_calibration *clock;
	int epoll;        /* gets the pidfds, tagged RQS_TAG_PROCESS | slot; -1 none */
	uint64_t boot_ns; /* CLOCK_BOOTTIME - CLOCK_MONOTONIC */
	struct rqs_watched *by_slot[RQS_PROCESSES];
	uint64_t unready_owner[RQS_PROCESSES]; /* claimed slots that aren't ready yet, */
	uint64_t unready_since[RQS_PROCESSES]; /* and from when on */
	struct rqs_watched **noted;            /* by index; ended ones included */
	uint32_t noted_count, noted_capacity;
	uint32_t live;       /* watched and not ended */
	uint64_t registered; /* watched ever */
	bool served;         /* any has ever held a listener or a served connection */
	/* The most that were open at once when the collector looked: of all processes, and of those that serve. */
	uint64_t connections_peak, serving_peak;
	bool sampled;        /* samples of allocations are taken: each process's code is looked at. Set before the first */
};

/* Tags of epoll events, in the high half of the event's data. */
#define RQS_TAG_PROCESS (1ull << 32)

int rqs_processes_init(struct rqs_processes *processes, struct rqs_region *region, const struct rqs_calibration *clock,
		       int epoll);
void rqs_processes_free(struct rqs_processes *processes);

/* Looks at one slot, and begins to watch a process newly there. NULL when nobody (ready) is. */
struct rqs_watched *rqs_processes_at(struct rqs_processes *processes, uint32_t slot);

/* Looks for new processes in all slots. */
void rqs_processes_scan(struct rqs_processes *processes, uint64_t now_ns);

/* Copies what live processes count in their slots; notes those that serve. */
void rqs_processes_refresh(struct rqs_processes *processes, uint64_t now_ns);

/*
 * The most connections that were open at once: of one process exactly, of
 * several together as the collector saw them, some hundred times a second
 * under load. Once any process serves, those of the others aren't counted.
 */
uint64_t rqs_processes_connections_peak(const struct rqs_processes *processes);

/* Looks for deaths that no pidfd will tell. */
void rqs_processes_check(struct rqs_processes *processes);

/* Descriptors are kept for greetings and for the trace; processes beyond do without. False for none (-1), too. */
bool rqs_is_spare(int fd);

/* Gives a process its index in the trace. False when it can have none: no memory, or 65,536 before it. */
bool rqs_processes_note(struct rqs_processes *processes, struct rqs_watched *watched);

/* Takes a folded process out of its slot and frees that. The watched lives on when it was noted. */
void rqs_processes_end(struct rqs_processes *processes, struct rqs_watched *watched);

/*
 * Whether any live process can still get requests: holds a listener or a
 * served connection. Those of other pid namespaces count as alive together.
 */
bool rqs_processes_serving(const struct rqs_processes *processes, bool foreign_alive);

#endif
