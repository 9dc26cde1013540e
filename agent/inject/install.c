/*
 * install.c - see install.h.
 *
 *    | payload: code | data | stubs |  <- one mapping, far from where the heap grows
 *
 * The jumps come last: until then the program can't meet anything of ours,
 * and whatever went wrong, or if we are killed, it runs as it was built.
 */
#include "inject/install_work.h"

#include "inject/dynsym.h"

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
#include <time.h>
#include <unistd.h>

#define GIB (1ull << 30)
/* Jumps reach 2 GiB; less what they are within their own pieces. */
#define REACH (2 * GIB - (1ull << 20))
#define CANDIDATE_STEP (16ull << 20)
#define VDSO_MAX 65536u
#define AUXV_MAX 64

bool rqs_work_fail(struct rqs_install *in, const char *format, ...)
{
	va_list arguments;

	va_start(arguments, format);
	vsnprintf(in->why, sizeof(in->why), format, arguments);
	va_end(arguments);
	return false;
}

/* ---- what was started ---- */

/* The thread that works there isn't the process, in one that runs. */
static pid_t pid_of(const struct rqs_install *in)
{
	return in->visitor ? in->visitor->pid : in->tracee->pid;
}

static bool is_planned_file(struct rqs_install *in)
{
	struct stat planned, running;
	char path[64];

	snprintf(path, sizeof(path), "/proc/%d/exe", (int)pid_of(in));
	return !fstat(in->file, &planned) && !stat(path, &running) && planned.st_dev == running.st_dev &&
	       planned.st_ino == running.st_ino;
}

static bool read_auxv(pid_t pid, uint64_t *entry, uint64_t *vdso)
{
	Elf64_auxv_t auxv[AUXV_MAX];
	char path[64];

	snprintf(path, sizeof(path), "/proc/%d/auxv", (int)pid);
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

bool rqs_install_bias(pid_t pid, int file, uint64_t *bias)
{
	Elf64_Ehdr head;
	uint64_t entry, vdso;

	if (!read_auxv(pid, &entry, &vdso) || pread(file, &head, sizeof(head), 0) != (ssize_t)sizeof(head))
		return false;
	*bias = entry - head.e_entry;
	return true;
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
			return rqs_work_fail(in, "its memory isn't what its file says at %s", plan->sites[i].name);
	in->tracee->syscall_instruction = plan->syscall_instruction + in->bias;
	if (!rqs_tracee_read(in->tracee, in->tracee->syscall_instruction, code, sizeof(syscall_code)) ||
	    memcmp(code, syscall_code, sizeof(syscall_code)))
		return rqs_work_fail(in, "its memory isn't what its file says at a system call");
	return true;
}

bool rqs_work_look(struct rqs_work *w)
{
	struct rqs_install *in = w->in;
	uint64_t entry, vdso;

	if (!is_planned_file(in))
		return rqs_work_fail(in, "its file was exchanged meanwhile");
	if (!rqs_install_bias(pid_of(in), in->file, &in->bias) || !read_auxv(pid_of(in), &entry, &vdso))
		return rqs_work_fail(in, "its start address isn't known");
	in->setup->clock_gettime = find_clock(in->tracee, vdso);
	return sites_are_as_planned(in);
}

/* ---- what is made here ---- */

bool rqs_work_open(struct rqs_work *w, struct rqs_install *in)
{
	*w = (struct rqs_work){
	    .in = in,
	    .tracee = in->tracee,
	    .stubs_size = rqs_page_up(rqs_stubs_room(in->plan->site_count)),
	};
	w->size = in->payload->size + w->stubs_size;
	w->stubs = calloc(1, w->stubs_size);
	w->patches = calloc(in->plan->site_count + 1, sizeof(*w->patches));
	return (w->stubs && w->patches) || rqs_work_fail(in, "memory is short");
}

void rqs_work_close(struct rqs_work *w)
{
	free(w->stubs);
	free(w->patches);
}

/*
 * A process that is killed half-way goes on: a call's second hook relies on
 * the first, so it is put in behind it, and taken out before it.
 */
static int by_turn(const void *a, const void *b)
{
	const struct rqs_patch *p = a, *q = b;
	int turns = (p->kind == RQS_SITE_SYSCALL_DONE) - (q->kind == RQS_SITE_SYSCALL_DONE);

	return turns ? turns : (p->address > q->address) - (p->address < q->address);
}

/* The stubs are always the same; not all need be reached. */
static void choose_patches(struct rqs_work *w)
{
	size_t kept = 0;

	for (size_t i = 0; i < w->patch_count; i++)
		if (w->patches[i].kind != RQS_SITE_PREEMPTED || (w->in->setup->measures & RQS_MEASURES_SCHED))
			w->patches[kept++] = w->patches[i];
	w->patch_count = kept;
	qsort(w->patches, kept, sizeof(*w->patches), by_turn);
}

bool rqs_work_build(struct rqs_work *w)
{
	const struct rqs_plan *plan = w->in->plan;
	uint64_t entries[RQS_SITE_KINDS];

	memcpy(entries, w->in->payload->bytes + w->in->payload->entries, sizeof(entries));
	memset(w->stubs, 0, w->stubs_size);
	if (!rqs_stubs_build(plan, w->in->bias, entries, w->base + w->in->payload->size, w->stubs, w->patches,
			     &w->patch_count, w->in->why))
		return false;
	choose_patches(w);
	return true;
}

/* ---- memory ---- */

/*
 * Where to try it. The heap of a program at a fixed address begins up to
 * 1 GiB behind it, and grows upwards: we go as far up as jumps reach. Below
 * a position-independent one is nothing but what mmap has put there.
 */
uint64_t rqs_work_candidate(const struct rqs_work *w, unsigned n)
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

static bool map_room(struct rqs_work *w)
{
	for (unsigned n = 0; n < RQS_WORK_CANDIDATES; n++) {
		uint64_t wish = rqs_work_candidate(w, n);
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
			return rqs_work_fail(w->in, "there is no room for the hooks: %s", strerror((int)-got));
	}
	return rqs_work_fail(w->in, "there is no room for the hooks within reach of its code");
}

bool rqs_work_write(struct rqs_work *w)
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
	return written || rqs_work_fail(w->in, "its memory can't be written");
}

