/* got_table.c - see got_table.h. */
#include "hook/got_table.h"

#include "hook/hook.h"
#include "hook/objects.h"
#include "os/reserve.h"

#include <stddef.h>
#include <string.h>

/* X(name): all that exports.map shows but free, which does something of its own only where samples are taken. */
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

#define DECLARE(name) extern const char rqs_ours_##name[] __asm__(#name);
HOOKS(DECLARE)
GLIBC_HOOKS(DECLARE)
DECLARE(free)

#define TARGET(name) { #name, rqs_ours_##name, NULL },
#define LINKER_TARGET(name, before) { #name, rqs_got_##name, NULL },
static struct rqs_got_target targets[] = { HOOKS(TARGET) GLIBC_HOOKS(TARGET) LINKER_HOOKS(LINKER_TARGET) TARGET(free) };
#define TARGETS (sizeof(targets) / sizeof(targets[0]))
#define FREE (TARGETS - 1)

#define BUCKETS 512u
static uint8_t buckets[BUCKETS]; /* number, 0 none; what is taken goes to the next */
_Static_assert(TARGETS < 255, "numbers are of a byte");

/* Most names are of other libraries' and differ in their first two letters from all of ours. */
#define BEGINNINGS 1024u
static bool beginnings[BEGINNINGS];

static uint32_t beginning_of(const char *name)
{
	uint32_t second = name[0] ? (uint8_t)name[1] : 0;

	return ((uint8_t)name[0] & 31u) << 5 | (second & 31u);
}

static uint32_t hash_of(const char *name)
{
	uint32_t hash = 2166136261u; /* FNV-1a */

	for (; *name; name++)
		hash = (hash ^ (uint8_t)*name) * 16777619u;
	return hash % BUCKETS;
}

static void find_all(void)
{
	for (size_t i = 0; i < TARGETS; i++) {
		uint32_t at = hash_of(targets[i].name);

		while (buckets[at])
			at = (at + 1) % BUCKETS;
		targets[i].real = rqs_objects_next(targets[i].name);
		buckets[at] = (uint8_t)(i + 1);
		beginnings[beginning_of(targets[i].name)] = true;
	}
#define NEXT(name, before) rqs_got_next_##name = rqs_objects_next(#name);
	LINKER_HOOKS(NEXT)
#undef NEXT
}

void rqs_got_targets_find(void)
{
	if (!buckets[hash_of(targets[0].name)])
		find_all();
	targets[FREE].real = rqs_sampling ? rqs_objects_next("free") : NULL;
}

uint32_t rqs_got_target_number(const char *name)
{
	if (!beginnings[beginning_of(name)])
		return 0;
	for (uint32_t at = hash_of(name); buckets[at]; at = (at + 1) % BUCKETS) {
		const struct rqs_got_target *target = &targets[buckets[at] - 1];

		if (target->real && !strcmp(target->name, name))
			return buckets[at];
	}
	return 0;
}

const struct rqs_got_target *rqs_got_target(uint32_t number)
{
	return &targets[number - 1];
}

/* ---- what was there ---- */

#define RECORDS 32768u

static struct rqs_got_record *records;
static uint32_t recorded;

bool rqs_got_records_map(void)
{
	if (!records)
		records = rqs_reserve_sparse(RECORDS * sizeof(*records));
	return records != NULL;
}

uint32_t rqs_got_record_add(const struct rqs_got_record *record)
{
	if (recorded == RECORDS)
		return 0;
	records[recorded++] = *record;
	return recorded;
}

const struct rqs_got_record *rqs_got_record(uint32_t number)
{
	return &records[number - 1];
}

uint32_t rqs_got_records(void)
{
	return recorded;
}

void rqs_got_records_forget(void)
{
	if (records)
		rqs_reserve_forget(records, RECORDS * sizeof(*records));
	recorded = 0;
}
