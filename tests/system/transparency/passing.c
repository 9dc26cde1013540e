/* passing.c - connections and listeners that come from other processes: passing WHAT */
#include "host.h"

#include <sys/syscall.h>

/* ---- by messages, as Node's cluster does ---- */

static void pass(int channel, const int *fds, size_t count, const char *text)
{
	union {
		struct cmsghdr header;
		char room[CMSG_SPACE(8 * sizeof(int))];
	} control = {
	    .header = {.cmsg_len = CMSG_LEN(count * sizeof(int)), .cmsg_level = SOL_SOCKET, .cmsg_type = SCM_RIGHTS}};
	struct iovec v = {(void *)(uintptr_t)text, strlen(text)};
	struct msghdr m = {
	    .msg_iov = &v, .msg_iovlen = 1, .msg_control = &control, .msg_controllen = CMSG_SPACE(count * sizeof(int))};

	memcpy(CMSG_DATA(&control.header), fds, count * sizeof(int));
	MUST(sendmsg(channel, &m, 0));
}

/* What comes, told in full. The first descriptor, or -1. */
static int take(int channel, size_t room, int flags)
{
	union {
		struct cmsghdr header;
		char room[CMSG_SPACE(8 * sizeof(int))];
	} control;
	char text[20];
	struct iovec v = {text, sizeof(text)};
	struct msghdr m = {.msg_iov = &v, .msg_iovlen = 1, .msg_control = &control, .msg_controllen = room};
	int fds[8] = {-1};

	SHOW(recvmsg(channel, &m, flags));
	printf("  control %zu, flags %x:", m.msg_controllen, (unsigned)m.msg_flags);
	for (struct cmsghdr *c = CMSG_FIRSTHDR(&m); c; c = CMSG_NXTHDR(&m, c)) {
		size_t count = (c->cmsg_len - CMSG_LEN(0)) / sizeof(int);

		memcpy(fds, CMSG_DATA(c), count * sizeof(int));
		for (size_t i = 0; i < count; i++)
			printf(" %d%s", fds[i], fcntl(fds[i], F_GETFD) ? " cloexec" : "");
	}
	printf("\n");
	return fds[0];
}

static void worker(int channel)
{
	char byte;

	/* Connections that were never read from. */
	for (int i = 0; i < 20; i++) {
		int fd = take(channel, 64, i % 2 ? MSG_CMSG_CLOEXEC : 0);

		while (serve(fd))
			;
		close(fd);
	}
	/* One that was: idle in between. */
	int fd = take(channel, 64, 0);
	serve(fd);
	close(fd);
	/* Peeked at, then taken: two descriptors of it. Then with too little room, and none. */
	fd = take(channel, 64, MSG_PEEK);
	int other = take(channel, 64, 0);
	serve(fd);
	close(fd);
	serve(other);
	close(other);
	close(take(channel, CMSG_SPACE(sizeof(int)), 0));
	take(channel, 4, 0);
	take(channel, 0, 0);
	SHOW(read(channel, &byte, 1));
	/* A listener. */
	int from = take(channel, 64, 0);
	for (int i = 0; i < 5; i++) {
		fd = (int)MUST(accept4(from, NULL, NULL, SOCK_CLOEXEC));
		while (serve(fd))
			;
		close(fd);
	}
	close(from);
	show_descriptors("worker");
	_exit(2);
}

