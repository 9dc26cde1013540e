/*
 * adopt.h - what a process that is being attached to has open already.
 * Freestanding; system calls of our own only.
 */
#ifndef REQSCOPE_ADOPT_H
#define REQSCOPE_ADOPT_H

#include "core/agent.h"

/*
 * Tells the agent of the process's listening sockets, asks for stamps on them,
 * and keeps their addresses for rqs_adopt_origin(). After rqs_agent_start()
 * and rqs_stamps_start(), with agent->attached set, before any hook is in
 * place: by one thread, in no hook. A second attach begins anew.
 */
void rqs_adopt_listeners(struct rqs_agent *agent);

/* Whether a descriptor that nothing is known of was accepted by one of them. */
enum rqs_origin rqs_adopt_origin(int fd);

#endif
