/* doctor.c - the command `doctor`: what can be recorded here and what can't, and why. */
#include "base/alloc.h"
#include "cmd/command.h"
#include "doctor/checks.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static const char usage[] =
    "usage: reqscope doctor [--json] [PID | CMD [ARGUMENT...]]\n"
    "\n"
    "Tells what can and can't be recorded, why, and what to do about it: on this machine;\n"
    "of a program, before it is run; or of a process that runs, and whether `reqscope\n"
    "attach` gets into it. A single argument that is a number is a PID. Nothing is run,\n"
    "stopped or changed.\n"
    "\n"
    "  --json  {\"schema\": \"reqscope.doctor/1\", ...}: findings with id, level, text and fix\n"
    "  --help  this text\n"
    "\n"
    "Levels: ok; info: good to know; warning: a part can't be recorded, and is null in\n"
    "reports; error: no request can be.\n"
    "\n"
    "examples:\n"
    "  reqscope doctor                       this machine\n"
    "  reqscope doctor gunicorn -w 4 app:app a program, by the file that would be run\n"
    "  reqscope doctor ./server              likewise\n"
    "  reqscope doctor 1234                  the process 1234\n"
    "  reqscope doctor --json ./server | jq '.findings[] | select(.level == \"error\")'\n"
    "\n"
    "exit status: 0 everything can be recorded; 1 something can't (a warning or an error);\n"
    "2 a mistake in the command.\n";

typedef void check_fn(struct rqs_diagnosis *diagnosis, const struct rqs_patient *patient);

#define CHECK(symbol) rqs_check_##symbol,
static check_fn *const machine_checks[] = {RQS_MACHINE_CHECKS(CHECK) NULL};
static check_fn *const program_checks[] = {RQS_PROGRAM_CHECKS(CHECK) NULL};
static check_fn *const process_checks[] = {RQS_PROCESS_CHECKS(CHECK) NULL};
#undef CHECK

static void run_checks(check_fn *const *checks, struct rqs_diagnosis *diagnosis, const struct rqs_patient *patient)
{
	for (; *checks; checks++)
		(*checks)(diagnosis, patient);
}

/* Digits alone; 0: it is none. What is too large for a pid is one that no process has. */
static pid_t pid_of(const char *text)
{
	if (!*text || text[strspn(text, "0123456789")])
		return 0;
	long pid = strtol(text, NULL, 10);
	return pid < INT_MAX ? (pid_t)pid : INT_MAX;
}

/* What is on the machine in the way of this program. */
static void check_basis(struct rqs_diagnosis *diagnosis, const struct rqs_patient *patient)
{
	struct rqs_diagnosis machine = {0};

	run_checks(machine_checks, &machine, patient);
	rqs_diagnosis_take_bad(diagnosis, &machine);
	rqs_diagnosis_free(&machine);
}

static void examine_process(struct rqs_diagnosis *diagnosis, struct rqs_patient *patient, pid_t pid)
{
	int error = rqs_patient_process(patient, pid);

	if (error) {
		rqs_diagnose(diagnosis, "process.exists", RQS_LEVEL_ERROR,
			     "There is no process %d that can be seen: %s.", (int)pid, strerror(-error));
		rqs_prescribe(diagnosis,
			      "Look for it with `ps -e`; where /proc has hidepid set, as its owner or as root.");
		return;
	}
	check_basis(diagnosis, patient);
	run_checks(program_checks, diagnosis, patient);
	run_checks(process_checks, diagnosis, patient);
}

static void examine_program(struct rqs_diagnosis *diagnosis, struct rqs_patient *patient, const char *name)
{
	int error = rqs_patient_program(patient, name);

	if (!error) {
		check_basis(diagnosis, patient);
		run_checks(program_checks, diagnosis, patient);
		return;
	}
	rqs_diagnose(diagnosis, "program.exists", RQS_LEVEL_ERROR, "%s can't be run: %s.", name,
		     error == -ENOENT ? "there is no such program" : strerror(-error));
	rqs_prescribe(diagnosis, error == -EACCES ? "Make it executable: chmod +x."
						  : "Give its path, or have its folder in PATH.");
}

