/*
 * install.c - see install.h.
 *
 *    | payload: code | data | stubs |  <- one mapping, far from where the heap grows
 *
 * The jumps come last: until then the program can't meet anything of ours,
 * and whatever went wrong, or if we are killed, it runs as it was built.
 */
#include "inject/install.h"

#include "inject/dynsym.h"
#include "inject/stub.h"

#include <elf.h>
#include <errno.h>
#include <fcntl.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/auxv.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#define GIB (1ull << 30)
/* Jumps reach 2 GiB; less what they are within their own pieces. */
#define REACH (2 * GIB - (1ull << 20))
#define CANDIDATE_STEP (16ull << 20)
#define CANDIDATES 40
#define STACK_SIZE 65536u
#define VDSO_MAX 65536u
#define AUXV_MAX 64

struct work {
	struct rqs_install *in;
	struct rqs_tracee *tracee;
	uint64_t base, size; /* our mapping; base 0: none yet */
	uint8_t *stubs;
	size_t stubs_size; /* whole pages */
	struct rqs_patch *patches;
	size_t patch_count;
};

static bool fail(struct rqs_install *in, const char *format, ...) __attribute__((format(printf, 2, 3)));

static bool fail(struct rqs_install *in, const char *format, ...)
{
	va_list arguments;

	va_start(arguments, format);
	vsnprintf(in->why, sizeof(in->why), format, arguments);
	va_end(arguments);
	return false;
}

/* ---- what was started ---- */

static bool is_planned_file(struct rqs_install *in)
{
	struct stat planned, running;
	char path[64];

	snprintf(path, sizeof(path), "/proc/%d/exe", (int)in->tracee->pid);
	return !fstat(in->file, &planned) && !stat(path, &running) && planned.st_dev == running.st_dev &&
	       planned.st_ino == running.st_ino;
}

static bool read_auxv(const struct rqs_install *in, uint64_t *entry, uint64_t *vdso)
{
	Elf64_auxv_t auxv[AUXV_MAX];
	char path[64];

	snprintf(path, sizeof(path), "/proc/%d/auxv", (int)in->tracee->pid);
	int fd = open(path, O_RDONLY | O_CLOEXEC);
	ssize_t got = fd >= 0 ? read(fd, auxv, sizeof(auxv)) : -1;
	if (fd >= 0)
		close(fd);
	*entry = *vdso = 0;
	for (ssize_t i = 0; (i + 1) * (ssize_t)sizeof(auxv[0]) <= got; i++) {
		if (auxv[i].a_type == AT_ENTRY)
			*entry = auxv[i].a_un.a_val;
		if (auxv[i].a_type == AT_SYSINFO_EHDR)
			*vdso = auxv[i].a_un.a_val;
	}
	return *entry != 0;
}

/* How many of its bytes are there is told by reading them. */
static uint64_t find_clock(struct rqs_tracee *tracee, uint64_t vdso)
{
	uint8_t *bytes = vdso ? malloc(VDSO_MAX) : NULL;
	size_t size = 0;
	uint64_t offset = 0;

	while (bytes && size < VDSO_MAX && rqs_tracee_read(tracee, vdso + size, bytes + size, RQS_PAGE))
		size += RQS_PAGE;
	if (bytes)
		offset = rqs_dynsym(bytes, size, "__vdso_clock_gettime");
	free(bytes);
	return offset ? vdso + offset : 0;
}

static bool sites_are_as_planned(struct rqs_install *in)
{
	const struct rqs_plan *plan = in->plan;
	static const uint8_t syscall_code[] = {0x0f, 0x05};
	uint8_t code[RQS_SITE_CODE];

	for (size_t i = 0; i < plan->site_count; i++)
		if (!rqs_tracee_read(in->tracee, plan->sites[i].address + in->bias, code, plan->sites[i].length) ||
		    memcmp(code, plan->sites[i].code, plan->sites[i].length))
			return fail(in, "its memory isn't what its file says at %s", plan->sites[i].name);
	in->tracee->syscall_instruction = plan->syscall_instruction + in->bias;
	if (!rqs_tracee_read(in->tracee, in->tracee->syscall_instruction, code, sizeof(syscall_code)) ||
	    memcmp(code, syscall_code, sizeof(syscall_code)))
		return fail(in, "its memory isn't what its file says at a system call");
	return true;
}

