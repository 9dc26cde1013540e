/* arrival.c - see arrival.h. */
#include "hook/arrival.h"

#include "hook/sys.h"
#include "hook/trial.h"

#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <string.h>

/* A longer wait is a step of the clock. */
#define QUEUE_MAX_NS (3600ull * 1000000000u)

/* The room a timestamp takes, and no more: other control data is refused for want of room, as it would have been. */
union stamp_control {
	struct cmsghdr header;
	char room[CMSG_SPACE(sizeof(struct timespec))];
};

/* Not in every C library's headers. */
#ifndef SO_TIMESTAMP_NEW
#define SO_TIMESTAMP_NEW 63
#define SO_TIMESTAMPNS_NEW 64
#define SO_TIMESTAMPING_NEW 65
#endif
#ifndef SCM_PIDFD
#define SCM_PIDFD 4
#endif
#ifndef TCP_INQ
#define TCP_INQ 36
#endif

/* ---- asking for stamps ---- */

static bool get(int fd, int option, int *value)
{
	unsigned size = sizeof(*value);

	*value = 0;
	return rqs_sys5(SYS_getsockopt, fd, SOL_SOCKET, option, value, &size) == 0;
}

static int set_stamps(int fd, int on)
{
	return (int)rqs_sys5(SYS_setsockopt, fd, SOL_SOCKET, SO_TIMESTAMPNS_NEW, &on, sizeof(on));
}

static bool has_stamps(int fd)
{
	int value;

	return get(fd, SO_TIMESTAMPNS_NEW, &value) && value;
}

static bool may_stamp(int fd)
{
	static const int options[] = { SO_TIMESTAMPNS, SO_TIMESTAMP, SO_TIMESTAMPING, SO_TIMESTAMP_NEW };
	int value;

	if (!get(fd, SO_DOMAIN, &value) || (value != AF_INET && value != AF_INET6))
		return false;
	/* The host wants stamps itself: then they are its own business. */
	for (size_t i = 0; i < sizeof(options) / sizeof(options[0]); i++)
		if (!get(fd, options[i], &value) || value)
			return false;
	return true;
}

static void stamp(int fd)
{
	struct rqs_conn *conn = rqs_conn_of(&rqs_agent, fd);

	if (!conn || !rqs_agent.stamping || conn->stamped || rqs_in_vfork)
		return;
	/* Those that are on come from us: before the exec, or in the process that passed the socket on. */
	conn->stamped = has_stamps(fd) || (may_stamp(fd) && set_stamps(fd, 1) == 0);
}

