/* process.c - finds, watches and ends the processes of a session. */
#include "collect/process.h"
#include "collect/procfs.h"
#include "collect/text.h"

#include <errno.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

#define NS_PER_S 1000000000ull
#define FDS_KEPT 32
#define NOTED_MAX 65536u /* readers take no more */
/* A child between fork and exec holds its parent's listeners for a moment, and isn't a server for that. */
#define SETTLED_NS 100000000ull
/* A claim isn't ready for microseconds; after this, and with no such pid, its maker was killed in between. */
#define UNREADY_NS NS_PER_S
#define CONNECTIONS_MAX (1 << 20) /* of a process: more it can only have by writing over its count */
/* How much older than its pid's present holder a claim must be for the pid to have been used again. */
#define REUSE_NS NS_PER_S

int rqs_processes_init(struct rqs_processes *processes, struct rqs_region *region, const struct rqs_calibration *clock,
		       int epoll)
{
	struct timespec boot;

	memset(processes, 0, sizeof(*processes));
	processes->region = region;
	processes->clock = clock;
	processes->epoll = epoll;
	clock_gettime(CLOCK_BOOTTIME, &boot);
	processes->boot_ns = (uint64_t)boot.tv_sec * NS_PER_S + (uint64_t)boot.tv_nsec - rqs_monotonic_ns();
	return 0;
}

/* Before its descriptors: it reads by one of them. */
static void free_code(struct rqs_watched *watched)
{
	if (watched->code)
		rqs_code_free(watched->code);
	watched->code = NULL;
}

static void close_fds(struct rqs_watched *watched)
{
	if (watched->pidfd >= 0)
		close(watched->pidfd); /* which takes it out of the epoll, too */
	if (watched->procdir >= 0)
		close(watched->procdir);
	if (watched->go.mem >= 0)
		close(watched->go.mem);
	watched->pidfd = watched->procdir = watched->go.mem = -1;
}

static void free_watched(struct rqs_watched *watched)
{
	free_code(watched);
	close_fds(watched);
	rqs_table_unmap(&watched->table);
	free(watched->command);
	free(watched);
}

void rqs_processes_free(struct rqs_processes *processes)
{
	for (uint32_t slot = 0; slot < RQS_PROCESSES; slot++)
		if (processes->by_slot[slot] && processes->by_slot[slot]->index == RQS_UNNOTED)
			free_watched(processes->by_slot[slot]);
	for (uint32_t i = 0; i < processes->noted_count; i++)
		free_watched(processes->noted[i]);
	free(processes->noted);
}

static uint64_t load(const uint64_t *word)
{
	return __atomic_load_n(word, __ATOMIC_RELAXED);
}

static int64_t load_count(const int64_t *word)
{
	int64_t value = __atomic_load_n(word, __ATOMIC_RELAXED);

	return value < 0 ? 0 : value;
}

/* What may still change while the process lives. */
static void copy_slot(struct rqs_watched *watched, const struct rqs_process *process)
{
	watched->flags = __atomic_load_n(&process->flags, __ATOMIC_ACQUIRE);
	watched->runtime = __atomic_load_n(&process->runtime, __ATOMIC_ACQUIRE);
	watched->measures = __atomic_load_n(&process->measures, __ATOMIC_ACQUIRE);
	if (process->version[0]) {
		memcpy(watched->version, process->version, sizeof(watched->version));
		watched->version[sizeof(watched->version) - 1] = 0;
		rqs_make_printable(watched->version, strlen(watched->version));
	}
	watched->listeners = load_count(&process->listeners);
	watched->connections = load_count(&process->connections);
	watched->connections_peak = (uint64_t)load_count(&process->connections_peak);
	watched->accepted = load(&process->accepted);
	watched->unslotted = load(&process->unslotted);
	watched->preceding = load(&process->preceding);
	watched->after_count = load(&process->after_count);
	watched->after_bytes = load(&process->after_bytes);
	watched->heap_in_use = load(&process->heap_in_use);
	watched->exchanged = load(&process->exchanged) != 0;
	for (unsigned i = 0; i < RQS_EVENT_COUNT; i++)
		watched->events[i] = load(&process->events[i]);
}

static bool is_foreign(const struct rqs_watched *watched)
{
	return watched->flags & RQS_PROCESS_FOREIGN_PIDS;
}

/* The pid may have died, and been given to another process, before we came to look. */
static bool pid_was_reused(const struct rqs_processes *processes, const struct rqs_watched *watched)
{
	struct rqs_procfs_stat stat;

	return rqs_procfs_stat(watched->procdir, &stat) &&
	       stat.start > watched->start_ns + processes->boot_ns + REUSE_NS;
}

