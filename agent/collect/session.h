/*
 * session.h - the life of a collector: from the first process of a session to
 * the end frame of its trace.
 */
#ifndef COLLECT_SESSION_H
#define COLLECT_SESSION_H

#include "collect/frame_json.h"

#include <limits.h>

enum rqs_session_mode {
	RQS_SESSION_RUN,
	RQS_SESSION_PRELOAD, /* started by the library in a target, not by `reqscope run` */
	RQS_SESSION_ATTACH,
};

struct rqs_session_options {
	const char *token;
	const char *out; /* NULL: reqscope.PID.rqs */
	bool force;      /* replace an existing file */
	const char *label;
	enum rqs_session_mode mode;
	bool detach;   /* leave the starting process's family */
	pid_t pid;     /* the main target: the session lasts as long as it does, at least */
	int ready_fd;  /* -1 none. Gets one zero byte when processes may greet, else a text that says what is wrong */
	int report_fd; /* -1 none. Gets one struct rqs_session_report at the end */
	int stop_fd;   /* attach only; -1 none. See keeper_words.h */
	uint64_t duration_ns; /* 0 no limit */
	uint64_t sample_bytes; /* mean distance of sampled allocations (region.h); 0: none are */
	char *const *command; /* NULL: that of `pid` */
	int command_count;
};

/* What came of it; written whole to the report descriptor, to be read by the same program. */
struct rqs_session_report {
	struct rqs_completeness completeness;
	struct rqs_troubles troubles;
	uint64_t registered; /* processes that joined */
	uint64_t serving;    /* of these, noted in the trace */
	uint64_t refused;    /* processes turned away */
	uint64_t unplaced;   /* Go programs that ran without hooks */
	uint64_t bytes;      /* of the trace */
	uint64_t cpu_ns;     /* the collector's own */
	bool ended;          /* the end frame was written */
	char reason[16];
	char file[PATH_MAX];
};

/* run, preload or attach. False for anything else. */
bool rqs_parse_mode(const char *text, enum rqs_session_mode *mode);

/* Seconds, with a fraction, to ns. False for what isn't a positive number of at most 10 years. */
bool rqs_parse_duration(const char *text, uint64_t *ns);

/* Where samples are asked for and nothing else is said. */
#define RQS_SAMPLE_BYTES_DEFAULT (512u << 10)
/* Bytes, from 4 KiB to 1 GiB; with K or M behind them units of 2^10 or 2^20. False for anything else. */
bool rqs_parse_sample_bytes(const char *text, uint64_t *bytes);

/* Runs a session to its end. The exit status of the process. */
int rqs_session_run(const struct rqs_session_options *options);

#endif
