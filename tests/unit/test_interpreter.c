/* test_interpreter.c - which C library a file is for, whatever is in the file. */
#include "unit.h"

#include "hook/interpreter.h"

#include <elf.h>
#include <fcntl.h>
#include <limits.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#define GLIBC "/lib64/ld-linux-x86-64.so.2"
#define MUSL "/lib/ld-musl-x86_64.so.1"

static char folder[] = "/tmp/test_interpreter.XXXXXX";

/* ---- files ---- */

static const char *write_file(const char *name, const void *bytes, size_t n)
{
	int fd = open(name, O_CREAT | O_TRUNC | O_WRONLY, 0700);

	assert_true(fd >= 0);
	assert_int_equal(write(fd, bytes, n), n);
	close(fd);
	return name;
}

static const char *write_text(const char *name, const char *text)
{
	return write_file(name, text, strlen(text));
}

/* A program: header, segments, the loader's path. `loader` NULL: a static one. */
struct program {
	size_t size;
	union {
		uint8_t bytes[65536 + 4096];
		Elf64_Ehdr header;
	};
};

static Elf64_Phdr *segments_of(struct program *p)
{
	return (Elf64_Phdr *)(void *)(p->bytes + p->header.e_phoff);
}

/* The loader is named by the last of the segments. */
static struct program *make_program(const char *loader, uint16_t segments)
{
	static struct program p;
	size_t path = sizeof(Elf64_Ehdr) + segments * sizeof(Elf64_Phdr);

	memset(&p, 0, sizeof(p));
	memcpy(p.header.e_ident, ELFMAG, SELFMAG);
	p.header.e_ident[EI_CLASS] = ELFCLASS64;
	p.header.e_ident[EI_DATA] = ELFDATA2LSB;
	p.header.e_type = ET_DYN;
	p.header.e_machine = EM_X86_64;
	p.header.e_phoff = sizeof(Elf64_Ehdr);
	p.header.e_phentsize = sizeof(Elf64_Phdr);
	p.header.e_phnum = segments;
	p.size = path;
	if (loader) {
		Elf64_Phdr *last = &segments_of(&p)[segments - 1];

		*last = (Elf64_Phdr){.p_type = PT_INTERP, .p_offset = path, .p_filesz = strlen(loader) + 1};
		memcpy(p.bytes + path, loader, strlen(loader) + 1);
		p.size += strlen(loader) + 1;
	}
	return &p;
}

static const char *write_program(const char *name, const char *loader)
{
	struct program *p = make_program(loader, 3);

	return write_file(name, p->bytes, p->size);
}

static enum rqs_interpreter kind_of(const struct program *p)
{
	return rqs_interpreter_of(write_file("program", p->bytes, p->size));
}

/* ---- programs ---- */

static void the_loader_tells(void **state)
{
	static const struct {
		const char *loader;
		enum rqs_interpreter kind;
	} cases[] = {
	    {GLIBC, RQS_INTERPRETER_GLIBC},
	    {"/nix/store/0123456789-glibc-2.38/lib/ld-linux-x86-64.so.2", RQS_INTERPRETER_GLIBC},
	    {"/lib64/ld-lsb-x86-64.so.3", RQS_INTERPRETER_GLIBC},
	    {"/opt/old/ld-2.31.so", RQS_INTERPRETER_GLIBC},
	    {MUSL, RQS_INTERPRETER_MUSL},
	    {"ld-musl-x86_64.so.1", RQS_INTERPRETER_MUSL},
	    {"/system/bin/linker64", RQS_INTERPRETER_OTHER},
	    {"/lib/ld-linux-x86-64.so.2/", RQS_INTERPRETER_OTHER},
	    {NULL, RQS_INTERPRETER_STATIC},
	};

	(void)state;
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++)
		assert_int_equal(kind_of(make_program(cases[i].loader, 3)), cases[i].kind);
}

