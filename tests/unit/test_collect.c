/* test_collect.c - whole sessions: a collector process, and targets that only speak reqscope/region.h. */
#include "unit.h"

#include "collect/greet.h"
#include "collect/session.h"
#include "fake_agent.h"
#include "read/columns.h"
#include "read/reader.h"

#include <cjson/cJSON.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/wait.h>

static char folder[] = "/tmp/reqscope-collect-XXXXXX";
static char path[PATH_MAX];
static char token[RQS_TOKEN_LENGTH + 1];

static int make_folder(void **state)
{
	(void)state;
	return mkdtemp(folder) ? 0 : -1;
}

static int remove_folder(void **state)
{
	(void)state;
	return rmdir(folder);
}

static int new_session(void **state)
{
	static unsigned number;

	(void)state;
	snprintf(path, sizeof(path), "%s/t.rqs", folder);
	snprintf(token, sizeof(token), "%016x%016x", (unsigned)getpid(), number++);
	return 0;
}

/* A target that waits until it is let go, by a byte or by its end of the pipe being closed. */
struct target {
	pid_t pid;
	int gate;
};

static struct target start_target(void (*serve)(struct fake_agent *))
{
	int gate[2];
	char byte;
	struct fake_agent agent;

	assert_int_equal(pipe2(gate, O_CLOEXEC), 0);
	struct target target = {fork(), gate[1]};
	if (!target.pid) {
		close(gate[1]);
		if (read(gate[0], &byte, 1) == 1 && fake_greet(&agent, token)) {
			fake_process(&agent, 0, 0);
			fake_thread(&agent);
			agent.processes[agent.process].accepted = 1;
			serve(&agent);
			_exit(0);
		}
		_exit(9);
	}
	close(gate[0]);
	return target;
}

static void let_go(const struct target *target)
{
	assert_int_equal(write(target->gate, "", 1), 1);
	waitpid(target->pid, NULL, 0);
	close(target->gate);
}

struct collector {
	pid_t pid;
	int ready, report;
};

static struct collector start_collector(struct rqs_session_options options)
{
	int ready[2], report[2];

	assert_int_equal(pipe2(ready, O_CLOEXEC) + pipe2(report, O_CLOEXEC), 0);
	struct collector collector = {fork(), ready[0], report[0]};
	if (!collector.pid) {
		options.token = token;
		options.ready_fd = ready[1];
		options.report_fd = report[1];
		_exit(rqs_session_run(&options));
	}
	close(ready[1]);
	close(report[1]);
	return collector;
}

/* The first byte of its answer. */
static char answer_of(const struct collector *collector)
{
	char answer = '-';

	assert_int_equal(read(collector->ready, &answer, 1), 1);
	return answer;
}

static struct rqs_session_report report_of(const struct collector *collector)
{
	static struct rqs_session_report report;
	size_t length = 0;
	ssize_t got;

	while ((got = read(collector->report, (char *)&report + length, sizeof(report) - length)) > 0)
		length += (size_t)got;
	close(collector->report);
	close(collector->ready);
	assert_int_equal(length, sizeof(report));
	waitpid(collector->pid, NULL, 0);
	return report;
}

static struct rqs_session_report run_session(void (*serve)(struct fake_agent *), uint64_t file_limit)
{
	struct target target = start_target(serve);
	struct rqs_session_options options = {.out = path, .pid = target.pid};
	struct collector collector = start_collector(options);
	struct rlimit limit = {file_limit, file_limit};

	assert_int_equal(answer_of(&collector), 0);
	if (file_limit)
		assert_int_equal(prlimit(collector.pid, RLIMIT_FSIZE, &limit, NULL), 0);
	let_go(&target);
	return report_of(&collector);
}

/* The rows of the trace's request frames; there must be no damage, and an end frame must be the last. */
static uint64_t rows_in_trace(void)
{
	struct rqs_reader reader;
	struct rqs_frame frame;
	struct rqs_damage damage;
	uint8_t last = 0;
	uint64_t sum = 0;

	assert_int_equal(rqs_reader_open(&reader, path), 0);
	while (rqs_reader_next(&reader, &frame, &damage) == RQS_READ_FRAME) {
		const uint8_t *payload = rqs_reader_payload(&reader, &frame, &damage);
		uint32_t rows = 0;

		last = frame.header.type;
		memcpy(&rows, payload, frame.header.type == RQS_FRAME_REQUESTS ? sizeof(rows) : 0);
		sum += rows;
	}
	assert_int_equal(last, RQS_FRAME_END);
	rqs_reader_close(&reader);
	assert_int_equal(unlink(path), 0);
	return sum;
}

