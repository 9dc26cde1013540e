/*
 * membership.c - what a process needs to know to be recorded, learnt in the
 * constructor; joining the session's collector, or starting it, later, when
 * the process turns out to be a server.
 *
 * Under `reqscope run` the token comes in the environment. Under plain
 * LD_PRELOAD the first process makes one, marked ".p": whichever of its
 * family serves first starts the collector (two that race: the abstract
 * address is exclusive), and the others join it. `sh` and `ls` leave no trace.
 */
#include "hook/membership.h"

#include "hook/go_program.h"
#include "hook/hook.h"
#include "hook/objects.h"
#include "os/join.h"
#include "os/reserve.h"
#include "os/sys.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <sys/auxv.h>
#include <sys/mman.h>
#include <sys/random.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>

#define ON_DEMAND_MARK ".p"
#define SAMPLE_BYTES_DEFAULT "512K"

struct rqs_session rqs_session;

/* ---- constructor ---- */

static bool join_path(char *to, size_t size, const char *directory, const char *name)
{
	size_t d = name[0] == '/' ? 0 : strlen(directory), n = strlen(name);

	if (d + 1 + n + 1 > size)
		return false;
	memcpy(to, directory, d);
	if (d)
		to[d++] = '/';
	memcpy(to + d, name, n + 1);
	return true;
}

static bool make_token(void)
{
	static const char digits[] = "0123456789abcdef";
	uint8_t bytes[RQS_TOKEN_LENGTH / 2];

	if (rqs_sys3(SYS_getrandom, bytes, sizeof(bytes), GRND_NONBLOCK) != (long)sizeof(bytes))
		return false;
	for (size_t i = 0; i < sizeof(bytes); i++) {
		rqs_session.token[2 * i] = digits[bytes[i] >> 4];
		rqs_session.token[2 * i + 1] = digits[bytes[i] & 15];
	}
	return true;
}

static bool read_token(const char *value)
{
	size_t n = strspn(value, "0123456789abcdef");

	if (n != RQS_TOKEN_LENGTH)
		return false;
	memcpy(rqs_session.token, value, n);
	rqs_session.on_demand = !strcmp(value + n, ON_DEMAND_MARK);
	return rqs_session.on_demand || !value[n];
}

/*
 * The token goes into the environment that children inherit, without the
 * host's heap: the block of pointers is copied to memory of ours.
 */
