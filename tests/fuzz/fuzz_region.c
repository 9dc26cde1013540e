/*
 * fuzz_region.c - the collector on a region that a hostile target writes: the
 * input is a list of patches to the first processes, threads and chunks, with
 * passes of the collector between them.
 */
#include "collect/drain.h"

#include <stdlib.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t length);

#define ENTRIES 4u /* of each array that is patched */

static struct rqs_region region;
static struct rqs_calibration calibration = { .clock = RQS_CLOCK_MONOTONIC, .ns_per_tick = 1ull << 32 };
static struct rqs_processes processes;
static struct rqs_batch requests;
static struct rqs_drain drain;

static void full(void *context)
{
	(void)context;
	rqs_batch_clear(&requests);
}

static void start(void)
{
	if (!region.header && (rqs_region_create(&region) || rqs_batch_init(&requests, &rqs_batch_requests)))
		abort();
	memset(region.processes, 0, ENTRIES * sizeof(struct rqs_process));
	memset(region.threads, 0, ENTRIES * sizeof(struct rqs_thread));
	memset(region.owners, 0, ENTRIES * sizeof(uint64_t));
	memset(region.chunks, 0, ENTRIES * RQS_CHUNK_SIZE);
	region.header->clock = RQS_CLOCK_MONOTONIC;
	memset(&processes, 0, sizeof(processes));
	memset(&drain, 0, sizeof(drain));
	rqs_processes_init(&processes, &region, &calibration, -1);
	rqs_batch_clear(&requests);
	drain.region = &region;
	drain.clock = &calibration;
	drain.processes = &processes;
	drain.requests = &requests;
	drain.full = full;
	if (rqs_drain_init(&drain))
		abort();
}

static void stop(void)
{
	rqs_drain_free(&drain);
	rqs_processes_free(&processes);
}

static void patch(uint8_t where, uint16_t offset, const uint8_t *p, size_t n)
{
	static const size_t sizes[] = { sizeof(struct rqs_process) * ENTRIES, sizeof(struct rqs_thread) * ENTRIES,
					sizeof(uint64_t) * ENTRIES, RQS_CHUNK_SIZE * ENTRIES };
	unsigned char *const arrays[] = { (unsigned char *)region.processes, (unsigned char *)region.threads,
					  (unsigned char *)region.owners, region.chunks };
	size_t size = sizes[where % 4], at = offset % size;

	memcpy(arrays[where % 4] + at, p, n < size - at ? n : size - at);
}

static void pass(uint8_t what)
{
	rqs_processes_scan(&processes, ++drain.now_ns);
	rqs_processes_refresh(&processes, drain.now_ns);
	rqs_drain_records(&drain);
	if (what & 16)
		rqs_drain_survey(&drain);
	if (what & 32)
		rqs_drain_dead_threads(&drain);
	for (uint32_t i = 0; (what & 64) && i < ENTRIES; i++) {
		struct rqs_watched *it = rqs_processes_at(&processes, i);

		if (it)
			it->dying = true;
	}
	rqs_drain_dying(&drain);
}

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t length)
{
	start();
	while (length >= 4) {
		size_t n = bytes[3] < length - 4 ? bytes[3] : length - 4;

		patch(bytes[0], (uint16_t)(bytes[1] | bytes[2] << 8), bytes + 4, n);
		if (bytes[0] & 128)
			pass(bytes[0]);
		bytes += 4 + n;
		length -= 4 + n;
	}
	pass(16 | 32 | 64);
	stop();
	return 0;
}
