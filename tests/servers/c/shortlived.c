/*
 * shortlived.c - a server whose workers answer a few requests each and end, to
 * be built for one C library and the other.
 *
 *    shortlived PORT AT_ONCE fork|exec
 *
 * WORKERS and REQUESTS in the environment tell how many there are in all and
 * what each answers; AT_ONCE live at a time, with exec each a new program.
 * The server ends when all of them have. Every request gets the same answer.
 */
#include "listening.h"

#include <signal.h>
#include <stdbool.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#define ANSWER "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n%s\r\n{}"

/* Reads one request, which is all that comes before its answer. */
static bool read_request(int fd)
{
	char text[4096];
	size_t length = 0;
	ssize_t got;

	while (length < sizeof(text) - 1 && (got = read(fd, text + length, sizeof(text) - 1 - length)) > 0) {
		length += (size_t)got;
		text[length] = 0;
		if (strstr(text, "\r\n\r\n"))
			return true;
	}
	return false;
}

static int number(const char *variable)
{
	const char *value = getenv(variable);

	return value ? atoi(value) : 0;
}

static int work(int listener)
{
	int requests = number("REQUESTS");

	while (requests) {
		int fd = accept(listener, NULL, NULL);

		if (fd < 0)
			return 1;
		while (requests && read_request(fd)) {
			char answer[128];
			int n = snprintf(answer, sizeof(answer), ANSWER, --requests ? "" : "Connection: close\r\n");

			if (write(fd, answer, (size_t)n) != n)
				return 1;
		}
		close(fd);
	}
	return 0;
}

static void start_worker(int listener, char *program, bool as_program)
{
	char descriptor[16];

	if (fork())
		return;
	if (!as_program)
		_exit(work(listener));
	snprintf(descriptor, sizeof(descriptor), "%d", listener);
	execl(program, program, descriptor, (char *)NULL);
	_exit(126);
}

int main(int argc, char **argv)
{
	int listener, left = number("WORKERS"), alive = 0;

	signal(SIGPIPE, SIG_IGN);
	if (argc == 2)
		return work(atoi(argv[1]));
	if (argc != 4)
		return 2;
	listener = listen_at(atoi(argv[1]), "shortlived");
	while (left || alive) {
		int status = 0;

		for (; left && alive < atoi(argv[2]); left--, alive++)
			start_worker(listener, argv[0], !strcmp(argv[3], "exec"));
		if (wait(&status) < 0 || status)
			return 1;
		alive--;
	}
	return 0;
}
