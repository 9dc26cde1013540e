/* placed.h - finds in a running Go program what was placed there before. */
#ifndef REQSCOPE_PLACED_H
#define REQSCOPE_PLACED_H

#include "inject/loadable.h"

#include <sys/types.h>

/*
 * The address of the payload in a process, 0 where it isn't: a mapping that
 * begins this very payload, of the same build. memory: /proc/PID/mem.
 */
uint64_t rqs_placed_find(pid_t pid, int memory, const struct rqs_loadable *payload);

#endif
