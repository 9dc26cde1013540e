/* stamps.c - see stamps.h. */
#include "os/stamps.h"

#include "os/sys.h"
#include "os/trial.h"

#include <netinet/in.h>
#include <netinet/tcp.h>

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

void rqs_stamps_ask(struct rqs_agent *agent, int fd)
{
	struct rqs_conn *conn = rqs_conn_of(agent, fd);

	if (!conn || !agent->stamping || conn->stamped)
		return;
	/* Those that are on come from us: before the exec, or in the process that passed the socket on. */
	conn->stamped = has_stamps(fd) || (may_stamp(fd) && set_stamps(fd, 1) == 0);
}

bool rqs_stamps_came_along(const struct rqs_agent *agent, int fd)
{
	int protocol, listens;

	return agent->stamping && has_stamps(fd) && get(fd, SO_PROTOCOL, &protocol) && protocol == IPPROTO_TCP &&
	       get(fd, SO_ACCEPTCONN, &listens) && !listens;
}

static void unstamp(struct rqs_agent *agent, int fd)
{
	struct rqs_conn *conn = rqs_conn_of(agent, fd);

	if (conn && conn->stamped) {
		conn->stamped = false;
		conn->unstamped = true;
		set_stamps(fd, 0);
	}
}

void rqs_stamps_decline(struct rqs_agent *agent, int fd)
{
	if (rqs_stamps_has(agent, fd))
		unstamp(agent, fd);
}

void rqs_stamps_accepted(struct rqs_agent *agent, int listener, int fd)
{
	struct rqs_conn *from = rqs_conn_of(agent, listener);
	struct rqs_conn *conn = rqs_conn_of(agent, fd);
	bool followed = conn && conn->kind == RQS_CONN_SERVED && rqs_agent_on(agent);

	if (!from || from->kind != RQS_CONN_LISTENER || !agent->stamping)
		return;
	if (from->stamped && followed) {
		conn->stamped = true;
		return;
	}
	/* No hook of ours will take them out of what is read: they end here, and where recording has ended, with the listener. */
	if (from->stamped && !rqs_agent_on(agent))
		unstamp(agent, listener);
	if (conn)
		conn->stamped = false;
	if ((from->stamped || from->unstamped) && has_stamps(fd))
		set_stamps(fd, 0);
}

/* An inherited filter may forbid them: these are the calls that stamps take. */
static bool calls_are_allowed(void)
{
	struct msghdr message;
	int value = 0;
	unsigned size = sizeof(value);

	rqs_zero(&message, sizeof(message));
	return rqs_sys3(SYS_recvmsg, -1, &message, 0) == -EBADF &&
	       rqs_sys5(SYS_setsockopt, -1, SOL_SOCKET, SO_TIMESTAMPNS_NEW, &value, sizeof(value)) == -EBADF &&
	       rqs_sys5(SYS_getsockopt, -1, SOL_SOCKET, SO_TIMESTAMPNS_NEW, &value, &size) == -EBADF &&
	       rqs_sys4(SYS_rt_sigprocmask, -1, &message, NULL, 8) == -EINVAL;
}

void rqs_stamps_start(struct rqs_agent *agent)
{
	agent->stamping = rqs_trial_passes(calls_are_allowed);
}

void rqs_stamps_stop(struct rqs_agent *agent)
{
	if (agent->stamping)
		for (uint32_t fd = 0; fd < rqs_load_relaxed(&agent->connections_used); fd++)
			rqs_stamps_decline(agent, (int)fd);
	rqs_store_relaxed(&agent->stamping, false);
}

/* ---- reading them ---- */

/* Descriptors that came where the host left no room for any: it would never have had them. */
static void drop_descriptors(const struct cmsghdr *c)
{
	for (size_t at = CMSG_LEN(0); at + sizeof(int) <= c->cmsg_len; at += sizeof(int)) {
		int fd;

		rqs_copy(&fd, (const char *)c + at, sizeof(fd));
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
		rqs_copy(&at, CMSG_DATA(c), sizeof(at));
		return (uint64_t)at.tv_sec * 1000000000u + (uint64_t)at.tv_nsec;
	}
	return 0;
}

bool rqs_stamps_lost_interest(struct rqs_agent *agent, int fd)
{
	const struct rqs_conn *conn = rqs_conn_of(agent, fd);

	if (!conn || conn->kind != RQS_CONN_OTHER)
		return false;
	unstamp(agent, fd);
	return true;
}

void rqs_stamps_is_another(struct rqs_agent *agent, int fd)
{
	struct rqs_conn *conn = rqs_conn_of(agent, fd);

	if (conn) {
		conn->stamped = false;
		rqs_store_relaxed(&conn->kind, (uint8_t)RQS_CONN_OTHER);
	}
}

uint64_t rqs_stamps_take(struct rqs_agent *agent, int fd, struct msghdr *message, ssize_t n)
{
	bool other = false;
	uint64_t stamp = n || message->msg_controllen ? find_stamp(message, &other) : 0;

	if (other)
		rqs_stamps_is_another(agent, fd);
	return n ? stamp : 0;
}

void rqs_stamps_queue(struct rqs_call *call, uint64_t stamp_ns)
{
	if (!stamp_ns)
		return;
	call->arrived_ns = stamp_ns;
	call->returned_ns = call->agent->env->realtime();
	call->has_queue = rqs_wait_between(call->arrived_ns, call->returned_ns, &call->queue_ns);
}

void rqs_stamps_left_out(struct rqs_call *call, int fd)
{
	if (rqs_stamps_has(call->agent, fd))
		call->returned_ns = call->agent->env->realtime();
}

/* ---- what the host asks itself ---- */

bool rqs_stamps_is_option(int level, int option)
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

bool rqs_stamps_is_our_option(int level, int option)
{
	return level == SOL_SOCKET && (option == SO_TIMESTAMP_NEW || option == SO_TIMESTAMPNS_NEW);
}
