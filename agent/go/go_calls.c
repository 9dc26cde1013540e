/*
 * go_calls.c - a Go program's system calls, before and after: what they tell
 * of its connections.
 *
 * The child of os/exec runs on its parent's memory until it execs, and its
 * system calls come by here: it must leave no trace, whatever its descriptors'
 * numbers mean to its parent. Its goroutine is marked, by runtime_BeforeFork();
 * where that mark was overwritten, or another way led there, it is known by its
 * pid, which is asked for only where it matters.
 */
#include "go/go.h"

#include "os/restriction.h"
#include "os/stamps.h"
#include "os/sys.h"

#include <errno.h>
#include <fcntl.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/uio.h>

/* A response's first bytes never wait for room in the socket (agent/hook/io.c). */
#define NEVER_WAITS 16384u

/* ---- entering the core ---- */

static bool is_active(void)
{
	const struct rqs_agent *agent = rqs_go.agent;

	return agent && rqs_load(&agent->process) && !rqs_load_relaxed(&agent->off);
}

static bool enter(struct rqs_go_context *context, const struct rqs_go_call *frame, struct rqs_call *call)
{
	struct rqs_agent *agent = rqs_go.agent;

	if (!is_active() || !rqs_agent_on(agent))
		return false;
	if (!rqs_worker_enter(agent, &context->worker))
		return false;
	rqs_call_begin(call, agent, &context->worker, frame->g);
	return true;
}

/* The same for calls whose time is now. */
static bool enter_now(struct rqs_go_context *context, const struct rqs_go_call *frame, struct rqs_call *call)
{
	if (!enter(context, frame, call))
		return false;
	call->ticks = rqs_now(call->agent);
	return true;
}

static void tell(struct rqs_go_context *context, const struct rqs_go_call *frame,
		 void (*event)(const struct rqs_call *, int), int fd)
{
	struct rqs_call call;

	if (enter_now(context, frame, &call))
		event(&call, fd);
}

static uint8_t kind_of(int fd)
{
	if (!is_active() || (unsigned)fd >= rqs_go.agent->connection_limit)
		return RQS_CONN_OTHER;
	return rqs_load_relaxed(&rqs_go.agent->connections[fd].kind);
}

static bool is_guarded_by(const struct rqs_go_call *frame, uint64_t mark)
{
	return frame->g && *(const uint64_t *)(frame->g + G_STACK_GUARD) == mark;
}

/* Between fork and exec (runtime/proc.go); the parent calls nothing of interest there. */
static bool is_forking(const struct rqs_go_call *frame)
{
	return is_guarded_by(frame, STACK_FORK);
}

/* Where the scheduler's wish has overwritten the mark. */
static bool is_vfork_child(const struct rqs_go_call *frame)
{
	const struct rqs_agent *agent = rqs_go.agent;
	uint64_t n = frame->number;

	/* Behind a filter there is no asking. These are the child's most of the time. */
	if (rqs_load_relaxed(&agent->frozen))
		return (n == SYS_dup3 || n == SYS_dup2 || n == SYS_execve) && is_guarded_by(frame, STACK_PREEMPT);
	return rqs_load_relaxed(&agent->alive->epoch) == agent->epoch &&
	       agent->env->pid() != (uint32_t)agent->process->owner;
}

/* A child that failed tells its parent the error, in a word, by a pipe whose number is one of its own. */
static bool is_childs_last_word(const struct rqs_go_call *frame)
{
	return frame->number == SYS_write && frame->arguments[2] == sizeof(uint64_t) &&
	       is_guarded_by(frame, STACK_PREEMPT) && is_active() && is_vfork_child(frame);
}

/* ---- descriptors ---- */

static void closing(struct rqs_go_context *context, const struct rqs_go_call *frame, int fd)
{
	uint8_t kind = kind_of(fd);

	if (!is_active() || (unsigned)fd >= rqs_go.agent->connection_limit || kind == RQS_CONN_UNKNOWN)
		return;
	if ((kind != RQS_CONN_OTHER || rqs_go.agent->connections[fd].served) && is_vfork_child(frame))
		return;
	tell(context, frame, rqs_conn_closing, fd);
}

static void closing_range(struct rqs_go_context *context, const struct rqs_go_call *frame, unsigned first,
			  unsigned last)
{
	if (!is_active() || is_vfork_child(frame))
		return;
	unsigned used = rqs_load_relaxed(&rqs_go.agent->connections_used);
	for (unsigned fd = first; fd <= last && fd < used; fd++)
		closing(context, frame, (int)fd);
}

