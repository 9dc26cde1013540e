/*
 * wait.c - interposers of the calls that wait for several descriptors.
 *
 * They tell one thing: this thread may serve many requests at a time, so that
 * its allocations can't be told apart by thread (until its runtime's own way
 * of telling is known).
 */
#include "hook/got.h"
#include "hook/hook.h"
#include "os/sys.h"
#include "python/py.h"
#include "runtime/runtime.h"

#include <string.h>

/* How many descriptors an epoll instance watches, as far as seen; one that watches a single one is no event loop's. */
#define MANY 255u
static uint8_t watched[65536];

static uint8_t *watched_by(int epoll)
{
	return epoll >= 0 && epoll < (int)sizeof(watched) ? &watched[epoll] : NULL;
}

static bool watches_one(int epoll)
{
	const uint8_t *count = watched_by(epoll);

	return count && rqs_load_relaxed(count) == 1;
}

void rqs_wait_forget(void)
{
	memset(watched, MANY, sizeof(watched));
}

static int created(int epoll)
{
	uint8_t *count = watched_by(epoll);

	if (count && !rqs_in_vfork)
		rqs_store_relaxed(count, 0);
	return epoll;
}

RQS_EXPORT int epoll_create(int size)
{
	return created(RQS_REAL(epoll_create)(size));
}

RQS_EXPORT int epoll_create1(int flags)
{
	return created(RQS_REAL(epoll_create1)(flags));
}

RQS_EXPORT int epoll_ctl(int epoll, int operation, int fd, struct epoll_event *event)
{
	int result = RQS_REAL(epoll_ctl)(epoll, operation, fd, event);
	uint8_t *count = watched_by(epoll);

	if (result || !count || rqs_in_vfork)
		return result;
	uint8_t now = rqs_load_relaxed(count);
	if (operation == EPOLL_CTL_ADD && now < MANY)
		rqs_store_relaxed(count, now + 1);
	else if (operation == EPOLL_CTL_DEL && now > 0 && now < MANY)
		rqs_store_relaxed(count, now - 1);
	return result;
}

static inline void several(size_t descriptors)
{
	rqs_got_look_if_due();
	if (rqs_py_on)
		rqs_py_next();
	if (descriptors > 1 && !rqs_in_vfork)
		rqs_self.event_loop = true;
}

/*
 * A thread that looks for new connections, with a request open that it has
 * read, leaves that to others. Asked only where it has one; looking takes
 * system calls of ours, which none is left for behind a filter.
 */
static bool may_hand_over(void)
{
	return rqs_py_on && !rqs_in_vfork && rqs_active() && !rqs_load_relaxed(&rqs_agent.frozen) && rqs_py_is_serving();
}

static void polls(const struct pollfd *fds, nfds_t count)
{
	if (count < 2 || !may_hand_over() || !rqs_readable(fds, sizeof(*fds)) || !rqs_readable(fds + count - 1, sizeof(*fds)))
		return;
	for (nfds_t i = 0; i < count; i++) {
		if (rqs_kind(fds[i].fd) == RQS_CONN_LISTENER) {
			rqs_py_hands_over();
			return;
		}
	}
}

static void selects(int n, const fd_set *set)
{
	if (!set || n <= 0 || !may_hand_over() || !rqs_readable(set, 8) || !rqs_readable((const char *)set + ((size_t)n - 1) / 64 * 8, 8))
		return;
	for (int fd = 0; fd < n && fd < FD_SETSIZE; fd++) {
		if (FD_ISSET(fd, set) && rqs_kind(fd) == RQS_CONN_LISTENER) {
			rqs_py_hands_over();
			return;
		}
	}
}

/* An event loop of Python's: its requests take turns. Or Node's. */
static void loop_begins(int epoll)
{
	if (rqs_py_on && rqs_active() && !rqs_in_vfork && !watches_one(epoll))
		rqs_py_wait_begins();
	else if (rqs_unlikely(rqs_agent.runtime == RQS_RUNTIME_NODE) && rqs_active() && !rqs_in_vfork &&
		 !rqs_load_relaxed(&rqs_agent.frozen))
		rqs_node_waits();
}

static void loop_goes_on(int epoll)
{
	if (rqs_py_on && rqs_active() && !rqs_in_vfork && !watches_one(epoll))
		rqs_py_wait_ends();
}