/* Of a process: whether it can be attached to, and by what command. */
static void add_attach(cJSON *json, const struct rqs_diagnosis *diagnosis)
{
	cJSON *attach = cJSON_AddObjectToObject(json, "attach");
	const struct rqs_finding *found = NULL;

	for (size_t i = 0; i < diagnosis->count && !found; i++)
		if (!strcmp(diagnosis->findings[i].id, "process.attach"))
			found = &diagnosis->findings[i];
	bool possible = found && found->level == RQS_LEVEL_OK;

	cJSON_AddBoolToObject(attach, "possible", possible);
	if (possible)
		cJSON_AddStringToObject(attach, "command", found->fix);
	else
		cJSON_AddNullToObject(attach, "command");
}

static void print_json(const struct rqs_diagnosis *diagnosis, const struct rqs_patient *patient, const char *what)
{
	cJSON *json = cJSON_CreateObject();

	cJSON_AddStringToObject(json, "schema", "reqscope.doctor/1");
	cJSON_AddStringToObject(json, "subject", what);
	if (patient->pid)
		cJSON_AddNumberToObject(json, "pid", patient->pid);
	if (patient->named[0])
		cJSON_AddStringToObject(json, "program", patient->named);
	if (patient->runtime) {
		cJSON *runtime = cJSON_AddObjectToObject(json, "runtime");

		cJSON_AddStringToObject(runtime, "name", patient->runtime);
		cJSON_AddStringToObject(runtime, "version", patient->version);
	}
	cJSON_AddBoolToObject(json, "everything", diagnosis->worst < RQS_LEVEL_WARNING);
	cJSON_AddBoolToObject(json, "requests", diagnosis->worst < RQS_LEVEL_ERROR);
	if (patient->pid)
		add_attach(json, diagnosis);
	cJSON_AddItemToObject(json, "findings", rqs_diagnosis_json(diagnosis));
	char *text = cJSON_Print(json);
	puts(text ? text : "{}");
	cJSON_free(text);
	cJSON_Delete(json);
}

static int examine(const char *name, bool as_json)
{
	struct rqs_patient *patient = rqs_zalloc(1, sizeof(*patient));
	struct rqs_diagnosis diagnosis = {0};
	pid_t pid = name ? pid_of(name) : 0;

	patient->dir = -1;
	if (!name)
		run_checks(machine_checks, &diagnosis, patient);
	else if (pid)
		examine_process(&diagnosis, patient, pid);
	else
		examine_program(&diagnosis, patient, name);
	if (as_json)
		print_json(&diagnosis, patient, !name ? "machine" : pid ? "process" : "program");
	else
		rqs_diagnosis_print(&diagnosis);
	int status = diagnosis.worst < RQS_LEVEL_WARNING ? RQS_EXIT_OK : RQS_EXIT_GATE;
	rqs_diagnosis_free(&diagnosis);
	rqs_patient_free(patient);
	free(patient);
	return status;
}

static int run_doctor(int argc, char **argv)
{
	bool as_json = false;
	int i = 1;

	for (; i < argc && argv[i][0] == '-'; i++) {
		if (!strcmp(argv[i], "--help")) {
			rqs_print_usage(&rqs_command_doctor);
			return RQS_EXIT_OK;
		}
		if (!strcmp(argv[i], "--")) {
			i++;
			break;
		}
		if (strcmp(argv[i], "--json")) {
			rqs_complain("doctor: no option '%s'; `reqscope doctor --help` lists them", argv[i]);
			return RQS_EXIT_USAGE;
		}
		as_json = true;
	}
	/* What follows a command is its own, but that `doctor CMD --json` means us. */
	if (argc - i > 1 && !strcmp(argv[argc - 1], "--json")) {
		as_json = true;
		argc--;
	}
	if (argc - i > 1 && pid_of(argv[i])) {
		rqs_complain("doctor takes one PID; see `reqscope doctor --help`");
		return RQS_EXIT_USAGE;
	}
	return examine(i < argc ? argv[i] : NULL, as_json);
}

const struct rqs_command rqs_command_doctor = {
    .name = "doctor",
    .summary = "what can and can't be recorded here, and why",
    .usage = usage,
    .run = run_doctor,
};
