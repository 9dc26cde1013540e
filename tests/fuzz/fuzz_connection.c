/*
 * fuzz_connection.c - the core: any sequence of events on a few descriptors,
 * forks and dups among them, leaves sums that balance.
 */
#include "collect/mapping.h"
#include "core/agent.h"
#include "core/request.h"

#include <stdlib.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t length);

#define DESCRIPTORS 16

static struct rqs_region region;
static struct rqs_agent agent;
static struct rqs_worker workers[2];
static struct rqs_alive alive;
static struct rqs_conn connections[DESCRIPTORS];
static uint32_t pid;

static uint64_t monotonic(void)
{
	static uint64_t now;

	return ++now;
}

static uint32_t get_pid(void)
{
	return pid;
}

static uint32_t get_parent(void)
{
	return 1;
}

static bool is_socket(int fd)
{
	return fd & 1;
}

static enum rqs_origin origin(int fd)
{
	return (enum rqs_origin)(fd % 3);
}

static void yield(void)
{
}

static const struct rqs_env env = {
	.monotonic = monotonic,
	.pid = get_pid,
	.tid = get_pid,
	.parent_pid = get_parent,
	.is_stream_socket = is_socket,
	.origin = origin,
	.yield = yield,
};

static void start(bool attached)
{
	if (!region.header) {
		if (rqs_region_create(&region))
			abort();
		region.header->clock = RQS_CLOCK_MONOTONIC;
	}
	for (uint32_t i = 0; i < RQS_CHUNKS && region.owners[i]; i++) {
		memset(rqs_chunk_at(&region, i), 0, RQS_CHUNK_SIZE);
		region.owners[i] = 0;
	}
	for (uint32_t i = 0; i < RQS_PROCESSES && region.processes[i].owner; i++)
		memset(&region.processes[i], 0, sizeof(region.processes[i]));
	memset(region.threads, 0, 4096 * sizeof(struct rqs_thread));
	memset(&agent, 0, sizeof(agent));
	memset(workers, 0, sizeof(workers));
	memset(connections, 0, sizeof(connections));
	memset(&alive, 0, sizeof(alive));
	pid = 1000;
	agent.env = &env;
	agent.alive = &alive;
	agent.connections = connections;
	agent.connection_limit = DESCRIPTORS;
	agent.runtime = RQS_RUNTIME_NATIVE;
	agent.attached = attached;
	if (!rqs_agent_start(&agent, region.header, region.size))
		abort();
}

static void check_chunk(const struct rqs_chunk_header *chunk, uint64_t *records, uint64_t *finished)
{
	for (uint32_t at = 0; chunk->kind == RQS_CHUNK_RECORDS && at < chunk->head; ++*records) {
		const struct rqs_record *r = (const void *)((const char *)(chunk + 1) + at);

		if (r->size < sizeof(*r) || at + r->size > chunk->head || r->route_length > RQS_ROUTE_MAX)
			abort();
		at += r->size;
	}
	for (uint32_t i = 0; chunk->kind == RQS_CHUNK_SLOTS && i < RQS_SLOTS_PER_CHUNK; i++) {
		const struct rqs_slot *slot = (const struct rqs_slot *)(const void *)(chunk + 1) + i;
		uint64_t ended = slot->finished + slot->dropped + slot->given_up;

		if (slot->opened != ended && slot->opened != ended + 1)
			abort();
		*finished += slot->finished;
	}
}

static void check(void)
{
	uint64_t records = 0, finished = 0;

	for (uint32_t i = 0; i < RQS_CHUNKS && region.owners[i]; i++)
		check_chunk(rqs_chunk_at(&region, i), &records, &finished);
	if (records != finished)
		abort();
}

static void event(uint8_t what, int fd, const uint8_t *p, size_t n)
{
	struct rqs_worker *worker = &workers[what >> 7];

	if (alive.epoch == 0 && !rqs_agent_revive(&agent))
		return;
	if (worker->epoch != alive.epoch)
		rqs_worker_start(&agent, worker);
	struct rqs_call call = { .agent = &agent, .worker = worker, .ticks = monotonic() };

	switch (what & 15) {
	case 0:
		rqs_conn_accepted(&call, fd);
		break;
	case 1:
		rqs_conn_closing(&call, fd);
		break;
	case 2:
		rqs_conn_output_ended(&call, fd);
		break;
	case 3:
		if (n) {
			rqs_conn_closing(&call, p[0] % DESCRIPTORS);
			if (p[0] % DESCRIPTORS != fd)
				rqs_conn_duplicated(&call, fd, p[0] % DESCRIPTORS);
		}
		break;
	case 4:
		rqs_agent_forked(&agent);
		break;
	case 5:
		alive.epoch = 0;
		pid++;
		break;
	case 6:
		rqs_conn_output_unseen(&call, fd, n + 1);
		break;
	case 7:
		rqs_conn_input_unseen(&call, fd, n + 1);
		break;
	case 8:
		rqs_conn_listening(&call, fd);
		break;
	case 9:
		rqs_conn_not_served(&call, fd);
		break;
	case 10:
		rqs_conn_unseen(&call, fd);
		break;
	case 11:
		rqs_agent_exit(&agent, worker);
		break;
	case 12:
	case 13:
		if (n)
			rqs_conn_output(&call, fd, p, n);
		break;
	default:
		if (n)
			rqs_conn_input(&call, fd, p, n);
	}
}

/*
 * Events of three bytes each: what, descriptor, and how many of the bytes behind them belong to it.
 * An odd last byte: the agent was attached.
 */
int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t length)
{
	start(length && bytes[length - 1] & 1);
	while (length >= 3) {
		size_t n = bytes[2] < length - 3 ? bytes[2] : length - 3;

		event(bytes[0], bytes[1] % DESCRIPTORS, bytes + 3, n);
		bytes += 3 + n;
		length -= 3 + n;
	}
	check();
	return 0;
}
