/*
 * attach_checks.c - whether `reqscope attach` would get into a process that
 * runs: what it needs is looked at, in the order in which it would fail.
 */
#include "cmd/siblings.h"
#include "collect/procfs.h"
#include "doctor/checks.h"

#include <errno.h>
#include <fcntl.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define ENOUGH_FOR_GO (2ull << 30) /* as in agent/inject/attach_go.c */
#define LIMITS_SIZE 4096
#define CHILDREN_SIZE 256

struct obstacle {
	char why[512], fix[PATH_MAX + 256]; /* "" none */
};

static bool fail(struct obstacle *obstacle, const char *why, const char *fix, ...)
    __attribute__((format(printf, 3, 4)));

static bool fail(struct obstacle *obstacle, const char *why, const char *fix, ...)
{
	va_list arguments;

	snprintf(obstacle->why, sizeof(obstacle->why), "%s", why);
	va_start(arguments, fix);
	vsnprintf(obstacle->fix, sizeof(obstacle->fix), fix, arguments);
	va_end(arguments);
	return false;
}

static bool is_go(const struct rqs_patient *patient)
{
	return patient->runtime && !strcmp(patient->runtime, "go");
}

static bool same_file(const char *one, int dir, const char *other)
{
	struct stat a, b;

	return !stat(one, &a) && !fstatat(dir, other, &b, 0) && a.st_dev == b.st_dev && a.st_ino == b.st_ino;
}

/* ---- each returns false where it is in the way ---- */

static bool is_a_server(struct obstacle *obstacle, const struct rqs_patient *patient)
{
	long leader = rqs_status_number(patient->status, "Tgid", patient->pid);

	if (leader != patient->pid)
		return fail(obstacle, "it is a thread of another process", "reqscope doctor %ld", leader);
	if (same_file("/proc/self/exe", patient->dir, "exe"))
		return fail(obstacle, "it is a process of reqscope itself", "Ask about the server.");
	return true;
}

/* The kernel asks the same of who opens this as of who traces. */
static bool may_be_traced(struct obstacle *obstacle, const struct rqs_patient *patient)
{
	int memory = openat(patient->dir, "mem", O_RDONLY | O_CLOEXEC);
	long user = rqs_status_number(patient->status, "Uid", -1);

	if (memory < 0 && geteuid() && user != (long)geteuid())
		return fail(obstacle, "it belongs to another user", "Run reqscope as user %ld, or as root.", user);
	if (memory < 0)
		return fail(obstacle, "the kernel doesn't let you trace it (ptrace)",
			    "Run reqscope as root, or with CAP_SYS_PTRACE; in a container, with --cap-add SYS_PTRACE.");
	close(memory);
	if (rqs_ptrace_refusal())
		return fail(
		    obstacle, "the system call ptrace is refused here, as sandboxes do",
		    "Start the container with --cap-add SYS_PTRACE, or with a seccomp profile that allows ptrace.");
	return true;
}

static bool is_free(struct obstacle *obstacle, const struct rqs_patient *patient)
{
	const char *state = rqs_status_line(patient->status, "State");
	long tracer = rqs_status_number(patient->status, "TracerPid", 0);

	if (tracer > 0)
		return fail(obstacle, "somebody traces it already", "End process %ld first.", tracer);
	if (state && *state == 'T' && !is_go(patient))
		return fail(obstacle, "it is stopped", "kill -CONT %d", (int)patient->pid);
	if (rqs_status_number(patient->status, "Seccomp", 0) == 1)
		return fail(obstacle, "strict seccomp kills it for any call of ours", "%s", "");
	return true;
}

/* One that was loaded at its start, or by an earlier attach, is taken as it is. */
static bool has_library(struct obstacle *obstacle, const struct rqs_patient *patient)
{
	bool musl = patient->kind == PROGRAM_MUSL;
	char path[PATH_MAX], there[PATH_MAX + 8];

	if (is_go(patient) || (patient->maps && strstr(patient->maps, "/libreqscope")))
		return true;
	if (!rqs_siblings_library(musl ? RQS_MUSL_LIBRARY : RQS_LIBRARY, path))
		return fail(obstacle, "the library isn't installed",
			    "Build it (make), or install all of it (make install).");
	snprintf(there, sizeof(there), "root%s", path);
	if (!same_file(path, patient->dir, there))
		return fail(
		    obstacle, "it doesn't see the library, as it has other files (a mount namespace, or chroot)",
		    "Install reqscope in its container and run it there, or let %s be seen there under the same path.",
		    path);
	return true;
}

