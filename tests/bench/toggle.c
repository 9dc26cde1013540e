/*
 * toggle.c - switches the hooks of a running Go program on and off, layer by
 * layer, and measures what its requests cost meanwhile.
 *
 *    toggle PID COUNTER ROUNDS SLICE_MS COLLECTOR
 *
 * COUNTER is the address of the program's own count of requests (int64),
 * COLLECTOR the collector's pid. The program is recorded with --sites.
 * Start and stop comparisons of two processes are lost in a shared machine's
 * noise; slices of one process, a tenth of a second apart, see the same of it.
 * Prints a line for each slice: layer, requests, CPU ns, wall ns, the collector's CPU ns.
 *
 * Requests that are under way when hooks come and go are recorded wrongly:
 * this is for measuring cost, and nothing else.
 */
#include "go/layout.h"
#include "inject/plan.h"
#include "reqscope/region.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/ptrace.h>
#include <sys/stat.h>
#include <sys/user.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#define THREADS 1024
#define SETTLE_NS 20000000ull
#define NO_SAMPLES (1ull << 50) /* bytes from one to the next */

/* Each layer has the hooks of those before it, too; the last one samples allocations. */
enum layer { NONE, REQUESTS, MEMORY, TIMES, SITES, LAYERS };
static const char *const layer_names[LAYERS] = {"none", "requests", "memory", "times", "sites"};

static struct {
	pid_t pid;
	int memory;
	uint64_t bias;
	struct rqs_plan plan;
	uint8_t (*jumps)[RQS_SITE_CODE]; /* by site */
	struct rqs_region_header *region;
	struct rqs_table *table;
	uint64_t sample_bytes; /* as it was recorded with */
	uint64_t entry, done;            /* of Syscall6: its first byte, and the one behind the SYSCALL */
	pid_t threads[THREADS];
	int signals[THREADS]; /* that stopped them, to be delivered when they go on */
	int thread_count;
} target;

static void __attribute__((noreturn)) fail(const char *what)
{
	fprintf(stderr, "toggle: %s: %s\n", what, strerror(errno));
	exit(1);
}

static void read_memory(uint64_t at, void *to, size_t n)
{
	if (pread(target.memory, to, n, (off_t)at) != (ssize_t)n)
		fail("read memory");
}

static void write_memory(uint64_t at, const void *from, size_t n)
{
	if (pwrite(target.memory, from, n, (off_t)at) != (ssize_t)n)
		fail("write memory");
}

/* ---- the program ---- */

static uint64_t first_mapping(void)
{
	char path[64];
	unsigned long start = 0;

	snprintf(path, sizeof(path), "/proc/%d/maps", (int)target.pid);
	FILE *maps = fopen(path, "r");
	if (!maps || fscanf(maps, "%lx-", &start) != 1)
		fail("maps");
	fclose(maps);
	return start;
}

static void look_at_program(void)
{
	char path[64];

	snprintf(path, sizeof(path), "/proc/%d/exe", (int)target.pid);
	int file = open(path, O_RDONLY | O_CLOEXEC);
	if (file < 0 || rqs_plan_make(&target.plan, file))
		fail("plan");
	snprintf(path, sizeof(path), "/proc/%d/mem", (int)target.pid);
	target.memory = open(path, O_RDWR | O_CLOEXEC);
	if (target.memory < 0)
		fail("mem");
	if (target.plan.position_independent)
		target.bias = first_mapping() - target.plan.image_start;
	target.jumps = calloc(target.plan.site_count, sizeof(*target.jumps));
	for (size_t i = 0; i < target.plan.site_count; i++) {
		const struct rqs_site *site = &target.plan.sites[i];

		read_memory(site->address + target.bias, target.jumps[i], site->length);
		if (!memcmp(target.jumps[i], site->code, site->length))
			fail("the program isn't hooked");
		if (site->kind == RQS_SITE_SYSCALL_LOADED)
			target.entry = site->address + target.bias;
		if (site->kind == RQS_SITE_SYSCALL_DONE)
			target.done = site->address + target.bias;
	}
}

