/* test_plan.c - any file is safe to plan for; what a plan says agrees with itself. What it finds is tested with pytest.
 */
#include "unit.h"

#include "inject/plan.h"
#include "inject/stub.h"
#include "reqscope/region.h"

#include <elf.h>
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#define SERVER "build/servers/nethttp-stripped"
#define ROUNDS 300

static int file; /* in memory: what is planned for */
static struct rqs_plan plan;

static int make_file(void **state)
{
	(void)state;
	file = memfd_create("plan", MFD_CLOEXEC);
	srand(1);
	return file < 0;
}

static void check_stubs(void)
{
	uint64_t entries[RQS_SITE_KINDS];
	char why[RQS_REASON];
	size_t count = 0, room = rqs_stubs_room(plan.site_count);
	uint8_t *bytes = malloc(room);
	struct rqs_patch *patches = calloc(plan.site_count + 1, sizeof(*patches));

	for (int i = 0; i < RQS_SITE_KINDS; i++)
		entries[i] = 1ull << 40;
	size_t size = rqs_stubs_build(&plan, 0, entries, plan.image_end + (1ull << 30), bytes, patches, &count, why);
	assert_true(size <= room);
	assert_true(size ? count == plan.site_count : why[0] != 0);
	free(bytes);
	free(patches);
}

static void check_reason(uint32_t bit, const char *why)
{
	assert_true(memchr(why, 0, RQS_REASON) != NULL);
	assert_int_equal(plan.measures & bit ? 1 : 0, !why[0] && !plan.why_not[0]);
}

static void check_sites(void)
{
	size_t kinds[RQS_SITE_KINDS] = {0};

	for (size_t i = 0; i < plan.site_count; i++) {
		const struct rqs_site *site = &plan.sites[i];

		assert_true(site->kind < RQS_SITE_KINDS);
		kinds[site->kind]++;
		assert_in_range(site->length, 5, RQS_SITE_CODE);
		assert_true(site->before <= site->length);
		assert_true(site->address >= plan.text_start && site->address + site->length <= plan.text_end);
	}
	assert_true(kinds[RQS_SITE_SYSCALL_LOADED] > 0);
	assert_int_equal(kinds[RQS_SITE_SYSCALL_DONE], kinds[RQS_SITE_SYSCALL_LOADED]);
	assert_int_equal(kinds[RQS_SITE_ALLOC] > 0, (plan.measures & RQS_MEASURES_ALLOC) != 0);
	assert_int_equal(kinds[RQS_SITE_PREEMPTED], (plan.measures & RQS_MEASURES_SCHED) != 0);
	assert_int_equal(kinds[RQS_SITE_STATUS] > 0,
			 (plan.measures & (RQS_MEASURES_CHILDREN | RQS_MEASURES_SCHED)) != 0);
	if (plan.measures & RQS_MEASURES_CHILDREN)
		assert_true(plan.curg_offset != 0);
}

/* Plans for the file as it is, and holds what comes against the header's promises. */
static void make_plan(void)
{
	assert_int_equal(rqs_plan_make(&plan, file), 0);
	if (!plan.is_go || plan.why_not[0]) {
		assert_int_equal(plan.site_count, 0);
		assert_int_equal(plan.measures, 0);
	} else {
		check_reason(RQS_MEASURES_ALLOC, plan.why_no_alloc);
		check_reason(RQS_MEASURES_CHILDREN, plan.why_no_children);
		check_reason(RQS_MEASURES_SCHED, plan.why_no_sched);
		check_sites();
		check_stubs();
	}
	rqs_plan_free(&plan);
}

static void write_file(const void *bytes, size_t size)
{
	assert_int_equal(ftruncate(file, 0), 0);
	assert_int_equal(pwrite(file, bytes, size, 0), (ssize_t)size);
}

static void files_that_are_no_go_programs(void **state)
{
	(void)state;
	Elf64_Ehdr header = {.e_ident = ELFMAG, .e_type = ET_EXEC, .e_machine = EM_X86_64, .e_version = EV_CURRENT};

	write_file("", 0);
	make_plan();
	write_file("#!/bin/sh\n", 10);
	make_plan();
	write_file(ELFMAG, 4);
	make_plan();
	header.e_ident[EI_CLASS] = ELFCLASS64;
	header.e_ident[EI_DATA] = ELFDATA2LSB;
	header.e_ident[EI_VERSION] = EV_CURRENT;
	write_file(&header, sizeof(header));
	make_plan();
	header.e_phoff = header.e_shoff = sizeof(header);
	header.e_phentsize = sizeof(Elf64_Phdr);
	header.e_shentsize = sizeof(Elf64_Shdr);
	header.e_phnum = header.e_shnum = PN_XNUM;
	write_file(&header, sizeof(header));
	make_plan();
	assert_false(plan.is_go);
}

