/* greet.c - the greeting: one hello, one welcome, one descriptor; or a Go process's facts. */
#include "collect/greet.h"
#include "collect/clock.h"

#include <errno.h>
#include <linux/magic.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/un.h>
#include <sys/vfs.h>
#include <unistd.h>

#define BACKLOG 1024
#define PATIENCE_NS 2000000000ull

bool rqs_token_is_valid(const char *token)
{
	return strlen(token) == RQS_TOKEN_LENGTH && strspn(token, "0123456789abcdef") == RQS_TOKEN_LENGTH;
}

static int bind_token(int fd, const char *token)
{
	struct sockaddr_un address = {.sun_family = AF_UNIX};
	size_t prefix = strlen(RQS_SOCKET_PREFIX);

	/* sun_path[0] stays 0: an abstract address, which vanishes with its socket. */
	memcpy(address.sun_path + 1, RQS_SOCKET_PREFIX, prefix);
	memcpy(address.sun_path + 1 + prefix, token, RQS_TOKEN_LENGTH);
	return bind(fd, (struct sockaddr *)&address,
		    (socklen_t)(offsetof(struct sockaddr_un, sun_path) + 1 + prefix + RQS_TOKEN_LENGTH));
}

int rqs_greeting_open(struct rqs_greeting *greeting, const char *token, int epoll)
{
	struct epoll_event event = {.events = EPOLLIN, .data.u64 = RQS_TAG_LISTENER};

	memset(greeting, 0, sizeof(*greeting));
	greeting->token = token;
	greeting->epoll = epoll;
	for (int i = 0; i < RQS_GREETERS; i++)
		greeting->greeters[i].fd = -1;
	greeting->listener = socket(AF_UNIX, SOCK_SEQPACKET | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
	if (greeting->listener < 0)
		return -errno;
	if (bind_token(greeting->listener, token) || listen(greeting->listener, BACKLOG) ||
	    epoll_ctl(epoll, EPOLL_CTL_ADD, greeting->listener, &event)) {
		int error = -errno;

		close(greeting->listener);
		greeting->listener = -1;
		return error;
	}
	return 0;
}

static void dismiss(struct rqs_greeter *greeter)
{
	close(greeter->fd);
	greeter->fd = -1;
}

void rqs_greeting_close(struct rqs_greeting *greeting)
{
	for (int i = 0; i < RQS_GREETERS; i++)
		if (greeting->greeters[i].fd >= 0)
			dismiss(&greeting->greeters[i]);
	for (unsigned i = 0; i < greeting->foreign_count; i++)
		close(greeting->foreign[i]);
	free(greeting->foreign);
	greeting->foreign = NULL;
	greeting->foreign_count = 0;
	rqs_go_forget_all(&greeting->go);
	if (greeting->listener >= 0)
		close(greeting->listener);
	greeting->listener = -1;
}

/* A free place; when there is none, that of the greeter who has kept silent longest. */
static struct rqs_greeter *make_place(struct rqs_greeting *greeting)
{
	struct rqs_greeter *oldest = &greeting->greeters[0];

	for (int i = 0; i < RQS_GREETERS; i++) {
		struct rqs_greeter *greeter = &greeting->greeters[i];

		if (greeter->fd < 0)
			return greeter;
		if (greeter->since_ns < oldest->since_ns)
			oldest = greeter;
	}
	dismiss(oldest);
	greeting->refused++;
	return oldest;
}

/*
 * The token is the secret; the uid is a second look. A server started by root
 * may have dropped to any user, and a child may have become root.
 */
static bool may_join(const struct ucred *peer)
{
	uid_t self = geteuid();

	return !self || peer->uid == self || !peer->uid;
}

static bool send_welcome(int fd, const struct rqs_welcome *welcome, int region_fd)
{
	struct iovec part = {(void *)(uintptr_t)welcome, sizeof(*welcome)};
	union {
		struct cmsghdr header;
		char bytes[CMSG_SPACE(sizeof(int))];
	} control = {0};
	struct msghdr message = {.msg_iov = &part, .msg_iovlen = 1};

	if (!welcome->status) {
		message.msg_control = &control;
		message.msg_controllen = sizeof(control.bytes);
		control.header.cmsg_level = SOL_SOCKET;
		control.header.cmsg_type = SCM_RIGHTS;
		control.header.cmsg_len = CMSG_LEN(sizeof(int));
		memcpy(CMSG_DATA(&control.header), &region_fd, sizeof(int));
	}
	return sendmsg(fd, &message, MSG_NOSIGNAL | MSG_DONTWAIT) == (ssize_t)sizeof(*welcome);
}

static void hold_foreign(struct rqs_greeting *greeting, pid_t pid)
{
	if (greeting->foreign_count == greeting->foreign_capacity) {
		unsigned capacity = greeting->foreign_capacity ? 2 * greeting->foreign_capacity : 16;
		int *foreign = realloc(greeting->foreign, capacity * sizeof(*foreign));

		if (!foreign)
			return;
		greeting->foreign = foreign;
		greeting->foreign_capacity = capacity;
	}
	int fd = pid > 0 ? (int)syscall(SYS_pidfd_open, pid, 0) : -1;
	if (fd >= 0)
		greeting->foreign[greeting->foreign_count++] = fd;
}

bool rqs_greeting_foreign_alive(struct rqs_greeting *greeting)
{
	for (unsigned i = 0; i < greeting->foreign_count;) {
		struct pollfd pollfd = {.fd = greeting->foreign[i], .events = POLLIN};

		if (poll(&pollfd, 1, 0) != 1)
			return true;
		close(greeting->foreign[i]);
		greeting->foreign[i] = greeting->foreign[--greeting->foreign_count];
	}
	return false;
}

/* What a greeter says; which of the two, its length tells. */
union message {
	struct rqs_hello hello;
	struct rqs_go_facts facts;
};
_Static_assert(sizeof(struct rqs_hello) != sizeof(struct rqs_go_facts), "greetings are told apart by their length");

/* Of the descriptors that came with a message the first; the others are closed. -1: none came. */
static int take_attached(struct msghdr *message)
{
	int taken = -1, fd;

	for (struct cmsghdr *c = CMSG_FIRSTHDR(message); c; c = CMSG_NXTHDR(message, c)) {
		if (c->cmsg_level != SOL_SOCKET || c->cmsg_type != SCM_RIGHTS)
			continue;
		for (size_t at = CMSG_LEN(0); at + sizeof(fd) <= c->cmsg_len; at += sizeof(fd)) {
			memcpy(&fd, (char *)c + at, sizeof(fd));
			if (taken < 0)
				taken = fd;
			else
				close(fd);
		}
	}
	return taken;
}

/* The length of a greeter's message, whatever part of it there was room for; -errno. */
static ssize_t receive(int fd, union message *message, int *attached)
{
	struct iovec part = {message, sizeof(*message)};
	union {
		struct cmsghdr header;
		char bytes[CMSG_SPACE(sizeof(int))];
	} control;
	struct msghdr header = {
	    .msg_iov = &part, .msg_iovlen = 1, .msg_control = &control, .msg_controllen = sizeof(control.bytes)};
	ssize_t got = recvmsg(fd, &header, MSG_DONTWAIT | MSG_TRUNC | MSG_CMSG_CLOEXEC);

	*attached = got < 0 ? -1 : take_attached(&header);
	return got < 0 ? -errno : got;
}

/* True: the greeter was given the region. */
static bool welcome(struct rqs_greeting *greeting, int fd, const struct rqs_hello *hello, const struct ucred *peer,
		    int region_fd, uint64_t region_size)
{
	struct rqs_welcome answer = {
	    .version = RQS_REGION_VERSION,
	    .status = hello->version != RQS_REGION_VERSION || !may_join(peer),
	    .region_size = region_size,
	    .foreign_pids = (uint32_t)peer->pid != hello->pid,
	    .pid = (uint32_t)peer->pid,
	};

	if (!send_welcome(fd, &answer, region_fd) || answer.status)
		return false;
	greeting->welcomed++;
	if (answer.foreign_pids)
		hold_foreign(greeting, peer->pid);
	return true;
}

/* Reading a file of another kind might take its time. */
static bool is_of_procfs(int fd)
{
	struct statfs stat;

	return fd >= 0 && !fstatfs(fd, &stat) && stat.f_type == PROC_SUPER_MAGIC;
}

/* True: the facts are kept, and *mem with them. */
static bool take_facts(struct rqs_greeting *greeting, const struct rqs_go_facts *facts, const struct ucred *peer,
		       int *mem)
{
	if (facts->version != RQS_REGION_VERSION || !may_join(peer) || !is_of_procfs(*mem))
		return false;
	rqs_go_expect(&greeting->go, facts, *mem, rqs_monotonic_ns());
	*mem = -1;
	return true;
}

/* Hears a greeter out. False: it hasn't spoken yet. */
static bool answer(struct rqs_greeting *greeting, int fd, int region_fd, uint64_t region_size)
{
	union message message;
	int attached;
	ssize_t got = receive(fd, &message, &attached);
	struct ucred peer = {.pid = 0, .uid = (uid_t)-1};
	socklen_t peer_length = sizeof(peer);
	bool good = false;

	if (got == -EAGAIN || got == -EINTR)
		return false;
	if (got > 0 && !getsockopt(fd, SOL_SOCKET, SO_PEERCRED, &peer, &peer_length)) {
		if (got == sizeof(message.hello))
			good = welcome(greeting, fd, &message.hello, &peer, region_fd, region_size);
		else if (got == sizeof(message.facts))
			good = take_facts(greeting, &message.facts, &peer, &attached);
	}
	if (attached >= 0)
		close(attached);
	greeting->refused += !good;
	return true;
}

static void accept_all(struct rqs_greeting *greeting, int region_fd, uint64_t region_size)
{
	int fd;

	while ((fd = accept4(greeting->listener, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC)) >= 0) {
		if (answer(greeting, fd, region_fd, region_size)) { /* mostly the hello is there already */
			close(fd);
			continue;
		}

		struct rqs_greeter *greeter = make_place(greeting);
		struct epoll_event event = {
		    .events = EPOLLIN,
		    .data.u64 = RQS_TAG_GREETER | (uint64_t)(greeter - greeting->greeters),
		};
		greeter->fd = fd;
		greeter->since_ns = rqs_monotonic_ns();
		if (epoll_ctl(greeting->epoll, EPOLL_CTL_ADD, fd, &event))
			dismiss(greeter);
	}
}

void rqs_greeting_event(struct rqs_greeting *greeting, uint64_t tag, int region_fd, uint64_t region_size)
{
	if (tag == RQS_TAG_LISTENER) {
		accept_all(greeting, region_fd, region_size);
		return;
	}

	struct rqs_greeter *greeter = &greeting->greeters[(uint32_t)tag % RQS_GREETERS];
	if (greeter->fd >= 0 && answer(greeting, greeter->fd, region_fd, region_size))
		dismiss(greeter);
}

void rqs_greeting_expire(struct rqs_greeting *greeting, uint64_t now_ns)
{
	for (int i = 0; i < RQS_GREETERS; i++) {
		struct rqs_greeter *greeter = &greeting->greeters[i];

		if (greeter->fd >= 0 && now_ns - greeter->since_ns > PATIENCE_NS) {
			dismiss(greeter);
			greeting->refused++;
		}
	}
}
