/*
 * test_go_code.c - functions, files and lines of Go programs, as Go's own
 * addr2line tells them of the same files; and stacks that end where they may.
 * Whole stacks are compared with runtime.Callers in tests/system/test_sites_go.py.
 */
#include "unit.h"

#include "inject/go_table.h"
#include "unwind/go_code.h"

#include <fcntl.h>
#include <glob.h>
#include <stdlib.h>
#include <unistd.h>

#define SERVERS "build/servers/"
#define SERVER SERVERS "nethttp"
#define TOOLCHAIN "build/go/mod/golang.org/toolchain@*/bin/go"
#define ADDRESSES 3000u

static struct rqs_go_code *code_of(const char *path)
{
	int fd = open(path, O_RDONLY | O_CLOEXEC);
	struct rqs_go_code *code;

	if (fd < 0)
		return NULL;
	code = rqs_go_code_open(fd);
	assert_non_null(code);
	close(fd);
	return code;
}

/* A Go program's file and what it tells of its functions. */
struct program {
	int fd;
	struct rqs_image image;
	struct rqs_go_table table;
};

static void open_program(struct program *program, const char *path)
{
	const char *why;

	program->fd = open(path, O_RDONLY | O_CLOEXEC);
	assert_int_equal(rqs_image_open(&program->image, program->fd), 0);
	assert_true(rqs_go_table_open(&program->table, &program->image, &why));
}

static void close_program(struct program *program)
{
	rqs_image_close(&program->image);
	close(program->fd);
}

/* Addresses of instructions or between them, all over the program. */
static size_t addresses_of(const char *path, uint64_t addresses[ADDRESSES])
{
	struct program program;
	struct rqs_go_function function;
	size_t count = 0;

	open_program(&program, path);
	for (uint64_t i = 0; i < program.table.count && count < ADDRESSES; i += program.table.count / ADDRESSES + 1)
		if (rqs_go_table_at(&program.table, i, &function) && function.end > function.start)
			addresses[count++] = function.start + (i * 7919) % (function.end - function.start);
	close_program(&program);
	return count;
}

static FILE *addr2line(const char *path, const uint64_t *addresses, size_t count)
{
	char command[1024], asked[] = "/tmp/reqscope-addresses-XXXXXX";
	glob_t tools;
	int fd = mkstemp(asked);
	FILE *file = fdopen(fd, "w");

	if (glob(TOOLCHAIN, 0, NULL, &tools))
		return NULL;
	for (size_t i = 0; i < count; i++)
		fprintf(file, "0x%lx\n", (unsigned long)addresses[i]);
	fclose(file);
	snprintf(
	    command, sizeof(command),
	    "exec 3<%s; rm %s; GOTOOLCHAIN=local GOENV=off GOFLAGS= GOPATH=$PWD/build/go GOCACHE=$PWD/build/go/cache "
	    "%s tool addr2line %s <&3 2>/dev/null",
	    asked, asked, tools.gl_pathv[0], path);
	globfree(&tools);
	return popen(command, "r");
}

/* "main.Map[go.shape.int]" as it is printed. */
static void shorten(char *name)
{
	char *first = strchr(name, '['), *last = strrchr(name, ']');

	if (!first || !last || strchr(name, '.') > last)
		return;
	char rest[1024];
	snprintf(rest, sizeof(rest), "[...]%s", last + 1);
	strcpy(first, rest);
}

static void agrees(struct rqs_go_code *code, uint64_t address, const char *function, const char *file, unsigned line)
{
	struct rqs_code_frame frames[64];
	size_t count = rqs_go_code_at(code, 0, address, false, frames, 64);

	if (!count)
		return; /* a wrapper */
	/* Unless that one is a wrapper. */
	if (!frames[count - 1].inlined)
		assert_string_equal(frames[count - 1].function, function);
	for (size_t i = 0; i + 1 < count; i++)
		assert_true(frames[i].inlined);
	/* Behind a function's last instruction there is nothing. */
	if (*file && strcmp(file, "?")) {
		assert_non_null(frames[0].file);
		assert_string_equal(frames[0].file, file);
		assert_int_equal(frames[0].line, line);
	}
}

