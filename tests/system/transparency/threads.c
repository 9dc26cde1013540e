/* threads.c - threads that come in storms, are cancelled, or outlive the process: threads WHAT */
#include "host.h"

#include <limits.h>
#include <sched.h>
#include <sys/uio.h>

static int from;

/* ---- 2,000 threads of one request each ---- */

static void *serves_one(void *argument)
{
	int fd = (int)(intptr_t)argument;

	serve(fd);
	close(fd);
	return NULL;
}

static void storm(void)
{
	enum { AT_A_TIME = 50 };

	for (int n = 0; n < 2000; n += AT_A_TIME) {
		pthread_t threads[AT_A_TIME];
		struct pair p[AT_A_TIME];

		for (int i = 0; i < AT_A_TIME; i++) {
			p[i] = pair(from);
			ask(p[i].client);
			pthread_create(&threads[i], NULL, serves_one, (void *)(intptr_t)p[i].server);
		}
		for (int i = 0; i < AT_A_TIME; i++) {
			answered(p[i].client);
			pthread_join(threads[i], NULL);
			close(p[i].client);
		}
	}
}

/* ---- threads cancelled where they wait ---- */

static struct pair cancelled;
static int cleaned;

static void clean(void *argument)
{
	(void)argument;
	cleaned++;
}

static void waits(int way)
{
	char got[100];
	struct iovec v = {got, sizeof(got)};
	struct msghdr m = {.msg_iov = &v, .msg_iovlen = 1};
	struct pollfd fd = {.fd = cancelled.server, .events = POLLIN};

	switch (way) {
	case 0:
		read(cancelled.server, got, sizeof(got));
		break;
	case 1:
		recv(cancelled.server, got, sizeof(got), 0);
		break;
	case 2:
		readv(cancelled.server, &v, 1);
		break;
	case 3:
		recvmsg(cancelled.server, &m, 0);
		break;
	case 4:
		recvfrom(cancelled.server, got, sizeof(got), 0, NULL, NULL);
		break;
	case 5:
		accept(from, NULL, NULL);
		break;
	case 6:
		poll(&fd, 1, -1);
		break;
	default:
		pause();
	}
}

static void *waits_to_be_cancelled(void *argument)
{
	int way = (int)(intptr_t)argument;

	pthread_cleanup_push(clean, NULL);
	if (way >= 100)
		pthread_setcanceltype(PTHREAD_CANCEL_ASYNCHRONOUS, NULL);
	waits(way % 100);
	pthread_cleanup_pop(0);
	return NULL;
}

static void cancels(void)
{
	cancelled = pair(from);
	for (int way = 0; way < 108; way = way == 7 ? 100 : way + 1) {
		pthread_t thread;
		void *result = NULL;

		pthread_create(&thread, NULL, waits_to_be_cancelled, (void *)(intptr_t)way);
		usleep(3000);
		pthread_cancel(thread);
		pthread_join(thread, &result);
		printf("%d: cancelled %d, cleaned %d\n", way, result == PTHREAD_CANCELED, cleaned);
		exchange(cancelled.client, cancelled.server);
	}
	/* One that is cancelled before it waits doesn't wait. */
	pthread_t thread;
	pthread_create(&thread, NULL, waits_to_be_cancelled, (void *)0);
	pthread_cancel(thread);
	pthread_join(thread, NULL);
	exchange(cancelled.client, cancelled.server);
	close_pair(cancelled);
}

/* ---- all at once on few connections ---- */

static pthread_mutex_t turn = PTHREAD_MUTEX_INITIALIZER;
static struct pair shared[4];

static void *serves_in_turn(void *argument)
{
	unsigned seed = (unsigned)(intptr_t)argument;

	for (int i = 0; i < 2000; i++) {
		struct pair *p = &shared[rand_r(&seed) % 4];

		pthread_mutex_lock(&turn);
		exchange(p->client, p->server);
		/* Descriptors come and go beside. */
		close((int)MUST(dup(p->server)));
		pthread_mutex_unlock(&turn);
		free(malloc(100));
	}
	return NULL;
}

static void share(void)
{
	pthread_t threads[8];

	for (int i = 0; i < 4; i++)
		shared[i] = pair(from);
	for (int i = 0; i < 8; i++)
		pthread_create(&threads[i], NULL, serves_in_turn, (void *)(intptr_t)(i + 1));
	for (int i = 0; i < 8; i++)
		pthread_join(threads[i], NULL);
	for (int i = 0; i < 4; i++)
		close_pair(shared[i]);
}

