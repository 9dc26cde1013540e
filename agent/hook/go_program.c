/*
 * go_program.c - see go_program.h.
 *
 * What goes where is found out by `reqscope patches`, a process of its own:
 * here are only the system calls that bring its answer and carry it out. The
 * program has one thread yet, and hasn't run a line.
 */
#include "hook/go_program.h"

#include "go/go.h"
#include "hook/hook.h"
#include "hook/membership.h"
#include "inject/patching.h"
#include "os/join.h"
#include "os/reserve.h"
#include "os/sys.h"

#include <elf.h>
#include <fcntl.h>
#include <poll.h>
#include <string.h>
#include <sys/auxv.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/wait.h>

#define GIB (1ull << 30)
#define PAGE 4096ull
/* For the stubs, within reach of the text; for the answer. */
#define STUBS_ROOM 65536u
#define ANSWER_ROOM 262144u
#define CANDIDATES 40u
#define CANDIDATE_STEP (16ull << 20)

static struct {
	bool is_go;
	bool hooked;
	struct rqs_go_setup setup;
	struct rqs_go_facts facts;
} program;

/* ---- the program in memory ---- */

struct image {
	uint64_t bias, start, end;
	bool is_go;
};

/* The linker's build id (cmd/link, elf.go) is one of the notes: owner "Go", type 4. */
static bool has_go_note(const Elf64_Phdr *h, uint64_t at)
{
	uint64_t end = at + h->p_memsz, padding = h->p_align == 8 ? 7 : 3;

	while (at + sizeof(Elf64_Nhdr) + 4 <= end) {
		const Elf64_Nhdr *note = (const Elf64_Nhdr *)at;

		if (note->n_namesz == 4 && note->n_type == 4 && !memcmp(note + 1, "Go\0", 4))
			return true;
		at += sizeof(*note) + ((note->n_namesz + padding) & ~padding) + ((note->n_descsz + padding) & ~padding);
	}
	return false;
}

/* Without, its code makes no use of libc, nor keeps it in working order: it is for the placing step (inject/placing.h). */
static bool needs_libraries(const Elf64_Dyn *entry)
{
	while (entry->d_tag != DT_NULL && entry->d_tag != DT_NEEDED)
		entry++;
	return entry->d_tag == DT_NEEDED;
}

static struct image look_at_program(void)
{
	const Elf64_Phdr *headers = (const Elf64_Phdr *)getauxval(AT_PHDR);
	size_t count = getauxval(AT_PHNUM);
	struct image image = { .start = UINT64_MAX };
	bool needs = false;

	for (size_t i = 0; headers && i < count; i++)
		if (headers[i].p_type == PT_PHDR)
			image.bias = (uint64_t)headers - headers[i].p_vaddr;
	for (size_t i = 0; headers && i < count; i++) {
		const Elf64_Phdr *h = &headers[i];
		uint64_t at = image.bias + h->p_vaddr;

		if (h->p_type == PT_LOAD) {
			image.start = at < image.start ? at : image.start;
			image.end = at + h->p_memsz > image.end ? at + h->p_memsz : image.end;
		} else if (h->p_type == PT_NOTE) {
			image.is_go = image.is_go || has_go_note(h, at);
		} else if (h->p_type == PT_DYNAMIC) {
			needs = needs_libraries((const Elf64_Dyn *)at);
		}
	}
	image.is_go = image.is_go && needs;
	return image;
}

/* ---- asking ---- */

static void __attribute__((noreturn)) become_helper(int channel, int file, const char *path, char **envp)
{
	char *const argv[] = { (char *)path, RQS_PATCHING_COMMAND, NULL };

	rqs_sys2(SYS_dup2, channel, 0);
	rqs_sys2(SYS_dup2, file, 1);
	rqs_sys3(SYS_execve, path, argv, envp);
	for (;;)
		rqs_sys1(SYS_exit_group, 1);
}

