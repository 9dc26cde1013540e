/* test_go_source.c - Go processes' figures: greetings that tell where they are, true ones and others, and reading them.
 */
#include "unit.h"

#include "collect/greet.h"
#include "collect/sampler.h"
#include "fake_agent.h"

#include <dirent.h>
#include <fcntl.h>
#include <signal.h>
#include <sys/epoll.h>
#include <sys/wait.h>

static struct {
	struct rqs_region region;
	struct rqs_calibration clock;
	struct rqs_processes processes;
	struct rqs_greeting greeting;
	struct fake_agent agent;
	char token[RQS_TOKEN_LENGTH + 1];
	int epoll;
	unsigned descriptors; /* open before */
} t;

/* What stands at the addresses that the facts name. */
static struct {
	uint64_t in_use, live, goal, pause, all;
	uint32_t cycles;
	int32_t free, bare, system;
} figures;

static unsigned open_descriptors(void)
{
	DIR *folder = opendir("/proc/self/fd");
	unsigned count = 0;

	while (readdir(folder))
		count++;
	closedir(folder);
	return count;
}

static int set_up(void **state)
{
	static unsigned number;

	(void)state;
	memset(&t, 0, sizeof(t));
	t.descriptors = open_descriptors();
	t.clock = (struct rqs_calibration){.clock = RQS_CLOCK_MONOTONIC, .ns_per_tick = 1ull << 32};
	assert_int_equal(rqs_region_create(&t.region), 0);
	rqs_processes_init(&t.processes, &t.region, &t.clock, -1);
	snprintf(t.token, sizeof(t.token), "%016x%016x", (unsigned)getpid(), number++);
	t.epoll = epoll_create1(EPOLL_CLOEXEC);
	assert_int_equal(rqs_greeting_open(&t.greeting, t.token, t.epoll), 0);
	fake_attach(&t.agent, t.region.header);
	figures.in_use = 10 << 20;
	figures.live = 9 << 20;
	figures.goal = 20 << 20;
	figures.pause = 31000000;
	figures.all = 40;
	figures.cycles = 152;
	figures.free = 10;
	figures.bare = 3;
	figures.system = 5;
	return 0;
}

/* Whatever was sent, no descriptor is left open. */
static int tear_down(void **state)
{
	(void)state;
	rqs_greeting_close(&t.greeting);
	rqs_processes_free(&t.processes);
	if (t.agent.table)
		munmap(t.agent.table, sizeof(*t.agent.table));
	rqs_region_destroy(&t.region);
	close(t.epoll);
	assert_int_equal(open_descriptors(), t.descriptors);
	return 0;
}

static struct rqs_go_facts true_facts(uint32_t pid)
{
	return (struct rqs_go_facts){
	    .version = RQS_REGION_VERSION,
	    .pid = pid,
	    .heap_in_use = (uintptr_t)&figures.in_use,
	    .heap_live = (uintptr_t)&figures.live,
	    .heap_goal = (uintptr_t)&figures.goal,
	    .gc_cycles = (uintptr_t)&figures.cycles,
	    .gc_pause_total = (uintptr_t)&figures.pause,
	    .goroutines_all = (uintptr_t)&figures.all,
	    .goroutines_free = (uintptr_t)&figures.free,
	    .goroutines_system = (uintptr_t)&figures.system,
	};
}

static int open_memory(pid_t pid)
{
	char path[32];

	snprintf(path, sizeof(path), "/proc/%d/mem", (int)pid);
	return open(path, O_RDONLY | O_CLOEXEC);
}

/* Greets with `length` bytes and `count` copies of a descriptor, which is then closed; the collector answers at once.
 */
static void greet(const void *message, size_t length, int fd, unsigned count)
{
	int connection = fake_connect(t.token);

	assert_true(fake_tell(connection, message, length, fd, count));
	if (fd >= 0)
		close(fd);
	rqs_greeting_event(&t.greeting, RQS_TAG_LISTENER, t.region.fd, t.region.size);
	close(connection);
}

/* Facts of a process, with our own memory. */
static void tell(pid_t pid)
{
	struct rqs_go_facts facts = true_facts((uint32_t)pid);

	greet(&facts, sizeof(facts), open_memory(getpid()), 1);
}

