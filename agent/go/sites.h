/*
 * sites.h - the kinds of places in a Go program where hooks are put, and what
 * a stub there does: `before` displaced bytes, a call of the kind's entry
 * (entries.S), the other displaced bytes, a jump back.
 *
 * The entries expect what Go's internal ABI has in registers at that place,
 * and change none but those that it leaves free there (R12, R13, RDX, and what
 * the function has no argument in; never R14, R15, X15, RBP).
 * Source: go.dev/s/regabi, cmd/compile/abi-internal.md.
 */
#ifndef REQSCOPE_SITES_H
#define REQSCOPE_SITES_H

/*
 * Stubs themselves change R11 and R10 (right before and behind a SYSCALL R11
 * and RCX), and write to the thread: at every site R14 is the goroutine that
 * runs, and it has its m.
 */

/* X(symbol) */
#define RQS_SITES(X)                                                                              \
	X(SYSCALL_LOADED) /* right before SYSCALL: the kernel's registers. before = what moves them there */  \
	X(SYSCALL_DONE) /* behind its SYSCALL instruction: the kernel's registers. before = 0 */          \
	X(ALLOC)        /* mallocgc and its leaves: RAX size. before = the stack check, that a call doesn't pass twice */ \
	X(STATUS)       /* start of runtime.casgstatus: RAX goroutine, EBX old, ECX new. before = 0 */    \
	X(PREEMPTED)    /* runtime.casGToPreemptScan: RAX goroutine, running -> preempted. before = the stack check */

enum rqs_site_kind {
#define RQS_SITE_ID(symbol) RQS_SITE_##symbol,
	RQS_SITES(RQS_SITE_ID)
#undef RQS_SITE_ID
	RQS_SITE_KINDS,
};

#endif
