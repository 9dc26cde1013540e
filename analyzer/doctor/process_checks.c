/* process_checks.c - a process that runs, by what /proc tells. */
#include "collect/procfs.h"
#include "doctor/checks.h"

#include <ctype.h>
#include <dirent.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define TCP_LISTEN 0x0A
#define LISTENERS_MAX 256
#define SHOWN_MAX 16

void rqs_check_owner(struct rqs_diagnosis *diagnosis, const struct rqs_patient *patient)
{
	long user = rqs_status_number(patient->status, "Uid", -1);

	if (user >= 0)
		rqs_diagnose(diagnosis, "process.owner", RQS_LEVEL_OK, "Process %d runs as user %ld%s: %s",
			     (int)patient->pid, user, user == (long)getuid() ? ", as you do" : "", patient->command);
}

void rqs_check_state(struct rqs_diagnosis *diagnosis, const struct rqs_patient *patient)
{
	const char *state = rqs_status_line(patient->status, "State");

	if (!state)
		return;
	if (*state == 'Z' || *state == 'X') {
		rqs_diagnose(diagnosis, "process.state", RQS_LEVEL_ERROR,
			     "It has ended, and only waits for its parent to notice (a zombie).");
		rqs_prescribe(diagnosis, "Look for the process that took its place.");
	} else if (*state == 'T') {
		rqs_diagnose(diagnosis, "process.state", RQS_LEVEL_INFO, "It is stopped, and serves nothing now.");
		rqs_prescribe(diagnosis, "kill -CONT %d", (int)patient->pid);
	}
}

void rqs_check_tracer(struct rqs_diagnosis *diagnosis, const struct rqs_patient *patient)
{
	long tracer = rqs_status_number(patient->status, "TracerPid", 0);

	if (tracer > 0)
		rqs_diagnose(
		    diagnosis, "process.tracer", RQS_LEVEL_INFO,
		    "It is traced by process %ld (a debugger, or strace): its times are those of a traced program.",
		    tracer);
}

void rqs_check_seccomp(struct rqs_diagnosis *diagnosis, const struct rqs_patient *patient)
{
	long mode = rqs_status_number(patient->status, "Seccomp", 0);

	if (mode == 1)
		rqs_diagnose(diagnosis, "process.seccomp", RQS_LEVEL_WARNING,
			     "It is under strict seccomp: from there on nothing of it is recorded.");
	else if (mode == 2)
		rqs_diagnose(
		    diagnosis, "process.seccomp", RQS_LEVEL_INFO,
		    "It is under a seccomp filter: the agent makes no calls of its own there that the filter might not "
		    "know, so times of arrival may be missing, and latency counts from the read.");
}

void rqs_check_no_new_privs(struct rqs_diagnosis *diagnosis, const struct rqs_patient *patient)
{
	if (rqs_status_number(patient->status, "NoNewPrivs", 0) > 0)
		rqs_diagnose(diagnosis, "process.no_new_privs", RQS_LEVEL_INFO,
			     "no_new_privs is set: it can get no more privileges. Recording isn't affected.");
}

void rqs_check_namespaces(struct rqs_diagnosis *diagnosis, const struct rqs_patient *patient)
{
	static const struct {
		const char *name, *means;
	} spaces[] = {
	    {"mnt", "it sees other files"},
	    {"net", "it has a network of its own, and doesn't reach a collector outside of it"},
	    {"pid", "it has process numbers of its own"},
	};

	for (size_t i = 0; i < sizeof(spaces) / sizeof(spaces[0]); i++) {
		struct stat theirs, ours;
		char name[16], path[32];

		snprintf(name, sizeof(name), "ns/%s", spaces[i].name);
		snprintf(path, sizeof(path), "/proc/self/%s", name);
		if (fstatat(patient->dir, name, &theirs, 0) || stat(path, &ours) || theirs.st_ino == ours.st_ino)
			continue;
		rqs_diagnose(diagnosis, "process.namespaces", RQS_LEVEL_INFO, "Its %s namespace isn't yours: %s.",
			     spaces[i].name, spaces[i].means);
	}
}

/* ---- listeners ---- */

struct listener {
	uint64_t inode;
	unsigned port;
};

