/* arrival.c - see arrival.h. */
#include "hook/arrival.h"

#include "hook/sys.h"

#include <errno.h>
#include <linux/seccomp.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/wait.h>

/* A longer wait is a step of the clock. */
#define QUEUE_MAX_NS (3600ull * 1000000000u)

/* The room a timestamp takes, and no more: other control data is refused for want of room, as it would have been. */
union stamp_control {
	struct cmsghdr header;
	char room[CMSG_SPACE(sizeof(struct timespec))];
};

/* ---- asking for stamps ---- */

static int set_stamps(int fd, int on)
{
	return (int)rqs_sys5(SYS_setsockopt, fd, SOL_SOCKET, SO_TIMESTAMPNS, &on, sizeof(on));
}

static bool may_stamp(int fd)
{
	static const int options[] = { SO_TIMESTAMPNS, SO_TIMESTAMP };
	int value = 0;
	unsigned size = sizeof(value);

	if (rqs_sys5(SYS_getsockopt, fd, SOL_SOCKET, SO_DOMAIN, &value, &size) ||
	    (value != AF_INET && value != AF_INET6))
		return false;
	/* The host wants stamps itself: then they are its own business. */
	for (size_t i = 0; i < sizeof(options) / sizeof(options[0]); i++) {
		size = sizeof(value);
		if (rqs_sys5(SYS_getsockopt, fd, SOL_SOCKET, options[i], &value, &size) || value)
			return false;
	}
	return true;
}

static void stamp(int fd)
{
	struct rqs_conn *conn = rqs_conn_of(&rqs_agent, fd);

	if (conn && rqs_agent.stamping && !conn->stamped && may_stamp(fd))
		conn->stamped = set_stamps(fd, 1) == 0;
}

static void unstamp(int fd)
{
	struct rqs_conn *conn = rqs_conn_of(&rqs_agent, fd);

	if (conn && conn->stamped) {
		conn->stamped = false;
		set_stamps(fd, 0);
	}
}

void rqs_arrival_decline(int fd)
{
	if (rqs_arrival_stamped(fd))
		unstamp(fd);
}

void rqs_arrival_listening(int fd)
{
	stamp(fd);
}

void rqs_arrival_adopted(int fd)
{
	struct rqs_conn *conn = rqs_conn_of(&rqs_agent, fd);
	int value = 0;
	unsigned size = sizeof(value);

	if (!conn || !rqs_agent.stamping)
		return;
	/* Stamps that are on already come from our listener, in the process that passed the connection on. */
	if (rqs_sys5(SYS_getsockopt, fd, SOL_SOCKET, SO_TIMESTAMPNS, &value, &size) == 0 && value)
		conn->stamped = true;
	else
		stamp(fd);
}

void rqs_arrival_accepted(int listener, int fd)
{
	const struct rqs_conn *from = rqs_conn_of(&rqs_agent, listener);
	struct rqs_conn *conn = rqs_conn_of(&rqs_agent, fd);

	if (from && conn && from->kind == RQS_CONN_LISTENER && conn->kind == RQS_CONN_SERVED)
		conn->stamped = from->stamped;
}

/*
 * Is a filter inherited that may kill for a call of ours? Tried in a child,
 * which nobody waits for but us (no exit signal, no fork handlers).
 */
static bool filter_forbids(void)
{
	struct msghdr message = { .msg_iov = NULL };
	int value = 0, status = 0;
	unsigned size = sizeof(value);

	if (rqs_sys2(SYS_prctl, PR_GET_SECCOMP, 0) != SECCOMP_MODE_FILTER)
		return false;
	long pid = rqs_sys5(SYS_clone, 0, 0, 0, 0, 0);
	if (pid == 0) {
		long a = rqs_sys3(SYS_recvmsg, -1, &message, 0);
		long b = rqs_sys5(SYS_setsockopt, -1, SOL_SOCKET, SO_TIMESTAMPNS, &value, sizeof(value));
		long c = rqs_sys5(SYS_getsockopt, -1, SOL_SOCKET, SO_TIMESTAMPNS, &value, &size);
		for (;;)
			rqs_sys1(SYS_exit_group, !(a == -EBADF && b == -EBADF && c == -EBADF));
	}
	return pid < 0 || rqs_sys4(SYS_wait4, pid, &status, __WALL, NULL) != pid || status != 0;
}

void rqs_arrival_start(void)
{
	rqs_agent.stamping = !filter_forbids();
}