static void unstamp(int fd)
{
	struct rqs_conn *conn = rqs_conn_of(&rqs_agent, fd);

	if (conn && conn->stamped) {
		conn->stamped = false;
		conn->unstamped = true;
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
	stamp(fd);
}

void rqs_arrival_accepted(int listener, int fd)
{
	struct rqs_conn *from = rqs_conn_of(&rqs_agent, listener);
	struct rqs_conn *conn = rqs_conn_of(&rqs_agent, fd);
	bool followed = conn && conn->kind == RQS_CONN_SERVED && rqs_agent_on(&rqs_agent);

	if (!from || from->kind != RQS_CONN_LISTENER || !rqs_agent.stamping || rqs_in_vfork)
		return;
	if (from->stamped && followed) {
		conn->stamped = true;
		return;
	}
	/* No hook of ours will take them out of what is read: they end here, and where recording has ended, with the listener. */
	if (from->stamped && !rqs_agent_on(&rqs_agent))
		unstamp(listener);
	if (conn)
		conn->stamped = false;
	if ((from->stamped || from->unstamped) && has_stamps(fd))
		set_stamps(fd, 0);
}

/* An inherited filter may forbid them: these are the calls that stamps take. */
static bool calls_are_allowed(void)
{
	struct msghdr message = { .msg_iov = NULL };
	int value = 0;
	unsigned size = sizeof(value);

	return rqs_sys3(SYS_recvmsg, -1, &message, 0) == -EBADF &&
	       rqs_sys5(SYS_setsockopt, -1, SOL_SOCKET, SO_TIMESTAMPNS_NEW, &value, sizeof(value)) == -EBADF &&
	       rqs_sys5(SYS_getsockopt, -1, SOL_SOCKET, SO_TIMESTAMPNS_NEW, &value, &size) == -EBADF &&
	       rqs_sys4(SYS_rt_sigprocmask, -1, &message, NULL, 8) == -EINVAL;
}

void rqs_arrival_start(void)
{
	rqs_agent.stamping = rqs_trial_passes(calls_are_allowed);
}

void rqs_arrival_stop(void)
{
	if (rqs_agent.stamping)
		for (uint32_t fd = 0; fd < rqs_load_relaxed(&rqs_agent.connections_used); fd++)
			rqs_arrival_decline((int)fd);
	rqs_store_relaxed(&rqs_agent.stamping, false);
}

/* ---- reading them ---- */

/* Descriptors that came where the host left no room for any: it would never have had them. */
static void drop_descriptors(const struct cmsghdr *c)
{
	for (size_t at = CMSG_LEN(0); at + sizeof(int) <= c->cmsg_len; at += sizeof(int)) {
		int fd;

		memcpy(&fd, (const char *)c + at, sizeof(fd));
		rqs_sys1(SYS_close, fd);
	}
}

/* The stamp, or 0; *other when the control data isn't that of a stamped connection. */
static uint64_t find_stamp(struct msghdr *message, bool *other)
{
	for (struct cmsghdr *c = CMSG_FIRSTHDR(message); c; c = CMSG_NXTHDR(message, c)) {
		struct timespec at;

		if (c->cmsg_level == SOL_SOCKET && (c->cmsg_type == SCM_RIGHTS || c->cmsg_type == SCM_PIDFD)) {
			drop_descriptors(c);
			*other = true;
		}
		if (c->cmsg_level != SOL_SOCKET || c->cmsg_type != SO_TIMESTAMPNS_NEW || c->cmsg_len < CMSG_LEN(sizeof(at)))
			continue;
		memcpy(&at, CMSG_DATA(c), sizeof(at));
		return (uint64_t)at.tv_sec * 1000000000u + (uint64_t)at.tv_nsec;
	}
	return 0;
}

/* Data that these flags ask for isn't the stream's next, or comes by another way. */
#define ODD_FLAGS (MSG_PEEK | MSG_OOB | MSG_ERRQUEUE | MSG_TRUNC)

/* Of no interest any more, to anybody: the stamps go. */
static bool lost_interest(int fd)
{
	const struct rqs_conn *conn = rqs_conn_of(&rqs_agent, fd);

	if (!conn || conn->kind != RQS_CONN_OTHER)
		return false;
	unstamp(fd);
	return true;
}

/* What the table says of fd is no longer so: a close that wasn't seen. */
static void is_another(int fd)
{
	struct rqs_conn *conn = rqs_conn_of(&rqs_agent, fd);

	if (conn) {
		conn->stamped = false;
		rqs_store_relaxed(&conn->kind, (uint8_t)RQS_CONN_OTHER);
	}
}

/* After a read by recvmsg that succeeded. */
static uint64_t take_stamp(int fd, struct msghdr *message, ssize_t n)
{
	bool other = false;
	uint64_t stamp = n || message->msg_controllen ? find_stamp(message, &other) : 0;

	if (other)
		is_another(fd);
	return n ? stamp : 0;
}

bool rqs_arrival_read(int fd, struct iovec *v, size_t count, int flags, ssize_t *n, uint64_t *stamp_ns)
{
	union stamp_control control;
	struct msghdr message = {
		.msg_iov = v, .msg_iovlen = count, .msg_control = &control, .msg_controllen = sizeof(control)
	};
	int saved = errno;

	if ((flags & ODD_FLAGS) || lost_interest(fd))
		return false;
	*n = RQS_REAL(recvmsg)(fd, &message, flags);
	if (*n >= 0) {
		*stamp_ns = take_stamp(fd, &message, *n);
		return true;
	}
	if (errno != ENOTSOCK && errno != EPERM && errno != ENOSYS)
		return true;
	/* Or a filter says so. */
	if (errno == ENOTSOCK)
		is_another(fd);
	else
		unstamp(fd);
	errno = saved;
	return false;
}

bool rqs_arrival_recvmsg(int fd, struct msghdr *message, int flags, ssize_t *n, uint64_t *stamp_ns)
{
	union stamp_control control;

	if (lost_interest(fd) || !rqs_readable(message, sizeof(*message)))
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
		*stamp_ns = take_stamp(fd, &ours, *n);
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

bool rqs_arrival_is_option(int level, int option)
{
	switch (option) {
	case SO_TIMESTAMP:
	case SO_TIMESTAMPNS:
	case SO_TIMESTAMPING:
	case SO_TIMESTAMP_NEW:
	case SO_TIMESTAMPNS_NEW:
	case SO_TIMESTAMPING_NEW:
		return level == SOL_SOCKET;
	case TCP_INQ: /* a control message with each read */
	case TCP_ULP: /* TLS in the kernel: reads that have room for control data get records that others refuse */
		return level == IPPROTO_TCP;
	default:
		return false;
	}
}

RQS_EXPORT int setsockopt(int fd, int level, int option, const void *value, socklen_t size)
{
	if (rqs_arrival_is_option(level, option))
		rqs_arrival_decline(fd);
	return RQS_REAL(setsockopt)(fd, level, option, value, size);
}

RQS_EXPORT int getsockopt(int fd, int level, int option, void *value, socklen_t *size)
{
	int result = RQS_REAL(getsockopt)(fd, level, option, value, size);

	if (result == 0 && level == SOL_SOCKET && (option == SO_TIMESTAMP_NEW || option == SO_TIMESTAMPNS_NEW) &&
	    rqs_arrival_stamped(fd))
		memset(value, 0, *size);
	return result;
}
