/*
 * attach_library.c - dynamic programs load libreqscope.so by their own dlopen,
 * called in a thread that is at a safe point; all other threads run on.
 *
 * The library stays loaded when it is detached from, and does nothing then.
 */
#include "inject/attach.h"

#include "inject/filter.h"
#include "inject/leaving.h"
#include "inject/remote_call.h"
#include "inject/remote_symbols.h"
#include "inject/safe_point.h"
#include "inject/task.h"

#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/openat2.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

#define SEARCH_NS 3000000000ull /* for a safe point */
#define CALLS_NS 5000000000ull  /* for all that is called there */
#define BY_LIBC 0x80000000u     /* __RTLD_DLOPEN: what dlopen passes to __libc_dlopen_mode */
#define ERROR_TEXT 96
#define STOPPED "it is stopped by a signal; SIGCONT lets it go on"
#define PRIORITY (-20)

static int refuse(struct rqs_attachment *attachment, int error, const char *why)
{
	snprintf(attachment->why, sizeof(attachment->why), "%s", why);
	return error;
}

/* ---- at a safe point ---- */

struct visit {
	struct rqs_stopped thread;
	struct rqs_remote_ways ways;
	struct rqs_remote remote;
	uint64_t errno_at; /* of the thread; 0 unknown */
	int32_t errno_;
};

/* What libc's functions leave in errno isn't the thread's. */
static void keep_errno(struct visit *visit, const struct rqs_remote_libc *libc_)
{
	if (!libc_->errno_location || !rqs_remote_call(&visit->remote, libc_->errno_location, 0, 0, &visit->errno_at) ||
	    !rqs_tracee_read(&visit->remote.tracee, visit->errno_at, &visit->errno_, sizeof(visit->errno_)))
		visit->errno_at = 0;
}

static int refuse_point(struct rqs_attachment *attachment, int error)
{
	if (error == -EPERM)
		return refuse(attachment, error, "the kernel refuses to trace it");
	if (error == -ESRCH)
		return refuse(attachment, error, "it has ended");
	if (error == -EAGAIN)
		return refuse(attachment, -ETIMEDOUT, STOPPED);
	if (error == -ESTALE)
		return refuse(attachment, -ETIMEDOUT, "it has just executed another program");
	return refuse(attachment, -ETIMEDOUT, "no thread of it was seen where a library can be loaded");
}

static void leave(struct rqs_attachment *attachment, struct visit *visit)
{
	if (visit->errno_at && !visit->remote.left)
		rqs_tracee_write(&visit->remote.tracee, visit->errno_at, &visit->errno_, sizeof(visit->errno_));
	rqs_remote_end(&visit->remote);
	rqs_thread_release(&visit->thread);
	uint64_t stopped = rqs_tracee_now_ns() - visit->thread.since_ns;
	if (stopped > attachment->stopped_ns)
		attachment->stopped_ns = stopped;
}

/* Of the library's own calls it tries in a child which are allowed; these come before. */
static int look_at_filter(struct rqs_attachment *attachment, const struct visit *visit)
{
	static const short calls[] = {SYS_mmap,         SYS_mprotect,   SYS_munmap,         SYS_ppoll,
				      SYS_rt_sigreturn, SYS_openat,     SYS_read,           SYS_pread64,
				      SYS_fstat,        SYS_newfstatat, SYS_close,          SYS_clone,
				      SYS_wait4,        SYS_prctl,      SYS_rt_sigprocmask, -1};
	bool unknown;

	if (rqs_filter_allows(attachment->pid, visit->thread.tid, calls, &unknown))
		return 0;
	return refuse(attachment, -EPERM,
		      unknown ? "it has a seccomp filter, which only root can look at"
			      : "its seccomp filter forbids what loading a library takes");
}