static void by_messages(void)
{
	int from = listener(AF_INET), ends[2];
	pid_t pid;

	MUST(socketpair(AF_UNIX, SOCK_STREAM, 0, ends));
	pid = (pid_t)MUST(fork());
	if (!pid) {
		close(from);
		close(ends[1]);
		worker(ends[0]);
	}
	close(ends[0]);
	for (int i = 0; i < 20; i++) {
		struct pair p = pair(from);

		pass(ends[1], &p.server, 1, "connection");
		close(p.server);
		for (int n = 0; n < 3; n++) {
			ask(p.client);
			answered(p.client);
		}
		close(p.client);
	}
	struct pair p = pair(from);
	exchange(p.client, p.server);
	pass(ends[1], &p.server, 1, "idle");
	close(p.server);
	ask(p.client);
	answered(p.client);
	close(p.client);

	p = pair(from);
	pass(ends[1], &p.server, 1, "peeked");
	close(p.server);
	for (int n = 0; n < 2; n++) {
		ask(p.client);
		answered(p.client);
	}
	close(p.client);
	int several[3] = {0, 1, 2};
	usleep(20000);
	pass(ends[1], several, 3, "several");
	usleep(20000);
	pass(ends[1], several, 1, "no room");
	usleep(20000);
	pass(ends[1], several, 1, "none");
	usleep(20000);
	pass(ends[1], several, 1, "x");
	usleep(20000);
	pass(ends[1], &from, 1, "listener");
	close(from);
	for (int i = 0; i < 5; i++) {
		int fd = client();

		for (int n = 0; n < 3; n++) {
			ask(fd);
			answered(fd);
		}
		close(fd);
	}
	show_status("worker", pid);
	show_descriptors("parent");
}

/* ---- through exec, from a program that is no server itself ---- */

/* Behind the back of everybody: this program stands for one that isn't watched. */
static long raw(long number, long a, long b, long c)
{
	long result;

	__asm__ volatile("syscall" : "=a"(result) : "a"(number), "D"(a), "S"(b), "d"(c) : "rcx", "r11", "memory");
	return result;
}

static void activate(void)
{
	int from = bound(AF_INET);

	raw(SYS_listen, from, 10, 0);
	dup2(from, 3);
	setenv("LISTEN_FDS", "1", 1);
	execl("/proc/self/exe", "passing", "activated", NULL);
}

static int activated(void)
{
	const int from = 3;

	printf("LISTEN_FDS %s\n", getenv("LISTEN_FDS"));
	address_size = sizeof(address);
	MUST(getsockname(from, (struct sockaddr *)&address, &address_size));
	for (int i = 0; i < 5; i++) {
		struct pair p = pair(from);
		int value = 5;
		socklen_t size = sizeof(value);

		exchange(p.client, p.server);
		SHOW(getsockopt(p.server, SOL_SOCKET, SO_TIMESTAMPNS, &value, &size));
		printf("%d\n", value);
		exchange(p.client, p.server);
		close_pair(p);
	}
	show_descriptors("activated");
	return finish();
}

/* As inetd: the connection is standard input and output. */
static void inetd(void)
{
	int from = bound(AF_INET);

	raw(SYS_listen, from, 10, 0);
	pid_t pid = (pid_t)MUST(fork());
	if (!pid) {
		int fd = (int)raw(SYS_accept, from, 0, 0);

		dup2(fd, 0);
		dup2(fd, 1);
		close(fd);
		close(from);
		execl("/proc/self/exe", "passing", "on-stdin", NULL);
	}

	int fd = client();
	for (int i = 0; i < 4; i++) {
		ask(fd);
		answered(fd);
	}
	close(fd);
	show_status("inetd's child", pid);
	*served += 4;
}

static int on_stdin(void)
{
	char buffer[100];
	ssize_t n;

	while ((n = read(0, buffer, sizeof(head) - 1)) > 0)
		if (write(1, answer, sizeof(answer) - 1) < 0)
			return 1;
	return n == 0 ? 6 : 7;
}

/* Serves N connections of other programs on descriptor 3, for systemd-socket-activate. */
static int serve_activated(int count)
{
	while (count--) {
		int fd = (int)MUST(accept(3, NULL, NULL));

		while (serve(fd))
			;
		close(fd);
	}
	return finish();
}

int main(int argc, char **argv)
{
	const char *what = argc > 1 ? argv[1] : "";

	if (!strcmp(what, "messages"))
		by_messages();
	else if (!strcmp(what, "activate"))
		activate();
	else if (!strcmp(what, "activated"))
		return activated();
	else if (!strcmp(what, "inetd"))
		inetd();
	else if (!strcmp(what, "on-stdin"))
		return on_stdin();
	else if (!strcmp(what, "serve") && argc > 2)
		return serve_activated(atoi(argv[2]));
	else
		return 2;
	return finish();
}
