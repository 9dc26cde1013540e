/*
 * clock_shim.c - preloaded behind the agent, and to the collector: a machine
 * whose wall clock is stepped while they run. CLOCK_REALTIME and the kernel's
 * stamps of what arrived, which are of that clock, are both moved by all the
 * steps before them.
 *
 * CLOCK_SHIM names a file that the test appends steps to: the true time at
 * which one happens, and how far it goes, in ns.
 */
#include <dlfcn.h>
#include <fcntl.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#define STEPS 64
#define NS 1000000000

static struct {
	int64_t at; /* 0: no more */
	int64_t by;
} const *steps;

static void __attribute__((constructor)) begin(void)
{
	int fd = open(getenv("CLOCK_SHIM"), O_RDONLY | O_CLOEXEC);

	steps = mmap(NULL, STEPS * sizeof(*steps), PROT_READ, MAP_SHARED, fd, 0);
	close(fd);
	if (steps == MAP_FAILED)
		_exit(99);
}

static void move(struct timespec *at)
{
	int64_t ns = at->tv_sec * NS + at->tv_nsec, moved = ns;

	for (int i = 0; i < STEPS && steps[i].at && steps[i].at <= ns; i++)
		moved += steps[i].by;
	at->tv_sec = moved / NS;
	at->tv_nsec = moved % NS;
}

int clock_gettime(clockid_t clock, struct timespec *at)
{
	static int (*next)(clockid_t, struct timespec *);

	if (!next)
		next = (int (*)(clockid_t, struct timespec *))dlsym(RTLD_NEXT, "clock_gettime");
	int result = next(clock, at);
	if (!result && clock == CLOCK_REALTIME && steps)
		move(at);
	return result;
}

ssize_t recvmsg(int fd, struct msghdr *message, int flags)
{
	static ssize_t (*next)(int, struct msghdr *, int);

	if (!next)
		next = (ssize_t(*)(int, struct msghdr *, int))dlsym(RTLD_NEXT, "recvmsg");
	ssize_t result = next(fd, message, flags);
	for (struct cmsghdr *c = result > 0 ? CMSG_FIRSTHDR(message) : NULL; c; c = CMSG_NXTHDR(message, c))
		if (c->cmsg_level == SOL_SOCKET && c->cmsg_type == SO_TIMESTAMPNS_NEW) {
			struct timespec at;

			memcpy(&at, CMSG_DATA(c), sizeof(at));
			move(&at);
			memcpy(CMSG_DATA(c), &at, sizeof(at));
		}
	return result;
}
