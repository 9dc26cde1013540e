/*
 * region.h - the memory shared by the agent (in the target) and the collector
 * (a process of ours), and the greeting by which a process gets it.
 *
 *   | header | processes | threads | owners | table owners | chunk 0 | chunk 1 | ... | table 0 | table 1 | ...
 *
 * The region is a sparse memfd made by the collector. The agent trusts the
 * header; the collector trusts nothing in here: whatever it reads it copies
 * once, then checks. Every shared field says who writes it.
 *
 * Everything is little-endian and of fixed width. RQS_REGION_VERSION goes up
 * with any change of layout or meaning; agent and collector of different
 * versions refuse each other, and the agent stays off.
 *
 * Claiming. Processes, thread slots and chunks are claimed by one
 * compare-and-swap of their owner word from 0, so that a killed claimer can't
 * leak one: the owner word always tells whose it is. Only the collector sets
 * an owner word back to 0, after the owner has died or sealed the chunk and
 * all of it has been read; what it frees is zero throughout. Thread slots are
 * claimed upwards from 0, so that the collector needn't look far beyond the
 * highest it has seen.
 *
 * Counting. A request is *open* in exactly one request slot. The slot's own
 * counters are the truth, and each change of them is one store, so that the
 * sums balance wherever a kill lands:
 *    opened                    requests that began here        -> started
 *    committed records         naming slot and ordinal         -> finished
 *    dropped, given_up         the other ends
 *    opened > finished + dropped + given_up (by one)           -> open
 * Between the commit of a record and the store of `finished` the slot still
 * looks open: the collector, which remembers the ordinal of the last record it
 * read for each slot, then counts the record and not the slot.
 */
#ifndef REQSCOPE_REGION_H
#define REQSCOPE_REGION_H

#include <stddef.h>
#include <stdint.h>

#define RQS_REGION_MAGIC 0x3152474552515352ull /* "RSQREGR1" */
#define RQS_REGION_VERSION 6

#define RQS_PROCESSES 4096u
#define RQS_THREADS 32768u
#define RQS_CHUNK_SIZE 16384u
#define RQS_CHUNKS 8192u /* 128 MiB of address space, used from the low end */
/* An agent whose collector has been silent for this long uses only so many chunks (4 MiB), and drops beyond. */
#define RQS_SILENT_SECONDS 2u
#define RQS_SILENT_CHUNKS 256u
#define RQS_ROUTE_MAX 128u
/* Tables of goroutines, one for each Go process; mapped one by one, by those who need them. */
#define RQS_TABLES 256u
#define RQS_TABLE_ENTRIES 2097152u

/* The environment variable that carries the session's token. */
#define RQS_ENV_SESSION "REQSCOPE_SESSION"
/* 128 random bits, in hexadecimal. */
#define RQS_TOKEN_LENGTH 32
/* The collector listens on the abstract AF_UNIX SOCK_SEQPACKET address "\0" RQS_SOCKET_PREFIX token. */
#define RQS_SOCKET_PREFIX "reqscope-"

enum rqs_clock {
	RQS_CLOCK_TSC = 0,       /* ticks of the invariant time stamp counter */
	RQS_CLOCK_MONOTONIC = 1, /* ns of CLOCK_MONOTONIC */
};

enum rqs_region_state {
	RQS_RECORDING = 0,
	RQS_STOPPED = 1, /* the collector has ended or detached: agents switch themselves off */
};

