/*
 * frame_json.h - the JSON payloads of run, process, totals and end frames, as
 * trace_format.md has them. The texts are for the caller to free; NULL without
 * memory.
 */
#ifndef COLLECT_FRAME_JSON_H
#define COLLECT_FRAME_JSON_H

#include "collect/keeper_words.h"
#include "collect/process.h"
#include "collect/site_rows.h"

struct rqs_run_facts {
	const char *mode;
	const char *label; /* NULL none */
	/* The command line: either arguments, or (command NULL) text with arguments separated by NUL. */
	char *const *command;
	int command_count;
	const char *command_text;
	size_t command_length;
	uint64_t start_monotonic_ns;
	uint64_t start_realtime_ns;
	enum rqs_clock clock;
	uint64_t duration_ns; /* 0: no limit asked for */
	uint64_t sample_bytes; /* 0: no samples of allocations */
};

struct rqs_completeness {
	uint64_t started;
	uint64_t finished;
	uint64_t dropped;
	uint64_t unfinished;
	uint64_t given_up;
};

/* What, besides the counts, a reader should know. */
struct rqs_troubles {
	uint64_t lost_processes;
	uint64_t unplaced; /* Go programs that ran without hooks */
	uint64_t malformed_records;
	uint64_t broken_chunks;
	uint64_t rows_lost;           /* that couldn't be written */
	uint64_t site_rows_lost;      /* likewise */
	struct rqs_site_troubles sites;
	int write_error;              /* errno */
	struct rqs_attached attached; /* pid 0: it wasn't by attaching */
};

/* Of a process's allocations: all, those of the requests in the trace, and those for requests that had ended. */
struct rqs_alloc_parts {
	uint64_t whole;
	unsigned __int128 requests;
	uint64_t after;
};

struct rqs_alloc_sums {
	bool measured;  /* else the whole isn't known */
	bool has_after; /* else there is no such part */
	struct rqs_alloc_parts bytes, count;
};

/* After a survey, which is to come after the last record was read: the whole then has all of its parts. */
struct rqs_alloc_sums rqs_alloc_sums_of(const struct rqs_watched *watched);

/* The counts of one process, after a survey: live and ended alike. started is the sum of the others. */
struct rqs_completeness rqs_completeness_of(const struct rqs_watched *watched);

/* The sum over all noted processes. */
struct rqs_completeness rqs_completeness_sum(const struct rqs_processes *processes);

char *rqs_payload_run(const struct rqs_run_facts *facts);
char *rqs_payload_process(const struct rqs_watched *watched);

/* Totals; with a reason, those of the end frame. */
char *rqs_payload_totals(const struct rqs_processes *processes, const struct rqs_troubles *troubles, uint64_t now_ns,
			 const char *reason);

#endif
