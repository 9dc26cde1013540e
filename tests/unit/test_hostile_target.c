/* test_hostile_target.c - processes whose tables have no end, or lie: looking at them ends. */
#include "unit.h"

#include "inject/mappings.h"
#include "inject/remote_symbols.h"
#include "inject/threads.h"
#include "inject/unwinding.h"

#include <elf.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#define PAGE 4096u
#define PATIENCE_S 60 /* what ends does so within one */
#define LONG_PATH 10000u
#define NAME 200
#define ENTRIES (1u << 20)
#define COPIES 256u /* of a table of 16 MiB, one behind the other */

/* In memory, as sparse files are read there at once. */
static char folder[] = "/dev/shm/reqscope-hostile-XXXXXX";

static int set_up(void **state)
{
	(void)state;
	return mkdtemp(folder) == NULL;
}

static int tear_down(void **state)
{
	(void)state;
	return rmdir(folder);
}

/* The child goes on until it is killed. */
static pid_t start(void (*run)(void))
{
	int ready[2];
	char byte;

	assert_int_equal(pipe(ready), 0);
	pid_t pid = fork();
	if (!pid) {
		prctl(PR_SET_PDEATHSIG, SIGKILL);
		signal(SIGSEGV, SIG_DFL);
		dup2(ready[1], STDOUT_FILENO);
		run();
		_exit(1);
	}
	close(ready[1]);
	assert_int_equal(read(ready[0], &byte, 1), 1);
	close(ready[0]);
	return pid;
}

static void tell(void)
{
	if (write(STDOUT_FILENO, "", 1) != 1)
		_exit(1);
}

static void end(pid_t pid)
{
	kill(pid, SIGKILL);
	waitpid(pid, NULL, 0);
}

static int open_memory(pid_t pid)
{
	char path[64];

	snprintf(path, sizeof(path), "/proc/%d/mem", (int)pid);
	return open(path, O_RDONLY | O_CLOEXEC);
}

/* ---- tables of symbols ---- */

