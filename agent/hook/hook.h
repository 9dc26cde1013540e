/*
 * hook.h - what the interposers of one process share.
 *
 * They run inside the target: whatever the host calls, in whatever thread or
 * signal handler, before our constructor and after its destructors. They call
 * the real function with the host's own arguments, then tell the core; they
 * print nothing, allocate nothing, keep errno, and hold nothing across the
 * real call.
 */
#ifndef REQSCOPE_HOOK_H
#define REQSCOPE_HOOK_H

#include "core/agent.h"

#include <poll.h>
#include <signal.h>
#include <spawn.h>
#include <stddef.h>
#include <stdio.h>
#include <sys/epoll.h>
#include <sys/select.h>
#include <sys/socket.h>
#include <sys/types.h>
#include <sys/uio.h>
#include <time.h>

#define RQS_EXPORT __attribute__((visibility("default")))

/* What only glibc has: elsewhere neither looked for nor interposed. Its flags of recvmmsg and sendmmsg are an int. */
#ifdef __GLIBC__
#define RQS_REAL_GLIBC_LIST(X)                          \
	X(int, close_range, (unsigned, unsigned, int))  \
	X(void, closefrom, (int))                       \
	X(int, epoll_pwait2, (int, struct epoll_event *, int, const struct timespec *, const sigset_t *))
typedef int rqs_mmsg_flags;
/* Weak, as musl's loader couldn't load us without it (membership.c, is_stranger). */
void __chk_fail(void) __attribute__((noreturn, weak));
#else
#define RQS_REAL_GLIBC_LIST(X)
typedef unsigned rqs_mmsg_flags;
#endif

/* X(result, name, parameters): the real functions behind our symbols, the next after our library (objects.h). */
#define RQS_REAL_LIST(X)                                                                        \
	X(ssize_t, read, (int, void *, size_t))                                                 \
	X(ssize_t, readv, (int, const struct iovec *, int))                                     \
	X(ssize_t, recv, (int, void *, size_t, int))                                            \
	X(ssize_t, recvfrom, (int, void *, size_t, int, struct sockaddr *, socklen_t *))        \
	X(ssize_t, recvmsg, (int, struct msghdr *, int))                                        \
	X(ssize_t, write, (int, const void *, size_t))                                          \
	X(ssize_t, writev, (int, const struct iovec *, int))                                    \
	X(ssize_t, send, (int, const void *, size_t, int))                                      \
	X(ssize_t, sendto, (int, const void *, size_t, int, const struct sockaddr *, socklen_t)) \
	X(ssize_t, sendmsg, (int, const struct msghdr *, int))                                  \
	X(ssize_t, sendfile, (int, int, off_t *, size_t))                                       \
	X(int, accept, (int, struct sockaddr *, socklen_t *))                                   \
	X(int, accept4, (int, struct sockaddr *, socklen_t *, int))                             \
	X(int, listen, (int, int))                                                              \
	X(int, connect, (int, const struct sockaddr *, socklen_t))                              \
	X(int, setsockopt, (int, int, int, const void *, socklen_t))                            \
	X(int, getsockopt, (int, int, int, void *, socklen_t *))                                \
	X(int, shutdown, (int, int))                                                            \
	X(int, close, (int))                                                                    \
	X(int, dup, (int))                                                                      \
	X(int, dup2, (int, int))                                                                \
	X(int, dup3, (int, int, int))                                                           \
	X(int, fcntl, (int, int, long))                                                         \
	X(FILE *, fdopen, (int, const char *))                                                  \
	X(int, mlockall, (int))                                                                 \
	X(int, prctl, (int, long, long, long, long))                                            \
	X(long, syscall, (long, long, long, long, long, long, long))                            \
	X(int, recvmmsg, (int, struct mmsghdr *, unsigned, rqs_mmsg_flags, struct timespec *))  \
	X(int, sendmmsg, (int, struct mmsghdr *, unsigned, rqs_mmsg_flags))                     \
	X(ssize_t, splice, (int, off_t *, int, off_t *, size_t, unsigned))                      \
	X(int, clone, (int (*)(void *), void *, int, void *, long, long, long))                 \
	X(int, posix_spawn, (pid_t *, const char *, const posix_spawn_file_actions_t *,         \
			     const posix_spawnattr_t *, char *const *, char *const *))          \
	X(int, posix_spawnp, (pid_t *, const char *, const posix_spawn_file_actions_t *,        \
			      const posix_spawnattr_t *, char *const *, char *const *))         \
	X(pid_t, fork, (void))                                                                  \
	X(int, execve, (const char *, char *const *, char *const *))                            \
	X(int, execvpe, (const char *, char *const *, char *const *))                           \
	X(int, fexecve, (int, char *const *, char *const *))                                    \
	X(void, _exit, (int))                                                                   \
	X(int, epoll_create, (int))                                                             \
	X(int, epoll_create1, (int))                                                            \
	X(int, epoll_ctl, (int, int, int, struct epoll_event *))                                \
	X(int, epoll_wait, (int, struct epoll_event *, int, int))                               \
	X(int, epoll_pwait, (int, struct epoll_event *, int, int, const sigset_t *))            \
	X(int, poll, (struct pollfd *, nfds_t, int))                                            \
	X(int, ppoll, (struct pollfd *, nfds_t, const struct timespec *, const sigset_t *))     \
	X(int, select, (int, fd_set *, fd_set *, fd_set *, struct timeval *))                   \
	X(int, pselect, (int, fd_set *, fd_set *, fd_set *, const struct timespec *, const sigset_t *)) \
	RQS_REAL_GLIBC_LIST(X)

