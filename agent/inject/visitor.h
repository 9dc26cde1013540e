/*
 * visitor.h - a thread of ours in a Go program that runs: it does what needs
 * time, and the program's own threads run on.
 *
 * One of them is borrowed for as long as it takes to start ours. If we are
 * killed meanwhile it goes on by itself, through the way back (frame.h) that
 * lies on its own stack below all that it uses; and ours ends.
 */
#ifndef REQSCOPE_INJECT_VISITOR_H
#define REQSCOPE_INJECT_VISITOR_H

#include "inject/borrow.h"

/* Which threads are looked for, one after the other. */
enum rqs_visitor_choice { RQS_VISITOR_IDLE, RQS_VISITOR_WAITING, RQS_VISITOR_ANY, RQS_VISITOR_CHOICES };

struct rqs_visitor {
	pid_t pid;
	uint64_t syscall_instruction; /* with nothing behind it but a return */
	uint64_t sigreturn;           /* code that calls rt_sigreturn, in every Go program */
	/* Whether a stopped thread is at a place where it may be borrowed; it tells the thread what that knows, too. */
	bool (*is_good)(const void *context, struct rqs_stopped *thread);
	const void *context;
	struct rqs_tracee tracee; /* ours, once it is there: it makes no step but what it is told to */
	uint64_t stopped_ns;      /* result: for how long the borrowed one was kept from running */
	bool begun;               /* result: ours runs, or did; what it begins with is to stay */
	/* Inside */
	struct rqs_stopped host;
	struct rqs_tracee borrowed;
	enum rqs_visitor_choice choice;
	bool near; /* only one in our network */
	int error;
};

/* Borrows a thread: calls can be made by `borrowed` until rqs_visitor_give_back(). 0, -EPERM, -ESRCH, -ETIMEDOUT. */
int rqs_visitor_borrow(struct rqs_visitor *visitor);
void rqs_visitor_give_back(struct rqs_visitor *visitor);

/*
 * Starts ours, by the borrowed one. leave: address of code that ends a thread.
 * stack: the end of its stack, which is written to. 0, or -errno when no
 * thread can be started.
 */
int rqs_visitor_enter(struct rqs_visitor *visitor, uint64_t leave, uint64_t stack);

/* Ours ends. Also where it never came. */
void rqs_visitor_leave(struct rqs_visitor *visitor);

/* It is there: hence the process has executed no other program since it came. */
bool rqs_visitor_is_there(const struct rqs_visitor *visitor);

#endif
