/*
 * fuzz_region.c - the collector on a region that a hostile target writes: the
 * input is a list of patches to the first processes, threads, chunks and tables
 * of goroutines, with passes of the collector between them, and what comes of
 * it is encoded. Samples may be of this process: its own code is looked at.
 */
#include "collect/drain.h"

#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t length);

#define ENTRIES 4u /* of each array that is patched */
#define TABLE_PATCHED 16384u

static struct rqs_region region;
static unsigned char *table; /* the first bytes of the first table */
static struct rqs_calibration calibration = { .clock = RQS_CLOCK_MONOTONIC, .ns_per_tick = 1ull << 32 };
static struct rqs_processes processes;
static struct rqs_batch requests, sites;
static struct rqs_stack_table *stacks;
static struct rqs_encoder encoder;
static struct rqs_drain drain;

static void encode(struct rqs_batch *batch)
{
	uint64_t first, last;

	if (batch->count && rqs_batch_encode(batch, &encoder, &first, &last))
		abort();
	rqs_batch_clear(batch);
}

static void full(void *context)
{
	(void)context;
	encode(&requests);
}

static void full_of_sites(void *context)
{
	struct rqs_stack_piece piece;

	(void)context;
	encode(&sites);
	while (rqs_stack_table_piece(stacks, &piece)) {
		free(piece.text);
		rqs_stack_table_written(stacks, &piece);
	}
}

static void make_region(void)
{
	if (rqs_region_create(&region) || rqs_batch_init(&requests, &rqs_batch_requests) ||
	    rqs_batch_init(&sites, &rqs_batch_sites))
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
	processes.sampled = true;
	rqs_batch_clear(&requests);
	rqs_batch_clear(&sites);
	stacks = rqs_stack_table_new();
	drain.region = &region;
	drain.clock = &calibration;
	drain.processes = &processes;
	drain.requests = &requests;
	drain.full = full;
	drain.sites = rqs_site_rows_new(4096, &(struct rqs_site_sink){ &sites, stacks, full_of_sites, NULL });
	if (rqs_drain_init(&drain))
		abort();
	drain.start_ns = 0; /* any time there was is one */
}

static void stop(void)
{
	rqs_site_rows_end(drain.sites, NULL);
	full(NULL);
	full_of_sites(NULL);
	rqs_drain_free(&drain);
	rqs_site_rows_free(drain.sites);
	rqs_stack_table_free(stacks);
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

/* A process that there is. */
static void be_first(void)
{
	region.processes[0].owner = 1ull << 32 | (uint32_t)getpid();
	region.processes[0].ready = 1;
}

static void pass(uint8_t what)
{
	if (what & 8)
		be_first();
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
