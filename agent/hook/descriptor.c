/* descriptor.c - interposers of the calls that begin and end connections. */
#include "hook/arrival.h"
#include "hook/hook.h"

#include <unistd.h>

static void tell(void (*event)(const struct rqs_call *, int), int fd)
{
	struct rqs_call call;

	if (!rqs_enter(&call))
		return;
	event(&call, fd);
	rqs_leave();
}

/* Before fd is closed, or its number is taken by another. */
static inline void closing(int fd)
{
	if (rqs_active() && (unsigned)fd < rqs_agent.connection_limit && rqs_kind(fd) != RQS_CONN_UNKNOWN)
		tell(rqs_conn_closing, fd);
}

static void accepted(int listener, int fd)
{
	if (fd < 0)
		return;
	if (!rqs_active())
		rqs_activate();
	if (!rqs_active())
		return;
	/* A listener that came by exec or from another process. */
	if (rqs_kind(listener) == RQS_CONN_UNKNOWN) {
		tell(rqs_conn_listening, listener);
		rqs_arrival_listening(listener);
	}
	tell(rqs_conn_accepted, fd);
	rqs_arrival_accepted(listener, fd);
}

RQS_EXPORT int accept(int fd, struct sockaddr *address, socklen_t *length)
{
	int got = RQS_REAL(accept)(fd, address, length);

	accepted(fd, got);
	return got;
}

RQS_EXPORT int accept4(int fd, struct sockaddr *address, socklen_t *length, int flags)
{
	int got = RQS_REAL(accept4)(fd, address, length, flags);

	accepted(fd, got);
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
			rqs_arrival_listening(fd);
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

static void duplicated(int from, int to)
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
	duplicated(fd, got);
	return got;
}

RQS_EXPORT int dup2(int fd, int to)
{
	if (fd != to)
		closing(to);
	int got = RQS_REAL(dup2)(fd, to);

	duplicated(fd, got);
	return got;
}

RQS_EXPORT int dup3(int fd, int to, int flags)
{
	if (fd != to)
		closing(to);
	int got = RQS_REAL(dup3)(fd, to, flags);

	duplicated(fd, got);
	return got;
}