/* All of it, by whichever part of it the program has mapped. */
static void map_region(void)
{
	char path[64], line[512];
	unsigned long start, end;
	struct stat stat;

	snprintf(path, sizeof(path), "/proc/%d/maps", (int)target.pid);
	FILE *maps = fopen(path, "r");
	while (maps && fgets(line, sizeof(line), maps) && !strstr(line, "/memfd:reqscope"))
		;
	if (!maps || feof(maps) || sscanf(line, "%lx-%lx", &start, &end) != 2)
		fail("no region");
	fclose(maps);
	snprintf(path, sizeof(path), "/proc/%d/map_files/%lx-%lx", (int)target.pid, start, end);
	int file = open(path, O_RDWR | O_CLOEXEC);
	if (file < 0 || fstat(file, &stat))
		fail("region");
	target.region = mmap(NULL, (size_t)stat.st_size, PROT_READ | PROT_WRITE, MAP_SHARED, file, 0);
	if (target.region == MAP_FAILED)
		fail("region");
	close(file);
}

static void look_at_region(void)
{
	map_region();
	struct rqs_process *processes = (void *)((char *)target.region + target.region->processes_offset);
	for (unsigned i = 0; i < RQS_PROCESSES; i++) {
		if ((pid_t)(uint32_t)processes[i].owner == target.pid && processes[i].table)
			target.table = (void *)((char *)target.region + target.region->tables_offset +
						(processes[i].table - 1) * target.region->table_size);
	}
	target.sample_bytes = target.region->sample_bytes;
	if (!target.table || !target.sample_bytes)
		fail("the program isn't recorded with --sites");
}

/* ---- stopping it ---- */

static bool is_stopped(pid_t tid)
{
	for (int i = 0; i < target.thread_count; i++)
		if (target.threads[i] == tid)
			return true;
	return false;
}

static void stop_thread(pid_t tid)
{
	int status;

	if (ptrace(PTRACE_SEIZE, tid, 0, 0) || ptrace(PTRACE_INTERRUPT, tid, 0, 0))
		return; /* it has just ended */
	if (waitpid(tid, &status, __WALL) != tid || !WIFSTOPPED(status) || target.thread_count == THREADS)
		return;
	bool ours = status >> 16 == PTRACE_EVENT_STOP;
	target.signals[target.thread_count] = ours ? 0 : WSTOPSIG(status);
	target.threads[target.thread_count++] = tid;
}

static void stop(void)
{
	char path[64];
	bool more = true;

	target.thread_count = 0;
	snprintf(path, sizeof(path), "/proc/%d/task", (int)target.pid);
	while (more) {
		DIR *tasks = opendir(path);
		struct dirent *entry;

		if (!tasks)
			fail("the program has ended");
		more = false;
		while ((entry = readdir(tasks))) {
			pid_t tid = atoi(entry->d_name);

			if (tid <= 0 || is_stopped(tid))
				continue;
			stop_thread(tid);
			more = true;
		}
		closedir(tasks);
	}
}

/* Is it between two instructions that are about to change? */
static bool is_within_site(uint64_t at)
{
	for (size_t i = 0; i < target.plan.site_count; i++) {
		uint64_t start = target.plan.sites[i].address + target.bias;

		if (at > start && at < start + target.plan.sites[i].length)
			return true;
	}
	return false;
}

/* Out of the sites; and within Syscall6 it gets the number where its entry's hook would have put it. */
static void prepare_thread(int i)
{
	struct user_regs_struct registers;
	int status;

	for (int steps = 0; steps < 64; steps++) {
		if (ptrace(PTRACE_GETREGS, target.threads[i], 0, &registers))
			return;
		if (!is_within_site(registers.rip) || ptrace(PTRACE_SINGLESTEP, target.threads[i], 0, 0))
			break;
		if (waitpid(target.threads[i], &status, __WALL) != target.threads[i])
			return;
		if (WSTOPSIG(status) != SIGTRAP)
			target.signals[i] = WSTOPSIG(status);
	}
	if (registers.rip > target.entry && registers.rip <= target.done && registers.r12 != 0x10000) {
		registers.r12 = (int64_t)registers.orig_rax >= 0 ? registers.orig_rax : registers.rax;
		ptrace(PTRACE_SETREGS, target.threads[i], 0, &registers);
	}
}