struct rqs_region_header {
	uint64_t magic;
	uint32_t version;
	uint32_t size_of_header; /* == sizeof(struct rqs_region_header) */
	uint64_t region_size;
	uint64_t processes_offset; /* struct rqs_process[RQS_PROCESSES] */
	uint64_t threads_offset;   /* struct rqs_thread[RQS_THREADS] */
	uint64_t owners_offset;    /* uint64_t[RQS_CHUNKS] */
	uint64_t chunks_offset;    /* RQS_CHUNKS of RQS_CHUNK_SIZE bytes, page aligned */
	uint32_t clock;            /* enum rqs_clock; set before the region is handed out */
	uint32_t state;            /* enum rqs_region_state; written by the collector */
	uint64_t reclaimed;        /* chunks freed so far; written by the collector; tells a starved agent to look again */
	uint64_t ticks_per_second; /* first estimate; written by the collector before handing out */
	uint64_t lost_processes;   /* processes that found no slot and stay off; atomic add by agents */
	uint64_t next_generation;  /* fetch_add by agents: the generation of each process slot claimed */
	uint64_t heartbeat; /* ticks of the collector's last pass, every 0.1 s at least; 0: none yet */
	uint64_t table_owners_offset; /* uint64_t[RQS_TABLES] */
	uint64_t tables_offset;       /* RQS_TABLES of table_size bytes, page aligned */
	uint64_t table_size;          /* == sizeof(struct rqs_table), page aligned */
	uint64_t unplaced; /* programs that were to be hooked and couldn't be; atomic add by the placing step */
	uint64_t sample_bytes; /* mean distance of sampled allocations, bytes; 0: none are. Set before the region is handed out */
	uint64_t reserved[10];
};
_Static_assert(sizeof(struct rqs_region_header) == 224, "region layout");

/*
 * What the agent met and could not follow; counted per process, shown in the
 * trace under these names. X(symbol, name)
 */
#define RQS_EVENTS(X)                                                        \
	X(CHUNK_STARVED, "no_chunk")        /* no chunk was free for a record or slot */ \
	X(THREAD_SLOTS, "no_thread_slot")   /* thread shares the process's fallback slot */ \
	X(REENTERED, "reentered_in_signal") /* a call made by a signal handler inside a hook: not looked at */ \
	X(LOCK_BUSY, "connection_contended") /* a connection's lock wasn't had in time: connection given up */ \
	X(FD_BEYOND, "fd_beyond_table")     /* served connection with a descriptor above the table */ \
	X(UNSUPPORTED, "unsupported_protocol") /* served connection that isn't HTTP/1 */ \
	X(RESTRICTED, "switched_off_by_restriction") /* strict seccomp, or no time stamp counter: recording ended there */ \
	X(IO_URING, "io_uring_rings")       /* what goes through them is unseen */ \
	X(STDIO, "stdio_on_connection")     /* connections used by stdio, given up */ \
	X(TABLE_FULL, "goroutine_beyond_table") /* requests whose goroutine found no entry: theirs aren't measured */ \
	X(SAMPLE_LOST, "sample_lost")       /* sampled allocations that found no room: figures by site are too low */ \
	X(SAMPLE_UNFOLLOWED, "sample_not_followed") /* sampled allocations whose end won't be seen */ \
	X(FRAMES_UNKNOWN, "python_frames_unknown") /* samples without Python's functions: its structures aren't those known */

enum rqs_event {
#define RQS_EVENT_ID(symbol, name) RQS_EVENT_##symbol,
	RQS_EVENTS(RQS_EVENT_ID)
#undef RQS_EVENT_ID
	RQS_EVENT_COUNT,
};

/* X(SYMBOL, name in the trace). */
#define RQS_RUNTIMES(X)   \
	X(NATIVE, native) \
	X(PYTHON, python) \
	X(NODE, node)     \
	X(GO, go)

enum rqs_runtime {
#define RQS_RUNTIME_ID(symbol, name) RQS_RUNTIME_##symbol,
	RQS_RUNTIMES(RQS_RUNTIME_ID)
#undef RQS_RUNTIME_ID
	RQS_RUNTIME_COUNT,
};

/* What the hooks that were placed in a Go program measure. */
#define RQS_MEASURES_ALLOC 1u    /* allocations, of requests and of the process */
#define RQS_MEASURES_CHILDREN 2u /* the goroutines that a request's own started */
#define RQS_MEASURES_SCHED 4u    /* times on a CPU and waiting for one */

#define RQS_PROCESS_FOREIGN_PIDS 1u /* pid is of another pid namespace: it can't be watched */
#define RQS_PROCESS_EXECED 2u       /* replaced by exec; the slot's counts are final */

