/* test_writer.c - frames on disk, also on a disk that fails; payloads of JSON. */
#include "unit.h"

#include "collect/frame_json.h"
#include "collect/totals_list.h"
#include "collect/writer.h"
#include "read/reader.h"

#include <cjson/cJSON.h>
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

static char folder[] = "/tmp/reqscope-writer-XXXXXX";
static char path[64];

static int make_folder(void **state)
{
	(void)state;
	assert_non_null(mkdtemp(folder));
	snprintf(path, sizeof(path), "%s/t.rqs", folder);
	return 0;
}

static int remove_folder(void **state)
{
	(void)state;
	return rmdir(folder);
}

/* All frames of the file: their types as letters 'a' + type. There must be no damage. */
static const char *frames(void)
{
	static char types[64];
	struct rqs_reader reader;
	struct rqs_frame frame;
	struct rqs_damage damage;
	enum rqs_read_result result;
	size_t count = 0;

	assert_int_equal(rqs_reader_open(&reader, path), 0);
	while ((result = rqs_reader_next(&reader, &frame, &damage)) == RQS_READ_FRAME) {
		assert_non_null(rqs_reader_payload(&reader, &frame, &damage));
		types[count++] = (char)('a' + frame.header.type);
	}
	assert_int_equal(result, RQS_READ_END);
	rqs_reader_close(&reader);
	types[count] = 0;
	return types;
}

static void frames_read_back(void **state)
{
	(void)state;
	struct rqs_writer writer;
	struct stat stat;

	assert_int_equal(rqs_writer_open(&writer, path, false), 0);
	assert_int_equal(rqs_writer_append(&writer, RQS_FRAME_RUN, 5, 6, "{}", 2), 0);
	assert_int_equal(rqs_writer_append(&writer, RQS_FRAME_END, 7, 8, "{\"a\":1}", 7), 0);
	assert_int_equal(fstat(writer.fd, &stat), 0);
	assert_int_equal(stat.st_mode & 07777, 0600);
	assert_int_equal(stat.st_size, writer.length);
	rqs_writer_close(&writer);
	assert_string_equal(frames(), "bg");
	unlink(path);
}

static void an_existing_file_is_kept_unless_forced(void **state)
{
	(void)state;
	struct rqs_writer writer;
	struct stat before, after;

	close(open(path, O_CREAT | O_WRONLY, 0644));
	assert_int_equal(stat(path, &before), 0);
	assert_int_equal(rqs_writer_open(&writer, path, false), -EEXIST);
	assert_int_equal(rqs_writer_open(&writer, path, true), 0);
	rqs_writer_close(&writer);
	assert_int_equal(stat(path, &after), 0);
	assert_int_equal(after.st_mode & 07777, 0600);
	unlink(path);
	assert_int_equal(rqs_writer_open(&writer, "/nonexistent/t.rqs", true), -ENOENT);
	assert_int_equal(rqs_writer_open(&writer, "/dev/null", true), 0);
	assert_int_equal(rqs_writer_append(&writer, RQS_FRAME_RUN, 0, 0, "{}", 2), 0);
	rqs_writer_close(&writer);
	assert_int_equal(stat("/dev/null", &after), 0);
	assert_true(S_ISCHR(after.st_mode));
}

static void limit_files(uint64_t bytes)
{
	struct rlimit limit;

	getrlimit(RLIMIT_FSIZE, &limit);
	limit.rlim_cur = bytes ? bytes : limit.rlim_max;
	setrlimit(RLIMIT_FSIZE, &limit);
}

/* A frame that is written in part is cut off; when there is room again, writing goes on. */
static void a_full_disk_leaves_whole_frames(void **state)
{
	(void)state;
	struct rqs_writer writer;
	char noise[3000];

	for (size_t i = 0; i < sizeof(noise); i++)
		noise[i] = (char)rand();
	signal(SIGXFSZ, SIG_IGN);
	assert_int_equal(rqs_writer_open(&writer, path, false), 0);
	assert_int_equal(rqs_writer_append(&writer, RQS_FRAME_RUN, 0, 0, "{}", 2), 0);
	limit_files(2000);
	assert_int_equal(rqs_writer_append(&writer, RQS_FRAME_TOTALS, 0, 0, noise, sizeof(noise)), -EFBIG);
	assert_int_equal(rqs_writer_append(&writer, RQS_FRAME_TOTALS, 0, 0, noise, sizeof(noise)), -EFBIG);
	limit_files(0);
	assert_int_equal(rqs_writer_append(&writer, RQS_FRAME_END, 0, 0, "{}", 2), 0);
	assert_int_equal(writer.error, EFBIG);
	assert_int_equal(writer.frames_lost, 2);
	rqs_writer_close(&writer);
	assert_string_equal(frames(), "bg");
	unlink(path);
}

