/*
 * attach_words.h - what a process that is being attached to is told, and by what
 * names libreqscope.so is called there. Both calls are made by the attacher
 * (inject/attach.h) in a thread that it has stopped at a point where libc may
 * be called, on a stack of its own with RQS_ATTACH_STACK bytes; other threads
 * run on. They keep errno and print nothing.
 */
#ifndef REQSCOPE_ATTACH_WORDS_H
#define REQSCOPE_ATTACH_WORDS_H

#include "reqscope/region.h"

#define RQS_ATTACH_STACK (256u << 10)

struct rqs_attach_words {
	uint32_t version; /* RQS_REGION_VERSION */
	uint32_t children; /* 1: programs that the process executes are recorded, too (its environment's LD_PRELOAD) */
	uint32_t no_sched;
	uint32_t reserved;
	char token[RQS_TOKEN_LENGTH + 8]; /* of the session; NUL-terminated */
	char library[4096]; /* the library's path in the process's own view, for its children; "" none */
};

/*
 * Joins the session, claims a process slot, puts hooks in the place of the
 * host's calls in every object, and looks at the descriptors that are open.
 * 0, or -errno with nothing changed: -EBUSY when another session records this
 * process; -EEXIST when it was started with the library, and that recording
 * has ended; -EALREADY when the last one that did has ended and was not, or not
 * wholly, taken out: to be called again after both calls below; -EPROTO when
 * the library is of another version, -ECONNREFUSED when the collector isn't
 * reached, -EPERM where a filter of system calls forbids ours.
 */
#define RQS_ATTACH_SYMBOL "reqscope_attach"
long reqscope_attach(const struct rqs_attach_words *words);

/*
 * First half of the detaching: hooks are inert from here on, and taken out of
 * every object and of the interpreter. 0, also when there is nothing to do.
 */
#define RQS_DETACH_SYMBOL "reqscope_detach"
long reqscope_detach(void);

/*
 * Second half, once no thread is inside the core any more (rqs_attach_probe
 * tells where each thread says so): gives memory back. 0.
 */
#define RQS_RELEASE_SYMBOL "reqscope_release"
long reqscope_release(void);

/*
 * Where a thread says that it is inside the core: a byte at that offset from
 * its FS base, not 0 while it is. Data of the library, filled by
 * reqscope_attach(). A thread seen outside after reqscope_detach() never
 * gets in again.
 */
#define RQS_PROBE_SYMBOL "reqscope_probe"
struct rqs_attach_probe {
	uint32_t version; /* RQS_REGION_VERSION; 0 before the first attach */
	uint32_t attached; /* 1 between attach and detach, 2 from there to release, else 0 */
	int64_t busy_offset;
	/*
	 * musl: the thread's address is that offset from entry tls_module of the
	 * table that FS base + 8 points to, not from FS base. 0: from FS base.
	 */
	uint64_t tls_module;
};

#endif