static bool look_at_program(struct rqs_install *in)
{
	Elf64_Ehdr head;
	uint64_t entry, vdso;

	if (!is_planned_file(in))
		return fail(in, "its file was exchanged meanwhile");
	if (!read_auxv(in, &entry, &vdso) || pread(in->file, &head, sizeof(head), 0) != (ssize_t)sizeof(head))
		return fail(in, "its start address isn't known");
	in->bias = entry - head.e_entry;
	in->setup->entry = in->tracee->registers.rip;
	in->setup->stack = in->tracee->registers.rsp;
	in->setup->clock_gettime = find_clock(in->tracee, vdso);
	return sites_are_as_planned(in);
}

/* ---- memory ---- */

/*
 * Where to try it. The heap of a program at a fixed address begins up to
 * 1 GiB behind it, and grows upwards: we go as far up as jumps reach. Below
 * a position-independent one is nothing but what mmap has put there.
 */
static uint64_t candidate(const struct work *w, unsigned n)
{
	const struct rqs_plan *plan = w->in->plan;
	uint64_t bias = w->in->bias, step = n * CANDIDATE_STEP, at;

	if (plan->position_independent) {
		at = (plan->image_start + bias - GIB - w->size - step) & ~(uint64_t)(RQS_PAGE - 1);
		return plan->image_start + bias > GIB + w->size + step && plan->text_end + bias - at < REACH ? at : 0;
	}
	at = (plan->text_start + REACH - w->size - step) & ~(uint64_t)(RQS_PAGE - 1);
	return at > plan->image_end + GIB ? at : 0;
}

static bool map_room(struct work *w)
{
	for (unsigned n = 0; n < CANDIDATES; n++) {
		uint64_t wish = candidate(w, n);
		long got = !wish ? -ENOMEM
				 : rqs_tracee_call(w->tracee, SYS_mmap, wish, w->size, PROT_READ | PROT_WRITE,
						   MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED_NOREPLACE, (uint64_t)-1, 0);

		if (got == (long)wish) {
			w->base = wish;
			return true;
		}
		if (got > 0) /* before Linux 4.17 it was a mere hint */
			rqs_tracee_call(w->tracee, SYS_munmap, (uint64_t)got, w->size, 0, 0, 0, 0);
		if (got != -EEXIST && got < 0)
			return fail(w->in, "there is no room for the hooks: %s", strerror((int)-got));
	}
	return fail(w->in, "there is no room for the hooks within reach of its code");
}

static bool build_stubs(struct work *w)
{
	const struct rqs_plan *plan = w->in->plan;
	uint64_t entries[RQS_SITE_KINDS];

	memcpy(entries, w->in->payload->bytes + w->in->payload->entries, sizeof(entries));
	if (!(w->in->setup->measures & RQS_MEASURES_SCHED))
		entries[RQS_SITE_PREEMPTED] = 0;
	return rqs_stubs_build(plan, w->in->bias, entries, w->base + w->in->payload->size, w->stubs, w->patches,
			       &w->patch_count, w->in->why) != 0;
}

static bool write_all(struct work *w)
{
	const struct rqs_loadable *payload = w->in->payload;
	bool written = true;

	for (size_t i = 0; written && i < payload->segment_count; i++) {
		uint64_t offset = payload->segments[i].offset;

		written =
		    rqs_tracee_write(w->tracee, w->base + offset, payload->bytes + offset, payload->segments[i].filled);
	}
	written = written &&
		  rqs_tracee_write(w->tracee, w->base + payload->setup, w->in->setup, sizeof(*w->in->setup)) &&
		  rqs_tracee_write(w->tracee, w->base + payload->size, w->stubs, w->stubs_size);
	return written || fail(w->in, "its memory can't be written");
}

