/* kin.c - looks for a token in the environments of processes. */
#include "collect/kin.h"
#include "collect/procfs.h"
#include "reqscope/region.h"

#include <dirent.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define ENVIRONMENT_MAX (128u << 10)

static bool has_token(const char *pid, const char *mark, char *environment)
{
	int dir = rqs_procfs_open((pid_t)atoi(pid));
	ssize_t length = dir < 0 ? -1 : rqs_procfs_read(dir, "environ", environment, ENVIRONMENT_MAX);

	if (dir >= 0)
		close(dir);
	return length > 0 && memmem(environment, (size_t)length, mark, strlen(mark));
}

bool rqs_kin_alive(const char *token)
{
	char mark[sizeof(RQS_ENV_SESSION) + 1 + RQS_TOKEN_LENGTH];
	char *environment = malloc(ENVIRONMENT_MAX);
	DIR *proc = opendir("/proc");
	const struct dirent *entry;
	bool found = false;

	snprintf(mark, sizeof(mark), RQS_ENV_SESSION "=%s", token);
	while (proc && environment && !found && (entry = readdir(proc)))
		found =
		    entry->d_name[0] >= '1' && entry->d_name[0] <= '9' && has_token(entry->d_name, mark, environment);
	if (proc)
		closedir(proc);
	free(environment);
	return found;
}
