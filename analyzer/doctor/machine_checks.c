/* machine_checks.c - the machine, or the container, that reqscope is started in. What can be tried is tried. */
#include "cmd/siblings.h"
#include "collect/clock.h"
#include "doctor/checks.h"

#include <errno.h>
#include <linux/capability.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/ptrace.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/utsname.h>
#include <sys/vfs.h>
#include <sys/wait.h>
#include <unistd.h>

#define YAMA "/proc/sys/kernel/yama/ptrace_scope"
#define PROC_MAGIC 0x9fa0

/* At most size - 1 bytes of a file of the kernel's; "" where there is none. */
static void read_text(const char *path, char *text, size_t size)
{
	FILE *file = fopen(path, "re");
	size_t length = file ? fread(text, 1, size - 1, file) : 0;

	text[length] = 0;
	if (file)
		fclose(file);
}

static bool has_capability(unsigned capability)
{
	char status[RQS_STATUS_SIZE];

	read_text("/proc/self/status", status, sizeof(status));
	const char *set = rqs_status_line(status, "CapEff");
	return set && (strtoull(set, NULL, 16) >> capability & 1);
}

void rqs_check_kernel(struct rqs_diagnosis *diagnosis, const struct rqs_patient *patient)
{
	struct utsname name;

	(void)patient;
	if (!uname(&name))
		rqs_diagnose(diagnosis, "machine.kernel", RQS_LEVEL_OK, "%s %s on %s.", name.sysname, name.release,
			     name.machine);
}

void rqs_check_clock(struct rqs_diagnosis *diagnosis, const struct rqs_patient *patient)
{
	struct rqs_calibration clock;

	(void)patient;
	rqs_calibration_start(&clock);
	if (clock.clock == RQS_CLOCK_TSC) {
		rqs_diagnose(diagnosis, "machine.clock", RQS_LEVEL_OK,
			     "Times are taken from the CPU's time stamp counter, which is invariant.");
		return;
	}
	rqs_diagnose(
	    diagnosis, "machine.clock", RQS_LEVEL_INFO,
	    "The CPU's time stamp counter isn't invariant, or the kernel doesn't trust it: times are taken from "
	    "CLOCK_MONOTONIC. They are as right, and cost more.");
}

/*
 * Makes a call in a child, as a filter may kill for it: NULL when it succeeds,
 * else what is in its way. No core is left by that.
 */
static const char *refusal(bool (*call)(void))
{
	int status = -1;
	pid_t pid = fork();

	if (pid == 0) {
		prctl(PR_SET_DUMPABLE, 0, 0, 0, 0);
		_exit(call() ? 0 : errno);
	}
	if (pid < 0 || waitpid(pid, &status, 0) != pid)
		return "it can't be tried";
	if (WIFSIGNALED(status))
		return "a seccomp filter kills for it";
	return WEXITSTATUS(status) ? strerror(WEXITSTATUS(status)) : NULL;
}

static bool be_traced(void)
{
	return ptrace(PTRACE_TRACEME, 0, NULL, NULL) == 0;
}

const char *rqs_ptrace_refusal(void)
{
	return refusal(be_traced);
}

static bool make_memory(void)
{
	return memfd_create("reqscope-doctor", MFD_CLOEXEC) >= 0;
}

static bool open_process(void)
{
	return syscall(SYS_pidfd_open, getpid(), 0) >= 0;
}

static bool ask_for_stamps(void)
{
	int one = 1, fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);

	return fd >= 0 && !setsockopt(fd, SOL_SOCKET, SO_TIMESTAMPNS, &one, sizeof(one));
}

