/* attach_target.c - whether a process can be attached to, and if not, what the user can do. */
#include "cmd/attaching.h"
#include "cmd/command.h"
#include "cmd/descendants.h"
#include "inject/task.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define PTRACE_SCOPE "/proc/sys/kernel/yama/ptrace_scope"

/* A line of its status, such as "Tgid:"; -1 where there is none. */
static long status_number(pid_t pid, const char *name)
{
	return (long)rqs_task_number(pid, pid, name, 10, UINT64_MAX);
}

/* Of the kernel itself: it has neither memory nor a program. */
static bool is_of_kernel(pid_t pid)
{
	char path[64], target[8];

	snprintf(path, sizeof(path), "/proc/%d/exe", (int)pid);
	return readlink(path, target, sizeof(target)) < 0 && errno == ENOENT && status_number(pid, "VmSize:") < 0;
}

/* A collector or a keeper is part of what records, and no server. */
static bool is_reqscope(pid_t pid)
{
	struct stat its, ours;
	char path[64];

	snprintf(path, sizeof(path), "/proc/%d/exe", (int)pid);
	return !stat(path, &its) && !stat("/proc/self/exe", &ours) && its.st_dev == ours.st_dev &&
	       its.st_ino == ours.st_ino;
}

bool rqs_attach_check_target(struct attaching *attaching)
{
	struct rqs_seen_process seen;
	pid_t pid = attaching->pid;

	if (access("/proc/self/stat", R_OK)) {
		rqs_complain("attach: /proc isn't mounted");
		return false;
	}
	if (!rqs_process_see(pid, &seen)) {
		rqs_complain("attach: no process %d; `ps -e` lists them", (int)pid);
		return false;
	}
	long leader = status_number(pid, "Tgid:");

	snprintf(attaching->name, sizeof(attaching->name), "%s", seen.name);
	if (leader > 0 && leader != pid)
		rqs_complain("attach: %d is a thread of process %ld; attach to that", (int)pid, leader);
	else if (rqs_process_has_ended(&seen))
		rqs_complain("attach: process %d (%s) has ended; its parent hasn't asked for its status yet", (int)pid,
			     seen.name);
	else if (is_of_kernel(pid))
		rqs_complain("attach: %d (%s) is a thread of the kernel", (int)pid, seen.name);
	else if (pid == getpid())
		rqs_complain("attach: %d is this process itself", (int)pid);
	else if (is_reqscope(pid))
		rqs_complain("attach: %d is a process of reqscope itself; attach to the server", (int)pid);
	else
		return true;
	return false;
}

/* Next steps */

static int ptrace_scope(void)
{
	FILE *file = fopen(PTRACE_SCOPE, "re");
	int scope = 0;

	if (file && fscanf(file, "%d", &scope) != 1)
		scope = 0;
	if (file)
		fclose(file);
	return scope;
}

/* Its files in /proc are root's then: it was setuid, or its file had capabilities (proc(5), PR_SET_DUMPABLE). */
static bool has_more_rights(pid_t pid, long user)
{
	char path[64];
	struct stat stat_;

	snprintf(path, sizeof(path), "/proc/%d", (int)pid);
	return geteuid() && user == (long)geteuid() && !stat(path, &stat_) && stat_.st_uid != geteuid();
}

static void explain_permission(pid_t pid)
{
	long user = status_number(pid, "Uid:");
	int scope = ptrace_scope();

	if (user >= 0 && user != (long)geteuid() && geteuid())
		rqs_complain("it belongs to user %ld: run this as that user, or as root", user);
	else if (has_more_rights(pid, user))
		rqs_complain("it has more rights than the user who started it (setuid, capabilities): run this as root");
	else if (scope == 3)
		rqs_complain("%s is 3: nobody may attach to processes until the machine is started anew", PTRACE_SCOPE);
	else if (scope == 2 || (scope == 1 && geteuid()))
		rqs_complain("%s is %d: run this as root", PTRACE_SCOPE, scope);
	else
		rqs_complain("that takes the capability CAP_SYS_PTRACE in its user namespace; in a container, "
			     "`--cap-add SYS_PTRACE` gives it");
}

static void explain_busy(pid_t pid)
{
	struct rqs_seen_process tracer;
	long number = status_number(pid, "TracerPid:");

	if (number > 0 && rqs_process_see((pid_t)number, &tracer))
		rqs_complain("process %ld (%s) traces it: end that first", number, tracer.name);
	else
		rqs_complain("end the other recording first");
}

void rqs_attach_explain(const struct attaching *attaching)
{
	const struct rqs_keeper_word *word = &attaching->begun;

	rqs_complain("attach: %d (%s) isn't recorded: %s", (int)attaching->pid, attaching->name,
		     word->why[0] ? word->why : strerror(-word->error));
	switch (-word->error) {
	case EPERM:
	case EACCES:
		explain_permission(attaching->pid);
		break;
	case EBUSY:
		explain_busy(attaching->pid);
		break;
	case ETIMEDOUT:
		rqs_complain("it goes on unchanged; another try may find it at a better moment");
		break;
	case ENOEXEC:
		if (!attaching->children)
			rqs_complain("if its child processes serve, --children records them");
		break;
	case ESRCH:
		break;
	default:
		rqs_complain("`reqscope doctor %d` may tell more", (int)attaching->pid);
	}
}
