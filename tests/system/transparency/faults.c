/* faults.c - bad pointers: where the kernel says EFAULT, nothing else happens. */
#include "host.h"

#include <sys/epoll.h>
#include <sys/select.h>
#include <sys/sendfile.h>
#include <sys/uio.h>

/* Volatile, so that no compiler sees what is coming. */
static void *volatile low = (void *)8;
static void *volatile high = (void *)-4096;
static char *volatile wall; /* nothing may be touched from here on; 100 bytes in front of it may */
static struct sockaddr_storage name;

static void reads(struct pair p)
{
	struct iovec v = {low, 10};
	struct msghdr m = {.msg_iov = &v, .msg_iovlen = 1};
	struct mmsghdr many[2] = {{.msg_hdr = m}, {.msg_hdr = m}};

	for (int i = 0; i < 2; i++) {
		printf("%s\n", i ? "with data:" : "without:");
		if (i) {
			ask(p.client);
			wait_readable(p.server);
		} else {
			MUST(fcntl(p.server, F_SETFL, O_NONBLOCK));
		}
		SHOW(read(p.server, low, 10));
		SHOW(read(p.server, NULL, 10));
		SHOW(read(p.server, high, 10));
		SHOW(readv(p.server, low, 1));
		SHOW(readv(p.server, &v, 1));
		SHOW(recv(p.server, low, 10, 0));
		SHOW(recv(p.server, wall, 10, MSG_PEEK));
		SHOW(recvfrom(p.server, low, 10, 0, NULL, NULL));
		SHOW(recvmsg(p.server, NULL, 0));
		SHOW(recvmsg(p.server, low, 0));
		SHOW(recvmsg(p.server, high, 0));
		SHOW(recvmsg(p.server, (void *)(wall - 8), 0));
		SHOW(recvmsg(p.server, &m, 0));
		m.msg_iov = low;
		SHOW(recvmsg(p.server, &m, 0));
		m.msg_iov = &v;
		SHOW(recvmmsg(p.server, low, 2, 0, NULL));
		SHOW(recvmmsg(p.server, many, 2, 0, low));
		SHOW(recvmmsg(p.server, many, 2, 0, NULL));
	}
	/* Half of it fits. */
	SHOW(read(p.server, wall - 4, 20));
	SHOW(recv(p.server, wall - 4, 20, MSG_PEEK));
	show_bytes("taken", wall - 4, 4);
	struct iovec half[2] = {{wall - 6, 6}, {wall, 9}};
	SHOW(readv(p.server, half, 2));
	show_bytes("taken", wall - 6, 6);
	/* Read-only memory. */
	SHOW(read(p.server, (char *)(uintptr_t)head, 3));
	char rest[100];
	long n = SHOW(read(p.server, rest, sizeof(rest)));
	show_bytes("rest", rest, n > 0 ? (size_t)n : 0);
}

static void writes(struct pair p)
{
	struct iovec v = {low, 10};
	struct msghdr m = {.msg_iov = &v, .msg_iovlen = 1};
	struct mmsghdr many[2] = {{.msg_hdr = m}, {.msg_hdr = m}};

	SHOW(write(p.server, low, 10));
	SHOW(writev(p.server, low, 1));
	SHOW(writev(p.server, &v, 1));
	SHOW(send(p.server, high, 10, 0));
	SHOW(sendto(p.server, low, 10, 0, NULL, 0));
	SHOW(sendto(p.server, "x", 1, 0, low, 16));
	SHOW(sendmsg(p.server, NULL, 0));
	SHOW(sendmsg(p.server, low, 0));
	SHOW(sendmsg(p.server, (void *)(wall - 8), 0));
	SHOW(sendmsg(p.server, &m, 0));
	SHOW(sendmmsg(p.server, low, 2, 0));
	SHOW(sendmmsg(p.server, many, 2, 0));
	SHOW(sendfile(p.server, 0, low, 10));
	SHOW(splice(p.server, low, p.server, NULL, 10, 0));
	/* On no socket at all. */
	SHOW(sendmsg(-1, NULL, 0));
	SHOW(sendmsg(-1, low, 0));
	SHOW(recvmsg(-1, low, 0));
	SHOW(write(-1, low, 9));
}

static void others(struct pair p, int from)
{
	socklen_t size = sizeof(int);
	int value = 0;

	SHOW(getsockopt(p.server, SOL_SOCKET, SO_TIMESTAMPNS, low, &size));
	SHOW(getsockopt(p.server, SOL_SOCKET, SO_TIMESTAMPNS, &value, low));
	SHOW(getsockopt(p.server, SOL_SOCKET, SO_TIMESTAMPNS, wall - 2, &size));
	SHOW(getsockopt(p.server, SOL_SOCKET, SO_TYPE, low, &size));
	SHOW(setsockopt(p.server, SOL_SOCKET, SO_TIMESTAMP, low, sizeof(int)));
	SHOW(setsockopt(p.server, SOL_SOCKET, SO_TIMESTAMPNS, &value, 1));
	SHOW(poll(low, 2, 0));
	SHOW(ppoll(low, 2, NULL, NULL));
	SHOW(select(20, low, NULL, NULL, NULL));
	SHOW(select(20, NULL, NULL, high, NULL));
	SHOW(select(2000000, (fd_set *)(wall - 8), NULL, NULL, NULL));
	SHOW(pselect(20, NULL, low, NULL, NULL, NULL));
	int epoll = (int)MUST(epoll_create1(0));
	struct epoll_event event = {.events = EPOLLIN};
	MUST(epoll_ctl(epoll, EPOLL_CTL_ADD, from, &event));
	int asks = client();
	SHOW(epoll_wait(epoll, low, 10, -1));
	SHOW(epoll_wait(epoll, &event, 0, -1));
	size = sizeof(name);
	SHOW(accept(from, low, &size) < 0);
	close(asks);
	SHOW(accept4(from, NULL, NULL, 0xffff));
	SHOW(connect(asks, low, 16));
	SHOW(dup2(-1, p.server));
	SHOW(dup3(p.server, p.server, 0));
	SHOW(dup3(-1, p.server, O_CLOEXEC));
	SHOW(close_range(9, 3, 0));
	SHOW(execve(low, (char *[]){"x", NULL}, environ));
	SHOW(execve("/bin/true", (char *[]){"true", NULL}, low));
	SHOW(execve("/bin/true", (char *[]){"true", NULL}, high));
	SHOW(execve("/nonexistent", (char *[]){"x", NULL}, NULL));
	close(epoll);
}

int main(void)
{
	int from = listener(AF_INET);
	struct pair p = pair(from);
	char *pages = mmap(NULL, 8192, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

	wall = pages + 4096;
	MUST(mprotect(wall, 4096, PROT_NONE));
	/* First what is on no connection of a server yet. */
	SHOW(sendmsg(p.client, NULL, 0));
	SHOW(recvmsg(p.client, low, MSG_DONTWAIT));
	reads(p);
	writes(p);
	others(p, from);
	respond(p.server);
	answered(p.client);
	exchange(p.client, p.server);
	close_pair(p);
	return finish();
}