static void too_long_a_payload_is_refused(void **state)
{
	(void)state;
	struct rqs_writer writer;

	assert_int_equal(rqs_writer_open(&writer, path, false), 0);
	assert_int_equal(rqs_writer_append(&writer, RQS_FRAME_TOTALS, 0, 0, path, (size_t)RQS_FRAME_MAX + 1),
			 -EMSGSIZE);
	assert_int_equal(writer.length, 0);
	rqs_writer_close(&writer);
	unlink(path);
}

/* Payloads */

static cJSON *parsed(char *text)
{
	cJSON *object = cJSON_Parse(text);

	assert_non_null(object);
	free(text);
	return object;
}

static void a_run_is_told(void **state)
{
	(void)state;
	static const char command[] = "python3\0-m\0app\xff";
	struct rqs_run_facts facts = {.mode = "preload",
				      .command_text = command,
				      .command_length = sizeof(command) - 1,
				      .start_monotonic_ns = 1ull << 60,
				      .start_realtime_ns = 5};
	cJSON *run = parsed(rqs_payload_run(&facts));

	assert_string_equal(cJSON_GetObjectItem(run, "schema")->valuestring, "reqscope.run/1");
	assert_string_equal(cJSON_GetObjectItem(run, "start_monotonic_ns")->valuestring, "1152921504606846976");
	assert_true(cJSON_IsNull(cJSON_GetObjectItem(run, "label")));
	cJSON *list = cJSON_GetObjectItem(run, "command");
	assert_int_equal(cJSON_GetArraySize(list), 3);
	assert_string_equal(cJSON_GetArrayItem(list, 2)->valuestring, "app?");
	assert_true(cJSON_GetObjectItem(cJSON_GetObjectItem(run, "host"), "cpus")->valuedouble >= 1);
	assert_true(cJSON_IsString(cJSON_GetObjectItem(cJSON_GetObjectItem(run, "host"), "name")));
	cJSON_Delete(run);
}

/* Requests' + unattributed = process_alloc, also where the slots lag behind. */
static void allocations_add_up(void **state)
{
	(void)state;
	struct rqs_watched watched = {.index = 0,
				      .records = 2,
				      .with_alloc = 2,
				      .record_alloc_count = 30,
				      .record_alloc_bytes = 3000,
				      .folded = {.opened = 2, .alloc_count = 100, .alloc_bytes = 5000},
				      .ended = true};
	struct rqs_watched *list[] = {&watched};
	struct rqs_processes *processes = calloc(1, sizeof(*processes));
	struct rqs_troubles troubles = {0};

	processes->noted = list;
	processes->noted_count = 1;
	watched.events[0] = 3;
	cJSON *end = parsed(rqs_payload_totals(processes, &troubles, 9, "exited"));
	cJSON *process = cJSON_GetArrayItem(cJSON_GetObjectItem(end, "processes"), 0);
	cJSON *rest = cJSON_GetObjectItem(process, "unattributed");
	assert_int_equal(cJSON_GetObjectItem(rest, "alloc_count")->valueint, 70);
	assert_int_equal(cJSON_GetObjectItem(rest, "alloc_bytes")->valueint, 2000);
	assert_true(cJSON_IsNull(cJSON_GetObjectItem(process, "rss_peak")));
	assert_int_equal(cJSON_GetArraySize(cJSON_GetObjectItem(process, "events")), 1);
	assert_int_equal(cJSON_GetArraySize(cJSON_GetObjectItem(end, "notes")), 0);
	assert_string_equal(cJSON_GetObjectItem(end, "reason")->valuestring, "exited");
	cJSON_Delete(end);
	free(processes);
}

static bool is_noted(const cJSON *totals, const char *what)
{
	const cJSON *note;

	cJSON_ArrayForEach(note, cJSON_GetObjectItem(totals, "notes"))
	{
		if (!strcmp(cJSON_GetObjectItem(note, "what")->valuestring, what))
			return true;
	}
	return false;
}

