/* host.c - see host.h. */
#include "os/host.h"

#include "os/adopt.h"
#include "core/followed.h"
#include "os/reserve.h"
#include "os/sys.h"
#include "os/trial.h"

#include <poll.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/uio.h>

/* ---- the core's outside world ---- */

static rqs_clock_gettime clock_gettime_;

static uint64_t now(clockid_t clock)
{
	struct timespec at;

	clock_gettime_(clock, &at);
	return (uint64_t)at.tv_sec * 1000000000u + (uint64_t)at.tv_nsec;
}

static uint64_t monotonic(void)
{
	return now(CLOCK_MONOTONIC);
}

static uint64_t realtime(void)
{
	return now(CLOCK_REALTIME);
}

static uint32_t pid(void)
{
	return (uint32_t)rqs_sys0(SYS_getpid);
}

static uint32_t tid(void)
{
	return (uint32_t)rqs_sys0(SYS_gettid);
}

static uint32_t parent_pid(void)
{
	return (uint32_t)rqs_sys0(SYS_getppid);
}

static bool is_stream_socket(int fd)
{
	int type = 0, listening = 0;
	unsigned size = sizeof(int);

	return rqs_sys5(SYS_getsockopt, fd, SOL_SOCKET, SO_TYPE, &type, &size) == 0 && type == SOCK_STREAM &&
	       rqs_sys5(SYS_getsockopt, fd, SOL_SOCKET, SO_ACCEPTCONN, &listening, &size) == 0 && !listening;
}

static void yield(void)
{
	rqs_sys0(SYS_sched_yield);
}

#define PAGE 4096u
#define PIECES 8u

static bool may_copy;

/* By the kernel, as another thread may unmap what is there: by pages, of which each is copied or isn't. */
static size_t copy(void *to, const void *from, size_t n)
{
	struct iovec whole = { to, n }, pages[PIECES];
	uint64_t at = (uint64_t)from, end = at + n;
	size_t count = 0;

	for (; at < end && count < PIECES; at += pages[count++].iov_len) {
		uint64_t next = (at | (PAGE - 1)) + 1;

		pages[count] = (struct iovec){ (void *)at, (next < end ? next : end) - at };
	}
	long copied = may_copy ? rqs_sys6(SYS_process_vm_readv, tid(), &whole, 1, pages, count, 0) : 0;
	return copied > 0 ? (size_t)copied : 0;
}

static bool copying_is_allowed(void)
{
	return rqs_sys6(SYS_process_vm_readv, tid(), NULL, 0, NULL, 0, 0) == 0;
}

static const struct rqs_env env = {
	.monotonic = monotonic,
	.realtime = realtime,
	.pid = pid,
	.tid = tid,
	.parent_pid = parent_pid,
	.is_stream_socket = is_stream_socket,
	.origin = rqs_adopt_origin,
	.yield = yield,
	.copy = copy,
};

const struct rqs_env *rqs_host_env(rqs_clock_gettime clock)
{
	clock_gettime_ = clock;
	return &env;
}

/* ---- memory ---- */

/* Address space only: pages come with the descriptors in use. */
static bool map_connections(struct rqs_agent *agent)
{
	size_t share = rqs_reserve_share(RQS_DESCRIPTORS * sizeof(struct rqs_conn));

	for (uint32_t n = RQS_DESCRIPTORS; n >= 1024; n /= 2) {
		size_t size = n * sizeof(struct rqs_conn);
		void *table = size <= share || n == 1024 ? rqs_reserve_sparse(size) : NULL;

		if (!table)
			continue;
		agent->connections = table;
		agent->connection_limit = n;
		return true;
	}
	return false;
}

bool rqs_host_map(struct rqs_agent *agent)
{
	if (!map_connections(agent))
		return false;
	agent->alive = rqs_reserve(4096, -1);
	if (!agent->alive) {
		rqs_host_unmap(agent);
		return false;
	}
	/* Without WIPEONFORK (before Linux 4.14) the fork hook alone tells a child. */
	rqs_sys3(SYS_madvise, agent->alive, 4096, MADV_WIPEONFORK);
	return true;
}

void rqs_host_unmap(struct rqs_agent *agent)
{
	if (agent->connections)
		rqs_unreserve(agent->connections, agent->connection_limit * sizeof(struct rqs_conn));
	if (agent->alive)
		rqs_unreserve(agent->alive, 4096);
	agent->connections = NULL;
	agent->connection_limit = 0;
	agent->alive = NULL;
}

/* Stays where it is for good: threads may have read its address. */
static void *followed;

void rqs_host_sample(void)
{
	may_copy = rqs_trial_passes(copying_is_allowed);
	if (!followed)
		followed = rqs_reserve_sparse(RQS_FOLLOWED_SIZE);
	/* A child that has its parent's table would tell of other blocks. */
	if (followed && !rqs_sys3(SYS_madvise, followed, RQS_FOLLOWED_SIZE, MADV_WIPEONFORK))
		rqs_followed_start(followed);
}

void rqs_host_sample_no_more(void)
{
	rqs_followed_stop();
	if (followed)
		rqs_reserve_forget(followed, RQS_FOLLOWED_SIZE);
}

/* ---- what may be done ---- */

bool rqs_host_calls_are_allowed(void)
{
	struct msghdr message;
	struct timespec none = { 0 };
	struct pollfd fd = { .fd = -1 };
	void *page = rqs_reserve(4096, -1);
	long own = rqs_sys3(SYS_socket, AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0);

	rqs_zero(&message, sizeof(message));
	return page && rqs_sys2(SYS_munmap, page, 4096) == 0 && rqs_reserve_share(1) && own >= 0 &&
	       rqs_sys3(SYS_connect, -1, NULL, 0) == -EBADF &&
	       rqs_sys6(SYS_sendto, -1, NULL, 0, MSG_NOSIGNAL, NULL, 0) == -EBADF &&
	       rqs_sys5(SYS_ppoll, &fd, 1, &none, NULL, 0) == 0 &&
	       rqs_sys3(SYS_recvmsg, -1, &message, 0) == -EBADF && rqs_sys1(SYS_close, own) == 0 &&
	       rqs_sys2(SYS_pipe2, NULL, 0) == -EFAULT && rqs_sys3(SYS_read, -1, NULL, 0) == -EBADF &&
	       rqs_sys2(SYS_access, "/", 0) == 0 && rqs_sys0(SYS_getpid) > 0 && rqs_sys0(SYS_gettid) > 0 &&
	       rqs_sys0(SYS_getppid) >= 0 && rqs_sys0(SYS_sched_yield) == 0;
}

bool rqs_host_counter_faults(void)
{
	int counter = PR_TSC_ENABLE;

	return rqs_sys2(SYS_prctl, PR_GET_TSC, &counter) == 0 && counter != PR_TSC_ENABLE;
}
