/* keeper_words.c - see keeper_words.h. */
#include "collect/keeper_words.h"
#include "collect/clock.h"

#include <errno.h>
#include <poll.h>
#include <sys/socket.h>
#include <unistd.h>

#define PATIENCE_MS 120000

bool rqs_attached_hear(struct rqs_attached *attached, int fd)
{
	struct rqs_attach_word word;
	ssize_t got;

	do
		got = read(fd, &word, sizeof(word));
	while (got < 0 && errno == EINTR);
	if (got != (ssize_t)sizeof(word) || word.event == RQS_ATTACH_STOP)
		return true;
	if (word.event == RQS_ATTACH_BEGUN) {
		attached->begun_ns = rqs_monotonic_ns();
		attached->processes = word.processes;
		attached->attach_stopped_ns = word.stopped_ns;
		return false;
	}
	attached->detached = true;
	attached->detach_stopped_ns = word.stopped_ns;
	return true;
}

void rqs_attached_finish(struct rqs_attached *attached, int fd)
{
	struct pollfd word = {.fd = fd, .events = POLLIN};
	uint64_t now = rqs_monotonic_ns(), until = now + PATIENCE_MS * 1000000ull;

	if (send(fd, "", 1, MSG_NOSIGNAL) != 1)
		return; /* nobody is there, or it is a pipe */
	for (; !attached->detached && now < until; now = rqs_monotonic_ns()) {
		if (poll(&word, 1, (int)((until - now) / 1000000) + 1) <= 0)
			continue;
		if (rqs_attached_hear(attached, fd) && (word.revents & POLLHUP))
			return;
	}
}
