/* progress.h - one line on a terminal's standard error, for reading that takes over a second. */
#ifndef REQSCOPE_PROGRESS_H
#define REQSCOPE_PROGRESS_H

#include "model/trace.h"

#include <time.h>

struct rqs_progress_line {
	struct timespec start, shown;
	bool visible;
};

/* The callback to load with (its context is the line), or NULL when standard error is no terminal. */
rqs_progress rqs_progress_start(struct rqs_progress_line *line);
void rqs_progress_end(struct rqs_progress_line *line);

#endif