static bool receive(int channel, void *p, size_t n)
{
	char *at = p;

	while (n) {
		long got = rqs_join_readable(channel) ? rqs_sys6(SYS_recvfrom, channel, at, n, 0, NULL, NULL) : 0;

		if (got <= 0)
			return false;
		at += got;
		n -= (size_t)got;
	}
	return true;
}

/* The answer, patches and stubs behind it, in `room` bytes. */
static bool converse(int channel, const struct rqs_patching_request *request, struct rqs_patching_answer *answer,
		     size_t room)
{
	if (rqs_sys6(SYS_sendto, channel, request, sizeof(*request), MSG_NOSIGNAL, NULL, 0) != sizeof(*request) ||
	    !receive(channel, answer, sizeof(*answer)) || answer->version != RQS_REGION_VERSION)
		return false;
	size_t more = answer->patch_count * sizeof(struct rqs_patch) + answer->stubs_size;

	return answer->stubs_size <= STUBS_ROOM && answer->patch_count < room && more <= room - sizeof(*answer) &&
	       receive(channel, answer + 1, more);
}

static bool ask(const struct rqs_patching_request *request, struct rqs_patching_answer *answer, size_t room)
{
	char path[PATH_MAX];
	char **envp = rqs_session_find_program(path, sizeof(path)) ? rqs_session_bare_environment() : NULL;
	long file = rqs_sys3(SYS_open, "/proc/self/exe", O_RDONLY | O_CLOEXEC, 0);
	int pair[2];
	bool answered = false;

	if (envp && file >= 0 && rqs_sys4(SYS_socketpair, AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair) == 0) {
		/* No exit signal: the host sees nothing of this child. */
		long pid = rqs_sys5(SYS_clone, 0, 0, 0, 0, 0);

		if (pid == 0)
			become_helper(pair[1], (int)file, path, envp);
		rqs_sys1(SYS_close, pair[1]);
		if (pid > 0) {
			answered = converse(pair[0], request, answer, room);
			rqs_sys1(SYS_close, pair[0]);
			rqs_sys4(SYS_wait4, pid, NULL, __WALL, NULL);
		}
	}
	if (file >= 0)
		rqs_sys1(SYS_close, file);
	return answered;
}

/* ---- carrying it out ---- */

/* Above the image, where the heap of C code doesn't grow to, or below it. */
static void *map_near(const struct image *image)
{
	const int flags = MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED_NOREPLACE;

	for (uint64_t i = 0; i < 2 * CANDIDATES; i++) {
		uint64_t away = GIB + i / 2 * CANDIDATE_STEP;
		uint64_t at = (i % 2 ? image->start - away : image->end + away) & ~(PAGE - 1);

		if (i % 2 && image->start < away + GIB / 16)
			continue;
		long p = rqs_sys6(SYS_mmap, at, STUBS_ROOM, PROT_READ | PROT_WRITE, flags, -1, 0);
		if (p == (long)at)
			return (void *)at;
		if (p > 0) /* before Linux 4.17 the flag is a hint */
			rqs_sys2(SYS_munmap, p, STUBS_ROOM);
	}
	return NULL;
}

/*
 * By way of the file of our memory, if it may be written, or of a page that can
 * be written for a moment. It stays executable all the while: where it may not
 * become so again (SELinux, of text that was changed), the program would end.
 */
static bool write_patch(int memory, const struct rqs_patch *patch, const uint8_t *bytes)
{
	uint64_t from = patch->address & ~(PAGE - 1);
	uint64_t size = ((patch->address + patch->length + PAGE - 1) & ~(PAGE - 1)) - from;

	if (memory >= 0 && rqs_sys4(SYS_pwrite64, memory, bytes, patch->length, patch->address) == patch->length)
		return true;
	if (rqs_sys3(SYS_mprotect, from, size, PROT_READ | PROT_WRITE | PROT_EXEC))
		return false;
	memcpy((void *)patch->address, bytes, patch->length);
	rqs_sys3(SYS_mprotect, from, size, PROT_READ | PROT_EXEC);
	return true;
}