/* One thread reads and another answers what has been read: the agent's own lock is all that orders them. */
#define BOTH 20000
static int read_so_far;

static void *answers(void *argument)
{
	for (int i = 0; i < BOTH; i++) {
		while (__atomic_load_n(&read_so_far, __ATOMIC_ACQUIRE) <= i)
			sched_yield();
		respond(*(int *)argument);
	}
	return NULL;
}

static void *takes_answers(void *argument)
{
	for (int i = 0; i < BOTH; i++)
		answered(*(int *)argument);
	return NULL;
}

static void *asks(void *argument)
{
	for (int i = 0; i < BOTH; i++)
		ask(*(int *)argument);
	return NULL;
}

static void both_directions(void)
{
	struct pair p = pair(from);
	pthread_t writer, reader, asker;
	char got[1000];
	size_t n = 0;

	pthread_create(&reader, NULL, takes_answers, &p.client);
	pthread_create(&asker, NULL, asks, &p.client);
	pthread_create(&writer, NULL, answers, &p.server);
	while (n < BOTH * (sizeof(head) - 1)) {
		n += (size_t)MUST(read(p.server, got, sizeof(got)));
		__atomic_store_n(&read_so_far, (int)(n / (sizeof(head) - 1)), __ATOMIC_RELEASE);
	}
	pthread_join(writer, NULL);
	pthread_join(reader, NULL);
	pthread_join(asker, NULL);
	close_pair(p);
}

/* ---- threads with the least stack there is: the agent is started in one, too ---- */

static void *on_a_small_stack(void *argument)
{
	int fd = (int)MUST(accept(from, NULL, NULL));
	pid_t pid;

	while (serve(fd))
		;
	close(fd);
	pid = (pid_t)MUST(fork());
	if (!pid)
		execv("/bin/true", (char *[]){"true", NULL});
	waitpid(pid, NULL, 0);
	return argument;
}

static void small_stacks(void)
{
	pthread_attr_t attributes;
	long result;

	/* Behind the agent's back, so that the thread's accept is the first that it sees. */
	from = bound(AF_INET);
	__asm__ volatile("syscall" : "=a"(result) : "a"(50), "D"(from), "S"(10) : "rcx", "r11", "memory");
	MUST(result);
	pthread_attr_init(&attributes);
	MUST(-pthread_attr_setstacksize(&attributes, PTHREAD_STACK_MIN));
	for (int i = 0; i < 5; i++) {
		pthread_t thread;
		int asks = client();

		MUST(-pthread_create(&thread, &attributes, on_a_small_stack, NULL));
		for (int n = 0; n < 3; n++) {
			ask(asks);
			answered(asks);
		}
		close(asks);
		pthread_join(thread, NULL);
	}
}

/* ---- ends with threads alive ---- */

static bool forever = true;
static void *volatile nowhere = (void *)8;

static void *serves_for_ever(void *argument)
{
	struct pair p = *(struct pair *)argument;

	/* The first says that all of it works; the rest is at the mercy of the end. */
	for (int i = 0; i < (forever ? INT_MAX : 200); i++) {
		ask(p.client);
		serve(p.server);
		answered(p.client);
	}
	return NULL;
}

static void end(const char *how)
{
	static struct pair p[8];

	forever = strcmp(how, "main-thread") != 0;
	for (int i = 0; i < 8; i++) {
		pthread_t thread;

		p[i] = pair(from);
		pthread_create(&thread, NULL, serves_for_ever, &p[i]);
	}
	usleep(20000);
	if (!strcmp(how, "exit"))
		exit(5);
	if (!strcmp(how, "_exit"))
		_exit(6);
	if (!strcmp(how, "quick_exit"))
		quick_exit(7);
	if (!strcmp(how, "abort"))
		abort();
	if (!strcmp(how, "kill"))
		raise(SIGKILL);
	if (!strcmp(how, "segv"))
		*(volatile int *)nowhere = 1;
	if (!strcmp(how, "main-thread"))
		pthread_exit(NULL);
}

int main(int argc, char **argv)
{
	if (argc < 2)
		return 2;
	if (!strcmp(argv[1], "small")) {
		small_stacks();
		return finish();
	}
	from = listener(AF_INET);
	if (!strcmp(argv[1], "storm"))
		storm();
	else if (!strcmp(argv[1], "cancel"))
		cancels();
	else if (!strcmp(argv[1], "share"))
		share();
	else if (!strcmp(argv[1], "both"))
		both_directions();
	else
		end(argv[1]);
	return finish();
}