static bool protect(struct work *w, uint64_t offset, uint64_t size, int protection)
{
	long error = rqs_tracee_call(w->tracee, SYS_mprotect, w->base + offset, size, (uint64_t)protection, 0, 0, 0);

	return !error || fail(w->in, "it may get no more code: %s", strerror((int)-error));
}

static bool protect_all(struct work *w)
{
	const struct rqs_loadable *payload = w->in->payload;

	for (size_t i = 0; i < payload->segment_count; i++)
		if (!protect(w, payload->segments[i].offset, payload->segments[i].size,
			     payload->segments[i].protection))
			return false;
	return protect(w, payload->size, w->stubs_size, PROT_READ | PROT_EXEC);
}

/* ---- starting ---- */

/* Runs rqs_go_begin() on a stack of ours. */
static bool begin(struct work *w)
{
	const struct rqs_loadable *payload = w->in->payload;
	uint64_t result = 0;
	long stack = rqs_tracee_call(w->tracee, SYS_mmap, 0, STACK_SIZE, PROT_READ | PROT_WRITE,
				     MAP_PRIVATE | MAP_ANONYMOUS, (uint64_t)-1, 0);

	if (stack < 0)
		return fail(w->in, "there is no room for the hooks: %s", strerror((int)-stack));
	bool came_back = rqs_tracee_run(w->tracee, w->base + payload->begin, (uint64_t)stack + STACK_SIZE,
					w->base + payload->began, &result);
	rqs_tracee_call(w->tracee, SYS_munmap, (uint64_t)stack, STACK_SIZE, 0, 0, 0, 0);
	if (!came_back)
		return fail(w->in, "the hooks failed to start");
	return result || fail(w->in, "the session had no place for it");
}

static bool patch(struct work *w)
{
	uint8_t now[sizeof(w->patches->before)];
	size_t done = 0;

	for (size_t i = 0; i < w->patch_count; i++)
		if (!rqs_tracee_read(w->tracee, w->patches[i].address, now, w->patches[i].length) ||
		    memcmp(now, w->patches[i].before, w->patches[i].length))
			return fail(w->in, "its memory isn't what its file says");
	while (done < w->patch_count &&
	       rqs_tracee_poke(w->tracee, w->patches[done].address, w->patches[done].after, w->patches[done].length))
		done++;
	if (done == w->patch_count)
		return true;
	for (size_t i = 0; i <= done; i++)
		rqs_tracee_poke(w->tracee, w->patches[i].address, w->patches[i].before, w->patches[i].length);
	return fail(w->in, "its code can't be changed");
}

static void undo(struct work *w)
{
	if (w->base)
		rqs_tracee_call(w->tracee, SYS_munmap, w->base, w->size, 0, 0, 0, 0);
	if (w->tracee->syscall_instruction)
		rqs_tracee_call(w->tracee, SYS_close, (uint64_t)w->in->setup->region, 0, 0, 0, 0, 0);
}

static bool install_all(struct work *w)
{
	if (!look_at_program(w->in) || !map_room(w))
		return false;
	rqs_loadable_relocate(w->in->payload, w->base);
	return build_stubs(w) && write_all(w) && protect_all(w) && begin(w) && patch(w);
}

bool rqs_install(struct rqs_install *in)
{
	struct work w = {
	    .in = in,
	    .tracee = in->tracee,
	    .stubs_size = rqs_page_up(rqs_stubs_room(in->plan->site_count)),
	};
	bool installed = false;

	w.size = in->payload->size + w.stubs_size;
	w.stubs = calloc(1, w.stubs_size);
	w.patches = calloc(in->plan->site_count + 1, sizeof(*w.patches));
	if (w.stubs && w.patches)
		installed = install_all(&w);
	else
		fail(in, "memory is short");
	if (!installed)
		undo(&w);
	free(w.stubs);
	free(w.patches);
	return installed;
}