/* All of them or none. */
static bool write_patches(const struct rqs_patch *patches, uint32_t count)
{
	int memory = (int)rqs_sys3(SYS_open, "/proc/self/mem", O_RDWR | O_CLOEXEC, 0);
	uint32_t done = 0;

	while (done < count && write_patch(memory, &patches[done], patches[done].after))
		done++;
	for (uint32_t i = done; done < count && i-- > 0;)
		write_patch(memory, &patches[i], patches[i].before);
	if (memory >= 0)
		rqs_sys1(SYS_close, memory);
	return done == count;
}

static bool are_as_planned(const struct image *image, const struct rqs_patch *patches, uint32_t count)
{
	for (uint32_t i = 0; i < count; i++)
		if (patches[i].length > sizeof(patches[i].before) || patches[i].address < image->start ||
		    patches[i].address + patches[i].length > image->end ||
		    memcmp((const void *)patches[i].address, patches[i].before, patches[i].length) != 0)
			return false;
	return true;
}

static bool carry_out(const struct image *image, void *near, const struct rqs_patching_answer *answer)
{
	const struct rqs_patch *patches = (const struct rqs_patch *)(const void *)(answer + 1);

	if (!answer->stubs_size || !are_as_planned(image, patches, answer->patch_count))
		return false;
	memcpy(near, patches + answer->patch_count, answer->stubs_size);
	if (rqs_sys3(SYS_mprotect, near, STUBS_ROOM, PROT_READ | PROT_EXEC))
		return false;
	return write_patches(patches, answer->patch_count);
}

static void remember(const struct rqs_patching_answer *answer, uint64_t bias)
{
	program.setup.measures = answer->measures;
	program.setup.curg_offset = answer->curg_offset;
	program.setup.no_sched = rqs_session.no_sched;
	program.facts = rqs_facts_of(&answer->figures, bias);
	program.facts.version = RQS_REGION_VERSION;
}

void rqs_go_program_hook(void)
{
	struct image image = look_at_program();
	struct rqs_patching_answer *answer = image.is_go ? rqs_reserve(ANSWER_ROOM, -1) : NULL;
	void *near = answer && !rqs_reserve_is_scarce_for_go() ? map_near(&image) : NULL;

	program.is_go = image.is_go;
	rqs_go.placer = rqs_session.placer;
	rqs_go.token = rqs_session.token;
	if (near && rqs_go_await(&rqs_agent, rqs_activate)) {
		struct rqs_patching_request request = {
			.version = RQS_REGION_VERSION, .room = STUBS_ROOM, .base = (uint64_t)near, .bias = image.bias
		};

		memcpy(request.entries, rqs_go_entries, sizeof(request.entries));
		if (ask(&request, answer, ANSWER_ROOM)) {
			memcpy(program.setup.version, answer->go_version, sizeof(program.setup.version));
			remember(answer, image.bias);
			program.hooked = carry_out(&image, near, answer);
		}
	}
	if (near && !program.hooked)
		rqs_sys2(SYS_munmap, near, STUBS_ROOM);
	if (answer)
		rqs_unreserve(answer, ANSWER_ROOM);
	if (program.is_go && !program.hooked)
		rqs_session_count_unplaced();
}

const struct rqs_go_setup *rqs_go_program_setup(void)
{
	return program.hooked ? &program.setup : NULL;
}

bool rqs_go_program_is(char *version, uint64_t size)
{
	if (program.is_go && size >= sizeof(program.setup.version))
		memcpy(version, program.setup.version, sizeof(program.setup.version));
	return program.is_go;
}

void rqs_go_program_tell(void)
{
	long memory = rqs_sys3(SYS_open, "/proc/self/mem", O_RDONLY | O_CLOEXEC, 0);

	if (memory < 0)
		return;
	program.facts.pid = (uint32_t)rqs_sys0(SYS_getpid);
	rqs_join_tell_facts(rqs_session.token, &program.facts, (int)memory);
	rqs_sys1(SYS_close, memory);
}