/* 0: functions can be called; then leave(). */
static int enter(struct rqs_attachment *attachment, int memory, struct visit *visit)
{
	if (!rqs_remote_ways(attachment->pid, memory, &visit->ways))
		return refuse(attachment, -ENOEXEC, "its C library isn't one that is known");
	int error = rqs_safe_point(&visit->thread, attachment->pid, memory, rqs_tracee_now_ns() + SEARCH_NS);

	if (error)
		return refuse_point(attachment, error);
	visit->errno_at = 0;
	error = look_at_filter(attachment, visit);
	if (error) {
		rqs_thread_release(&visit->thread);
		return error;
	}
	error = rqs_remote_begin(&visit->remote, &visit->thread, &visit->ways, rqs_tracee_now_ns() + CALLS_NS);
	if (!error)
		return 0;
	leave(attachment, visit);
	return refuse(attachment, error, "no memory could be mapped in it");
}

static int call(struct rqs_attachment *attachment, struct visit *visit, uint64_t function, uint64_t a, uint64_t b,
		uint64_t *result)
{
	if (rqs_remote_call(&visit->remote, function, a, b, result))
		return 0;
	return refuse(attachment, visit->remote.left ? -ETIMEDOUT : -EIO,
		      visit->remote.left ? "a call in it didn't end in time" : "a call in it failed");
}

/* ---- loading ---- */

/* Its loader's own words; asked for also so that the program never gets them. */
static int refuse_loading(struct rqs_attachment *attachment, struct visit *visit, const struct rqs_remote_libc *libc_)
{
	char text[ERROR_TEXT] = "";
	uint64_t at = 0;

	if (libc_->dlerror_ && rqs_remote_call(&visit->remote, libc_->dlerror_, 0, 0, &at) && at)
		rqs_tracee_read(&visit->remote.tracee, at, text, sizeof(text) - 1);
	snprintf(attachment->why, sizeof(attachment->why), "it can't load the library: %s",
		 text[0] ? text : "no reason told");
	return -ENOEXEC;
}

static int load(struct rqs_attachment *attachment, struct visit *visit, const struct rqs_remote_libc *libc_,
		const char *path)
{
	uint64_t handle = 0, flags = RTLD_NOW | (libc_->by_libc ? BY_LIBC : 0);

	keep_errno(visit, libc_);
	if (!rqs_tracee_write(&visit->remote.tracee, visit->remote.data, path, strlen(path) + 1))
		return refuse(attachment, -EIO, "its memory can't be written to");
	int error = call(attachment, visit, libc_->dlopen_, visit->remote.data, flags, &handle);
	if (!error && !handle)
		error = refuse_loading(attachment, visit, libc_);
	return error;
}

/* In the process's own view: links that begin at the root lead to its root, not to ours. */
static bool stat_there(pid_t pid, const char *path, struct stat *its)
{
	struct open_how how = {.flags = O_PATH | O_CLOEXEC, .resolve = RESOLVE_IN_ROOT | RESOLVE_NO_MAGICLINKS};
	char root_path[64];

	snprintf(root_path, sizeof(root_path), "/proc/%d/root", (int)pid);
	int root = open(root_path, O_PATH | O_DIRECTORY | O_CLOEXEC);
	if (root < 0)
		return false;
	int file = (int)syscall(SYS_openat2, root, path, &how, sizeof(how));
	if (file < 0 && errno == ENOSYS) /* before Linux 5.6 */
		file = openat(root, path + 1, O_PATH | O_CLOEXEC);
	bool seen = file >= 0 && !fstat(file, its);
	if (file >= 0)
		close(file);
	close(root);
	return seen;
}

/* Is it the same file for the process as for us? */
static bool is_seen(pid_t pid, const char *path)
{
	struct stat ours, its;

	return !stat(path, &ours) && stat_there(pid, path, &its) && ours.st_dev == its.st_dev &&
	       ours.st_ino == its.st_ino;
}

/* ---- attaching ---- */

