/*
 * lifecycle.c - interposers of the calls that begin, replace and end processes.
 *
 * A vfork child runs on its parent's memory and stack while the parent's
 * thread waits: the hooks let it pass unseen, and the exec hook writes only to
 * its own stack. Other threads of the parent go on as ever.
 */
#include "hook/hook.h"
#include "hook/membership.h"
#include "os/executable.h"
#include "os/sys.h"
#include "python/py.h"

#include <alloca.h>
#include <errno.h>
#include <fcntl.h>
#include <sched.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

/* ---- fork ---- */

RQS_EXPORT pid_t fork(void)
{
	if (rqs_active() && !rqs_in_vfork)
		rqs_agent_forked(&rqs_agent);
	pid_t pid = RQS_REAL(fork)();
	if (pid == 0 && rqs_active()) {
		struct rqs_call call;

		/* Where the page wasn't wiped; else it is 0 already. */
		rqs_agent.alive->epoch = 0;
		rqs_in_vfork = 0;
		rqs_self.busy = false;
		rqs_py_self = (struct rqs_py_thread){ .state = NULL };
		if (rqs_enter(&call))
			rqs_leave();
	}
	return pid;
}

void rqs_vfork_begins(void);
void rqs_vfork_ends(void);

/* Called by the assembly below, on the way in and, in the parent, on the way out. */
__attribute__((used)) void rqs_vfork_begins(void)
{
	rqs_in_vfork++;
}

__attribute__((used)) void rqs_vfork_ends(void)
{
	rqs_in_vfork--;
}

/*
 * vfork returns twice on one stack: what the child pushes over the return
 * address would be the parent's undoing, so it is kept in a register that the
 * kernel leaves alone. The system call is made here: a call of the real function would
 * have the same trouble with our own frame.
 */
__asm__(".text\n"
	".globl vfork\n"
	".type vfork, @function\n"
	"vfork:\n"
	"	.cfi_startproc\n"
	"	endbr64\n"
	"	subq $8, %rsp\n"
	"	.cfi_adjust_cfa_offset 8\n"
	"	call rqs_vfork_begins\n"
	"	addq $8, %rsp\n"
	"	.cfi_adjust_cfa_offset -8\n"
	"	popq %rdi\n"
	"	.cfi_adjust_cfa_offset -8\n"
	"	.cfi_register rip, rdi\n"
	"	movl $58, %eax\n"
	"	syscall\n" /* keeps rdi */
	"	pushq %rdi\n"
	"	.cfi_adjust_cfa_offset 8\n"
	"	.cfi_offset rip, -8\n"
	"	testl %eax, %eax\n"
	"	je 1f\n"
	"	pushq %rax\n"
	"	.cfi_adjust_cfa_offset 8\n"
	"	call rqs_vfork_ends\n"
	"	popq %rax\n"
	"	.cfi_adjust_cfa_offset -8\n"
	"	cmpl $-4096, %eax\n"
	"	ja 2f\n"
	"1:	ret\n"
	"2:	negl %eax\n"
	"	pushq %rax\n"
	"	.cfi_adjust_cfa_offset 8\n"
	"	call __errno_location@PLT\n"
	"	popq %rdx\n"
	"	.cfi_adjust_cfa_offset -8\n"
	"	movl %edx, (%rax)\n"
	"	movl $-1, %eax\n"
	"	ret\n"
	"	.cfi_endproc\n"
	".size vfork, .-vfork\n");

/* Variadic in the headers; all arguments are passed on. */
int rqs_clone(int (*run)(void *), void *stack, int flags, void *argument, long a, long b, long c) __asm__("clone");

RQS_EXPORT int rqs_clone(int (*run)(void *), void *stack, int flags, void *argument, long a, long b, long c)
{
	/* A child on our memory and thread-local storage, while this thread waits: as vfork. */
	bool as_vfork = (flags & CLONE_VM) && (flags & CLONE_VFORK) && !(flags & CLONE_SETTLS);
	uint32_t before = rqs_in_vfork;

	if (as_vfork)
		rqs_in_vfork++;
	else if (!(flags & CLONE_VM) && rqs_active() && !before)
		rqs_agent_forked(&rqs_agent);
	int pid = RQS_REAL(clone)(run, stack, flags, argument, a, b, c);
	rqs_in_vfork = before;
	return pid;
}

