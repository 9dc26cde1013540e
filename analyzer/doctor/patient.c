/* patient.c - looks at a program's file, or at a process in /proc, without running or stopping either. */
#include "base/alloc.h"
#include "collect/node_version.h"
#include "collect/procfs.h"
#include "doctor/checks.h"
#include "os/executable.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#define MAPS_SIZE (4u << 20)
#define SCRIPTS_MAX 4 /* the kernel follows no more, either */

/* ---- runtime ---- */

/* "3.11" of "...python3.11..."; a t behind it is a build without a GIL. */
static bool take_python_version(struct rqs_patient *patient, const char *text, size_t length)
{
	static const char mark[] = "python3.";
	const char *at = memmem(text, length, mark, sizeof(mark) - 1);
	const char *end = text + length;

	if (!at)
		return false;
	at += sizeof(mark) - 1;
	size_t digits = 0;
	while (at + digits < end && digits < 3 && at[digits] >= '0' && at[digits] <= '9')
		digits++;
	if (!digits)
		return false;
	snprintf(patient->version, sizeof(patient->version), "3.%.*s", (int)digits, at);
	patient->is_free_threaded = at + digits < end && at[digits] == 't';
	return true;
}

static void find_python_version(struct rqs_patient *patient, const char *bytes, size_t size)
{
	const char *name = strrchr(patient->named, '/');
	const char *needed = memmem(bytes, size, "libpython3.", strlen("libpython3."));

	if (name && take_python_version(patient, name, strlen(name)))
		return;
	if (needed && take_python_version(patient, needed, size - (size_t)(needed - bytes)))
		return;
	take_python_version(patient, bytes, size);
}

static bool has(const char *bytes, size_t size, const char *text)
{
	return memmem(bytes, size, text, strlen(text) + 1) != NULL;
}

/* Debian's is a few lines around its library. That one's version is in it, and it is where the loader looks. */
static void look_into_libnode(struct rqs_patient *patient, const char *name, size_t most)
{
	static const char *const folders[] = {"/usr/lib/x86_64-linux-gnu", "/usr/lib64", "/usr/lib", "/usr/local/lib"};

	for (size_t i = 0; i < sizeof(folders) / sizeof(*folders); i++) {
		char path[PATH_MAX];

		snprintf(path, sizeof(path), "%s/%.*s", folders[i], most < NAME_MAX ? (int)most : NAME_MAX, name);
		int fd = open(path, O_RDONLY | O_CLOEXEC | O_NOCTTY | O_NONBLOCK);
		if (fd < 0)
			continue;
		rqs_node_version_in(fd, patient->version, sizeof(patient->version));
		close(fd);
		return;
	}
}

/* By the symbols that the agent's own detection looks for (agent/runtime): they are names in the file. */
static void detect_in(struct rqs_patient *patient, int fd, const char *bytes, size_t size)
{
	const char *libnode = memmem(bytes, size, "libnode.so.", strlen("libnode.so."));

	if (has(bytes, size, "napi_create_function") && has(bytes, size, "node_module_register")) {
		patient->runtime = "node";
		rqs_node_version_in(fd, patient->version, sizeof(patient->version));
	} else if (libnode) {
		patient->runtime = "node";
		look_into_libnode(patient, libnode, size - (size_t)(libnode - bytes));
	} else if (has(bytes, size, "Py_GetVersion") || has(bytes, size, "Py_BytesMain") ||
		   memmem(bytes, size, "libpython3.", strlen("libpython3."))) {
		patient->runtime = "python";
		find_python_version(patient, bytes, size);
	}
}

static void detect_runtime(struct rqs_patient *patient, int fd)
{
	struct stat about;

	patient->runtime = "native";
	if (!rqs_plan_make(&patient->plan, fd) && patient->plan.is_go) {
		patient->runtime = "go";
		snprintf(patient->version, sizeof(patient->version), "%s", patient->plan.version);
		return;
	}
	if (fstat(fd, &about) || about.st_size <= 0)
		return;
	char *bytes = mmap(NULL, (size_t)about.st_size, PROT_READ, MAP_PRIVATE, fd, 0);
	if (bytes == MAP_FAILED)
		return;
	detect_in(patient, fd, bytes, (size_t)about.st_size);
	munmap(bytes, (size_t)about.st_size);
}

/* ---- the file ---- */