void rqs_arrival_stop(void)
{
	rqs_store_relaxed(&rqs_agent.stamping, false);
}

/* ---- reading them ---- */

static uint64_t find_stamp(struct msghdr *message)
{
	for (struct cmsghdr *c = CMSG_FIRSTHDR(message); c; c = CMSG_NXTHDR(message, c)) {
		struct timespec at;

		if (c->cmsg_level != SOL_SOCKET || c->cmsg_type != SCM_TIMESTAMPNS || c->cmsg_len < CMSG_LEN(sizeof(at)))
			continue;
		memcpy(&at, CMSG_DATA(c), sizeof(at));
		return (uint64_t)at.tv_sec * 1000000000u + (uint64_t)at.tv_nsec;
	}
	return 0;
}

/* Data that these flags ask for isn't the stream's next, or comes by another way. */
#define ODD_FLAGS (MSG_PEEK | MSG_OOB | MSG_ERRQUEUE | MSG_TRUNC)

bool rqs_arrival_read(int fd, struct iovec *v, size_t count, int flags, ssize_t *n, uint64_t *stamp_ns)
{
	union stamp_control control;
	struct msghdr message = {
		.msg_iov = v, .msg_iovlen = count, .msg_control = &control, .msg_controllen = sizeof(control)
	};
	int saved = errno;

	if (flags & ODD_FLAGS)
		return false;
	*n = RQS_REAL(recvmsg)(fd, &message, flags);
	if (*n >= 0) {
		*stamp_ns = *n ? find_stamp(&message) : 0;
		return true;
	}
	if (errno != ENOTSOCK && errno != EPERM && errno != ENOSYS)
		return true;
	/* Not what the table says: a close that wasn't seen. */
	struct rqs_conn *conn = rqs_conn_of(&rqs_agent, fd);
	if (conn)
		conn->stamped = false;
	errno = saved;
	return false;
}

bool rqs_arrival_recvmsg(int fd, struct msghdr *message, int flags, ssize_t *n, uint64_t *stamp_ns)
{
	union stamp_control control;

	if (!rqs_readable(message, sizeof(*message)))
		return false;
	/* It asks for control data, or for flags, that a stamp would have to be taken out of again. So no more stamps. */
	if ((flags & ODD_FLAGS) || (message->msg_control && message->msg_controllen)) {
		unstamp(fd);
		return false;
	}
	struct msghdr ours = *message;
	ours.msg_control = &control;
	ours.msg_controllen = sizeof(control);
	*n = RQS_REAL(recvmsg)(fd, &ours, flags);
	if (*n >= 0) {
		*stamp_ns = *n ? find_stamp(&ours) : 0;
		message->msg_namelen = ours.msg_namelen;
		message->msg_flags = ours.msg_flags;
		message->msg_controllen = 0;
	}
	return true;
}

void rqs_arrival_queue(struct rqs_call *call, uint64_t stamp_ns)
{
	struct timespec now;

	if (!stamp_ns)
		return;
	clock_gettime(CLOCK_REALTIME, &now); /* the vDSO; can't fail */
	uint64_t ns = (uint64_t)now.tv_sec * 1000000000u + (uint64_t)now.tv_nsec;
	if (ns >= stamp_ns && ns - stamp_ns < QUEUE_MAX_NS) {
		call->queue_ns = ns - stamp_ns;
		call->has_queue = true;
	}
}

/* ---- what the host asks itself ---- */

static bool is_stamp_option(int level, int option)
{
	/* The second names of the same options, for 64-bit times, are SO_*_NEW. */
	return level == SOL_SOCKET && (option == SO_TIMESTAMP || option == SO_TIMESTAMPNS || option == SO_TIMESTAMPING ||
				       option == 63 || option == 64 || option == 65);
}

RQS_EXPORT int setsockopt(int fd, int level, int option, const void *value, socklen_t size)
{
	if (is_stamp_option(level, option))
		rqs_arrival_decline(fd);
	return RQS_REAL(setsockopt)(fd, level, option, value, size);
}

RQS_EXPORT int getsockopt(int fd, int level, int option, void *value, socklen_t *size)
{
	int result = RQS_REAL(getsockopt)(fd, level, option, value, size);

	if (result == 0 && level == SOL_SOCKET && option == SO_TIMESTAMPNS && rqs_arrival_stamped(fd))
		memset(value, 0, *size);
	return result;
}