/* What a Go program allocates is known by its table alone; what its hooks don't measure is said. */
static void what_go_measures_is_told(void **state)
{
	(void)state;
	struct rqs_watched watched = {
	    .records = 1,
	    .runtime = RQS_RUNTIME_GO,
	    .measures = RQS_MEASURES_ALLOC,
	    .folded = {.opened = 1},
	};
	struct rqs_watched *list[] = {&watched};
	struct rqs_processes *processes = calloc(1, sizeof(*processes));
	struct rqs_troubles troubles = {0};

	processes->noted = list;
	processes->noted_count = 1;
	for (int round = 0; round < 3; round++) {
		watched.table.known = round > 0;
		watched.measures = round < 2 ? RQS_MEASURES_ALLOC : RQS_MEASURES_SCHED;
		cJSON *end = parsed(rqs_payload_totals(processes, &troubles, 9, "exited"));
		cJSON *process = cJSON_GetArrayItem(cJSON_GetObjectItem(end, "processes"), 0);
		cJSON *alloc = cJSON_GetObjectItem(process, "process_alloc");

		assert_int_equal(cJSON_IsObject(alloc), round == 1); /* known, and nothing yet */
		assert_int_equal(is_noted(end, "process_alloc, unattributed"), round == 0);
		assert_int_equal(is_noted(end, "alloc_bytes, alloc_count"), round == 2);
		assert_int_equal(is_noted(end, "allocations of goroutines that a request starts"), round < 2);
		assert_int_equal(is_noted(end, "cpu_time, sched_wait, children_cpu_time"), round < 2);
		cJSON_Delete(end);
	}
	free(processes);
}

static uint64_t number_in(const cJSON *process, const char *key, const char *inner)
{
	return (uint64_t)cJSON_GetNumberValue(cJSON_GetObjectItem(cJSON_GetObjectItem(process, key), inner));
}

/* The totals of this process alone, at the end. */
static cJSON *totals_of(struct rqs_watched *watched)
{
	static struct rqs_processes processes;
	struct rqs_watched *list[] = {watched};
	struct rqs_troubles troubles = {0};

	processes.noted = list;
	processes.noted_count = 1;
	return parsed(rqs_payload_totals(&processes, &troubles, 9, "exited"));
}

static const cJSON *first_process(const cJSON *totals)
{
	return cJSON_GetArrayItem(cJSON_GetObjectItem(totals, "processes"), 0);
}

#define UNHOOKED                                                                                                       \
	"alloc_bytes, alloc_count, recv_buffer_bytes, peak_bytes, cpu_time, gil_wait, process_alloc, unattributed, "   \
	"after_response"

/* Requests' + after_response + unattributed = process_alloc, once the allocators are hooked. */
static void what_python_measures_is_told(void **state)
{
	(void)state;
	struct rqs_watched watched = {
	    .runtime = RQS_RUNTIME_PYTHON,
	    .records = 2,
	    .with_alloc = 2,
	    .record_flags = RQS_RECORD_HAS_ALLOC | RQS_RECORD_HAS_CPU,
	    .record_alloc_count = 30,
	    .record_alloc_bytes = 3000,
	    .after_count = 7,
	    .after_bytes = 500,
	    .folded = {.opened = 2, .alloc_count = 90, .alloc_bytes = 4000},
	    .live = {.alloc_count = 10, .alloc_bytes = 1000},
	    .measures = RQS_MEASURES_ALLOC,
	};
	cJSON *end = totals_of(&watched);
	const cJSON *process = first_process(end);

	assert_int_equal(number_in(process, "process_alloc", "alloc_bytes"), 5000);
	assert_int_equal(number_in(process, "process_alloc", "alloc_count"), 100);
	assert_int_equal(number_in(process, "after_response", "alloc_bytes"), 500);
	assert_int_equal(number_in(process, "after_response", "alloc_count"), 7);
	assert_int_equal(number_in(process, "unattributed", "alloc_bytes"), 1500);
	assert_int_equal(number_in(process, "unattributed", "alloc_count"), 63);
	assert_true(is_noted(end, "peak_bytes") && is_noted(end, "gil_wait"));
	assert_int_equal(cJSON_GetArraySize(cJSON_GetObjectItem(end, "notes")), 2);
	cJSON_Delete(end);

	watched.with_alloc = 0;
	end = totals_of(&watched);
	assert_true(is_noted(end, "peak_bytes") && is_noted(end, "alloc_bytes, alloc_count, cpu_time, gil_wait"));
	assert_int_equal(cJSON_GetArraySize(cJSON_GetObjectItem(end, "notes")), 2);
	cJSON_Delete(end);

	watched.measures = 0;
	end = totals_of(&watched);
	process = first_process(end);
	assert_true(cJSON_IsNull(cJSON_GetObjectItem(process, "process_alloc")));
	assert_true(cJSON_IsNull(cJSON_GetObjectItem(process, "unattributed")));
	assert_true(cJSON_IsNull(cJSON_GetObjectItem(process, "after_response")));
	assert_true(is_noted(end, UNHOOKED));
	assert_int_equal(cJSON_GetArraySize(cJSON_GetObjectItem(end, "notes")), 1);
	cJSON_Delete(end);
}

