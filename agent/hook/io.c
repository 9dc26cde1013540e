/*
 * io.c - interposers of the calls that move a connection's bytes.
 *
 * When a byte counts as accepted. A call that has to wait for room in the
 * socket buffer accepts its last byte when it returns. One that hasn't to wait
 * accepts all of them at once, but it may return much later: the receiver may
 * already run in our place. So a response's first 16 KiB, which the kernel
 * always has room for (the smallest initial send buffer), count from before the
 * call, and what exceeds that from after it.
 */
#include "hook/arrival.h"
#include "hook/hook.h"
#include "python/py.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <sys/sendfile.h>
#include <unistd.h>

#define NEVER_WAITS 16384u

/* ---- what a read brought ---- */

/* A process that isn't recorded yet turns out to be a server: it reads a request from a socket it was given. */
static void maybe_activate(const void *p, size_t n)
{
	static const char methods[][5] = {"GET ", "POST", "HEAD", "PUT ", "DELE", "OPTI", "PATC"};
	const char *s = p;

	if (n < 4)
		return;
	for (size_t i = 0; i < sizeof(methods) / sizeof(methods[0]); i++) {
		if (s[0] == methods[i][0] && s[1] == methods[i][1] && s[2] == methods[i][2] && s[3] == methods[i][3]) {
			rqs_activate();
			return;
		}
	}
}

static void input_slow(int fd, const struct iovec *v, size_t count, size_t n, uint64_t stamp)
{
	bool followed = rqs_kind(fd) == RQS_CONN_SERVED;
	struct rqs_call call;

	if (!rqs_enter(&call))
		return;
	/* In this order: should we lose the processor between the clocks, that time isn't counted twice. */
	rqs_stamps_queue(&call, stamp);
	call.ticks = rqs_now(call.agent);
	call.fd = fd;
	if (rqs_py_on)
		rqs_py_received(v->iov_base);
	for (size_t i = 0; i < count && n > 0; i++) {
		size_t part = n < v[i].iov_len ? n : v[i].iov_len;

		if (part)
			rqs_conn_input(&call, fd, v[i].iov_base, part);
		n -= part;
	}
	if (rqs_py_on)
		rqs_py_was_told(fd);
	rqs_leave();
	if (rqs_unlikely(!followed) && rqs_kind(fd) == RQS_CONN_SERVED)
		rqs_arrival_ask(fd);
}

/* Bytes that left the stream without passing through memory of the host's. */
static void input_unseen(int fd, ssize_t n)
{
	struct rqs_call call;

	if (n <= 0 || !rqs_conn_matters(rqs_kind(fd)) || !rqs_enter_now(&call))
		return;
	rqs_conn_input_unseen(&call, fd, (uint64_t)n);
	rqs_leave();
}

static inline void input(int fd, const struct iovec *v, size_t count, ssize_t n, uint64_t stamp)
{
	if (n <= 0) {
		/* The vector is good: a bad one has another error. */
		if (rqs_py_on && (n == 0 || errno == EAGAIN) && count && rqs_kind(fd) == RQS_CONN_SERVED)
			rqs_py_received_nothing(fd, v->iov_base, n == 0);
		return;
	}
	if (rqs_unlikely(!rqs_active()) && count)
		maybe_activate(v->iov_base, (size_t)n < v->iov_len ? (size_t)n : v->iov_len);
	if (rqs_conn_matters(rqs_kind(fd)))
		input_slow(fd, v, count, (size_t)n, stamp);
}

/* The same behind the flags of recv: not all of them move the stream on, and on a stream MSG_TRUNC throws data away. */
static inline void received(int fd, const struct iovec *v, size_t count, int flags, ssize_t n, uint64_t stamp)
{
	if (rqs_unlikely(flags & (MSG_PEEK | MSG_OOB | MSG_ERRQUEUE)))
		return;
	if (rqs_unlikely(flags & MSG_TRUNC))
		input_unseen(fd, n);
	else
		input(fd, v, count, n, stamp);
}

/* ---- what a write took ---- */

struct output {
	bool matters;
	uint64_t before; /* ticks */
};

static inline struct output output_begin(int fd)
{
	struct output out = {.matters = rqs_conn_matters(rqs_kind(fd))};

	if (out.matters)
		out.before = rqs_now(&rqs_agent);
	return out;
}

static inline bool output_enter(const struct output *out, int fd, ssize_t n, struct rqs_call *call)
{
	if (n <= 0 || !rqs_enter(call))
		return false;
	call->fd = fd;
	call->ticks = n <= (ssize_t)NEVER_WAITS ? out->before : rqs_now(call->agent);
	return true;
}

static void output_slow(const struct output *out, int fd, const void *p, ssize_t n)
{
	struct rqs_call call;

	if (!output_enter(out, fd, n, &call))
		return;
	rqs_conn_output(&call, fd, p, (size_t)n);
	rqs_leave();
}

static inline void output_end(const struct output *out, int fd, const void *p, ssize_t n)
{
	if (out->matters)
		output_slow(out, fd, p, n);
}