static void what_cannot_be_read_is_an_error(void **state)
{
	(void)state;
	int folder = open("/", O_RDONLY | O_DIRECTORY | O_CLOEXEC);

	assert_int_equal(rqs_plan_make(&plan, folder), -EISDIR);
	rqs_plan_free(&plan);
	close(folder);
	assert_int_equal(rqs_plan_make(&plan, -1), -EBADF);
	rqs_plan_free(&plan);
}

/* One segment of both code and data with build information, and nothing else that Go programs have. */
static void go_programs_without_tables(void **state)
{
	(void)state;
	struct {
		Elf64_Ehdr header;
		Elf64_Phdr segment;
		uint8_t information[64];
	} program = {
	    .header = {.e_ident = ELFMAG,
		       .e_type = ET_EXEC,
		       .e_machine = EM_X86_64,
		       .e_version = EV_CURRENT,
		       .e_phoff = sizeof(Elf64_Ehdr),
		       .e_ehsize = sizeof(Elf64_Ehdr),
		       .e_phentsize = sizeof(Elf64_Phdr),
		       .e_phnum = 1},
	    .segment = {.p_type = PT_LOAD,
			.p_flags = PF_R | PF_W | PF_X,
			.p_offset = sizeof(Elf64_Ehdr) + sizeof(Elf64_Phdr),
			.p_vaddr = 0x400000,
			.p_filesz = 64,
			.p_memsz = 64},
	    .information = "\xff Go buildinf:\x08\x02",
	};

	program.header.e_ident[EI_CLASS] = ELFCLASS64;
	program.header.e_ident[EI_DATA] = ELFDATA2LSB;
	program.header.e_ident[EI_VERSION] = EV_CURRENT;
	memcpy(program.information + 32, "\x14go1.27rc1 X:greenteagc", 23);
	write_file(&program, sizeof(program));
	assert_int_equal(rqs_plan_make(&plan, file), 0);
	assert_true(plan.is_go);
	assert_string_equal(plan.version, "1.27rc1");
	assert_true(plan.why_not[0] && !plan.site_count);
	rqs_plan_free(&plan);
	/* A string that claims to be longer than the file. */
	program.information[32] = 0x7f;
	write_file(&program, sizeof(program));
	make_plan();
	assert_string_equal(plan.version, "");
}

static void *read_server(size_t *size)
{
	int fd = open(SERVER, O_RDONLY | O_CLOEXEC);
	struct stat stat;

	if (fd < 0)
		return NULL;
	assert_int_equal(fstat(fd, &stat), 0);
	*size = (size_t)stat.st_size;
	void *bytes = malloc(*size);
	assert_int_equal(read(fd, bytes, *size), stat.st_size);
	close(fd);
	return bytes;
}

static void cut_off_programs(void **state)
{
	(void)state;
	size_t size;
	uint8_t *bytes = read_server(&size);

	if (!bytes)
		skip();
	for (size_t i = 0; i < 64; i++) {
		write_file(bytes, i < 16 ? i * 40 : size / 64 * i);
		make_plan();
	}
	write_file(bytes, size);
	make_plan();
	free(bytes);
}

/* Where damage matters most: the file's headers, the tables' beginnings, and what they lead to. */
static size_t sensitive_offset(const uint8_t *bytes, size_t size)
{
	static const uint8_t magic[] = {0xf1, 0xff, 0xff, 0xff, 0, 0, 1, 8};
	static const uint8_t *table;

	if (!table)
		table = memmem(bytes, size, magic, sizeof(magic));
	size_t at = table ? (size_t)(table - bytes) : 0, spread = (size_t)rand();
	switch (rand() % 4) {
	case 0:
		return spread % 1024;
	case 1:
		return at + spread % 128;
	case 2:
		return at + spread % (size - at);
	default:
		return spread % size;
	}
}

static void damaged_programs(void **state)
{
	(void)state;
	size_t size;
	uint8_t *bytes = read_server(&size);

	if (!bytes)
		skip();
	write_file(bytes, size);
	for (int round = 0; round < ROUNDS; round++) {
		size_t changed[32];
		int changes = 1 + rand() % 32;

		for (int i = 0; i < changes; i++) {
			uint8_t byte = rand() % 2 ? 0xff : (uint8_t)rand();

			changed[i] = sensitive_offset(bytes, size);
			assert_int_equal(pwrite(file, &byte, 1, (off_t)changed[i]), 1);
		}
		make_plan();
		for (int i = 0; i < changes; i++)
			assert_int_equal(pwrite(file, bytes + changed[i], 1, (off_t)changed[i]), 1);
	}
	free(bytes);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(files_that_are_no_go_programs),
	    cmocka_unit_test(what_cannot_be_read_is_an_error),
	    cmocka_unit_test(go_programs_without_tables),
	    cmocka_unit_test(cut_off_programs),
	    cmocka_unit_test(damaged_programs),
	};
	return cmocka_run_group_tests(tests, make_file, NULL);
}