void rqs_check_ptrace(struct rqs_diagnosis *diagnosis, const struct rqs_patient *patient)
{
	static const char *const scopes[] = {
	    "a process may trace others of its user",
	    "a process may trace its descendants and those that allow it, as what `reqscope run` starts does",
	    "only processes with CAP_SYS_PTRACE may trace",
	    "nobody may trace",
	};
	char text[16];

	enum rqs_level level = rqs_patient_is_static_go(patient) ? RQS_LEVEL_ERROR : RQS_LEVEL_WARNING;

	if (patient->runtime && level == RQS_LEVEL_WARNING)
		return;
	read_text(YAMA, text, sizeof(text));
	long scope = strtol(text, NULL, 10);
	scope = scope < 0 || scope > 3 ? 3 : scope;
	if (scope == 3 || (scope == 2 && !has_capability(CAP_SYS_PTRACE))) {
		rqs_diagnose(
		    diagnosis, "machine.ptrace", level,
		    "Static Go programs can't be recorded: Yama's ptrace_scope is %ld, so %s. Other programs can.",
		    scope, scopes[scope]);
		rqs_prescribe(diagnosis, scope == 3 ? "It can't be lowered before the next boot; use another machine."
						    : "Run reqscope as root, or with CAP_SYS_PTRACE.");
	} else if (rqs_ptrace_refusal()) {
		rqs_diagnose(
		    diagnosis, "machine.ptrace", level,
		    "Static Go programs can't be recorded: the system call ptrace is refused, as sandboxes and some "
		    "containers do. Other programs can.");
		rqs_prescribe(diagnosis,
			      "Start the container with --cap-add SYS_PTRACE, or with a seccomp profile that "
			      "allows ptrace.");
	} else {
		rqs_diagnose(diagnosis, "machine.ptrace", RQS_LEVEL_OK,
			     "Go programs can be hooked at their start. %s %ld: %s.",
			     *text ? "Yama's ptrace_scope is" : "There is no Yama, which is as ptrace_scope", scope,
			     scopes[scope]);
	}
}

void rqs_check_capabilities(struct rqs_diagnosis *diagnosis, const struct rqs_patient *patient)
{
	(void)patient;
	rqs_diagnose(diagnosis, "machine.capabilities", RQS_LEVEL_OK, "reqscope runs as user %d, %s CAP_SYS_PTRACE.",
		     (int)geteuid(), has_capability(CAP_SYS_PTRACE) ? "with" : "without");
}

void rqs_check_sandbox(struct rqs_diagnosis *diagnosis, const struct rqs_patient *patient)
{
	(void)patient;
	if (prctl(PR_GET_SECCOMP, 0, 0, 0, 0) > 0)
		rqs_diagnose(
		    diagnosis, "machine.seccomp", RQS_LEVEL_INFO,
		    "A seccomp filter is on reqscope, and will be on what it runs. The agent tries in a child which of "
		    "its calls are allowed, and does without the others: times of arrival may be missing.");
	if (prctl(PR_GET_NO_NEW_PRIVS, 0, 0, 0, 0) > 0)
		rqs_diagnose(diagnosis, "machine.no_new_privs", RQS_LEVEL_INFO,
			     "no_new_privs is set: set-user-ID programs get no privileges. Recording isn't affected.");
}

void rqs_check_container(struct rqs_diagnosis *diagnosis, const struct rqs_patient *patient)
{
	char groups[4096];
	const char *sign = NULL;

	(void)patient;
	read_text("/proc/1/cgroup", groups, sizeof(groups));
	if (!access("/.dockerenv", F_OK))
		sign = "/.dockerenv exists";
	else if (!access("/run/.containerenv", F_OK))
		sign = "/run/.containerenv exists";
	else if (getenv("KUBERNETES_SERVICE_HOST"))
		sign = "KUBERNETES_SERVICE_HOST is set";
	else if (strstr(groups, "docker") || strstr(groups, "kubepods") || strstr(groups, "/lxc"))
		sign = "process 1 is in a container's control group";
	if (sign)
		rqs_diagnose(diagnosis, "machine.container", RQS_LEVEL_INFO,
			     "This seems to be a container (%s): what runs outside of it can't be seen from here.",
			     sign);
}

void rqs_check_calls(struct rqs_diagnosis *diagnosis, const struct rqs_patient *patient)
{
	const char *memory = refusal(make_memory), *process = refusal(open_process);

	(void)patient;
	if (memory) {
		rqs_diagnose(
		    diagnosis, "machine.memfd", RQS_LEVEL_ERROR,
		    "Nothing can be recorded: memfd_create fails (%s), and with it the shared memory of agent and "
		    "collector.",
		    memory);
		rqs_prescribe(diagnosis, "Use Linux 3.17 or later, without a filter that forbids memfd_create.");
	} else {
		rqs_diagnose(diagnosis, "machine.memfd", RQS_LEVEL_OK, "Shared memory can be made (memfd_create).");
	}
	if (process)
		rqs_diagnose(diagnosis, "machine.pidfd", RQS_LEVEL_INFO,
			     "pidfd_open isn't to be had (%s): a server's end is noticed a moment later.", process);
}

