/*
 * stamps.h - asking the kernel when a connection's bytes arrived, and reading
 * its answers. Freestanding; system calls of our own only.
 *
 * SO_TIMESTAMPNS, set on a listener, is inherited by what it accepts, so that
 * data is stamped even before accept. It is set by its second name,
 * SO_TIMESTAMPNS_NEW, which is for 64-bit times in 32-bit programs: by that
 * it is known for ours after exec and in other processes, and the option's own
 * name reads as 0 there without help of ours. A recvmsg with room for control data, in
 * place of the server's own read or recv, brings the stamp along: CLOCK_REALTIME
 * of the newest segment that the data came in, hence a lower bound of the
 * wait. AF_UNIX has no stamps.
 */
#ifndef REQSCOPE_STAMPS_H
#define REQSCOPE_STAMPS_H

#include "core/agent.h"

#include <sys/socket.h>
#include <time.h>

/* The room a timestamp takes, and no more: other control data is refused for want of room, as it would have been. */
union rqs_stamp_control {
	struct cmsghdr header;
	char room[CMSG_SPACE(sizeof(struct timespec))];
};

/* Data that these flags ask for isn't the stream's next, or comes by another way. */
#define RQS_STAMPS_ODD_FLAGS (MSG_PEEK | MSG_OOB | MSG_ERRQUEUE | MSG_TRUNC)

/* Finds out whether stamps may be asked for at all, and sets agent->stamping. */
void rqs_stamps_start(struct rqs_agent *agent);

/* No more calls but the host's own: it is about to restrict its system calls. All stamps are taken back, as long as we may. */
void rqs_stamps_stop(struct rqs_agent *agent);

/* Asks for stamps: fd listens now, or came from another process and was found to be served. */
void rqs_stamps_ask(struct rqs_agent *agent, int fd);
/* fd was accepted from listener. */
void rqs_stamps_accepted(struct rqs_agent *agent, int listener, int fd);

/* Whether fd, which came from another process, is a TCP connection that one of ours has accepted: it has stamps. */
bool rqs_stamps_came_along(const struct rqs_agent *agent, int fd);

/* Also of a connection that is of no more interest (RQS_CONN_OTHER): its next read takes the stamps back. */
static inline bool rqs_stamps_has(const struct rqs_agent *agent, int fd)
{
	if (!agent->stamping)
		return false;
	const struct rqs_conn *conn = rqs_conn_of(agent, fd);
	return conn && conn->kind != RQS_CONN_UNKNOWN && conn->stamped;
}

/* The host is about to use fd in a way that would show the stamps: it loses them. */
void rqs_stamps_decline(struct rqs_agent *agent, int fd);

/* Before a read: of no more interest to anybody, the connection has just lost its stamps. */
bool rqs_stamps_lost_interest(struct rqs_agent *agent, int fd);

/* What the table says of fd is no longer so: a close that wasn't seen. */
void rqs_stamps_is_another(struct rqs_agent *agent, int fd);

/* After a recvmsg, in place of the host's own read, that returned n >= 0: the arrival in ns of CLOCK_REALTIME, or 0. */
uint64_t rqs_stamps_take(struct rqs_agent *agent, int fd, struct msghdr *message, ssize_t n);

/* Fills call's queue from a stamp; leaves it unmeasured when that can't be true. */
void rqs_stamps_queue(struct rqs_call *call, uint64_t stamp_ns);

/* After a read that wasn't asked for its stamp: that of the next one, should it be older, is good for both. */
void rqs_stamps_left_out(struct rqs_call *call, int fd);

/* Is this an option by which the host would meet the stamps, or by which reads get control data of the host's own? */
bool rqs_stamps_is_option(int level, int option);

/* By these two names nobody but us asks for stamps. */
bool rqs_stamps_is_our_option(int level, int option);

#endif
