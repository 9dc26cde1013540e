/* reads.c - every way to read a request: reads inet|inet6|unix */
#include "host.h"

#include <limits.h>
#include <stdint.h>
#include <sys/ioctl.h>
#include <sys/time.h>
#include <sys/uio.h>

static const char request[] = "POST /reads/abc HTTP/1.1\r\nHost: localhost\r\nContent-Length: 40\r\n\r\n"
			      "0123456789012345678901234567890123456789";
#define LENGTH (sizeof(request) - 1)
#define BODY 40
static char buffer[4096];

static void sends(struct pair p, size_t from, size_t to)
{
	MUST(send(p.client, request + from, to - from, 0));
	wait_readable(p.server);
}

static void reads_rest(struct pair p, size_t n)
{
	show_bytes("rest", buffer, (size_t)SHOW(recv(p.server, buffer, n, MSG_WAITALL)));
}

/* ---- one message, all of its fields shown ---- */

static union {
	struct cmsghdr header;
	char room[256];
} control;
static struct sockaddr_storage name;
static struct iovec vector[3];

static struct msghdr message(size_t size, bool with_name, void *control_at, size_t control_size)
{
	memset(&control, 0x55, sizeof(control));
	memset(&name, 0x55, sizeof(name));
	vector[0] = (struct iovec){buffer, size / 3};
	vector[1] = (struct iovec){buffer + size / 3, 0};
	vector[2] = (struct iovec){buffer + size / 3, size - size / 3};
	return (struct msghdr){.msg_name = with_name ? &name : NULL,
			       .msg_namelen = with_name ? sizeof(name) : 33,
			       .msg_iov = vector,
			       .msg_iovlen = 3,
			       .msg_control = control_at,
			       .msg_controllen = control_size,
			       .msg_flags = 0x5555};
}

static void show_message(struct msghdr *m)
{
	printf("  name %u %d, control %zu, flags %x, vector %zu\n", m->msg_namelen, name.ss_family, m->msg_controllen,
	       (unsigned)m->msg_flags, m->msg_iovlen);
	for (struct cmsghdr *c = CMSG_FIRSTHDR(m); m->msg_control && c; c = CMSG_NXTHDR(m, c))
		printf("  control message %d %d of %zu\n", c->cmsg_level, c->cmsg_type, c->cmsg_len);
}

static void receives(struct pair p, struct msghdr m, int flags)
{
	long n = SHOW(recvmsg(p.server, &m, flags));

	show_message(&m);
	if (n > 0)
		show_bytes("  message", buffer, (size_t)n);
}

/* ---- scenarios: each reads the whole request ---- */

static void read_whole(struct pair p)
{
	sends(p, 0, LENGTH);
	show_bytes("read", buffer, (size_t)SHOW(read(p.server, buffer, sizeof(buffer))));
}

static void read_byte_by_byte(struct pair p)
{
	sends(p, 0, LENGTH);
	for (size_t i = 0; i < LENGTH; i++)
		if (read(p.server, buffer + i, 1) != 1)
			printf("short\n");
	show_bytes("bytes", buffer, LENGTH);
}

static void reads_of_nothing(struct pair p)
{
	struct iovec none[2] = {{buffer, 0}, {NULL, 0}};

	/* With nothing there, a read of nothing returns at once where a recv would wait. */
	MUST(fcntl(p.server, F_SETFL, O_NONBLOCK));
	SHOW(read(p.server, buffer, 0));
	SHOW(readv(p.server, none, 2));
	SHOW(readv(p.server, none, 0));
	SHOW(readv(p.server, none, -1));
	SHOW(readv(p.server, none, 5000));
	SHOW(recv(p.server, buffer, 0, 0));
	SHOW(recvfrom(p.server, buffer, 0, 0, NULL, NULL));
	receives(p, (struct msghdr){.msg_flags = 0x5555}, 0);
	sends(p, 0, LENGTH);
	SHOW(read(p.server, buffer, 0));
	SHOW(readv(p.server, none, 2));
	SHOW(recv(p.server, buffer, 0, 0));
	receives(p, (struct msghdr){.msg_flags = 0x5555}, 0);
	receives(p, message(0, true, &control, sizeof(control)), 0);
	reads_rest(p, LENGTH);
}

