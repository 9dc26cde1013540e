/* mapping.c - makes the memfd that agent and collector share, and frees parts of it. */
#include "collect/mapping.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#ifndef MFD_NOEXEC_SEAL
#define MFD_NOEXEC_SEAL 0x0008U
#endif

#define PAGE 4096u
/* Chunks from here on are given back to the kernel when freed, so that a burst doesn't stay resident. */
#define CHUNKS_KEPT 256u

static uint64_t page_up(uint64_t value)
{
	return (value + PAGE - 1) / PAGE * PAGE;
}

static void lay_out(struct rqs_region_header *header)
{
	header->magic = RQS_REGION_MAGIC;
	header->version = RQS_REGION_VERSION;
	header->size_of_header = sizeof(*header);
	header->processes_offset = page_up(sizeof(*header));
	header->threads_offset = page_up(header->processes_offset + RQS_PROCESSES * sizeof(struct rqs_process));
	header->owners_offset = page_up(header->threads_offset + RQS_THREADS * sizeof(struct rqs_thread));
	header->table_owners_offset = page_up(header->owners_offset + RQS_CHUNKS * sizeof(uint64_t));
	header->chunks_offset = page_up(header->table_owners_offset + RQS_TABLES * sizeof(uint64_t));
	header->region_size = header->chunks_offset + (uint64_t)RQS_CHUNKS * RQS_CHUNK_SIZE;
	header->tables_offset = page_up(header->region_size);
	header->table_size = sizeof(struct rqs_table);
	header->state = RQS_RECORDING;
}

static int make_memfd(void)
{
	int fd = memfd_create("reqscope", MFD_CLOEXEC | MFD_ALLOW_SEALING | MFD_NOEXEC_SEAL);

	if (fd < 0) /* before Linux 6.3 */
		fd = memfd_create("reqscope", MFD_CLOEXEC | MFD_ALLOW_SEALING);
	return fd < 0 ? -errno : fd;
}

/*
 * The tables make it a file of 64 GiB, nearly all of it holes; a limit on
 * files' sizes may forbid that. A sealed size means that no process can make
 * the others' accesses fault (SIGBUS) by truncating.
 */
static int set_size(int fd, struct rqs_region_header *header)
{
	if (ftruncate(fd, (off_t)(header->tables_offset + RQS_TABLES * header->table_size))) {
		header->tables_offset = 0;
		if (ftruncate(fd, (off_t)header->region_size))
			return -errno;
	}
	return fcntl(fd, F_ADD_SEALS, F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_SEAL) ? -errno : 0;
}

static int map(struct rqs_region *region, const struct rqs_region_header *header)
{
	unsigned char *base = mmap(NULL, region->size, PROT_READ | PROT_WRITE, MAP_SHARED, region->fd, 0);

	if (base == MAP_FAILED)
		return -errno;
	madvise(base, region->size, MADV_DONTDUMP);
	memcpy(base, header, sizeof(*header));
	region->tables_offset = header->tables_offset;
	region->header = (struct rqs_region_header *)base;
	region->processes = (struct rqs_process *)(base + header->processes_offset);
	region->threads = (struct rqs_thread *)(base + header->threads_offset);
	region->owners = (uint64_t *)(base + header->owners_offset);
	region->table_owners = (uint64_t *)(base + header->table_owners_offset);
	region->chunks = base + header->chunks_offset;
	return 0;
}

int rqs_region_create(struct rqs_region *region)
{
	struct rqs_region_header header;

	memset(&header, 0, sizeof(header));
	lay_out(&header);
	region->size = header.region_size;
	region->fd = make_memfd();
	if (region->fd < 0)
		return region->fd;

	int error = set_size(region->fd, &header);
	if (!error)
		error = map(region, &header);
	if (error)
		close(region->fd);
	return error;
}

void rqs_region_destroy(struct rqs_region *region)
{
	munmap(region->header, region->size);
	close(region->fd);
	region->fd = -1;
}

void rqs_region_free_chunk(struct rqs_region *region, uint32_t chunk)
{
	struct rqs_chunk_header *header = rqs_chunk_at(region, chunk);

	/* All of it: what held records may hold request slots next, and their counters start at 0. */
	if (chunk < CHUNKS_KEPT || madvise(header, RQS_CHUNK_SIZE, MADV_REMOVE))
		memset(header, 0, RQS_CHUNK_SIZE);
	__atomic_store_n(&region->owners[chunk], 0, __ATOMIC_RELEASE);
	__atomic_fetch_add(&region->header->reclaimed, 1, __ATOMIC_RELEASE);
}

void rqs_region_free_thread(struct rqs_region *region, uint32_t thread)
{
	struct rqs_thread *slot = &region->threads[thread];

	memset((char *)slot + sizeof(slot->owner), 0, sizeof(*slot) - sizeof(slot->owner));
	__atomic_store_n(&slot->owner, 0, __ATOMIC_RELEASE);
}

/* Punched out, it is zero for the next owner. One that can't be stays taken. */
static void free_table(struct rqs_region *region, uint32_t table)
{
	if (!region->tables_offset || fallocate(region->fd, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE,
						(off_t)rqs_table_offset(region, table), sizeof(struct rqs_table)))
		return;
	__atomic_store_n(&region->table_owners[table], 0, __ATOMIC_RELEASE);
}

void rqs_region_free_process(struct rqs_region *region, uint32_t slot)
{
	struct rqs_process *process = &region->processes[slot];

	for (uint32_t table = 0; table < RQS_TABLES; table++)
		if (rqs_owner_process(__atomic_load_n(&region->table_owners[table], __ATOMIC_ACQUIRE)) == slot)
			free_table(region, table);
	memset((char *)process + sizeof(process->owner), 0, sizeof(*process) - sizeof(process->owner));
	__atomic_store_n(&process->owner, 0, __ATOMIC_RELEASE);
}
