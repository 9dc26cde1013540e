/* procfs.c - reads and parses files of /proc/PID. */
#include "collect/procfs.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#define COMMAND_MAX 16384

int rqs_procfs_open(pid_t pid)
{
	char path[32];

	snprintf(path, sizeof(path), "/proc/%d", (int)pid);
	int fd = open(path, O_PATH | O_DIRECTORY | O_CLOEXEC);
	return fd < 0 ? -errno : fd;
}

ssize_t rqs_procfs_read(int dir, const char *name, char *buffer, size_t size)
{
	size_t length = 0;
	ssize_t got = 0;
	int fd = dir < 0 ? -1 : openat(dir, name, O_RDONLY | O_CLOEXEC);

	if (fd < 0)
		return dir < 0 ? -EBADF : -errno;
	while (length < size - 1 && (got = read(fd, buffer + length, size - 1 - length)) > 0)
		length += (size_t)got;
	int error = got < 0 ? -errno : 0;
	close(fd);
	buffer[length] = 0;
	return error ? error : (ssize_t)length;
}

bool rqs_procfs_stat(int dir, struct rqs_procfs_stat *stat)
{
	char text[1024];
	unsigned long long utime, stime, start;
	long threads;

	if (rqs_procfs_read(dir, "stat", text, sizeof(text)) <= 0)
		return false;
	const char *rest = strrchr(text, ')'); /* the command's name may hold anything */
	if (!rest ||
	    sscanf(rest + 1, " %c %*d %*d %*d %*d %*d %*u %*u %*u %*u %*u %llu %llu %*d %*d %*d %*d %ld %*d %llu",
		   &stat->state, &utime, &stime, &threads, &start) != 5)
		return false;

	unsigned long long hz = (unsigned long long)sysconf(_SC_CLK_TCK);
	stat->utime = utime * 1000000 / hz;
	stat->stime = stime * 1000000 / hz;
	stat->threads = threads < 0 ? 0 : (uint64_t)threads;
	stat->start = start * (1000000000 / hz);
	return true;
}

bool rqs_procfs_rss(int dir, uint64_t *bytes)
{
	char text[256];
	unsigned long long pages;

	if (rqs_procfs_read(dir, "statm", text, sizeof(text)) <= 0 || sscanf(text, "%*u %llu", &pages) != 1)
		return false;
	/* One that has ended and hasn't been waited for: that it has no memory any more is no measure of it. */
	if (!pages)
		return false;
	*bytes = pages * (unsigned long long)sysconf(_SC_PAGESIZE);
	return true;
}

bool rqs_procfs_rss_peak(int dir, uint64_t *bytes)
{
	char text[4096];
	unsigned long long kib;

	if (rqs_procfs_read(dir, "status", text, sizeof(text)) <= 0)
		return false;
	const char *line = strstr(text, "\nVmHWM:");
	if (!line || sscanf(line + 7, "%llu", &kib) != 1)
		return false;
	*bytes = kib * 1024;
	return true;
}

static bool count_entries(int dir, uint64_t *count)
{
	_Alignas(8) char buffer[32768];
	int fd = openat(dir, "fd", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	long got;

	if (fd < 0)
		return false;
	*count = 0;
	while ((got = syscall(SYS_getdents64, fd, buffer, sizeof(buffer))) > 0)
		for (long at = 0; at < got;) {
			const struct dirent64 *entry = (const struct dirent64 *)(buffer + at);

			*count += entry->d_name[0] != '.';
			at += entry->d_reclen;
		}
	close(fd);
	return got == 0;
}

bool rqs_procfs_fds(int dir, uint64_t *count)
{
	struct stat stat;

	if (dir < 0 || fstatat(dir, "fd", &stat, 0))
		return false;
	if (stat.st_size > 0) {
		*count = (uint64_t)stat.st_size;
		return true;
	}
	return count_entries(dir, count);
}

char *rqs_procfs_command(int dir, size_t *length)
{
	char *text = malloc(COMMAND_MAX);
	ssize_t got = text ? rqs_procfs_read(dir, "cmdline", text, COMMAND_MAX) : -1;

	if (got <= 0) {
		free(text);
		return NULL;
	}
	/* Titles written over the arguments (nginx, setproctitle) are padded with NULs. */
	while (got > 0 && !text[got - 1])
		got--;
	text[got] = 0;
	*length = (size_t)got;
	char *fitted = realloc(text, (size_t)got + 1);
	return fitted ? fitted : text;
}