static void peeks(struct pair p)
{
	sends(p, 0, 30);
	SHOW(recv(p.server, buffer, 10, MSG_PEEK));
	SHOW(recvfrom(p.server, buffer, 20, MSG_PEEK, NULL, NULL));
	SHOW(recv(p.server, buffer, sizeof(buffer), MSG_PEEK | MSG_TRUNC));
	receives(p, message(300, true, NULL, 0), MSG_PEEK);
	sends(p, 30, LENGTH);
	receives(p, message(LENGTH, false, &control, sizeof(control)), MSG_PEEK | MSG_WAITALL);
	reads_rest(p, LENGTH);
}

static void throws_the_body_away(struct pair p)
{
	sends(p, 0, LENGTH);
	SHOW(read(p.server, buffer, LENGTH - BODY));
	if (address.ss_family == AF_UNIX)
		reads_rest(p, 30);
	else
		SHOW(recv(p.server, NULL, 30, MSG_TRUNC | MSG_WAITALL));
	receives(p, message(10, false, &control, sizeof(control)), MSG_TRUNC);
}

static void *sends_later(void *argument)
{
	struct pair *p = argument;

	usleep(30000);
	MUST(send(p->client, request + 20, LENGTH - 20, 0));
	return NULL;
}

static void waits_for_all(struct pair p)
{
	pthread_t thread;

	sends(p, 0, 20);
	pthread_create(&thread, NULL, sends_later, &p);
	SHOW(recv(p.server, buffer, LENGTH - 10, MSG_WAITALL));
	pthread_join(thread, NULL);
	receives(p, message(10, false, NULL, 0), MSG_WAITALL);
}

static void waits_for_nothing(struct pair p)
{
	struct timespec none = {0};
	struct mmsghdr many[2] = {{.msg_hdr = message(10, true, NULL, 0)}, {.msg_hdr = message(10, true, NULL, 0)}};

	SHOW(recv(p.server, buffer, 10, MSG_DONTWAIT));
	SHOW(recvfrom(p.server, buffer, 10, MSG_DONTWAIT, NULL, NULL));
	receives(p, message(10, true, NULL, 0), MSG_DONTWAIT);
	receives(p, message(10, true, NULL, 99), MSG_DONTWAIT);
	MUST(fcntl(p.server, F_SETFL, O_NONBLOCK));
	SHOW(read(p.server, buffer, 10));
	SHOW(readv(p.server, vector, 3));
	SHOW(recvmmsg(p.server, many, 2, 0, &none));
	sends(p, 0, LENGTH);
	reads_rest(p, LENGTH);
	SHOW(read(p.server, buffer, 10));
}

static void in_parts(struct pair p)
{
	for (size_t at = 0; at < LENGTH; at += 13) {
		sends(p, at, at + 13 < LENGTH ? at + 13 : LENGTH);
		SHOW(read(p.server, buffer, sizeof(buffer)));
	}
}

static void into_vectors(struct pair p)
{
	struct iovec v[4] = {{buffer, 7}, {NULL, 0}, {buffer + 7, 20}, {buffer + 27, 1000}};

	sends(p, 0, LENGTH);
	show_bytes("vectors", buffer, (size_t)SHOW(readv(p.server, v, 4)));
}

static void with_the_sender(struct pair p)
{
	socklen_t size = sizeof(name);

	memset(&name, 0x55, sizeof(name));
	sends(p, 0, LENGTH);
	SHOW(recvfrom(p.server, buffer, 50, 0, (struct sockaddr *)&name, &size));
	printf("  name %u %d\n", size, name.ss_family);
	SHOW(recvfrom(p.server, buffer, 1000, 0, NULL, &size));
	printf("  name %u\n", size);
}

static void messages(struct pair p)
{
	sends(p, 0, LENGTH);
	receives(p, message(9, false, NULL, 0), 0);
	receives(p, message(9, true, NULL, 0), MSG_DONTWAIT);
	receives(p, message(9, false, NULL, 99), MSG_CMSG_CLOEXEC);
	receives(p, message(9, false, &control, 0), 0);
	receives(p, message(9, true, &control, sizeof(control)), 0);
	receives(p, message(9, false, &control, 4), 0);
	receives(p, message(9, false, &control, sizeof(struct cmsghdr)), 0);
	receives(p, message(9, false, NULL, 0), 0);
	SHOW(read(p.server, buffer, sizeof(buffer)));
}

