/* writes.c - every way to write a response: writes inet|inet6|unix */
#include "host.h"

#include <sys/sendfile.h>
#include <sys/uio.h>

#define BODY 2000000
static char *body;
static char response[200];
static size_t head_length;

static void on_pipe(int signal)
{
	(void)signal;
	show("SIGPIPE", 0, KEPT);
}

/* ---- the reading side, in a thread of its own ---- */

static unsigned long sum;
static size_t total;

static void *reads_all(void *argument)
{
	static char part[65536];
	ssize_t n;
	int fd = *(int *)argument;

	while (total < head_length + BODY && (n = recv(fd, part, sizeof(part), 0)) > 0) {
		for (ssize_t i = 0; i < n; i++)
			sum = sum * 33 + (unsigned char)part[i];
		total += (size_t)n;
	}
	return NULL;
}

/* ---- the ways ---- */

static void all(const char *what, long n, size_t wanted)
{
	if (n != (long)wanted)
		printf("%s: %ld of %zu (%s)\n", what, n, wanted, strerror(errno));
}

static void wait_writable(int fd)
{
	struct pollfd p = {.fd = fd, .events = POLLOUT};

	poll(&p, 1, 10000);
}

static void by_write(int fd)
{
	all("head", SHOW(write(fd, response, head_length)), head_length);
	all("body", SHOW(write(fd, body, BODY)), BODY);
}

static void by_bytes(int fd)
{
	for (size_t i = 0; i < head_length; i++)
		all("byte", write(fd, response + i, 1), 1);
	SHOW(write(fd, body, 0));
	all("body", SHOW(send(fd, body, BODY, MSG_MORE | MSG_NOSIGNAL)), BODY);
}

static void by_partial_writes(int fd)
{
	size_t at = 0;

	MUST(fcntl(fd, F_SETFL, O_NONBLOCK));
	all("head", SHOW(send(fd, response, head_length, 0)), head_length);
	while (at < BODY) {
		ssize_t n = write(fd, body + at, BODY - at);

		if (n < 0 && errno == EAGAIN)
			wait_writable(fd);
		else
			at += (size_t)MUST(n);
	}
}

static void by_vectors(int fd)
{
	struct iovec v[4] = {{response, head_length}, {NULL, 0}, {body, 10}, {body + 10, BODY - 10}};

	SHOW(writev(fd, v, 0));
	SHOW(writev(fd, v, -1));
	SHOW(writev(fd, v + 1, 1));
	all("vectors", SHOW(writev(fd, v, 4)), head_length + BODY);
}

static void by_sendto(int fd)
{
	all("head", SHOW(sendto(fd, response, head_length, 0, NULL, 0)), head_length);
	all("body", SHOW(sendto(fd, body, BODY, MSG_NOSIGNAL, NULL, 0)), BODY);
}

static void by_messages(int fd)
{
	struct iovec v[2] = {{response, head_length}, {body, 100}};
	struct iovec w[2] = {{body + 100, 100}, {body + 200, BODY - 200}};
	struct msghdr m = {.msg_iov = v, .msg_iovlen = 2};
	struct mmsghdr many[2] = {{.msg_hdr = {.msg_iov = w, .msg_iovlen = 1}},
				  {.msg_hdr = {.msg_iov = w + 1, .msg_iovlen = 1}}};

	all("message", SHOW(sendmsg(fd, &m, 0)), head_length + 100);
	SHOW(sendmmsg(fd, many, 2, 0));
	printf("%u %u\n", many[0].msg_len, many[1].msg_len);
}

static int file(void)
{
	int fd = (int)MUST(memfd_create("body", 0));

	MUST(write(fd, body, BODY));
	return fd;
}

static void by_sendfile(int fd)
{
	int from = file();
	off_t at = 0;

	all("head", SHOW(write(fd, response, head_length)), head_length);
	while (at < BODY)
		MUST(sendfile(fd, from, &at, BODY - (size_t)at));
	printf("offset %ld\n", (long)at);
	SHOW(sendfile(fd, from, &at, 10));
	SHOW(sendfile(fd, 999, NULL, 10));
	close(from);
}

static void by_splice(int fd)
{
	off64_t at = 0;
	int from = file(), ends[2];

	MUST(pipe(ends));
	all("head", SHOW(write(fd, response, head_length)), head_length);
	while (at < BODY) {
		long n = MUST(splice(from, &at, ends[1], NULL, 65536, 0));

		while (n > 0)
			n -= MUST(splice(ends[0], NULL, fd, NULL, (size_t)n, 0));
	}
	SHOW(splice(-1, NULL, fd, NULL, 10, 0));
	close(ends[0]);
	close(ends[1]);
	close(from);
}

static void with_a_file_on_both_sides(int fd)
{
	/* A second descriptor writes the rest. */
	int other = (int)MUST(dup(fd));

	all("head", SHOW(write(fd, response, head_length)), head_length);
	all("body", SHOW(write(other, body, BODY)), BODY);
	SHOW(close(other));
	SHOW(write(other, body, 1));
}

static void to_nobody(struct pair p)
{
	char got[100];

	ask(p.client);
	wait_readable(p.server);
	SHOW(read(p.server, got, sizeof(got)));
	SHOW(shutdown(p.client, SHUT_RDWR));
	close(p.client);
	usleep(2000);
	/* The first goes into the buffer of a socket that is gone, and is answered by a reset. */
	if (address.ss_family != AF_UNIX)
		write(p.server, answer, 10);
	usleep(20000);
	SHOW(write(p.server, answer, 10));
	SHOW(send(p.server, answer, 10, MSG_NOSIGNAL));
	SHOW(writev(p.server, &(struct iovec){(void *)(uintptr_t)answer, 5}, 1));
	SHOW(shutdown(p.server, SHUT_WR));
	SHOW(shutdown(-1, SHUT_WR));
	SHOW(close(p.server));
	SHOW(close(p.server));
	count_aborted();
}

int main(int argc, char **argv)
{
	static void (*const ways[])(int) = {by_write,    by_bytes,  by_partial_writes,
					    by_vectors,  by_sendto, by_messages,
					    by_sendfile, by_splice, with_a_file_on_both_sides};
	const char *family = argc > 1 ? argv[1] : "inet";
	int from = listener(!strcmp(family, "inet6") ? AF_INET6 : !strcmp(family, "unix") ? AF_UNIX : AF_INET);

	signal(SIGPIPE, on_pipe);
	body = malloc(BODY);
	for (size_t i = 0; i < BODY; i++)
		body[i] = (char)(i * 7 + i / 1000);
	head_length = (size_t)sprintf(response, "HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n", BODY);
	for (size_t i = 0; i < sizeof(ways) / sizeof(ways[0]); i++) {
		struct pair p = pair(from);
		pthread_t reader;
		char got[100];

		ask(p.client);
		wait_readable(p.server);
		MUST(read(p.server, got, sizeof(got)));
		sum = 5381;
		total = 0;
		pthread_create(&reader, NULL, reads_all, &p.client);
		ways[i](p.server);
		pthread_join(reader, NULL);
		printf("received %zu, %lx\n", total, sum);
		++*served;
		close_pair(p);
	}
	to_nobody(pair(from));
	return finish();
}
