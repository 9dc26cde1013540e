/* procfs.h - what the collector reads of other processes in /proc. */
#ifndef COLLECT_PROCFS_H
#define COLLECT_PROCFS_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

/*
 * Opens /proc/PID. The descriptor stays that process's: once it has died,
 * files under it are gone, whoever gets the pid next. -errno on failure.
 */
int rqs_procfs_open(pid_t pid);

/* Reads a file under `dir` into buffer, at most size - 1 bytes, and NUL-terminates. Its length or -errno. */
ssize_t rqs_procfs_read(int dir, const char *name, char *buffer, size_t size);

/* The fields of /proc/PID/stat that the collector wants. */
struct rqs_procfs_stat {
	uint64_t utime, stime; /* us */
	uint64_t threads;
	uint64_t start; /* ns of CLOCK_BOOTTIME, to 10 ms */
	char state;
};
bool rqs_procfs_stat(int dir, struct rqs_procfs_stat *stat);

/* Bytes resident, from statm. */
bool rqs_procfs_rss(int dir, uint64_t *bytes);

/* VmHWM in bytes: the most that was resident at once. Dearer than the others. */
bool rqs_procfs_rss_peak(int dir, uint64_t *bytes);

/* Open descriptors: cheap from Linux 6.2 on, a walk of the directory before. */
bool rqs_procfs_fds(int dir, uint64_t *count);

/* The command line, arguments separated by NUL, for the caller to free; NULL when there is none to be read. */
char *rqs_procfs_command(int dir, size_t *length);

#endif
