/*
 * attach.h - puts the agent into a process that runs, and takes it out again.
 *
 * Two ways, chosen by what the program is: Go programs get code placed and
 * their text patched while all threads are stopped (attach_go.c), dynamic
 * programs load libreqscope.so by their own dlopen, in a thread that is
 * stopped at a point where that is safe (attach_library.c).
 *
 * To be called in a process of its own that has nothing else to do: it waits
 * for its tracees by SIGCHLD. Threads are stopped for as short as can be; a
 * system call that was interrupted by that goes on as if nothing had been.
 */
#ifndef REQSCOPE_INJECT_ATTACH_H
#define REQSCOPE_INJECT_ATTACH_H

#include "reqscope/attach_words.h"

#include "inject/plan.h"

#include <limits.h>
#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

struct rqs_attach_order {
	pid_t pid;
	const char *token;        /* of the session, whose collector is ready */
	const char *library;      /* libreqscope.so, an absolute path; "" none */
	const char *musl_library; /* libreqscope-musl.so, likewise */
	const char *placer;       /* reqscope-place, for Go programs that are executed; "" none */
	bool children;            /* programs that it executes are recorded, too */
	bool no_sched;
};

enum rqs_attach_kind { RQS_ATTACH_GO, RQS_ATTACH_LIBRARY };

/* A process that is attached to. */
struct rqs_attachment {
	pid_t pid;
	enum rqs_attach_kind kind;
	char why[RQS_REASON]; /* of the last call that failed; the end of a sentence "PID isn't recorded: ..." */
	uint64_t stopped_ns;  /* the longest that any of its threads was kept from running, by the last call */
};

/*
 * 0: it is recorded from now on. -errno: it is as it was, for the reason in
 * `why`: -ESRCH no such process (or a zombie, or a child of vfork), -EPERM the kernel refuses
 * ptrace, -EBUSY recorded already, or traced by somebody, -ENOEXEC nothing can be hooked,
 * -ETIMEDOUT no safe point was found in time.
 */
int rqs_attach(struct rqs_attachment *attachment, const struct rqs_attach_order *order);

/*
 * Takes everything out that can be, and forgets the process. 0 also when it
 * has ended. -errno: hooks are inert, but something stays; `why` says what.
 */
int rqs_detach(struct rqs_attachment *attachment);

/*
 * For one that was attached to by somebody who is gone, or joined by itself
 * as a fork of an attached one: finds out what is there, and takes it out. 0
 * also when there is nothing.
 */
int rqs_detach_found(struct rqs_attachment *attachment, pid_t pid);

/* One of the two ways. Same results. */
struct rqs_attach_way {
	int (*attach)(struct rqs_attachment *attachment, const struct rqs_attach_order *order);
	int (*detach)(struct rqs_attachment *attachment);
	int (*detach_found)(struct rqs_attachment *attachment);
};
extern const struct rqs_attach_way rqs_attach_go, rqs_attach_library;

#endif