bool rqs_is_spare(int fd)
{
	return fd >= 0 && fd < sysconf(_SC_OPEN_MAX) - FDS_KEPT;
}

/* Gets hold of the process itself, by descriptors that no reuse of the pid can mislead. */
static void take_hold(struct rqs_processes *processes, struct rqs_watched *watched)
{
	struct epoll_event event = {.events = EPOLLIN, .data.u64 = RQS_TAG_PROCESS | watched->slot};

	if (is_foreign(watched))
		return;
	watched->procdir = rqs_procfs_open(watched->pid);
	watched->pidfd = (int)syscall(SYS_pidfd_open, watched->pid, 0);
	if (watched->pidfd < 0)
		watched->dying = errno == ESRCH || errno == EINVAL;
	if (pid_was_reused(processes, watched))
		watched->dying = true;
	if (!watched->dying)
		watched->command = rqs_procfs_command(watched->procdir, &watched->command_length);
	if (!rqs_is_spare(watched->procdir) || !rqs_is_spare(watched->pidfd))
		close_fds(watched);
	if (processes->epoll >= 0 && watched->pidfd >= 0)
		epoll_ctl(processes->epoll, EPOLL_CTL_ADD, watched->pidfd, &event);
}

/* A newer image of the same pid means that the older one is gone by exec, whether it said so or not. */
static void end_older_images(struct rqs_processes *processes, const struct rqs_watched *newer)
{
	if (is_foreign(newer)) /* its pid means nothing here */
		return;
	for (uint32_t slot = 0; slot < RQS_PROCESSES; slot++) {
		struct rqs_watched *older = processes->by_slot[slot];

		if (older && older->pid == newer->pid && older->owner < newer->owner && !is_foreign(older))
			older->dying = older->replaced = true;
	}
}

static struct rqs_watched *watch(struct rqs_processes *processes, uint32_t slot, uint64_t owner)
{
	const struct rqs_process *process = &processes->region->processes[slot];
	struct rqs_watched *watched = calloc(1, sizeof(*watched));

	if (!watched)
		return NULL; /* looked for again at the next scan */
	watched->owner = owner;
	watched->slot = slot;
	watched->index = RQS_UNNOTED;
	watched->pid = (pid_t)(uint32_t)owner;
	watched->parent = (pid_t)process->parent;
	watched->table.number = load(&process->table);
	watched->pidfd = watched->procdir = watched->go.mem = -1;
	watched->seen_ns = rqs_monotonic_ns();
	watched->start_ns = rqs_calibration_ns(processes->clock, load(&process->start_ticks));
	if (watched->start_ns > watched->seen_ns) /* nonsense */
		watched->start_ns = watched->seen_ns;
	copy_slot(watched, process);
	take_hold(processes, watched);
	if (processes->sampled)
		watched->code = rqs_code_new(watched->procdir, watched->runtime);
	processes->by_slot[slot] = watched;
	processes->unready_owner[slot] = 0;
	processes->live++;
	processes->registered++;
	end_older_images(processes, watched);
	return watched;
}

struct rqs_watched *rqs_processes_at(struct rqs_processes *processes, uint32_t slot)
{
	if (slot >= RQS_PROCESSES)
		return NULL;

	const struct rqs_process *process = &processes->region->processes[slot];
	struct rqs_watched *watched = processes->by_slot[slot];
	uint64_t owner = __atomic_load_n(&process->owner, __ATOMIC_ACQUIRE);

	if (watched) {
		/* Nobody but us may change an owner word. */
		if (watched->owner != owner)
			watched->dying = true;
		return watched;
	}
	if (!owner || !__atomic_load_n(&process->ready, __ATOMIC_ACQUIRE))
		return NULL;
	return watch(processes, slot, owner);
}

/* A claimer killed before it was ready leaves a slot that nobody watches. */
static void check_unready(struct rqs_processes *processes, uint32_t slot, uint64_t owner, uint64_t now_ns)
{
	if (processes->unready_owner[slot] != owner) {
		processes->unready_owner[slot] = owner;
		processes->unready_since[slot] = now_ns;
	} else if (owner && now_ns - processes->unready_since[slot] > UNREADY_NS && kill((pid_t)(uint32_t)owner, 0) &&
		   errno == ESRCH) {
		rqs_region_free_process(processes->region, slot);
		processes->unready_owner[slot] = 0;
	}
}

void rqs_processes_scan(struct rqs_processes *processes, uint64_t now_ns)
{
	for (uint32_t slot = 0; slot < RQS_PROCESSES; slot++) {
		uint64_t owner = __atomic_load_n(&processes->region->processes[slot].owner, __ATOMIC_ACQUIRE);

		if (!owner && !processes->by_slot[slot])
			continue;
		if (!rqs_processes_at(processes, slot))
			check_unready(processes, slot, owner, now_ns);
	}
}

