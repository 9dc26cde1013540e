/*
 * got.c - see got.h. Formats: the System V ABI's x86-64 supplement, "Relocation
 * Types"; what is read-only after relocation as glibc's elf/dl-reloc.c has it.
 */
#include "hook/got.h"

#include "hook/hook.h"
#include "hook/objects.h"
#include "os/reserve.h"
#include "os/sys.h"

#include <elf.h>
#include <errno.h>
#include <linux/futex.h>
#include <string.h>
#include <sys/mman.h>
#include <time.h>

#define PAGE 4096u
#define PATIENCE 100000u /* calls of sched_yield */

/* X(name): all that exports.map shows but free, which does nothing of its own. */
#define HOOKS(X)                                                                                                 \
	X(_Exit) X(_exit) X(accept) X(accept4) X(aligned_alloc) X(calloc) X(clone) X(close) X(connect) X(dup) X(dup2) \
	X(dup3) X(epoll_create) X(epoll_create1) X(epoll_ctl) X(epoll_pwait) X(epoll_wait) X(execl) X(execle)    \
	X(execlp) X(execv) X(execve) X(execvp) X(execvpe) X(fcntl) X(fdopen) X(fexecve) X(fork) X(getsockopt)    \
	X(listen) X(malloc) X(memalign) X(mlockall) X(poll) X(posix_memalign) X(posix_spawn) X(posix_spawnp)     \
	X(ppoll) X(pthread_cond_signal) X(pthread_cond_timedwait) X(pthread_cond_wait) X(prctl) X(pselect)       \
	X(read) X(readv) X(realloc) X(reallocarray) X(recv) X(recvfrom) X(recvmmsg) X(recvmsg) X(select) X(send) \
	X(sendfile) X(sendfile64) X(sendmmsg) X(sendmsg) X(sendto) X(setsockopt) X(shutdown) X(splice)           \
	X(syscall) X(valloc) X(vfork) X(write) X(writev)
#ifdef __GLIBC__
#define GLIBC_HOOKS(X)                                                                                      \
	X(__poll_chk) X(__ppoll_chk) X(__read_chk) X(__recv_chk) X(__recvfrom_chk) X(close_range) X(closefrom) \
	X(epoll_pwait2) X(execveat) X(fcntl64) X(pvalloc)
#else
#define GLIBC_HOOKS(X)
#endif
/* X(name, C function called before): those of the linker itself, below. */
#define LINKER_HOOKS(X) X(dlopen, rqs_got_opens) X(dlmopen, rqs_got_opens) X(dlsym, rqs_got_look) X(dlvsym, rqs_got_look)

/* ---- the linker's calls ---- */

/*
 * It asks who calls it: for that one's RUNPATH, namespace, or the object after
 * it. So these jump there, and the caller's return address stays where it is.
 */
