/* tables.c - sums over tables of goroutines, which their processes write to all the while. */
#include "collect/tables.h"

#include <errno.h>
#include <sys/mman.h>
#include <unistd.h>

#define SUM_MAX (1ull << 53)

static uint64_t load(const uint64_t *word)
{
	return __atomic_load_n(word, __ATOMIC_RELAXED);
}

static void add(uint64_t *sum, uint64_t value)
{
	*sum = value < SUM_MAX - *sum ? *sum + value : SUM_MAX;
}

static bool is_owned_by(const struct rqs_table_view *view, const struct rqs_region *region, uint32_t slot)
{
	if (!region->tables_offset || !view->number || view->number > RQS_TABLES)
		return false;
	return rqs_owner_process(__atomic_load_n(&region->table_owners[view->number - 1], __ATOMIC_ACQUIRE)) == slot;
}

static bool map(struct rqs_table_view *view, const struct rqs_region *region)
{
	if (view->table)
		return true;

	void *base = mmap(NULL, sizeof(struct rqs_table), PROT_READ, MAP_SHARED | MAP_NORESERVE, region->fd,
			  (off_t)rqs_table_offset(region, (uint32_t)view->number - 1));
	if (base == MAP_FAILED)
		return false;
	madvise(base, sizeof(struct rqs_table), MADV_DONTDUMP);
	view->table = base;
	return true;
}

/* Adds the bytes [from, to) of the table, which are whole pages. */
static void add_part(struct rqs_table_view *view, uint64_t from, uint64_t to)
{
	const struct rqs_table *table = view->table;
	const uint64_t entries = offsetof(struct rqs_table, goroutines);

	if (from < entries) {
		add(&view->alloc_bytes, load(&table->lost_bytes));
		add(&view->alloc_count, load(&table->lost_count));
		from = entries;
	}
	for (; from < to; from += sizeof(struct rqs_goroutine)) {
		const struct rqs_goroutine *goroutine = &table->goroutines[(from - entries) / sizeof(*goroutine)];

		add(&view->alloc_bytes, load(&goroutine->alloc_bytes));
		add(&view->alloc_count, load(&goroutine->alloc_count));
	}
}

/* Reading a hole would fill it: the file tells where they are. False when it doesn't. */
static bool add_data(struct rqs_table_view *view, int fd, uint64_t start)
{
	const uint64_t end = start + sizeof(struct rqs_table);

	for (uint64_t at = start; at < end;) {
		off_t data = lseek(fd, (off_t)at, SEEK_DATA);

		if (data < 0)
			return errno == ENXIO; /* nothing but a hole up to the file's end */
		if ((uint64_t)data >= end)
			break;
		off_t hole = lseek(fd, data, SEEK_HOLE);
		if (hole <= data)
			return false;
		at = (uint64_t)hole < end ? (uint64_t)hole : end;
		add_part(view, (uint64_t)data - start, at - start);
	}
	return true;
}

void rqs_table_read(struct rqs_table_view *view, const struct rqs_region *region, uint32_t slot)
{
	view->alloc_bytes = view->alloc_count = 0;
	view->known = is_owned_by(view, region, slot) && map(view, region) &&
		      add_data(view, region->fd, rqs_table_offset(region, (uint32_t)view->number - 1));
}

void rqs_table_unmap(struct rqs_table_view *view)
{
	if (view->table)
		munmap((void *)(uintptr_t)view->table, sizeof(*view->table));
	view->table = NULL;
}