static void duplicated(struct rqs_go_context *context, const struct rqs_go_call *frame, int from, int to)
{
	struct rqs_call call;

	if (to < 0 || to == from || !is_active())
		return;
	closing(context, frame, to); /* by dup2, or a close that wasn't seen */
	if (kind_of(from) != RQS_CONN_UNKNOWN && !is_vfork_child(frame) && enter_now(context, frame, &call))
		rqs_conn_duplicated(&call, from, to);
}

static void listening(struct rqs_go_context *context, const struct rqs_go_call *frame, int fd)
{
	if (!is_active() && rqs_go.activate)
		rqs_go.activate();
	if (!is_active())
		return;
	tell(context, frame, rqs_conn_listening, fd);
	rqs_stamps_ask(rqs_go.agent, fd);
}

static void accepted(struct rqs_go_context *context, const struct rqs_go_call *frame, int listener, int fd)
{
	/* One that came by exec or from another process. */
	if (kind_of(listener) == RQS_CONN_UNKNOWN || !is_active())
		listening(context, frame, listener);
	if (!is_active())
		return;
	tell(context, frame, rqs_conn_accepted, fd);
	rqs_stamps_accepted(rqs_go.agent, listener, fd);
}

/* ---- what reads brought ---- */

struct bytes {
	const struct iovec *v;
	size_t count;
	size_t n;
};

static void input(struct rqs_go_context *context, const struct rqs_go_call *frame, struct bytes bytes, uint64_t stamp)
{
	int fd = (int)frame->arguments[0];
	bool followed = kind_of(fd) == RQS_CONN_SERVED;
	struct rqs_call call;

	if (!rqs_conn_matters(kind_of(fd)) || !enter(context, frame, &call))
		return;
	if (stamp)
		rqs_stamps_queue(&call, stamp);
	else
		rqs_stamps_left_out(&call, fd);
	call.ticks = rqs_now(call.agent);
	for (size_t i = 0; i < bytes.count && bytes.n > 0; i++) {
		size_t part = bytes.n < bytes.v[i].iov_len ? bytes.n : bytes.v[i].iov_len;

		if (part)
			rqs_conn_input(&call, fd, bytes.v[i].iov_base, part);
		bytes.n -= part;
	}
	if (!followed && kind_of(fd) == RQS_CONN_SERVED)
		rqs_stamps_ask(call.agent, fd);
}

static void input_unseen(struct rqs_go_context *context, const struct rqs_go_call *frame, int fd, uint64_t n)
{
	struct rqs_call call;

	if (n && rqs_conn_matters(kind_of(fd)) && enter_now(context, frame, &call))
		rqs_conn_input_unseen(&call, fd, n);
}

static void received(struct rqs_go_context *context, const struct rqs_go_call *frame, struct bytes bytes, int flags)
{
	if (flags & (MSG_PEEK | MSG_OOB | MSG_ERRQUEUE))
		return;
	if (flags & MSG_TRUNC)
		input_unseen(context, frame, (int)frame->arguments[0], bytes.n);
	else
		input(context, frame, bytes, 0);
}

/* A read that was made a recvmsg (entries.S). Its errors, where they are only ours, end in the read itself. */
static void stamped_read(struct rqs_go_context *context, struct rqs_go_call *frame)
{
	struct msghdr *message = (struct msghdr *)frame->extra;
	struct iovec *v = message->msg_iov;
	int fd = (int)frame->arguments[0];
	long n = (long)frame->result;

	if (n < 0) {
		if (n != -ENOTSOCK && n != -EPERM && n != -ENOSYS)
			return;
		if (n == -ENOTSOCK)
			rqs_stamps_is_another(rqs_go.agent, fd);
		else
			rqs_stamps_decline(rqs_go.agent, fd);
		frame->result = (uint64_t)rqs_sys3(SYS_read, fd, v->iov_base, v->iov_len);
		return;
	}
	uint64_t stamp = rqs_stamps_take(rqs_go.agent, fd, message, n);
	input(context, frame, (struct bytes){ .v = v, .count = 1, .n = (size_t)n }, stamp);
}

/* Descriptors that come by SCM_RIGHTS begin unknown, whatever had their numbers before. */
static void received_descriptors(struct rqs_go_context *context, const struct rqs_go_call *frame,
				 struct msghdr *message)
{
	for (struct cmsghdr *c = CMSG_FIRSTHDR(message); c; c = CMSG_NXTHDR(message, c)) {
		if (c->cmsg_level != SOL_SOCKET || c->cmsg_type != SCM_RIGHTS)
			continue;
		for (size_t at = CMSG_LEN(0); at + sizeof(int) <= c->cmsg_len; at += sizeof(int)) {
			int fd;

			rqs_copy(&fd, (const char *)c + at, sizeof(fd));
			closing(context, frame, fd);
		}
	}
}

