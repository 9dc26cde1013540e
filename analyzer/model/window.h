/*
 * window.h - which requests count: all, or those that arrived in a part of
 * the recording, given with --skip, --from and --to.
 */
#ifndef REQSCOPE_WINDOW_H
#define REQSCOPE_WINDOW_H

#include <stdbool.h>
#include <stdint.h>

enum rqs_moment_kind {
	RQS_MOMENT_NONE,
	RQS_MOMENT_RELATIVE, /* ns since the trace's first arrival */
	RQS_MOMENT_ABSOLUTE, /* ns since the epoch */
};

struct rqs_moment {
	enum rqs_moment_kind kind;
	uint64_t ns;
};

struct rqs_window {
	struct rqs_moment from, to; /* [from, to) */
};

/* A number of seconds, or an RFC 3339 time. False when it is neither. */
bool rqs_moment_parse(struct rqs_moment *m, const char *text);
bool rqs_seconds_parse(struct rqs_moment *m, const char *text);

/* A moment on the trace's monotonic clock; `otherwise` for RQS_MOMENT_NONE. */
uint64_t rqs_moment_on_clock(const struct rqs_moment *m, uint64_t first_arrival, uint64_t start_monotonic,
			     uint64_t start_realtime, uint64_t otherwise);

/* "2025-01-31T12:00:00.123Z" of ns since the epoch; the text is the caller's to free. */
char *rqs_rfc3339(uint64_t ns);

#endif