static void assert_balanced(const struct rqs_completeness *c)
{
	assert_int_equal(c->started, c->finished + c->dropped + c->unfinished + c->given_up);
}

static void serve_some(struct fake_agent *agent)
{
	for (int i = 0; i < 1000; i++) {
		fake_open(agent, (uint32_t)i % 60);
		fake_finish(agent, (uint32_t)i % 60, i % 2 ? "/json" : "/users/{}", 1);
	}
}

static void all_requests_are_in_the_trace(void **state)
{
	(void)state;
	struct rqs_session_report report = run_session(serve_some, 0);

	assert_true(report.ended);
	assert_string_equal(report.reason, "exited");
	assert_string_equal(report.file, path);
	assert_int_equal(report.completeness.finished, 1000);
	assert_balanced(&report.completeness);
	assert_int_equal(rows_in_trace(), 1000);
}

static void serve_and_be_killed(struct fake_agent *agent)
{
	serve_some(agent);
	fake_open(agent, 7);
	fake_open(agent, 8);
	fake_finish(agent, 8, "/json", 0);
	__atomic_add_fetch(&agent->header->unplaced, 3, __ATOMIC_RELAXED);
	kill(getpid(), SIGKILL);
}

static void a_kill_loses_nothing(void **state)
{
	(void)state;
	struct rqs_session_report report = run_session(serve_and_be_killed, 0);

	assert_int_equal(report.completeness.finished, 1001);
	assert_int_equal(report.completeness.unfinished, 1);
	assert_int_equal(report.unplaced, 3);
	assert_balanced(&report.completeness);
	assert_int_equal(rows_in_trace(), 1001);
}

/* The parent goes at once; its child serves on, holding a listener, in the way of a daemon. */
static void serve_in_the_background(struct fake_agent *agent)
{
	struct timespec pause = {0, 600000000};

	agent->processes[agent->process].listeners = 1;
	if (fork())
		return;
	fake_process(agent, 0, 0);
	fake_thread(agent);
	agent->processes[agent->process].listeners = 1;
	agent->processes[agent->process].accepted = 1;
	nanosleep(&pause, NULL);
	serve_some(agent);
}

static void a_daemon_is_recorded_to_its_end(void **state)
{
	(void)state;
	struct rqs_session_report report = run_session(serve_in_the_background, 0);

	assert_int_equal(report.completeness.finished, 1000);
	assert_int_equal(report.serving, 2);
	assert_int_equal(rows_in_trace(), 1000);
}

/* What can't be written was completed and isn't recorded; the file holds whole frames, but no end. */
static void a_full_disk_drops_and_counts(void **state)
{
	(void)state;
	struct rqs_session_report report = run_session(serve_some, 700);
	struct stat stat_;

	assert_false(report.ended);
	assert_int_equal(report.completeness.finished, 0);
	assert_int_equal(report.completeness.dropped, 1000);
	assert_int_equal(report.troubles.rows_lost, 1000);
	assert_int_equal(report.troubles.write_error, EFBIG);
	assert_balanced(&report.completeness);
	assert_int_equal(stat(path, &stat_), 0);
	assert_int_equal(stat_.st_size, report.bytes);
	unlink(path);
}

static void say_nothing(struct fake_agent *agent)
{
	(void)agent;
}

