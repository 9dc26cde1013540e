/* descriptors.c - duplicates, ranges, high numbers and their ends. */
#include "host.h"

#include <sys/resource.h>
#include <sys/syscall.h>

static int from;

/* ---- duplicates ---- */

static int by_dup(int fd)
{
	return (int)SHOW(dup(fd));
}

static int by_dup2(int fd)
{
	return (int)SHOW(dup2(fd, 90));
}

static int by_dup3(int fd)
{
	return (int)SHOW(dup3(fd, 91, O_CLOEXEC));
}

static int by_fcntl(int fd)
{
	return (int)SHOW(fcntl(fd, F_DUPFD, 70));
}

static int by_fcntl_cloexec(int fd)
{
	return (int)SHOW(fcntl(fd, F_DUPFD_CLOEXEC, 70));
}

static int by_syscall(int fd)
{
	return (int)SHOW(syscall(SYS_dup, fd));
}

static int by_syscall_dup2(int fd)
{
	return (int)SHOW(syscall(SYS_dup2, fd, 92));
}

static int (*const duplicates[])(int) = {by_dup,           by_dup2,    by_dup3,        by_fcntl,
					 by_fcntl_cloexec, by_syscall, by_syscall_dup2};
#define DUPLICATES (sizeof(duplicates) / sizeof(duplicates[0]))

/* Three descriptors of one connection, closed in each order, with requests in between. */
static void closed_in_every_order(void)
{
	static const int orders[6][3] = {{0, 1, 2}, {0, 2, 1}, {1, 0, 2}, {1, 2, 0}, {2, 0, 1}, {2, 1, 0}};

	for (size_t way = 0; way < DUPLICATES; way++) {
		for (int order = 0; order < 6; order++) {
			struct pair p = pair(from);
			int fds[3] = {p.server, 0, 0};

			fds[1] = duplicates[way](p.server);
			fds[2] = (int)MUST(dup(order % 2 ? fds[1] : p.server));
			exchange(p.client, fds[orders[order][2]]);
			for (int i = 0; i < 3; i++) {
				/* Open while one of its descriptors goes, answered by another. */
				ask(p.client);
				wait_readable(fds[orders[order][i]]);
				char got[100];
				MUST(read(fds[orders[order][i]], got, sizeof(got)));
				if (i < 2)
					SHOW(close(fds[orders[order][i]]));
				respond(fds[orders[order][2]]);
				answered(p.client);
			}
			close(fds[orders[order][2]]);
			SHOW(recv(p.client, (char[1]){0}, 1, 0));
			close(p.client);
		}
	}
}

static void of_the_listener(void)
{
	int other = (int)MUST(dup(from));

	for (int i = 0; i < 2; i++) {
		struct pair p = pair(i ? from : other);

		exchange(p.client, p.server);
		close_pair(p);
		if (!i) {
			/* The other descriptor becomes the first's number. */
			SHOW(dup2(other, from));
			SHOW(close(other));
		}
	}
}

static void onto_a_connection(void)
{
	struct pair a = pair(from), b = pair(from);

	exchange(a.client, a.server);
	exchange(b.client, b.server);
	SHOW(dup2(-1, a.server));
	SHOW(dup2(a.server, a.server));
	SHOW(dup3(a.server, a.server, 0));
	exchange(a.client, a.server);
	/* With a request open that a failing dup2 must not touch. */
	ask(a.client);
	wait_readable(a.server);
	char got[100];
	MUST(read(a.server, got, sizeof(got)));
	SHOW(dup2(999, a.server));
	SHOW(dup3(999, a.server, O_CLOEXEC));
	SHOW(syscall(SYS_dup2, 999, a.server));
	respond(a.server);
	answered(a.client);
	/* This ends a's connection, and b's is served by its number. */
	SHOW(dup2(b.server, a.server));
	SHOW(recv(a.client, got, 1, 0));
	close(a.client);
	exchange(b.client, a.server);
	SHOW(close(b.server));
	exchange(b.client, a.server);
	SHOW(close(a.server));
	SHOW(recv(b.client, got, 1, 0));
	close(b.client);
	/* A file takes the number of a connection. */
	struct pair c = pair(from);
	exchange(c.client, c.server);
	int file = (int)MUST(memfd_create("x", 0));
	SHOW(dup2(file, c.server));
	SHOW(write(c.server, head, 20));
	SHOW(lseek(c.server, 0, SEEK_SET));
	SHOW(read(c.server, got, sizeof(got)));
	close(file);
	close(c.server);
	close(c.client);
}

/* ---- numbers that go behind everybody's back ---- */

static long raw(long number, long a, long b, long c)
{
	long result;

	__asm__ volatile("syscall" : "=a"(result) : "a"(number), "D"(a), "S"(b), "d"(c) : "rcx", "r11", "memory");
	return result;
}

