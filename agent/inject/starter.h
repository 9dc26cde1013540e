/* starter.h - starting commands of ours as nobody's children: the tracer, and under plain LD_PRELOAD the collector. */
#ifndef REQSCOPE_STARTER_H
#define REQSCOPE_STARTER_H

#include <stdbool.h>

/*
 * Two forks, without an exit signal: whoever calls isn't the parent of what is
 * started, now or when that ends. `passed` stays open over the exec, as do
 * descriptors without CLOEXEC; all signals are blocked there. False: no fork.
 */
bool rqs_starter_run(const char *program, char *const argv[], int passed);

/* Is the session, by its token, one without `run`, where the first server starts the collector? */
bool rqs_starter_is_on_demand(const char *token);

/* Starts that collector, of the session with that token, and waits until it is ready. */
bool rqs_starter_collector(const char *program, const char *token);

#endif
