/*
 * placing.h - becoming another program, with our code placed in it where that
 * is a static Go program.
 *
 * Go makes its system calls itself and is linked statically: nothing can be
 * preloaded. So a tracer stops the program at its exec, puts code and jumps
 * into its memory, and leaves it before its first instruction. The program is
 * the same process, and sees nothing of it: no child, no tracer, no
 * descriptor, no signal.
 */
#ifndef REQSCOPE_PLACING_H
#define REQSCOPE_PLACING_H

#include <stdbool.h>

struct rqs_placing {
	const char *path;    /* of the program to become */
	int file;            /* or this descriptor of it, by which path names it, as fexecve does; -1 none */
	bool until_exec;     /* and the program doesn't get that */
	const char *token;   /* of the session, as in RQS_ENV_SESSION */
	const char *tracer;  /* path of the program that has the tracer's command (tracer.h) and the collector's */
	const char *program; /* path of the program that Go programs run to place code in those they start */
	bool no_sched;       /* the times of goroutines aren't measured */
	int why; /* gets a text when a Go program runs unhooked: the reason, a sentence's end; -1 nobody asks */
};

/* The environment variable that passes no_sched on. */
#define RQS_ENV_NO_SCHED "REQSCOPE_NO_SCHED"

/*
 * Becomes the program, as execve does, hooked if that can be: in all other cases as if we
 * weren't there. Returns only where that failed, with -errno. The process must
 * have one thread. Takes 3 s at most, where all goes wrong.
 */
int rqs_place_exec(const struct rqs_placing *placing, char *const argv[], char *const envp[]);

#endif
