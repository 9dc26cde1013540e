/*
 * fake_agent.h - the agent's side of reqscope/region.h, in plain C, to test
 * the collector with: claims, records, and everything a real agent must not do.
 */
#ifndef FAKE_AGENT_H
#define FAKE_AGENT_H

#include "reqscope/region.h"
#include "reqscope/trace_format.h"

#include <errno.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/un.h>
#include <time.h>
#include <unistd.h>
#include <x86intrin.h>

struct fake_agent {
	unsigned char *base;
	struct rqs_region_header *header;
	struct rqs_process *processes;
	struct rqs_thread *threads;
	uint64_t *owners;
	uint32_t process; /* slot */
	uint32_t thread;
	uint32_t records;        /* the thread's present chunk of records, RQS_CHUNKS none */
	uint32_t slots;          /* the process's chunk of request slots */
	int threadless;          /* Go: chunks name no thread */
	struct rqs_table *table; /* Go: of its goroutines */
};

static inline void fake_attach(struct fake_agent *agent, void *base)
{
	memset(agent, 0, sizeof(*agent));
	agent->base = base;
	agent->header = base;
	agent->processes = (struct rqs_process *)(agent->base + agent->header->processes_offset);
	agent->threads = (struct rqs_thread *)(agent->base + agent->header->threads_offset);
	agent->owners = (uint64_t *)(agent->base + agent->header->owners_offset);
	agent->records = agent->slots = RQS_CHUNKS;
}

static inline int fake_connect(const char *token)
{
	struct sockaddr_un address = {.sun_family = AF_UNIX};
	int fd = socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0);
	int length = snprintf(address.sun_path + 1, sizeof(address.sun_path) - 1, "%s%s", RQS_SOCKET_PREFIX, token);

	if (connect(fd, (struct sockaddr *)&address,
		    (socklen_t)(offsetof(struct sockaddr_un, sun_path) + 1 + (size_t)length))) {
		close(fd);
		return -1;
	}
	return fd;
}

/* The answer to a hello of `length` bytes; the region's descriptor in *region, -1 none. False: no answer. */
static inline int fake_hello(int fd, const void *hello, size_t length, struct rqs_welcome *welcome, int *region)
{
	struct iovec part = {welcome, sizeof(*welcome)};
	union {
		struct cmsghdr header;
		char bytes[CMSG_SPACE(sizeof(int))];
	} control;
	struct msghdr message = {
	    .msg_iov = &part, .msg_iovlen = 1, .msg_control = &control, .msg_controllen = sizeof(control.bytes)};
	struct cmsghdr *attached;

	*region = -1;
	if (send(fd, hello, length, MSG_NOSIGNAL) != (ssize_t)length ||
	    recvmsg(fd, &message, MSG_CMSG_CLOEXEC) != (ssize_t)sizeof(*welcome))
		return 0;
	attached = CMSG_FIRSTHDR(&message);
	if (attached && attached->cmsg_type == SCM_RIGHTS)
		memcpy(region, CMSG_DATA(attached), sizeof(int));
	return 1;
}

/* Gets and maps the region of a session. Its descriptor is the caller's to close; -1: refused. */
static inline int fake_join(struct fake_agent *agent, const char *token)
{
	struct rqs_hello hello = {RQS_REGION_VERSION, (uint32_t)getpid()};
	struct rqs_welcome welcome;
	int fd = fake_connect(token), region = -1;
	int answered = fd >= 0 && fake_hello(fd, &hello, sizeof(hello), &welcome, &region);

	close(fd);
	if (!answered || welcome.status || region < 0)
		return -1;
	void *base = mmap(NULL, welcome.region_size, PROT_READ | PROT_WRITE, MAP_SHARED, region, 0);
	if (base == MAP_FAILED) {
		close(region);
		return -1;
	}
	fake_attach(agent, base);
	return region;
}

/* The same without the descriptor. False: refused. */
static inline int fake_greet(struct fake_agent *agent, const char *token)
{
	int region = fake_join(agent, token);

	return region >= 0 && !close(region);
}

/* The second kind of greeting: a message and `count` copies of a descriptor. */
static inline int fake_tell(int connection, const void *message, size_t length, int fd, unsigned count)
{
	struct iovec part = {(void *)(uintptr_t)message, length};
	union {
		struct cmsghdr header;
		char bytes[CMSG_SPACE(8 * sizeof(int))];
	} control = {0};
	struct msghdr header = {.msg_iov = &part, .msg_iovlen = 1};

	if (count) {
		header.msg_control = &control;
		header.msg_controllen = CMSG_SPACE(count * sizeof(int));
		control.header.cmsg_level = SOL_SOCKET;
		control.header.cmsg_type = SCM_RIGHTS;
		control.header.cmsg_len = CMSG_LEN(count * sizeof(int));
		for (unsigned i = 0; i < count; i++)
			memcpy(CMSG_DATA(&control.header) + i * sizeof(int), &fd, sizeof(int));
	}
	return sendmsg(connection, &header, MSG_NOSIGNAL) == (ssize_t)length;
}

