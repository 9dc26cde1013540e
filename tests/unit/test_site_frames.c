/* test_site_frames.c - rows of sampled allocations and their stacks on their way to the file, which may be full. */
#include "unit.h"

#include "collect/frames.h"
#include "read/reader.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <unistd.h>

static struct {
	struct rqs_region region;
	struct rqs_calibration clock;
	struct rqs_processes processes;
	struct rqs_drain drain;
	struct rqs_frames frames;
} t;

static int set_up(void **state)
{
	(void)state;
	memset(&t, 0, sizeof(t));
	assert_int_equal(rqs_region_create(&t.region), 0);
	rqs_processes_init(&t.processes, &t.region, &t.clock, -1);
	assert_int_equal(rqs_frames_init(&t.frames, &t.processes, &t.drain), 0);
	assert_int_equal(rqs_frames_sites_start(&t.frames, 4096), 0);
	assert_ptr_equal(t.drain.sites, t.frames.site_rows);
	assert_true(t.processes.sampled);
	t.drain.region = &t.region;
	t.drain.clock = &t.clock;
	t.drain.processes = &t.processes;
	return rqs_drain_init(&t.drain);
}

static int tear_down(void **state)
{
	(void)state;
	rqs_frames_free(&t.frames);
	rqs_drain_free(&t.drain);
	rqs_processes_free(&t.processes);
	rqs_region_destroy(&t.region);
	return 0;
}

static void add_row(const char *function)
{
	const struct rqs_code_frame frame = {.function = function};
	struct rqs_site_row row = {.time = 5000, .number = 1, .route = RQS_NULL, .bytes = 100, .sample_bytes = 4096};

	row.stack = rqs_stack_table_number(t.frames.stacks, &frame, 1);
	rqs_batch_add(&t.frames.sites, &row);
}

/* The types of the frames in the file, as digits. */
static const char *types_in(int fd)
{
	static char types[32];
	char path[64];
	struct rqs_reader reader;
	struct rqs_frame frame;
	struct rqs_damage damage;
	size_t count = 0;

	snprintf(path, sizeof(path), "/proc/self/fd/%d", fd);
	assert_int_equal(rqs_reader_open(&reader, path), 0);
	while (rqs_reader_next(&reader, &frame, &damage) == RQS_READ_FRAME)
		types[count++] = (char)('0' + frame.header.type);
	types[count] = 0;
	rqs_reader_close(&reader);
	return types;
}

static int make_file(void)
{
	char name[] = "/tmp/rqs-site-frames-XXXXXX";
	int fd = mkstemp(name);

	assert_true(fd >= 0);
	unlink(name);
	return fd;
}

static void stacks_come_before_rows(void **state)
{
	(void)state;
	int fd = make_file();

	assert_int_equal(rqs_writer_start(&t.frames.writer, fd), 0);
	rqs_frames_sites(&t.frames);
	assert_string_equal(types_in(fd), "");
	add_row("f");
	rqs_frames_sites(&t.frames);
	assert_string_equal(types_in(fd), "78");
	add_row("f");
	rqs_frames_sites(&t.frames);
	assert_string_equal(types_in(fd), "788");
	add_row("g");
	rqs_frames_sites(&t.frames);
	assert_string_equal(types_in(fd), "78878");
	assert_int_equal(t.frames.troubles.site_rows_lost, 0);
}

/* Rows are lost, and counted; stacks are written when there is room again, before the rows that name them. */
static void a_full_disk_loses_rows_and_no_stacks(void **state)
{
	(void)state;
	int fd = make_file();

	assert_int_equal(rqs_writer_start(&t.frames.writer, open("/dev/full", O_WRONLY | O_CLOEXEC)), 0);
	add_row("f");
	add_row("g");
	rqs_frames_sites(&t.frames);
	assert_int_equal(t.frames.troubles.site_rows_lost, 2);
	assert_int_equal(t.frames.writer.error, ENOSPC);
	assert_int_equal(t.frames.sites.count, 0);
	assert_int_equal(dup2(fd, t.frames.writer.fd), t.frames.writer.fd);
	add_row("f");
	rqs_frames_sites(&t.frames);
	assert_string_equal(types_in(fd), "78");
	assert_int_equal(t.frames.troubles.site_rows_lost, 2);
	assert_int_equal(rqs_frames_end(&t.frames, rqs_monotonic_ns(), "exited"), 0);
	assert_string_equal(types_in(fd), "786");
	close(fd);
}

#define WITH_FRAMES(test) cmocka_unit_test_setup_teardown(test, set_up, tear_down)

int main(void)
{
	const struct CMUnitTest tests[] = {
	    WITH_FRAMES(stacks_come_before_rows),
	    WITH_FRAMES(a_full_disk_loses_rows_and_no_stacks),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