static void several_messages(struct pair p)
{
	struct mmsghdr many[3] = {{.msg_hdr = message(20, true, &control, 64), .msg_len = 7},
				  {.msg_hdr = message(LENGTH - 20, false, NULL, 5), .msg_len = 7},
				  {.msg_hdr = message(20, false, NULL, 0), .msg_len = 7}};
	struct iovec v[2] = {{buffer, 20}, {buffer + 20, LENGTH - 20}};

	many[0].msg_hdr.msg_iov = v;
	many[0].msg_hdr.msg_iovlen = 1;
	many[1].msg_hdr.msg_iov = v + 1;
	many[1].msg_hdr.msg_iovlen = 1;
	sends(p, 0, LENGTH);
	SHOW(recvmmsg(p.server, many, 3, MSG_WAITFORONE, NULL));
	for (int i = 0; i < 3; i++) {
		printf("  %u\n", many[i].msg_len);
		many[i].msg_hdr.msg_control = NULL;
		show_message(&many[i].msg_hdr);
	}
	show_bytes("messages", buffer, LENGTH);
}

static void asks_for_control_late(struct pair p)
{
	sends(p, 0, LENGTH);
	SHOW(read(p.server, buffer, 11));
	receives(p, message(11, false, &control, sizeof(control)), 0);
	SHOW(recv(p.server, buffer, 11, 0));
	receives(p, message(11, false, &control, sizeof(control)), 0);
	SHOW(read(p.server, buffer, sizeof(buffer)));
}

static void asks_how_much(struct pair p)
{
	int available = 0;

	sends(p, 0, LENGTH);
	SHOW(ioctl(p.server, FIONREAD, &available));
	printf("  %d\n", available);
	/* Each read then brings control data of its own. */
	if (address.ss_family != AF_UNIX)
		SHOW(setsockopt(p.server, IPPROTO_TCP, TCP_INQ, &(int){1}, sizeof(int)));
	SHOW(read(p.server, buffer, 11));
	receives(p, message(11, false, NULL, 0), 0);
	receives(p, message(11, false, NULL, 99), 0);
	receives(p, message(11, false, &control, sizeof(control)), 0);
	receives(p, message(11, false, &control, 4), 0);
	reads_rest(p, LENGTH - 55);
}

static void asks_for_errors(struct pair p)
{
	sends(p, 0, LENGTH);
	/* AF_UNIX has no such queue, and takes the data. */
	if (address.ss_family != AF_UNIX) {
		SHOW(recv(p.server, buffer, 10, MSG_ERRQUEUE));
		receives(p, message(11, false, &control, sizeof(control)), MSG_ERRQUEUE);
	}
	reads_rest(p, LENGTH);
}

static void out_of_band(struct pair p)
{
	sends(p, 0, LENGTH);
	if (address.ss_family == AF_UNIX) {
		reads_rest(p, LENGTH);
		return;
	}
	MUST(send(p.client, "!", 1, MSG_OOB));
	SHOW(recv(p.server, buffer, 1, MSG_OOB));
	SHOW(recv(p.server, buffer, 1, MSG_OOB));
	SHOW(read(p.server, buffer, sizeof(buffer)));
	receives(p, message(11, false, NULL, 0), MSG_OOB);
}

static void too_much(struct pair p)
{
	struct iovec huge[2] = {{buffer, 10}, {buffer, SIZE_MAX - 5}};
	struct iovec large[2] = {{buffer, 10}, {buffer + 10, SSIZE_MAX}};
	char *volatile at = buffer;

	sends(p, 0, LENGTH);
	SHOW(read(p.server, at, SIZE_MAX));
	SHOW(read(p.server, at, (size_t)SSIZE_MAX + 1));
	SHOW(readv(p.server, huge, 2));
	SHOW(readv(p.server, large, 2));
	SHOW(recv(p.server, at, SIZE_MAX, MSG_PEEK));
	SHOW(recv(p.server, at, SIZE_MAX, 0));
}

static void too_much_of_recvfrom(struct pair p)
{
	char *volatile at = buffer;

	sends(p, 0, LENGTH);
	SHOW(recvfrom(p.server, at, SIZE_MAX / 2 + 9, 0, NULL, NULL));
}

/* ---- interrupted ---- */

