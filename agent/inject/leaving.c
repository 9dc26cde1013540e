/* leaving.c - see leaving.h. */
#include "inject/leaving.h"

#include "inject/room.h"
#include "inject/task.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

#define PROBE_NS 2000000000ull  /* for all threads */
#define THREAD_NS 1000000000ull /* for one to stop */

struct probing {
	pid_t pid;
	int memory;
	const struct rqs_attach_probe *probe;
	uint64_t list_offset; /* of each thread's list of robust futexes from its FS base; 0 unknown */
	pid_t *outside;       /* seen there once: they never get in again */
	size_t count, room;
	bool all;
	uint64_t longest_ns;
};

static bool note_outside(struct probing *probing, pid_t tid)
{
	if (!rqs_make_room((void **)&probing->outside, &probing->room, probing->count, sizeof(*probing->outside)))
		return false;
	probing->outside[probing->count++] = tid;
	return true;
}

static bool read_word(int memory, uint64_t address, uint64_t *word)
{
	return pread(memory, word, sizeof(*word), (off_t)address) == sizeof(*word);
}

/* attach_words.h. A thread without a place of its own for the library was never in it. */
static bool is_busy(const struct probing *probing, uint64_t base)
{
	uint64_t module = probing->probe->tls_module, table, count, area = base;
	uint8_t busy;

	if (module) {
		if (!read_word(probing->memory, base + 8, &table) || !read_word(probing->memory, table, &count))
			return true;
		if (count < module)
			return false;
		if (!read_word(probing->memory, table + module * 8, &area))
			return true;
		if (!area)
			return false;
	}
	return pread(probing->memory, &busy, 1, (off_t)(area + (uint64_t)probing->probe->busy_offset)) != 1 || busy;
}

static uint64_t robust_list_of(pid_t tid)
{
	uint64_t head = 0;
	size_t size;

	return syscall(SYS_get_robust_list, tid, &head, &size) ? 0 : head;
}

uint64_t rqs_list_offset(const struct rqs_stopped *thread)
{
	uint64_t list = robust_list_of(thread->tid);

	return list ? list - thread->registers.fs_base : 0;
}

static bool read_call(const struct probing *probing, pid_t tid, char *line, size_t size)
{
	return rqs_task_read(probing->pid, tid, "syscall", line, size) && line[0] >= '0' && line[0] <= '9';
}

/*
 * Where one is that waits in the kernel is seen without a stop: glibc's list
 * of robust futexes lies at the same distance from each thread's FS base,
 * where a thread's own address lies.
 */
static bool waits_outside(const struct probing *probing, pid_t tid)
{
	char before[256], after[256];
	uint64_t base = probing->list_offset ? robust_list_of(tid) - probing->list_offset : 0, own;

	return base && read_call(probing, tid, before, sizeof(before)) && read_word(probing->memory, base, &own) &&
	       own == base && !is_busy(probing, base) && read_call(probing, tid, after, sizeof(after)) &&
	       !strcmp(before, after);
}

static bool is_outside(struct probing *probing, pid_t tid)
{
	struct rqs_stopped thread;

	for (size_t i = 0; i < probing->count; i++)
		if (probing->outside[i] == tid)
			return true;
	if (waits_outside(probing, tid))
		return note_outside(probing, tid);
	int error = rqs_thread_stop(&thread, probing->pid, tid, rqs_tracee_now_ns() + THREAD_NS);
	if (error)
		return error == -ESRCH;
	bool busy = is_busy(probing, thread.registers.fs_base);
	rqs_thread_release(&thread);
	uint64_t stopped = rqs_tracee_now_ns() - thread.since_ns;
	if (stopped > probing->longest_ns)
		probing->longest_ns = stopped;
	return !busy && note_outside(probing, tid);
}

static bool probe_thread(void *data, pid_t tid)
{
	struct probing *probing = data;

	if (!is_outside(probing, tid))
		probing->all = false;
	return true;
}

bool rqs_all_leave(pid_t pid, int memory, const struct rqs_attach_probe *probe, uint64_t list_offset,
		   uint64_t *longest_ns)
{
	const struct timespec moment = {.tv_nsec = 2000000};
	struct probing probing = {.pid = pid, .memory = memory, .probe = probe, .list_offset = list_offset};
	uint64_t deadline = rqs_tracee_now_ns() + PROBE_NS;

	for (;;) {
		probing.all = true;
		rqs_threads_list(pid, probe_thread, &probing);
		if (probing.all || rqs_tracee_now_ns() >= deadline)
			break;
		nanosleep(&moment, NULL);
	}
	*longest_ns = probing.longest_ns;
	free(probing.outside);
	return probing.all;
}
