/*
 * fuzz_region.c - the collector on a region that a hostile target writes: the
 * input is a list of patches to the first processes, threads, chunks and tables
 * of goroutines, with passes of the collector between them.
 */
#include "collect/drain.h"

#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t length);

#define ENTRIES 4u /* of each array that is patched */
#define TABLE_PATCHED 16384u

static struct rqs_region region;
static unsigned char *table; /* the first bytes of the first table */
static struct rqs_calibration calibration = { .clock = RQS_CLOCK_MONOTONIC, .ns_per_tick = 1ull << 32 };
static struct rqs_processes processes;
static struct rqs_batch requests;
static struct rqs_drain drain;

static void full(void *context)
{
	(void)context;
	rqs_batch_clear(&requests);
}

static void make_region(void)
{
	if (rqs_region_create(&region) || rqs_batch_init(&requests, &rqs_batch_requests))
		abort();
	table = mmap(NULL, TABLE_PATCHED, PROT_READ | PROT_WRITE, MAP_SHARED, region.fd,
		     (off_t)rqs_table_offset(&region, 0));
	if (table == MAP_FAILED)
		abort();
}

static void start(void)
{
	if (!region.header)
		make_region();
	memset(region.processes, 0, ENTRIES * sizeof(struct rqs_process));
	memset(region.threads, 0, ENTRIES * sizeof(struct rqs_thread));
	memset(region.owners, 0, ENTRIES * sizeof(uint64_t));
	memset(region.table_owners, 0, ENTRIES * sizeof(uint64_t));
	memset(region.chunks, 0, ENTRIES * RQS_CHUNK_SIZE);
	memset(table, 0, TABLE_PATCHED);
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
	const struct {
		unsigned char *bytes;
		size_t size;
	} arrays[] = {
		{ (unsigned char *)region.processes, sizeof(struct rqs_process) * ENTRIES },
		{ (unsigned char *)region.threads, sizeof(struct rqs_thread) * ENTRIES },
		{ (unsigned char *)region.owners, sizeof(uint64_t) * ENTRIES },
		{ region.chunks, RQS_CHUNK_SIZE * ENTRIES },
		{ (unsigned char *)region.table_owners, sizeof(uint64_t) * ENTRIES },
		{ table, TABLE_PATCHED },
	};
	unsigned which = where % 8 % 6;
	size_t at = offset % arrays[which].size, room = arrays[which].size - at;

	memcpy(arrays[which].bytes + at, p, n < room ? n : room);
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