static void greetings_are_checked(void **state)
{
	(void)state;
	struct target target = start_target(serve_some);
	struct rqs_session_options options = {.out = path, .pid = target.pid};
	struct collector collector = start_collector(options);
	struct rqs_hello hello = {RQS_REGION_VERSION + 1, (uint32_t)getpid()};
	struct rqs_welcome welcome;
	int silent[RQS_GREETERS + 5], fd, region;

	assert_int_equal(answer_of(&collector), 0);
	for (int i = 0; i < RQS_GREETERS + 5; i++)
		assert_true((silent[i] = fake_connect(token)) >= 0);
	fd = fake_connect(token);
	assert_true(fake_hello(fd, &hello, sizeof(hello), &welcome, &region));
	assert_int_not_equal(welcome.status, 0);
	assert_int_equal(region, -1);
	close(fd);
	hello.version = RQS_REGION_VERSION;
	fd = fake_connect(token);
	assert_false(fake_hello(fd, &hello, 4, &welcome, &region));
	close(fd);
	fd = fake_connect(token);
	hello.pid = 1; /* as seen from another pid namespace */
	assert_true(fake_hello(fd, &hello, sizeof(hello), &welcome, &region));
	assert_int_equal(welcome.status, 0);
	assert_int_equal(welcome.foreign_pids, 1);
	assert_int_equal(welcome.pid, getpid());
	close(region);
	close(fd);
	let_go(&target);
	struct rqs_session_report report = report_of(&collector);
	for (int i = 0; i < RQS_GREETERS + 5; i++)
		close(silent[i]);
	assert_int_equal(report.completeness.finished, 1000);
	assert_true(report.refused >= 2);
	rows_in_trace();
}

static void of_two_collectors_one_yields(void **state)
{
	(void)state;
	struct target target = start_target(serve_some);
	struct rqs_session_options options = {.out = path, .pid = target.pid, .mode = RQS_SESSION_PRELOAD};
	struct collector first = start_collector(options), second;
	int status;

	assert_int_equal(answer_of(&first), 0);
	second = start_collector(options);
	assert_int_equal(answer_of(&second), 0);
	assert_int_equal(waitpid(second.pid, &status, 0), second.pid);
	assert_int_equal(status, 0);
	close(second.ready);
	close(second.report);
	let_go(&target);
	assert_true(report_of(&first).ended);
	assert_int_equal(rows_in_trace(), 1000);
}

/* Started by a library in a program that turned out to be no server. */
static void who_serves_nobody_leaves_no_trace(void **state)
{
	(void)state;
	struct target target = start_target(say_nothing);
	struct rqs_session_options options = {.out = path, .pid = target.pid, .mode = RQS_SESSION_PRELOAD};
	struct collector collector = start_collector(options);

	assert_int_equal(answer_of(&collector), 0);
	close(target.gate);
	waitpid(target.pid, NULL, 0);
	assert_true(report_of(&collector).ended);
	assert_int_equal(access(path, F_OK), -1);
}

static void an_existing_file_is_left_alone(void **state)
{
	(void)state;
	char text[512] = "", expected[PATH_MAX + 32];
	struct target target = start_target(serve_some);
	struct rqs_session_options options = {.out = path, .pid = target.pid};

	close(open(path, O_CREAT | O_WRONLY, 0600));
	struct collector refused = start_collector(options);
	assert_true(read(refused.ready, text, sizeof(text) - 1) > 0);
	assert_non_null(strstr(text, "exists already"));
	waitpid(refused.pid, NULL, 0);
	close(refused.ready);
	close(refused.report);

	options.mode = RQS_SESSION_PRELOAD;
	struct collector collector = start_collector(options);
	assert_int_equal(answer_of(&collector), 0);
	let_go(&target);
	snprintf(expected, sizeof(expected), "%s/t.%d.rqs", folder, (int)target.pid);
	assert_string_equal(report_of(&collector).file, expected);
	assert_int_equal(unlink(path), 0);
	assert_int_equal(unlink(expected), 0);
}

static void serve_for_a_second(struct fake_agent *agent)
{
	struct timespec pause = {1, 0};

	agent->processes[agent->process].listeners = 1;
	serve_some(agent);
	fake_open(agent, 3);
	nanosleep(&pause, NULL);
	/* The collector has gone: what it said is what we go by. */
	_exit(agent->header->state == RQS_STOPPED ? 0 : 8);
}

