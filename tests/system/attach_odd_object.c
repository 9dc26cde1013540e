/*
 * attach_odd_object.c - an object of attach_odd.c's. What is built of it is told
 * by macros: RIVAL defines a function of libc's itself; CHOSEN, too, by an
 * IFUNC; POINTERS calls by variables.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <poll.h>
#include <stdlib.h>
#include <sys/sendfile.h>
#include <sys/socket.h>
#include <unistd.h>

#if defined(RIVAL)
int shutdown(int fd, int how)
{
	(void)fd;
	(void)how;
	return 1000;
}
#elif defined(CHOSEN)
static ssize_t chosen(int to, int from, off_t *offset, size_t count)
{
	(void)to;
	(void)from;
	(void)offset;
	(void)count;
	return 20000;
}

static void *choose(void)
{
	return (void *)chosen;
}

ssize_t sendfile(int to, int from, off_t *offset, size_t count) __attribute__((ifunc("choose")));
#else
#ifdef POINTERS
static int (*shutdown_)(int, int) = shutdown;
static ssize_t (*const read_)(int, void *, size_t) = read;
ssize_t (*volatile write_)(int, const void *, size_t) = write;
#else
#define shutdown_ shutdown
#define read_ read
#define write_ write
#endif

static long told(long result)
{
	return result < 0 ? errno : result;
}

long use(void)
{
	char room[8] = "";
	int value = 0;
	unsigned size = sizeof(value);
	long sum = told(read_(-1, room, 8)) + told(write_(-1, room, 8)) + told(shutdown_(-1, SHUT_WR));

	sum += told(recv(-1, room, 8, 0)) + told(send(-1, room, 8, 0)) + told(sendfile(-1, -1, NULL, 8));
	sum += told(getsockopt(-1, SOL_SOCKET, SO_TYPE, &value, &size)) + told(dup(-1)) + told(listen(-1, 1));
	sum += told(poll(NULL, 0, 0)) + told(accept(-1, NULL, NULL)) + told(close(-1));
	free(realloc(malloc(100), 200));
	free(calloc(1, 10));
	return sum;
}
#endif
