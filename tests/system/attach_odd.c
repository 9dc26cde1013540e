/*
 * attach_odd.c - a program of objects whose calls lead out by unusual ways.
 *    attach_odd NAME=FLAGS:FILE...
 * loads the files: FLAGS of "l" lazily, "d" for its own dependencies first, "n"
 * into a namespace of its own. Each has a function use(), which makes calls
 * and tells their results as one number. Obeys lines of its input:
 *    use      prints NAME=number of all
 *    churn    loads and unloads those named "churn..." all the time, and calls
 *             each for the first time in two threads at once
 *    rest     ends that; prints how often, and how often the number was another
 */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <poll.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define MOST 16

static struct object {
	const char *name, *flags, *file;
	long (*use)(void);
	pthread_t churner;
	long times, wrong;
} objects[MOST];
static int count;
static volatile int churning;

static void *load(struct object *object)
{
	int how = strchr(object->flags, 'l') ? RTLD_LAZY : RTLD_NOW;
	void *loaded = strchr(object->flags, 'n') ?
			       dlmopen(LM_ID_NEWLM, object->file, how) :
			       dlopen(object->file, how | (strchr(object->flags, 'd') ? RTLD_DEEPBIND : 0));

	if (!loaded) {
		fprintf(stderr, "%s\n", dlerror());
		exit(1);
	}
	*(void **)(void *)&object->use = dlsym(loaded, "use");
	return loaded;
}

static void *call(void *object)
{
	return (void *)((struct object *)object)->use();
}

static void *churn(void *argument)
{
	struct object *object = argument;
	long expected = 0;

	while (churning) {
		void *loaded = load(object), *other;
		pthread_t thread;

		if (pthread_create(&thread, NULL, call, object))
			exit(1);
		long own = object->use();
		pthread_join(thread, &other);
		expected = object->times++ ? expected : own;
		object->wrong += own != expected || (long)other != expected;
		if (churning)
			dlclose(loaded); /* the last one stays */
	}
	return NULL;
}

static int is_churner(const struct object *object)
{
	return !strncmp(object->name, "churn", 5);
}

static void obey(const char *words)
{
	long times = 0, wrong = 0;

	churning = words[0] == 'c';
	for (struct object *object = objects; object < objects + count; object++) {
		if (!is_churner(object)) {
			if (words[0] == 'u')
				printf("%s=%ld ", object->name, object->use());
		} else if (words[0] == 'c') {
			pthread_create(&object->churner, NULL, churn, object);
		} else if (words[0] == 'r') {
			pthread_join(object->churner, NULL);
			times += object->times;
			wrong += object->wrong;
		}
	}
	if (words[0] == 'r')
		printf("%ld %ld", times, wrong);
	printf("\n");
	fflush(stdout);
}

int main(int argc, char **argv)
{
	struct pollfd input = { .events = POLLIN };
	char words[16];

	for (; count + 1 < argc && count < MOST; count++) {
		struct object *object = &objects[count];

		object->name = strtok(argv[count + 1], "=");
		object->flags = strtok(NULL, ":");
		object->file = strtok(NULL, "");
		if (!is_churner(object))
			load(object);
	}
	printf("ready\n");
	fflush(stdout);
	while (poll(&input, 1, -1) >= 0) {
		ssize_t n = read(0, words, sizeof(words) - 1);

		if (n <= 0)
			break;
		obey(words);
	}
	return 0;
}
