/*
 * placing.c - see placing.h; what the process does that becomes the program.
 *
 *    the process                                  the tracer, nobody's child
 *      joins the session
 *      forks twice ---------------------------->    plans
 *           <---------- needed ----------------
 *           ----------- may attach ------------>    attaches
 *           <---------- attached --------------
 *           ----------- exec is next ---------->
 *      execve --------------------------------->    at the exec: install.c
 *
 * Needs nothing but libc, and little of that: it also is in a static program
 * (reqscope-place), so that no library that is missing, or in the way, keeps
 * the program from being started. System calls are made directly where our own
 * library may be preloaded: its hooks would send an exec here again.
 */
#include "inject/placing.h"

#include "inject/starter.h"
#include "inject/tracer.h"
#include "os/join.h"
#include "os/sys.h"
#include "os/trial.h"

#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

/* Out of the way of those that a program expects to inherit. */
#define REGION_DESCRIPTOR 1000

struct placing {
	const struct rqs_placing *options;
	struct rqs_tracer_order order;
	int channel; /* to the tracer */
};

/* ---- what stands against it ---- */

/* The calls made below, in ways that do nothing. A filter that refuses them does no harm, one that kills does. */
static bool calls_are_survived(void)
{
	int pair[2];
	struct timespec none = {0};
	struct pollfd fd = {.fd = -1};
	struct rlimit limit;
	uint64_t mask = 0;

	rqs_sys4(SYS_socketpair, AF_UNIX, SOCK_SEQPACKET, 0, pair);
	rqs_sys1(SYS_close, rqs_sys3(SYS_socket, AF_UNIX, SOCK_SEQPACKET, 0));
	rqs_sys3(SYS_connect, -1, NULL, 0);
	rqs_sys6(SYS_sendto, -1, NULL, 0, 0, NULL, 0);
	rqs_sys6(SYS_recvfrom, -1, NULL, 0, 0, NULL, NULL);
	rqs_sys3(SYS_recvmsg, -1, NULL, 0);
	rqs_sys5(SYS_ppoll, &fd, 1, &none, NULL, 0);
	rqs_sys3(SYS_poll, &fd, 1, 0);
	rqs_sys4(SYS_prlimit64, 0, RLIMIT_NOFILE, NULL, &limit);
	rqs_sys3(SYS_fcntl, -1, F_DUPFD, 0);
	rqs_sys4(SYS_rt_sigprocmask, SIG_SETMASK, NULL, &mask, sizeof(mask));
	rqs_sys5(SYS_prctl, PR_SET_PTRACER, 0, 0, 0, 0);
	rqs_sys5(SYS_prctl, PR_SET_CHILD_SUBREAPER, 0, 0, 0, 0);
	return true;
}

/* ---- the session ---- */

/* A descriptor that outlives the exec; rqs_go_start() closes it. */
static int above_all(int fd)
{
	struct rlimit limit;
	int above = REGION_DESCRIPTOR;

	if (!getrlimit(RLIMIT_NOFILE, &limit) && limit.rlim_cur <= REGION_DESCRIPTOR)
		above = (int)limit.rlim_cur / 2;
	int moved = fcntl(fd, F_DUPFD, above);
	close(fd);
	return moved;
}

static bool join(struct placing *p)
{
	struct rqs_welcome welcome;
	int region = rqs_join(p->order.token, &welcome);

	if (region == -ECONNREFUSED && rqs_starter_is_on_demand(p->options->token) &&
	    rqs_starter_collector(p->options->tracer, p->order.token))
		region = rqs_join(p->order.token, &welcome);
	if (region < 0)
		return false;
	p->order.region = above_all(region);
	p->order.region_size = welcome.region_size;
	p->order.foreign_pids = welcome.foreign_pids;
	return p->order.region >= 0;
}

static void leave(struct placing *p)
{
	if (p->order.region >= 0)
		close(p->order.region);
	p->order.region = -1;
}

/* The tracer couldn't do so itself. */
static void count_unplaced(const struct placing *p)
{
	struct rqs_region_header *header =
	    mmap(NULL, sizeof(*header), PROT_READ | PROT_WRITE, MAP_SHARED, p->order.region, 0);

	if (header != MAP_FAILED)
		__atomic_add_fetch(&header->unplaced, 1, __ATOMIC_RELAXED);
}

static void tell(const struct placing *p, const char *why)
{
	if (p->order.why >= 0 && write(p->order.why, why, strlen(why)) < 0) {
		/* Nobody listens any more. */
	}
}

/* ---- the tracer ---- */