static void compare(const char *path)
{
	static uint64_t addresses[ADDRESSES];
	struct rqs_go_code *code = code_of(path);
	char function[4096], where[4096];

	if (!code)
		return;
	size_t count = addresses_of(path, addresses), read = 0;
	FILE *told = addr2line(path, addresses, count);
	for (; told && read < count && fgets(function, sizeof(function), told) && fgets(where, sizeof(where), told);
	     read++) {
		char *colon = strrchr(where, ':');

		function[strcspn(function, "\n")] = 0;
		shorten(function);
		if (colon)
			*colon = 0;
		agrees(code, addresses[read], function, where, colon ? (unsigned)atoi(colon + 1) : 0);
	}
	if (told)
		pclose(told);
	rqs_go_code_free(code);
	printf("%s: %zu of %zu addresses\n", path, read, count);
}

static void test_as_addr2line_says(void **state)
{
	static const char *const servers[] = {"nethttp",      "nethttp-1.18",     "nethttp-1.19",       "nethttp-1.21",
					      "nethttp-1.22", "nethttp-1.23",     "nethttp-1.24",       "nethttp-1.25",
					      "nethttp-pie",  "nethttp-stripped", "nethttp-static-pie", "gin"};
	char path[256];

	(void)state;
	for (size_t i = 0; i < sizeof(servers) / sizeof(*servers); i++) {
		snprintf(path, sizeof(path), SERVERS "%s", servers[i]);
		compare(path);
	}
}

/* ---- stacks ---- */

static struct rqs_go_code *finder_code;

static struct rqs_go_code *find(void *context, uint64_t address, uint64_t *bias)
{
	(void)context;
	(void)address;
	*bias = 0;
	return finder_code;
}

static struct {
	struct rqs_sample_record record;
	uint64_t stack[RQS_SAMPLE_STACK / 8];
} sample;

static uint64_t address_of(const char *name)
{
	struct program program;
	struct rqs_go_function function;
	uint64_t address = 0;

	open_program(&program, SERVER);
	for (uint64_t i = 0; i < program.table.count && !address; i++)
		if (rqs_go_table_at(&program.table, i, &function) && !strcmp(function.name, name))
			address = function.start;
	close_program(&program);
	return address;
}

static size_t frames_of(uint64_t rip, uint32_t stack_bytes, uint16_t flags, struct rqs_code_frame *frames)
{
	sample.record.kind = RQS_SAMPLE_GO;
	sample.record.flags = flags;
	sample.record.stack_bytes = stack_bytes;
	sample.record.registers[RQS_SAMPLE_RIP] = rip;
	sample.record.registers[RQS_SAMPLE_RSP] = 0xc000010000;
	size_t count = rqs_go_code_frames(find, NULL, &sample.record, frames);
	assert_true(count <= RQS_CODE_FRAMES);
	return count;
}

static int open_server(void **state)
{
	(void)state;
	finder_code = access(SERVER, R_OK) ? NULL : code_of(SERVER);
	return 0;
}

static int close_server(void **state)
{
	(void)state;
	rqs_go_code_free(finder_code);
	return 0;
}

#define NEEDS_SERVER                                                                                                   \
	(void)state;                                                                                                   \
	if (!finder_code)                                                                                              \
		skip();

static void test_a_stack_ends_where_it_was_cut(void **state)
{
	static struct rqs_code_frame frames[RQS_CODE_FRAMES];
	NEEDS_SERVER

	/* At its first instruction a function has no frame: its caller is at the stack's beginning. */
	uint64_t serve = address_of("net/http.serverHandler.ServeHTTP"), exit = address_of("runtime.goexit");
	sample.stack[0] = exit + 1;
	size_t count = frames_of(serve, 8, 0, frames);
	assert_int_equal(count, 2);
	assert_string_equal(frames[0].function, "net/http.serverHandler.ServeHTTP");
	assert_int_equal(frames[0].kind, RQS_FRAME_GO);
	assert_string_equal(frames[1].function, "runtime.goexit");
	assert_int_equal(frames[1].address, exit + 1);

	count = frames_of(serve, 0, RQS_SAMPLE_MORE_STACK, frames);
	assert_int_equal(count, 2);
	assert_string_equal(frames[1].function, "(truncated)");
	assert_int_equal(frames[1].kind, RQS_FRAME_NOTE);

	count = frames_of(serve, 0, 0, frames);
	assert_string_equal(frames[count - 1].function, "(system stack)");

	sample.stack[0] = 12345;
	count = frames_of(serve, 8, 0, frames);
	assert_string_equal(frames[count - 1].function, "(unknown code)");
	assert_int_equal(frames_of(12345, 8, 0, frames), 1);
}