void rqs_check_arrival(struct rqs_diagnosis *diagnosis, const struct rqs_patient *patient)
{
	const char *refused = refusal(ask_for_stamps);

	(void)patient;
	if (!refused) {
		rqs_diagnose(diagnosis, "machine.arrival", RQS_LEVEL_OK,
			     "The kernel stamps what arrives (SO_TIMESTAMPNS): latency counts from there.");
		return;
	}
	rqs_diagnose(
	    diagnosis, "machine.arrival", RQS_LEVEL_WARNING,
	    "The kernel doesn't stamp what arrives (SO_TIMESTAMPNS: %s): queue is null, and latency counts from the "
	    "server's read.",
	    refused);
	rqs_prescribe(diagnosis, "Run it on Linux itself, not in a sandbox that imitates its sockets.");
}

/* Of the mount at /proc, its last where there are several. */
static bool hides_pids(void)
{
	char mounts[32768];

	read_text("/proc/self/mounts", mounts, sizeof(mounts));
	for (char *line = mounts, *rest; (line = strtok_r(line, "\n", &rest)); line = NULL) {
		const char *hidden = strstr(line, "hidepid=");

		if (strstr(line, " /proc proc ") && hidden && hidden[8] != '0' && hidden[8] != 'o')
			return true;
	}
	return false;
}

void rqs_check_proc(struct rqs_diagnosis *diagnosis, const struct rqs_patient *patient)
{
	struct statfs about;

	(void)patient;
	if (statfs("/proc", &about) || about.f_type != PROC_MAGIC) {
		rqs_diagnose(diagnosis, "machine.proc", RQS_LEVEL_ERROR,
			     "Nothing can be recorded: /proc isn't mounted, by which reqscope finds its library.");
		rqs_prescribe(diagnosis, "mount -t proc proc /proc");
	} else if (hides_pids() && geteuid()) {
		rqs_diagnose(diagnosis, "machine.proc", RQS_LEVEL_INFO,
			     "/proc is mounted with hidepid: processes of other users can't be seen, your own can.");
	} else {
		rqs_diagnose(diagnosis, "machine.proc", RQS_LEVEL_OK, "/proc is mounted.");
	}
}

/* ---- the files of the installation ---- */

void rqs_check_library(struct rqs_diagnosis *diagnosis, const struct rqs_patient *patient)
{
	char path[PATH_MAX];

	(void)patient;
	if (!rqs_siblings_library("libreqscope.so", path)) {
		rqs_diagnose(
		    diagnosis, "machine.library", RQS_LEVEL_ERROR,
		    "libreqscope.so is neither beside reqscope nor in ../lib/reqscope: nothing can be recorded.");
		rqs_prescribe(diagnosis, "Build it (make), or install all of it (make install).");
	} else if (strpbrk(path, " :")) {
		rqs_diagnose(diagnosis, "machine.library", RQS_LEVEL_ERROR,
			     "The loader can't preload %s: there is a space or a colon in its path.", path);
		rqs_prescribe(diagnosis, "Install reqscope in another folder.");
	} else {
		rqs_diagnose(diagnosis, "machine.library", RQS_LEVEL_OK, "The agent is %s.", path);
	}
}

void rqs_check_musl_library(struct rqs_diagnosis *diagnosis, const struct rqs_patient *patient)
{
	char path[PATH_MAX];

	(void)patient;
	if (rqs_siblings_library("libreqscope-musl.so", path))
		rqs_diagnose(diagnosis, "machine.musl_library", RQS_LEVEL_OK, "The agent for musl programs is %s.",
			     path);
	else
		rqs_diagnose(
		    diagnosis, "machine.musl_library", RQS_LEVEL_INFO,
		    "libreqscope-musl.so isn't installed: programs that use musl can't be recorded. Where it is "
		    "needed, install musl-tools and build again.");
}

void rqs_check_placer(struct rqs_diagnosis *diagnosis, const struct rqs_patient *patient)
{
	struct rqs_siblings siblings;
	const char *name;

	(void)patient;
	if (!rqs_siblings_find(&siblings))
		return;
	name = strrchr(siblings.placer, '/');
	if (name && !strcmp(name, "/reqscope-place"))
		rqs_diagnose(diagnosis, "machine.placer", RQS_LEVEL_OK,
			     "Go programs that servers start are hooked by %s.", siblings.placer);
	else
		rqs_diagnose(
		    diagnosis, "machine.placer", RQS_LEVEL_INFO,
		    "reqscope-place isn't beside reqscope, which takes its part where it finds its libraries.");
}