static void a_duration_ends_the_recording_alone(void **state)
{
	(void)state;
	struct target target = start_target(serve_for_a_second);
	struct rqs_session_options options = {.out = path, .pid = target.pid, .duration_ns = 300000000};
	struct collector collector = start_collector(options);
	int status;

	assert_int_equal(answer_of(&collector), 0);
	assert_int_equal(write(target.gate, "", 1), 1);
	close(target.gate);
	struct rqs_session_report report = report_of(&collector);
	assert_int_equal(waitpid(target.pid, &status, WNOHANG), 0);
	assert_string_equal(report.reason, "duration");
	assert_int_equal(report.completeness.finished, 1000);
	assert_int_equal(report.completeness.unfinished, 1);
	assert_balanced(&report.completeness);
	assert_int_equal(waitpid(target.pid, &status, 0), target.pid);
	assert_int_equal(status, 0);
	assert_int_equal(rows_in_trace(), 1000);
}

static void serve_as_attached(struct fake_agent *agent)
{
	agent->processes[agent->process].preceding = 2;
	serve_for_a_second(agent);
}

static void the_end_of_the_attacher_is_a_detach(void **state)
{
	int stop[2], status;

	(void)state;
	struct target target = start_target(serve_as_attached);
	assert_int_equal(pipe2(stop, O_CLOEXEC), 0); /* which the target doesn't hold */
	struct rqs_session_options options = {
	    .out = path, .pid = target.pid, .mode = RQS_SESSION_ATTACH, .stop_fd = stop[0]};
	struct pollfd joined = {.events = POLLIN};
	struct collector collector = start_collector(options);

	assert_int_equal(answer_of(&collector), 0);
	assert_int_equal(write(target.gate, "", 1), 1);
	close(target.gate);
	joined.fd = collector.report;
	assert_int_equal(poll(&joined, 1, 300), 0);
	close(stop[0]);
	close(stop[1]);
	struct rqs_session_report report = report_of(&collector);
	assert_int_equal(waitpid(target.pid, &status, WNOHANG), 0);
	assert_string_equal(report.reason, "detached");
	assert_int_equal(report.completeness.started, 1003);
	assert_int_equal(report.completeness.finished, 1000);
	assert_int_equal(report.completeness.unfinished, 3);
	assert_balanced(&report.completeness);
	assert_int_equal(waitpid(target.pid, &status, 0), target.pid);
	assert_int_equal(status, 0);
	assert_int_equal(rows_in_trace(), 1000);
}

/* A Go program that took the target's place: its table, its runtime's figures, and requests with all that is measured.
 */
static void serve_as_go(struct fake_agent *agent)
{
	static uint64_t heap = 5000000, pause = 7000;
	static uint32_t cycles = 3;
	struct rqs_go_facts facts = {
	    .version = RQS_REGION_VERSION,
	    .pid = (uint32_t)getpid(),
	    .heap_in_use = (uintptr_t)&heap,
	    .gc_cycles = (uintptr_t)&cycles,
	    .gc_pause_total = (uintptr_t)&pause,
	};
	struct timespec moment = {0, 400000000};
	int region = fake_join(agent, token), mem = open("/proc/self/mem", O_RDONLY | O_CLOEXEC);
	int connection = fake_connect(token);

	if (!fake_tell(connection, &facts, sizeof(facts), mem, 1))
		_exit(7);
	fake_go_process(agent, 0, region, RQS_MEASURES_ALLOC | RQS_MEASURES_SCHED | RQS_MEASURES_CHILDREN);
	agent->processes[agent->process].accepted = 1;
	fake_allocate(agent, 512, 1000000); /* at its start */
	nanosleep(&moment, NULL);
	for (int i = 0; i < 100; i++) {
		fake_open(agent, 0);
		struct rqs_record *record = fake_room(agent, sizeof(*record) + RQS_ROUTE_MAX);
		uint32_t size = fake_fill(agent, record, 0, "/go");

		fake_allocate(agent, 1024u * (unsigned)i, 500);
		record->flags |= RQS_RECORD_HAS_ALLOC | RQS_RECORD_HAS_CPU | RQS_RECORD_HAS_SCHED;
		record->alloc_bytes = 500;
		record->alloc_count = 1;
		record->cpu_ticks = agent->header->ticks_per_second / 1000;
		fake_commit(agent, size);
		fake_slot(agent, 0)->finished++;
	}
	cycles += 2;
	nanosleep(&moment, NULL);
}