/* ---- exec ---- */

/* Room on the stack for the completed environment or arguments; beyond it (1 MiB of pointers) the child isn't recorded. */
#define POINTERS_MAX 131072u

static void exec_begins(void)
{
	if (!rqs_is_vforked())
		rqs_agent_exec(&rqs_agent, true);
}

static void exec_failed(void)
{
	if (!rqs_is_vforked())
		rqs_agent_exec(&rqs_agent, false);
}

/* A bad pointer is the kernel's to refuse; behind a filter there is no looking, and none is expected. */
static bool may_read(char *const *list)
{
	return list && (rqs_load_relaxed(&rqs_agent.frozen) || rqs_readable(list, sizeof(*list)));
}

static bool may_change(char *const *envp)
{
	return rqs_session.wanted && may_read(envp) && rqs_session_environment_size(envp) <= POINTERS_MAX;
}

static size_t count_of(char *const *argv)
{
	size_t n = 0;

	while (argv[n])
		n++;
	return n;
}

/*
 * Nothing can be preloaded into Go: another program of ours goes before it. It
 * needs the program's name, and could no longer tell anybody that there is no
 * right to execute it.
 */
static bool may_place(enum rqs_interpreter interpreter, char *const *argv)
{
	return interpreter == RQS_INTERPRETER_STATIC_GO && rqs_session.placer[0] && may_read(argv) && argv[0] &&
	       count_of(argv) < POINTERS_MAX - RQS_PLACER_WORDS;
}

/*
 * May the placer become that Go program, which `program` names? It can't where
 * nobody can execute it, where it has no name but in this process, or where
 * somebody traces us; the last two are counted.
 */
static enum rqs_interpreter by_placer(enum rqs_interpreter interpreter, const char **program, char room[PATH_MAX])
{
	if (interpreter != RQS_INTERPRETER_STATIC_GO)
		return interpreter;
	if (rqs_sys2(SYS_access, *program, X_OK))
		return RQS_INTERPRETER_STATIC;
	*program = rqs_executable_lasting_name(*program, room);
	if (*program && !rqs_executable_is_traced())
		return RQS_INTERPRETER_STATIC_GO;
	rqs_session_count_unplaced();
	return RQS_INTERPRETER_STATIC;
}

static enum rqs_interpreter of_path(const char **program, char room[PATH_MAX])
{
	return by_placer(rqs_interpreter_of(*program), program, room);
}

/* One that can't be executed isn't found; the process's own PATH, even where another goes to the program: as libc. */
static enum rqs_interpreter of_command(const char *file, char found[PATH_MAX], const char **program, char room[PATH_MAX])
{
	*program = found;
	return by_placer(rqs_interpreter_of_command(file, getenv("PATH"), found), program, room);
}

/* A descriptor that the exec closes must be there for the placer, which closes it then. */
static enum rqs_interpreter of_descriptor(int fd, const char **option)
{
	enum rqs_interpreter interpreter = rqs_interpreter_of_descriptor(fd);

	*option = "--fd";
	if (interpreter != RQS_INTERPRETER_STATIC_GO)
		return interpreter;
	if (rqs_executable_is_traced()) {
		rqs_session_count_unplaced();
		return RQS_INTERPRETER_STATIC;
	}
	if (rqs_sys2(SYS_fcntl, fd, F_GETFD) & FD_CLOEXEC)
		*option = "--fd-until-exec";
	return interpreter;
}

/* What an exec is in our hands; all of it on the caller's stack. */
struct exec {
	enum rqs_interpreter interpreter;
	char **environment; /* to pass on, with the library that fits the program: one for another C library would end it */
	char **placing;     /* the placer's arguments, NULL: it isn't needed, or can't be */
};

