/*
 * moments.c - a process at a hard moment for somebody who wants to attach:
 *    moments NAME
 * Prints "ready", and goes on until SIGTERM; then "good", or what was wrong
 * before that, and ends. Some print a line for each call that they made: its
 * duration in ms, its result and errno.
 */
#include <dlfcn.h>
#include <errno.h>
#include <poll.h>
#include <pthread.h>
#include <semaphore.h>
#include <signal.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/select.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/time.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#define THREADS 4
#define MANY 2000
#define SMALL_STACK 16384
#define LIMIT_MS 300

static volatile sig_atomic_t ending;
static const char *wrong;

static void end(int number)
{
	(void)number;
	ending = 1;
}

static void ready(void)
{
	puts("ready");
	fflush(stdout);
}

static void handle(int number, void (*handler)(int), int flags)
{
	struct sigaction action = {.sa_handler = handler, .sa_flags = flags};

	sigaction(number, &action, NULL);
}

/* SIGTERM comes to the first thread; the others are left when the process ends. */
static void start(int count, void *(*run)(void *), size_t stack)
{
	pthread_attr_t attributes;
	sigset_t term, before;
	pthread_t thread;

	sigemptyset(&term);
	sigaddset(&term, SIGTERM);
	pthread_sigmask(SIG_BLOCK, &term, &before);
	pthread_attr_init(&attributes);
	pthread_attr_setstacksize(&attributes, stack);
	for (int i = 0; i < count; i++)
		if (pthread_create(&thread, &attributes, run, NULL))
			wrong = "no thread";
	pthread_sigmask(SIG_SETMASK, &before, NULL);
}

static void wait_in_poll(void)
{
	while (!ending)
		poll(NULL, 0, -1);
}

/* ---- what threads do ---- */

static void allocate_once(unsigned *seed)
{
	size_t size = 16 + rand_r(seed) % 4000;
	unsigned char *block = malloc(size);

	if (!block)
		return;
	memset(block, (int)size, size);
	if (block[0] != (unsigned char)size || block[size - 1] != (unsigned char)size)
		wrong = "memory";
	free(block);
}

static void *allocate(void *unused)
{
	unsigned seed = (unsigned)(size_t)&unused;

	while (!wrong)
		allocate_once(&seed);
	return NULL;
}

static void *load(void *unused)
{
	while (!wrong) {
		void *library = dlopen("libz.so.1", RTLD_NOW);

		if (library)
			dlclose(library);
	}
	return unused;
}

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static pthread_cond_t condition = PTHREAD_COND_INITIALIZER;

static void *wait_for_condition(void *unused)
{
	pthread_mutex_lock(&lock);
	for (;;)
		pthread_cond_wait(&condition, &lock);
	return unused;
}

static void *wait_for_lock(void *unused)
{
	pthread_mutex_lock(&lock);
	return unused;
}

static void *wait_in_thread(void *unused)
{
	for (;;)
		poll(NULL, 0, -1);
	return unused;
}

static void *do_nothing(void *unused)
{
	return unused;
}

static void *make_threads(void *unused)
{
	pthread_t thread;

	while (!wrong)
		if (!pthread_create(&thread, NULL, do_nothing, NULL))
			pthread_join(thread, NULL);
	return unused;
}

/* ---- moments ---- */

static void in_malloc(void)
{
	start(THREADS, allocate, 1 << 20);
	ready();
	wait_in_poll();
}

static void in_malloc_only(void)
{
	unsigned seed = 1;

	start(THREADS, allocate, 1 << 20);
	ready();
	while (!ending)
		allocate_once(&seed);
}

static void in_dlopen(void)
{
	start(2, load, 1 << 20);
	ready();
	wait_in_poll();
}

static void in_condition(void)
{
	start(THREADS, wait_for_condition, 1 << 20);
	ready();
	pthread_mutex_lock(&lock);
	while (!ending) {
		struct timespec until;

		clock_gettime(CLOCK_REALTIME, &until);
		until.tv_nsec = 0;
		until.tv_sec += 2;
		pthread_cond_timedwait(&condition, &lock, &until);
	}
}

static void in_semaphore(void)
{
	sem_t semaphore;

	sem_init(&semaphore, 0, 0);
	ready();
	while (!ending)
		sem_wait(&semaphore);
}

static void in_mutex(void)
{
	struct timespec until;

	pthread_mutex_lock(&lock);
	start(THREADS, wait_for_lock, 1 << 20);
	ready();
	while (!ending) {
		clock_gettime(CLOCK_REALTIME, &until);
		until.tv_sec += 1;
		pthread_mutex_timedlock(&lock, &until);
	}
}

static void in_epoll(void)
{
	struct epoll_event event;
	int file = epoll_create1(0);

	ready();
	while (!ending)
		if (epoll_wait(file, &event, 1, -1) >= 0 || errno != EINTR || !ending)
			wrong = "epoll_wait ended";
}