static void output_vector(const struct output *out, int fd, const struct iovec *v, size_t count, ssize_t n)
{
	struct rqs_call call;

	if (!out->matters || !output_enter(out, fd, n, &call))
		return;
	for (size_t i = 0; i < count && n > 0; i++) {
		size_t part = (size_t)n < v[i].iov_len ? (size_t)n : v[i].iov_len;

		if (part)
			rqs_conn_output(&call, fd, v[i].iov_base, part);
		n -= (ssize_t)part;
	}
	rqs_leave();
}

static void output_unseen(const struct output *out, int fd, ssize_t n)
{
	struct rqs_call call;

	if (!out->matters || !output_enter(out, fd, n, &call))
		return;
	rqs_conn_output_unseen(&call, fd, (uint64_t)n);
	rqs_leave();
}

/* ---- reads ---- */

/*
 * A read of nothing asks something else, and recvmsg refuses a length that
 * read refuses otherwise, or that recv cuts: those are the original call's.
 */
static inline bool ordinary(size_t size)
{
	return size - 1 < INT_MAX;
}

static inline bool read_arrival(int fd, struct iovec *v, size_t count, int flags, ssize_t *n, uint64_t *stamp)
{
	return rqs_arrival_stamped(fd) && rqs_arrival_read(fd, v, count, flags, n, stamp);
}

/*
 * The vector may be of no length at all, when readv never waits, or be no
 * memory at all. A call that doesn't wait finds that out: once it has said
 * that there is nothing to read, the vector can be looked at.
 */
static bool readv_arrival(int fd, struct iovec *v, size_t count, ssize_t *n, uint64_t *stamp)
{
	int saved = errno;
	size_t size = 0;

	if (!read_arrival(fd, v, count, MSG_DONTWAIT, n, stamp))
		return false;
	if (*n > 0 || (*n < 0 && errno != EAGAIN))
		return true;
	for (size_t i = 0; i < count && !size; i++)
		size = v[i].iov_len;
	if (*n == 0 && size)
		return true;
	errno = saved;
	return size && read_arrival(fd, v, count, 0, n, stamp);
}

RQS_EXPORT ssize_t read(int fd, void *buffer, size_t size)
{
	struct iovec v = {.iov_base = buffer, .iov_len = size};
	uint64_t stamp = 0;
	ssize_t n;

	if (!ordinary(size) || !read_arrival(fd, &v, 1, 0, &n, &stamp))
		n = RQS_REAL(read)(fd, buffer, size);
	input(fd, &v, 1, n, stamp);
	return n;
}

RQS_EXPORT ssize_t readv(int fd, const struct iovec *v, int count)
{
	uint64_t stamp = 0;
	ssize_t n;

	if (count < 1 || count > IOV_MAX || !readv_arrival(fd, (struct iovec *)v, (size_t)count, &n, &stamp))
		n = RQS_REAL(readv)(fd, v, count);
	input(fd, v, (size_t)count, n, stamp);
	return n;
}

RQS_EXPORT ssize_t recv(int fd, void *buffer, size_t size, int flags)
{
	struct iovec v = {.iov_base = buffer, .iov_len = size};
	uint64_t stamp = 0;
	ssize_t n;

	if (!ordinary(size) || !read_arrival(fd, &v, 1, flags, &n, &stamp))
		n = RQS_REAL(recv)(fd, buffer, size, flags);
	received(fd, &v, 1, flags, n, stamp);
	return n;
}

RQS_EXPORT ssize_t recvfrom(int fd, void *buffer, size_t size, int flags, struct sockaddr *address, socklen_t *length)
{
	struct iovec v = {.iov_base = buffer, .iov_len = size};
	uint64_t stamp = 0;
	ssize_t n;

	if (!ordinary(size) || address || !read_arrival(fd, &v, 1, flags, &n, &stamp))
		n = RQS_REAL(recvfrom)(fd, buffer, size, flags, address, length);
	received(fd, &v, 1, flags, n, stamp);
	return n;
}

/*
 * Descriptors that come by SCM_RIGHTS begin unknown, whatever had their
 * numbers before. Bytes that have arrived on one have their stamp already.
 */
static void received_descriptors(const struct msghdr *message)
{
	struct rqs_call call;

	for (struct cmsghdr *c = CMSG_FIRSTHDR(message); c; c = CMSG_NXTHDR((struct msghdr *)message, c)) {
		if (c->cmsg_level != SOL_SOCKET || c->cmsg_type != SCM_RIGHTS || !rqs_enter_now(&call))
			continue;
		const int *fd = (const int *)(const void *)CMSG_DATA(c);
		size_t count = (c->cmsg_len - CMSG_LEN(0)) / sizeof(int);

		for (size_t i = 0; i < count; i++) {
			rqs_conn_forget(&call, fd[i]);
			if (!rqs_in_vfork && rqs_stamps_came_along(&rqs_agent, fd[i]))
				rqs_conn_passed(&call, fd[i]);
		}
		rqs_leave();
	}
}