static inline uint64_t fake_ticks(const struct fake_agent *agent)
{
	struct timespec now;

	if (agent->header->clock == RQS_CLOCK_TSC)
		return __rdtsc();
	clock_gettime(CLOCK_MONOTONIC, &now);
	return (uint64_t)now.tv_sec * 1000000000u + (uint64_t)now.tv_nsec;
}

static inline uint32_t fake_claim(uint64_t *words, size_t stride, uint32_t count, uint64_t owner)
{
	for (uint32_t i = 0; i < count; i++) {
		uint64_t *word = (uint64_t *)((char *)words + i * stride), free_word = 0;

		if (__atomic_compare_exchange_n(word, &free_word, owner, 0, __ATOMIC_ACQ_REL, __ATOMIC_RELAXED))
			return i;
	}
	return count;
}

static inline uint64_t fake_owner(const struct fake_agent *agent)
{
	return (uint64_t)(agent->process + 1) << 32 | (agent->threadless ? 0 : (uint32_t)syscall(SYS_gettid));
}

/* Claims a process slot and makes it ready; `pid` 0 is the caller's. */
static inline void fake_process(struct fake_agent *agent, uint32_t pid, uint32_t flags)
{
	uint64_t generation = __atomic_add_fetch(&agent->header->next_generation, 1, __ATOMIC_RELAXED);
	uint64_t owner = generation << 32 | (pid ? pid : (uint32_t)getpid());
	struct rqs_process *process;

	agent->process = fake_claim(&agent->processes->owner, sizeof(*agent->processes), RQS_PROCESSES, owner);
	process = &agent->processes[agent->process];
	process->flags = flags;
	process->parent = (uint32_t)getppid();
	process->runtime = RQS_RUNTIME_PYTHON;
	process->start_ticks = fake_ticks(agent);
	strcpy(process->version, "3.11.2");
	__atomic_store_n(&process->ready, 1, __ATOMIC_RELEASE);
	agent->records = agent->slots = RQS_CHUNKS;
}

/*
 * Claims a process slot and a table of goroutines for a Go program; `pid` 0 is the caller's, `fd` the region's,
 * which is not kept. The chunks that it claims name no thread: Go's scheduler decides which writes to them next.
 */
static inline void fake_go_process(struct fake_agent *agent, uint32_t pid, int fd, uint32_t measures)
{
	uint64_t generation = __atomic_add_fetch(&agent->header->next_generation, 1, __ATOMIC_RELAXED);
	uint64_t *table_owners = (uint64_t *)(agent->base + agent->header->table_owners_offset);
	struct rqs_process *process;

	agent->process = fake_claim(&agent->processes->owner, sizeof(*agent->processes), RQS_PROCESSES,
				    generation << 32 | (pid ? pid : (uint32_t)getpid()));
	agent->threadless = 1;
	agent->thread = RQS_THREADS;
	uint32_t table = fake_claim(table_owners, sizeof(uint64_t), RQS_TABLES, fake_owner(agent));
	process = &agent->processes[agent->process];
	process->runtime = RQS_RUNTIME_GO;
	process->measures = measures;
	process->start_ticks = fake_ticks(agent);
	process->table = table + 1;
	strcpy(process->version, "1.26.8");
	agent->table = mmap(NULL, agent->header->table_size, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_NORESERVE, fd,
			    (off_t)(agent->header->tables_offset + table * agent->header->table_size));
	__atomic_store_n(&process->ready, 1, __ATOMIC_RELEASE);
	agent->records = agent->slots = RQS_CHUNKS;
}

/* The entry of the goroutine whose descriptor is at address g; made when it isn't there. */
static inline struct rqs_goroutine *fake_goroutine(struct fake_agent *agent, uint64_t g)
{
	struct rqs_goroutine *all = agent->table->goroutines;
	uint64_t at = (g >> 9) % RQS_TABLE_ENTRIES;

	while (all[at].g && all[at].g != g)
		at = (at + 1) % RQS_TABLE_ENTRIES;
	all[at].g = g;
	return &all[at];
}

