/*
 * sites.c - a small HTTP/1.1 server whose lines that allocate are known: a
 * thread a connection, one request a read.
 *
 *    sites PORT [WORKERS]
 *
 * GET /work?n=N: N times small_block() and large_block(), each freed at once
 * GET /keep?n=N: N times kept_block(), never freed
 * GET /hang?n=N: N times hanging_block(), never freed, and no response
 * All else is answered at once, and allocates nothing. With workers, these are
 * forked and accept; the parent waits for them, and they end with it.
 */
#include "listening.h"

#include <netinet/in.h>
#include <netinet/tcp.h>
#include <pthread.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#define SITE __attribute__((noinline))

/* Nothing that is allocated may be found to be of no use. All threads write it, and none reads it. */
static void *volatile last;

static SITE void small_block(void)
{
	void *block = malloc(100);

	last = block;
	free(block);
}

static SITE void large_block(void)
{
	void *block = calloc(3, 1000);

	last = block;
	free(block);
}

static SITE void kept_block(void)
{
	last = malloc(2000);
}

static SITE void hanging_block(void)
{
	last = malloc(1000);
}

static void handle(const char *text)
{
	unsigned n;

	if (sscanf(text, "GET /work?n=%u", &n) == 1) {
		while (n--) {
			small_block();
			large_block();
		}
	} else if (sscanf(text, "GET /keep?n=%u", &n) == 1) {
		while (n--)
			kept_block();
	} else if (sscanf(text, "GET /hang?n=%u", &n) == 1) {
		while (n--)
			hanging_block();
		for (;;)
			pause();
	}
}

static void *serve(void *argument)
{
	static const char answer[] = "HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\nContent-Length: 2\r\n\r\nok";
	int fd = (int)(intptr_t)argument;
	char text[4096];
	ssize_t got;

	while ((got = read(fd, text, sizeof(text) - 1)) > 0) {
		text[got] = 0;
		handle(text);
		if (write(fd, answer, sizeof(answer) - 1) != (ssize_t)sizeof(answer) - 1)
			break;
	}
	close(fd);
	return NULL;
}

/* Resting after each connection, so that other workers get the next one. */
static void accept_all(int listener, useconds_t rest)
{
	pthread_attr_t detached;
	int on = 1;

	pthread_attr_init(&detached);
	pthread_attr_setdetachstate(&detached, PTHREAD_CREATE_DETACHED);
	for (;;) {
		int fd = accept(listener, NULL, NULL);
		pthread_t thread;

		if (fd < 0)
			exit(1);
		setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof(on));
		if (pthread_create(&thread, &detached, serve, (void *)(intptr_t)fd))
			exit(1);
		usleep(rest);
	}
}

int main(int argc, char **argv)
{
	int workers = argc > 2 ? atoi(argv[2]) : 0;

	if (argc < 2)
		return 2;
	signal(SIGPIPE, SIG_IGN);
	int listener = listen_at(atoi(argv[1]), "sites");
	if (workers < 2)
		accept_all(listener, 0);
	while (workers--)
		if (!fork()) {
			prctl(PR_SET_PDEATHSIG, SIGTERM);
			accept_all(listener, 20000);
		}
	while (wait(NULL) > 0)
		;
}