static void publish_token(void)
{
	size_t n = rqs_session_environment_size(environ);
	char **copy = mmap(NULL, n * sizeof(char *), PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

	if (copy == MAP_FAILED)
		return;
	*copy = rqs_session.environment;
	memcpy(copy + 1, environ, (n - 2) * sizeof(char *));
	environ = copy;
}

#ifdef __GLIBC__
#define SIBLING "libreqscope-musl.so"
#else
#define SIBLING "libreqscope.so"
#endif

static void find_sibling(void)
{
	size_t n = (size_t)(strrchr(rqs_session.library, '/') + 1 - rqs_session.library);

	if (!strcmp(rqs_session.library + n, SIBLING) || n + sizeof(SIBLING) > sizeof(rqs_session.sibling))
		return; /* as where musl is the machine's only C library */
	memcpy(rqs_session.sibling, rqs_session.library, n);
	strcpy(rqs_session.sibling + n, SIBLING);
}

/* Resolved now: who executes programs later may be a vfork child. */
static void find_placer(void)
{
	static const char name[] = "reqscope-place";
	size_t n = (size_t)(strrchr(rqs_session.library, '/') + 1 - rqs_session.library);

	if (n + sizeof(name) > sizeof(rqs_session.placer))
		return;
	memcpy(rqs_session.placer, rqs_session.library, n);
	strcpy(rqs_session.placer + n, name);
	if (rqs_sys2(SYS_access, rqs_session.placer, X_OK))
		rqs_session.placer[0] = 0;
}

static bool find_library(void)
{
	const char *file = rqs_objects_own_file();

	if (!file || !join_path(rqs_session.library, sizeof(rqs_session.library), rqs_session.directory, file))
		return false;
	find_sibling();
	find_placer();
	return true;
}

/* What isn't a number of bytes is the collector's to refuse. */
static void learn_sampling(void)
{
	const char *bytes = getenv(RQS_ENV_SAMPLE_BYTES);

	if (!bytes && getenv(RQS_ENV_SITES))
		bytes = SAMPLE_BYTES_DEFAULT;
	if (bytes)
		strncpy(rqs_session.sample_bytes, bytes, sizeof(rqs_session.sample_bytes) - 1);
}

extern const char *gnu_get_libc_version(void) __attribute__((weak));

/*
 * The hooks give each program its own C library's build of ours. Where there
 * is none (system() of a musl server starts a glibc shell, a static program
 * starts anything), the other one gets in: it can be loaded, and keeps off.
 */
static bool is_stranger(void)
{
	bool in_glibc = gnu_get_libc_version != NULL;

	return in_glibc != (RQS_INTERPRETER_OWN == RQS_INTERPRETER_GLIBC);
}

static void __attribute__((constructor)) learn(void)
{
	int saved = errno;
	const char *out = getenv(RQS_ENV_OUT);
	const char *token = getenv(RQS_ENV_SESSION);

	rqs_real_find();
	/* Loaded by dlopen: what there is to know comes with reqscope_attach(). */
	if (rqs_objects_are_before_us())
		goto end;
	if (getauxval(AT_SECURE) || !getcwd(rqs_session.directory, sizeof(rqs_session.directory)) || !find_library())
		goto end;
	if (out && *out && !join_path(rqs_session.out, sizeof(rqs_session.out), rqs_session.directory, out))
		goto end;
	bool known = token && read_token(token);
	if (!known) {
		if (!make_token())
			goto end;
		rqs_session.on_demand = true;
	}
	strcpy(rqs_session.environment, RQS_ENV_SESSION "=");
	strcat(rqs_session.environment, rqs_session.token);
	if (rqs_session.on_demand)
		strcat(rqs_session.environment, ON_DEMAND_MARK);
	if (!known)
		publish_token();
	rqs_session.no_sched = getenv("REQSCOPE_NO_SCHED") != NULL;
	learn_sampling();
	rqs_session.stranger = is_stranger();
	rqs_session.wanted = true;
	if (!rqs_session.stranger)
		rqs_go_program_hook();
end:
	errno = saved;
}

bool rqs_session_attach(const char *token, const char *library, bool children)
{
	if (rqs_session.wanted && !rqs_session.attached)
		return false;
	rqs_session.wanted = false;
	rqs_session.on_demand = false;
	if (!read_token(token) || rqs_session.on_demand)
		return false;
	rqs_session.attached = true;
	strcpy(rqs_session.environment, RQS_ENV_SESSION "=");
	strcat(rqs_session.environment, rqs_session.token);
	if (!children || library[0] != '/' || !join_path(rqs_session.library, sizeof(rqs_session.library), "", library))
		return true;
	find_sibling();
	find_placer();
	rqs_session.wanted = true;
	return true;
}

/* ---- joining ---- */

int rqs_session_join(struct rqs_joined *joined)
{
	struct rqs_welcome welcome;
	int memory = rqs_join(rqs_session.token, &welcome);

	if (memory < 0)
		return memory;
	/* Chunks are used from the low end: a part of the region is a smaller pool. */
	joined->size = rqs_reserve_share(welcome.region_size) & ~(size_t)(RQS_CHUNK_SIZE - 1);
	joined->region = rqs_reserve(joined->size, memory);
	joined->foreign_pids = welcome.foreign_pids;
	joined->memory = memory;
	if (joined->region)
		return 0;
	rqs_sys1(SYS_close, memory);
	return -ENOMEM;
}

void rqs_session_count_unplaced(void)
{
	struct rqs_joined joined;

	if (rqs_session_join(&joined))
		return;
	rqs_add(&((struct rqs_region_header *)joined.region)->unplaced, 1);
	rqs_unreserve(joined.region, joined.size);
	rqs_sys1(SYS_close, joined.memory);
}

/* ---- starting a collector ---- */

/* The program beside the library: in the build folder, or PREFIX/bin beside PREFIX/lib/reqscope. */
bool rqs_session_find_program(char *to, size_t size)
{
	static const char *const places[] = { "reqscope", "../../bin/reqscope" };
	char directory[PATH_MAX];

	strcpy(directory, rqs_session.library);
	char *slash = strrchr(directory, '/');
	if (!slash)
		return false;
	*slash = 0;
	for (size_t i = 0; i < sizeof(places) / sizeof(places[0]); i++)
		if (join_path(to, size, directory, places[i]) && rqs_sys2(SYS_access, to, X_OK) == 0)
			return true;
	return false;
}

static char *decimal(char *end, unsigned long value)
{
	*--end = 0;
	do
		*--end = (char)('0' + value % 10);
	while (value /= 10);
	return end;
}

struct collector {
	char program[PATH_MAX];
	char out[PATH_MAX + 32];
	char pid[24], ready[24];
	char *argv[18];
	char **envp;
};

/* The collector listens too: recorded itself, it would wait for itself. */
char **rqs_session_bare_environment(void)
{
	size_t size = rqs_session_environment_size(environ) * sizeof(char *), n = 0;
	char **copy = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

	if (copy == MAP_FAILED)
		return NULL;
	for (char **e = environ; *e; e++)
		if (strncmp(*e, "LD_PRELOAD=", 11) && strncmp(*e, "REQSCOPE_", 9))
			copy[n++] = *e;
	return copy;
}

static bool prepare(struct collector *c, int ready_fd)
{
	char *pid = decimal(c->pid + sizeof(c->pid), (unsigned long)rqs_sys0(SYS_getpid));
	char *fd = decimal(c->ready + sizeof(c->ready), (unsigned long)ready_fd);
	size_t n = 0;

	if (!rqs_session_find_program(c->program, sizeof(c->program)))
		return false;
	if (rqs_session.out[0]) {
		strcpy(c->out, rqs_session.out);
	} else {
		char name[64] = "reqscope.";

		strcat(strcat(name, pid), ".rqs");
		if (!join_path(c->out, sizeof(c->out), rqs_session.directory, name))
			return false;
	}
	char *const argv[] = { c->program, "collect", "--detach", "--mode",	 "preload", "--token", rqs_session.token,
			       "--pid",	   pid,	      "--out",	  c->out,	 "--ready-fd", fd,     NULL };
	for (n = 0; argv[n]; n++)
		c->argv[n] = argv[n];
	if (rqs_session.sample_bytes[0]) {
		c->argv[n++] = (char *)"--sample-bytes";
		c->argv[n++] = rqs_session.sample_bytes;
	}
	c->argv[n] = NULL;
	c->envp = rqs_session_bare_environment();
	return c->envp != NULL;
}

/*
 * In a forked child: a second fork, so that the collector is nobody's child
 * here and the host never learns of it by wait or SIGCHLD. Only system calls.
 */
static void __attribute__((noreturn)) child(struct collector *c)
{
	uint64_t none_blocked = 0;

	if (rqs_sys5(SYS_clone, 0, 0, 0, 0, 0) == 0) {
		rqs_sys4(SYS_rt_sigprocmask, SIG_SETMASK, &none_blocked, NULL, 8);
		rqs_sys3(SYS_execve, c->program, c->argv, c->envp);
	}
	for (;;)
		rqs_sys1(SYS_exit_group, 0);
}

int rqs_session_start_collector(void)
{
	/* Static, as a thread's stack may be small; activation runs once a process. */
	static struct collector collector;
	int ready[2];
	char answer;

	if (rqs_sys2(SYS_pipe2, ready, 0) < 0)
		return -EMFILE;
	int error = prepare(&collector, ready[1]) ? 0 : -ENOENT;
	if (!error) {
		/* No exit signal: the host sees nothing of this child either. */
		long pid = rqs_sys5(SYS_clone, 0, 0, 0, 0, 0);

		if (pid == 0)
			child(&collector);
		if (pid > 0)
			rqs_sys4(SYS_wait4, pid, NULL, __WALL, NULL);
		error = pid < 0 ? (int)pid : 0;
	}
	rqs_sys1(SYS_close, ready[1]);
	if (!error && (!rqs_join_readable(ready[0]) || rqs_sys3(SYS_read, ready[0], &answer, 1) != 1))
		error = -ECHILD;
	rqs_sys1(SYS_close, ready[0]);
	return error;
}