/* No more looking once the host has restricted its system calls. */
#define LOOK(look) (rqs_load_relaxed(&rqs_agent.frozen) ? RQS_INTERPRETER_UNKNOWN : (look))

/*
 * Fills exec. `look` looks at the program, and may be what finds its path.
 * Alloca forbids a function of its own.
 *
 * libc's own ways to an exec (system(), popen()) come by none of these hooks:
 * they start a shell with the environment as it is, and the shell's exec has
 * the hooks again.
 */
#define PREPARE(exec, look, option, program, argv, envp)                                                   \
	do {                                                                                               \
		(exec)->environment = (char **)(uintptr_t)(envp);                                          \
		(exec)->placing = NULL;                                                                    \
		if (!may_change(envp))                                                                     \
			break;                                                                             \
		(exec)->interpreter = LOOK(look);                                                          \
		const char *library_ = rqs_session_library((exec)->interpreter);                           \
		if (!rqs_session_in_environment(envp, library_)) {                                         \
			(exec)->environment = alloca(rqs_session_environment_size(envp) * sizeof(char *)); \
			rqs_session_environment(envp, library_, (exec)->environment,                       \
						alloca(rqs_session_preload_size(envp, library_)));         \
		}                                                                                          \
		if (may_place((exec)->interpreter, argv)) {                                                \
			(exec)->placing = alloca((count_of(argv) + 1 + RQS_PLACER_WORDS) * sizeof(char *)); \
			rqs_session_placer_words(option, program, argv, (exec)->placing);                  \
		}                                                                                          \
	} while (0)

/* Returns where there is no placer to execute, or it can't be: then the program itself is. */
static void execute_placer(const struct exec *exec)
{
	if (exec->placing)
		RQS_REAL(execve)(rqs_session.placer, exec->placing, exec->environment);
}

RQS_EXPORT int execve(const char *path, char *const argv[], char *const envp[])
{
	const char *program = path;
	char room[PATH_MAX];
	struct exec exec;

	PREPARE(&exec, of_path(&program, room), "--path", program, argv, envp);
	exec_begins();
	execute_placer(&exec);
	int result = RQS_REAL(execve)(path, argv, exec.environment);
	exec_failed();
	return result;
}

RQS_EXPORT int execvpe(const char *file, char *const argv[], char *const envp[])
{
	char path[PATH_MAX], room[PATH_MAX];
	const char *program;
	struct exec exec;

	PREPARE(&exec, of_command(file, path, &program, room), "--path", program, argv, envp);
	exec_begins();
	execute_placer(&exec);
	int result = RQS_REAL(execvpe)(file, argv, exec.environment);
	exec_failed();
	return result;
}

/* Until the exec it has to be open; whoever is started by another thread in between may get it, too. */
static void execute_placer_with(const struct exec *exec, int fd, bool until_exec)
{
	if (!exec->placing)
		return;
	if (until_exec)
		rqs_sys3(SYS_fcntl, fd, F_SETFD, 0);
	execute_placer(exec);
	if (until_exec)
		rqs_sys3(SYS_fcntl, fd, F_SETFD, FD_CLOEXEC);
}

RQS_EXPORT int fexecve(int fd, char *const argv[], char *const envp[])
{
	char number[RQS_DESCRIPTOR_NUMBER];
	const char *option = "";
	struct exec exec;

	rqs_interpreter_print_descriptor(number, fd);
	PREPARE(&exec, of_descriptor(fd, &option), option, number, argv, envp);
	exec_begins();
	execute_placer_with(&exec, fd, !strcmp(option, "--fd-until-exec"));
	int result = RQS_REAL(fexecve)(fd, argv, exec.environment);
	exec_failed();
	return result;
}