/* What a trace says, summed up. */
struct said {
	uint64_t gil_wait, loop_delay, recv_buffer_bytes;
	uint64_t alloc_bytes, cpu_time, children;  /* of requests; the last: how many have it */
	uint64_t heap_in_use, gc_cycles, gc_least; /* of samples: the greatest, and the least number of cycles */
	bool heap_goal;                            /* any has one */
	cJSON *process, *end;
};

static void add_rows(struct said *said, uint8_t type, const uint8_t *payload, size_t length)
{
	static struct rqs_block block;
	struct rqs_columns columns;

	rqs_block_init(&block);
	assert_true(rqs_columns_open(&columns, payload, length, UINT64_MAX));
	while (rqs_columns_decode(&columns, &block))
		for (uint32_t i = 0; i < block.rows; i++) {
			uint64_t heap = block.column[RQS_COL_HEAP_IN_USE][i];
			uint64_t cycles = block.column[RQS_COL_GC_CYCLES][i];

			said->heap_goal |= block.column[RQS_COL_HEAP_GOAL][i] != RQS_NULL;
			if (type == RQS_FRAME_REQUESTS) {
				said->alloc_bytes += block.column[RQS_COL_ALLOC_BYTES][i];
				said->cpu_time += block.column[RQS_COL_CPU_TIME][i];
				said->gil_wait += block.column[RQS_COL_GIL_WAIT][i];
				said->loop_delay += block.column[RQS_COL_LOOP_DELAY][i];
				said->recv_buffer_bytes += block.column[RQS_COL_RECV_BUFFER_BYTES][i];
				said->children += block.column[RQS_COL_CHILDREN_CPU_TIME][i] == 0;
			} else if (heap != RQS_NULL) {
				said->heap_in_use = heap > said->heap_in_use ? heap : said->heap_in_use;
				said->gc_cycles = cycles > said->gc_cycles ? cycles : said->gc_cycles;
				said->gc_least = cycles < said->gc_least ? cycles : said->gc_least;
			}
		}
}

static struct said read_trace(void)
{
	struct said said = {.gc_least = UINT64_MAX};
	struct rqs_reader reader;
	struct rqs_frame frame;
	struct rqs_damage damage;

	assert_int_equal(rqs_reader_open(&reader, path), 0);
	while (rqs_reader_next(&reader, &frame, &damage) == RQS_READ_FRAME) {
		const uint8_t *payload = rqs_reader_payload(&reader, &frame, &damage);
		size_t length = frame.header.raw_length;

		if (frame.header.type == RQS_FRAME_REQUESTS || frame.header.type == RQS_FRAME_SAMPLES)
			add_rows(&said, frame.header.type, payload, length);
		if (frame.header.type == RQS_FRAME_END)
			said.end = cJSON_ParseWithLength((const char *)payload, length);
		if (frame.header.type != RQS_FRAME_PROCESS)
			continue;
		cJSON_Delete(said.process);
		said.process = cJSON_ParseWithLength((const char *)payload, length);
	}
	rqs_reader_close(&reader);
	return said;
}

static double number_at(const cJSON *object, const char *key, const char *inner)
{
	return cJSON_GetNumberValue(cJSON_GetObjectItem(cJSON_GetObjectItem(object, key), inner));
}

static void a_go_program_is_recorded(void **state)
{
	(void)state;
	struct rqs_session_report report = run_session(serve_as_go, 0);
	struct said said = read_trace();
	const cJSON *runtime = cJSON_GetObjectItem(said.process, "runtime"), *totals = NULL, *one;

	assert_int_equal(report.completeness.finished, 100);
	assert_int_equal(report.refused, 0);
	assert_string_equal(cJSON_GetObjectItem(runtime, "name")->valuestring, "go");
	assert_string_equal(cJSON_GetObjectItem(runtime, "version")->valuestring, "1.26.8");
	cJSON_ArrayForEach(one, cJSON_GetObjectItem(said.end, "processes")) totals = one; /* the last image */
	assert_true(number_at(totals, "process_alloc", "alloc_bytes") == 1050000);
	assert_true(number_at(totals, "process_alloc", "alloc_count") == 101);
	assert_true(number_at(totals, "unattributed", "alloc_bytes") == 1000000);
	assert_int_equal(said.alloc_bytes, 50000);
	assert_in_range(said.cpu_time, 99000000, 101000000);
	assert_int_equal(said.children, 100);
	assert_int_equal(said.heap_in_use, 5000000);
	assert_int_equal(said.gc_least, 3);
	assert_int_equal(said.gc_cycles, 5);
	assert_false(said.heap_goal);
	cJSON_Delete(said.process);
	cJSON_Delete(said.end);
	assert_int_equal(rows_in_trace(), 100);
}

