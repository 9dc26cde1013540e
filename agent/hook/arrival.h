/*
 * arrival.h - when a request's first bytes arrived in the kernel.
 *
 * SO_TIMESTAMPNS, set on a listener, is inherited by what it accepts, so that
 * data is stamped even before accept. It is set by its second name,
 * SO_TIMESTAMPNS_NEW, which is for 64-bit times in 32-bit programs: by that
 * it is known for ours after exec and in other processes, and the option's own
 * name reads as 0 there without help of ours. A recvmsg with room for control data, in
 * place of the server's own read or recv, brings the stamp along: CLOCK_REALTIME
 * of the newest segment that the data came in, hence a lower bound of the
 * wait. AF_UNIX has no stamps.
 *
 * The application must not see any of this: what it gets back (result, errno,
 * flags, control data, getsockopt) is what it would have got without us. Where
 * that would need more than is done here, the socket loses its stamps.
 */
#ifndef REQSCOPE_ARRIVAL_H
#define REQSCOPE_ARRIVAL_H

#include "hook/hook.h"

/* After activation: finds out whether stamps may be asked for at all. */
void rqs_arrival_start(void);

/* fd listens now, or turned out to. */
void rqs_arrival_listening(int fd);
/* fd was accepted from listener. */
void rqs_arrival_accepted(int listener, int fd);
/* fd came from another process, and was found to be served. */
void rqs_arrival_adopted(int fd);

/* Also of a connection that is of no more interest (RQS_CONN_OTHER): its next read takes the stamps back. */
static inline bool rqs_arrival_stamped(int fd)
{
	if (!rqs_active() || !rqs_agent.stamping || rqs_in_vfork)
		return false;
	const struct rqs_conn *conn = rqs_conn_of(&rqs_agent, fd);
	return conn && conn->kind != RQS_CONN_UNKNOWN && conn->stamped;
}

/*
 * Reads a stamped connection as recv does. False: the original call has to be
 * made (nothing was read). Else *n is its result, errno set, and *stamp the
 * arrival in ns of CLOCK_REALTIME, or 0.
 */
bool rqs_arrival_read(int fd, struct iovec *v, size_t count, int flags, ssize_t *n, uint64_t *stamp);

/* The host's own recvmsg on a stamped connection. As above. */
bool rqs_arrival_recvmsg(int fd, struct msghdr *message, int flags, ssize_t *n, uint64_t *stamp);

/* The host is about to use fd in a way that would show the stamps: it loses them. */
void rqs_arrival_decline(int fd);

/* Is this an option by which the host would meet the stamps, or by which reads get control data of the host's own? */
bool rqs_arrival_is_option(int level, int option);

/* Fills call's queue from a stamp; leaves it unmeasured when that can't be true. */
void rqs_arrival_queue(struct rqs_call *call, uint64_t stamp);

/* No more calls but the host's own: it is about to restrict its system calls. All stamps are taken back, as long as we may. */
void rqs_arrival_stop(void);

#endif
