/*
 * install.c - see install.h.
 *
 *    | payload: code | data | stubs |  <- one mapping, far from where the heap grows
 *
 * The jumps come last: until then the program can't meet anything of ours,
 * and whatever went wrong, or if we are killed, it runs as it was built.
 *
 * One that runs keeps the code for ever, as a thread may be anywhere; the next
 * time it is found again and used.
 */
#include "inject/install.h"

#include "inject/dynsym.h"
#include "inject/placed.h"
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
#include <time.h>
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
	bool reused;         /* it was there before */
	bool began;
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
			return fail(in, "its memory isn't what its file says at %s", plan->sites[i].name);
	in->tracee->syscall_instruction = plan->syscall_instruction + in->bias;
	if (!rqs_tracee_read(in->tracee, in->tracee->syscall_instruction, code, sizeof(syscall_code)) ||
	    memcmp(code, syscall_code, sizeof(syscall_code)))
		return fail(in, "its memory isn't what its file says at a system call");
	return true;
}

static bool look_at_program(struct rqs_install *in)
{
	uint64_t entry, vdso;

	if (!is_planned_file(in))
		return fail(in, "its file was exchanged meanwhile");
	if (!rqs_install_bias(in->tracee->pid, in->file, &in->bias) || !read_auxv(in->tracee->pid, &entry, &vdso))
		return fail(in, "its start address isn't known");
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
	return rqs_stubs_build(plan, w->in->bias, entries, w->base + w->in->payload->size, w->stubs, w->patches,
			       &w->patch_count, w->in->why) != 0;
}

/* The stubs are always the same; not all need be reached. */
static void choose_patches(struct work *w)
{
	size_t kept = 0;

	for (size_t i = 0; i < w->patch_count; i++)
		if (w->patches[i].kind != RQS_SITE_PREEMPTED || (w->in->setup->measures & RQS_MEASURES_SCHED))
			w->patches[kept++] = w->patches[i];
	w->patch_count = kept;
}

