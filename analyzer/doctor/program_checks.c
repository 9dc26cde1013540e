/* program_checks.c - a program, by its file: can it be recorded, and what will be missing? */
#include "cmd/siblings.h"
#include "doctor/checks.h"
#include "inject/privileges.h"
#include "os/executable.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/xattr.h>
#include <unistd.h>

#define NEWEST_PYTHON 14 /* as agent/python/py_api.c */
#define OLDEST_PYTHON 8

static bool is_runtime(const struct rqs_patient *patient, const char *name)
{
	return patient->runtime && !strcmp(patient->runtime, name);
}

/* ---- kind ---- */

static void tell_obstacle(struct rqs_diagnosis *diagnosis, const struct rqs_patient *patient)
{
	rqs_diagnose(diagnosis, "program.kind", RQS_LEVEL_ERROR, "%s %s.", patient->named,
		     rqs_program_obstacle(patient->kind));
	if (patient->kind == PROGRAM_STATIC)
		rqs_prescribe(diagnosis, "Link it dynamically (without -static).");
	else if (patient->kind == PROGRAM_MUSL)
		rqs_prescribe(diagnosis,
			      "Install musl-tools and build reqscope again, which makes libreqscope-musl.so.");
	else if (patient->kind == PROGRAM_OTHER_MACHINE)
		rqs_prescribe(diagnosis, "Use its build for x86-64.");
	else
		rqs_prescribe(diagnosis, "Run it as its owner, or a copy without the set-user-ID bit.");
}

static const char *name_of_kind(const struct rqs_patient *patient)
{
	if (patient->kind == PROGRAM_MUSL)
		return "a dynamic program on musl: libreqscope-musl.so is preloaded";
	if (rqs_patient_is_static_go(patient))
		return "a Go program without C libraries: its hooks are placed by ptrace at its start";
	return "a dynamic program: libreqscope.so is preloaded";
}

void rqs_check_kind(struct rqs_diagnosis *diagnosis, const struct rqs_patient *patient)
{
	char library[PATH_MAX];
	bool has_musl = patient->kind == PROGRAM_MUSL && rqs_siblings_library("libreqscope-musl.so", library);

	if (!patient->is_readable && patient->pid) {
		rqs_diagnose(diagnosis, "program.kind", RQS_LEVEL_ERROR,
			     "The program of process %d can't be read: it belongs to somebody else, has ended, or is "
			     "the kernel's.",
			     (int)patient->pid);
		rqs_prescribe(diagnosis, "Ask as its user or as root.");
		return;
	}
	if (!patient->is_readable) {
		rqs_diagnose(diagnosis, "program.kind", RQS_LEVEL_WARNING,
			     "%s can't be read, only executed: what it is can't be told.", patient->named);
		rqs_prescribe(diagnosis, "Ask as a user who may read it.");
		return;
	}
	if (patient->script[0])
		rqs_diagnose(diagnosis, "program.script", RQS_LEVEL_INFO, "%s is a script, run by %s.", patient->script,
			     patient->named);
	if (!patient->is_elf) {
		rqs_diagnose(diagnosis, "program.kind", RQS_LEVEL_ERROR,
			     "%s is no program, and no script whose line #! names one.", patient->named);
		rqs_prescribe(diagnosis, "Name the interpreter in its first line, or before it on the command line.");
	} else if (patient->pid && patient->kind == PROGRAM_SETUID) {
		rqs_diagnose(
		    diagnosis, "program.kind", RQS_LEVEL_OK,
		    "%s is a set-user-ID program: nothing is preloaded to it, but who may trace it may attach.",
		    patient->named);
	} else if (rqs_program_obstacle(patient->kind) && !has_musl && !rqs_patient_is_static_go(patient)) {
		tell_obstacle(diagnosis, patient);
	} else {
		rqs_diagnose(diagnosis, "program.kind", RQS_LEVEL_OK, "%s is %s.", patient->named,
			     name_of_kind(patient));
	}
}

/* ---- privileges ---- */

/* Of a program that gets more privileges by its exec; set-user-ID is a kind already (cmd/program.h). */
static bool is_secure(int fd)
{
	struct stat about;

	return fstat(fd, &about) || ((about.st_mode & S_ISGID) && about.st_gid != getegid()) ||
	       (geteuid() && fgetxattr(fd, "security.capability", NULL, 0) > 0);
}

void rqs_check_privileges(struct rqs_diagnosis *diagnosis, const struct rqs_patient *patient)
{
	int fd = patient->is_elf && !patient->pid ? rqs_executable_open(patient->path) : -1;
	const char *raised = NULL;

	if (fd < 0)
		return;
	if (rqs_patient_is_static_go(patient))
		raised = rqs_privileges_raised(fd);
	bool is_ignored = !rqs_patient_is_static_go(patient) && patient->kind != PROGRAM_SETUID && is_secure(fd);
	close(fd);
	if (raised)
		rqs_diagnose(diagnosis, "program.privileges", RQS_LEVEL_ERROR,
			     "It isn't hooked, as an exec that is traced raises no privileges: %s.", raised);
	else if (is_ignored)
		rqs_diagnose(diagnosis, "program.privileges", RQS_LEVEL_ERROR,
			     "It is set-group-ID, or its file has capabilities, and its loader ignores LD_PRELOAD: not "
			     "recorded.");
	if (raised || is_ignored)
		rqs_prescribe(diagnosis, "Run a copy without these privileges, or reqscope with them.");
}

