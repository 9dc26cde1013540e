/* join.c - see join.h; the messages are in reqscope/region.h. */
#include "os/join.h"

#include "core/core_deps.h"
#include "os/sys.h"

#include <poll.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <time.h>

long rqs_join_connect(const char token[RQS_TOKEN_LENGTH])
{
	struct sockaddr_un address;
	size_t n = sizeof(RQS_SOCKET_PREFIX) - 1;
	long fd = rqs_sys3(SYS_socket, AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0);

	if (fd < 0)
		return fd;
	rqs_zero(&address, sizeof(address));
	address.sun_family = AF_UNIX;
	rqs_copy(address.sun_path + 1, RQS_SOCKET_PREFIX, n);
	rqs_copy(address.sun_path + 1 + n, token, RQS_TOKEN_LENGTH);
	long error = rqs_sys3(SYS_connect, fd, &address,
			      offsetof(struct sockaddr_un, sun_path) + 1 + n + RQS_TOKEN_LENGTH);
	if (error < 0) {
		rqs_sys1(SYS_close, fd);
		return error;
	}
	return fd;
}

bool rqs_join_readable(long fd)
{
	struct pollfd p = { .fd = (int)fd, .events = POLLIN };
	struct timespec timeout = { .tv_sec = RQS_JOIN_TIMEOUT_SECONDS };

	return rqs_sys5(SYS_ppoll, &p, 1, &timeout, NULL, 0) == 1;
}

static int receive_region(long fd, struct rqs_welcome *welcome)
{
	union {
		struct cmsghdr header;
		char room[CMSG_SPACE(sizeof(int))];
	} control;
	struct iovec v = { .iov_base = welcome, .iov_len = sizeof(*welcome) };
	struct msghdr message;

	if (!rqs_join_readable(fd))
		return -ETIMEDOUT;
	rqs_zero(&control, sizeof(control));
	rqs_zero(&message, sizeof(message));
	message.msg_iov = &v;
	message.msg_iovlen = 1;
	message.msg_control = &control;
	message.msg_controllen = sizeof(control);
	long n = rqs_sys3(SYS_recvmsg, fd, &message, MSG_CMSG_CLOEXEC);
	if (n != (long)sizeof(*welcome) || welcome->version != RQS_REGION_VERSION || welcome->status)
		return n < 0 ? (int)n : -EPROTO;
	/* The descriptor was left out: there may be no more of them. */
	if (message.msg_flags & MSG_CTRUNC)
		return -EMFILE;
	if (message.msg_controllen < CMSG_LEN(sizeof(int)) || control.header.cmsg_type != SCM_RIGHTS)
		return -EPROTO;
	int memory;
	rqs_copy(&memory, CMSG_DATA(&control.header), sizeof(memory));
	return memory;
}

int rqs_join(const char token[RQS_TOKEN_LENGTH], struct rqs_welcome *welcome)
{
	struct rqs_hello hello = { .version = RQS_REGION_VERSION, .pid = (uint32_t)rqs_sys0(SYS_getpid) };
	long fd = rqs_join_connect(token);

	if (fd < 0)
		return (int)fd;
	int memory = -EPROTO;
	if (rqs_sys6(SYS_sendto, fd, &hello, sizeof(hello), MSG_NOSIGNAL, NULL, 0) == (long)sizeof(hello))
		memory = receive_region(fd, welcome);
	rqs_sys1(SYS_close, fd);
	return memory;
}

void rqs_join_tell_facts(const char token[RQS_TOKEN_LENGTH], const struct rqs_go_facts *facts, int memory)
{
	union {
		struct cmsghdr header;
		char room[CMSG_SPACE(sizeof(int))];
	} control;
	struct iovec v = { .iov_base = (void *)facts, .iov_len = sizeof(*facts) };
	struct msghdr message;
	long fd = rqs_join_connect(token);

	if (fd < 0)
		return;
	rqs_zero(&control, sizeof(control));
	rqs_zero(&message, sizeof(message));
	message.msg_iov = &v;
	message.msg_iovlen = 1;
	message.msg_control = &control;
	message.msg_controllen = sizeof(control);
	control.header.cmsg_level = SOL_SOCKET;
	control.header.cmsg_type = SCM_RIGHTS;
	control.header.cmsg_len = CMSG_LEN(sizeof(int));
	rqs_copy(CMSG_DATA(&control.header), &memory, sizeof(memory));
	rqs_sys3(SYS_sendmsg, fd, &message, MSG_NOSIGNAL | MSG_DONTWAIT);
	rqs_sys1(SYS_close, fd);
}