static void settle(void)
{
	rqs_processes_scan(&t.processes, rqs_monotonic_ns());
	rqs_go_settle(&t.greeting.go, &t.processes, rqs_monotonic_ns());
}

static struct rqs_sample_row read_row(const struct rqs_go_source *source)
{
	struct rqs_sample_row row;

	memset(&row, 0, sizeof(row));
	rqs_go_read(source, &row);
	return row;
}

static void assert_all_null(const struct rqs_go_source *source)
{
	struct rqs_sample_row row = read_row(source);

	assert_int_equal(row.heap_in_use, RQS_NULL);
	assert_int_equal(row.heap_goal, RQS_NULL);
	assert_int_equal(row.gc_cycles, RQS_NULL);
	assert_int_equal(row.gc_pause_total, RQS_NULL);
	assert_int_equal(row.goroutines, RQS_NULL);
}

static void figures_are_read_where_they_are(void **state)
{
	(void)state;
	tell(getpid());
	settle();
	assert_int_equal(t.greeting.go.count, 1); /* the process isn't there yet */
	fake_go_process(&t.agent, 0, t.region.fd, RQS_MEASURES_ALLOC);
	settle();
	assert_int_equal(t.greeting.go.count, 0);
	struct rqs_watched *it = rqs_processes_at(&t.processes, t.agent.process);
	struct rqs_sample_row row = read_row(&it->go);
	assert_int_equal(row.heap_in_use, 10 << 20);
	assert_int_equal(row.heap_goal, 20 << 20);
	assert_int_equal(row.gc_cycles, 152);
	assert_int_equal(row.gc_pause_total, 31000000);
	assert_int_equal(row.goroutines, 25);
	figures.cycles = 153;
	assert_int_equal(read_row(&it->go).gc_cycles, 153);
	assert_true(rqs_processes_note(&t.processes, it));
	rqs_processes_end(&t.processes, it);
	assert_int_equal(it->go.mem, -1);
	assert_all_null(&it->go);
}

/* Its slot came first; and a process that isn't Go's has no such figures. */
static void facts_may_come_late(void **state)
{
	(void)state;
	fake_process(&t.agent, (uint32_t)getppid(), 0);
	fake_go_process(&t.agent, 0, t.region.fd, 0);
	settle();
	struct rqs_watched *it = rqs_processes_at(&t.processes, t.agent.process);
	assert_int_equal(it->go.mem, -1);
	tell(getpid());
	tell(getppid());
	settle();
	assert_int_not_equal(it->go.mem, -1);
	assert_int_equal(t.greeting.go.count, 1);
	tell(getpid()); /* of a next image, that isn't there yet */
	settle();
	assert_int_equal(t.greeting.go.count, 2);
	rqs_go_settle(&t.greeting.go, &t.processes, rqs_monotonic_ns() + 20000000000);
	assert_int_equal(t.greeting.go.count, 0);
}

static void what_no_runtime_says_is_null(void **state)
{
	(void)state;
	struct rqs_go_source source = {open_memory(getpid()), true_facts(0)};

	figures.goal = UINT64_MAX; /* GOGC=off */
	figures.free = -1;
	assert_int_equal(read_row(&source).heap_goal, RQS_NULL);
	assert_int_equal(read_row(&source).goroutines, RQS_NULL);
	assert_int_equal(read_row(&source).heap_in_use, 10 << 20);
	figures.free = 41;
	assert_int_equal(read_row(&source).goroutines, 0);
	figures.free = 10;
	source.facts.goroutines_bare = (uintptr_t)&figures.bare; /* Go 1.25 and later */
	assert_int_equal(read_row(&source).goroutines, 22);
	figures.bare = -1;
	assert_int_equal(read_row(&source).goroutines, RQS_NULL);
	source.facts.goroutines_bare = source.facts.goroutines_system = 0;
	assert_int_equal(read_row(&source).goroutines, RQS_NULL);
	source.facts.heap_in_use = 0;
	source.facts.gc_cycles = 4096;
	source.facts.gc_pause_total = UINT64_MAX - 3;
	source.facts.goroutines_all = 1ull << 63;
	assert_all_null(&source);
	close(source.mem);
	source.mem = -1;
	assert_all_null(&source);
}

