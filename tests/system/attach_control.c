/*
 * attach_control.c - in a test's server, what an attacher would do from
 * outside: attaches and detaches in a thread of its own, as the words say that
 * come by a socket. Loaded by LD_PRELOAD; "CONTROL" is the socket's path.
 *
 *    attach LIBRARY TOKEN | detach | release | load FILE | churn FILE COUNT
 *
 * The answer is the result, a number.
 */
#include "reqscope/attach_words.h"

#include <dlfcn.h>
#include <poll.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

static void *library;

static long attach(const char *path, const char *token)
{
	static struct rqs_attach_words words;
	long (*call)(const struct rqs_attach_words *);

	if (!library)
		library = dlopen(path, RTLD_NOW | RTLD_LOCAL);
	if (!library) {
		fprintf(stderr, "%s\n", dlerror());
		return -1;
	}
	words.version = RQS_REGION_VERSION;
	strncpy(words.token, token, sizeof(words.token) - 1);
	*(void **)(void *)&call = dlsym(library, RQS_ATTACH_SYMBOL);
	return call(&words);
}

static long call_named(const char *name)
{
	long (*call)(void);

	*(void **)(void *)&call = library ? dlsym(library, name) : NULL;
	return call ? call() : -1;
}

/* Loads and unloads it again and again, while another thread makes calls that hooks are in all the time. */
static struct {
	char path[4096];
	int count;
	volatile int ended;
} churning;

static void *load_and_unload(void *nothing)
{
	for (int i = 0; i < churning.count; i++) {
		void *loaded = dlopen(churning.path, RTLD_NOW);

		if (loaded)
			dlclose(loaded);
	}
	churning.ended = 1;
	return nothing;
}

static long churn(void)
{
	pthread_t thread;

	churning.ended = 0;
	if (pthread_create(&thread, NULL, load_and_unload, NULL))
		return -1;
	while (!churning.ended)
		poll(NULL, 0, 0);
	pthread_join(thread, NULL);
	return 0;
}

static long obey(const char *words)
{
	char path[4096], token[128];

	if (sscanf(words, "attach %4095s %127s", path, token) == 2)
		return attach(path, token);
	if (sscanf(words, "load %4095s", path) == 1)
		return dlopen(path, RTLD_NOW) ? 0 : -1;
	if (sscanf(words, "churn %4095s %d", churning.path, &churning.count) == 2)
		return churn();
	if (!strcmp(words, "detach"))
		return call_named(RQS_DETACH_SYMBOL);
	return !strcmp(words, "release") ? call_named(RQS_RELEASE_SYMBOL) : -1;
}

/* Datagrams: neither the server's connections nor taken for any. */
static void *listen_to(void *socket_)
{
	int fd = (int)(long)socket_;

	for (;;) {
		struct sockaddr_un from;
		socklen_t size = sizeof(from);
		char words[8192], answer[32];
		ssize_t n = recvfrom(fd, words, sizeof(words) - 1, 0, (struct sockaddr *)&from, &size);

		if (n < 0)
			continue;
		words[n] = 0;
		snprintf(answer, sizeof(answer), "%ld", obey(words));
		sendto(fd, answer, strlen(answer), 0, (struct sockaddr *)&from, size);
	}
	return NULL;
}

static void __attribute__((constructor)) begin(void)
{
	const char *path = getenv("CONTROL");
	struct sockaddr_un address = { .sun_family = AF_UNIX };
	pthread_t thread;

	unsetenv("LD_PRELOAD");
	if (!path || strlen(path) >= sizeof(address.sun_path))
		return;
	unsetenv("CONTROL");
	strcpy(address.sun_path, path);
	int fd = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0);
	if (fd >= 0 && !bind(fd, (struct sockaddr *)&address, sizeof(address)))
		pthread_create(&thread, NULL, listen_to, (void *)(long)fd);
}
