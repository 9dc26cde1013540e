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

static void count_unplaced(void)
{
	if (rqs_go.agent && rqs_load(&rqs_go.agent->process))
		rqs_add(&rqs_go.agent->region->unplaced, 1);
}

/* "/proc/self/fd/7" */
static const char *name_of(unsigned fd)
{
	static char name[32];
	char digits[16], *to = name;
	int n = 0;

	for (const char *s = "/proc/self/fd/"; *s; s++)
		*to++ = *s;
	do
		digits[n++] = (char)('0' + fd % 10);
	while (fd /= 10);
	while (n)
		*to++ = digits[--n];
	*to = 0;
	return name;
}

/* What is executed; NULL: something that only the kernel can find. */
static const char *program_of(const struct rqs_go_call *frame)
{
	const uint64_t *a = frame->arguments;
	const char *path = (const char *)a[frame->number == SYS_execveat];

	if (!rqs_readable(path, 1) || frame->number == SYS_execve)
		return path;
	if (a[4] == AT_EMPTY_PATH && !*path && (int)a[0] >= 0)
		return name_of((unsigned)a[0]);
	return a[4] == 0 && ((int)a[0] == AT_FDCWD || *path == '/') ? path : NULL;
}

bool rqs_go_exec_redirect(struct rqs_go_call *frame)
{
	static char place[] = "place", session[] = "--session", path[] = "--path", end[] = "--", room[PATH_MAX];
	bool at = frame->number == SYS_execveat;
	const char *program = program_of(frame);
	char *const *words = (char *const *)frame->arguments[1 + at];

	if (!rqs_go.placer || !rqs_go.placer[0] || !rqs_readable(program, 1))
		return false;
	uint32_t n = count_of(words);
	if (!n || !rqs_executable_is_static_go(program) || rqs_sys2(SYS_access, program, X_OK) ||
	    rqs_sys2(SYS_access, rqs_go.placer, X_OK))
		return false;
	program = rqs_executable_lasting_name(program, room);
	if (!program || rqs_executable_is_traced()) {
		count_unplaced();
		return false;
	}
	char *const before[WORDS] = { rqs_go.placer, place, session, rqs_go.token, path, (char *)(uintptr_t)program, end };
	for (uint32_t i = 0; i < WORDS; i++)
		argv[i] = before[i];
	for (uint32_t i = 0; i <= n; i++)
		argv[WORDS + i] = words[i];
	frame->number = SYS_execve;
	frame->arguments[2] = frame->arguments[2 + at];
	frame->arguments[0] = (uint64_t)rqs_go.placer;
	frame->arguments[1] = (uint64_t)argv;
	return true;
}