static void another_machine_is_another_world(void **state)
{
	struct program *p = make_program(GLIBC, 3);

	(void)state;
	p->header.e_machine = EM_AARCH64;
	assert_int_equal(kind_of(p), RQS_INTERPRETER_OTHER);
	p->header.e_machine = EM_X86_64;
	p->header.e_ident[EI_CLASS] = ELFCLASS32;
	assert_int_equal(kind_of(p), RQS_INTERPRETER_OTHER);
}

/* A loader that is started by its own name. */
static void loaders_themselves(void **state)
{
	(void)state;
	assert_int_equal(rqs_interpreter_of(write_program("ld-musl-x86_64.so.1", NULL)), RQS_INTERPRETER_MUSL);
	assert_int_equal(rqs_interpreter_of(write_program("./ld-linux-x86-64.so.2", NULL)), RQS_INTERPRETER_GLIBC);
}

static void any_number_of_segments(void **state)
{
	(void)state;
	for (uint16_t n = 1; n < 40; n++)
		assert_int_equal(kind_of(make_program(MUSL, n)), RQS_INTERPRETER_MUSL);
	assert_int_equal(kind_of(make_program(MUSL, 1170)), RQS_INTERPRETER_MUSL);
	/* The kernel takes no more. */
	assert_int_equal(kind_of(make_program(MUSL, 1171)), RQS_INTERPRETER_UNKNOWN);
	assert_int_equal(kind_of(make_program(NULL, 0)), RQS_INTERPRETER_UNKNOWN);
}

static void a_path_of_any_length(void **state)
{
	char path[2000];

	(void)state;
	for (size_t n = 0; n < sizeof(path) - sizeof(MUSL); n++) {
		memset(path, 'x', n);
		memcpy(path + n, MUSL, sizeof(MUSL));
		assert_int_equal(kind_of(make_program(path, 2)), RQS_INTERPRETER_MUSL);
	}
}

static void cut_at_any_byte(void **state)
{
	struct program *p = make_program(MUSL, 13);
	size_t whole = p->size;

	(void)state;
	for (size_t n = 0; n < whole; n++) {
		p->size = n;
		assert_int_equal(kind_of(p), RQS_INTERPRETER_UNKNOWN);
	}
}

static void any_byte_may_be_wrong(void **state)
{
	static const uint8_t values[] = {0, 1, 0x7f, 0x80, 0xff};
	struct program *p = make_program(MUSL, 2);

	(void)state;
	for (size_t at = 0; at < p->size; at++) {
		uint8_t was = p->bytes[at];

		for (size_t i = 0; i < sizeof(values); i++) {
			p->bytes[at] = values[i];
			assert_in_range(kind_of(p), 0, RQS_INTERPRETER_OTHER);
		}
		p->bytes[at] = was;
	}
}

static void hostile_places(void **state)
{
	static const uint64_t places[] = {1ull << 20, INT64_MAX,       INT64_MAX - 20,
					  1ull << 63, UINT64_MAX - 20, UINT64_MAX};
	struct program *p = make_program(MUSL, 2);
	Elf64_Phdr *loader = &segments_of(p)[1];
	const Elf64_Phdr sound = *loader;

	(void)state;
	for (size_t i = 0; i < sizeof(places) / sizeof(places[0]); i++) {
		loader->p_offset = places[i];
		assert_int_equal(kind_of(p), RQS_INTERPRETER_UNKNOWN);
		*loader = sound;
		loader->p_filesz = places[i];
		assert_int_equal(kind_of(p), RQS_INTERPRETER_UNKNOWN);
		*loader = sound;
		p->header.e_phoff = places[i];
		assert_int_equal(kind_of(p), RQS_INTERPRETER_UNKNOWN);
		p->header.e_phoff = sizeof(Elf64_Ehdr);
	}
	loader->p_filesz = 0;
	assert_int_equal(kind_of(p), RQS_INTERPRETER_UNKNOWN);
}

/* ---- scripts ---- */

