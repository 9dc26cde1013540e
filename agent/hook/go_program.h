/*
 * go_program.h - a dynamic Go program (cgo) with the library preloaded: it
 * makes its system calls itself, so its own code gets hooks, here, in its own
 * process, before it begins.
 */
#ifndef REQSCOPE_GO_PROGRAM_H
#define REQSCOPE_GO_PROGRAM_H

#include <stdbool.h>
#include <stdint.h>

struct rqs_go_setup;

/* In the constructor, once the session is known: finds out whether this is a Go program, and if so puts the hooks in. */
void rqs_go_program_hook(void);

/* Where it has been hooked, what the agent is to know of it; else NULL. */
const struct rqs_go_setup *rqs_go_program_setup(void);

/* A Go program, hooked or not. The version, where it is known. */
bool rqs_go_program_is(char *version, uint64_t size);

/* After activation: tells the collector where the runtime keeps its figures. */
void rqs_go_program_tell(void);

#endif