static bool reaches_us(struct obstacle *obstacle, const struct rqs_patient *patient)
{
	if (same_file("/proc/self/ns/net", patient->dir, "ns/net"))
		return true;
	return fail(obstacle, "it has a network of its own, from which no collector outside is reached",
		    "nsenter -t %d -n reqscope attach %d", (int)patient->pid, (int)patient->pid);
}

/* The number behind a line's name; UINT64_MAX: unlimited, or no such line. */
static uint64_t limit_of(const char *limits, const char *name)
{
	const char *at = strstr(limits, name);

	at = at ? at + strlen(name) : "";
	at += strspn(at, " ");
	return *at >= '0' && *at <= '9' ? strtoull(at, NULL, 10) : UINT64_MAX;
}

/* As attaching has it: a quarter is to be left, of what is taken once. */
static bool leaves_room(struct obstacle *obstacle, const struct rqs_patient *patient, const char *limits)
{
	uint64_t space = limit_of(limits, "Max address space"), of_data = limit_of(limits, "Max data size");
	unsigned long all, data, page = (unsigned long)sysconf(_SC_PAGESIZE);
	char text[128];

	if ((patient->maps && strstr(patient->maps, "/libreqscope")) ||
	    rqs_procfs_read(patient->dir, "statm", text, sizeof(text)) < 0 ||
	    sscanf(text, "%lu %*u %*u %*u %*u %lu", &all, &data) != 2 ||
	    (all * page <= space - space / 4 && data * page <= of_data - of_data / 4))
		return true;
	return fail(obstacle, "too little is left of what its memory is limited to (ulimit -v or -d)",
		    "Start it with a larger limit.");
}

static bool has_room(struct obstacle *obstacle, const struct rqs_patient *patient)
{
	char limits[LIMITS_SIZE];

	if (rqs_procfs_read(patient->dir, "limits", limits, sizeof(limits)) < 0)
		return true;
	if (!is_go(patient))
		return leaves_room(obstacle, patient, limits);
	if (limit_of(limits, "Max address space") >= ENOUGH_FOR_GO &&
	    limit_of(limits, "Max data size") >= ENOUGH_FOR_GO)
		return true;
	return fail(obstacle, "its memory is limited to less than 2 GiB (ulimit -v or -d)",
		    "Start it without that limit.");
}

/* ---- the finding ---- */

static bool has_children(const struct rqs_patient *patient)
{
	char name[64], children[CHILDREN_SIZE];

	snprintf(name, sizeof(name), "task/%d/children", (int)patient->pid);
	return rqs_procfs_read(patient->dir, name, children, sizeof(children)) > 0;
}

static bool can_be_attached(struct obstacle *obstacle, const struct rqs_patient *patient)
{
	return is_a_server(obstacle, patient) && may_be_traced(obstacle, patient) && is_free(obstacle, patient) &&
	       has_library(obstacle, patient) && reaches_us(obstacle, patient) && has_room(obstacle, patient);
}

/* After the others: where one of them has found an error, nothing can be recorded. */
void rqs_check_attach(struct rqs_diagnosis *diagnosis, const struct rqs_patient *patient)
{
	struct obstacle obstacle = {0};

	if (diagnosis->worst >= RQS_LEVEL_ERROR || rqs_patient_is_recorded(patient))
		return;
	if (can_be_attached(&obstacle, patient)) {
		rqs_diagnose(diagnosis, "process.attach", RQS_LEVEL_OK,
			     "It can be recorded from now on, while it runs: its threads are stopped for some "
			     "milliseconds at the begin and at the end. What was before isn't in it: its start, its "
			     "memory's origin, and requests that are under way, which count as unfinished.");
		rqs_prescribe(diagnosis, "reqscope attach %d%s", (int)patient->pid,
			      has_children(patient) ? " --children" : "");
		return;
	}
	rqs_diagnose(diagnosis, "process.attach", RQS_LEVEL_WARNING, "It can't be attached to while it runs: %s.",
		     obstacle.why);
	if (obstacle.fix[0])
		rqs_prescribe(diagnosis, "%s", obstacle.fix);
	else
		rqs_prescribe(diagnosis, "End it, and start it by `reqscope run -- %s`.",
			      patient->command[0] ? patient->command : patient->named);
}