/* Parts that are more than the whole: no number below 0, and the reader is told. */
static void allocations_that_contradict_are_said(void **state)
{
	(void)state;
	struct rqs_watched watched = {
	    .runtime = RQS_RUNTIME_PYTHON,
	    .records = 1,
	    .with_alloc = 1,
	    .record_alloc_count = 5,
	    .record_alloc_bytes = 600,
	    .after_bytes = 401,
	    .folded = {.opened = 1, .alloc_count = 5, .alloc_bytes = 1000},
	    .measures = RQS_MEASURES_ALLOC,
	};
	static const uint64_t after[] = {400, 401, 1ull << 53, INT64_MAX};

	for (unsigned i = 0; i < sizeof(after) / sizeof(after[0]); i++) {
		watched.after_bytes = after[i];
		cJSON *end = totals_of(&watched);
		const cJSON *process = first_process(end);

		assert_int_equal(number_in(process, "unattributed", "alloc_bytes"), 0);
		assert_int_equal(number_in(process, "unattributed", "alloc_count"), 0);
		assert_int_equal(is_noted(end, "unattributed"), i > 0);
		cJSON_Delete(end);
	}
}

static void what_node_cannot_tell_is_said(void **state)
{
	(void)state;
	struct rqs_watched watched = {.runtime = RQS_RUNTIME_NODE, .records = 1, .folded = {.opened = 1}};
	cJSON *end = totals_of(&watched);

	assert_true(is_noted(end, "alloc_bytes, alloc_count") && is_noted(end, "runtime_stats"));
	cJSON_Delete(end);
	watched.records = 0; /* a helper's */
	end = totals_of(&watched);
	assert_false(is_noted(end, "runtime_stats"));
	cJSON_Delete(end);
}

/* As many as a trace can have, with all that can be said of them: readers take 4 MiB. */
static void totals_of_many_processes_stay_readable(void **state)
{
	(void)state;
	struct rqs_watched watched = {.runtime = RQS_RUNTIME_PYTHON,
				      .measures = RQS_MEASURES_ALLOC,
				      .rss_peak = 1ull << 40,
				      .accepted = 1u << 30,
				      .folded = {.alloc_count = 1ull << 52, .alloc_bytes = 1ull << 52}};
	struct rqs_processes *processes = calloc(1, sizeof(*processes));
	struct rqs_troubles troubles = {0};

	for (unsigned i = 0; i < RQS_EVENT_COUNT; i++)
		watched.events[i] = 1u << 30;
	processes->noted_count = 65536;
	processes->noted = calloc(processes->noted_count, sizeof(*processes->noted));
	for (uint32_t i = 0; i < processes->noted_count; i++)
		processes->noted[i] = &watched;
	char *text = rqs_payload_totals(processes, &troubles, 9, "exited");
	assert_true(strlen(text) < 4u << 20);
	cJSON *totals = cJSON_Parse(text);
	cJSON *list = cJSON_GetObjectItem(totals, "processes");
	cJSON *rest = cJSON_GetArrayItem(list, RQS_TOTALS_LISTED);
	double accepted = cJSON_GetObjectItem(cJSON_GetObjectItem(rest, "connections"), "accepted")->valuedouble;
	assert_int_equal(cJSON_GetArraySize(list), RQS_TOTALS_LISTED + 1);
	assert_true(accepted == (65536.0 - RQS_TOTALS_LISTED) * (1u << 30));
	assert_null(cJSON_GetObjectItem(rest, "process"));
	cJSON_Delete(totals);
	free(text);
	free(processes->noted);
	free(processes);
}

static void troubles_are_noted(void **state)
{
	(void)state;
	struct rqs_processes *processes = calloc(1, sizeof(*processes));
	struct rqs_troubles troubles = {
	    .lost_processes = 1, .unplaced = 4, .broken_chunks = 2, .rows_lost = 3, .write_error = ENOSPC};
	cJSON *totals = parsed(rqs_payload_totals(processes, &troubles, 9, NULL));

	assert_int_equal(cJSON_GetArraySize(cJSON_GetObjectItem(totals, "notes")), 3);
	assert_null(cJSON_GetObjectItem(totals, "reason"));
	assert_int_equal(cJSON_GetObjectItem(totals, "unplaced")->valueint, 4);
	cJSON_Delete(totals);
	free(processes);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(frames_read_back),
	    cmocka_unit_test(an_existing_file_is_kept_unless_forced),
	    cmocka_unit_test(a_full_disk_leaves_whole_frames),
	    cmocka_unit_test(too_long_a_payload_is_refused),
	    cmocka_unit_test(a_run_is_told),
	    cmocka_unit_test(allocations_add_up),
	    cmocka_unit_test(what_go_measures_is_told),
	    cmocka_unit_test(what_python_measures_is_told),
	    cmocka_unit_test(allocations_that_contradict_are_said),
	    cmocka_unit_test(what_node_cannot_tell_is_said),
	    cmocka_unit_test(totals_of_many_processes_stay_readable),
	    cmocka_unit_test(troubles_are_noted),
	};

	return cmocka_run_group_tests(tests, make_folder, remove_folder);
}