/* One image of one process: exec makes a new one, and so does fork. */
struct rqs_process {
	uint64_t owner;        /* 0 free, else generation (high 32) and pid (low 32); CAS by the agent, cleared by the collector */
	uint64_t ready;        /* 1 once the fields below up to `version` are set; release store by the agent */
	uint32_t flags;        /* RQS_PROCESS_*; written by the agent */
	uint32_t parent;       /* pid */
	uint32_t runtime;      /* enum rqs_runtime; may change once, when the runtime is loaded late */
	uint32_t measures;     /* RQS_MEASURES_*; Go and Python; may still change after `ready` */
	uint64_t start_ticks;  /* when it was claimed */
	char version[32];      /* of the runtime, NUL-terminated, "" unknown */
	/* Written with atomic adds by any thread of the process. */
	int64_t listeners;     /* open listening sockets */
	int64_t connections;   /* open served connections */
	int64_t connections_peak;
	uint64_t accepted;     /* served connections so far */
	uint64_t unslotted;    /* requests that found no request slot: started and dropped at once */
	uint64_t events[RQS_EVENT_COUNT];
	uint64_t table; /* Go: index + 1 of its table of goroutines, 0 none; set before `ready` */
	uint64_t after_count; /* Python: allocations for requests that had ended. Atomic adds */
	uint64_t after_bytes;
	uint64_t heap_in_use; /* Node: bytes, by V8's own account; 0 not known. Written by its main thread */
	uint64_t exchanged;   /* Python: not 0 where ours may not be among its allocators, or for a time weren't */
	/*
	 * Attached: requests that began before the recording, found by their
	 * responses. Counted as started and unfinished; atomic add by the agent.
	 */
	uint64_t preceding;
	uint64_t reserved[2];
};
_Static_assert(offsetof(struct rqs_process, version) == 40, "region layout");
_Static_assert(offsetof(struct rqs_process, listeners) == 72, "region layout");
_Static_assert(sizeof(struct rqs_process) == 112 + 8 * RQS_EVENT_COUNT + 64, "region layout");

/* Counters of one thread, written by that thread alone (plain stores of whole words). 64 bytes. */
struct rqs_thread {
	uint64_t owner; /* 0 free, else process slot + 1 (high 32) and tid (low 32); CAS by the agent, cleared by the collector */
	uint64_t alloc_count;
	uint64_t alloc_bytes;
	uint64_t reserved[5];
};
_Static_assert(sizeof(struct rqs_thread) == 64, "region layout");

/*
 * A goroutine, keyed by the address of its descriptor (runtime.g), which is
 * never freed. Inserted once, by CAS of `g` from 0; the rest is written by
 * whoever runs the goroutine or changes its status, one at a time. 128 bytes.
 */
struct rqs_goroutine {
	uint64_t g;
	uint64_t alloc_bytes; /* since the agent's start */
	uint64_t alloc_count;
	/* The rest is the agent's own. */
	uint64_t owner;       /* meter of the request on whose behalf it was started, 0 none */
	uint64_t owner_generation;
	uint64_t serving; /* meter of the request that it serves itself, 0 none */
	uint64_t serving_generation;
	uint64_t sample; /* 0: none is taken; all ones: the next point isn't drawn yet; else -(alloc_bytes at that point) */
	uint64_t since;  /* ticks of the last change of status */
	uint64_t waiting;   /* ticks in all, by status */
	uint64_t runnable;
	uint64_t running;
	uint64_t coroutine; /* not 0: runs in its caller's time (iter.Pull) */
	uint64_t last_waiting; /* ticks of the last slice that ended, by status */
	uint64_t last_runnable;
	uint64_t last_running;
};
_Static_assert(sizeof(struct rqs_goroutine) == 128, "region layout");

/* The goroutines of one process: a hash table, open addressing, (g >> 9) mod RQS_TABLE_ENTRIES, linear probing. */
struct rqs_table {
	/* Allocations by goroutines that found no entry. Atomic adds. */
	uint64_t lost_bytes;
	uint64_t lost_count;
	uint64_t reserved[510];
	struct rqs_goroutine goroutines[RQS_TABLE_ENTRIES];
};
_Static_assert(offsetof(struct rqs_table, goroutines) == 4096, "region layout");

