/* memory.c - allocators at their edges, before the agent is on and after: memory [LIBRARY] */
#include "host.h"

#include <dlfcn.h>
#include <malloc.h>

/* Volatile, so that no compiler knows the answer. */
static volatile size_t huge = SIZE_MAX;
static volatile size_t half = (size_t)1 << 33;
static volatile size_t zero;
static char zero_bytes[1];

#define SHOW_FREE(call)                                                                                                \
	({                                                                                                             \
		errno = KEPT;                                                                                          \
		void *p_ = (call);                                                                                     \
		int error_ = errno;                                                                                    \
		printf("%s = %s", #call, p_ ? "memory" : "NULL");                                                      \
		if (error_ != KEPT)                                                                                    \
			printf(" (%s)", strerror(error_));                                                             \
		printf(", %zu usable\n", p_ ? malloc_usable_size(p_) & ~63ul : 0);                                     \
		errno = KEPT;                                                                                          \
		free(p_);                                                                                              \
		if (errno != KEPT)                                                                                     \
			printf("free spoilt errno: %s\n", strerror(errno));                                            \
	})

static void edges(void)
{
	void *nothing = &zero_bytes, *p = nothing;

	SHOW_FREE(malloc(zero));
	SHOW_FREE(malloc(1));
	SHOW_FREE(malloc(1000));
	SHOW_FREE(malloc(1 << 24));
	SHOW_FREE(malloc(huge));
	SHOW_FREE(malloc(huge / 2));
	SHOW_FREE(calloc(zero, 8));
	SHOW_FREE(calloc(8, zero));
	SHOW_FREE(calloc(huge, 2));
	SHOW_FREE(calloc(half, half));
	SHOW_FREE(calloc(100, 3));
	SHOW_FREE(realloc(NULL, 33));
	SHOW_FREE(realloc(NULL, zero));
	SHOW_FREE(realloc(malloc(10), 100));
	SHOW_FREE(realloc(malloc(1000), 10));
	SHOW_FREE(realloc(malloc(10), zero));
	SHOW_FREE(reallocarray(NULL, huge, 2));
	SHOW_FREE(reallocarray(NULL, half, half));
	SHOW_FREE(reallocarray(malloc(10), 10, 10));
	SHOW_FREE(reallocarray(NULL, zero, 10));
	SHOW_FREE(aligned_alloc(64, 640));
	SHOW_FREE(aligned_alloc(4096, huge - 4096));
	SHOW_FREE(memalign(128, 5));
	SHOW_FREE(memalign(4096, huge - 10));
	SHOW_FREE(valloc(10));
	/* A block that couldn't grow is still there. */
	char *volatile kept = malloc(10);
	strcpy(kept, "kept");
	SHOW(realloc(kept, huge / 2) == NULL);
	printf("%s\n", kept);
	free(kept);
	SHOW(posix_memalign(&p, 3, 10));
	SHOW(posix_memalign(&p, 0, 10));
	SHOW(posix_memalign(&p, 24, 10));
	SHOW(posix_memalign(&p, 2, 10));
	SHOW(posix_memalign(&p, 64, huge - 100));
	printf("left alone: %d\n", p == nothing);
	SHOW(posix_memalign(&p, 4096, 100));
	printf("aligned: %d\n", (uintptr_t)p % 4096 == 0);
	free(p);
	free(NULL);
	SHOW(malloc_usable_size(NULL));
	/* By libc's own allocations. */
	char *line = NULL;
	SHOW(asprintf(&line, "%s %d", "printed", 5));
	printf("%s\n", line);
	free(line);
	free(strdup("copy"));
	for (size_t size = 1; size < 5000000; size *= 3) {
		unsigned char *q = calloc(1, size), sum = 0;

		for (size_t i = 0; i < size; i++)
			sum |= q[i];
		if (sum)
			printf("not zero\n");
		free(q);
	}
}

static void *allocates(void *argument)
{
	void *kept[100] = {0};
	unsigned seed = (unsigned)(uintptr_t)argument;

	for (int i = 0; i < 20000; i++) {
		int at = rand_r(&seed) % 100;

		if (rand_r(&seed) % 2) {
			free(kept[at]);
			kept[at] = malloc((size_t)rand_r(&seed) % 2000);
		} else {
			kept[at] = realloc(kept[at], (size_t)rand_r(&seed) % 2000 + 1);
		}
	}
	for (int i = 0; i < 100; i++)
		free(kept[i]);
	return NULL;
}

/* A library that was loaded with symbols of its own first, so that half of the calls are libc's without us. */
static void by_library(const char *path, int mode, struct pair p)
{
	void *library = dlopen(path, RTLD_NOW | mode);
	ssize_t (*write_)(int, const void *, size_t);
	void *(*malloc_)(size_t);
	void (*free_)(void *);

	if (!library) {
		printf("%s\n", dlerror());
		return;
	}
	*(void **)&write_ = dlsym(library, "library_write");
	*(void **)&malloc_ = dlsym(library, "library_malloc");
	*(void **)&free_ = dlsym(library, "library_free");
	free(malloc_(100));
	free_(malloc(100));
	free_(realloc(malloc_(10), 500));
	char byte = 0;
	int ends[2];
	MUST(pipe(ends));
	SHOW(write_(ends[1], &byte, 1));
	close(ends[0]);
	close(ends[1]);
	exchange(p.client, p.server);
	SHOW(dlclose(library));
}

int main(int argc, char **argv)
{
	pthread_t threads[4];

	printf("-- before\n");
	edges();
	int from = listener(AF_INET);
	struct pair p = pair(from);
	exchange(p.client, p.server);
	printf("-- after\n");
	edges();
	for (int i = 0; i < 4; i++)
		pthread_create(&threads[i], NULL, allocates, (void *)(uintptr_t)(i + 1));
	for (int i = 0; i < 20; i++) {
		pid_t pid = (pid_t)MUST(fork());

		if (!pid) {
			allocates((void *)9);
			_exit(0);
		}
		waitpid(pid, NULL, 0);
	}
	for (int i = 0; i < 4; i++)
		pthread_join(threads[i], NULL);
	exchange(p.client, p.server);
	if (argc > 1) {
		by_library(argv[1], RTLD_DEEPBIND, p);
		by_library(argv[1], RTLD_GLOBAL, p);
	}
	close_pair(p);
	return finish();
}