/* The kernel takes whole words of n bits, from pointers that may be bad. */
static size_t count_set(int n, const fd_set *set)
{
	size_t count = 0;

	if (!set || n <= 0 || !rqs_readable(set, ((size_t)n + 63) / 64 * 8))
		return 0;
	for (int fd = 0; fd < n; fd++)
		count += FD_ISSET(fd, set) != 0;
	return count;
}

static void several_sets(int n, const fd_set *a, const fd_set *b, const fd_set *c)
{
	rqs_got_look_if_due();
	if (rqs_py_on)
		rqs_py_next();
	if (n > FD_SETSIZE)
		n = FD_SETSIZE;
	if (rqs_self.event_loop || !rqs_active())
		return;
	/* Looking takes system calls. */
	if (rqs_load_relaxed(&rqs_agent.frozen))
		several(SIZE_MAX);
	else
		several(count_set(n, a) + count_set(n, b) + count_set(n, c));
}

RQS_EXPORT int epoll_wait(int epoll, struct epoll_event *events, int room, int timeout)
{
	several(watches_one(epoll) ? 1 : SIZE_MAX);
	loop_begins(epoll);
	int ready = RQS_REAL(epoll_wait)(epoll, events, room, timeout);
	loop_goes_on(epoll);
	return ready;
}

RQS_EXPORT int epoll_pwait(int epoll, struct epoll_event *events, int room, int timeout, const sigset_t *mask)
{
	several(watches_one(epoll) ? 1 : SIZE_MAX);
	loop_begins(epoll);
	int ready = RQS_REAL(epoll_pwait)(epoll, events, room, timeout, mask);
	loop_goes_on(epoll);
	return ready;
}

RQS_EXPORT int poll(struct pollfd *fds, nfds_t count, int timeout)
{
	several(count);
	polls(fds, count);
	return RQS_REAL(poll)(fds, count, timeout);
}

RQS_EXPORT int ppoll(struct pollfd *fds, nfds_t count, const struct timespec *timeout, const sigset_t *mask)
{
	several(count);
	polls(fds, count);
	return RQS_REAL(ppoll)(fds, count, timeout, mask);
}

RQS_EXPORT int select(int n, fd_set *a, fd_set *b, fd_set *c, struct timeval *timeout)
{
	several_sets(n, a, b, c);
	selects(n, a);
	return RQS_REAL(select)(n, a, b, c, timeout);
}

RQS_EXPORT int pselect(int n, fd_set *a, fd_set *b, fd_set *c, const struct timespec *timeout, const sigset_t *mask)
{
	several_sets(n, a, b, c);
	selects(n, a);
	return RQS_REAL(pselect)(n, a, b, c, timeout, mask);
}

/* ---- glibc's other names ---- */

#ifdef __GLIBC__

int __poll_chk(struct pollfd *fds, nfds_t count, int timeout, size_t room);
int __ppoll_chk(struct pollfd *fds, nfds_t count, const struct timespec *timeout, const sigset_t *mask, size_t room);
int epoll_pwait2(int epoll, struct epoll_event *events, int room, const struct timespec *timeout, const sigset_t *mask);

RQS_EXPORT int __poll_chk(struct pollfd *fds, nfds_t count, int timeout, size_t room)
{
	if (room / sizeof(*fds) < count)
		__chk_fail();
	return poll(fds, count, timeout);
}

RQS_EXPORT int __ppoll_chk(struct pollfd *fds, nfds_t count, const struct timespec *timeout, const sigset_t *mask,
			   size_t room)
{
	if (room / sizeof(*fds) < count)
		__chk_fail();
	return ppoll(fds, count, timeout, mask);
}

RQS_EXPORT int epoll_pwait2(int epoll, struct epoll_event *events, int room, const struct timespec *timeout,
			    const sigset_t *mask)
{
	several(watches_one(epoll) ? 1 : SIZE_MAX);
	loop_begins(epoll);
	/* glibc has it since 2.35; before, a program may have found ours. */
	int ready = rqs_likely(RQS_REAL(epoll_pwait2) != NULL) ?
			    RQS_REAL(epoll_pwait2)(epoll, events, room, timeout, mask) :
			    (int)RQS_REAL(syscall)(SYS_epoll_pwait2, epoll, (long)events, room, (long)timeout,
						   (long)mask, _NSIG / 8);
	loop_goes_on(epoll);
	return ready;
}

#endif