/* Those of its network namespace: lines of "sl: address:port address:port state ... inode" (proc(5)). */
static size_t list_listeners(int dir, const char *name, struct listener *to, size_t room)
{
	int fd = openat(dir, name, O_RDONLY | O_CLOEXEC);
	FILE *file = fd >= 0 ? fdopen(fd, "r") : NULL;
	char line[512];
	size_t count = 0;

	if (!file) {
		if (fd >= 0)
			close(fd);
		return 0;
	}
	while (count < room && fgets(line, sizeof(line), file)) {
		unsigned state;

		if (sscanf(line, " %*d: %*[0-9A-Fa-f]:%x %*[0-9A-Fa-f]:%*x %x %*s %*s %*s %*s %*s %" SCNu64,
			   &to[count].port, &state, &to[count].inode) == 3 &&
		    state == TCP_LISTEN)
			count++;
	}
	fclose(file);
	return count;
}

static void note_descriptor(int fds, const char *name, const struct listener *all, size_t count, bool *has)
{
	char target[64];
	uint64_t inode;
	ssize_t length = readlinkat(fds, name, target, sizeof(target) - 1);

	target[length > 0 ? length : 0] = 0;
	if (sscanf(target, "socket:[%" SCNu64 "]", &inode) != 1)
		return;
	for (size_t i = 0; i < count; i++)
		has[i] |= all[i].inode == inode;
}

/* False: its descriptors can't be read. */
static bool find_own(int dir, const struct listener *all, size_t count, bool *has)
{
	int fd = openat(dir, "fd", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	DIR *folder = fd >= 0 ? fdopendir(fd) : NULL;
	struct dirent *entry;

	if (!folder) {
		if (fd >= 0)
			close(fd);
		return false;
	}
	while ((entry = readdir(folder)))
		if (isdigit((unsigned char)entry->d_name[0]))
			note_descriptor(fd, entry->d_name, all, count, has);
	closedir(folder);
	return true;
}

void rqs_check_listeners(struct rqs_diagnosis *diagnosis, const struct rqs_patient *patient)
{
	struct listener all[LISTENERS_MAX];
	bool has[LISTENERS_MAX] = {false};
	char ports[SHOWN_MAX * 8] = "";
	size_t count = list_listeners(patient->dir, "net/tcp", all, LISTENERS_MAX), length = 0, shown = 0;

	count += list_listeners(patient->dir, "net/tcp6", all + count, LISTENERS_MAX - count);
	if (!find_own(patient->dir, all, count, has)) {
		rqs_diagnose(diagnosis, "process.listeners", RQS_LEVEL_INFO,
			     "Where it listens can't be told: its descriptors may be read by its user and root alone.");
		return;
	}
	for (size_t i = 0; i < count; i++)
		if (has[i] && shown++ < SHOWN_MAX)
			length += (size_t)snprintf(ports + length, sizeof(ports) - length, "%s%u", length ? ", " : "",
						   all[i].port);
	if (shown)
		rqs_diagnose(diagnosis, "process.listeners", RQS_LEVEL_OK, "It listens on TCP port%s %s%s.",
			     shown > 1 ? "s" : "", ports, shown > SHOWN_MAX ? " and more" : "");
	else
		rqs_diagnose(
		    diagnosis, "process.listeners", RQS_LEVEL_INFO,
		    "It listens on no TCP port: it may be a worker that gets its connections from another process, a "
		    "server on AF_UNIX, or no server.");
}

/* ---- recorded? ---- */

void rqs_check_recorded(struct rqs_diagnosis *diagnosis, const struct rqs_patient *patient)
{
	bool has_library = patient->maps && strstr(patient->maps, "/libreqscope");

	if (rqs_patient_is_recorded(patient))
		rqs_diagnose(diagnosis, "process.recorded", RQS_LEVEL_OK, "It is recorded already.");
	else if (!patient->maps)
		return;
	else if (has_library)
		rqs_diagnose(
		    diagnosis, "process.recorded", RQS_LEVEL_INFO,
		    "The agent is in it, and not switched on: it has served nothing yet, or its recording has ended.");
	else if (diagnosis->worst < RQS_LEVEL_ERROR)
		rqs_diagnose(diagnosis, "process.recorded", RQS_LEVEL_INFO, "It isn't recorded.");
}