/* Another program now: nothing of it is taken for the old one's. */
static void an_exec_ends_the_figures(void **state)
{
	(void)state;
	int gate[2];
	char byte;
	pid_t child;

	assert_int_equal(pipe2(gate, O_CLOEXEC), 0); /* closed by the exec */
	child = fork();
	if (!child) {
		raise(SIGSTOP);
		execl("/bin/sleep", "sleep", "30", NULL);
		_exit(1);
	}
	struct rqs_go_source source = {open_memory(child), true_facts((uint32_t)child)};
	waitpid(child, NULL, WUNTRACED);
	assert_int_equal(read_row(&source).gc_cycles, 152);
	kill(child, SIGCONT);
	close(gate[1]);
	assert_int_equal(read(gate[0], &byte, 1), 0);
	assert_all_null(&source);
	kill(child, SIGKILL);
	waitpid(child, NULL, 0);
	assert_all_null(&source);
	close(source.mem);
	close(gate[0]);
}

static void odd_greetings_are_refused(void **state)
{
	(void)state;
	struct rqs_go_facts facts = true_facts((uint32_t)getpid()), newer = facts;
	struct rqs_hello hello = {RQS_REGION_VERSION, (uint32_t)getpid()};
	char longer[sizeof(facts) + 1] = {0};
	uint64_t refused = 0;

	newer.version++;
	greet(&newer, sizeof(newer), open_memory(getpid()), 1);
	assert_int_equal(t.greeting.refused, ++refused);
	greet(&facts, sizeof(facts), -1, 0);
	assert_int_equal(t.greeting.refused, ++refused);
	greet(&facts, sizeof(facts), open("/etc/passwd", O_RDONLY), 1);
	assert_int_equal(t.greeting.refused, ++refused);
	greet(&facts, sizeof(facts) - 1, open_memory(getpid()), 1);
	assert_int_equal(t.greeting.refused, ++refused);
	memcpy(longer, &facts, sizeof(facts));
	greet(longer, sizeof(longer), open_memory(getpid()), 1);
	assert_int_equal(t.greeting.refused, ++refused);
	assert_int_equal(t.greeting.go.count, 0);
	greet(&hello, sizeof(hello), open_memory(getpid()), 8); /* a good one, with what doesn't belong to it */
	assert_int_equal(t.greeting.refused, refused);
	assert_int_equal(t.greeting.welcomed, 1);
	greet(&facts, sizeof(facts), open_memory(getpid()), 8);
	assert_int_equal(t.greeting.refused, refused);
	assert_int_equal(t.greeting.go.count, 1);
}

/* Processes that never come: the last ones told of are waited for. */
static void few_are_expected_at_a_time(void **state)
{
	(void)state;
	struct rqs_go_facts facts = true_facts(0);

	for (facts.pid = 1000; facts.pid < 1000 + 2 * RQS_GO_EXPECTED; facts.pid++) {
		greet(&facts, sizeof(facts), open_memory(getpid()), 1);
		greet(&facts, sizeof(facts), open_memory(getpid()), 1);
	}
	assert_int_equal(t.greeting.go.count, RQS_GO_EXPECTED);
	for (unsigned i = 0; i < RQS_GO_EXPECTED; i++)
		assert_true(t.greeting.go.arrivals[i].source.facts.pid >= 1000 + RQS_GO_EXPECTED);
}

#define WITH_COLLECTOR(test) cmocka_unit_test_setup_teardown(test, set_up, tear_down)

int main(void)
{
	const struct CMUnitTest tests[] = {
	    WITH_COLLECTOR(figures_are_read_where_they_are), WITH_COLLECTOR(facts_may_come_late),
	    WITH_COLLECTOR(what_no_runtime_says_is_null),    WITH_COLLECTOR(an_exec_ends_the_figures),
	    WITH_COLLECTOR(odd_greetings_are_refused),       WITH_COLLECTOR(few_are_expected_at_a_time),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