enum rqs_chunk_kind {
	RQS_CHUNK_NONE = 0,    /* claimed, not yet initialised */
	RQS_CHUNK_RECORDS = 1, /* one thread appends records */
	RQS_CHUNK_SLOTS = 2,   /* request slots of one process */
};

/*
 * table_owners[i]: 0 free, else process slot + 1 (bits 32..63); CAS by the
 * agent, cleared by the collector, after the process's death and its reading.
 *
 * owners[i]: 0 free, else process slot + 1 (bits 32..63) and tid of the
 * claimer (bits 0..31; of no meaning for a slots chunk).
 */
struct rqs_chunk_header {
	uint32_t kind;    /* enum rqs_chunk_kind; release store by the claimer, after the rest is set */
	uint32_t thread;  /* records: index of the claimer's rqs_thread, or RQS_THREADS when it has none */
	uint32_t head;    /* records: bytes committed after this header; release store by the owner */
	uint32_t sealed;  /* records: 1 when the owner is done with it; release store by the owner */
	uint64_t bitmap;  /* slots: bit i set = slot i taken; atomic by the process's threads */
	uint64_t reserved[5];
};
_Static_assert(sizeof(struct rqs_chunk_header) == 64, "region layout");

/* One open request. 256 bytes; 63 a chunk. */
struct rqs_slot {
	/* The counters, as the head of this file says. Written by the thread that holds the connection's lock. */
	uint64_t opened;
	uint64_t finished;
	uint64_t dropped;
	uint64_t given_up;
	/* The request, private to the agent. */
	uint64_t state[28];
};
_Static_assert(sizeof(struct rqs_slot) == 256, "region layout");
#define RQS_SLOTS_PER_CHUNK 63u
_Static_assert(sizeof(struct rqs_chunk_header) + RQS_SLOTS_PER_CHUNK * sizeof(struct rqs_slot) <= RQS_CHUNK_SIZE,
	       "region layout");

enum rqs_record_type {
	RQS_RECORD_REQUEST = 1,
	RQS_RECORD_SAMPLE = 2, /* struct rqs_sample_record */
	RQS_RECORD_FREED = 3,  /* struct rqs_freed_record */
	RQS_RECORD_CODE = 4,   /* struct rqs_code_record */
};

#define RQS_RECORD_ABORTED 1u
#define RQS_RECORD_HAS_QUEUE 2u   /* queue_ns is measured */
#define RQS_RECORD_HAS_FIRST 4u   /* first_out is measured: a response byte was sent */
#define RQS_RECORD_HAS_LAST 8u    /* last_out is measured: the response is complete */
#define RQS_RECORD_HAS_ALLOC 16u  /* alloc_* are measured */
#define RQS_RECORD_HAS_CPU 32u    /* cpu_ticks is measured */
#define RQS_RECORD_HAS_SCHED 64u  /* sched_ticks and children_ticks are measured */
#define RQS_RECORD_HAS_GIL 128u   /* gil_ticks is measured */
#define RQS_RECORD_HAS_LOOP 256u  /* loop_ticks is measured */
#define RQS_RECORD_HAS_RECV 512u  /* recv_buffer_bytes is measured */

/* One finished request, as committed to a records chunk. Records are 8-byte aligned. */
struct rqs_record {
	uint16_t size; /* bytes, a multiple of 8, this header and the template included */
	uint8_t type;  /* enum rqs_record_type; a reader skips others by size */
	uint8_t method; /* enum rqs_method or RQS_METHOD_OTHER */
	uint16_t status;
	uint16_t flags; /* RQS_RECORD_* */
	uint32_t slot;  /* chunk * 64 + index in the chunk */
	uint16_t route_length;
	uint16_t reserved;
	uint64_t ordinal; /* the slot's `opened` when the request began: 1, 2, ... */
	uint64_t read;    /* ticks: the read that brought the first byte had returned */
	uint64_t first_out; /* ticks: first response byte accepted by the kernel */
	uint64_t last_out;  /* ticks: last response byte accepted */
	uint64_t queue_ns;  /* kernel arrival -> read */
	uint64_t request_bytes;
	uint64_t response_bytes;
	uint64_t alloc_count;
	uint64_t alloc_bytes;
	uint64_t cpu_ticks;      /* its own task on a CPU */
	uint64_t sched_ticks;    /* its own task ready to run, and waiting for a CPU */
	uint64_t children_ticks; /* the tasks that it started, on CPUs */
	uint64_t gil_ticks;      /* waiting for the interpreter's lock */
	uint64_t loop_ticks;     /* of queue_ns: readable, while the event loop did other things */
	uint64_t recv_buffer_bytes; /* the server's receive buffers; alloc_bytes is without them */
	char route[]; /* route_length bytes of template, padded with zeroes */
};
_Static_assert(offsetof(struct rqs_record, route) == 136, "region layout");

