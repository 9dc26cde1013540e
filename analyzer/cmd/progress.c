/* progress.c - the progress line. */
#include "cmd/progress.h"
#include "render/escape.h"

#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#define FIRST_AFTER 1.0 /* s */
#define EVERY 0.1

static double since(const struct timespec *then, const struct timespec *now)
{
	return (double)(now->tv_sec - then->tv_sec) + (double)(now->tv_nsec - then->tv_nsec) / 1e9;
}

static void show(void *context, const char *file, unsigned index, unsigned count, uint64_t done, uint64_t size)
{
	struct rqs_progress_line *line = context;
	struct timespec now;
	double part = size ? (double)done / (double)size : 1;

	clock_gettime(CLOCK_MONOTONIC, &now);
	if (since(&line->start, &now) < FIRST_AFTER || since(&line->shown, &now) < EVERY)
		return;
	line->shown = now;
	line->visible = true;
	char *name = rqs_clean(file);
	fprintf(stderr, "\rreading %.60s: %3.0f %%\033[K", name, 100 * (index + part) / count);
	fflush(stderr);
	free(name);
}

rqs_progress rqs_progress_start(struct rqs_progress_line *line)
{
	clock_gettime(CLOCK_MONOTONIC, &line->start);
	line->shown = line->start;
	line->visible = false;
	return isatty(STDERR_FILENO) ? show : NULL;
}

void rqs_progress_end(struct rqs_progress_line *line)
{
	if (line->visible)
		fputs("\r\033[K", stderr);
}
