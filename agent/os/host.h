/*
 * host.h - what the core needs of its host (core_deps.h), made of system calls
 * of our own, and the memory that it works on. Freestanding.
 */
#ifndef REQSCOPE_HOST_H
#define REQSCOPE_HOST_H

#include "core/agent.h"

#include <time.h>

/* The vDSO's clock_gettime, or another that can't fail and keeps errno. */
typedef int (*rqs_clock_gettime)(clockid_t clock, struct timespec *now);

/* Services for the core; the clock is kept for them. Same pointer each time. */
const struct rqs_env *rqs_host_env(rqs_clock_gettime clock);

/* Reserves the connection table and the page that forks wipe. False: no room. */
bool rqs_host_map(struct rqs_agent *agent);
void rqs_host_unmap(struct rqs_agent *agent);

/* Samples are to be taken: makes ready to copy stacks, and to follow blocks, as far as that can be. */
void rqs_host_sample(void);
/* They are no more, and no thread is in the core: gives the memory back. */
void rqs_host_sample_no_more(void);

/* Behind a filter from before the exec: may the calls above be made, and those of rqs_join? */
bool rqs_host_calls_are_allowed(void);

/* The time stamp counter may be made to fault, for this process before its exec, too. */
bool rqs_host_counter_faults(void);

#endif
