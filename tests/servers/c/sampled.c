/*
 * sampled.c - serves one request to itself, and while it is open allocates
 * where a hook of the allocator must not do much. What it prints is the same
 * whoever looks on.
 *
 *    sampled MODE [LIBRARY]
 *    sampled filtered MODE ...: the same behind a filter of system calls
 *
 * Modes: see the table at the end. Behind the agent may be an allocator that
 * may be called from anywhere and counts (tests/system/sites_shim.c).
 */
#include <dlfcn.h>
#include <errno.h>
#include <netinet/in.h>
#include <pthread.h>
#include <signal.h>
#include <stddef.h>
#include <stdatomic.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>
#ifdef __GLIBC__
/* These musl's compiler doesn't find. */
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <ucontext.h>
#endif

#define BLOCKS 200
#define SIZE 20000 /* with --sample-bytes 4096 a sample but for one in 130 */

static int failures;

static void check(int good, const char *what)
{
	if (!good) {
		failures++;
		fprintf(stderr, "sampled: %s\n", what);
	}
}

static void pause_shortly(void)
{
	nanosleep(&(struct timespec){.tv_nsec = 20000}, NULL);
}

/* All kinds of calls; the blocks' contents and errno are as they should be. The sum of what it read back. */
static unsigned work(unsigned count)
{
	unsigned sum = 0;

	for (unsigned i = 0; i < count; i++) {
		void *aligned = NULL;

		errno = 77;
		unsigned char *block = malloc(SIZE), *zeroes = calloc(10, SIZE / 10);
		check(block && zeroes && !zeroes[SIZE - 1], "malloc and calloc");
		memset(block, (int)(i & 255), SIZE);
		block = realloc(block, 2 * SIZE);
		check(block && !posix_memalign(&aligned, 256, SIZE) && !((uintptr_t)aligned & 255), "posix_memalign");
		sum += block[SIZE - 1];
		free(zeroes);
		free(block);
		free(aligned);
		check(errno == 77, "errno");
	}
	return sum;
}

/* ---- threads ---- */

static atomic_int others_turn, others_done;

static void *other(void *unused)
{
	(void)unused;
	while (!atomic_load(&others_turn))
		pause_shortly();
	atomic_store(&others_done, (int)work(BLOCKS) + 1);
	return NULL;
}

/* Another thread works, while this one has whatever it has. Called by the library's constructor, too. */
void let_other_work(void);

void let_other_work(void)
{
	atomic_store(&others_turn, 1);
	while (!atomic_load(&others_done))
		pause_shortly();
}

unsigned work_here(void);

unsigned work_here(void)
{
	return work(BLOCKS);
}

/* In a constructor, with the linker's lock. */
static unsigned in_constructor(const char *library)
{
	pthread_t thread;

	pthread_create(&thread, NULL, other, NULL);
	check(dlopen(library, RTLD_NOW) != NULL, "dlopen");
	pthread_join(thread, NULL);
	return (unsigned)atomic_load(&others_done);
}

/* The counting allocator calls back from a malloc of this size, with a lock of its own. */
#define CALLS_BACK 54321

static unsigned in_malloc(const char *unused)
{
	void (**calls_back)(void) = (void (**)(void))dlsym(RTLD_DEFAULT, "shim_calls_back");
	pthread_t thread;

	(void)unused;
	pthread_create(&thread, NULL, other, NULL);
	check(calls_back != NULL, "no counting allocator");
	if (calls_back)
		*calls_back = let_other_work;
	char *volatile block = malloc(CALLS_BACK);
	free(block);
	pthread_join(thread, NULL);
	return (unsigned)atomic_load(&others_done);
}

/* ---- a thread that is held where it is ---- */

static atomic_int held, let_go, ends;

static void hold(int number)
{
	int saved = errno;

	(void)number;
	atomic_store(&held, 1);
	while (!atomic_load(&let_go))
		pause_shortly();
	atomic_store(&held, 0);
	errno = saved;
}

static void *allocate_on(void *unused)
{
	(void)unused;
	while (!atomic_load(&ends))
		work(1);
	return NULL;
}