static bool say(const struct placing *p, int word)
{
	return send(p->channel, &word, sizeof(word), MSG_NOSIGNAL) == (ssize_t)sizeof(word);
}

/* The tracer's next word; 0 when there is none. */
static int hear(const struct placing *p)
{
	struct pollfd fd = {.fd = p->channel, .events = POLLIN};
	int word = 0;

	if (poll(&fd, 1, RQS_TRACER_PATIENCE_MS) != 1 ||
	    recv(p->channel, &word, sizeof(word), 0) != (ssize_t)sizeof(word))
		return 0;
	return word;
}

static bool start_tracer(struct placing *p)
{
	char number[16];
	char *argv[] = {"reqscope", RQS_TRACER_COMMAND, number, NULL};
	int pair[2];

	if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, pair))
		return false;
	p->channel = pair[0];
	snprintf(number, sizeof(number), "%d", pair[1]);
	/* Passed on like the region, by number. */
	rqs_sys3(SYS_fcntl, p->order.why, F_SETFD, 0);
	bool started = send(p->channel, &p->order, sizeof(p->order), MSG_NOSIGNAL) == (ssize_t)sizeof(p->order) &&
		       rqs_starter_run(p->options->tracer, argv, pair[1]);
	rqs_sys3(SYS_fcntl, p->order.why, F_SETFD, FD_CLOEXEC);
	close(pair[1]);
	return started;
}

/* True: it is attached. False: it has nothing to do here, or went away, or *failed. */
static bool attach(struct placing *p, bool *failed)
{
	int pid = hear(p), answer;

	if (pid <= 0) {
		*failed = pid != RQS_TRACER_DONE;
		return false;
	}
	rqs_sys5(SYS_prctl, PR_SET_PTRACER, pid, 0, 0, 0); /* where Yama keeps processes from being traced */
	answer = say(p, RQS_TRACER_MAY_ATTACH) ? hear(p) : 0;
	*failed = answer != RQS_TRACER_DONE && answer != RQS_TRACER_ATTACHED;
	return answer == RQS_TRACER_ATTACHED && say(p, RQS_TRACER_EXEC_NEXT);
}

/* ---- both ---- */

/* What keeps us from even asking a tracer. NULL: nothing, and the session is joined. */
static const char *obstacle(struct placing *p)
{
	if (!rqs_trial_passes(calls_are_survived))
		return "its system calls are filtered";
	if (!join(p))
		return "its recorder isn't reached";
	return NULL;
}

/* True: at the exec it will be hooked. */
static bool prepare(struct placing *p)
{
	const char *why = obstacle(p);
	bool failed = true;

	if (!why && start_tracer(p) && attach(p, &failed))
		return true;
	if (failed) {
		count_unplaced(p);
		tell(p, why ? why : "its tracer didn't start");
	}
	return false;
}

static int become(const struct placing *p, char *const argv[], char *const envp[])
{
	if (p->options->until_exec)
		rqs_sys3(SYS_fcntl, p->options->file, F_SETFD, FD_CLOEXEC);
	if (p->options->file >= 0)
		return (int)rqs_sys5(SYS_execveat, p->options->file, "", argv, envp, AT_EMPTY_PATH);
	return (int)rqs_sys3(SYS_execve, p->options->path, argv, envp);
}

/* Some security modules refuse an exec because it is traced: then once more, without. */
static int become_untraced(struct placing *p, char *const argv[], char *const envp[])
{
	say(p, RQS_TRACER_LET_GO);
	hear(p);
	leave(p);
	return become(p, argv, envp);
}

static bool copy(char *to, size_t size, const char *from)
{
	return snprintf(to, size, "%s", from) < (int)size;
}

static bool fill_order(struct placing *p)
{
	p->order.pid = getpid();
	p->order.why = p->options->why;
	p->order.no_sched = p->options->no_sched;
	/* The token's mark, if any, is of no interest there. */
	return snprintf(p->order.token, sizeof(p->order.token), "%s", p->options->token) >= RQS_TOKEN_LENGTH &&
	       copy(p->order.path, sizeof(p->order.path), p->options->path) &&
	       copy(p->order.program, sizeof(p->order.program), p->options->program);
}

int rqs_place_exec(const struct rqs_placing *options, char *const argv[], char *const envp[])
{
	static struct placing p = {.channel = -1, .order.region = -1};

	p.options = options;
	bool traced = fill_order(&p) && prepare(&p);
	if (!traced)
		leave(&p);
	int error = become(&p, argv, envp);
	if (traced)
		error = become_untraced(&p, argv, envp);
	return error;
}