/* The agent takes a part of what its limits allow, and the program must not miss it: a quarter is to be left. */
static bool memory_is_scarce(pid_t pid)
{
	unsigned long all = 0, data = 0, page = (unsigned long)sysconf(_SC_PAGESIZE);
	struct rlimit of_all, of_data;
	char path[64];

	snprintf(path, sizeof(path), "/proc/%d/statm", (int)pid);
	FILE *file = fopen(path, "re");
	bool known = file && fscanf(file, "%lu %*u %*u %*u %*u %lu", &all, &data) == 2;
	if (file)
		fclose(file);
	if (!known || prlimit(pid, RLIMIT_AS, NULL, &of_all) || prlimit(pid, RLIMIT_DATA, NULL, &of_data))
		return false;
	return all * page > of_all.rlim_cur - of_all.rlim_cur / 4 ||
	       data * page > of_data.rlim_cur - of_data.rlim_cur / 4;
}

static int join(struct rqs_attachment *attachment, struct visit *visit, const struct rqs_attach_order *order,
		const char *path, uint64_t function)
{
	struct rqs_attach_words words = {
	    .version = RQS_REGION_VERSION, .children = order->children, .no_sched = order->no_sched};
	uint64_t result = 0;

	_Static_assert(sizeof(words) <= RQS_REMOTE_DATA / 2, "room");
	snprintf(words.token, sizeof(words.token), "%s", order->token);
	snprintf(words.library, sizeof(words.library), "%s", path);
	if (!rqs_tracee_write(&visit->remote.tracee, visit->remote.data, &words, sizeof(words)))
		return refuse(attachment, -EIO, "its memory can't be written to");
	int error = call(attachment, visit, function, visit->remote.data, 0, &result);
	if (error || !result)
		return error;
	error = (int)(int64_t)result;
	return refuse(attachment, error,
		      error == -EBUSY    ? "it is recorded already"
		      : error == -EEXIST ? "it was started to be recorded, and its hooks can't be used again"
		      : error == -EPROTO ? "it has loaded a library of another version"
		      : error == -EPERM  ? "its seccomp filter forbids what the agent does"
					 : "it can't join the recording");
}

static int attach_with(struct rqs_attachment *attachment, const struct rqs_attach_order *order, int memory)
{
	struct rqs_remote_libc libc_;
	struct rqs_remote_library library;

	if (!rqs_remote_libc(attachment->pid, memory, &libc_))
		return refuse(attachment, -ENOEXEC, "it has no C library that could load another one");
	const char *path = libc_.musl ? order->musl_library : order->library;
	bool loaded = rqs_remote_library(attachment->pid, memory, &library);
	bool seen = path[0] && is_seen(attachment->pid, path);
	if (!loaded && !seen)
		return refuse(attachment, -ENOEXEC, "its mount namespace has no libreqscope.so");
	if (!loaded && memory_is_scarce(attachment->pid))
		return refuse(attachment, -ENOEXEC, "too little is left of what its memory is limited to");
	struct visit *visit = calloc(1, sizeof(*visit));
	int error = visit ? enter(attachment, memory, visit) : -ENOMEM;
	if (!error) {
		if (!loaded)
			error = load(attachment, visit, &libc_, path);
		else
			keep_errno(visit, &libc_);
		if (!error && !loaded && !rqs_remote_library(attachment->pid, memory, &library))
			error = refuse(attachment, -ENOEXEC, "the library isn't there although it was loaded");
		if (!error)
			error = join(attachment, visit, order, seen ? path : "", library.attach);
		leave(attachment, visit);
	}
	free(visit);
	return error;
}

/* Of its first thread's. */
static int look_at_status(struct rqs_attachment *attachment)
{
	pid_t pid = attachment->pid;
	int tracer = (int)rqs_task_number(pid, pid, "TracerPid:", 10, 0);

	if (tracer) {
		snprintf(attachment->why, sizeof(attachment->why), "it is traced by process %d", tracer);
		return -EBUSY;
	}
	return rqs_task_state(pid, pid) == 'T' ? refuse(attachment, -ETIMEDOUT, STOPPED) : 0;
}

static int open_memory(struct rqs_attachment *attachment)
{
	char path[64];

	attachment->stopped_ns = 0;
	attachment->why[0] = '\0';
	snprintf(path, sizeof(path), "/proc/%d/mem", (int)attachment->pid);
	int memory = open(path, O_RDONLY | O_CLOEXEC);
	if (memory >= 0)
		return memory;
	return errno == ENOENT || errno == ESRCH ? refuse(attachment, -ESRCH, "there is no such process")
						 : refuse(attachment, -EPERM, "the kernel refuses to trace it");
}

