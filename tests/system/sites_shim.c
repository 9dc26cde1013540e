/*
 * sites_shim.c - preloaded behind the agent: an allocator without locks that
 * may be called from anywhere and counts its calls, and counts what the agent
 * calls of locks and of the linker.
 */
#include <dlfcn.h>
#include <errno.h>
#include <link.h>
#include <pthread.h>
#include <semaphore.h>
#include <stdatomic.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

atomic_long shim_allocations, shim_calls_of_agent;
void (*shim_calls_back)(void);

#define CALLS_BACK 54321

/* ---- whose call ---- */

static uintptr_t agent_start, agent_end;

static int find_agent(struct dl_phdr_info *info, size_t size, void *unused)
{
	(void)size;
	(void)unused;
	if (!strstr(info->dlpi_name, "libreqscope"))
		return 0;
	for (int i = 0; i < info->dlpi_phnum; i++)
		if (info->dlpi_phdr[i].p_type == PT_LOAD)
			agent_end = info->dlpi_addr + info->dlpi_phdr[i].p_vaddr + info->dlpi_phdr[i].p_memsz;
	agent_start = info->dlpi_addr;
	return 1;
}

static void note(void *caller)
{
	uintptr_t from = (uintptr_t)caller;

	if (from >= agent_start && from < agent_end)
		atomic_fetch_add(&shim_calls_of_agent, 1);
}

/* X(result, name, parameters, arguments) */
#define WATCHED(X)                                                                                          \
	X(int, pthread_mutex_lock, (pthread_mutex_t * m), (m))                                              \
	X(int, pthread_mutex_trylock, (pthread_mutex_t * m), (m))                                           \
	X(int, pthread_rwlock_rdlock, (pthread_rwlock_t * l), (l))                                          \
	X(int, pthread_rwlock_wrlock, (pthread_rwlock_t * l), (l))                                          \
	X(int, sem_wait, (sem_t * s), (s))                                                                  \
	X(int, dl_iterate_phdr, (int (*visit)(struct dl_phdr_info *, size_t, void *), void *p), (visit, p)) \
	X(int, dladdr, (const void *a, Dl_info *i), (a, i))

#define WATCH(result, name, parameters, arguments)                                                        \
	static result(*next_##name) parameters;                                                           \
	result name parameters                                                                            \
	{                                                                                                 \
		note(__builtin_return_address(0));                                                        \
		if (!next_##name)                                                                         \
			*(void **)(void *)&next_##name = dlsym(RTLD_NEXT, #name);                         \
		return next_##name arguments;                                                             \
	}
WATCHED(WATCH)

static void __attribute__((constructor)) begin(void)
{
	dl_iterate_phdr(find_agent, NULL);
}

/* ---- the allocator: what is freed isn't used again ---- */

#define ROOM (1ull << 34)

struct head {
	size_t size, pad;
};

static char *room;
static atomic_size_t used;
static atomic_flag lock = ATOMIC_FLAG_INIT;

static void *take(size_t alignment, size_t size)
{
	if (!room) /* the linker's own first call, before there are threads */
		room = mmap(NULL, ROOM, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
	size_t whole = (sizeof(struct head) + size + alignment + 15) & ~(size_t)15;
	uintptr_t at = (uintptr_t)room + atomic_fetch_add(&used, whole) + sizeof(struct head);

	at = (at + alignment - 1) & ~(alignment - 1);
	((struct head *)at)[-1].size = size;
	atomic_fetch_add(&shim_allocations, 1);
	return (void *)at;
}

void *malloc(size_t size)
{
	if (size == CALLS_BACK && shim_calls_back) {
		while (atomic_flag_test_and_set(&lock))
			;
		shim_calls_back();
		atomic_flag_clear(&lock);
	}
	return take(16, size);
}

void *calloc(size_t n, size_t size)
{
	return take(16, n * size);
}

void *realloc(void *p, size_t size)
{
	void *moved = take(16, size);
	size_t had = p ? ((struct head *)p)[-1].size : 0;

	if (p)
		memcpy(moved, p, had < size ? had : size);
	return moved;
}

/* Pages are given back, addresses aren't. */
void free(void *p)
{
	uintptr_t start = ((uintptr_t)p + 4095) & ~4095ul, end = p ? (uintptr_t)p + ((struct head *)p)[-1].size : 0;
	int saved = errno;

	if (end > start && end - start >= 4096)
		madvise((void *)start, (end - start) & ~4095ul, MADV_DONTNEED);
	errno = saved;
}

int posix_memalign(void **p, size_t alignment, size_t size)
{
	*p = take(alignment, size);
	return 0;
}

void *aligned_alloc(size_t alignment, size_t size)
{
	return take(alignment, size);
}

void *memalign(size_t alignment, size_t size)
{
	return take(alignment, size);
}
