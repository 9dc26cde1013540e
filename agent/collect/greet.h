/*
 * greet.h - hands the region to processes that ask for it, over an abstract
 * socket named by the session's token.
 */
#ifndef COLLECT_GREET_H
#define COLLECT_GREET_H

#include "collect/go_source.h"

#include <stdbool.h>

/* Greeters that connected and haven't spoken yet; a slow one keeps nobody waiting. */
#define RQS_GREETERS 64

struct rqs_greeting {
	int listener;
	int epoll;
	const char *token;
	struct rqs_greeter {
		int fd; /* -1 free */
		uint64_t since_ns;
	} greeters[RQS_GREETERS];
	uint64_t welcomed; /* processes that were given the region */
	uint64_t refused;  /* other versions, foreign users, nonsense */
	/* Processes of other pid namespaces: held by descriptors, as their own pids mean nothing here. */
	int *foreign;
	unsigned foreign_count, foreign_capacity;
	struct rqs_go_expected go; /* of the second kind of greeting */
};

/* Tags of epoll events: the listener, and greeters by number. */
#define RQS_TAG_LISTENER (2ull << 32)
#define RQS_TAG_GREETER (3ull << 32)

/* Whether a token is RQS_TOKEN_LENGTH hexadecimal digits. */
bool rqs_token_is_valid(const char *token);

/*
 * Listens. -EADDRINUSE: the session has a collector already; otherwise 0 or
 * -errno. The token must stay valid.
 */
int rqs_greeting_open(struct rqs_greeting *greeting, const char *token, int epoll);

void rqs_greeting_close(struct rqs_greeting *greeting);

/* Serves one event with one of the tags above. Never blocks. */
void rqs_greeting_event(struct rqs_greeting *greeting, uint64_t tag, int region_fd, uint64_t region_size);

/* Turns away greeters that have been silent for too long. */
void rqs_greeting_expire(struct rqs_greeting *greeting, uint64_t now_ns);

/* Whether a process of another pid namespace, that got the region, is alive. */
bool rqs_greeting_foreign_alive(struct rqs_greeting *greeting);

#endif
