/*
 * httpd.c - a small HTTP/1.1 server of POSIX alone, a thread a connection, to
 * be built for one C library and the other.
 *
 *    httpd PORT
 *
 * GET /json, /users/N, /alloc?kb=N (one malloc and one calloc of that size,
 * and no other), /sleep?ms=N (to be what other servers' /db asks), /sites/...
 * (below), /__count (not counted itself), POST /echo with a length.
 */
#include "listening.h"

#include <netinet/in.h>
#include <netinet/tcp.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/socket.h>
#include <sys/uio.h>
#include <unistd.h>

#define HEAD_MAX 8192
#define BODY_MAX 65536

static atomic_uint served;

struct connection {
	int fd;
	size_t length; /* of what was read and not yet answered */
	char text[HEAD_MAX + BODY_MAX + 1];
};

static bool answer(struct connection *c, const char *status, const char *body, size_t length)
{
	char head[256];
	int n = snprintf(head, sizeof(head), "HTTP/1.1 %s\r\nContent-Type: text/plain\r\nContent-Length: %zu\r\n\r\n",
			 status, length);
	struct iovec parts[] = {{head, (size_t)n}, {(char *)(uintptr_t)body, length}};

	return writev(c->fd, parts, 2) == (ssize_t)((size_t)n + length);
}

static void allocate(size_t size)
{
	volatile char *a = malloc(size), *b = calloc(size, 1);

	if (a && b)
		a[size / 2] = b[size / 2];
	free((void *)(uintptr_t)a);
	free((void *)(uintptr_t)b);
}

/*
 * Allocators of /sites/..., of which a test knows how much they take and on
 * which line: the one with its mark. Each has a frame of its own.
 */
#define PLACE __attribute__((noinline)) static void
#define RECENT 64u

static void *volatile last; /* so that no block can be left out */

PLACE small_blocks(unsigned count)
{
	for (unsigned i = 0; i < count; i++) {
		void *block = malloc(200); /* site: small_blocks */

		last = block;
		free(block);
	}
}

PLACE big_block(void)
{
	void *block = malloc(8192); /* site: big_block */

	last = block;
	free(block);
}

PLACE zeroed_blocks(unsigned count)
{
	for (unsigned i = 0; i < count; i++) {
		void *block = calloc(10, 100); /* site: zeroed_blocks */

		last = block;
		free(block);
	}
}

/* Nobody frees it. */
PLACE lost_block(void)
{
	last = malloc(1024); /* site: lost_block */
}

/* Freed when as many others have come. */
PLACE recent_block(void)
{
	static _Atomic(void *) recent[RECENT];
	static atomic_uint next;
	void *block = malloc(1024); /* site: recent_block */

	free(atomic_exchange(&recent[atomic_fetch_add(&next, 1) % RECENT], block));
}

static void allocate_at(const char *what)
{
	if (!strcmp(what, "small"))
		small_blocks(20);
	if (!strcmp(what, "mixed")) {
		big_block();
		zeroed_blocks(4);
	}
	if (!strcmp(what, "lost"))
		lost_block();
	if (!strcmp(what, "recent"))
		recent_block();
	small_blocks(5);
}

static bool handle(struct connection *c, const char *target, const char *body, size_t length)
{
	static const char json[] = "{\"message\": \"Hello, World!\"}";
	char text[64];
	unsigned n;

	if (!strcmp(target, "/__count")) {
		snprintf(text, sizeof(text), "{\"count\": %u}", atomic_load(&served));
		return answer(c, "200 OK", text, strlen(text));
	}
	atomic_fetch_add(&served, 1);
	if (!strcmp(target, "/json"))
		return answer(c, "200 OK", json, sizeof(json) - 1);
	if (!strcmp(target, "/echo"))
		return answer(c, "200 OK", body, length);
	if (sscanf(target, "/alloc?kb=%u", &n) == 1 && n && n <= 65536) {
		allocate((size_t)n * 1024);
		return answer(c, "200 OK", "{}", 2);
	}
	if (sscanf(target, "/sleep?ms=%u", &n) == 1) {
		usleep(n * 1000);
		snprintf(text, sizeof(text), "{\"slept\": %u}", n);
		return answer(c, "200 OK", text, strlen(text));
	}
	if (!strncmp(target, "/sites/", 7)) {
		allocate_at(target + 7);
		return answer(c, "200 OK", "{}", 2);
	}
	if (sscanf(target, "/users/%u", &n) == 1 && n) {
		snprintf(text, sizeof(text), "{\"id\": %u}", n);
		return answer(c, "200 OK", text, strlen(text));
	}
	return answer(c, "404 Not Found", "{}", 2);
}

static size_t content_length(const char *head)
{
	static const char name[] = "\r\ncontent-length:";

	for (const char *line = strstr(head, "\r\n"); line; line = strstr(line + 2, "\r\n"))
		if (!strncasecmp(line, name, sizeof(name) - 1))
			return (size_t)strtoul(line + sizeof(name) - 1, NULL, 10);
	return 0;
}

/* Answers the request at the start of the text when all of it is there. *used: its length, 0 when it isn't. */
static bool answer_one(struct connection *c, size_t *used)
{
	char target[256], *end;

	*used = 0;
	c->text[c->length] = 0;
	end = strstr(c->text, "\r\n\r\n");
	if (!end)
		return c->length < HEAD_MAX;
	end[2] = 0;
	size_t head = (size_t)(end + 4 - c->text), body = content_length(c->text);
	end[2] = '\r';
	if (head > HEAD_MAX || body > BODY_MAX || sscanf(c->text, "%*15s %255s", target) != 1)
		return false;
	if (c->length < head + body)
		return true;
	*used = head + body;
	return handle(c, target, c->text + head, body);
}

static void *serve(void *argument)
{
	struct connection *c = argument;
	ssize_t got;

	while ((got = read(c->fd, c->text + c->length, sizeof(c->text) - 1 - c->length)) > 0) {
		bool goes_on;
		size_t used;

		c->length += (size_t)got;
		do {
			goes_on = answer_one(c, &used);
			c->length -= used;
			memmove(c->text, c->text + used, c->length);
		} while (goes_on && used && c->length);
		if (!goes_on)
			break;
	}
	close(c->fd);
	free(c);
	return NULL;
}

int main(int argc, char **argv)
{
	pthread_attr_t detached;
	int listener, on = 1;

	if (argc != 2)
		return 2;
	signal(SIGPIPE, SIG_IGN);
	pthread_attr_init(&detached);
	pthread_attr_setdetachstate(&detached, PTHREAD_CREATE_DETACHED);
	listener = listen_at(atoi(argv[1]), "httpd");
	for (;;) {
		struct connection *c = calloc(1, sizeof(*c));
		pthread_t thread;

		if (!c || (c->fd = accept(listener, NULL, NULL)) < 0)
			return 1;
		setsockopt(c->fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof(on));
		if (pthread_create(&thread, &detached, serve, c))
			return 1;
	}
}