static void test_the_runtimes_own_frames_are_left_out(void **state)
{
	static struct rqs_code_frame frames[RQS_CODE_FRAMES];
	NEEDS_SERVER

	uint64_t serve = address_of("net/http.serverHandler.ServeHTTP"), object = address_of("runtime.newobject");
	uint64_t exit = address_of("runtime.goexit");
	sample.stack[0] = serve;
	sample.stack[1] = exit + 1;
	size_t count = frames_of(object, 16, 0, frames);
	assert_int_equal(count, 2);
	assert_string_equal(frames[0].function, "net/http.serverHandler.ServeHTTP");

	/* All that there is. */
	sample.stack[0] = exit + 1;
	count = frames_of(object, 8, 0, frames);
	assert_int_equal(count, 2);
	assert_string_equal(frames[0].function, "runtime.newobject");

	/* It goes on on another stack. */
	count = frames_of(address_of("runtime.systemstack"), 8, 0, frames);
	assert_int_equal(count, 2);
	assert_string_equal(frames[1].function, "(system stack)");
}

static void test_the_same_text_is_the_same_pointer(void **state)
{
	struct rqs_code_frame one[8], other[8];
	NEEDS_SERVER

	uint64_t serve = address_of("net/http.serverHandler.ServeHTTP");
	assert_true(rqs_go_code_at(finder_code, 0, serve, false, one, 8) > 0);
	assert_true(rqs_go_code_at(finder_code, 0x1000, serve + 0x1001, true, other, 8) > 0);
	assert_ptr_equal(one[0].function, other[0].function);
	assert_ptr_equal(one[0].file, other[0].file);
	assert_true(rqs_go_code_has(finder_code, serve));
	assert_false(rqs_go_code_has(finder_code, 16));
}

/* Whatever is in a sample: frames come out, and nothing is read beyond it. */
static void test_any_stack_is_walked_to_an_end(void **state)
{
	static struct rqs_code_frame frames[RQS_CODE_FRAMES];
	static uint64_t addresses[ADDRESSES];
	NEEDS_SERVER

	size_t count = addresses_of(SERVER, addresses);
	srandom(1);
	for (unsigned round = 0; round < 200; round++) {
		for (size_t i = 0; i < sizeof(sample.stack) / 8; i++)
			sample.stack[i] = random() % 8 ? addresses[(size_t)random() % count] : (uint64_t)random();
		frames_of(addresses[(size_t)random() % count], (uint32_t)(random() % (RQS_SAMPLE_STACK / 8)) * 8, 0,
			  frames);
	}
}

static void test_other_files_are_none(void **state)
{
	int fd = open("/proc/self/exe", O_RDONLY | O_CLOEXEC);

	(void)state;
	assert_null(rqs_go_code_open(fd));
	close(fd);
	fd = open("Makefile", O_RDONLY | O_CLOEXEC);
	assert_null(rqs_go_code_open(fd));
	close(fd);
	assert_null(rqs_go_code_open(-1));
	rqs_go_code_free(NULL);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(test_as_addr2line_says),
	    cmocka_unit_test_setup_teardown(test_a_stack_ends_where_it_was_cut, open_server, close_server),
	    cmocka_unit_test_setup_teardown(test_the_runtimes_own_frames_are_left_out, open_server, close_server),
	    cmocka_unit_test_setup_teardown(test_the_same_text_is_the_same_pointer, open_server, close_server),
	    cmocka_unit_test_setup_teardown(test_any_stack_is_walked_to_an_end, open_server, close_server),
	    cmocka_unit_test(test_other_files_are_none),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
