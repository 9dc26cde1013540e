/* telling.c - see keeping.h: what the keeper says to the one who attached, and to the collector. */
#include "cmd/keeping.h"

#include <stdio.h>
#include <sys/socket.h>

void rqs_keeper_tell(const struct rqs_keeper *k, const struct rqs_keeper_word *word)
{
	if (send(k->channel, word, sizeof(*word), MSG_NOSIGNAL | MSG_DONTWAIT) < 0) {
		/* The one who attached was killed, or is stopped and has heard much. */
	}
}

void rqs_keeper_tell_attaching(const struct rqs_keeper *k, enum rqs_keeper_event event, const struct rqs_member *m,
			       int error)
{
	struct rqs_keeper_word word = {
	    .event = event,
	    .error = error,
	    .pid = m->seen.pid,
	    .processes = k->attached,
	    .stopped_ns = k->stopped_ns,
	};

	snprintf(word.why, sizeof(word.why), "%s", m->attachment.why);
	rqs_keeper_tell(k, &word);
}

void rqs_keeper_tell_busy(const struct rqs_keeper *k, const struct rqs_member *m)
{
	const struct rqs_keeper_word word = {.event = RQS_KEEPER_BUSY, .pid = m->seen.pid};

	rqs_keeper_tell(k, &word);
}

void rqs_keeper_tell_collector(const struct rqs_keeper *k, enum rqs_attach_event event, uint32_t processes,
			       uint64_t stopped_ns)
{
	struct rqs_attach_word word = {.event = event, .processes = processes, .stopped_ns = stopped_ns};

	if (k->stop >= 0 && send(k->stop, &word, sizeof(word), MSG_NOSIGNAL | MSG_DONTWAIT) < 0) {
		/* It was killed. */
	}
}
