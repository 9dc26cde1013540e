/* reserve.c - see reserve.h. */
#include "os/reserve.h"

#include "os/sys.h"

#include <sys/mman.h>
#include <sys/resource.h>

#define SHARE 32
#define ENOUGH_FOR_GO (2ull << 30)

void *rqs_reserve(size_t size, int fd)
{
	return rqs_reserve_at(size, fd, 0);
}

void *rqs_reserve_at(size_t size, int fd, uint64_t offset)
{
	int flags = fd < 0 ? MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE : MAP_SHARED;
	long p = rqs_sys6(SYS_mmap, NULL, size, PROT_NONE, flags, fd, offset);

	if (p < 0 && p > -4096)
		return NULL;
	/* After mlockall(MCL_FUTURE) all of it would be brought into memory as soon as it can be written. */
	rqs_sys2(SYS_munlock, p, size);
	if (rqs_sys3(SYS_mprotect, p, size, PROT_READ | PROT_WRITE)) {
		rqs_unreserve((void *)p, size);
		return NULL;
	}
	/* No part of the host's core dumps. */
	rqs_sys3(SYS_madvise, p, size, MADV_DONTDUMP);
	return (void *)p;
}

void *rqs_reserve_sparse(size_t size)
{
	void *p = rqs_reserve(size, -1);

	if (p)
		rqs_sys3(SYS_madvise, p, size, MADV_NOHUGEPAGE);
	return p;
}

void rqs_unreserve(void *memory, size_t size)
{
	rqs_sys2(SYS_munmap, memory, size);
}

void rqs_reserve_forget(void *memory, size_t size)
{
	rqs_sys2(SYS_munlock, memory, size);
	rqs_sys3(SYS_madvise, memory, size, MADV_DONTNEED);
}

bool rqs_reserve_move(void *from, size_t size, void *to)
{
	return rqs_sys5(SYS_mremap, from, size, size, MREMAP_MAYMOVE | MREMAP_FIXED, to) == (long)to;
}

static size_t share_of(int resource, size_t wanted)
{
	struct rlimit limit;

	if (rqs_sys4(SYS_prlimit64, 0, resource, NULL, &limit) || limit.rlim_cur == RLIM_INFINITY)
		return wanted;
	return limit.rlim_cur / SHARE < wanted ? limit.rlim_cur / SHARE : wanted;
}

size_t rqs_reserve_share(size_t wanted)
{
	return share_of(RLIMIT_DATA, share_of(RLIMIT_AS, wanted));
}

bool rqs_reserve_is_scarce_for_go(void)
{
	static const int resources[] = { RLIMIT_AS, RLIMIT_DATA };
	struct rlimit limit;

	for (size_t i = 0; i < sizeof(resources) / sizeof(resources[0]); i++)
		if (rqs_sys4(SYS_prlimit64, 0, resources[i], NULL, &limit) || limit.rlim_cur < ENOUGH_FOR_GO)
			return true;
	return false;
}
