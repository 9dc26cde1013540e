/*
 * attach_control.c - in a test's server, what an attacher would do from
 * outside: attaches and detaches in a thread of its own, as the words say that
 * come by a socket. Loaded by LD_PRELOAD; "CONTROL" is the socket's path.
 *
 *    attach LIBRARY TOKEN | detach | release | load FILE | churn FILE COUNT |
 *    fork COUNT | vfork MS | forbid CALL LIBRARY TOKEN
 *
 * The answer is the result, a number.
 */
#include "reqscope/attach_words.h"

#include <dlfcn.h>
#include <errno.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <poll.h>
#include <pthread.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <time.h>
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

/* Children that live on, one after the other, while other words are obeyed. */
static void *fork_on(void *count)
{
	const struct timespec pause_ = { .tv_nsec = 5000000 };

	for (long n = (long)count; n > 0; n--) {
		if (fork() == 0)
			for (;;)
				poll(NULL, 0, 10000);
		nanosleep(&pause_, NULL);
	}
	return NULL;
}

static long begin_to_fork(long count)
{
	pthread_t thread;

	return pthread_create(&thread, NULL, fork_on, (void *)count);
}

/* A child on our memory, which closes its descriptors and executes something else after that time, while other words are obeyed. */
static void *vfork_one(void *ms)
{
	if (vfork() == 0) {
		poll(NULL, 0, (int)(long)ms);
		for (int fd = 3; fd < 64; fd++)
			close(fd);
		execl("/bin/true", "true", NULL);
		_exit(1);
	}
	return NULL;
}

static long begin_to_vfork(long ms)
{
	pthread_t thread;

	return pthread_create(&thread, NULL, vfork_one, (void *)ms);
}

/*
 * Attaches in a child of its own, in which a call fails with EPERM, and which lives on: its
 * number, and the result, negated, in the lower 16 bits.
 */
static long attach_without(int call, const char *path, const char *token)
{
	struct sock_filter filter[] = {
		BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, nr)),
		BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, (unsigned)call, 0, 1),
		BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ERRNO | EPERM),
		BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW),
	};
	struct sock_fprog program = { .len = 4, .filter = filter };
	int ends[2];
	long result = 0;

	if (pipe(ends))
		return -1;
	pid_t pid = fork();
	if (pid == 0) {
		prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0);
		prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &program);
		result = attach(path, token);
		write(ends[1], &result, sizeof(result));
		for (;;)
			pause();
	}
	close(ends[1]);
	if (read(ends[0], &result, sizeof(result)) != sizeof(result))
		result = 0;
	close(ends[0]);
	return (long)pid << 16 | (-result & 0xffff);
}

static long obey(const char *words)
{
	char path[4096], token[128];
	int number;

	if (sscanf(words, "attach %4095s %127s", path, token) == 2)
		return attach(path, token);
	if (sscanf(words, "load %4095s", path) == 1)
		return dlopen(path, RTLD_NOW) ? 0 : -1;
	if (sscanf(words, "fork %d", &number) == 1)
		return begin_to_fork(number);
	if (sscanf(words, "vfork %d", &number) == 1)
		return begin_to_vfork(number);
	if (sscanf(words, "forbid %d %4095s %127s", &number, path, token) == 3)
		return attach_without(number, path, token);
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
