/* restricted.c - servers that restrict themselves, or were restricted by who started them: restricted WHAT */
#include "host.h"

#include <linux/audit.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <stddef.h>
#include <sys/epoll.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/syscall.h>

static int from;

/* ---- filters ---- */

enum how { BY_PRCTL, BY_SECCOMP, ALL_THREADS };

static void install(const int *calls, size_t count, bool allow, enum how how)
{
	struct sock_filter code[128];
	unsigned other = allow ? SECCOMP_RET_KILL_PROCESS : SECCOMP_RET_ALLOW;
	unsigned listed = allow ? SECCOMP_RET_ALLOW : SECCOMP_RET_KILL_PROCESS;
	size_t n = 0;

	code[n++] = (struct sock_filter)BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, nr));
	for (size_t i = 0; i < count; i++) {
		code[n++] = (struct sock_filter)BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, (unsigned)calls[i], 0, 1);
		code[n++] = (struct sock_filter)BPF_STMT(BPF_RET | BPF_K, listed);
	}
	code[n++] = (struct sock_filter)BPF_STMT(BPF_RET | BPF_K, other);
	struct sock_fprog program = {.len = (unsigned short)n, .filter = code};
	if (how == BY_PRCTL)
		MUST(prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &program));
	else
		MUST(syscall(SYS_seccomp, SECCOMP_SET_MODE_FILTER, how == ALL_THREADS ? SECCOMP_FILTER_FLAG_TSYNC : 0,
			     &program));
}

#define ALLOW(calls, how) install(calls, sizeof(calls) / sizeof(calls[0]), true, how)
#define FORBID(calls, how) install(calls, sizeof(calls) / sizeof(calls[0]), false, how)

static const int strict_worker[] = {SYS_read,      SYS_write,  SYS_close,       SYS_accept4, SYS_epoll_wait,
				    SYS_epoll_ctl, SYS_futex,  SYS_exit_group,  SYS_exit,    SYS_sendto,
				    SYS_recvfrom,  SYS_munmap, SYS_rt_sigreturn};

/* ---- a worker that chroots, drops its rights and installs a filter ---- */

static volatile int thread_state; /* 1: runs, 2: has served */

static void *serves_behind_the_filter(void *argument)
{
	int *fds = argument;
	char byte;

	thread_state = 1;
	/* Its first call that matters comes after the filter. */
	MUST(recv(fds[0], &byte, 1, 0));
	serve(fds[1]);
	thread_state = 2;
	/* The end of a thread takes more calls than the filter leaves. */
	recv(fds[0], &byte, 1, 0);
	return NULL;
}

static void worker(enum how how)
{
	struct pair before = pair(from), of_thread = pair(from);
	char nowhere[] = "/tmp/transparency-XXXXXX";
	int gate[2];
	pid_t pid;

	exchange(before.client, before.server);
	MUST(socketpair(AF_UNIX, SOCK_STREAM, 0, gate));
	MUST(mkdtemp(nowhere) ? 0 : -1);
	pid = (pid_t)MUST(fork());
	if (pid) {
		close(gate[0]);
		close(of_thread.server);
		for (int i = 0; i < 10; i++) {
			ask(before.client);
			answered(before.client);
		}
		close(before.server);
		close(before.client);
		for (int n = 0; n < 20; n++) {
			int fd = client();

			for (int i = 0; i < 3; i++) {
				ask(fd);
				answered(fd);
			}
			close(fd);
		}
		if (how == ALL_THREADS) {
			ask(of_thread.client);
			answered(of_thread.client);
		}
		close(of_thread.client);
		show_status("worker", pid);
		MUST(rmdir(nowhere));
		return;
	}
	if (!geteuid()) {
		MUST(chroot(nowhere));
		MUST(chdir("/"));
		MUST(setgid(65534));
		MUST(setuid(65534));
	}
	pthread_t thread;
	int fds[2] = {gate[0], of_thread.server};
	if (how == ALL_THREADS)
		pthread_create(&thread, NULL, serves_behind_the_filter, fds);
	while (how == ALL_THREADS && !thread_state)
		usleep(100);
	close(before.client);
	close(of_thread.client);
	int epoll = (int)MUST(epoll_create1(0));
	struct epoll_event event = {.events = EPOLLIN};
	MUST(epoll_ctl(epoll, EPOLL_CTL_ADD, from, &event));
	MUST(prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0));
	ALLOW(strict_worker, how);
	if (how == ALL_THREADS)
		MUST(write(gate[1], "", 1));
	while (serve(before.server))
		;
	for (int n = 0; n < 20; n++) {
		MUST(epoll_wait(epoll, &event, 1, -1));
		int fd = (int)MUST(accept4(from, NULL, NULL, 0));
		char got[100];

		/* By each of the calls that the filter leaves. */
		serve(fd);
		MUST(recv(fd, got, sizeof(got), 0));
		MUST(send(fd, answer, sizeof(answer) - 1, 0));
		__atomic_fetch_add(served, 1, __ATOMIC_RELAXED);
		serve(fd);
		close(fd);
	}
	while (how == ALL_THREADS && thread_state != 2)
		epoll_wait(epoll, &event, 1, 1);
	_exit(3);
}

