/* signals.c - handlers that interrupt whatever we do: signals WHAT */
#include "host.h"

#include <setjmp.h>
#include <sys/time.h>
#include <sys/uio.h>

static int from;

static void handle(int signal, void (*handler)(int), int flags)
{
	struct sigaction action = {.sa_handler = handler, .sa_flags = flags};

	MUST(sigaction(signal, &action, NULL));
}

static void every(int which, long us)
{
	struct itimerval timer = {.it_interval = {.tv_usec = us}, .it_value = {.tv_usec = us}};

	MUST(setitimer(which, us ? &timer : &(struct itimerval){0}, NULL));
}

/* ---- a profiler's timer, before and during all of the server's life ---- */

static volatile int ticks;

static void on_profile(int signal)
{
	(void)signal;
	ticks++;
}

static void profiled(void)
{
	/* On, and quick, before the agent is: it has to start among the interruptions. */
	handle(SIGALRM, on_profile, 0);
	handle(SIGPROF, on_profile, SA_RESTART);
	every(ITIMER_REAL, 500);
	every(ITIMER_PROF, 1000);
	from = listener(AF_INET);
	every(ITIMER_REAL, 0);
	struct pair p = pair(from);
	for (int i = 0; i < 20000; i++)
		exchange(p.client, p.server);
	every(ITIMER_PROF, 0);
	printf("ticked: %d\n", ticks > 3);
	close_pair(p);
}

/* ---- a handler that serves a connection itself ---- */

static struct pair of_the_handler;
static volatile int served_in_handler;

static void on_serve(int signal)
{
	int saved = errno;
	char got[sizeof(head)];

	(void)signal;
	/* One request each time, its parts by three calls; the client's side is told of by the main program. */
	if (recv(of_the_handler.server, got, sizeof(head) - 1, MSG_DONTWAIT) == sizeof(head) - 1 &&
	    send(of_the_handler.server, answer, sizeof(answer) - 1, MSG_NOSIGNAL) > 0)
		served_in_handler++;
	close(dup(of_the_handler.server));
	errno = saved;
}

static void serving_handler(void)
{
	from = listener(AF_INET);
	of_the_handler = pair(from);
	struct pair p = pair(from);
	int asked = 0, missed = 0;

	handle(SIGUSR1, on_serve, SA_RESTART);
	/* Raised between calls: every request counts. */
	for (int i = 0; i < 1000; i++) {
		ask(of_the_handler.client);
		raise(SIGUSR1);
		answered(of_the_handler.client);
		asked++;
		exchange(p.client, p.server);
	}
	*served += asked;
	if (served_in_handler != asked)
		missed = asked - served_in_handler;
	printf("asked %d, missed %d\n", asked, missed);
	close_pair(of_the_handler);
	close_pair(p);
}

/* The same at any instant: in the middle of our calls. What is then seen of the handler's own connection may be less.
 */
static volatile bool stop;
static volatile int asked_by_thread;

static void *asks(void *argument)
{
	pthread_t target = *(pthread_t *)argument;

	for (int i = 0; i < 3000; i++) {
		ask(of_the_handler.client);
		pthread_kill(target, SIGUSR1);
		answered(of_the_handler.client);
	}
	stop = true;
	return NULL;
}

static void interrupting_handler(void)
{
	pthread_t self = pthread_self(), thread;
	sigset_t set;

	from = listener(AF_INET);
	of_the_handler = pair(from);
	struct pair p = pair(from);
	handle(SIGUSR1, on_serve, SA_RESTART);
	sigemptyset(&set);
	sigaddset(&set, SIGUSR1);
	pthread_sigmask(SIG_BLOCK, &set, NULL);
	pthread_create(&thread, NULL, asks, &self);
	pthread_sigmask(SIG_UNBLOCK, &set, NULL);
	while (!stop)
		exchange(p.client, p.server);
	pthread_join(thread, NULL);
	printf("served in the handler: %d\n", served_in_handler);
	/* How many the main thread served is a matter of time. */
	*served = 0;
	close_pair(of_the_handler);
	close_pair(p);
}

/* ---- jumps out of a handler, as a time-out of old ---- */

static sigjmp_buf back;

static void on_timeout(int signal)
{
	(void)signal;
	siglongjmp(back, 1);
}

static void jumps(void)
{
	char got[10];

	from = listener(AF_INET);
	handle(SIGALRM, on_timeout, 0);
	struct pair p = pair(from);
	for (volatile int i = 0; i < 20; i++) {
		if (!sigsetjmp(back, 1)) {
			struct itimerval soon = {.it_value = {.tv_usec = 3000}};

			setitimer(ITIMER_REAL, &soon, NULL);
			if (i % 2)
				SHOW(read(p.server, got, sizeof(got)));
			else
				SHOW(accept(from, NULL, NULL));
		}
		exchange(p.client, p.server);
	}
	close_pair(p);
}

/* ---- blocked calls of every kind that are interrupted ---- */

static void on_nothing(int signal)
{
	(void)signal;
}

static void interrupted(void)
{
	static char large[8000000];
	char got[10];
	struct iovec v = {got, sizeof(got)};
	struct msghdr m = {.msg_iov = &v, .msg_iovlen = 1};
	struct pollfd fd;

	from = listener(AF_INET);
	struct pair p = pair(from);
	handle(SIGALRM, on_nothing, 0);
	every(ITIMER_REAL, 5000);
	SHOW(read(p.server, got, sizeof(got)));
	SHOW(readv(p.server, &v, 1));
	SHOW(recv(p.server, got, sizeof(got), 0));
	SHOW(recvfrom(p.server, got, sizeof(got), 0, NULL, NULL));
	SHOW(recvmsg(p.server, &m, 0));
	SHOW(accept(from, NULL, NULL));
	SHOW(accept4(from, NULL, NULL, 0));
	fd = (struct pollfd){.fd = p.server, .events = POLLIN};
	SHOW(poll(&fd, 1, -1));
	every(ITIMER_REAL, 0);
	exchange(p.client, p.server);
	/* A response that doesn't fit is cut where the signal comes, and goes on. */
	ask(p.client);
	wait_readable(p.server);
	char request[100];
	MUST(read(p.server, request, sizeof(request)));
	size_t length = (size_t)sprintf(large, "HTTP/1.1 200 OK\r\nContent-Length: 7000000\r\n\r\n") + 7000000, at = 0;
	every(ITIMER_REAL, 5000);
	ssize_t n = write(p.server, large, length);
	printf("cut short: %d\n", n > 0 && n < (ssize_t)length);
	at = n > 0 ? (size_t)n : 0;
	SHOW(write(p.server, large + at, length - at));
	every(ITIMER_REAL, 0);
	MUST(fcntl(p.server, F_SETFL, O_NONBLOCK));
	size_t got_bytes = 0;
	while (got_bytes < length) {
		static char part[65536];
		ssize_t more = recv(p.client, part, sizeof(part), MSG_DONTWAIT);

		if (more > 0)
			got_bytes += (size_t)more;
		if (at < length && (n = write(p.server, large + at, length - at)) > 0)
			at += (size_t)n;
	}
	++*served;
	close_pair(p);
}

int main(int argc, char **argv)
{
	if (argc < 2)
		return 2;
	if (!strcmp(argv[1], "profiled"))
		profiled();
	else if (!strcmp(argv[1], "serving"))
		serving_handler();
	else if (!strcmp(argv[1], "interrupting"))
		interrupting_handler();
	else if (!strcmp(argv[1], "jumps"))
		jumps();
	else
		interrupted();
	return finish();
}