#define JUMP(name, before)                                                                             \
	extern const char rqs_got_##name[];                                                            \
	const char *rqs_got_next_##name __attribute__((visibility("hidden")));                         \
	__asm__(".text\n"                                                                              \
		".hidden rqs_got_" #name "\n"                                                          \
		".type rqs_got_" #name ", @function\n"                                                 \
		"rqs_got_" #name ":\n"                                                                 \
		"	.cfi_startproc\n"                                                              \
		"	endbr64\n"                                                                     \
		"	pushq %rdi\n	.cfi_adjust_cfa_offset 8\n"                                     \
		"	pushq %rsi\n	.cfi_adjust_cfa_offset 8\n"                                     \
		"	pushq %rdx\n	.cfi_adjust_cfa_offset 8\n"                                     \
		"	call " #before "\n"                                                            \
		"	popq %rdx\n	.cfi_adjust_cfa_offset -8\n"                                    \
		"	popq %rsi\n	.cfi_adjust_cfa_offset -8\n"                                    \
		"	popq %rdi\n	.cfi_adjust_cfa_offset -8\n"                                    \
		"	jmp *rqs_got_next_" #name "(%rip)\n"                                           \
		"	.cfi_endproc\n"                                                                \
		".size rqs_got_" #name ", .-rqs_got_" #name "\n"                                       \
		".globl rqs_got_" #name "\n");
LINKER_HOOKS(JUMP)

/* ---- what is hooked ---- */

struct target {
	const char *name;
	const char *ours;
	const char *real; /* NULL: there is none */
};

#define DECLARE(name) extern const char rqs_ours_##name[] __asm__(#name);
HOOKS(DECLARE)
GLIBC_HOOKS(DECLARE)

#define TARGET(name) { #name, rqs_ours_##name, NULL },
#define LINKER_TARGET(name, before) { #name, rqs_got_##name, NULL },
static struct target targets[] = { HOOKS(TARGET) GLIBC_HOOKS(TARGET) LINKER_HOOKS(LINKER_TARGET) };
#define TARGETS (sizeof(targets) / sizeof(targets[0]))

#define BUCKETS 512u
static uint8_t buckets[BUCKETS]; /* index + 1, 0 none; what is taken goes to the next */
_Static_assert(TARGETS < 255, "indices are of a byte");

static uint32_t hash_of(const char *name)
{
	uint32_t hash = 2166136261u; /* FNV-1a */

	for (; *name; name++)
		hash = (hash ^ (uint8_t)*name) * 16777619u;
	return hash % BUCKETS;
}

static void find_targets(void)
{
	if (buckets[hash_of(targets[0].name)])
		return;
	for (size_t i = 0; i < TARGETS; i++) {
		uint32_t at = hash_of(targets[i].name);

		while (buckets[at])
			at = (at + 1) % BUCKETS;
		targets[i].real = rqs_objects_next(targets[i].name);
		buckets[at] = (uint8_t)(i + 1);
	}
#define NEXT(name, before) rqs_got_next_##name = rqs_objects_next(#name);
	LINKER_HOOKS(NEXT)
#undef NEXT
}

static const struct target *target_of(const char *name)
{
	for (uint32_t at = hash_of(name); buckets[at]; at = (at + 1) % BUCKETS) {
		const struct target *target = &targets[buckets[at] - 1];

		if (target->real && !strcmp(target->name, name))
			return target;
	}
	return NULL;
}

/* ---- what was there ---- */

#define RECORDS 65536u

static struct record {
	const char **slot;
	const char *original;
} *records;
static uint32_t recorded;

/* The slot's record, or where it is to be; objects may take the place of others. */
static struct record *record_of(const char **slot)
{
	for (uint32_t at = (uint32_t)((uintptr_t)slot / 8 * 2654435761u) % RECORDS;; at = (at + 1) % RECORDS)
		if (!records[at].slot || records[at].slot == slot)
			return &records[at];
}

static bool record(const char **slot, const char *original)
{
	struct record *at = record_of(slot);

	if (!at->slot && recorded == RECORDS / 2)
		return false;
	recorded += !at->slot;
	*at = (struct record){ slot, original };
	return true;
}

/* ---- objects that are hooked already ---- */

#define NS_PER_MS 1000000u
#define LOADING_MS 2000u /* after a dlopen began, or an object came that isn't ready */
#define SETTLING_MS 200u /* after the attach: slots that were being resolved then */
#define DONE 4096u

/*
 * While an object is being loaded it is in the list, but not ready; and the
 * linker may resolve a slot while we change it. So each is visited again for
 * some time; afterwards only where another one has taken its place.
 */
static struct done {
	uint64_t print; /* of what it is, and where */
	uint64_t since; /* ns */
	const char **slot; /* one that was hooked, NULL: none was */
	const char *ours;  /* what it held then */
} *done;
static uint32_t done_count;

static uint64_t now(void)
{
	struct timespec at;

	clock_gettime(CLOCK_MONOTONIC_COARSE, &at);
	return (uint64_t)at.tv_sec * 1000000000u + (uint64_t)at.tv_nsec;
}

static uint64_t print_of(const struct dl_phdr_info *info)
{
	uint64_t print = (info->dlpi_addr ^ (uint64_t)info->dlpi_phdr) * 0x9e3779b97f4a7c15u;

	for (const char *name = info->dlpi_name; name && *name; name++)
		print = (print ^ (uint8_t)*name) * 0x100000001b3u;
	return print | 1;
}

static struct done *done_of(const struct dl_phdr_info *info)
{
	uint64_t print = print_of(info);

	/* Where so many have come and gone all are visited again. */
	if (done_count == DONE / 2) {
		memset(done, 0, DONE * sizeof(*done));
		done_count = 0;
	}
	for (uint32_t at = (uint32_t)(print >> 32) % DONE;; at = (at + 1) % DONE) {
		if (done[at].print == print)
			return &done[at];
		if (!done[at].print) {
			done_count++;
			done[at] = (struct done){ .print = print, .since = now() };
			return &done[at];
		}
	}
}

/* ---- an object ---- */

struct object {
	const struct dl_phdr_info *info;
	const Elf64_Sym *symbols;
	const char *strings;
	const Elf64_Rela *jumps, *others;
	size_t jump_count, other_count;
	uint64_t sealed, sealed_end; /* whole pages that are read-only after relocation */
	bool open;                   /* we have made them writable */
	struct done *state;          /* while hooking */
};

static bool read_object(struct object *object)
{
	const struct dl_phdr_info *info = object->info;
	const ElfW(Dyn) *entry = rqs_objects_dynamic(info);

	for (; entry && entry->d_tag != DT_NULL; entry++) {
		const void *p = rqs_objects_pointer(info, entry->d_un.d_ptr);

		if (entry->d_tag == DT_SYMTAB)
			object->symbols = p;
		else if (entry->d_tag == DT_STRTAB)
			object->strings = p;
		else if (entry->d_tag == DT_JMPREL)
			object->jumps = p;
		else if (entry->d_tag == DT_PLTRELSZ)
			object->jump_count = entry->d_un.d_val / sizeof(Elf64_Rela);
		else if (entry->d_tag == DT_RELA)
			object->others = p;
		else if (entry->d_tag == DT_RELASZ)
			object->other_count = entry->d_un.d_val / sizeof(Elf64_Rela);
	}
	for (int i = 0; i < info->dlpi_phnum; i++) {
		uint64_t start = info->dlpi_addr + info->dlpi_phdr[i].p_vaddr;

		if (info->dlpi_phdr[i].p_type == PT_GNU_RELRO) {
			object->sealed = start & ~(uint64_t)(PAGE - 1);
			object->sealed_end = (start + info->dlpi_phdr[i].p_memsz) & ~(uint64_t)(PAGE - 1);
		}
	}
	return object->symbols && object->strings;
}

/* Is that address in a part of the object with those rights? */
static bool has(const struct object *object, uint64_t address, uint32_t rights)
{
	for (int i = 0; i < object->info->dlpi_phnum; i++) {
		const Elf64_Phdr *part = &object->info->dlpi_phdr[i];

		if (part->p_type == PT_LOAD && (part->p_flags & rights) &&
		    address - object->info->dlpi_addr - part->p_vaddr < part->p_memsz)
			return true;
	}
	return false;
}

static bool protect(struct object *object, int rights)
{
	return rqs_sys3(SYS_mprotect, object->sealed, object->sealed_end - object->sealed, rights) == 0;
}

/*
 * Has the linker done with the object? Its last act on one is to seal those
 * pages; who did that for it would make its next write fail. Tried by a futex
 * call that wakes nobody and adds nothing: an atomic write, refused where
 * there is no right to one. True also where there is nothing to seal.
 */
static bool is_ready(const struct object *object)
{
	uint32_t nothing = 0, no_change = (uint32_t)FUTEX_OP(FUTEX_OP_OR, 0, FUTEX_OP_CMP_EQ, 0);

	return object->sealed >= object->sealed_end ||
	       rqs_sys6(SYS_futex, &nothing, FUTEX_WAKE_OP_PRIVATE, 0, 0, object->sealed, no_change) == -EFAULT;
}

static bool write_slot(struct object *object, const char **slot, const char *value)
{
	uint64_t at = (uint64_t)slot;

	if (at >= object->sealed && at < object->sealed_end && !object->open)
		object->open = protect(object, PROT_READ | PROT_WRITE);
	if (at >= object->sealed && at < object->sealed_end && !object->open)
		return false;
	rqs_store(slot, value);
	return true;
}

/*
 * What allocates must be of the same kind as free, which isn't hooked: where
 * there are several, it isn't known which one the linker would choose.
 */
static bool is_certain(const struct target *target)
{
	static const char *const allocators[] = { "aligned_alloc", "calloc", "malloc", "memalign", "posix_memalign",
						  "pvalloc", "realloc", "reallocarray", "valloc" };

	for (size_t i = 0; i < sizeof(allocators) / sizeof(allocators[0]); i++)
		if (!strcmp(target->name, allocators[i]))
			return rqs_objects_is_single(target->name);
	return true;
}

/* Not resolved yet, it leads to the object's own code that asks the linker. */
static bool is_waiting(const struct object *object, const Elf64_Rela *relocation, const char *value)
{
	return ELF64_R_TYPE(relocation->r_info) == R_X86_64_JUMP_SLOT &&
	       object->symbols[ELF64_R_SYM(relocation->r_info)].st_shndx == SHN_UNDEF &&
	       has(object, (uint64_t)value, PF_X);
}

static void note_hooked(struct done *state, const char **slot, const char *ours)
{
	if (!state->slot) {
		state->slot = slot;
		state->ours = ours;
	}
}

static void hook_slot(struct object *object, const Elf64_Rela *relocation, const char **slot, const struct target *target)
{
	const char *value = rqs_load_relaxed(slot);

	if ((value == target->real || (is_waiting(object, relocation, value) && is_certain(target))) &&
	    record(slot, value) && write_slot(object, slot, target->ours))
		note_hooked(object->state, slot, target->ours);
}

static void unhook_slot(struct object *object, const char **slot, const struct target *target)
{
	const struct record *at = record_of(slot);

	if (rqs_load_relaxed(slot) == target->ours)
		write_slot(object, slot, at->slot ? at->original : target->real);
}

static bool is_slot(const Elf64_Rela *relocation)
{
	unsigned type = ELF64_R_TYPE(relocation->r_info);

	return type == R_X86_64_JUMP_SLOT || type == R_X86_64_GLOB_DAT ||
	       (type == R_X86_64_64 && !relocation->r_addend);
}

static void visit_slots(struct object *object, const Elf64_Rela *relocations, size_t count, bool hook)
{
	for (const Elf64_Rela *r = relocations; r && r < relocations + count; r++) {
		uint64_t address = object->info->dlpi_addr + r->r_offset;

		if (!is_slot(r) || address % 8 || !has(object, address, PF_W))
			continue;
		const char **slot = (const char **)address;
		const struct target *target =
			target_of(object->strings + object->symbols[ELF64_R_SYM(r->r_info)].st_name);
		if (target && hook)
			hook_slot(object, r, slot, target);
		else if (target)
			unhook_slot(object, slot, target);
	}
}

/* ---- all of them ---- */

/* The linker works while its own tables are half made. */
static bool is_left_alone(const struct dl_phdr_info *info)
{
	return rqs_objects_is_own(info) || rqs_objects_is_linker(info);
}

static bool is_done(const struct object *object)
{
	struct done *state = object->state;

	if (now() - state->since <= LOADING_MS * NS_PER_MS)
		return false;
	if (!state->slot)
		return true;
	if (has(object, (uint64_t)state->slot, PF_W) && rqs_load_relaxed(state->slot) == state->ours)
		return true;
	*state = (struct done){ .print = state->print, .since = now() };
	return false;
}

static uint64_t adds_seen;
static bool all_done;

static void visit_object(struct object *object, bool hook)
{
	visit_slots(object, object->jumps, object->jump_count, hook);
	visit_slots(object, object->others, object->other_count, hook);
	if (object->open)
		protect(object, PROT_READ);
}

static int visit_to_hook(struct dl_phdr_info *info, size_t size, void *argument)
{
	struct object object = { .info = info, .state = NULL };

	(void)size;
	(void)argument;
	adds_seen = info->dlpi_adds;
	if (is_left_alone(info))
		return 0;
	object.state = done_of(info);
	if (is_done(&object))
		return 0;
	all_done = false;
	if (!read_object(&object))
		return 0;
	if (is_ready(&object))
		visit_object(&object, true);
	else
		object.state->since = now();
	return 0;
}

static int visit_to_unhook(struct dl_phdr_info *info, size_t size, void *argument)
{
	struct object object = { .info = info, .state = NULL };

	(void)size;
	*(bool *)argument = true;
	if (is_left_alone(info) || !read_object(&object))
		return 0;
	/* Somebody else has opened them: they stay so. */
	if (!is_ready(&object))
		object.sealed_end = object.sealed;
	visit_object(&object, false);
	return 0;
}

/* Also the lock: who is at the tables. After a fork of another thread that one isn't there. */
static uint64_t hooked;
enum { OUT, IN };
#define BUSY_OF(pid) ((uint64_t)(pid) << 1 | 1ull << 63)

static bool begin(uint64_t from)
{
	uint64_t here = BUSY_OF(rqs_sys0(SYS_getpid)), at = rqs_load(&hooked);

	if (at != OUT && at != IN && at != here)
		rqs_swap(&hooked, at, IN);
	return rqs_swap(&hooked, from, here);
}

bool rqs_got_hook(void)
{
	if (!records)
		records = rqs_reserve_sparse(RECORDS * sizeof(*records));
	if (!done)
		done = rqs_reserve_sparse(DONE * sizeof(*done));
	if (!records || !done || !begin(OUT))
		return false;
	find_targets();
	rqs_objects_walk(visit_to_hook, NULL);
	for (uint32_t i = 0; i < DONE; i++)
		if (done[i].print)
			done[i].since -= (LOADING_MS - SETTLING_MS) * NS_PER_MS;
	rqs_store_relaxed(&rqs_got_due, 1u);
	rqs_store(&hooked, (uint64_t)IN);
	return true;
}

static bool is_ours(const char *value)
{
	for (size_t i = 0; i < TARGETS; i++)
		if (targets[i].ours == value)
			return true;
	return false;
}

/* By what was noted: in the child of a fork that came while the list was walked nobody can walk it any more. */
static void unhook_noted(void)
{
	for (uint32_t i = 0; records && i < RECORDS; i++) {
		const char **slot = records[i].slot;
		uint64_t page = (uint64_t)slot & ~(uint64_t)(PAGE - 1);
		struct object object = { .sealed = page, .sealed_end = page + PAGE };

		if (!slot || !rqs_readable(slot, sizeof(*slot)) || !is_ours(rqs_load_relaxed(slot)))
			continue;
		if (!is_ready(&object))
			object.sealed_end = object.sealed;
		write_slot(&object, slot, records[i].original);
		if (object.open)
			protect(&object, PROT_READ);
	}
}

/* Another thread may be hooking what has just been loaded; it won't be long. */
void rqs_got_unhook(void)
{
	rqs_store_relaxed(&rqs_got_due, 0u);
	for (uint32_t i = 0; !begin(IN) && i < PATIENCE; i++) {
		if (rqs_load(&hooked) == OUT)
			return;
		rqs_sys0(SYS_sched_yield);
	}
	bool walked = false;
	rqs_objects_walk(visit_to_unhook, &walked);
	if (!walked)
		unhook_noted();
	rqs_store(&hooked, (uint64_t)OUT);
}

void rqs_got_release(void)
{
	if (records)
		rqs_reserve_forget(records, RECORDS * sizeof(*records));
	if (done)
		rqs_reserve_forget(done, DONE * sizeof(*done));
	recorded = done_count = 0;
}

/* ---- what is loaded later ---- */

#define PAUSE_MS 10u
#define PAUSE_FACTOR 32u /* times what the last look took */

uint32_t rqs_got_due;
static uint64_t opened_at, looked_at; /* ns; 0 never */
static uint64_t pause_ns;

static int read_adds(struct dl_phdr_info *info, size_t size, void *argument)
{
	(void)size;
	*(uint64_t *)argument = info->dlpi_adds;
	return 1;
}

static bool is_time(void)
{
	uint64_t at = now(), adds = 0;

	rqs_objects_walk(read_adds, &adds);
	if (adds != rqs_load_relaxed(&adds_seen))
		rqs_store_relaxed(&opened_at, at);
	else if (!rqs_load_relaxed(&rqs_got_due) || at - rqs_load_relaxed(&looked_at) < rqs_load_relaxed(&pause_ns))
		return false;
	return true;
}

static void look(void)
{
	uint64_t ticks = rqs_now(&rqs_agent);

	all_done = true;
	rqs_objects_walk(visit_to_hook, NULL);
	uint64_t at = now(), rate = rqs_agent.region->ticks_per_second / 1000000 + 1;
	uint64_t took_ns = (rqs_now(&rqs_agent) - ticks) / rate * 1000;
	bool is_due = !all_done || at - rqs_load_relaxed(&opened_at) <= LOADING_MS * NS_PER_MS;

	uint64_t pause = took_ns * PAUSE_FACTOR, least = PAUSE_MS * NS_PER_MS;

	rqs_store_relaxed(&pause_ns, pause > least ? pause : least);
	rqs_store_relaxed(&looked_at, at);
	rqs_store_relaxed(&rqs_got_due, (uint32_t)is_due);
}

__attribute__((used)) void rqs_got_look(void)
{
	int saved = errno;

	if (rqs_active() && !rqs_in_vfork && !rqs_load_relaxed(&rqs_agent.frozen) && is_time() && begin(IN)) {
		look();
		rqs_store(&hooked, (uint64_t)IN);
	}
	errno = saved;
}

void rqs_got_opens(void);

__attribute__((used)) void rqs_got_opens(void)
{
	if (!rqs_in_vfork) {
		rqs_store_relaxed(&opened_at, now());
		rqs_store_relaxed(&rqs_got_due, 1u);
	}
	rqs_got_look();
}