/* Hooked when it begins to listen: what is measured from then on, and what it allocates for requests that have ended.
 */
static void serve_as_python(struct fake_agent *agent)
{
	struct rqs_process *process = &agent->processes[agent->process];
	struct rqs_thread *thread = &agent->threads[agent->thread];
	struct timespec moment = {0, 300000000};

	thread->alloc_count = 10;
	thread->alloc_bytes = 10000;
	nanosleep(&moment, NULL);
	__atomic_store_n(&process->measures, RQS_MEASURES_ALLOC, __ATOMIC_RELEASE);
	for (int i = 0; i < 100; i++) {
		fake_open(agent, 0);
		struct rqs_record *record = fake_room(agent, sizeof(*record) + RQS_ROUTE_MAX);
		uint32_t size = fake_fill(agent, record, 0, "/python");

		thread->alloc_count += 3;
		thread->alloc_bytes += 700;
		record->flags |= RQS_RECORD_HAS_ALLOC | RQS_RECORD_HAS_CPU | RQS_RECORD_HAS_GIL | RQS_RECORD_HAS_LOOP |
				 RQS_RECORD_HAS_RECV;
		record->alloc_bytes = 500;
		record->alloc_count = 2;
		record->gil_ticks = agent->header->ticks_per_second / 1000;
		record->loop_ticks = agent->header->ticks_per_second / 1000000;
		record->recv_buffer_bytes = 65536;
		fake_commit(agent, size);
		fake_slot(agent, 0)->finished++;
		__atomic_add_fetch(&process->after_count, 1, __ATOMIC_RELAXED);
		__atomic_add_fetch(&process->after_bytes, 150, __ATOMIC_RELAXED);
	}
	kill(getpid(), SIGKILL);
}

static void a_python_program_is_recorded(void **state)
{
	(void)state;
	struct rqs_session_report report = run_session(serve_as_python, 0);
	struct said said = read_trace();
	const cJSON *totals = cJSON_GetArrayItem(cJSON_GetObjectItem(said.end, "processes"), 0);

	assert_int_equal(report.completeness.finished, 100);
	assert_true(number_at(totals, "process_alloc", "alloc_bytes") == 80000);
	assert_true(number_at(totals, "after_response", "alloc_bytes") == 15000);
	assert_true(number_at(totals, "after_response", "alloc_count") == 100);
	assert_true(number_at(totals, "unattributed", "alloc_bytes") == 15000);
	assert_true(number_at(totals, "unattributed", "alloc_count") == 10);
	assert_int_equal(said.alloc_bytes, 50000);
	assert_in_range(said.gil_wait, 99000000, 101000000);
	assert_in_range(said.loop_delay, 99000, 101000);
	assert_int_equal(said.recv_buffer_bytes, 6553600);
	cJSON_Delete(said.process);
	cJSON_Delete(said.end);
	assert_int_equal(rows_in_trace(), 100);
}

#define SESSION(test) cmocka_unit_test_setup(test, new_session)

int main(void)
{
	const struct CMUnitTest tests[] = {
	    SESSION(all_requests_are_in_the_trace),
	    SESSION(a_kill_loses_nothing),
	    SESSION(a_daemon_is_recorded_to_its_end),
	    SESSION(a_full_disk_drops_and_counts),
	    SESSION(greetings_are_checked),
	    SESSION(of_two_collectors_one_yields),
	    SESSION(who_serves_nobody_leaves_no_trace),
	    SESSION(an_existing_file_is_left_alone),
	    SESSION(a_duration_ends_the_recording_alone),
	    SESSION(the_end_of_the_attacher_is_a_detach),
	    SESSION(a_go_program_is_recorded),
	    SESSION(a_python_program_is_recorded),
	};

	return cmocka_run_group_tests(tests, make_folder, remove_folder);
}