/* ---- detaching ---- */

/* A function of the library that keeps errno, at a safe point of its own. */
static int call_library(struct rqs_attachment *attachment, int memory, uint64_t function, uint64_t *list_offset)
{
	struct visit *visit = calloc(1, sizeof(*visit));
	uint64_t result = 0;
	int error = visit ? enter(attachment, memory, visit) : -ENOMEM;

	if (!error) {
		*list_offset = rqs_list_offset(&visit->thread);
		error = call(attachment, visit, function, 0, 0, &result);
		leave(attachment, visit);
	}
	free(visit);
	return error ? error : (int)(int64_t)result;
}

static int detach_from(struct rqs_attachment *attachment, int memory)
{
	struct rqs_remote_library library;
	struct rqs_attach_probe probe;
	uint64_t list_offset, longest_ns;

	if (!rqs_remote_library(attachment->pid, memory, &library) ||
	    pread(memory, &probe, sizeof(probe), (off_t)library.probe) != (ssize_t)sizeof(probe) || !probe.attached)
		return 0;
	int error = call_library(attachment, memory, library.detach, &list_offset);
	if (error)
		return error;
	bool left = rqs_all_leave(attachment->pid, memory, &probe, list_offset, &longest_ns);
	if (longest_ns > attachment->stopped_ns)
		attachment->stopped_ns = longest_ns;
	if (!left)
		return refuse(attachment, -ETIMEDOUT, "a thread stayed in the agent; its memory is not given back");
	return call_library(attachment, memory, library.release, &list_offset);
}

/* What is left of a recording whose keeper was killed goes first. */
static int attach(struct rqs_attachment *attachment, const struct rqs_attach_order *order)
{
	int memory = open_memory(attachment);

	if (memory < 0)
		return memory;
	int error = look_at_status(attachment);
	if (!error)
		error = attach_with(attachment, order, memory);
	if (error == -EALREADY) {
		error = detach_from(attachment, memory);
		if (!error)
			error = attach_with(attachment, order, memory);
	}
	close(memory);
	return error;
}

static int detach(struct rqs_attachment *attachment)
{
	int memory = open_memory(attachment);

	if (memory < 0)
		return memory == -ESRCH ? 0 : memory;
	int error = detach_from(attachment, memory);
	close(memory);
	return error == -ESRCH ? 0 : error;
}

/* ---- in a thread of ours ---- */

struct task {
	struct rqs_attachment *attachment;
	const struct rqs_attach_order *order; /* NULL: detach */
	int result;
};

static void *run_task(void *argument)
{
	struct task *task = argument;

	/* A thread of the target waits for us; where we may, we come first. Only for this thread. */
	setpriority(PRIO_PROCESS, 0, PRIORITY);
	task->result = task->order ? attach(task->attachment, task->order) : detach(task->attachment);
	return NULL;
}

/*
 * Traced threads are the tracing thread's. One that doesn't stop, as it waits
 * in the kernel for something that takes long, can't be let go otherwise than
 * by the end of that.
 */
static int run_in_thread(struct rqs_attachment *attachment, const struct rqs_attach_order *order)
{
	struct task task = {attachment, order, -EAGAIN};
	sigset_t child;
	pthread_t thread;

	/* What isn't blocked in the first thread, and ignored, would come to none. */
	sigemptyset(&child);
	sigaddset(&child, SIGCHLD);
	sigprocmask(SIG_BLOCK, &child, NULL);
	int error = pthread_create(&thread, NULL, run_task, &task);
	if (error)
		return refuse(attachment, -error, "no thread could be made here");
	pthread_join(thread, NULL);
	return task.result;
}

static int detach_in_thread(struct rqs_attachment *attachment)
{
	return run_in_thread(attachment, NULL);
}

const struct rqs_attach_way rqs_attach_library = {run_in_thread, detach_in_thread, detach_in_thread};