static unsigned while_held(const char *unused)
{
	pthread_t thread;
	unsigned sum = 0;

	(void)unused;
	signal(SIGUSR1, hold);
	pthread_create(&thread, NULL, allocate_on, NULL);
	for (int i = 0; i < 100; i++) {
		atomic_store(&let_go, 0);
		pthread_kill(thread, SIGUSR1);
		while (!atomic_load(&held))
			pause_shortly();
		sum += work(5);
		atomic_store(&let_go, 1);
		while (atomic_load(&held))
			pause_shortly();
	}
	atomic_store(&ends, 1);
	pthread_join(thread, NULL);
	return sum;
}

/* ---- signal handlers ---- */

static atomic_int handled;

static void work_in_handler(int number)
{
	(void)number;
	work(1);
	atomic_fetch_add(&handled, 1);
}

/* At any moment, inside of the hooks among them; behind them is the counting allocator. */
static unsigned in_handler(const char *unused)
{
	const struct itimerval often = {{0, 300}, {0, 300}}, never = {{0, 0}, {0, 0}};
	unsigned sum = 0;

	(void)unused;
	check(dlsym(RTLD_DEFAULT, "shim_calls_back") != NULL, "no counting allocator");
	signal(SIGALRM, work_in_handler);
	setitimer(ITIMER_REAL, &often, NULL);
	while (atomic_load(&handled) < 300)
		sum += work(1);
	setitimer(ITIMER_REAL, &never, NULL);
	return sum;
}

/* ---- processes ---- */

static unsigned in_fork(const char *unused)
{
	char *blocks[BLOCKS];
	int status = -1;

	(void)unused;
	for (int i = 0; i < BLOCKS; i++)
		blocks[i] = malloc(SIZE);
	pid_t child = fork();
	if (!child) {
		for (int i = 0; i < BLOCKS; i++)
			free(blocks[i]);
		_exit(work(BLOCKS) & 127);
	}
	for (int i = 0; i < BLOCKS; i++)
		free(blocks[i]);
	unsigned sum = work(BLOCKS);
	check(waitpid(child, &status, 0) == child && WIFEXITED(status), "the child of a fork");
	return sum + (unsigned)WEXITSTATUS(status);
}

static unsigned in_vfork(const char *unused)
{
	char *volatile blocks[BLOCKS];
	int status = -1;

	(void)unused;
	for (int i = 0; i < BLOCKS; i++)
		blocks[i] = malloc(SIZE);
	pid_t child = vfork();
	if (!child) {
		for (int i = 0; i < BLOCKS; i++)
			free(blocks[i]); /* the parent's: it is one memory */
		for (int i = 0; i < BLOCKS; i++)
			blocks[i] = malloc(SIZE);
		_exit(7);
	}
	check(waitpid(child, &status, 0) == child && WIFEXITED(status), "the child of a vfork");
	for (int i = 0; i < BLOCKS; i++)
		free(blocks[i]);
	return work(BLOCKS) + (unsigned)WEXITSTATUS(status);
}

/* ---- stacks ---- */

#define PAGE 4096u

/* Nothing can be read below it or above it. */
static char *stack_between_gaps(size_t size)
{
	char *memory = mmap(NULL, size + 2 * PAGE, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

	check(memory != MAP_FAILED && !mprotect(memory + PAGE, size, PROT_READ | PROT_WRITE), "a stack");
	return memory + PAGE;
}

static unsigned on_signal_stack(const char *unused)
{
	stack_t stack = {.ss_size = 4 * PAGE};
	struct sigaction action = {.sa_handler = work_in_handler, .sa_flags = SA_ONSTACK};

	(void)unused;
	stack.ss_sp = stack_between_gaps(stack.ss_size);
	check(!sigaltstack(&stack, NULL) && !sigaction(SIGUSR2, &action, NULL), "sigaltstack");
	for (int i = 0; i < BLOCKS; i++)
		raise(SIGUSR2);
	return (unsigned)atomic_load(&handled);
}

/* Until so little is left of the stack. */
#define LEFT 2560u
static char *small_stack;

static unsigned __attribute__((noinline)) work_deep_down(void)
{
	volatile char here[128] = {0};
	unsigned sum = (size_t)(here - small_stack) > LEFT ? work_deep_down() : work(BLOCKS);

	return sum + (unsigned)here[5];
}

static void *deep_down(void *sum)
{
	*(unsigned *)sum = work_deep_down();
	return NULL;
}

static unsigned on_small_stack(const char *unused)
{
	pthread_attr_t attributes;
	pthread_t thread;
	unsigned sum = 0;

	(void)unused;
	small_stack = stack_between_gaps(6 * PAGE);
	pthread_attr_init(&attributes);
	check(!pthread_attr_setstack(&attributes, small_stack, 6 * PAGE), "pthread_attr_setstack");
	check(!pthread_create(&thread, &attributes, deep_down, &sum), "pthread_create");
	pthread_join(thread, NULL);
	return sum;
}

#ifdef __GLIBC__
static ucontext_t here, there;
static unsigned sum_there;

static void in_context(void)
{
	sum_there = work(BLOCKS);
}

static unsigned on_context(const char *unused)
{
	(void)unused;
	getcontext(&there);
	there.uc_stack.ss_size = 8 * PAGE;
	there.uc_stack.ss_sp = stack_between_gaps(there.uc_stack.ss_size);
	there.uc_link = &here;
	makecontext(&there, in_context, 0);
	check(!swapcontext(&here, &there), "swapcontext");
	return sum_there;
}
#endif

/* ---- filters ---- */

#ifdef __GLIBC__
/* From now on the process ends where a stack is copied by the kernel. */
static void filter(void)
{
	struct sock_filter code[] = {
	    BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, nr)),
	    BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, SYS_process_vm_readv, 0, 1),
	    BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_KILL_PROCESS),
	    BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW),
	};
	struct sock_fprog program = {sizeof(code) / sizeof(*code), code};

	check(!prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) && !prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &program, 0, 0),
	      "a filter");
}

