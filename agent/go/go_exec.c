/*
 * go_exec.c - Go programs that a Go program starts: they are placed in, too.
 *
 * The exec is made that of our placing program, which ends as the one that was
 * meant. This runs in the child of os/exec, on its parent's memory: what the
 * kernel reads in the exec must stay as it is until then, so the arguments
 * have a place of their own. Go lets but one child at a time be between fork
 * and exec (syscall.ForkLock).
 */
#include "go/go.h"

#include "os/executable.h"
#include "os/sys.h"

#include <fcntl.h>
#include <limits.h>
#include <sys/stat.h>
#include <unistd.h>

#define WORDS 7u /* before the program's own arguments */
#define ARGUMENTS_MAX 4096u

static char *argv[WORDS + ARGUMENTS_MAX + 1];

/* How many there are; 0: none, too many, or not there at all. */
static uint32_t count_of(char *const *words)
{
	uint32_t n = 0;

	while (words && rqs_readable(words + n, sizeof(*words)) && words[n]) {
		if (++n == ARGUMENTS_MAX)
			return 0;
	}
	return n;
}

static bool begins_with(const char *s, const char *start)
{
	while (*start && *s == *start) {
		s++;
		start++;
	}
	return !*start;
}

static bool are_same_file(const char *a, const char *b)
{
	struct stat first, second;

	return rqs_sys4(SYS_newfstatat, AT_FDCWD, a, &first, 0) == 0 &&
	       rqs_sys4(SYS_newfstatat, AT_FDCWD, b, &second, 0) == 0 && first.st_dev == second.st_dev &&
	       first.st_ino == second.st_ino;
}

/*
 * The program's name in the placing program, to which /proc/self/exe is
 * itself, and where descriptors of ours are closed; NULL: it has none there.
 */
static char *lasting_name(char *path)
{
	static char target[PATH_MAX];

	if (!begins_with(path, "/proc/") && !begins_with(path, "/dev/fd/"))
		return path;
	long n = rqs_sys3(SYS_readlink, path, target, sizeof(target) - 1);
	if (n <= 0)
		return NULL;
	target[n] = 0;
	return are_same_file(path, target) ? target : NULL;
}

/* Whoever traces us (PTRACE_TRACEME) waits for this exec: the program's own, and no other's. */
static bool is_traced(void)
{
	static const char name[] = "\nTracerPid:\t";
	char status[1024];
	long fd = rqs_sys3(SYS_open, "/proc/self/status", O_RDONLY | O_CLOEXEC, 0);
	long n = fd < 0 ? 0 : rqs_sys3(SYS_read, fd, status, sizeof(status) - 1);

	if (fd >= 0)
		rqs_sys1(SYS_close, fd);
	status[n > 0 ? n : 0] = 0;
	for (const char *s = status; *s; s++)
		if (begins_with(s, name))
			return s[sizeof(name) - 1] != '0';
	return false;
}

static void count_unplaced(void)
{
	if (rqs_go.agent && rqs_load(&rqs_go.agent->process))
		rqs_add(&rqs_go.agent->region->unplaced, 1);
}

bool rqs_go_exec_redirect(struct rqs_go_call *frame)
{
	static char place[] = "place", session[] = "--session", path[] = "--path", end[] = "--";
	char *program = (char *)frame->arguments[0], *const *words = (char *const *)frame->arguments[1];

	if (!rqs_go.placer || !rqs_go.placer[0] || !rqs_readable(program, 1))
		return false;
	uint32_t n = count_of(words);
	if (!n || !rqs_executable_is_static_go(program) || rqs_sys2(SYS_access, program, X_OK) ||
	    rqs_sys2(SYS_access, rqs_go.placer, X_OK))
		return false;
	program = lasting_name(program);
	if (!program || is_traced()) {
		count_unplaced();
		return false;
	}
	char *const before[WORDS] = { rqs_go.placer, place, session, rqs_go.token, path, program, end };
	for (uint32_t i = 0; i < WORDS; i++)
		argv[i] = before[i];
	for (uint32_t i = 0; i <= n; i++)
		argv[WORDS + i] = words[i];
	frame->arguments[0] = (uint64_t)rqs_go.placer;
	frame->arguments[1] = (uint64_t)argv;
	return true;
}