/* ---- runtimes ---- */

static void tell_measure(struct rqs_diagnosis *diagnosis, const struct rqs_plan *plan, uint32_t bit, const char *id,
			 const char *fields, const char *why)
{
	if (plan->measures & bit)
		rqs_diagnose(diagnosis, id, RQS_LEVEL_OK, "%s: will be measured.", fields);
	else
		rqs_diagnose(diagnosis, id, RQS_LEVEL_WARNING, "%s: will be null: %s.", fields, why);
}

void rqs_check_go(struct rqs_diagnosis *diagnosis, const struct rqs_patient *patient)
{
	const struct rqs_plan *plan = &patient->plan;

	if (!is_runtime(patient, "go"))
		return;
	if (plan->why_not[0]) {
		rqs_diagnose(diagnosis, "go.requests", RQS_LEVEL_ERROR, "Go %s: no request can be recorded: %s.",
			     plan->version, plan->why_not);
		rqs_prescribe(diagnosis, "Build it with Go 1.18 to 1.26, without obfuscated names.");
		return;
	}
	rqs_diagnose(diagnosis, "go.requests", RQS_LEVEL_OK,
		     "Go %s: requests can be recorded; TLS and HTTP/2 can't yet.",
		     plan->version[0] ? plan->version : "of an unknown version");
	tell_measure(diagnosis, plan, RQS_MEASURES_ALLOC, "go.allocations", "alloc_bytes and alloc_count",
		     plan->why_no_alloc);
	tell_measure(diagnosis, plan, RQS_MEASURES_CHILDREN, "go.children",
		     "Work of the goroutines that a request starts", plan->why_no_children);
	tell_measure(diagnosis, plan, RQS_MEASURES_SCHED, "go.times", "cpu_time, sched_wait and children_cpu_time",
		     plan->why_no_sched);
}

void rqs_check_python(struct rqs_diagnosis *diagnosis, const struct rqs_patient *patient)
{
	if (!is_runtime(patient, "python"))
		return;
	long minor = strncmp(patient->version, "3.", 2) ? -1 : strtol(patient->version + 2, NULL, 10);

	if (minor < 0) {
		rqs_diagnose(diagnosis, "python.memory", RQS_LEVEL_INFO,
			     "Python of an unknown version: requests can be recorded; memory and times where it is "
			     "CPython 3.%d to "
			     "3.%d.",
			     OLDEST_PYTHON, NEWEST_PYTHON);
	} else if (minor < OLDEST_PYTHON || minor > NEWEST_PYTHON || patient->is_free_threaded) {
		rqs_diagnose(diagnosis, "python.memory", RQS_LEVEL_WARNING,
			     "Python %s%s: requests can be recorded; alloc_bytes, alloc_count, cpu_time, gil_wait and "
			     "loop_delay "
			     "will be null.",
			     patient->version, patient->is_free_threaded ? " without a GIL" : "");
		rqs_prescribe(diagnosis, "Use CPython 3.%d to 3.%d with a GIL.", OLDEST_PYTHON, NEWEST_PYTHON);
	} else {
		rqs_diagnose(
		    diagnosis, "python.memory", RQS_LEVEL_OK,
		    "Python %s: requests, their memory, CPU, waits for the GIL and the event loop can be recorded.",
		    patient->version);
	}
}

void rqs_check_node(struct rqs_diagnosis *diagnosis, const struct rqs_patient *patient)
{
	if (!is_runtime(patient, "node"))
		return;
	rqs_diagnose(diagnosis, "node.requests", RQS_LEVEL_OK, "Node %s: requests can be recorded.",
		     patient->version[0] ? patient->version : "of an unknown version");
	rqs_diagnose(
	    diagnosis, "node.memory", RQS_LEVEL_WARNING,
	    "alloc_bytes, alloc_count and cpu_time will be null: V8 has a heap of its own, and requests share its "
	    "thread. The process's heap, resident memory and CPU are recorded.");
}

void rqs_check_native(struct rqs_diagnosis *diagnosis, const struct rqs_patient *patient)
{
	if (!is_runtime(patient, "native") || (rqs_program_obstacle(patient->kind) && patient->kind != PROGRAM_MUSL))
		return;
	rqs_diagnose(
	    diagnosis, "native.memory", RQS_LEVEL_INFO,
	    "No language runtime that is known: requests can be recorded; alloc_bytes and alloc_count where a thread "
	    "answers one request after the other, and null in event loops. cpu_time will be null. A program that it "
	    "starts is recorded by what that is.");
}