static struct pair interrupted;
static void on_alarm(int signal)
{
	int saved = errno;

	(void)signal;
	/* What a call that is restarted will find. */
	send(interrupted.client, request, LENGTH, 0);
	errno = saved;
}

static void interrupt(struct pair p, int flags)
{
	struct sigaction action = {.sa_handler = on_alarm, .sa_flags = flags};
	struct itimerval soon = {.it_value = {.tv_usec = 30000}};

	interrupted = p;
	sigaction(SIGALRM, &action, NULL);
	setitimer(ITIMER_REAL, &soon, NULL);
}

static void is_interrupted(struct pair p)
{
	interrupt(p, 0);
	SHOW(read(p.server, buffer, 10));
	reads_rest(p, LENGTH);
}

static void is_interrupted_in_recvmsg(struct pair p)
{
	interrupt(p, 0);
	receives(p, message(11, true, NULL, 99), 0);
	reads_rest(p, LENGTH);
}

static void is_restarted(struct pair p)
{
	interrupt(p, SA_RESTART);
	SHOW(read(p.server, buffer, LENGTH));
}

static void is_restarted_in_recv(struct pair p)
{
	interrupt(p, SA_RESTART);
	SHOW(recv(p.server, buffer, LENGTH, MSG_WAITALL));
}

static void times_out(struct pair p)
{
	struct timeval soon = {.tv_usec = 20000};

	MUST(setsockopt(p.server, SOL_SOCKET, SO_RCVTIMEO, &soon, sizeof(soon)));
	SHOW(read(p.server, buffer, 10));
	interrupt(p, SA_RESTART);
	soon.tv_usec = 500000;
	MUST(setsockopt(p.server, SOL_SOCKET, SO_RCVTIMEO, &soon, sizeof(soon)));
	SHOW(recv(p.server, buffer, 10, 0));
	reads_rest(p, LENGTH);
}

static void meets_the_end(struct pair p)
{
	sends(p, 0, LENGTH);
	MUST(shutdown(p.client, SHUT_WR));
	SHOW(read(p.server, buffer, sizeof(buffer)));
	SHOW(read(p.server, buffer, 10));
	receives(p, message(11, true, NULL, 99), 0);
	receives(p, message(11, true, &control, sizeof(control)), 0);
	SHOW(readv(p.server, vector, 3));
	SHOW(recv(p.server, buffer, 10, MSG_PEEK));
}

int main(int argc, char **argv)
{
#define SCENARIO(name)                                                                                                 \
	{                                                                                                              \
		name, #name                                                                                            \
	}
	static const struct {
		void (*run)(struct pair);
		const char *name;
	} scenarios[] = {
	    SCENARIO(read_whole),
	    SCENARIO(read_byte_by_byte),
	    SCENARIO(reads_of_nothing),
	    SCENARIO(peeks),
	    SCENARIO(throws_the_body_away),
	    SCENARIO(waits_for_all),
	    SCENARIO(waits_for_nothing),
	    SCENARIO(in_parts),
	    SCENARIO(into_vectors),
	    SCENARIO(with_the_sender),
	    SCENARIO(messages),
	    SCENARIO(several_messages),
	    SCENARIO(asks_for_control_late),
	    SCENARIO(asks_how_much),
	    SCENARIO(asks_for_errors),
	    SCENARIO(out_of_band),
	    SCENARIO(too_much),
	    SCENARIO(too_much_of_recvfrom),
	    SCENARIO(is_interrupted),
	    SCENARIO(is_interrupted_in_recvmsg),
	    SCENARIO(is_restarted),
	    SCENARIO(is_restarted_in_recv),
	    SCENARIO(times_out),
	    SCENARIO(meets_the_end),
	};
	const char *family = argc > 1 ? argv[1] : "inet";
	int from = listener(!strcmp(family, "inet6") ? AF_INET6 : !strcmp(family, "unix") ? AF_UNIX : AF_INET);

	for (size_t i = 0; i < sizeof(scenarios) / sizeof(scenarios[0]); i++) {
		struct pair p = pair(from);

		printf("-- %s\n", scenarios[i].name);
		memset(buffer, 0, sizeof(buffer));
		scenarios[i].run(p);
		respond(p.server);
		answered(p.client);
		close_pair(p);
	}
	return finish();
}
