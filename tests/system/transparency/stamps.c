/*
 * stamps.c - the kernel's receive timestamps, which the agent switches on for
 * itself: stamps [late|other]
 *
 * Whoever asks, by option or by control data, finds what he himself has set.
 */
#include "host.h"

#include <linux/net_tstamp.h>
#include <sys/syscall.h>
#include <sys/uio.h>

/*
 * The last are their second names, for 64-bit times in 32-bit programs. One is
 * missing: SO_TIMESTAMPNS_NEW is the agent's own.
 */
static const struct {
	int option;
	const char *name;
	bool shown;
} options[] = {{SO_TIMESTAMP, "timestamp", true},
	       {SO_TIMESTAMPNS, "timestampns", true},
	       {SO_TIMESTAMPING, "timestamping", true},
	       {SO_TIMESTAMPING_NEW, "timestamping new", true},
	       {SO_TIMESTAMP_NEW, "timestamp new", false}};

static void show_options(const char *what, int fd)
{
	printf("  %s:", what);
	for (size_t i = 0; i < sizeof(options) / sizeof(options[0]); i++) {
		int value[2] = {0x5555, 0x5555};
		socklen_t size = sizeof(value[0]);
		int result;

		if (!options[i].shown)
			continue;
		/* Two sizes, and the way that no symbol shows. */
		result = getsockopt(fd, SOL_SOCKET, options[i].option, value, &size);
		printf(" %s %d %x/%u", options[i].name, result, (unsigned)value[0], size);
		size = 1;
		value[0] = 0x5555;
		getsockopt(fd, SOL_SOCKET, options[i].option, value, &size);
		printf(" %x/%u", (unsigned)value[0], size);
		size = sizeof(value[0]);
		syscall(SYS_getsockopt, fd, SOL_SOCKET, options[i].option, value, &size);
		printf(" %x,", (unsigned)value[0]);
	}
	printf("\n");
}

/* Reads a request by a message that has room for everything. */
static void read_with_control(const char *what, int fd)
{
	union {
		struct cmsghdr header;
		char room[512];
	} control;
	char data[100];
	struct iovec v = {data, sizeof(data)};
	struct msghdr m = {.msg_iov = &v, .msg_iovlen = 1, .msg_control = &control, .msg_controllen = sizeof(control)};

	wait_readable(fd);
	long n = recvmsg(fd, &m, 0);
	printf("  %s: %ld, flags %x, control %zu:", what, n, (unsigned)m.msg_flags, m.msg_controllen);
	for (struct cmsghdr *c = CMSG_FIRSTHDR(&m); c; c = CMSG_NXTHDR(&m, c))
		printf(" %d %d of %zu", c->cmsg_level, c->cmsg_type, c->cmsg_len);
	printf("\n");
}

static void ask_read_answer(const char *what, struct pair p)
{
	ask(p.client);
	read_with_control(what, p.server);
	respond(p.server);
	answered(p.client);
}

static void connection(const char *what, int from)
{
	printf("%s\n", what);
	show_options("listener", from);
	struct pair p = pair(from);
	show_options("connection", p.server);
	exchange(p.client, p.server);
	ask_read_answer("message", p);
	exchange(p.client, p.server);
	show_options("connection", p.server);
	close_pair(p);
}

static void set(int fd, int option, int value)
{
	printf("set %d of %d: %d\n", option, value, setsockopt(fd, SOL_SOCKET, option, &value, sizeof(value)));
}

#define RECEIVE (SOF_TIMESTAMPING_RX_SOFTWARE | SOF_TIMESTAMPING_SOFTWARE)

/* Set on a listener, then on a connection, by each of the options. */
static void each_option(void)
{
	for (size_t i = 0; i < sizeof(options) / sizeof(options[0]); i++) {
		int option = options[i].option,
		    value = option == SO_TIMESTAMPING || option == SO_TIMESTAMPING_NEW ? RECEIVE : 1;

		printf("-- %s\n", options[i].name);
		int before = bound(AF_INET);
		set(before, option, value);
		MUST(listen(before, 10));
		connection("set before listen", before);
		set(before, option, 0);
		connection("and switched off again", before);
		close(before);

		int from = listener(AF_INET);
		struct pair early = {.client = client()};
		usleep(1000);
		set(from, option, value);
		early.server = (int)MUST(accept(from, NULL, NULL));
		printf("connected before it was set\n");
		show_options("connection", early.server);
		ask_read_answer("message", early);
		close_pair(early);
		connection("set on the listener", from);
		close(from);

		from = listener(AF_INET);
		struct pair p = pair(from);
		exchange(p.client, p.server);
		set(p.server, option, value);
		show_options("connection", p.server);
		exchange(p.client, p.server);
		ask_read_answer("message", p);
		set(p.server, option, 0);
		show_options("connection", p.server);
		ask_read_answer("message", p);
		close_pair(p);
		close(from);
	}
}

