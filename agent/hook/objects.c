/*
 * objects.c - see objects.h. Formats: the System V ABI, chapter 5, "Hash
 * Table"; GNU's hash table and hidden versions as glibc's elf/dl-lookup.c and
 * musl's ldso/dynlink.c read them.
 */
#include "hook/objects.h"
#include "hook/hook.h"

#include "core/core_deps.h"
#include "os/sys.h"
#include "os/trial.h"

#include <elf.h>
#include <link.h>
#include <stdbool.h>
#include <stdint.h>
#include <string.h>
#include <sys/auxv.h>

#define HIDDEN_VERSION 0x8000u
#define TRIAL_MS 200u

struct object {
	const char *base; /* what addresses in the file are relative to */
	const char *strings;
	const Elf64_Sym *symbols;
	const uint16_t *versions; /* by symbol; NULL: it has none */
	const uint32_t *gnu_hash, *hash;
};

struct query {
	const char *name;
	uint32_t gnu_hash, hash;
	bool passed_own; /* our own library, or it needn't be passed */
	const char *base;
	Elf64_Sym found; /* a copy: an object may go */
};

/* ---- the list ---- */

static int stop(struct dl_phdr_info *info, size_t size, void *argument)
{
	(void)info;
	(void)size;
	(void)argument;
	return 1;
}

static bool list_is_free(void)
{
	return dl_iterate_phdr(stop, NULL) == 1;
}

/*
 * A thread that walked the list, or changed it, while another forked has its
 * lock in the child for ever: glibc's fork makes the linker's other locks
 * anew, but not this one. A child that was begun otherwise, as by a raw
 * clone, is asked about likewise. Behind a filter of the host's own nobody
 * can be asked, and nothing should be left to find.
 */
static bool may_walk(void)
{
	static struct {
		uint32_t pid;
		bool may;
	} known;
	if (rqs_load_relaxed(&rqs_agent.frozen))
		return true;
	uint32_t pid = (uint32_t)rqs_sys0(SYS_getpid);

	if (rqs_load(&known.pid) != pid) {
		known.may = !known.pid || rqs_trial_ends(list_is_free, TRIAL_MS);
		rqs_store(&known.pid, pid);
	}
	return known.may;
}

int rqs_objects_walk(rqs_objects_visitor *visit, void *argument)
{
	return may_walk() ? dl_iterate_phdr(visit, argument) : 0;
}

/* ---- an object's tables ---- */

static bool has_address(const struct dl_phdr_info *info, uint64_t address)
{
	for (int i = 0; i < info->dlpi_phnum; i++) {
		const Elf64_Phdr *part = &info->dlpi_phdr[i];

		if (part->p_type == PT_LOAD && address - info->dlpi_addr - part->p_vaddr < part->p_memsz)
			return true;
	}
	return false;
}

bool rqs_objects_is_own(const struct dl_phdr_info *info)
{
	return has_address(info, (uint64_t)&rqs_objects_is_own);
}

bool rqs_objects_is_linker(const struct dl_phdr_info *info)
{
#ifdef __GLIBC__
	return info->dlpi_addr && info->dlpi_addr == getauxval(AT_BASE);
#else
	(void)info;
	return false;
#endif
}

/* glibc has made most objects' pointers absolute; musl leaves them, and both the kernel's own object's. */
const void *rqs_objects_pointer(const struct dl_phdr_info *info, uint64_t value)
{
	return (const void *)(has_address(info, value) ? value : info->dlpi_addr + value);
}

const ElfW(Dyn) *rqs_objects_dynamic(const struct dl_phdr_info *info)
{
	for (int i = 0; i < info->dlpi_phnum; i++)
		if (info->dlpi_phdr[i].p_type == PT_DYNAMIC)
			return (const void *)(info->dlpi_addr + info->dlpi_phdr[i].p_vaddr);
	return NULL;
}

static bool read_object(struct object *object, const struct dl_phdr_info *info)
{
	const Elf64_Dyn *entry = rqs_objects_dynamic(info);

	*object = (struct object){ .base = (const char *)info->dlpi_addr };
	for (; entry && entry->d_tag != DT_NULL; entry++) {
		const void *p = rqs_objects_pointer(info, entry->d_un.d_ptr);

		if (entry->d_tag == DT_SYMTAB)
			object->symbols = p;
		else if (entry->d_tag == DT_STRTAB)
			object->strings = p;
		else if (entry->d_tag == DT_VERSYM)
			object->versions = p;
		else if (entry->d_tag == DT_GNU_HASH)
			object->gnu_hash = p;
		else if (entry->d_tag == DT_HASH)
			object->hash = p;
	}
	return object->symbols && object->strings && (object->gnu_hash || object->hash);
}

/* ---- looking up ---- */

static bool is_match(const struct object *object, uint32_t i, const char *name)
{
	const Elf64_Sym *symbol = &object->symbols[i];
	unsigned binding = ELF64_ST_BIND(symbol->st_info), type = ELF64_ST_TYPE(symbol->st_info);

	return symbol->st_shndx != SHN_UNDEF && binding != STB_LOCAL &&
	       (type == STT_NOTYPE || type == STT_FUNC || type == STT_OBJECT || type == STT_GNU_IFUNC) &&
	       !(object->versions && object->versions[i] & HIDDEN_VERSION) &&
	       !strcmp(object->strings + symbol->st_name, name);
}