/* What is there from before: the same code, and data that are to be as at the start. */
static bool write_again(struct work *w)
{
	const struct rqs_loadable *payload = w->in->payload;
	uint8_t *now = malloc(w->stubs_size);
	bool same = now && rqs_tracee_read(w->tracee, w->base + payload->size, now, w->stubs_size) &&
		    !memcmp(now, w->stubs, w->stubs_size);

	free(now);
	for (size_t i = 0; same && i < payload->segment_count; i++)
		if (payload->segments[i].protection & PROT_WRITE)
			same = rqs_tracee_write(w->tracee, w->base + payload->segments[i].offset,
						payload->bytes + payload->segments[i].offset,
						payload->segments[i].size);
	same = same && rqs_tracee_write(w->tracee, w->base + payload->setup, w->in->setup, sizeof(*w->in->setup));
	return same || fail(w->in, "what was placed in it before isn't as it was");
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

/* Runs rqs_go_begin or rqs_go_end on a stack of ours. */
static bool run(struct work *w, uint64_t code, uint64_t *result)
{
	long stack = rqs_tracee_call(w->tracee, SYS_mmap, 0, STACK_SIZE, PROT_READ | PROT_WRITE,
				     MAP_PRIVATE | MAP_ANONYMOUS, (uint64_t)-1, 0);

	if (stack < 0)
		return fail(w->in, "there is no room for the hooks: %s", strerror((int)-stack));
	bool came_back = rqs_tracee_run(w->tracee, w->base + code, (uint64_t)stack + STACK_SIZE,
					w->base + w->in->payload->began, result);
	rqs_tracee_call(w->tracee, SYS_munmap, (uint64_t)stack, STACK_SIZE, 0, 0, 0, 0);
	return came_back || fail(w->in, "the hooks failed to start");
}

static bool begin(struct work *w)
{
	uint64_t result = 0;
	int32_t error = 0;

	if (!run(w, w->in->payload->begin, &result))
		return false;
	w->began = result;
	if (result)
		return true;
	rqs_tracee_read(w->tracee, w->base + w->in->payload->setup + offsetof(struct rqs_go_setup, error), &error,
			sizeof(error));
	w->in->error = error;
	return error ? fail(w->in, "the collector can't be reached from it: %s", strerror(-error))
		     : fail(w->in, "the session had no place for it");
}

/* ---- while all threads are stopped ---- */

#define TRIES 100
#define TRY_NS 2000000l
#define STOPPING_NS 500000000ull

/* Stops them at a moment that suits; the last error else. */
static int stop_all(struct work *w, bool entering)
{
	struct rqs_threads *threads = w->in->threads;
	struct rqs_change change = {w->in->plan,    w->in->bias, w->tracee->memory, w->patches,
				    w->patch_count, w->base,	 w->base + w->size};
	struct timespec moment = {.tv_nsec = TRY_NS};
	int error = -EAGAIN;

	for (int n = 0; error == -EAGAIN && n < TRIES && rqs_tracee_now_ns() < w->tracee->deadline_ns; n++) {
		if (n)
			nanosleep(&moment, NULL);
		error = rqs_threads_stop(threads, threads->pid, rqs_tracee_now_ns() + STOPPING_NS);
		if (error)
			break;
		error = entering ? rqs_go_threads_enter(threads, &change) : rqs_go_threads_leave(threads, &change);
		if (error)
			rqs_threads_release(threads);
	}
	if (error) {
		w->in->error = error == -EAGAIN ? -ETIMEDOUT : error;
		fail(w->in, "its threads couldn't be stopped in time");
	}
	return error;
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

/* In one that runs. The code is what they are to go on with, so they go on only then. */
static bool patch_running(struct work *w)
{
	if (stop_all(w, true))
		return false;
	bool patched = patch(w);
	rqs_threads_release(w->in->threads);
	return patched;
}

static void undo(struct work *w)
{
	uint64_t ignored;

	if (w->began)
		run(w, w->in->payload->end, &ignored);
	if (w->base && !w->reused)
		rqs_tracee_call(w->tracee, SYS_munmap, w->base, w->size, 0, 0, 0, 0);
	if (w->tracee->syscall_instruction && !w->in->threads)
		rqs_tracee_call(w->tracee, SYS_close, (uint64_t)w->in->setup->region, 0, 0, 0, 0, 0);
}

static void find_placed(struct work *w)
{
	if (w->in->threads)
		w->base = rqs_placed_find(w->in->threads->pid, w->tracee->memory, w->in->payload);
	w->reused = w->base != 0;
}

static bool install_all(struct work *w)
{
	find_placed(w);
	if (!look_at_program(w->in)) {
		w->in->error = w->reused ? -EBUSY : w->in->error;
		return w->reused ? fail(w->in, "it is recorded already") : false;
	}
	if (!w->base && !map_room(w))
		return false;
	rqs_loadable_relocate(w->in->payload, w->base);
	if (!build_stubs(w))
		return false;
	choose_patches(w);
	if (!(w->reused ? write_again(w) : write_all(w) && protect_all(w)) || !begin(w))
		return false;
	return w->in->threads ? patch_running(w) : patch(w);
}

/* Room for what is made here. */
static bool open_work(struct work *w, struct rqs_install *in)
{
	*w = (struct work){
	    .in = in,
	    .tracee = in->tracee,
	    .stubs_size = rqs_page_up(rqs_stubs_room(in->plan->site_count)),
	};
	w->size = in->payload->size + w->stubs_size;
	w->stubs = calloc(1, w->stubs_size);
	w->patches = calloc(in->plan->site_count + 1, sizeof(*w->patches));
	return (w->stubs && w->patches) || fail(in, "memory is short");
}

static void close_work(struct work *w)
{
	free(w->stubs);
	free(w->patches);
}

bool rqs_install(struct rqs_install *in)
{
	struct work w;
	bool installed = open_work(&w, in) && install_all(&w);

	if (!installed)
		undo(&w);
	close_work(&w);
	return installed;
}

/* ---- taking out ---- */

static bool is_patched(struct work *w, const struct rqs_patch *at)
{
	uint8_t now[sizeof(at->after)];

	return rqs_tracee_read(w->tracee, at->address, now, at->length) && !memcmp(now, at->after, at->length);
}

static bool unpatch(struct work *w)
{
	bool done = true;

	for (size_t i = 0; i < w->patch_count; i++)
		if (is_patched(w, &w->patches[i]))
			done &= rqs_tracee_poke(w->tracee, w->patches[i].address, w->patches[i].before,
						w->patches[i].length);
	return done || fail(w->in, "its code can't be changed");
}

/* All threads are out of our code by then, and none comes back: so is the memory's end. */
static bool take_out(struct work *w)
{
	uint64_t result = 0;

	if (stop_all(w, false))
		return false;
	bool done = unpatch(w) && run(w, w->in->payload->end, &result);
	rqs_threads_release(w->in->threads);
	return done && (result || fail(w->in, "its memory is in use"));
}

static bool uninstall_all(struct work *w)
{
	find_placed(w);
	if (!w->base)
		return true;
	rqs_loadable_relocate(w->in->payload, w->base);
	w->tracee->syscall_instruction = w->in->plan->syscall_instruction + w->in->bias;
	return build_stubs(w) && take_out(w);
}

bool rqs_uninstall(struct rqs_install *in)
{
	struct work w;
	bool done = open_work(&w, in) && uninstall_all(&w);

	close_work(&w);
	return done;
}