static bool protect(struct rqs_work *w, uint64_t offset, uint64_t size, int protection)
{
	long error = rqs_tracee_call(w->tracee, SYS_mprotect, w->base + offset, size, (uint64_t)protection, 0, 0, 0);

	return !error || rqs_work_fail(w->in, "it may get no more code: %s", strerror((int)-error));
}

bool rqs_work_protect(struct rqs_work *w)
{
	const struct rqs_loadable *payload = w->in->payload;

	for (size_t i = 0; i < payload->segment_count; i++)
		if (!protect(w, payload->segments[i].offset, payload->segments[i].size,
			     payload->segments[i].protection))
			return false;
	return protect(w, payload->size, w->stubs_size, PROT_READ | PROT_EXEC);
}

/* ---- starting ---- */

/* Runs on that stack. */
static bool run(struct rqs_work *w, uint64_t code, uint64_t stack_end, uint64_t *result)
{
	return rqs_tracee_run(w->tracee, w->base + code, stack_end, w->base + w->in->payload->began, result) ||
	       rqs_work_fail(w->in, "the hooks failed to start");
}

bool rqs_work_begin(struct rqs_work *w, uint64_t stack_end)
{
	uint64_t result = 0;
	int32_t error = 0;

	if (!run(w, w->in->payload->begin, stack_end, &result))
		return false;
	w->began = result;
	if (result)
		return true;
	rqs_tracee_read(w->tracee, w->base + w->in->payload->setup + offsetof(struct rqs_go_setup, error), &error,
			sizeof(error));
	w->in->error = error == -EPERM ? -ENOEXEC : error;
	if (error == -EPERM)
		return rqs_work_fail(w->in, "its system calls are filtered");
	return error ? rqs_work_fail(w->in, "the collector can't be reached from it: %s", strerror(-error))
		     : rqs_work_fail(w->in, "the session had no place for it");
}

bool rqs_work_end(struct rqs_work *w, uint64_t stack_end, bool *done)
{
	uint64_t result = 0;
	bool came_back = run(w, w->in->payload->end, stack_end, &result);

	*done = result;
	return came_back;
}

/* ---- at the exec ---- */

static bool patch(struct rqs_work *w)
{
	size_t done = 0;

	while (done < w->patch_count &&
	       rqs_tracee_poke(w->tracee, w->patches[done].address, w->patches[done].after, w->patches[done].length))
		done++;
	if (done == w->patch_count)
		return true;
	for (size_t i = 0; i <= done; i++)
		rqs_tracee_poke(w->tracee, w->patches[i].address, w->patches[i].before, w->patches[i].length);
	return rqs_work_fail(w->in, "its code can't be changed");
}

/* On a stack of ours, that is there only for as long. */
static bool begin(struct rqs_work *w)
{
	long stack = rqs_tracee_call(w->tracee, SYS_mmap, 0, RQS_INSTALL_STACK, PROT_READ | PROT_WRITE,
				     MAP_PRIVATE | MAP_ANONYMOUS, (uint64_t)-1, 0);

	if (stack < 0)
		return rqs_work_fail(w->in, "there is no room for the hooks: %s", strerror((int)-stack));
	bool begun = rqs_work_begin(w, (uint64_t)stack + RQS_INSTALL_STACK);
	rqs_tracee_call(w->tracee, SYS_munmap, (uint64_t)stack, RQS_INSTALL_STACK, 0, 0, 0, 0);
	return begun;
}

static void undo(struct rqs_work *w)
{
	if (w->base)
		rqs_tracee_call(w->tracee, SYS_munmap, w->base, w->size, 0, 0, 0, 0);
	if (w->tracee->syscall_instruction)
		rqs_tracee_call(w->tracee, SYS_close, (uint64_t)w->in->setup->region, 0, 0, 0, 0, 0);
}

static bool install_all(struct rqs_work *w)
{
	if (!rqs_work_look(w) || !map_room(w))
		return false;
	w->in->setup->entry = w->tracee->registers.rip;
	w->in->setup->stack = w->tracee->registers.rsp;
	rqs_loadable_relocate(w->in->payload, w->base);
	return rqs_work_build(w) && rqs_work_write(w) && rqs_work_protect(w) && begin(w) && patch(w);
}

bool rqs_install(struct rqs_install *in)
{
	struct rqs_work w;
	bool installed = rqs_work_open(&w, in) && install_all(&w);

	if (!installed)
		undo(&w);
	rqs_work_close(&w);
	return installed;
}