/* Words: count of buckets, the first symbol, count and shift of the filter; then filter, buckets, chains. */
static const Elf64_Sym *look_up_gnu(const struct object *object, const struct query *query)
{
	const uint32_t *table = object->gnu_hash;
	const uint64_t *filter = (const void *)(table + 4);
	const uint32_t *buckets = (const void *)(filter + table[2]), *chains = buckets + table[0];
	uint32_t hash = query->gnu_hash;

	if (!table[0] || !table[2])
		return NULL;
	uint64_t word = filter[hash / 64 % table[2]];

	if (!(word >> hash % 64 & word >> (hash >> table[3]) % 64 & 1))
		return NULL;
	uint32_t i = buckets[hash % table[0]];
	for (bool last = i < table[1]; !last; i++) {
		uint32_t entry = chains[i - table[1]];

		if ((entry | 1) == (hash | 1) && is_match(object, i, query->name))
			return &object->symbols[i];
		last = entry & 1; /* the lowest bit ends a chain */
	}
	return NULL;
}

/* Words: count of buckets, count of symbols; buckets, and the chains. */
static const Elf64_Sym *look_up_old(const struct object *object, const struct query *query)
{
	const uint32_t *table = object->hash, *buckets = table + 2, *chains = buckets + table[0];

	if (!table[0])
		return NULL;
	for (uint32_t i = buckets[query->hash % table[0]]; i; i = chains[i])
		if (is_match(object, i, query->name))
			return &object->symbols[i];
	return NULL;
}

static int visit(struct dl_phdr_info *info, size_t size, void *argument)
{
	struct query *query = argument;
	struct object object;

	(void)size;
	if (!query->passed_own) {
		query->passed_own = rqs_objects_is_own(info);
		return 0;
	}
	if (rqs_objects_is_own(info) || !read_object(&object, info))
		return 0;
	const Elf64_Sym *found = object.gnu_hash ? look_up_gnu(&object, query) : look_up_old(&object, query);
	if (!found)
		return 0;
	query->base = object.base;
	query->found = *found;
	return 1;
}

static void hash_name(struct query *query)
{
	uint32_t gnu = 5381, old = 0;

	for (const char *s = query->name; *s; s++) {
		gnu = gnu * 33 + (uint8_t)*s;
		old = (old << 4) + (uint8_t)*s;
		old ^= old >> 24 & 0xf0;
		old &= 0xfffffff;
	}
	query->gnu_hash = gnu;
	query->hash = old;
}

static void *find(const char *name, bool anywhere, size_t *size)
{
	struct query query = { .name = name, .passed_own = anywhere };

	hash_name(&query);
	if (!rqs_objects_walk(visit, &query))
		return NULL;
	char *address = (char *)query.base + query.found.st_value;
	if (size)
		*size = query.found.st_size;
	/* The linker would call it, too: it chooses among several functions. */
	if (ELF64_ST_TYPE(query.found.st_info) == STT_GNU_IFUNC)
		return ((void *(*)(void))address)();
	return address;
}

struct count {
	struct query query;
	uint32_t definitions;
};

/* A library of its own before glibc 2.34: many calls are in both, and the same. */
static bool is_of_threads(const struct dl_phdr_info *info)
{
	const char *last = info->dlpi_name ? strrchr(info->dlpi_name, '/') : NULL;

	return last && !strncmp(last, "/libpthread", sizeof("/libpthread") - 1);
}

static int count(struct dl_phdr_info *info, size_t size, void *argument)
{
	struct count *count = argument;

	if (visit(info, size, &count->query) && !rqs_objects_is_linker(info) && !is_of_threads(info))
		count->definitions++;
	return 0;
}

bool rqs_objects_is_single(const char *name)
{
	struct count counted = { .query = { .name = name, .passed_own = true } };

	hash_name(&counted.query);
	rqs_objects_walk(count, &counted);
	return counted.definitions <= 1;
}

/* What it was at the first question: later, other objects may have come behind us. */
bool rqs_objects_are_before_us(void)
{
	enum { UNKNOWN, NO, YES };
	static uint32_t known;

	if (rqs_load_relaxed(&known) == UNKNOWN)
		rqs_store_relaxed(&known, (uint32_t)(find("listen", false, NULL) ? NO : YES));
	return rqs_load_relaxed(&known) == YES;
}

void *rqs_objects_next(const char *name)
{
	return find(name, rqs_objects_are_before_us(), NULL);
}

void *rqs_objects_any(const char *name, size_t *size)
{
	return find(name, true, size);
}

/* ---- data ---- */

struct part {
	uint64_t address, start, end;
};

static int find_data(struct dl_phdr_info *info, size_t size, void *argument)
{
	struct part *part = argument;

	(void)size;
	for (int i = 0; i < info->dlpi_phnum; i++) {
		const Elf64_Phdr *header = &info->dlpi_phdr[i];
		uint64_t start = info->dlpi_addr + header->p_vaddr;

		if (header->p_type == PT_LOAD && header->p_flags & PF_W && part->address - start < header->p_memsz) {
			part->start = (start + 7) & ~7ull;
			part->end = start + header->p_memsz;
			return 1;
		}
	}
	return 0;
}

bool rqs_objects_data_around(const void *address, const char **start, const char **end)
{
	struct part part = { .address = (uint64_t)address };

	if (!rqs_objects_walk(find_data, &part))
		return false;
	*start = (const char *)part.start;
	*end = (const char *)part.end;
	return true;
}

/* ---- ourselves ---- */

static int note_own_file(struct dl_phdr_info *info, size_t size, void *argument)
{
	(void)size;
	if (!rqs_objects_is_own(info))
		return 0;
	*(const char **)argument = info->dlpi_name;
	return 1;
}

const char *rqs_objects_own_file(void)
{
	const char *file = NULL;

	rqs_objects_walk(note_own_file, &file);
	return file;
}