bool rqs_processes_note(struct rqs_processes *processes, struct rqs_watched *watched)
{
	if (watched->index != RQS_UNNOTED)
		return true;
	if (processes->noted_count == NOTED_MAX)
		return false;
	if (processes->noted_count == processes->noted_capacity) {
		uint32_t capacity = processes->noted_capacity ? 2 * processes->noted_capacity : 64;
		struct rqs_watched **noted = realloc(processes->noted, capacity * sizeof(*noted));

		if (!noted)
			return false;
		processes->noted = noted;
		processes->noted_capacity = capacity;
	}
	watched->index = processes->noted_count++;
	processes->noted[watched->index] = watched;
	return true;
}

static bool shows(const struct rqs_watched *watched, uint64_t now_ns)
{
	if (watched->accepted || watched->connections || watched->unslotted || watched->preceding ||
	    watched->folded.opened)
		return true;
	for (unsigned i = 0; i < RQS_EVENT_COUNT; i++)
		if (watched->events[i])
			return true;
	return watched->listeners && !watched->dying && now_ns - watched->start_ns > SETTLED_NS;
}

static void refresh(struct rqs_processes *processes, struct rqs_watched *watched, uint64_t now_ns)
{
	const struct rqs_process *process = &processes->region->processes[watched->slot];

	if (__atomic_load_n(&process->owner, __ATOMIC_ACQUIRE) != watched->owner) {
		watched->dying = true;
		return;
	}
	copy_slot(watched, process);
	if (watched->listeners || watched->connections || watched->accepted)
		processes->served = true;
	if (watched->index == RQS_UNNOTED && shows(watched, now_ns))
		rqs_processes_note(processes, watched);
}

static void keep_greater(uint64_t *kept, uint64_t value)
{
	if (value > *kept)
		*kept = value;
}

void rqs_processes_refresh(struct rqs_processes *processes, uint64_t now_ns)
{
	uint32_t left = processes->live;
	uint64_t all = 0, serving = 0;

	for (uint32_t slot = 0; slot < RQS_PROCESSES && left; slot++) {
		struct rqs_watched *watched = processes->by_slot[slot];

		if (!watched)
			continue;
		refresh(processes, watched, now_ns);
		left--;
		if (watched->dying)
			continue;
		int64_t counted = watched->connections;
		uint64_t open = counted < CONNECTIONS_MAX ? (uint64_t)counted : CONNECTIONS_MAX;
		all += open;
		serving += rqs_watched_serves(watched) ? open : 0;
	}
	keep_greater(&processes->connections_peak, all);
	keep_greater(&processes->serving_peak, serving);
}

uint64_t rqs_processes_connections_peak(const struct rqs_processes *processes)
{
	uint64_t all = processes->connections_peak, serving = processes->serving_peak;
	bool any = false;

	for (uint32_t i = 0; i < processes->noted_count; i++) {
		const struct rqs_watched *watched = processes->noted[i];

		keep_greater(&all, watched->connections_peak);
		if (!rqs_watched_serves(watched))
			continue;
		any = true;
		keep_greater(&serving, watched->connections_peak);
	}
	return any ? serving : all;
}

void rqs_processes_check(struct rqs_processes *processes)
{
	for (uint32_t slot = 0; slot < RQS_PROCESSES; slot++) {
		struct rqs_watched *watched = processes->by_slot[slot];
		struct rqs_procfs_stat stat;

		if (!watched || watched->pidfd >= 0 || is_foreign(watched) || watched->dying)
			continue;
		if (watched->procdir >= 0)
			watched->dying = !rqs_procfs_stat(watched->procdir, &stat) || stat.state == 'Z';
		else
			watched->dying = kill(watched->pid, 0) && errno == ESRCH;
	}
}

void rqs_processes_end(struct rqs_processes *processes, struct rqs_watched *watched)
{
	free_code(watched);
	close_fds(watched);
	rqs_table_unmap(&watched->table);
	processes->by_slot[watched->slot] = NULL;
	processes->live--;
	rqs_region_free_process(processes->region, watched->slot);
	watched->ended = true;
	if (watched->index == RQS_UNNOTED)
		free_watched(watched);
}

bool rqs_processes_serving(const struct rqs_processes *processes, bool foreign_alive)
{
	for (uint32_t slot = 0; slot < RQS_PROCESSES; slot++) {
		const struct rqs_watched *watched = processes->by_slot[slot];

		if (!watched || watched->dying || (watched->flags & RQS_PROCESS_EXECED) ||
		    (is_foreign(watched) && !foreign_alive))
			continue;
		if (watched->listeners || watched->connections)
			return true;
	}
	return false;
}