static void scripts(void **state)
{
	static const struct {
		const char *text;
		enum rqs_interpreter kind;
	} cases[] = {
	    {"#!./musl\n", RQS_INTERPRETER_MUSL},
	    {"#! \t ./musl -e x\necho", RQS_INTERPRETER_MUSL},
	    {"#!musl", RQS_INTERPRETER_MUSL},
	    {"#!./glibc\t-x\n", RQS_INTERPRETER_GLIBC},
	    {"#!./static\n", RQS_INTERPRETER_STATIC},
	    {"#!./missing\n", RQS_INTERPRETER_UNKNOWN},
	    {"#!\n./musl", RQS_INTERPRETER_UNKNOWN},
	    {"#!  ", RQS_INTERPRETER_UNKNOWN},
	    {"#!", RQS_INTERPRETER_UNKNOWN},
	    {"#", RQS_INTERPRETER_UNKNOWN},
	    {"", RQS_INTERPRETER_UNKNOWN},
	    {"echo ./musl\n", RQS_INTERPRETER_UNKNOWN},
	    {" #!./musl\n", RQS_INTERPRETER_UNKNOWN},
	};

	(void)state;
	write_program("musl", MUSL);
	write_program("glibc", GLIBC);
	write_program("static", NULL);
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++)
		assert_int_equal(rqs_interpreter_of(write_text("script", cases[i].text)), cases[i].kind);
}

/* The kernel reads 256 bytes, and the name has to end within. */
static void a_first_line_of_any_length(void **state)
{
	char text[1000];

	(void)state;
	write_program("musl", MUSL);
	for (size_t n = 0; n < 600; n++) {
		int length = snprintf(text, sizeof(text), "#!%*s\n", (int)n + 6, "./musl");

		assert_int_equal(rqs_interpreter_of(write_file("script", text, (size_t)length)),
				 n + 8 < 256 ? RQS_INTERPRETER_MUSL : RQS_INTERPRETER_UNKNOWN);
	}
	memset(text, 'x', sizeof(text));
	memcpy(text, "#!", 2);
	assert_int_equal(rqs_interpreter_of(write_file("script", text, sizeof(text))), RQS_INTERPRETER_UNKNOWN);
}

static void scripts_of_scripts(void **state)
{
	char name[16] = "musl", text[64];

	(void)state;
	write_program("musl", MUSL);
	for (int depth = 1; depth <= 8; depth++) {
		snprintf(text, sizeof(text), "#!%s\n", name);
		snprintf(name, sizeof(name), "script%d", depth);
		assert_int_equal(rqs_interpreter_of(write_text(name, text)),
				 depth <= 5 ? RQS_INTERPRETER_MUSL : RQS_INTERPRETER_UNKNOWN);
	}
	assert_int_equal(rqs_interpreter_of(write_text("itself", "#!./itself\n")), RQS_INTERPRETER_UNKNOWN);
}

/* ---- what is no file ---- */

static void what_cannot_be_run(void **state)
{
	(void)state;
	unlink("pipe");
	assert_int_equal(mkfifo("pipe", 0700), 0);
	assert_int_equal(rqs_interpreter_of("pipe"), RQS_INTERPRETER_UNKNOWN); /* and nobody waits */
	assert_int_equal(rqs_interpreter_of("."), RQS_INTERPRETER_UNKNOWN);
	assert_int_equal(rqs_interpreter_of("/dev/zero"), RQS_INTERPRETER_UNKNOWN);
	assert_int_equal(rqs_interpreter_of("missing"), RQS_INTERPRETER_UNKNOWN);
	assert_int_equal(rqs_interpreter_of(""), RQS_INTERPRETER_UNKNOWN);
	assert_int_equal(rqs_interpreter_of(NULL), RQS_INTERPRETER_UNKNOWN);
}

/* ---- commands ---- */

