/*
 * arrival.h - reads of connections whose bytes' arrival the kernel stamps
 * (os/stamps.h), for the interposers.
 *
 * The application must not see any of this: what it gets back (result, errno,
 * flags, control data, getsockopt) is what it would have got without us. Where
 * that would need more than is done here, the socket loses its stamps.
 */
#ifndef REQSCOPE_ARRIVAL_H
#define REQSCOPE_ARRIVAL_H

#include "hook/hook.h"
#include "os/stamps.h"

/* As rqs_stamps_*, but for a vfork's child, which leaves no trace. */
void rqs_arrival_ask(int fd);
void rqs_arrival_accepted(int listener, int fd);
void rqs_arrival_decline(int fd);

static inline bool rqs_arrival_stamped(int fd)
{
	return rqs_active() && !rqs_in_vfork && rqs_stamps_has(&rqs_agent, fd);
}

/*
 * Reads a stamped connection as recv does. False: the original call has to be
 * made (nothing was read). Else *n is its result, errno set, and *stamp the
 * arrival in ns of CLOCK_REALTIME, or 0.
 */
bool rqs_arrival_read(int fd, struct iovec *v, size_t count, int flags, ssize_t *n, uint64_t *stamp);

/* The host's own recvmsg on a stamped connection. As above. */
bool rqs_arrival_recvmsg(int fd, struct msghdr *message, int flags, ssize_t *n, uint64_t *stamp);

#endif