/*
 * Sampled allocations. Where `sample_bytes` M isn't 0, each thread (or goroutine) has points
 * along the bytes that it asks for, at distances that are exponential of mean
 * M; an allocation that crosses one or more is a sample. So one of s bytes is
 * a sample with the probability 1 - exp(-s/M), whatever came before it. The
 * hook copies registers and a piece of the stack; the collector unwinds them.
 */
#define RQS_SAMPLE_STACK 12288u /* bytes of stack, at most */
#define RQS_SAMPLE_SHORT 4096u   /* so many where Python's frames tell the rest, or room gets scarce */
#define RQS_SAMPLE_FRAMES 64u   /* Python's, the innermost */
/* Request slots are below; here: the allocation is no open request's. */
#define RQS_SAMPLE_NO_SLOT UINT32_MAX

enum rqs_sample_kind {
	RQS_SAMPLE_NATIVE = 0, /* the malloc family */
	RQS_SAMPLE_PYTHON = 1, /* CPython's allocators */
	RQS_SAMPLE_GO = 2,
};

#define RQS_SAMPLE_FOLLOWED 1u   /* its end will be told by a RQS_RECORD_FREED with its number */
#define RQS_SAMPLE_AFTER 2u      /* for a request that has ended: slot is RQS_SAMPLE_NO_SLOT */
#define RQS_SAMPLE_MORE_STACK 4u /* the stack goes on beyond what was copied */
#define RQS_SAMPLE_MORE_FRAMES 8u /* so do Python's frames */
#define RQS_SAMPLE_NO_ROOM 16u /* there was none for its stack; all else is told */

/* Of the registers that unwinding needs. */
enum rqs_sample_register {
	RQS_SAMPLE_RIP,
	RQS_SAMPLE_RSP,
	RQS_SAMPLE_RBP,
	RQS_SAMPLE_RBX,
	RQS_SAMPLE_R12,
	RQS_SAMPLE_R13,
	RQS_SAMPLE_R14,
	RQS_SAMPLE_R15,
	RQS_SAMPLE_REGISTERS,
};

/* A Python frame. */
struct rqs_sample_frame {
	uint32_t code;   /* number of a struct rqs_code_record of this process, 0: no function's, or not known */
	uint32_t offset; /* of the instruction, in bytes of its bytecode; RQS_FRAME_ENTRY added */
};
/*
 * This frame's caller isn't Python: the interpreter was entered anew by C for
 * it. Also with code 0, where that call of the interpreter runs no function
 * that a traceback would show, so that there are as many of these as the
 * native stack has of the interpreter's loop.
 */
#define RQS_FRAME_ENTRY 0x80000000u

struct rqs_sample_record {
	uint16_t size; /* as struct rqs_record */
	uint8_t type;
	uint8_t kind; /* enum rqs_sample_kind */
	uint16_t flags; /* RQS_SAMPLE_* */
	uint16_t frame_count;
	uint32_t slot;
	uint32_t stack_bytes; /* a multiple of 8 */
	uint64_t ordinal; /* the request's, in its slot */
	uint64_t ticks;
	uint64_t number; /* of the process's samples: 1, 2, ...; never again in this process */
	uint64_t bytes;  /* asked for */
	uint64_t registers[RQS_SAMPLE_REGISTERS];
	struct rqs_sample_frame frames[]; /* frame_count, the innermost first; then the stack, from RSP upwards */
};
_Static_assert(sizeof(struct rqs_sample_record) == 112, "region layout");
_Static_assert(sizeof(struct rqs_sample_record) + RQS_SAMPLE_FRAMES * sizeof(struct rqs_sample_frame) + RQS_SAMPLE_STACK <=
	       RQS_CHUNK_SIZE - sizeof(struct rqs_chunk_header), "a sample fits a chunk");

