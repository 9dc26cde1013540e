/*
 * lifetime.h - how long a session lasts: as long as its main target, and then
 * until nobody of it can get requests any more.
 */
#ifndef COLLECT_LIFETIME_H
#define COLLECT_LIFETIME_H

#include "collect/greet.h"
#include "collect/process.h"

/* Tag of the epoll event that tells of the main target's death. */
#define RQS_TAG_MAIN (4ull << 32)

struct rqs_lifetime {
	const char *token;
	pid_t pid; /* the main target */
	int pidfd; /* of it, -1 none */
	int dir;   /* its /proc/PID, or below 0 */
	int epoll;
	bool gone;
	uint64_t gone_ns;
	uint64_t quiet_ns; /* since when nobody serves; 0: somebody does */
	uint64_t welcomed; /* greetings seen when that began */
	uint64_t next_kin_ns;
};

/* Begins to watch the main target. The token must stay valid. */
void rqs_lifetime_start(struct rqs_lifetime *lifetime, pid_t pid, const char *token, int epoll);

/* The event with RQS_TAG_MAIN came. */
void rqs_lifetime_event(struct rqs_lifetime *lifetime);

/* Looks whether the main target is there, where no event tells. */
void rqs_lifetime_check(struct rqs_lifetime *lifetime, uint64_t now_ns);

/* Whether nobody of the session can get requests any more, and that for long enough. */
bool rqs_lifetime_is_over(struct rqs_lifetime *lifetime, const struct rqs_processes *processes,
			  struct rqs_greeting *greeting, uint64_t now_ns);

#endif