static inline void fake_allocate(struct fake_agent *agent, uint64_t g, uint64_t bytes)
{
	struct rqs_goroutine *goroutine = fake_goroutine(agent, g);

	goroutine->alloc_bytes += bytes;
	goroutine->alloc_count++;
}

static inline void fake_thread(struct fake_agent *agent)
{
	agent->thread = fake_claim(&agent->threads->owner, sizeof(*agent->threads), RQS_THREADS, fake_owner(agent));
	agent->records = RQS_CHUNKS;
}

static inline struct rqs_chunk_header *fake_header(const struct fake_agent *agent, uint32_t chunk)
{
	return (struct rqs_chunk_header *)(agent->base + agent->header->chunks_offset + (size_t)chunk * RQS_CHUNK_SIZE);
}

/* RQS_CHUNKS when none is free. */
static inline uint32_t fake_chunk(struct fake_agent *agent, enum rqs_chunk_kind kind)
{
	uint32_t chunk = fake_claim(agent->owners, sizeof(uint64_t), RQS_CHUNKS, fake_owner(agent));

	if (chunk == RQS_CHUNKS)
		return chunk;
	fake_header(agent, chunk)->thread = agent->thread;
	__atomic_store_n(&fake_header(agent, chunk)->kind, kind, __ATOMIC_RELEASE);
	return chunk;
}

static inline struct rqs_slot *fake_slot(struct fake_agent *agent, uint32_t index)
{
	if (agent->slots == RQS_CHUNKS)
		agent->slots = fake_chunk(agent, RQS_CHUNK_SLOTS);
	return (struct rqs_slot *)(fake_header(agent, agent->slots) + 1) + index;
}

/* The next request of a slot begins. */
static inline void fake_open(struct fake_agent *agent, uint32_t index)
{
	struct rqs_slot *slot = fake_slot(agent, index);

	__atomic_store_n(&slot->opened, slot->opened + 1, __ATOMIC_RELEASE);
}

/* Room for `size` bytes in the thread's chunk; NULL when no chunk is free. */
static inline void *fake_room(struct fake_agent *agent, uint32_t size)
{
	struct rqs_chunk_header *header;

	if (agent->records != RQS_CHUNKS) {
		header = fake_header(agent, agent->records);
		if (sizeof(*header) + header->head + size <= RQS_CHUNK_SIZE)
			return (char *)(header + 1) + header->head;
		__atomic_store_n(&header->sealed, 1, __ATOMIC_RELEASE);
	}
	agent->records = fake_chunk(agent, RQS_CHUNK_RECORDS);
	return agent->records == RQS_CHUNKS ? NULL : fake_header(agent, agent->records) + 1;
}

static inline void fake_commit(struct fake_agent *agent, uint32_t size)
{
	struct rqs_chunk_header *header = fake_header(agent, agent->records);

	__atomic_store_n(&header->head, header->head + size, __ATOMIC_RELEASE);
}

/* A plausible record of the slot's open request. Its size. */
static inline uint32_t fake_fill(struct fake_agent *agent, struct rqs_record *record, uint32_t index, const char *route)
{
	uint16_t length = (uint16_t)strlen(route), size = (uint16_t)((sizeof(*record) + length + 7u) & ~7u);
	uint64_t now = fake_ticks(agent);

	memset(record, 0, size);
	record->size = size;
	record->type = RQS_RECORD_REQUEST;
	record->method = RQS_METHOD_GET;
	record->status = 200;
	record->flags = RQS_RECORD_HAS_QUEUE | RQS_RECORD_HAS_FIRST | RQS_RECORD_HAS_LAST;
	record->slot = agent->slots * 64 + index;
	record->route_length = length;
	record->ordinal = fake_slot(agent, index)->opened;
	record->read = now - 300000 - now % 9973;
	record->first_out = now - 10000 - now % 1009;
	record->last_out = now;
	record->queue_ns = 10000 + now % 7919;
	record->request_bytes = 45;
	record->response_bytes = 170;
	memcpy(record->route, route, length);
	return size;
}

/* Ends the slot's open request: by a record, or as dropped when there is no room. `counted`: stores finished, too. */
static inline void fake_finish(struct fake_agent *agent, uint32_t index, const char *route, int counted)
{
	struct rqs_slot *slot = fake_slot(agent, index);
	struct rqs_record *record = fake_room(agent, sizeof(*record) + RQS_ROUTE_MAX);

	if (!record) {
		slot->dropped++;
		return;
	}
	fake_commit(agent, fake_fill(agent, record, index, route));
	if (counted)
		__atomic_store_n(&slot->finished, slot->finished + 1, __ATOMIC_RELEASE);
}

#endif