static unsigned behind_filter(const char *unused)
{
	(void)unused;
	filter();
	return work(BLOCKS);
}
#endif

static unsigned plainly(const char *unused)
{
	(void)unused;
	return work(BLOCKS);
}

static const struct {
	const char *name;
	unsigned (*run)(const char *library);
} modes[] = {
    {"plainly", plainly},       {"constructor", in_constructor}, {"malloc", in_malloc},
    {"held", while_held},       {"handler", in_handler},         {"fork", in_fork},
    {"vfork", in_vfork},        {"signal-stack", on_signal_stack}, {"small-stack", on_small_stack},
#ifdef __GLIBC__
    {"context", on_context},    {"filter", behind_filter},
#endif
};

/* ---- the request ---- */

static int connection_of(int *client)
{
	struct sockaddr_in address = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
	socklen_t size = sizeof(address);
	int listener = socket(AF_INET, SOCK_STREAM, 0);

	check(!bind(listener, (struct sockaddr *)&address, size) && !listen(listener, 1) &&
		  !getsockname(listener, (struct sockaddr *)&address, &size),
	      "a listener");
	*client = socket(AF_INET, SOCK_STREAM, 0);
	check(!connect(*client, (struct sockaddr *)&address, size), "connect");
	return accept(listener, NULL, NULL);
}

static long counted(const char *name)
{
	const long *count = dlsym(RTLD_DEFAULT, name);

	return count ? *count : -1;
}

int main(int argc, char **argv)
{
	static const char answer[] = "HTTP/1.1 204 No Content\r\n\r\n";
	char text[256];
	unsigned sum = 0;
	int client;

	if (argc < 2)
		return 2;
#ifdef __GLIBC__
	if (!strcmp(argv[1], "filtered")) {
		filter();
		execv(argv[0], argv + 1);
		return 3;
	}
#endif
	int server = connection_of(&client);
	int length = snprintf(text, sizeof(text), "GET /%s HTTP/1.1\r\nHost: x\r\n\r\n", argv[1]);
	check(write(client, text, (size_t)length) == length && read(server, text, sizeof(text)) == length, "a request");
	long before = counted("shim_allocations"), agent = counted("shim_calls_of_agent");
	for (size_t i = 0; i < sizeof(modes) / sizeof(modes[0]); i++)
		if (!strcmp(modes[i].name, argv[1]))
			sum = modes[i].run(argc > 2 ? argv[2] : NULL);
	long after = counted("shim_allocations"), agent_after = counted("shim_calls_of_agent");
	check(write(server, answer, sizeof(answer) - 1) == sizeof(answer) - 1, "an answer");
	check(read(client, text, sizeof(text)) == sizeof(answer) - 1, "what was answered");
	/* How often a handler runs, and another thread meanwhile, isn't always the same. */
	if (!strcmp(argv[1], "handler") || !strcmp(argv[1], "held"))
		after = before;
	printf("%s %u %ld %ld\n", argv[1], sum, after - before, agent_after - agent);
	return failures ? 1 : 0;
}
