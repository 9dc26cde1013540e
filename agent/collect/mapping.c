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
	header->chunks_offset = page_up(header->owners_offset + RQS_CHUNKS * sizeof(uint64_t));
	header->region_size = header->chunks_offset + (uint64_t)RQS_CHUNKS * RQS_CHUNK_SIZE;
	header->state = RQS_RECORDING;
}

/* A sealed size means that no process can make the others' accesses fault (SIGBUS) by truncating. */
static int make_memfd(uint64_t size)
{
	int fd = memfd_create("reqscope", MFD_CLOEXEC | MFD_ALLOW_SEALING | MFD_NOEXEC_SEAL);

	if (fd < 0) /* before Linux 6.3 */
		fd = memfd_create("reqscope", MFD_CLOEXEC | MFD_ALLOW_SEALING);
	if (fd < 0)
		return -errno;
	if (ftruncate(fd, (off_t)size) || fcntl(fd, F_ADD_SEALS, F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_SEAL)) {
		int error = -errno;

		close(fd);
		return error;
	}
	return fd;
}

int rqs_region_create(struct rqs_region *region)
{
	struct rqs_region_header header;

	memset(&header, 0, sizeof(header));
	lay_out(&header);
	region->size = header.region_size;
	region->fd = make_memfd(region->size);
	if (region->fd < 0)
		return region->fd;

	unsigned char *base = mmap(NULL, region->size, PROT_READ | PROT_WRITE, MAP_SHARED, region->fd, 0);
	if (base == MAP_FAILED) {
		int error = -errno;

		close(region->fd);
		return error;
	}
	madvise(base, region->size, MADV_DONTDUMP);
	memcpy(base, &header, sizeof(header));
	region->header = (struct rqs_region_header *)base;
	region->processes = (struct rqs_process *)(base + header.processes_offset);
	region->threads = (struct rqs_thread *)(base + header.threads_offset);
	region->owners = (uint64_t *)(base + header.owners_offset);
	region->chunks = base + header.chunks_offset;
	return 0;
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

void rqs_region_free_process(struct rqs_region *region, uint32_t slot)
{
	struct rqs_process *process = &region->processes[slot];

	memset((char *)process + sizeof(process->owner), 0, sizeof(*process) - sizeof(process->owner));
	__atomic_store_n(&process->owner, 0, __ATOMIC_RELEASE);
}