/* By ways that pass libc's symbols by. */
static void raw(int from)
{
	char data[100];
	char control[200];
	struct iovec v = {data, sizeof(data)};
	struct msghdr m = {.msg_iov = &v, .msg_iovlen = 1, .msg_control = control, .msg_controllen = sizeof(control)};
	struct pair p = pair(from);

	exchange(p.client, p.server);
	ask(p.client);
	wait_readable(p.server);
	printf("syscall: %ld", syscall(SYS_recvmsg, p.server, &m, MSG_PEEK));
	printf(" control %zu\n", m.msg_controllen);
	printf("served: %d\n", serve(p.server));
	answered(p.client);
	close_pair(p);
}

/* A listener that comes from before the exec. */
static int after_exec(int from)
{
	MUST(getsockname(from, (struct sockaddr *)&address, &(socklen_t){sizeof(address)}));
	address_size = sizeof(struct sockaddr_in);
	connection("after exec", from);
	set(from, SO_TIMESTAMP, 1);
	connection("and set", from);
	close(from);
	return finish();
}

/* What isn't HTTP, or is no longer, the agent looks at no more: its stamps have to go with its interest. */
static void after_first(struct pair p, const char *what)
{
	char data[100];
	struct iovec v = {data, 5};
	struct msghdr m = {.msg_iov = &v, .msg_iovlen = 1};

	printf("%s\n", what);
	for (int i = 0; i < 3; i++) {
		MUST(send(p.client, "0123456789", 10, 0));
		wait_readable(p.server);
		m.msg_flags = 0;
		printf("  %ld", (long)recvmsg(p.server, &m, 0));
		printf(" flags %x, control %zu\n", (unsigned)m.msg_flags, m.msg_controllen);
		if (i == 1)
			read_with_control("message", p.server);
		else
			MUST(read(p.server, data, 5));
		show_options("connection", p.server);
	}
}

static int other_protocols(int from)
{
	static const char upgrade[] = "HTTP/1.1 101 Switching Protocols\r\nUpgrade: x\r\n\r\n";
	char got[100];
	struct pair p = pair(from);

	after_first(p, "never HTTP");
	close_pair(p);

	p = pair(from);
	ask(p.client);
	wait_readable(p.server);
	MUST(read(p.server, got, sizeof(got)));
	MUST(write(p.server, upgrade, sizeof(upgrade) - 1));
	after_first(p, "no longer HTTP");
	close_pair(p);

	/* A child takes over a connection on which the parent has a request open. */
	p = pair(from);
	ask(p.client);
	wait_readable(p.server);
	MUST(read(p.server, got, sizeof(got)));
	pid_t pid = (pid_t)MUST(fork());
	if (!pid) {
		after_first(p, "in a child");
		_exit(0);
	}
	show_status("child", pid);
	after_first(p, "in its parent");
	close_pair(p);
	return finish();
}

/* Recording ends in between, by its own time. */
static int late(int from)
{
	struct pair p = pair(from);

	exchange(p.client, p.server);
	connection("early", from);
	int before = *served;
	usleep(1800000);
	connection("late", from);
	connection("later", from);
	show_options("connection", p.server);
	ask_read_answer("message", p);
	*served = before;
	return finish();
}

int main(int argc, char **argv)
{
	/* The kernel begins to stamp, for all, some time after the first socket has asked for it. */
	int asks = (int)MUST(socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0));
	MUST(setsockopt(asks, SOL_SOCKET, SO_TIMESTAMP, &(int){1}, sizeof(int)));
	usleep(50000);
	if (argc > 2)
		return after_exec(atoi(argv[2]));
	int from = listener(AF_INET);
	if (argc > 1)
		return strcmp(argv[1], "late") ? other_protocols(from) : late(from);
	connection("as it comes", from);
	raw(from);
	each_option();

	char number[16];
	snprintf(number, sizeof(number), "%d", from);
	finish();
	execl("/proc/self/exe", argv[0], "after-exec", number, NULL);
	return 1;
}