static void closed_unseen(void)
{
	struct pair p = pair(from);
	int ends[2];

	exchange(p.client, p.server);
	raw(SYS_close, p.server, 0, 0);
	/* Passed descriptors that nobody asks for are dropped with the data. */
	MUST(socketpair(AF_UNIX, SOCK_STREAM, 0, ends));
	printf("the number is taken again: %d\n", ends[0] == p.server);
	union {
		struct cmsghdr header;
		char room[CMSG_SPACE(2 * sizeof(int))];
	} control = {
	    .header = {.cmsg_len = CMSG_LEN(2 * sizeof(int)), .cmsg_level = SOL_SOCKET, .cmsg_type = SCM_RIGHTS}};
	memcpy(CMSG_DATA(&control.header), (int[2]){0, 1}, 2 * sizeof(int));
	char data[10] = "data";
	struct iovec v = {data, 4};
	struct msghdr m = {.msg_iov = &v, .msg_iovlen = 1, .msg_control = &control, .msg_controllen = sizeof(control)};
	SHOW(sendmsg(ends[1], &m, 0));
	SHOW(read(ends[0], data, 4));
	show_descriptors("afterwards");
	close(ends[0]);
	close(ends[1]);
	close(p.client);
}

/* ---- ranges ---- */

static void ranges(void)
{
	struct pair p[10];

	for (int i = 0; i < 10; i++) {
		p[i] = pair(from);
		MUST(dup2(p[i].client, 200 + i));
		MUST(dup2(p[i].server, 300 + i));
		close_pair(p[i]);
		p[i] = (struct pair){200 + i, 300 + i};
		exchange(p[i].client, p[i].server);
	}
	/* One is left with a request that it doesn't answer. */
	char got[100];
	ask(p[9].client);
	wait_readable(p[9].server);
	MUST(read(p[9].server, got, sizeof(got)));
	SHOW(close_range(9, 3, 0));
	SHOW(close_range(300, 303, 0x80));
	SHOW(close_range(300, 301, 4 /* CLOSE_RANGE_CLOEXEC */));
	exchange(p[0].client, p[0].server);
	SHOW(close_range(300, 303, 0));
	SHOW(syscall(SYS_close_range, 304, 305, 0));
	for (int i = 6; i < 9; i++)
		exchange(p[i].client, p[i].server);
	count_aborted();
	closefrom(306);
	for (int i = 0; i < 10; i++)
		SHOW(recv(p[i].client, got, 1, 0));
	SHOW(close_range(200, ~0u, 0));
	show_descriptors("after ranges");
}

/* ---- high numbers ---- */

static void high_numbers(void)
{
	struct rlimit limit, before;

	MUST(getrlimit(RLIMIT_NOFILE, &before));
	limit = before;
	limit.rlim_cur = limit.rlim_max < 20000 ? limit.rlim_max : 20000;
	MUST(setrlimit(RLIMIT_NOFILE, &limit));
	for (int i = 0; i < 3; i++) {
		static const int numbers[] = {1023, 1024, 1100};
		struct pair p = pair(from);
		int high = (int)SHOW(dup2(p.server, numbers[i]));

		close(p.server);
		exchange(p.client, high);
		close(high);
		close(p.client);
	}
	/* Accepted above 1024, at the very last number that there is, and at none. */
	limit.rlim_cur = 2000;
	MUST(setrlimit(RLIMIT_NOFILE, &limit));
	int next, files[2100], count = 0;
	int asks[2] = {client(), client()};
	while ((next = open("/dev/null", O_RDONLY)) >= 0)
		files[count++] = next;
	printf("the last: %d (%s)\n", files[count - 1], strerror(errno));
	SHOW(accept(from, NULL, NULL));
	SHOW(dup(from));
	SHOW(fcntl(from, F_DUPFD, 10));
	SHOW(dup2(from, 2000));
	SHOW(fcntl(from, F_DUPFD, 2000));
	close(files[--count]);
	int served_at = (int)SHOW(accept(from, NULL, NULL));
	exchange(asks[0], served_at);
	SHOW(accept4(from, NULL, NULL, SOCK_CLOEXEC));
	close(served_at);
	served_at = (int)SHOW(accept4(from, NULL, NULL, SOCK_CLOEXEC | SOCK_NONBLOCK));
	ask(asks[1]);
	wait_readable(served_at);
	serve(served_at);
	answered(asks[1]);
	close(served_at);
	while (count)
		close(files[--count]);
	close(asks[0]);
	close(asks[1]);
	MUST(setrlimit(RLIMIT_NOFILE, &before));
	show_descriptors("at the end");
}

int main(void)
{
	from = listener(AF_INET);
	closed_in_every_order();
	of_the_listener();
	onto_a_connection();
	closed_unseen();
	ranges();
	high_numbers();
	return finish();
}