/* An object whose dynamic section has entries to the end of all that is mapped, none of them the last. */
static void have_endless_dynamic(void)
{
	Elf64_Ehdr head = {.e_ident = {ELFMAG0, ELFMAG1, ELFMAG2, ELFMAG3, ELFCLASS64},
			   .e_type = ET_DYN,
			   .e_phoff = sizeof(head),
			   .e_phnum = 1};
	Elf64_Phdr dynamic = {.p_type = PT_DYNAMIC, .p_vaddr = PAGE, .p_memsz = UINT64_MAX};
	size_t size = ENTRIES * sizeof(Elf64_Dyn);
	int file = open("libc.so.6", O_RDWR | O_CREAT, 0600);

	unlink("libc.so.6");
	if (ftruncate(file, (off_t)size))
		_exit(1);
	char *all = mmap(NULL, COPIES * size, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
	mmap(all, size, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_FIXED, file, 0);
	for (size_t i = 1; i < COPIES; i++)
		mmap(all + PAGE + i * (size - PAGE), size - PAGE, PROT_READ, MAP_SHARED | MAP_FIXED, file, PAGE);
	for (size_t i = 0; i < ENTRIES; i++)
		((Elf64_Dyn *)(void *)all)[i].d_tag = DT_DEBUG;
	memcpy(all, &head, sizeof(head));
	memcpy(all + sizeof(head), &dynamic, sizeof(dynamic));
	tell();
	pause();
}

/* Chains of hashes that never end: what counts the symbols begins anew after 2^32 of them. */
static void have_endless_chain(void)
{
	Elf64_Ehdr head = {.e_ident = {ELFMAG0, ELFMAG1, ELFMAG2, ELFMAG3, ELFCLASS64},
			   .e_type = ET_DYN,
			   .e_phoff = sizeof(head),
			   .e_phnum = 1};
	Elf64_Phdr dynamic = {.p_type = PT_DYNAMIC, .p_vaddr = 512, .p_memsz = 512};
	uint64_t table = 1024, end = 17ull << 30;
	Elf64_Dyn entries[] = {{DT_SYMTAB, {.d_val = PAGE}},
			       {DT_STRTAB, {.d_val = PAGE}},
			       {DT_STRSZ, {.d_val = PAGE}},
			       {DT_GNU_HASH, {.d_val = table}},
			       {DT_NULL, {0}}};
	uint32_t hash[] = {1, 1, 0, 0, 1};
	int file = open("libc.so.6", O_RDWR | O_CREAT, 0600);

	unlink("libc.so.6");
	if (ftruncate(file, (off_t)end))
		_exit(1);
	char *all = mmap(NULL, end, PROT_READ | PROT_WRITE, MAP_SHARED, file, 0);
	if (all == MAP_FAILED)
		_exit(1);
	memcpy(all, &head, sizeof(head));
	memcpy(all + sizeof(head), &dynamic, sizeof(dynamic));
	memcpy(all + 512, entries, sizeof(entries));
	memcpy(all + table, hash, sizeof(hash));
	tell();
	pause();
}

static void look_for_functions(void (*run)(void))
{
	struct rqs_remote_functions functions;
	struct rqs_remote_library library;
	char *before = getcwd(NULL, 0);

	assert_int_equal(chdir(folder), 0);
	pid_t pid = start(run);
	int memory = open_memory(pid);
	alarm(PATIENCE_S);
	rqs_remote_functions(pid, memory, &functions);
	assert_true(functions.count > 0); /* of the real one, which is there, too */
	assert_false(rqs_remote_library(pid, memory, &library));
	alarm(0);
	close(memory);
	end(pid);
	assert_int_equal(chdir(before), 0);
	free(before);
}

static void a_dynamic_section_without_an_end(void **state)
{
	(void)state;
	look_for_functions(have_endless_dynamic);
}

static void a_hash_chain_without_an_end(void **state)
{
	(void)state;
	look_for_functions(have_endless_chain);
}

/* ---- tables for unwinding ---- */

/* Its frame's address is an expression that jumps back to its own begin: DW_OP_skip -3. */
void endless_frame(void);
__asm__(".text\n"
	".globl endless_frame\n"
	".type endless_frame, @function\n"
	"endless_frame:\n"
	".cfi_startproc\n"
	".cfi_escape 0x0f, 0x03, 0x2f, 0xfd, 0xff\n"
	"mov $34, %eax\n" /* pause */
	"syscall\n"
	"jmp endless_frame\n"
	".cfi_endproc\n"
	".size endless_frame, . - endless_frame\n");

static void wait_endlessly(void)
{
	tell();
	endless_frame();
}

static bool see_anything(void *data, unsigned depth, uint64_t address)
{
	(void)depth, (void)address;
	return ++*(unsigned *)data < 100;
}

static void a_frame_without_an_end(void **state)
{
	pid_t pid = start(wait_endlessly);
	int memory = open_memory(pid);
	struct rqs_unwinder *unwinder = rqs_unwinder_new(pid, memory);
	struct rqs_stopped thread;
	unsigned seen = 0;

	(void)state;
	/* Until it is there: the pipe is written to before. */
	for (thread.registers.rip = 0; thread.registers.rip - (uintptr_t)endless_frame > 8; usleep(1000)) {
		assert_int_equal(rqs_thread_stop(&thread, pid, pid, UINT64_MAX), 0);
		if (thread.registers.rip - (uintptr_t)endless_frame > 8)
			rqs_thread_release(&thread);
	}
	assert_true(rqs_unwinder_look(unwinder));
	alarm(PATIENCE_S);
	assert_int_equal(rqs_unwind(unwinder, &thread.registers, see_anything, &seen), RQS_UNKNOWN);
	alarm(0);
	assert_true(seen >= 1);
	rqs_thread_release(&thread);
	rqs_unwinder_free(unwinder);
	close(memory);
	end(pid);
}

/* ---- mappings ---- */

static void go_deep(void)
{
	char name[NAME];

	memset(name, 'd', sizeof(name) - 1);
	name[sizeof(name) - 1] = '\0';
	for (size_t length = 0; length < LONG_PATH; length += sizeof(name))
		if (mkdir(name, 0700) || chdir(name))
			_exit(1);
}

static void come_back(void)
{
	char name[NAME];

	memset(name, 'd', sizeof(name) - 1);
	name[sizeof(name) - 1] = '\0';
	for (size_t length = 0; length < LONG_PATH; length += sizeof(name))
		if (chdir("..") || rmdir(name))
			_exit(1);
}

struct found {
	unsigned deep, stack;
};

static bool find(const struct rqs_mapping *mapping, void *context)
{
	struct found *found = context;

	found->deep += strstr(mapping->path, "/ddd") && mapping->end - mapping->start == PAGE;
	found->stack += !strcmp(mapping->path, "[stack]");
	return false;
}

/* The kernel tells paths of any length. */
static void a_path_that_is_too_long(void **state)
{
	struct found found = {0};
	char *before = getcwd(NULL, 0);

	(void)state;
	assert_int_equal(chdir(folder), 0);
	go_deep();
	int file = open("f", O_RDWR | O_CREAT, 0600);
	assert_int_equal(ftruncate(file, PAGE), 0);
	void *there = mmap(NULL, PAGE, PROT_READ, MAP_PRIVATE, file, 0);
	assert_false(rqs_each_mapping(getpid(), find, &found));
	munmap(there, PAGE);
	close(file);
	unlink("f");
	come_back();
	assert_int_equal(chdir(before), 0);
	free(before);
	assert_int_equal(found.deep, 1);
	assert_int_equal(found.stack, 1);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(a_dynamic_section_without_an_end),
	    cmocka_unit_test(a_hash_chain_without_an_end),
	    cmocka_unit_test(a_frame_without_an_end),
	    cmocka_unit_test(a_path_that_is_too_long),
	};

	return cmocka_run_group_tests(tests, set_up, tear_down);
}