static void go_on(void)
{
	for (int i = 0; i < target.thread_count; i++)
		ptrace(PTRACE_DETACH, target.threads[i], 0, target.signals[i]);
}

/* ---- layers ---- */

static enum layer layer_of(enum rqs_site_kind kind)
{
	switch (kind) {
	case RQS_SITE_SYSCALL_LOADED:
	case RQS_SITE_SYSCALL_DONE:
		return REQUESTS;
	case RQS_SITE_ALLOC:
		return MEMORY;
	default:
		return TIMES;
	}
}

/* What no goroutine looks for costs nothing; one that is new looks once, and then for a point that is far away. */
static void sample(bool on)
{
	target.region->sample_bytes = on ? target.sample_bytes : NO_SAMPLES;
	for (unsigned i = 0; i < RQS_TABLE_ENTRIES; i++)
		if (target.table->goroutines[i].g)
			target.table->goroutines[i].sample = on ? (uint64_t)G_SAMPLE_UNDRAWN : 0;
}

static void switch_to(enum layer layer)
{
	stop();
	for (int i = 0; i < target.thread_count; i++)
		prepare_thread(i);
	for (size_t i = 0; i < target.plan.site_count; i++) {
		const struct rqs_site *site = &target.plan.sites[i];
		bool on = layer_of(site->kind) <= layer;

		write_memory(site->address + target.bias, on ? target.jumps[i] : site->code, site->length);
	}
	sample(layer == SITES);
	go_on();
}

static uint64_t clock_ns(clockid_t clock)
{
	struct timespec now;

	if (clock_gettime(clock, &now))
		fail("clock");
	return (uint64_t)now.tv_sec * 1000000000u + (uint64_t)now.tv_nsec;
}

static void sleep_ns(uint64_t ns)
{
	struct timespec time = {.tv_sec = (time_t)(ns / 1000000000u), .tv_nsec = (long)(ns % 1000000000u)};

	nanosleep(&time, NULL);
}

static void measure(enum layer layer, uint64_t counter, pid_t collector, uint64_t slice_ns)
{
	clockid_t cpu, collectors;
	int64_t before, after;

	if (clock_getcpuclockid(target.pid, &cpu) || clock_getcpuclockid(collector, &collectors))
		fail("CPU clock");
	switch_to(layer);
	sleep_ns(SETTLE_NS);
	read_memory(counter, &before, sizeof(before));
	uint64_t cpu_before = clock_ns(cpu), collector_before = clock_ns(collectors), wall_before = clock_ns(CLOCK_MONOTONIC);
	sleep_ns(slice_ns);
	read_memory(counter, &after, sizeof(after));
	uint64_t cpu_ns = clock_ns(cpu) - cpu_before, wall_ns = clock_ns(CLOCK_MONOTONIC) - wall_before;
	uint64_t collector_ns = clock_ns(collectors) - collector_before;
	printf("%s %" PRId64 " %" PRIu64 " %" PRIu64 " %" PRIu64 "\n", layer_names[layer], after - before, cpu_ns, wall_ns,
	       collector_ns);
}

int main(int argc, char **argv)
{
	if (argc != 6) {
		fprintf(stderr, "usage: toggle PID COUNTER ROUNDS SLICE_MS COLLECTOR\n");
		return 2;
	}
	target.pid = atoi(argv[1]);
	uint64_t counter = strtoull(argv[2], NULL, 0);
	int rounds = atoi(argv[3]);
	uint64_t slice_ns = strtoull(argv[4], NULL, 0) * 1000000u;
	pid_t collector = atoi(argv[5]);

	look_at_program();
	look_at_region();
	for (int round = 0; round < rounds; round++) {
		for (int i = 0; i < LAYERS; i++) {
			int turn = (i + round) % LAYERS;

			measure((enum layer)((round / LAYERS) % 2 ? LAYERS - 1 - turn : turn), counter + target.bias, collector,
				slice_ns);
		}
	}
	switch_to(SITES);
	rqs_plan_free(&target.plan);
	free(target.jumps);
	return 0;
}
