/*
 * attached.c - see reqscope/attach_words.h: the agent in a process that runs
 * already, switched on and off from outside any number of times.
 *
 * What is given back is memory; addresses stay what they are, and readable,
 * as a thread may have read one long ago: the next attach takes the same.
 */
#include "reqscope/attach_words.h"

#include "hook/got.h"
#include "hook/hook.h"
#include "hook/membership.h"
#include "hook/objects.h"
#include "os/sys.h"
#include "os/trial.h"
#include "python/py.h"

#include <errno.h>
#include <fcntl.h>
#include <link.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

RQS_EXPORT struct rqs_attach_probe reqscope_probe;

/* While somebody is at it, BUSY_OF its process. LEFT: detached, not released. */
static uint64_t state;
enum { OUT, IN, LEFT };
#define BUSY_OF(pid) ((uint64_t)(pid) << 2 | 1ull << 63)

/* ---- threads that are there already ---- */

/*
 * One that waits for many descriptors is an event loop's; of one that runs, or
 * waits for a few, it isn't known. One that waits for anything else serves no
 * requests at the moment, or one whose beginning wasn't seen.
 */
#define FOUND_MAX 1024u

static struct {
	uint32_t tid;
	enum rqs_py_found as;
} found[FOUND_MAX];
static uint32_t found_count; /* FOUND_MAX: there may be more */

static enum rqs_py_found classify(const char *call)
{
	if (*call < '0' || *call > '9')
		return RQS_PY_FOUND_UNSURE; /* "running", or -1: in the kernel for something else */
	switch (atoi(call)) {
	case SYS_epoll_wait:
	case SYS_epoll_pwait:
	case SYS_epoll_pwait2:
		return RQS_PY_FOUND_LOOP;
	case SYS_accept:
	case SYS_accept4:
	case SYS_read:
	case SYS_recvfrom:
	case SYS_recvmsg:
	case SYS_futex:
	case SYS_nanosleep:
	case SYS_clock_nanosleep:
	case SYS_wait4:
		return RQS_PY_FOUND_NEW;
	default:
		return RQS_PY_FOUND_UNSURE;
	}
}

static enum rqs_py_found look_at(const char *tid)
{
	char path[64] = "/proc/self/task/", text[32] = "";

	strncat(path, tid, 16);
	strcat(path, "/syscall");
	long fd = rqs_sys3(SYS_open, path, O_RDONLY | O_CLOEXEC, 0);
	if (fd >= 0) {
		rqs_sys3(SYS_read, fd, text, sizeof(text) - 1);
		rqs_sys1(SYS_close, fd);
	}
	return classify(text);
}

struct entry {
	uint64_t inode, offset;
	uint16_t size;
	uint8_t type;
	char name[];
};

static void note_threads(const char *entries, long n)
{
	for (long at = 0; at < n && found_count < FOUND_MAX;) {
		const struct entry *entry = (const void *)(entries + at);
		enum rqs_py_found as = entry->name[0] == '.' ? RQS_PY_FOUND_NEW : look_at(entry->name);

		if (as != RQS_PY_FOUND_NEW) {
			found[found_count].tid = (uint32_t)atoi(entry->name);
			found[found_count++].as = as;
		}
		at += entry->size;
	}
}

static void find_threads(void)
{
	char room[4096] __attribute__((aligned(8)));
	long fd = rqs_sys3(SYS_open, "/proc/self/task", O_RDONLY | O_DIRECTORY | O_CLOEXEC, 0), n;

	found_count = 0;
	if (fd < 0) {
		found_count = FOUND_MAX;
		memset(found, 0, sizeof(found));
		return;
	}
	while ((n = rqs_sys3(SYS_getdents64, fd, room, sizeof(room))) > 0)
		note_threads(room, n);
	rqs_sys1(SYS_close, fd);
}

static void thread_starts(struct rqs_worker *worker)
{
	enum rqs_py_found as = found_count == FOUND_MAX ? RQS_PY_FOUND_UNSURE : RQS_PY_FOUND_NEW;

	for (uint32_t i = 0; i < found_count; i++)
		if (found[i].tid == worker->tid && worker->tid)
			as = found[i].as;
	if (as != RQS_PY_FOUND_NEW)
		worker->event_loop = true;
	rqs_py_thread_starts(as);
}

/* ---- the probe ---- */

#ifdef __GLIBC__
/* Loaded late or not, glibc has given us a place at the same distance from each thread's own area. */
static void fill_probe(void)
{
	char *own;

	__asm__("mov %%fs:0, %0" : "=r"(own));
	reqscope_probe.busy_offset = (char *)&rqs_self.busy - own;
}
#else
/* musl gives threads that are there already another place than new ones; its table of them tells (dlpi_tls_modid). */
static int note_module(struct dl_phdr_info *info, size_t size, void *argument)
{
	(void)argument;
	if (!rqs_objects_is_own(info) || size < sizeof(*info))
		return 0;
	reqscope_probe.tls_module = info->dlpi_tls_modid;
	reqscope_probe.busy_offset = (const char *)&rqs_self.busy - (const char *)info->dlpi_tls_data;
	return 1;
}

static void fill_probe(void)
{
	rqs_objects_walk(note_module, NULL);
}
#endif

/* ---- attaching ---- */