struct rqs_real {
#define RQS_REAL_FIELD(result, name, parameters) result(*name) parameters;
	RQS_REAL_LIST(RQS_REAL_FIELD)
#undef RQS_REAL_FIELD
};

extern struct rqs_real rqs_real;
void rqs_real_find(void);

/* The real function; ours may be called before our constructor, by other libraries' ones. */
#define RQS_REAL(name) (rqs_likely(rqs_real.name != NULL) ? rqs_real.name : (rqs_real_find(), rqs_real.name))

extern struct rqs_agent rqs_agent;
extern _Thread_local struct rqs_worker rqs_self;
/* Not 0 between a vfork and its child's end, how deep: the child runs on the parent's memory and must leave no trace in it. */
extern _Thread_local uint32_t rqs_in_vfork;
/* Is the caller a vfork's child, also where nobody saw the vfork, as a process was attached to meanwhile? May make a system call. */
bool rqs_is_vforked(void);

/* Joins or starts a session, once a process; called where it turns out to be a server. May take some ms, once. */
void rqs_activate(void);

/*
 * For a process that is attached to, by one thread at a time: joins
 * rqs_session; 0 or -errno. Switches all hooks off. Gives memory back, when no
 * thread is in the core any more; then it may be activated again.
 */
int rqs_activate_now(void);
void rqs_deactivate(void);
void rqs_deactivated(void);

/* Epoll instances that are there already watch who knows how many descriptors. */
void rqs_wait_forget(void);

/* Where the agent is on before Python can be measured (no interpreter yet): tries again. Cheap when there is nothing to do. */
void rqs_activate_python(void);

/* ---- samples of allocations (sampled.c); core/sample.h tells when one is due ---- */

/* Are they taken in this process? Set before anything else of a recording is. */
extern bool rqs_sampling;
void rqs_sampling_begin(void);
/* The agent is about to be off: tells the blocks' ends that are yet to be told. */
void rqs_sampling_ends(void);
/* The agent is off; and no thread is in the core any more. */
void rqs_sampling_end(void);
void rqs_sampling_ended(void);
/* By memory.c: `free` looks whether a block is followed, or doesn't. */
void rqs_memory_follow(bool on);

/*
 * An allocation of so many bytes, just made (NULL: it failed), is a sample:
 * commits it, with the caller's stack as it is. The next point was drawn
 * before the allocation was made, as handlers of signals allocate too.
 */
void rqs_sampled(enum rqs_sample_kind kind, const void *memory, size_t bytes);

/* Before the allocator gets a block back that rqs_followed_maybe() says yes to. */
void rqs_sampled_freed(const void *memory);
/* A block of this thread's turned out to be a receive buffer: it isn't a sample any more, if it was one. */
void rqs_sampled_withdrawn(const void *memory);
/*
 * The same in two steps, for what may fail (realloc): what rqs_followed_take() said before, 0 none, and whether the
 * block was moved.
 */
void rqs_sampled_moved(const void *memory, uint64_t followed, bool moved);
/* As was counted, a followed block of `from` bytes has given back all but `to`, of which it may be a sample still. */
void rqs_sampled_shrunk(enum rqs_sample_kind kind, const void *memory, uint64_t followed, size_t from, size_t to);

/* Ordered: whoever sees the agent active sees all of it. Never again once it is off: the clock may fault. */
static inline bool rqs_active(void)
{
	return rqs_load(&rqs_agent.process) != NULL && !rqs_load_relaxed(&rqs_agent.off);
}

/*
 * Opens the core to this thread: fills call and marks the thread busy. False
 * when the call has to pass unseen: agent off, a vfork child, or a signal
 * handler inside the core. rqs_leave() must follow a true. The caller sets
 * ticks where the core needs it: a clock costs as much as all the rest.
 */
bool rqs_enter(struct rqs_call *call);

/* The same for calls whose time is now. */
static inline bool rqs_enter_now(struct rqs_call *call)
{
	if (!rqs_enter(call))
		return false;
	call->ticks = rqs_now(call->agent);
	return true;
}

static inline void rqs_leave(void)
{
	__asm__ volatile("" ::: "memory");
	rqs_self.busy = false;
}

/* The kind of a descriptor, RQS_CONN_OTHER where it is out of the table or the agent is off. */
static inline uint8_t rqs_kind(int fd)
{
	if (!rqs_active() || (unsigned)fd >= rqs_agent.connection_limit)
		return RQS_CONN_OTHER;
	return rqs_load_relaxed(&rqs_agent.connections[fd].kind);
}

#endif