/* As a parent waits for its helpers' end. */
static void in_read(void)
{
	int ends[2];
	char byte;

	if (pipe(ends))
		return;
	ready();
	while (!ending)
		if (read(ends[0], &byte, 1) >= 0 || errno != EINTR || !ending)
			wrong = "read ended";
}

static void in_loop(void)
{
	ready();
	while (!ending)
		__asm__ volatile("" ::: "memory");
}

static void wait_in_handler(int number)
{
	(void)number;
	while (!ending)
		poll(NULL, 0, -1);
}

static void in_handler(void)
{
	handle(SIGUSR1, wait_in_handler, 0);
	ready();
	raise(SIGUSR1);
}

/* By code made at run time, of which nothing tells how to unwind it: sub $8, %rsp; call *%rdi; add $8, %rsp; ret */
static void call_by_made_code(void (*function)(void))
{
	static const unsigned char code[] = {0x48, 0x83, 0xec, 8, 0xff, 0xd7, 0x48, 0x83, 0xc4, 8, 0xc3};
	unsigned char *made = mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

	memcpy(made, code, sizeof(code));
	mprotect(made, 4096, PROT_READ | PROT_EXEC);
	((void (*)(void (*)(void)))(void *)made)(function);
}

static void in_made_code(void)
{
	ready();
	call_by_made_code(wait_in_poll);
}

static void wait_in_made_code(int number)
{
	(void)number;
	call_by_made_code(wait_in_poll);
}

static void in_handler_by_made_code(void)
{
	handle(SIGUSR1, wait_in_made_code, 0);
	ready();
	raise(SIGUSR1);
}

/* The library's constructor says that it is ready, and waits for a signal. */
static void in_constructor(void)
{
	if (!dlopen(getenv("WAITING"), RTLD_NOW))
		wrong = "no library";
}

static volatile unsigned long came;

static void count(int number)
{
	(void)number;
	errno = EDOM;
	came++;
}

static void with_signals(int flags)
{
	const struct itimerval each = {{0, 1000}, {0, 1000}};

	handle(SIGALRM, count, flags);
	setitimer(ITIMER_REAL, &each, NULL);
	ready();
	while (!ending)
		poll(NULL, 0, 5);
	setitimer(ITIMER_REAL, &(struct itimerval){{0, 0}, {0, 0}}, NULL);
	if (!came)
		wrong = "no signal came";
}

static void in_signals(void)
{
	with_signals(0);
}

static void in_signals_elsewhere(void)
{
	static char room[65536];
	const stack_t elsewhere = {.ss_sp = room, .ss_size = sizeof(room)};
	stack_t now;

	sigaltstack(&elsewhere, NULL);
	with_signals(SA_ONSTACK);
	if (sigaltstack(NULL, &now) || now.ss_sp != room || now.ss_size != sizeof(room))
		wrong = "the signals' stack is another";
}

static void with_handler_of_faults(void)
{
	struct sigaction now;

	handle(SIGSEGV, count, 0);
	ready();
	wait_in_poll();
	if (sigaction(SIGSEGV, NULL, &now) || now.sa_handler != count || came)
		wrong = "the handler is another, or was called";
}

static void in_pending(void)
{
	sigset_t set, pending;

	sigemptyset(&set);
	sigaddset(&set, SIGUSR2);
	handle(SIGUSR2, count, 0);
	sigprocmask(SIG_BLOCK, &set, NULL);
	raise(SIGUSR2);
	ready();
	wait_in_poll();
	sigpending(&pending);
	if (!sigismember(&pending, SIGUSR2) || came)
		wrong = "the signal waits no more";
}

static void in_threads(void)
{
	start(2, make_threads, 1 << 20);
	ready();
	wait_in_poll();
}

static void in_many(void)
{
	start(MANY, wait_in_thread, SMALL_STACK);
	ready();
	wait_in_poll();
}

static void in_small_stack(void)
{
	start(1, wait_in_thread, SMALL_STACK);
	ready();
	while (!ending)
		pthread_mutex_timedlock(&lock, &(struct timespec){0, 0});
}

static void in_fork(void)
{
	int status;

	ready();
	while (!ending && !wrong) {
		pid_t child = fork();

		if (!child) {
			unsigned seed = 1;

			allocate_once(&seed);
			usleep(1000);
			_exit(7);
		}
		while (child > 0 && waitpid(child, &status, 0) < 0)
			;
		if (child > 0 && (!WIFEXITED(status) || WEXITSTATUS(status) != 7))
			wrong = "a child died";
	}
}

static void in_exec(void)
{
	if (!getenv("AGAIN"))
		ready();
	setenv("AGAIN", "1", 1);
	poll(NULL, 0, 20);
	if (!ending)
		execl("/proc/self/exe", "moments", "exec", NULL);
}

/* ---- behind a filter ---- */

/* linux/filter.h and linux/seccomp.h, which musl's compiler doesn't find. */
struct step {
	unsigned short code;
	unsigned char if_true, if_false;
	unsigned number;
};
enum { LOAD = 0x20, IS_EQUAL = 0x15, RETURN = 0x06 };
#define KILL 0x80000000u
#define FAIL 0x00050000u
#define ALLOW 0x7fff0000u