static void received_message(struct rqs_go_context *context, const struct rqs_go_call *frame, struct msghdr *message,
			     size_t n, int flags)
{
	if (message->msg_controllen)
		received_descriptors(context, frame, message);
	received(context, frame, (struct bytes){ .v = message->msg_iov, .count = message->msg_iovlen, .n = n }, flags);
}

static void received_messages(struct rqs_go_context *context, const struct rqs_go_call *frame)
{
	struct mmsghdr *messages = (struct mmsghdr *)frame->arguments[1];

	for (long i = 0; i < (long)frame->result; i++)
		received_message(context, frame, &messages[i].msg_hdr, messages[i].msg_len, (int)frame->arguments[3]);
}

/* ---- what writes took ---- */

static bool enter_output(struct rqs_go_context *context, const struct rqs_go_call *frame, uint64_t n,
			 struct rqs_call *call)
{
	if (!enter(context, frame, call))
		return false;
	bool early = n <= NEVER_WAITS && frame->extra && call->agent->region->clock == RQS_CLOCK_TSC;
	call->ticks = early ? frame->extra : rqs_now(call->agent);
	return true;
}

static void output(struct rqs_go_context *context, const struct rqs_go_call *frame, struct bytes bytes)
{
	int fd = (int)frame->arguments[0];
	struct rqs_call call;

	if (!rqs_conn_matters(kind_of(fd)) || !enter_output(context, frame, bytes.n, &call))
		return;
	for (size_t i = 0; i < bytes.count && bytes.n > 0; i++) {
		size_t part = bytes.n < bytes.v[i].iov_len ? bytes.n : bytes.v[i].iov_len;

		if (part)
			rqs_conn_output(&call, fd, bytes.v[i].iov_base, part);
		bytes.n -= part;
	}
}

static void output_unseen(struct rqs_go_context *context, const struct rqs_go_call *frame, int fd)
{
	struct rqs_call call;

	if (rqs_conn_matters(kind_of(fd)) && enter_output(context, frame, frame->result, &call))
		rqs_conn_output_unseen(&call, fd, frame->result);
}

static void sent_messages(struct rqs_go_context *context, const struct rqs_go_call *frame)
{
	struct mmsghdr *messages = (struct mmsghdr *)frame->arguments[1];

	for (long i = 0; i < (long)frame->result; i++) {
		const struct msghdr *m = &messages[i].msg_hdr;

		output(context, frame,
		       (struct bytes){ .v = m->msg_iov, .count = m->msg_iovlen, .n = messages[i].msg_len });
	}
}

/* ---- one call ---- */

static void exec_redirected(struct rqs_go_call *frame)
{
	bool is_exec = frame->number == SYS_execve || frame->number == SYS_execveat;

	if (is_exec && !rqs_load_relaxed(&rqs_go.agent->frozen))
		rqs_go_exec_redirect(frame);
}

static void exec_begins(struct rqs_go_call *frame)
{
	exec_redirected(frame);
	if (is_active() && !is_vfork_child(frame))
		rqs_agent_exec(rqs_go.agent, true);
}

/* Else all that we have reserved would be brought into memory; as it is, it is locked when it is touched. */
static void lock_begins(struct rqs_go_call *frame)
{
	if (frame->arguments[0] & MCL_CURRENT)
		frame->arguments[0] |= MCL_ONFAULT;
}

static void message_begins(int fd, const struct msghdr *message)
{
	if (!rqs_stamps_has(rqs_go.agent, fd))
		return;
	/* Its control data would show a stamp; and so might flags. Without any, they are cut off as ever. */
	if (!message || (rqs_readable(message, sizeof(*message)) && message->msg_controllen))
		rqs_stamps_decline(rqs_go.agent, fd);
}

