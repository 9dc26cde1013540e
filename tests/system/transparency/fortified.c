/*
 * fortified.c - calls by the names that a fortified build gives them
 * (_FORTIFY_SOURCE, Debian's default): fortified [overflow]
 */
#undef _FORTIFY_SOURCE
#define _FORTIFY_SOURCE 2
#include "host.h"

#include <sys/epoll.h>
#include <sys/select.h>

static volatile size_t too_many = 101;

/* Reads a request whole, by each of the checked calls in turn, into an array whose size the compiler knows. */
static void serve_checked(struct pair p, int way)
{
	char got[100];
	volatile size_t n = sizeof(head) - 1; /* so that it has to be checked */
	struct pollfd fds[2] = {{.fd = p.server, .events = POLLIN}, {.fd = p.client, .events = POLLPRI}};
	volatile nfds_t count = 2;

	ask(p.client);
	if (way % 2)
		SHOW(poll(fds, count, -1));
	else
		SHOW(ppoll(fds, count, NULL, NULL));
	/* An event loop's allocations are nobody's in particular. */
	free(malloc(100));
	switch (way) {
	case 0:
		SHOW(read(p.server, got, n));
		break;
	case 1:
		SHOW(recv(p.server, got, n, 0));
		break;
	default:
		SHOW(recvfrom(p.server, got, n, 0, NULL, NULL));
	}
	show_bytes("got", got, n);
	respond(p.server);
	answered(p.client);
}

static void overflow(struct pair p, int way)
{
	char got[100];
	struct pollfd fds[2] = {{.fd = p.server}};
	pid_t pid = (pid_t)MUST(fork());

	if (pid) {
		show_status("overflow", pid);
		return;
	}
	switch (way) {
	case 0:
		read(p.server, got, too_many);
		break;
	case 1:
		recv(p.server, got, too_many, 0);
		break;
	case 2:
		recvfrom(p.server, got, too_many, 0, NULL, NULL);
		break;
	case 3:
		poll(fds, too_many, 0);
		break;
	default:
		ppoll(fds, too_many, &(struct timespec){0}, NULL);
	}
	_exit(0);
}

int main(void)
{
	int from = listener(AF_INET);
	struct pair p = pair(from);

	for (int way = 0; way < 3; way++)
		serve_checked(p, way);
	for (int way = 0; way < 5; way++)
		overflow(p, way);
	close_pair(p);
	return finish();
}
