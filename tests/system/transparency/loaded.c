/*
 * loaded.c - what a program can find out about the dynamic linker: what it
 * keeps for dlerror(), and a dl_iterate_phdr of the program's own, which
 * allocates, and leaves the work to the real one.
 */
#include "host.h"

#include <dlfcn.h>
#include <link.h>

typedef int (*visitor)(struct dl_phdr_info *, size_t, void *);

int dl_iterate_phdr(visitor visit, void *argument)
{
	static int (*real)(visitor, void *);
	char *volatile memory = malloc(1000);

	memset(memory, 1, 1000);
	if (!real)
		*(void **)(void *)&real = dlsym(RTLD_NEXT, "dl_iterate_phdr");
	int result = real(visit, argument);
	free(memory);
	return result;
}

static int count_names(struct dl_phdr_info *info, size_t size, void *count)
{
	(void)size;
	*(int *)count += strstr(info->dlpi_name, "libc.so") != NULL;
	return 0;
}

int main(void)
{
	int count = 0;

	SHOW(dl_iterate_phdr(count_names, &count));
	SHOW(dlsym(RTLD_DEFAULT, "what there is none of") != NULL);
	int from = listener(AF_INET);
	const char *error = dlerror();
	printf("dlerror: %s\n", error ? error : "none");
	SHOW(dlerror() != NULL);

	struct pair p = pair(from);
	exchange(p.client, p.server);
	SHOW(dlerror() != NULL);
	exchange(p.client, p.server);
	close_pair(p);
	printf("%d of libc\n", count);
	return finish();
}