static bool patching_is_allowed(void)
{
	void *page = mmap(NULL, 4096, PROT_READ, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

	return page != MAP_FAILED && !rqs_sys3(SYS_mprotect, page, 4096, PROT_READ | PROT_WRITE) &&
	       !rqs_sys3(SYS_madvise, page, 4096, MADV_DONTNEED) &&
	       rqs_sys5(SYS_mremap, page, 4096, 4096, 0, 0) == (long)page && !rqs_sys2(SYS_munlock, page, 4096) &&
	       rqs_sys3(SYS_open, "/", O_RDONLY | O_CLOEXEC, 0) >= 0;
}

static long attach(const struct rqs_attach_words *words, bool *activated)
{
	if (rqs_agent.frozen || !rqs_trial_passes(patching_is_allowed))
		return -EPERM;
	if (!rqs_session_attach(words->token, words->library, words->children))
		return -EBUSY;
	fill_probe();
	reqscope_probe.attached = 1;
	rqs_store(&reqscope_probe.version, RQS_REGION_VERSION);
	rqs_session.no_sched = words->no_sched;
	rqs_agent.thread_starts = thread_starts;
	find_threads();
	rqs_wait_forget();
	int error = rqs_activate_now();
	*activated = !error;
	if (!error && !rqs_got_hook())
		error = -ENOMEM;
	return error;
}

static void detach(void)
{
	uint32_t connections = rqs_agent.connections_used;

	rqs_session.wanted = false;
	rqs_got_unhook();
	if (rqs_agent.process)
		rqs_deactivate();
	rqs_py_uninstall(connections);
}

/*
 * The host's handlers would run on our stack, and may fork. For faults they
 * don't: the attacher sees those first, and of a blocked one the kernel would
 * forget the handler.
 */
#define BIT(signal_) (1ull << ((signal_)-1))
#define FAULTS (BIT(SIGSEGV) | BIT(SIGBUS) | BIT(SIGILL) | BIT(SIGFPE) | BIT(SIGTRAP) | BIT(SIGSYS))
#define BLOCKED(call)                                                          \
	do {                                                                   \
		uint64_t blocked_ = ~FAULTS, before_;                          \
		int saved_ = errno;                                            \
		rqs_sys4(SYS_rt_sigprocmask, SIG_BLOCK, &blocked_, &before_, 8); \
		call;                                                          \
		rqs_sys4(SYS_rt_sigprocmask, SIG_SETMASK, &before_, NULL, 8);  \
		errno = saved_;                                                \
	} while (0)

/* A fork's child may have been begun while another thread was at it: what is there isn't known then. */
static bool go(uint64_t from)
{
	uint64_t here = BUSY_OF(rqs_sys0(SYS_getpid)), now = rqs_load(&state);

	if (now >> 63 && now != here)
		rqs_swap(&state, now, IN);
	return rqs_swap(&state, from, here);
}

static void become(uint64_t to)
{
	rqs_store_relaxed(&reqscope_probe.attached, (uint32_t)to);
	rqs_store(&state, to);
}

static uint64_t attached_at; /* ticks */

/* Nobody has read what is recorded for long: who should have taken us out is gone as well. */
static bool has_ended(void)
{
	const struct rqs_region_header *region = rqs_agent.region;
	uint64_t heartbeat = region ? rqs_load_relaxed(&region->heartbeat) : 0;

	if (heartbeat < attached_at)
		heartbeat = attached_at;
	return region && rqs_now(&rqs_agent) > heartbeat + RQS_SILENT_SECONDS * region->ticks_per_second;
}

/* Of the last recording something is left. */
static bool is_left_over(void)
{
	uint64_t now = rqs_load(&state), here = BUSY_OF(rqs_sys0(SYS_getpid));

	return now == LEFT || (now == IN && has_ended()) || (now >> 63 && now != here);
}

RQS_EXPORT long reqscope_attach(const struct rqs_attach_words *words)
{
	bool activated = false;
	long error;

	if (words->version != RQS_REGION_VERSION)
		return -EPROTO;
	if (rqs_agent.frozen)
		return -EPERM;
	if (!rqs_objects_are_before_us())
		return rqs_agent.region && !has_ended() ? -EBUSY : -EEXIST;
	if (is_left_over())
		return -EALREADY;
	if (!go(OUT))
		return -EBUSY;
	BLOCKED({
		error = attach(words, &activated);
		if (error)
			detach();
	});
	if (activated)
		attached_at = rqs_now(&rqs_agent);
	/* Without hooks, but not without threads that were seen to leave the core. */
	become(error ? activated ? LEFT : OUT : IN);
	return error;
}

RQS_EXPORT long reqscope_detach(void)
{
	if (rqs_load(&state) == OUT || (!rqs_agent.frozen && !go(IN)))
		return 0;
	/* Behind a filter that came meanwhile no call of ours is made any more: hooks stay, and do nothing. */
	if (rqs_agent.frozen)
		rqs_agent_stop(&rqs_agent);
	else
		BLOCKED(detach());
	become(LEFT);
	return 0;
}

RQS_EXPORT long reqscope_release(void)
{
	if (rqs_agent.frozen || !go(LEFT))
		return 0;
	BLOCKED({
		rqs_py_forget();
		rqs_deactivated();
		rqs_got_release();
	});
	become(OUT);
	return 0;
}
