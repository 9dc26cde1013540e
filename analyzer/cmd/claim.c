/*
 * claim.c - see claim.h. The lock is on /proc/PID/mem: only who may attach can
 * open that, and the kernel drops it when its holder dies.
 */
#include "cmd/claim.h"
#include "inject/mappings.h"
#include "reqscope/region.h"

#include <errno.h>
#include <fcntl.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <sys/file.h>
#include <time.h>
#include <unistd.h>

#define PAUSE_MS 2
#define PATIENCE_MS 20000 /* longer than any attach or detach takes */
/* A collector that lives leaves a sign every 0.1 s. */
#define SILENCE_MS (1000 * (int)RQS_SILENT_SECONDS + 500)

static void pause_ms(long ms)
{
	const struct timespec pause = {.tv_nsec = ms * 1000000};

	nanosleep(&pause, NULL);
}

static int open_memory(pid_t pid)
{
	char path[64];

	snprintf(path, sizeof(path), "/proc/%d/mem", (int)pid);
	int fd = open(path, O_RDONLY | O_CLOEXEC);
	return fd < 0 ? -errno : fd;
}

int rqs_claim(pid_t pid)
{
	int fd = open_memory(pid);

	for (int waited = 0; fd >= 0 && flock(fd, LOCK_EX | LOCK_NB); waited += PAUSE_MS) {
		int error = -errno;

		if (error == -EWOULDBLOCK && waited < PATIENCE_MS) {
			pause_ms(PAUSE_MS);
			continue;
		}
		close(fd);
		return error == -EWOULDBLOCK ? -EBUSY : error;
	}
	return fd;
}

/* ---- recorded? ---- */

static bool is_region(const struct rqs_mapping *mapping, void *context)
{
	uint64_t *at = context;

	if (mapping->offset || strncmp(mapping->path, "/memfd:reqscope ", strlen("/memfd:reqscope ")))
		return false;
	*at = mapping->start;
	return true;
}

/* False: there is none, or none that records. */
static bool read_header(int memory, uint64_t at, struct rqs_region_header *header)
{
	return pread(memory, header, sizeof(*header), (off_t)at) == (ssize_t)sizeof(*header) &&
	       header->magic == RQS_REGION_MAGIC && header->state != RQS_STOPPED;
}

bool rqs_is_recorded(pid_t pid)
{
	struct rqs_region_header first, now;
	uint64_t at = 0;
	int memory = rqs_each_mapping(pid, is_region, &at) ? open_memory(pid) : -ENOENT;
	bool recorded = false;

	if (memory < 0)
		return false;
	bool may_be = read_header(memory, at, &first);
	for (int waited = 0; may_be && !recorded && waited < SILENCE_MS; waited += 10) {
		pause_ms(10);
		may_be = read_header(memory, at, &now);
		recorded = may_be && now.heartbeat != first.heartbeat;
	}
	close(memory);
	return recorded;
}
