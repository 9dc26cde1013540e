/*
 * linking.c - what a program may do to the dynamic linker's list of objects
 * before it serves:
 *
 *    linking unhashed LIBRARY   it has loaded an object without any bucket in its hash table
 *    linking forked             it forks while another of its threads walks the list; the child serves
 *    linking unknown            it is a Python that nobody knows yet, and counts who walks the list
 */
#include "host.h"

#include <dlfcn.h>
#include <elf.h>
#include <link.h>
#include <semaphore.h>
#include <sys/sendfile.h>

static void serve_one(void)
{
	int from = listener(AF_INET);
	int to = client();
	int accepted = (int)MUST(accept(from, NULL, NULL));

	exchange(to, accepted);
	close(to);
	close(accepted);
	close(from);
}

/* ---- an object that exports nothing by its hash table ---- */

/* GNU's: buckets, first symbol, words and shift of a filter, and that filter, which is made to let all pass. */
static void empty_table(int fd, const Elf64_Shdr *section)
{
	const uint32_t buckets = 0, shift = 0, words = 1;
	const uint64_t all = ~0ull;
	off_t at = (off_t)section->sh_offset;

	MUST(pwrite(fd, &buckets, sizeof(buckets), at));
	if (section->sh_type == SHT_HASH)
		return;
	MUST(pwrite(fd, &words, sizeof(words), at + 8));
	MUST(pwrite(fd, &shift, sizeof(shift), at + 12));
	MUST(pwrite(fd, &all, sizeof(all), at + 16));
}

static void empty_tables(int fd)
{
	Elf64_Ehdr elf;

	MUST(pread(fd, &elf, sizeof(elf), 0));
	for (int i = 0; i < elf.e_shnum; i++) {
		Elf64_Shdr section;

		MUST(pread(fd, &section, sizeof(section), (off_t)(elf.e_shoff + (size_t)i * sizeof(section))));
		if (section.sh_type == SHT_GNU_HASH || section.sh_type == SHT_HASH)
			empty_table(fd, &section);
	}
}

static void unhashed(const char *library)
{
	char copy[] = "./unhashed-XXXXXX";
	int from = (int)MUST(open(library, O_RDONLY)), to = (int)MUST(mkstemp(copy));

	MUST(sendfile(to, from, NULL, 1 << 24));
	empty_tables(to);
	printf("loaded: %d\n", dlopen(copy, RTLD_NOW | RTLD_GLOBAL) != NULL);
	unlink(copy);
	close(from);
	close(to);
	serve_one();
}

/* ---- a fork while the list is locked ---- */

static sem_t walking, forked;

static int stay(struct dl_phdr_info *info, size_t size, void *argument)
{
	(void)info;
	(void)size;
	(void)argument;
	sem_post(&walking);
	sem_wait(&forked);
	return 1;
}

static void *walk(void *argument)
{
	dl_iterate_phdr(stay, argument);
	return NULL;
}

/* What a child may use first of all processes: it is there without being looked for. */
static void use_a_condition(void)
{
	pthread_mutex_t mutex = PTHREAD_MUTEX_INITIALIZER;
	pthread_cond_t condition = PTHREAD_COND_INITIALIZER;
	struct timespec until = {0};

	MUST(pthread_mutex_lock(&mutex));
	MUST(pthread_cond_signal(&condition));
	SHOW(pthread_cond_timedwait(&condition, &mutex, &until));
	MUST(pthread_mutex_unlock(&mutex));
	fflush(stdout);
}

static void while_walked(void)
{
	pthread_t walker;
	int status;

	sem_init(&walking, 0, 0);
	sem_init(&forked, 0, 0);
	MUST(pthread_create(&walker, NULL, walk, NULL));
	sem_wait(&walking);
	pid_t child = (pid_t)MUST(fork());
	if (!child) {
		alarm(20); /* what hangs is ended */
		use_a_condition();
		serve_one();
		_exit(7);
	}
	sem_post(&forked);
	pthread_join(walker, NULL);
	MUST(waitpid(child, &status, 0));
	printf("the child's status: %x\n", status);
}

/* ---- who walks ---- */

typedef int (*visitor)(struct dl_phdr_info *, size_t, void *);

static unsigned walks;

int dl_iterate_phdr(visitor visit, void *argument)
{
	static int (*real)(visitor, void *);

	walks++;
	if (!real)
		*(void **)(void *)&real = dlsym(RTLD_NEXT, "dl_iterate_phdr");
	return real(visit, argument);
}

const char *Py_GetVersion(void);

const char *Py_GetVersion(void)
{
	return "3.999.0";
}

static void unknown(void)
{
	serve_one();
	unsigned before = walks;
	for (int i = 0; i < 10; i++)
		serve_one();
	printf("walks of the list in 10 connections: %u\n", walks - before);
}

int main(int argc, char **argv)
{
	if (argc > 2 && !strcmp(argv[1], "unhashed"))
		unhashed(argv[2]);
	else if (argc > 1 && !strcmp(argv[1], "unknown"))
		unknown();
	else
		while_walked();
	return finish();
}
