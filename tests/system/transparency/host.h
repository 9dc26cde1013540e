/*
 * host.h - what the programs of the transparency tests share.
 *
 * Each does calls that an agent could spoil, on connections to itself that
 * carry real requests, and prints what it observes: results, errno, bytes,
 * flags. The test runs it with and without the agent and compares. Nothing
 * printed may depend on time, addresses or process ids.
 */
#ifndef HOST_H
#define HOST_H

#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>

/* An errno that no call sets: a call that succeeds must leave it. */
#define KEPT 777

#define SHOW(call)                                                                                                     \
	({                                                                                                             \
		errno = KEPT;                                                                                          \
		long result_ = (long)(call);                                                                           \
		show(#call, result_, errno);                                                                           \
		result_;                                                                                               \
	})

/* What the test's own machinery can't do without. */
#define MUST(call)                                                                                                     \
	({                                                                                                             \
		long result_ = (long)(call);                                                                           \
		if (result_ < 0) {                                                                                     \
			printf("%s:%d: %s: %s\n", __FILE__, __LINE__, #call, strerror(errno));                         \
			exit(99);                                                                                      \
		}                                                                                                      \
		result_;                                                                                               \
	})

static inline void show(const char *what, long result, int error)
{
	printf("%s = %ld", what, result);
	if (error != KEPT)
		printf(" (%s)", strerror(error));
	printf("\n");
	fflush(stdout);
}

static inline void show_bytes(const char *what, const void *p, size_t n)
{
	unsigned long sum = 5381;

	for (size_t i = 0; i < n; i++)
		sum = sum * 33 + ((const unsigned char *)p)[i];
	printf("%s: %zu bytes, %lx\n", what, n, sum);
}

/* ---- how many requests were served: in a shared page, so that children count too ---- */

static int *served; /* served[1]: how many of them end by the connection's end, unanswered */

static void __attribute__((constructor)) host_begins(void)
{
	served = mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	if (served == MAP_FAILED)
		_exit(98);
	/* Line by line, so that nothing is printed twice by a child. */
	setvbuf(stdout, NULL, _IOLBF, 0);
}

/* The last line, which tells the test what has to be in the trace. */
static inline int finish(void)
{
	printf("requests: %d, aborted: %d\n", served[0], served[1]);
	fflush(stdout);
	return 0;
}

/* ---- listeners and connections ---- */

static struct sockaddr_storage address;
static socklen_t address_size;

static inline void choose_address(int family)
{
	memset(&address, 0, sizeof(address));
	address.ss_family = (sa_family_t)family;
	if (family == AF_INET) {
		((struct sockaddr_in *)&address)->sin_addr.s_addr = htonl(INADDR_LOOPBACK);
		address_size = sizeof(struct sockaddr_in);
	} else if (family == AF_INET6) {
		((struct sockaddr_in6 *)&address)->sin6_addr = in6addr_loopback;
		address_size = sizeof(struct sockaddr_in6);
	} else {
		address_size = sizeof(sa_family_t); /* the kernel chooses an abstract name */
	}
}

static inline int bound(int family)
{
	choose_address(family);
	int fd = (int)MUST(socket(family, SOCK_STREAM, 0));

	MUST(bind(fd, (struct sockaddr *)&address, address_size));
	address_size = sizeof(address);
	MUST(getsockname(fd, (struct sockaddr *)&address, &address_size));
	return fd;
}

static inline int listener(int family)
{
	int fd = bound(family);

	MUST(listen(fd, 4096));
	return fd;
}

static inline int client(void)
{
	int fd = (int)MUST(socket(address.ss_family, SOCK_STREAM, 0));

	MUST(connect(fd, (struct sockaddr *)&address, address_size));
	return fd;
}

/* ---- requests ---- */

static const char head[] = "GET /host HTTP/1.1\r\nHost: x\r\n\r\n";
static const char answer[] = "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok";

static inline void ask(int fd)
{
	MUST(send(fd, head, sizeof(head) - 1, MSG_NOSIGNAL));
}

static inline void respond(int fd)
{
	if (MUST(write(fd, answer, sizeof(answer) - 1)) != sizeof(answer) - 1)
		exit(97);
	__atomic_fetch_add(served, 1, __ATOMIC_RELAXED);
}

/* The server's part. False at the connection's end. */
static inline bool serve(int fd)
{
	char buffer[sizeof(head)];
	size_t n = 0;

	while (n < sizeof(head) - 1) {
		ssize_t got = read(fd, buffer + n, sizeof(head) - 1 - n);

		if (got < 0 && errno == EINTR)
			continue;
		if (got <= 0)
			return false;
		n += (size_t)got;
	}
	respond(fd);
	return true;
}

/* The client's. */
static inline void answered(int fd)
{
	char buffer[sizeof(answer)];

	if (MUST(recv(fd, buffer, sizeof(answer) - 1, MSG_WAITALL)) != sizeof(answer) - 1 ||
	    memcmp(buffer, answer, sizeof(answer) - 1))
		printf("not the answer\n");
}

/* The server closes a connection whose request it has read and not answered. */
static inline void count_aborted(void)
{
	__atomic_fetch_add(&served[0], 1, __ATOMIC_RELAXED);
	__atomic_fetch_add(&served[1], 1, __ATOMIC_RELAXED);
}

static inline void exchange(int client_fd, int server_fd)
{
	ask(client_fd);
	if (!serve(server_fd))
		printf("no request came\n");
	answered(client_fd);
}

struct pair {
	int client, server;
};

static inline struct pair pair(int listener_fd)
{
	struct pair p;

	p.client = client();
	p.server = (int)MUST(accept(listener_fd, NULL, NULL));
	return p;
}

static inline void close_pair(struct pair p)
{
	close(p.server);
	close(p.client);
}

static inline void wait_readable(int fd)
{
	struct pollfd p = {.fd = fd, .events = POLLIN};

	while (poll(&p, 1, 10000) < 0 && errno == EINTR)
		;
}

/* Ended how? */
static inline void show_status(const char *what, pid_t pid)
{
	int status = 0;

	while (waitpid(pid, &status, 0) < 0 && errno == EINTR)
		;
	if (WIFSIGNALED(status))
		printf("%s: killed by %s\n", what, strsignal(WTERMSIG(status)));
	else
		printf("%s: exit %d\n", what, WEXITSTATUS(status));
}

/* The open descriptors, all of them: an agent holds none. */
static inline void show_descriptors(const char *what)
{
	printf("%s: descriptors", what);
	for (int fd = 0; fd < 1200; fd++)
		if (fcntl(fd, F_GETFD) >= 0)
			printf(" %d", fd);
	printf("\n");
	fflush(stdout);
}

#endif