static void look_at_file(struct rqs_patient *patient)
{
	char magic[SELFMAG];
	int fd = rqs_executable_open(patient->path);

	patient->is_readable = fd >= 0;
	if (fd < 0)
		return;
	patient->is_elf = rqs_executable_read(fd, magic, sizeof(magic), 0) && !memcmp(magic, ELFMAG, SELFMAG);
	patient->kind = rqs_program_kind(patient->path);
	if (patient->kind == PROGRAM_DYNAMIC && rqs_executable_is_static_go(patient->path))
		patient->kind = PROGRAM_STATIC;
	if (patient->is_elf && patient->kind != PROGRAM_OTHER_MACHINE)
		detect_runtime(patient, fd);
	close(fd);
}

int rqs_patient_program(struct rqs_patient *patient, const char *name)
{
	char next[PATH_MAX];
	int error = rqs_program_find(name, patient->path, sizeof(patient->path));

	patient->dir = -1;
	if (error)
		return error;
	for (int i = 0; i < SCRIPTS_MAX && rqs_program_interpreter(patient->path, next, sizeof(next)); i++) {
		if (!i)
			strcpy(patient->script, patient->path);
		strcpy(patient->path, next);
	}
	if (!realpath(patient->path, patient->named))
		strcpy(patient->named, patient->path);
	look_at_file(patient);
	return 0;
}

/* ---- the process ---- */

static void read_command(struct rqs_patient *patient)
{
	ssize_t length = rqs_procfs_read(patient->dir, "cmdline", patient->command, sizeof(patient->command));

	if (length < 0)
		*patient->command = 0;
	for (ssize_t i = 0; i + 1 < length; i++)
		if (!patient->command[i])
			patient->command[i] = ' ';
}

/* An embedded one (uwsgi), or an executable that is a few lines around its library. */
static void detect_in_maps(struct rqs_patient *patient)
{
	const char *python = strstr(patient->maps, "/libpython3.");

	if (strcmp(patient->runtime, "native"))
		return;
	if (strstr(patient->maps, "/libnode.so")) {
		patient->runtime = "node";
		rqs_node_version(patient->dir, patient->version, sizeof(patient->version));
	} else if (python) {
		patient->runtime = "python";
		take_python_version(patient, python, strcspn(python, "\n"));
	}
}

int rqs_patient_process(struct rqs_patient *patient, pid_t pid)
{
	patient->pid = pid;
	patient->dir = rqs_procfs_open(pid);
	if (patient->dir < 0)
		return patient->dir;
	if (rqs_procfs_read(patient->dir, "status", patient->status, sizeof(patient->status)) < 0)
		*patient->status = 0;
	read_command(patient);
	snprintf(patient->path, sizeof(patient->path), "/proc/%d/exe", (int)pid);
	ssize_t length = readlinkat(patient->dir, "exe", patient->named, sizeof(patient->named) - 1);
	patient->named[length > 0 ? length : 0] = 0;
	look_at_file(patient);
	patient->maps = rqs_zalloc(1, MAPS_SIZE);
	if (rqs_procfs_read(patient->dir, "maps", patient->maps, MAPS_SIZE) < 0) {
		free(patient->maps);
		patient->maps = NULL;
	}
	if (patient->maps && patient->runtime)
		detect_in_maps(patient);
	return 0;
}

bool rqs_patient_is_static_go(const struct rqs_patient *patient)
{
	return patient->kind == PROGRAM_STATIC && patient->runtime && !strcmp(patient->runtime, "go");
}

/* The region that they share is mapped in all that are (agent/collect/mapping.c). */
bool rqs_patient_is_recorded(const struct rqs_patient *patient)
{
	return patient->maps && strstr(patient->maps, "/memfd:reqscope ");
}

void rqs_patient_free(struct rqs_patient *patient)
{
	if (patient->dir >= 0)
		close(patient->dir);
	free(patient->maps);
	rqs_plan_free(&patient->plan);
}

const char *rqs_status_line(const char *status, const char *name)
{
	size_t length = strlen(name);

	for (const char *at = status; *at; at += strcspn(at, "\n"), at += *at == '\n')
		if (!strncmp(at, name, length) && at[length] == ':')
			return at + length + 1 + strspn(at + length + 1, " \t");
	return NULL;
}

long rqs_status_number(const char *status, const char *name, long otherwise)
{
	const char *value = rqs_status_line(status, name);

	return value ? strtol(value, NULL, 10) : otherwise;
}