static void forbid(unsigned number, unsigned how)
{
	struct step program[] = {{LOAD, 0, 0, 0}, {IS_EQUAL, 0, 1, number}, {RETURN, 0, 0, how}, {RETURN, 0, 0, ALLOW}};
	struct {
		unsigned short count;
		struct step *program;
	} filter = {4, program};

	prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0);
	if (prctl(PR_SET_SECCOMP, 2, &filter))
		wrong = "no filter";
	ready();
	wait_in_poll();
}

static void behind_kill_mmap(void)
{
	forbid(SYS_mmap, KILL);
}

static void behind_kill_openat(void)
{
	forbid(SYS_openat, KILL);
}

static void behind_kill_socket(void)
{
	forbid(SYS_socket, KILL);
}

static void behind_errno_openat(void)
{
	forbid(SYS_openat, FAIL | EPERM);
}

static void behind_harmless(void)
{
	forbid(SYS_kexec_load, KILL);
}

/* ---- calls with a limit ---- */

static int file = -1;

static int call_epoll(void)
{
	struct epoll_event event;

	return epoll_wait(file, &event, 1, LIMIT_MS);
}

static int call_poll(void)
{
	return poll(NULL, 0, LIMIT_MS);
}

static int call_select(void)
{
	return select(0, NULL, NULL, NULL, &(struct timeval){0, LIMIT_MS * 1000});
}

static int call_nanosleep(void)
{
	return nanosleep(&(struct timespec){0, LIMIT_MS * 1000000}, NULL);
}

static int call_sigtimedwait(void)
{
	sigset_t set;

	sigemptyset(&set);
	sigaddset(&set, SIGUSR1);
	return sigtimedwait(&set, NULL, &(struct timespec){0, LIMIT_MS * 1000000});
}

static int call_recv(void)
{
	char byte;

	return (int)recv(file, &byte, 1, 0);
}

static void repeat(int (*call)(void))
{
	struct timespec from, to;

	ready();
	while (!ending) {
		errno = 0;
		clock_gettime(CLOCK_MONOTONIC, &from);
		int result = call(), error = errno;
		clock_gettime(CLOCK_MONOTONIC, &to);
		if (!ending)
			printf("%ld %d %d\n", (to.tv_sec - from.tv_sec) * 1000 + (to.tv_nsec - from.tv_nsec) / 1000000,
			       result, error);
	}
}

static void calling_epoll(void)
{
	file = epoll_create1(0);
	repeat(call_epoll);
}

static void calling_poll(void)
{
	repeat(call_poll);
}

static void calling_select(void)
{
	repeat(call_select);
}

static void calling_nanosleep(void)
{
	repeat(call_nanosleep);
}

static void calling_sigtimedwait(void)
{
	repeat(call_sigtimedwait);
}

static void calling_recv(void)
{
	int pair[2];

	if (socketpair(AF_UNIX, SOCK_STREAM, 0, pair))
		wrong = "no socket";
	setsockopt(pair[0], SOL_SOCKET, SO_RCVTIMEO, &(struct timeval){0, LIMIT_MS * 1000}, sizeof(struct timeval));
	file = pair[0];
	repeat(call_recv);
}

static const struct {
	const char *name;
	void (*run)(void);
} moments[] = {
    {"malloc", in_malloc},
    {"malloc-only", in_malloc_only},
    {"dlopen", in_dlopen},
    {"condition", in_condition},
    {"semaphore", in_semaphore},
    {"mutex", in_mutex},
    {"epoll", in_epoll},
    {"read", in_read},
    {"loop", in_loop},
    {"handler", in_handler},
    {"made-code", in_made_code},
    {"made-code-in-handler", in_handler_by_made_code},
    {"constructor", in_constructor},
    {"signals", in_signals},
    {"signals-elsewhere", in_signals_elsewhere},
    {"faults", with_handler_of_faults},
    {"pending", in_pending},
    {"threads", in_threads},
    {"many", in_many},
    {"small-stack", in_small_stack},
    {"fork", in_fork},
    {"exec", in_exec},
    {"kill-mmap", behind_kill_mmap},
    {"kill-openat", behind_kill_openat},
    {"kill-socket", behind_kill_socket},
    {"errno-openat", behind_errno_openat},
    {"filter", behind_harmless},
    {"call-epoll", calling_epoll},
    {"call-poll", calling_poll},
    {"call-select", calling_select},
    {"call-nanosleep", calling_nanosleep},
    {"call-sigtimedwait", calling_sigtimedwait},
    {"call-recv", calling_recv},
};

int main(int argc, char **argv)
{
	size_t i = 0, number = sizeof(moments) / sizeof(*moments);

	while (i < number && (argc != 2 || strcmp(argv[1], moments[i].name)))
		i++;
	if (i == number)
		return 2;
	handle(SIGTERM, end, 0);
	moments[i].run();
	puts(wrong ? wrong : "good");
	fflush(stdout);
	_exit(wrong != NULL);
}