/* The end of a followed sample. It may be read before its sample: they may stand in chunks of different threads. */
struct rqs_freed_record {
	uint16_t size;
	uint8_t type;
	uint8_t reserved;
	uint32_t withdrawn; /* 1: it was a receive buffer, or has been cut, and is to count nowhere */
	uint64_t ticks;
	uint64_t number;
};
_Static_assert(sizeof(struct rqs_freed_record) == 24, "region layout");

/*
 * A code object of CPython's, as samples name it; before the first of them on
 * the same thread, maybe later than one of another's. The texts are copied as
 * the interpreter keeps them: `width` 1 (Latin-1; ASCII), 2 or 4 bytes a character.
 */
#define RQS_CODE_TEXT 512u   /* bytes of each text, at most: of a file name the last, of a function's the first */
#define RQS_CODE_TABLE 8192u /* bytes of the line table, at most */
struct rqs_code_record {
	uint16_t size;
	uint8_t type;
	uint8_t table_kind; /* enum rqs_line_table */
	uint32_t number;    /* of the process's code objects: 1, 2, ... */
	uint32_t first_line;
	uint16_t file_bytes, name_bytes;
	uint8_t file_width, name_width;
	uint16_t table_bytes;
	uint32_t reserved;
	unsigned char data[]; /* file name, name (qualified, where there is one), line table; padded with zeroes */
};
_Static_assert(offsetof(struct rqs_code_record, data) == 24, "region layout");

enum rqs_line_table {
	RQS_LINES_NONE = 0,
	RQS_LINES_LNOTAB = 1,   /* co_lnotab, before 3.10 */
	RQS_LINES_310 = 2,      /* co_linetable of PEP 626, 3.10 */
	RQS_LINES_LOCATIONS = 3, /* co_linetable of PEP 657, from 3.11 on */
};

/*
 * The greeting. The agent connects, sends one rqs_hello; the collector answers
 * one rqs_welcome with the region's descriptor attached (SCM_RIGHTS) when
 * status is 0. Both are version-checked; then the connection is closed.
 */
struct rqs_hello {
	uint32_t version; /* RQS_REGION_VERSION */
	uint32_t pid;     /* as the agent sees itself */
};

/*
 * A second kind of greeting, without an answer: where a Go process keeps its
 * runtime's figures, with /proc/PID/mem (opened for reading by one that may)
 * attached. Addresses are 0 where a figure wasn't found. It may come before
 * the process has claimed its slot.
 */
struct rqs_go_facts {
	uint32_t version;  /* RQS_REGION_VERSION */
	uint32_t pid;      /* as the sender sees the process */
	uint64_t heap_in_use;    /* u64, bytes */
	uint64_t heap_live;      /* u64, bytes */
	uint64_t heap_goal;      /* u64, bytes */
	uint64_t gc_cycles;      /* u32 */
	uint64_t gc_pause_total; /* u64, ns */
	uint64_t goroutines_all;  /* u64: descriptors ever made (runtime.allglen) */
	uint64_t goroutines_free; /* i32: of these, dead and kept for reuse (sched.gFree) */
	uint64_t goroutines_system; /* i32: the runtime's own (sched.ngsys) */
	uint64_t goroutines_bare; /* i32: dead ones without a stack; 0: they are in goroutines_free (before Go 1.25) */
	uint64_t reserved[7];
};

struct rqs_welcome {
	uint32_t version;
	uint32_t status; /* 0: region attached; else the agent stays off */
	uint64_t region_size;
	uint32_t foreign_pids; /* 1: the agent's pid isn't the one the collector sees */
	uint32_t pid;          /* the agent's pid as the collector sees it */
};

#endif
