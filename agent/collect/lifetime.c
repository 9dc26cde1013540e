/* lifetime.c - the main target's life, and that of daemons which outlive it. */
#include "collect/lifetime.h"
#include "collect/kin.h"
#include "collect/procfs.h"

#include <errno.h>
#include <signal.h>
#include <sys/epoll.h>
#include <sys/syscall.h>
#include <unistd.h>

#define MS 1000000ull
/* After the last sign of serving: a daemon's child may be about to join. */
#define GRACE_NS (300 * MS)
/* The most when nobody has served yet, but somebody may: a server that went to the background before it listens. */
#define STARTUP_GRACE_NS (10000 * MS)

void rqs_lifetime_start(struct rqs_lifetime *lifetime, pid_t pid, const char *token, int epoll)
{
	struct epoll_event event = {.events = EPOLLIN, .data.u64 = RQS_TAG_MAIN};

	lifetime->token = token;
	lifetime->pid = pid;
	lifetime->epoll = epoll;
	lifetime->dir = rqs_procfs_open(pid);
	lifetime->pidfd = (int)syscall(SYS_pidfd_open, pid, 0);
	if (lifetime->pidfd >= 0)
		epoll_ctl(epoll, EPOLL_CTL_ADD, lifetime->pidfd, &event);
	else
		lifetime->gone = errno == ESRCH;
}

void rqs_lifetime_event(struct rqs_lifetime *lifetime)
{
	lifetime->gone = true;
	epoll_ctl(lifetime->epoll, EPOLL_CTL_DEL, lifetime->pidfd, NULL);
}

void rqs_lifetime_check(struct rqs_lifetime *lifetime, uint64_t now_ns)
{
	struct rqs_lifetime *l = lifetime;
	struct rqs_procfs_stat stat;

	if (!l->gone && l->pidfd < 0)
		l->gone = l->dir >= 0 ? !rqs_procfs_stat(l->dir, &stat) || stat.state == 'Z'
				      : kill(l->pid, 0) && errno == ESRCH;
	if (l->gone && !l->gone_ns)
		l->gone_ns = now_ns;
}

/* Whether somebody, though CMD has gone and nobody has served, may be about to. Looked into now and then. */
static bool may_still_start(struct rqs_lifetime *l, const struct rqs_processes *processes, uint64_t now_ns)
{
	if (processes->served || now_ns - l->gone_ns > STARTUP_GRACE_NS)
		return false;
	if (now_ns < l->next_kin_ns)
		return true;
	l->next_kin_ns = now_ns + GRACE_NS;
	return rqs_kin_alive(l->token);
}

bool rqs_lifetime_is_over(struct rqs_lifetime *lifetime, const struct rqs_processes *processes,
			  struct rqs_greeting *greeting, uint64_t now_ns)
{
	struct rqs_lifetime *l = lifetime;
	bool foreign = rqs_greeting_foreign_alive(greeting);

	if (!l->gone || rqs_processes_serving(processes, foreign)) {
		l->quiet_ns = 0;
		return false;
	}
	if (may_still_start(l, processes, now_ns))
		return false;
	if (!l->quiet_ns || l->welcomed != greeting->welcomed) {
		l->quiet_ns = now_ns;
		l->welcomed = greeting->welcomed;
	}
	return !greeting->welcomed || now_ns - l->quiet_ns >= GRACE_NS;
}