/* ---- a worker that may read messages, but set no options ---- */

static void asking_worker(void)
{
	static const int forbidden[] = {SYS_setsockopt, SYS_gettid, SYS_getpid, SYS_getppid, SYS_clone, SYS_clone3};
	struct pair p = pair(from), q = pair(from);
	char data[100];
	char control[200];
	struct iovec v = {data, sizeof(data)};

	exchange(p.client, p.server);
	MUST(prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0));
	FORBID(forbidden, BY_PRCTL);
	struct pair late = pair(from);
	for (int i = 0; i < 3; i++) {
		int value = 0x55;
		socklen_t size = sizeof(value);
		struct pair of = i == 0 ? p : i == 1 ? q : late;
		struct msghdr m = {
		    .msg_iov = &v, .msg_iovlen = 1, .msg_control = control, .msg_controllen = sizeof(control)};

		SHOW(getsockopt(of.server, SOL_SOCKET, SO_TIMESTAMPNS, &value, &size));
		printf("%d\n", value);
		ask(of.client);
		wait_readable(of.server);
		SHOW(recvmsg(of.server, &m, 0));
		printf("control %zu, flags %x\n", m.msg_controllen, (unsigned)m.msg_flags);
		respond(of.server);
		answered(of.client);
		close_pair(of);
	}
}

/* ---- a filter of its own before it is a server ---- */

static void filter_first(void)
{
	static const int forbidden[] = {SYS_recvmsg, SYS_connect, SYS_getppid, SYS_clone, SYS_madvise};

	MUST(prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0));
	/* The client is a process of its own. */
	from = bound(AF_INET);
	int ends[2];
	MUST(pipe(ends));
	pid_t pid = (pid_t)MUST(fork());
	if (!pid) {
		char byte;

		MUST(read(ends[0], &byte, 1));
		int fd = client();
		ask(fd);
		answered(fd);
		_exit(0);
	}
	FORBID(forbidden, BY_PRCTL);
	MUST(listen(from, 5));
	MUST(write(ends[1], "", 1));
	int fd = (int)MUST(accept(from, NULL, NULL));
	serve(fd);
	/* Nothing could be learnt of it. */
	*served = 0;
	show_status("client", pid);
}

/* ---- filters from before the exec ---- */

static void inherited(void)
{
	static const int forbidden[] = {SYS_recvmsg};

	MUST(prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0));
	FORBID(forbidden, BY_PRCTL);
	execl("/proc/self/exe", "restricted", "plain-unseen", NULL);
}

static void inherited_harmless(void)
{
	static const int forbidden[] = {SYS_reboot};

	MUST(prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0));
	FORBID(forbidden, BY_SECCOMP);
	execl("/proc/self/exe", "restricted", "plain", NULL);
}

static void plain(void)
{
	from = listener(AF_INET);
	struct pair p = pair(from);

	for (int i = 0; i < 5; i++)
		exchange(p.client, p.server);
	close_pair(p);
	/* No child of anybody's is left, and none was ever seen. */
	SHOW(waitpid(-1, NULL, 0));
	show_descriptors("plain");
}

/* ---- strict mode, and no time stamp counter ---- */

static void in_strict_mode(void)
{
	struct pair p = pair(from);

	exchange(p.client, p.server);
	pid_t pid = (pid_t)MUST(fork());
	if (!pid) {
		MUST(prctl(PR_SET_SECCOMP, SECCOMP_MODE_STRICT));
		serve(p.server);
		serve(p.server);
		syscall(SYS_exit, 4);
	}
	close(p.server);
	for (int i = 0; i < 2; i++) {
		ask(p.client);
		answered(p.client);
	}
	show_status("strict", pid);
	*served -= 2; /* beyond what can be recorded */
	struct pair q = pair(from);
	exchange(q.client, q.server);
}

