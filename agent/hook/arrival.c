/* arrival.c - see arrival.h. */
#include "hook/arrival.h"

#include "os/stamps.h"
#include "os/sys.h"

#include <errno.h>
#include <string.h>

void rqs_arrival_decline(int fd)
{
	if (rqs_arrival_stamped(fd))
		rqs_stamps_decline(&rqs_agent, fd);
}

void rqs_arrival_ask(int fd)
{
	if (!rqs_in_vfork)
		rqs_stamps_ask(&rqs_agent, fd);
}

void rqs_arrival_accepted(int listener, int fd)
{
	if (!rqs_in_vfork)
		rqs_stamps_accepted(&rqs_agent, listener, fd);
}

bool rqs_arrival_read(int fd, struct iovec *v, size_t count, int flags, ssize_t *n, uint64_t *stamp_ns)
{
	union rqs_stamp_control control;
	struct msghdr message = {
		.msg_iov = v, .msg_iovlen = count, .msg_control = &control, .msg_controllen = sizeof(control)
	};
	int saved = errno;

	if ((flags & RQS_STAMPS_ODD_FLAGS) || rqs_stamps_lost_interest(&rqs_agent, fd))
		return false;
	*n = RQS_REAL(recvmsg)(fd, &message, flags);
	if (*n >= 0) {
		*stamp_ns = rqs_stamps_take(&rqs_agent, fd, &message, *n);
		return true;
	}
	if (errno != ENOTSOCK && errno != EPERM && errno != ENOSYS)
		return true;
	/* Or a filter says so. */
	if (errno == ENOTSOCK)
		rqs_stamps_is_another(&rqs_agent, fd);
	else
		rqs_stamps_decline(&rqs_agent, fd);
	errno = saved;
	return false;
}

bool rqs_arrival_recvmsg(int fd, struct msghdr *message, int flags, ssize_t *n, uint64_t *stamp_ns)
{
	union rqs_stamp_control control;

	if (rqs_stamps_lost_interest(&rqs_agent, fd) || !rqs_readable(message, sizeof(*message)))
		return false;
	/* It asks for control data, or for flags, that a stamp would have to be taken out of again. So no more stamps. */
	if ((flags & RQS_STAMPS_ODD_FLAGS) || (message->msg_control && message->msg_controllen)) {
		rqs_stamps_decline(&rqs_agent, fd);
		return false;
	}
	struct msghdr ours = *message;
	ours.msg_control = &control;
	ours.msg_controllen = sizeof(control);
	*n = RQS_REAL(recvmsg)(fd, &ours, flags);
	if (*n >= 0) {
		*stamp_ns = rqs_stamps_take(&rqs_agent, fd, &ours, *n);
		message->msg_namelen = ours.msg_namelen;
		message->msg_flags = ours.msg_flags;
		message->msg_controllen = 0;
	}
	return true;
}

/* ---- what the host asks itself ---- */

RQS_EXPORT int setsockopt(int fd, int level, int option, const void *value, socklen_t size)
{
	if (rqs_stamps_is_option(level, option))
		rqs_arrival_decline(fd);
	return RQS_REAL(setsockopt)(fd, level, option, value, size);
}

RQS_EXPORT int getsockopt(int fd, int level, int option, void *value, socklen_t *size)
{
	int result = RQS_REAL(getsockopt)(fd, level, option, value, size);

	if (result == 0 && rqs_stamps_is_our_option(level, option) && rqs_arrival_stamped(fd))
		memset(value, 0, *size);
	return result;
}