RQS_EXPORT ssize_t recvmsg(int fd, struct msghdr *message, int flags)
{
	uint64_t stamp = 0;
	ssize_t n;

	if (!rqs_arrival_stamped(fd) || !rqs_arrival_recvmsg(fd, message, flags, &n, &stamp))
		n = RQS_REAL(recvmsg)(fd, message, flags);
	if (n < 0)
		return n;
	if (message->msg_controllen && rqs_active())
		received_descriptors(message);
	received(fd, message->msg_iov, message->msg_iovlen, flags, n, stamp);
	return n;
}

/* ---- writes ---- */

RQS_EXPORT ssize_t write(int fd, const void *buffer, size_t size)
{
	struct output out = output_begin(fd);
	ssize_t n = RQS_REAL(write)(fd, buffer, size);

	output_end(&out, fd, buffer, n);
	return n;
}

RQS_EXPORT ssize_t writev(int fd, const struct iovec *v, int count)
{
	struct output out = output_begin(fd);
	ssize_t n = RQS_REAL(writev)(fd, v, count);

	output_vector(&out, fd, v, (size_t)count, n);
	return n;
}

RQS_EXPORT ssize_t send(int fd, const void *buffer, size_t size, int flags)
{
	struct output out = output_begin(fd);
	ssize_t n = RQS_REAL(send)(fd, buffer, size, flags);

	output_end(&out, fd, buffer, n);
	return n;
}

RQS_EXPORT ssize_t sendto(int fd, const void *buffer, size_t size, int flags, const struct sockaddr *address,
			  socklen_t length)
{
	struct output out = output_begin(fd);
	ssize_t n = RQS_REAL(sendto)(fd, buffer, size, flags, address, length);

	output_end(&out, fd, buffer, n);
	return n;
}

RQS_EXPORT ssize_t sendmsg(int fd, const struct msghdr *message, int flags)
{
	struct output out = output_begin(fd);
	ssize_t n = RQS_REAL(sendmsg)(fd, message, flags);

	/* Only a call that succeeded tells that the pointer is good. */
	if (n > 0)
		output_vector(&out, fd, message->msg_iov, message->msg_iovlen, n);
	return n;
}

RQS_EXPORT ssize_t sendfile(int to, int from, off_t *offset, size_t size)
{
	struct output out = output_begin(to);
	ssize_t n = RQS_REAL(sendfile)(to, from, offset, size);

	output_unseen(&out, to, n);
	return n;
}

/* ---- several messages at once, and pipes ---- */

RQS_EXPORT int recvmmsg(int fd, struct mmsghdr *messages, unsigned count, rqs_mmsg_flags flags,
			struct timespec *timeout)
{
	rqs_arrival_decline(fd);
	int got = RQS_REAL(recvmmsg)(fd, messages, count, flags, timeout);

	for (int i = 0; i < got; i++) {
		const struct msghdr *m = &messages[i].msg_hdr;

		if (m->msg_controllen && rqs_active())
			received_descriptors(m);
		received(fd, m->msg_iov, m->msg_iovlen, (int)flags, (ssize_t)messages[i].msg_len, 0);
	}
	return got;
}

RQS_EXPORT int sendmmsg(int fd, struct mmsghdr *messages, unsigned count, rqs_mmsg_flags flags)
{
	struct output out = output_begin(fd);
	int sent = RQS_REAL(sendmmsg)(fd, messages, count, flags);

	for (int i = 0; i < sent; i++) {
		const struct msghdr *m = &messages[i].msg_hdr;

		output_vector(&out, fd, m->msg_iov, m->msg_iovlen, (ssize_t)messages[i].msg_len);
	}
	return sent;
}

RQS_EXPORT ssize_t splice(int from, off_t *from_at, int to, off_t *to_at, size_t size, unsigned flags)
{
	struct output out = output_begin(to);
	ssize_t n = RQS_REAL(splice)(from, from_at, to, to_at, size, flags);

	input_unseen(from, n);
	output_unseen(&out, to, n);
	return n;
}

/* ---- glibc's other names: off_t has 64 bits here, and the checks have passed when the real one runs ---- */

#ifdef __GLIBC__

RQS_EXPORT ssize_t sendfile64(int to, int from, off_t *offset, size_t size) __attribute__((alias("sendfile")));

ssize_t __read_chk(int fd, void *buffer, size_t size, size_t room);
ssize_t __recv_chk(int fd, void *buffer, size_t size, size_t room, int flags);
ssize_t __recvfrom_chk(int fd, void *buffer, size_t size, size_t room, int flags, struct sockaddr *address,
		       socklen_t *length);

RQS_EXPORT ssize_t __read_chk(int fd, void *buffer, size_t size, size_t room)
{
	if (size > room)
		__chk_fail();
	return read(fd, buffer, size);
}

RQS_EXPORT ssize_t __recv_chk(int fd, void *buffer, size_t size, size_t room, int flags)
{
	if (size > room)
		__chk_fail();
	return recv(fd, buffer, size, flags);
}

RQS_EXPORT ssize_t __recvfrom_chk(int fd, void *buffer, size_t size, size_t room, int flags, struct sockaddr *address,
				  socklen_t *length)
{
	if (size > room)
		__chk_fail();
	return recvfrom(fd, buffer, size, flags, address, length);
}

#endif