/* Descriptors are looked at before they close: the kernel may hand them out again at once. */
void rqs_go_call_begins(struct rqs_go_context *context, struct rqs_go_call *frame)
{
	const uint64_t *a = frame->arguments;
	int fd = (int)a[0];

	if (!rqs_go.agent)
		return;
	if (is_forking(frame)) {
		exec_redirected(frame);
		return;
	}
	switch (frame->number) {
	case SYS_read:
		rqs_stamps_lost_interest(rqs_go.agent, fd);
		break;
	case SYS_close:
		closing(context, frame, fd);
		break;
	case SYS_close_range:
		if (!(a[2] & CLOSE_RANGE_CLOEXEC))
			closing_range(context, frame, (unsigned)a[0], (unsigned)a[1]);
		break;
	case SYS_connect:
		if (is_active() && !is_vfork_child(frame))
			tell(context, frame, rqs_conn_not_served, fd);
		break;
	case SYS_recvmsg:
		message_begins(fd, (const struct msghdr *)a[1]);
		break;
	case SYS_recvmmsg:
		message_begins(fd, NULL);
		break;
	case SYS_setsockopt:
		if (rqs_stamps_is_option((int)a[1], (int)a[2]))
			rqs_stamps_decline(rqs_go.agent, fd);
		break;
	case SYS_execve:
	case SYS_execveat:
		exec_begins(frame);
		break;
	case SYS_mlockall:
		lock_begins(frame);
		break;
	case SYS_prctl:
		if (is_active() && !is_vfork_child(frame))
			rqs_restriction_prctl(rqs_go.agent, (long)a[0], (long)a[1]);
		break;
	case SYS_seccomp:
		if (is_active() && !is_vfork_child(frame))
			rqs_restriction_seccomp(rqs_go.agent, (long)a[0]);
		break;
	default:
		break;
	}
}

static void descriptor_call_done(struct rqs_go_context *context, const struct rqs_go_call *frame)
{
	const uint64_t *a = frame->arguments;
	int fd = (int)a[0], result = (int)frame->result;

	switch (frame->number) {
	case SYS_accept:
	case SYS_accept4:
		accepted(context, frame, fd, result);
		break;
	case SYS_listen:
		listening(context, frame, fd);
		break;
	case SYS_shutdown:
		if (a[1] != SHUT_RD && rqs_conn_matters(kind_of(fd)))
			tell(context, frame, rqs_conn_output_ended, fd);
		break;
	case SYS_fcntl:
		if (a[1] != F_DUPFD && a[1] != F_DUPFD_CLOEXEC)
			break;
		duplicated(context, frame, fd, result);
		break;
	case SYS_dup:
	case SYS_dup2:
	case SYS_dup3:
		duplicated(context, frame, fd, result);
		break;
	case SYS_io_uring_setup:
		if (is_active())
			rqs_count(rqs_go.agent, RQS_EVENT_IO_URING);
		break;
	default:
		break;
	}
}

static void transfer_done(struct rqs_go_context *context, const struct rqs_go_call *frame)
{
	const uint64_t *a = frame->arguments;
	const struct iovec plain = { .iov_base = (void *)a[1], .iov_len = a[2] };
	const struct bytes one = { .v = &plain, .count = 1, .n = frame->result };
	const struct bytes vector = { .v = (const struct iovec *)a[1], .count = a[2], .n = frame->result };
	struct msghdr *message = (struct msghdr *)a[1];

	switch (frame->number) {
	case SYS_read:
		input(context, frame, one, 0);
		break;
	case SYS_readv:
		input(context, frame, vector, 0);
		break;
	case SYS_recvfrom:
		received(context, frame, one, (int)a[3]);
		break;
	case SYS_recvmsg:
		received_message(context, frame, message, frame->result, (int)a[2]);
		break;
	case SYS_recvmmsg:
		received_messages(context, frame);
		break;
	case SYS_write:
	case SYS_sendto:
		output(context, frame, one);
		break;
	case SYS_writev:
		output(context, frame, vector);
		break;
	case SYS_sendmsg:
		output(context, frame,
		       (struct bytes){ .v = message->msg_iov, .count = message->msg_iovlen, .n = frame->result });
		break;
	case SYS_sendmmsg:
		sent_messages(context, frame);
		break;
	case SYS_sendfile:
		output_unseen(context, frame, (int)a[0]);
		break;
	case SYS_splice:
		input_unseen(context, frame, (int)a[0], frame->result);
		output_unseen(context, frame, (int)a[2]);
		break;
	default:
		break;
	}
}

void rqs_go_call_done(struct rqs_go_context *context, struct rqs_go_call *frame)
{
	long result = (long)frame->result;

	if (!rqs_go.agent)
		return;
	if (frame->number == CALL_STAMPED) {
		stamped_read(context, frame);
		return;
	}
	if (is_forking(frame) || is_childs_last_word(frame))
		return;
	if (result < 0) {
		if ((frame->number == SYS_execve || frame->number == SYS_execveat) && is_active() && !is_vfork_child(frame))
			rqs_agent_exec(rqs_go.agent, false);
		return;
	}
	descriptor_call_done(context, frame);
	if (result > 0)
		transfer_done(context, frame);
}
