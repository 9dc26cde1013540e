/*
 * checks.h - what the doctor looks at, and the lists of its checks.
 *
 * One more check is one more function and one line in a list. A check finds
 * nothing, or one thing, or several; it changes nothing on the machine.
 */
#ifndef DOCTOR_CHECKS_H
#define DOCTOR_CHECKS_H

#include "cmd/program.h"
#include "doctor/diagnosis.h"
#include "inject/plan.h"

#include <limits.h>
#include <sys/types.h>

#define RQS_STATUS_SIZE 8192

struct rqs_patient {
	char path[PATH_MAX];   /* of the program that is executed; /proc/PID/exe of a process */
	char named[PATH_MAX];  /* the same as it is shown */
	char script[PATH_MAX]; /* what was given, where that is run by an interpreter; else "" */
	enum rqs_program_kind kind;
	bool is_elf, is_readable;
	const char *runtime; /* as in reports: "go", "python", "node", "native"; NULL unknown */
	char version[32];    /* "" unknown */
	bool is_free_threaded;
	struct rqs_plan plan; /* of Go; else empty */

	/* Of a process only. */
	pid_t pid;
	int dir;                      /* /proc/PID */
	char status[RQS_STATUS_SIZE]; /* its file `status`; "" unreadable */
	char command[512];            /* arguments with spaces between */
	char *maps;                   /* its file `maps`; NULL unreadable */
};

/*
 * X(symbol): rqs_check_<symbol>(), declared below. In the order that is shown. Of a program or process those of the
 * machine are made, too, and told where they are in its way.
 */
#define RQS_MACHINE_CHECKS(X)                                                                                          \
	X(kernel)                                                                                                      \
	X(clock)                                                                                                       \
	X(ptrace)                                                                                                      \
	X(capabilities)                                                                                                \
	X(sandbox)                                                                                                     \
	X(container)                                                                                                   \
	X(calls)                                                                                                       \
	X(arrival)                                                                                                     \
	X(proc)                                                                                                        \
	X(library)                                                                                                     \
	X(musl_library)                                                                                                \
	X(placer)

#define RQS_PROGRAM_CHECKS(X)                                                                                          \
	X(kind)                                                                                                        \
	X(privileges)                                                                                                  \
	X(go)                                                                                                          \
	X(python)                                                                                                      \
	X(node)                                                                                                        \
	X(native)

/* Of a process, after those of its program. */
#define RQS_PROCESS_CHECKS(X)                                                                                          \
	X(owner)                                                                                                       \
	X(state)                                                                                                       \
	X(tracer)                                                                                                      \
	X(seccomp)                                                                                                     \
	X(no_new_privs)                                                                                                \
	X(namespaces)                                                                                                  \
	X(listeners)                                                                                                   \
	X(recorded)                                                                                                    \
	X(attach)

#define RQS_DECLARE_CHECK(symbol)                                                                                      \
	void rqs_check_##symbol(struct rqs_diagnosis *diagnosis, const struct rqs_patient *patient);
RQS_MACHINE_CHECKS(RQS_DECLARE_CHECK)
RQS_PROGRAM_CHECKS(RQS_DECLARE_CHECK)
RQS_PROCESS_CHECKS(RQS_DECLARE_CHECK)
#undef RQS_DECLARE_CHECK

/* patient.c. -errno: there is no such program or process. rqs_patient_free() in any case. */
int rqs_patient_program(struct rqs_patient *patient, const char *name);
int rqs_patient_process(struct rqs_patient *patient, pid_t pid);
void rqs_patient_free(struct rqs_patient *patient);
/* Its hooks are placed by ptrace, and nothing is preloaded. */
bool rqs_patient_is_static_go(const struct rqs_patient *patient);
/* Agent and collector share memory in it. */
bool rqs_patient_is_recorded(const struct rqs_patient *patient);
/* machine_checks.c: why ptrace can't be called here at all; NULL: it can. */
const char *rqs_ptrace_refusal(void);
/* The value of a line of /proc/PID/status, NULL where there is none; valid up to the line's end. */
const char *rqs_status_line(const char *status, const char *name);
long rqs_status_number(const char *status, const char *name, long otherwise);

#endif