#ifdef __GLIBC__
/* As one of the two above, where that is what is asked for; in glibc since 2.34 only. */
RQS_EXPORT int execveat(int fd, const char *path, char *const argv[], char *const envp[], int flags)
{
	bool known = !rqs_load_relaxed(&rqs_agent.frozen) && rqs_readable(path, 1);

	if (known && flags == AT_EMPTY_PATH && !*path && fd >= 0 && may_read(argv) && may_read(envp))
		return fexecve(fd, argv, envp);
	if (known && !flags && (fd == AT_FDCWD || *path == '/'))
		return execve(path, argv, envp);
	exec_begins();
	long error = rqs_sys5(SYS_execveat, fd, path, argv, envp, flags);
	exec_failed();
	errno = (int)-error;
	return -1;
}
#endif

RQS_EXPORT int execv(const char *path, char *const argv[])
{
	return execve(path, argv, environ);
}

RQS_EXPORT int execvp(const char *file, char *const argv[])
{
	return execvpe(file, argv, environ);
}

RQS_EXPORT int posix_spawn(pid_t *pid, const char *path, const posix_spawn_file_actions_t *actions,
			   const posix_spawnattr_t *attributes, char *const argv[], char *const envp[])
{
	const char *program = path;
	char room[PATH_MAX];
	struct exec exec;

	PREPARE(&exec, of_path(&program, room), "--path", program, argv, envp);
	if (exec.placing && !RQS_REAL(posix_spawn)(pid, rqs_session.placer, actions, attributes, exec.placing,
						   exec.environment))
		return 0;
	return RQS_REAL(posix_spawn)(pid, path, actions, attributes, argv, exec.environment);
}

RQS_EXPORT int posix_spawnp(pid_t *pid, const char *file, const posix_spawn_file_actions_t *actions,
			    const posix_spawnattr_t *attributes, char *const argv[], char *const envp[])
{
	char path[PATH_MAX], room[PATH_MAX];
	const char *program;
	struct exec exec;

	PREPARE(&exec, of_command(file, path, &program, room), "--path", program, argv, envp);
	if (exec.placing && !RQS_REAL(posix_spawn)(pid, rqs_session.placer, actions, attributes, exec.placing,
						   exec.environment))
		return 0;
	return RQS_REAL(posix_spawnp)(pid, file, actions, attributes, argv, exec.environment);
}

/* The arguments of an execl, from its second on, as a vector on the caller's stack. */
#define COLLECT(first, list, argv)                                       \
	do {                                                             \
		va_list counting;                                        \
		size_t n = 1;                                            \
		va_copy(counting, list);                                 \
		while (va_arg(counting, char *))                         \
			n++;                                             \
		va_end(counting);                                        \
		argv = alloca((n + 1) * sizeof(char *));                 \
		argv[0] = (char *)(first);                               \
		for (size_t i = 1; i <= n; i++)                          \
			argv[i] = va_arg(list, char *);                  \
	} while (0)

RQS_EXPORT int execl(const char *path, const char *first, ...)
{
	va_list list;
	char **argv;

	va_start(list, first);
	COLLECT(first, list, argv);
	va_end(list);
	return execve(path, argv, environ);
}

RQS_EXPORT int execlp(const char *file, const char *first, ...)
{
	va_list list;
	char **argv;

	va_start(list, first);
	COLLECT(first, list, argv);
	va_end(list);
	return execvpe(file, argv, environ);
}

RQS_EXPORT int execle(const char *path, const char *first, ...)
{
	va_list list;
	char **argv;

	va_start(list, first);
	COLLECT(first, list, argv);
	char *const *envp = va_arg(list, char *const *);
	va_end(list);
	return execve(path, argv, envp);
}

/* ---- exit ---- */

static void ending(void)
{
	struct rqs_call call;

	if (rqs_active() && rqs_enter(&call)) {
		/* Ends only what lasts until its connection's end; everything else the collector sees by itself. */
		rqs_agent_exit(&rqs_agent, call.worker);
		rqs_leave();
	}
}

/* exit() and the end of main run it among the host's own handlers; nothing of ours is freed. */
static void __attribute__((destructor)) at_exit(void)
{
	ending();
}

RQS_EXPORT void _exit(int status)
{
	ending();
	RQS_REAL(_exit)(status);
	__builtin_unreachable();
}

RQS_EXPORT void _Exit(int status) __attribute__((alias("_exit")));
