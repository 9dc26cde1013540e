/* descriptor.c - interposers of the calls that begin and end connections. */
#include "hook/arrival.h"
#include "hook/descriptor.h"
#include "hook/got.h"
#include "hook/hook.h"
#include "os/sys.h"
#include "python/py.h"

#include <fcntl.h>
#include <stdio.h>
#include <sys/resource.h>
#include <unistd.h>

static void tell(void (*event)(const struct rqs_call *, int), int fd)
{
	struct rqs_call call;

	if (!rqs_enter_now(&call))
		return;
	event(&call, fd);
	rqs_leave();
}

static inline void closing(int fd)
{
	if (rqs_active() && (unsigned)fd < rqs_agent.connection_limit && rqs_kind(fd) != RQS_CONN_UNKNOWN)
		tell(rqs_conn_closing, fd);
	if (rqs_py_on && !rqs_in_vfork)
		rqs_py_closing(fd);
}

void rqs_descriptor_closing(int fd)
{
	closing(fd);
}

void rqs_descriptor_closing_range(unsigned first, unsigned last)
{
	if (!rqs_active())
		return;
	/* Beyond what was ever in use there is nothing to end; marks of disinterest up to there go, too. */
	unsigned used = rqs_load_relaxed(&rqs_agent.connections_used);
	for (unsigned fd = first; fd <= last && fd < used; fd++)
		closing((int)fd);
}

void rqs_descriptor_accepted(int listener, int fd)
{
	if (fd < 0)
		return;
	if (!rqs_active())
		rqs_activate();
	if (!rqs_active())
		return;
	rqs_got_look_if_due();
	/* A listener that came by exec or from another process. */
	if (rqs_kind(listener) == RQS_CONN_UNKNOWN) {
		tell(rqs_conn_listening, listener);
		rqs_arrival_ask(listener);
	}
	tell(rqs_conn_accepted, fd);
	rqs_activate_python();
	if (rqs_py_on && !rqs_in_vfork) {
		rqs_py_goes_on();
		rqs_py_accepted(fd);
	}
	rqs_arrival_accepted(listener, fd);
}

RQS_EXPORT int accept(int fd, struct sockaddr *address, socklen_t *length)
{
	int got = RQS_REAL(accept)(fd, address, length);

	rqs_descriptor_accepted(fd, got);
	return got;
}

RQS_EXPORT int accept4(int fd, struct sockaddr *address, socklen_t *length, int flags)
{
	int got = RQS_REAL(accept4)(fd, address, length, flags);

	rqs_descriptor_accepted(fd, got);
	return got;
}

RQS_EXPORT int listen(int fd, int backlog)
{
	int result = RQS_REAL(listen)(fd, backlog);

	if (result == 0) {
		if (!rqs_active())
			rqs_activate();
		if (rqs_active()) {
			tell(rqs_conn_listening, fd);
			rqs_arrival_ask(fd);
		}
	}
	return result;
}

RQS_EXPORT int connect(int fd, const struct sockaddr *address, socklen_t length)
{
	if (rqs_active())
		tell(rqs_conn_not_served, fd);
	return RQS_REAL(connect)(fd, address, length);
}

RQS_EXPORT int shutdown(int fd, int how)
{
	int result = RQS_REAL(shutdown)(fd, how);

	if (result == 0 && how != SHUT_RD && rqs_conn_matters(rqs_kind(fd)))
		tell(rqs_conn_output_ended, fd);
	return result;
}

RQS_EXPORT int close(int fd)
{
	closing(fd);
	return RQS_REAL(close)(fd);
}

void rqs_descriptor_duplicated(int from, int to)
{
	struct rqs_call call;

	if (to < 0 || to == from || !rqs_active() || rqs_kind(from) == RQS_CONN_UNKNOWN || !rqs_enter(&call))
		return;
	rqs_conn_duplicated(&call, from, to);
	rqs_leave();
}

RQS_EXPORT int dup(int fd)
{
	int got = RQS_REAL(dup)(fd);

	if (got >= 0)
		closing(got); /* a close that wasn't seen */
	rqs_descriptor_duplicated(fd, got);
	return got;
}

/* After the call: one that fails leaves `to` as it was, and in one that succeeds the number never was free. */
RQS_EXPORT int dup2(int fd, int to)
{
	int got = RQS_REAL(dup2)(fd, to);

	if (got >= 0 && fd != to)
		closing(to);
	rqs_descriptor_duplicated(fd, got);
	return got;
}

RQS_EXPORT int dup3(int fd, int to, int flags)
{
	int got = RQS_REAL(dup3)(fd, to, flags);

	if (got >= 0)
		closing(to);
	rqs_descriptor_duplicated(fd, got);
	return got;
}

/* ---- the same by other names ---- */

/* Variadic in the headers: at most one argument, of a long's size. */
int rqs_fcntl(int fd, int command, long argument) __asm__("fcntl");

RQS_EXPORT int rqs_fcntl(int fd, int command, long argument)
{
	int result = RQS_REAL(fcntl)(fd, command, argument);

	if (rqs_unlikely(command == F_DUPFD || command == F_DUPFD_CLOEXEC) && result >= 0) {
		closing(result); /* a close that wasn't seen */
		rqs_descriptor_duplicated(fd, result);
	}
	return result;
}

/* What only glibc has; the last two since 2.34. Where it has none, a program may have found ours. */
#ifdef __GLIBC__

int rqs_fcntl64(int fd, int command, long argument) __asm__("fcntl64");
int close_range(unsigned first, unsigned last, int flags);
void closefrom(int first);

RQS_EXPORT int rqs_fcntl64(int fd, int command, long argument)
{
	return rqs_fcntl(fd, command, argument);
}

RQS_EXPORT int close_range(unsigned first, unsigned last, int flags)
{
	/* With CLOSE_RANGE_CLOEXEC nothing is closed yet. */
	if (!(flags & (int)CLOSE_RANGE_CLOEXEC))
		rqs_descriptor_closing_range(first, last);
	if (rqs_unlikely(!RQS_REAL(close_range)))
		return (int)RQS_REAL(syscall)(SYS_close_range, first, last, flags, 0, 0, 0);
	return RQS_REAL(close_range)(first, last, flags);
}

static void close_from(unsigned first)
{
	struct rlimit limit;

	if (rqs_sys3(SYS_close_range, first, UINT32_MAX, 0) == 0 || getrlimit(RLIMIT_NOFILE, &limit))
		return;
	for (unsigned fd = first; fd < limit.rlim_cur; fd++)
		rqs_sys1(SYS_close, fd);
}

RQS_EXPORT void closefrom(int first)
{
	unsigned from = first < 0 ? 0 : (unsigned)first;

	rqs_descriptor_closing_range(from, UINT32_MAX);
	if (rqs_unlikely(!RQS_REAL(closefrom)))
		close_from(from);
	else
		RQS_REAL(closefrom)(first);
}

#endif

/* stdio reads and writes by calls inside libc that no one can interpose: such a connection is given up, and named. */
RQS_EXPORT FILE *fdopen(int fd, const char *mode)
{
	FILE *file = RQS_REAL(fdopen)(fd, mode);

	if (file && rqs_active() && rqs_kind(fd) != RQS_CONN_UNKNOWN && rqs_conn_matters(rqs_kind(fd))) {
		rqs_count(&rqs_agent, RQS_EVENT_STDIO);
		tell(rqs_conn_unseen, fd);
	}
	return file;
}