static void without_counter(bool first)
{
	if (first)
		MUST(prctl(PR_SET_TSC, PR_TSC_SIGSEGV));
	from = listener(AF_INET);
	struct pair p = pair(from);
	exchange(p.client, p.server);
	if (first)
		*served = 0;
	else
		MUST(prctl(PR_SET_TSC, PR_TSC_SIGSEGV));
	int before = *served;
	for (int i = 0; i < 3; i++)
		exchange(p.client, p.server);
	struct pair q = pair(from);
	exchange(q.client, q.server);
	close((int)MUST(dup(q.server)));
	SHOW(shutdown(q.server, SHUT_RDWR));
	close_pair(q);
	close_pair(p);
	pid_t pid = (pid_t)MUST(fork());
	if (!pid) {
		struct pair r = pair(from);

		exchange(r.client, r.server);
		exit(5);
	}
	show_status("child", pid);
	free(malloc(10));
	*served = before;
}

/* ---- limits ---- */

/* Under a limit of 512 MiB, is at least so much left for the program itself once it serves? */
static void little_memory(int resource, size_t enough)
{
	struct rlimit limit = {.rlim_cur = 512ul << 20, .rlim_max = 512ul << 20};
	size_t mib = 0;

	MUST(setrlimit(resource, &limit));
	from = listener(AF_INET);
	struct pair p = pair(from);
	exchange(p.client, p.server);
	close_pair(p);
	while (mmap(NULL, 1 << 20, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0) != MAP_FAILED)
		mib++;
	printf("left for the program itself: %s %zu of 512 MiB\n", mib >= enough ? "at least" : "less than", enough);
}

static void little_address_space(void)
{
	little_memory(RLIMIT_AS, 460);
}

static void little_data(void)
{
	little_memory(RLIMIT_DATA, 480);
}

static void few_descriptors(void)
{
	struct rlimit limit, before;

	from = bound(AF_INET);
	MUST(getrlimit(RLIMIT_NOFILE, &before));
	limit = before;
	limit.rlim_cur = (rlim_t)from + 1;
	MUST(setrlimit(RLIMIT_NOFILE, &limit));
	SHOW(socket(AF_INET, SOCK_STREAM, 0));
	SHOW(listen(from, 5));
	MUST(setrlimit(RLIMIT_NOFILE, &before));
	struct pair p = pair(from);
	exchange(p.client, p.server);
	close_pair(p);
	/* There was no way to record. */
	*served = 0;
}

static long resident_mib(void)
{
	char line[200];
	long kib = 0;
	FILE *status = fopen("/proc/self/status", "r");

	while (fgets(line, sizeof(line), status))
		sscanf(line, "VmRSS: %ld", &kib);
	fclose(status);
	return kib / 1024;
}

static void locked(void)
{
	MUST(mlockall(MCL_CURRENT | MCL_FUTURE));
	from = listener(AF_INET);
	struct pair p = pair(from);
	exchange(p.client, p.server);
	exchange(p.client, p.server);
	close_pair(p);
	printf("in memory: %s\n", resident_mib() < 64 ? "less than 64 MiB" : "64 MiB or more");
}

int main(int argc, char **argv)
{
	const char *what = argc > 1 ? argv[1] : "";

	if (!strncmp(what, "worker", 6) || !strcmp(what, "asking") || !strcmp(what, "strict"))
		from = listener(AF_INET);
	if (!strcmp(what, "worker"))
		worker(BY_PRCTL);
	else if (!strcmp(what, "worker-seccomp"))
		worker(BY_SECCOMP);
	else if (!strcmp(what, "worker-threads"))
		worker(ALL_THREADS);
	else if (!strcmp(what, "asking"))
		asking_worker();
	else if (!strcmp(what, "filter-first"))
		filter_first();
	else if (!strcmp(what, "inherited"))
		inherited();
	else if (!strcmp(what, "inherited-harmless"))
		inherited_harmless();
	else if (!strncmp(what, "plain", 5))
		plain();
	else if (!strcmp(what, "strict"))
		in_strict_mode();
	else if (!strcmp(what, "no-counter"))
		without_counter(false);
	else if (!strcmp(what, "no-counter-first"))
		without_counter(true);
	else if (!strcmp(what, "address-space"))
		little_address_space();
	else if (!strcmp(what, "data"))
		little_data();
	else if (!strcmp(what, "descriptors"))
		few_descriptors();
	else if (!strcmp(what, "locked"))
		locked();
	else
		return 2;
	if (!strcmp(what, "plain-unseen"))
		*served = 0;
	return finish();
}