static void the_first_that_can_be_run(void **state)
{
	char long_folder[PATH_MAX + 100], path[PATH_MAX];

	(void)state;
	assert_int_equal(mkdir("a", 0700) | mkdir("b", 0700) | mkdir("c", 0700) | mkdir("c/tool", 0700), 0);
	write_program("a/tool", GLIBC);
	write_program("b/tool", MUSL);
	write_program("tool", NULL);
	assert_int_equal(rqs_interpreter_of_command("tool", "a:b", path), RQS_INTERPRETER_GLIBC);
	assert_string_equal(path, "a/tool");
	assert_int_equal(rqs_interpreter_of_command("tool", "b:a", path), RQS_INTERPRETER_MUSL);
	assert_string_equal(path, "b/tool");
	assert_int_equal(rqs_interpreter_of_command("tool", "missing:c:b", path), RQS_INTERPRETER_MUSL);
	assert_int_equal(rqs_interpreter_of_command("tool", "c::b", path), RQS_INTERPRETER_STATIC);
	assert_int_equal(rqs_interpreter_of_command("tool", "", path), RQS_INTERPRETER_STATIC);
	assert_int_equal(rqs_interpreter_of_command("tool", "c", path), RQS_INTERPRETER_UNKNOWN);
	assert_int_equal(rqs_interpreter_of_command("a/tool", "b", path), RQS_INTERPRETER_GLIBC);
	assert_string_equal(path, "a/tool");
	assert_int_equal(rqs_interpreter_of_command("", "a", path), RQS_INTERPRETER_UNKNOWN);
	assert_int_equal(chmod("a/tool", 0600), 0);
	assert_int_equal(rqs_interpreter_of_command("tool", "a:b", path), RQS_INTERPRETER_MUSL);
	memset(long_folder, 'x', sizeof(long_folder));
	memcpy(long_folder + sizeof(long_folder) - 3, ":b", 3);
	assert_int_equal(rqs_interpreter_of_command("tool", long_folder, path), RQS_INTERPRETER_MUSL);
}

static void without_a_path_there_is_a_default(void **state)
{
	char path[PATH_MAX];

	(void)state;
	assert_int_equal(rqs_interpreter_of_command("sh", NULL, path), rqs_interpreter_of("/bin/sh"));
	assert_int_equal(rqs_interpreter_of("/bin/sh"), RQS_INTERPRETER_OWN);
}

static void descriptors(void **state)
{
	int fd = open(write_program("musl", MUSL), O_PATH);

	(void)state;
	assert_true(fd >= 0);
	assert_int_equal(rqs_interpreter_of_descriptor(fd), RQS_INTERPRETER_MUSL);
	assert_int_equal(dup2(fd, 200), 200);
	assert_int_equal(rqs_interpreter_of_descriptor(200), RQS_INTERPRETER_MUSL);
	close(200);
	close(fd);
	assert_int_equal(rqs_interpreter_of_descriptor(fd), RQS_INTERPRETER_UNKNOWN);
	assert_int_equal(rqs_interpreter_of_descriptor(-1), RQS_INTERPRETER_UNKNOWN);
	assert_int_equal(rqs_interpreter_of_descriptor(INT_MAX), RQS_INTERPRETER_UNKNOWN);
}

static int enter_folder(void **state)
{
	(void)state;
	return !mkdtemp(folder) || chdir(folder);
}

static int remove_folder(void **state)
{
	char command[100];

	(void)state;
	snprintf(command, sizeof(command), "rm -r %s", folder);
	return chdir("/") || system(command);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(the_loader_tells),
	    cmocka_unit_test(another_machine_is_another_world),
	    cmocka_unit_test(loaders_themselves),
	    cmocka_unit_test(any_number_of_segments),
	    cmocka_unit_test(a_path_of_any_length),
	    cmocka_unit_test(cut_at_any_byte),
	    cmocka_unit_test(any_byte_may_be_wrong),
	    cmocka_unit_test(hostile_places),
	    cmocka_unit_test(scripts),
	    cmocka_unit_test(a_first_line_of_any_length),
	    cmocka_unit_test(scripts_of_scripts),
	    cmocka_unit_test(what_cannot_be_run),
	    cmocka_unit_test(the_first_that_can_be_run),
	    cmocka_unit_test(without_a_path_there_is_a_default),
	    cmocka_unit_test(descriptors),
	};

	return cmocka_run_group_tests(tests, enter_folder, remove_folder);
}
