/*
 * restriction.h - the calls by which a process restricts what it may do. From
 * then on none but its own system calls are made in it: a filter that doesn't
 * know ours would kill it. Called before them; not in a vfork's child, which
 * restricts itself alone.
 */
#ifndef REQSCOPE_RESTRICTION_H
#define REQSCOPE_RESTRICTION_H

#include "core/agent.h"

void rqs_restriction_prctl(struct rqs_agent *agent, long option, long value);
void rqs_restriction_seccomp(struct rqs_agent *agent, long operation);

#endif
