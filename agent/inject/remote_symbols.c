/* remote_symbols.c - see remote_symbols.h. */
#include "inject/remote_symbols.h"
#include "inject/mappings.h"

#include "reqscope/attach_words.h"

#include <elf.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

/* Tables are the process's word: they may have any size, and no end. */
#define TABLE_LIMIT (64u << 20)
#define SYMBOL_LIMIT (TABLE_LIMIT / sizeof(Elf64_Sym))
#define CHAIN_LIMIT (1u << 16)
#define DYNAMIC_LIMIT (64u << 10)
#define OBJECT_LIMIT 64u /* that are looked at, whatever they call themselves */
#define HEADERS 32
#define NAMES 8
#define WORDS 256u

static const char *file_name(const char *path)
{
	const char *slash = strrchr(path, '/');

	return slash ? slash + 1 : path;
}

static bool begins(const char *name, const char *with)
{
	return !strncmp(name, with, strlen(with));
}

bool rqs_is_loader(const char *path)
{
	const char *name = file_name(path);

	return begins(name, "ld-linux") || begins(name, "ld-2.");
}

static bool is_libc(const char *name)
{
	return begins(name, "libc.so") || begins(name, "libc-2.") || begins(name, "libc.musl-") ||
	       begins(name, "ld-musl-");
}

static bool is_libdl(const char *name)
{
	return begins(name, "libdl.so") || begins(name, "libdl-2.");
}

static bool is_ours(const char *name)
{
	return begins(name, "libreqscope");
}

/* ---- one object's table ---- */

struct table {
	int memory;
	uint64_t base; /* added to addresses as linked */
	uint64_t symbols, names, names_size, hash, gnu_hash;
};

static bool read_at(const struct table *table, uint64_t address, void *bytes, size_t size)
{
	return pread(table->memory, bytes, size, (off_t)address) == (ssize_t)size;
}

/* glibc's loader has replaced addresses as linked by those in memory, musl's hasn't. */
static uint64_t loaded(const struct table *table, uint64_t address)
{
	return address && address < table->base ? address + table->base : address;
}

static void note(struct table *table, const Elf64_Dyn *entry)
{
	switch (entry->d_tag) {
	case DT_SYMTAB:
		table->symbols = loaded(table, entry->d_un.d_ptr);
		break;
	case DT_STRTAB:
		table->names = loaded(table, entry->d_un.d_ptr);
		break;
	case DT_STRSZ:
		table->names_size = entry->d_un.d_val;
		break;
	case DT_HASH:
		table->hash = loaded(table, entry->d_un.d_ptr);
		break;
	case DT_GNU_HASH:
		table->gnu_hash = loaded(table, entry->d_un.d_ptr);
	}
}

/* Of the object whose ELF header lies at `start`. */
static bool find_table(struct table *table, int memory, uint64_t start)
{
	Elf64_Ehdr head;
	Elf64_Phdr headers[HEADERS];
	Elf64_Dyn entry;
	const Elf64_Phdr *dynamic = NULL;

	*table = (struct table){.memory = memory, .base = start};
	if (!read_at(table, start, &head, sizeof(head)) || memcmp(head.e_ident, ELFMAG, SELFMAG) ||
	    head.e_ident[EI_CLASS] != ELFCLASS64 || head.e_type != ET_DYN || head.e_phnum > HEADERS ||
	    !read_at(table, start + head.e_phoff, headers, head.e_phnum * sizeof(*headers)))
		return false;
	for (unsigned i = 0; i < head.e_phnum; i++)
		if (headers[i].p_type == PT_DYNAMIC)
			dynamic = &headers[i];
	for (uint64_t at = 0; dynamic && at < dynamic->p_memsz && at < DYNAMIC_LIMIT; at += sizeof(entry)) {
		if (!read_at(table, start + dynamic->p_vaddr + at, &entry, sizeof(entry)) || entry.d_tag == DT_NULL)
			break;
		note(table, &entry);
	}
	return table->symbols && table->names && table->names_size < TABLE_LIMIT;
}

/* The largest of so many words; 0 when they can't be read. */
static uint32_t largest(const struct table *table, uint64_t at, uint64_t count)
{
	uint32_t words[WORDS], most = 0;

	for (uint64_t done = 0; done < count; done += WORDS) {
		uint64_t n = count - done < WORDS ? count - done : WORDS;

		if (!read_at(table, at + done * sizeof(*words), words, n * sizeof(*words)))
			return 0;
		for (uint64_t i = 0; i < n; i++)
			most = words[i] > most ? words[i] : most;
	}
	return most;
}

/* GNU's hash table has no count: the last chain's end is the last symbol. */
static uint64_t count_by_gnu_hash(const struct table *table)
{
	uint32_t head[4], link = 0;

	if (!read_at(table, table->gnu_hash, head, sizeof(head)) || head[0] > SYMBOL_LIMIT)
		return 0;
	uint64_t buckets = table->gnu_hash + sizeof(head) + head[2] * 8ull, chains = buckets + head[0] * 4ull;
	uint64_t last = largest(table, buckets, head[0]), first = head[1];
	if (last < first)
		return first;
	for (uint64_t end = last + CHAIN_LIMIT; !(link & 1) && last < end; last++)
		if (!read_at(table, chains + (last - first) * 4, &link, sizeof(link)))
			break;
	return last;
}

static uint64_t count_symbols(const struct table *table)
{
	uint32_t head[2];

	if (table->hash && read_at(table, table->hash, head, sizeof(head)))
		return head[1];
	return table->gnu_hash ? count_by_gnu_hash(table) : 0;
}

/* What is done with a symbol, the nth of those that are looked for. */
struct taking {
	const char *const *wanted; /* NULL at its end */
	void (*take)(void *context, unsigned n, uint64_t address, uint64_t size);
	void *context;
};

static void look_up(const struct table *table, const Elf64_Sym *symbols, uint64_t count, const char *names,
		    const struct taking *taking)
{
	for (uint64_t i = 0; i < count; i++) {
		if (symbols[i].st_shndx == SHN_UNDEF || !symbols[i].st_value || symbols[i].st_name >= table->names_size)
			continue;
		for (unsigned n = 0; taking->wanted[n]; n++)
			if (!strcmp(names + symbols[i].st_name, taking->wanted[n]))
				taking->take(taking->context, n, table->base + symbols[i].st_value, symbols[i].st_size);
	}
}

static void read_table(const struct table *table, const struct taking *taking)
{
	uint64_t count = count_symbols(table);

	if (!count || count > SYMBOL_LIMIT)
		return;
	Elf64_Sym *symbols = malloc(count * sizeof(*symbols));
	char *names = malloc(table->names_size + 1);
	if (symbols && names && read_at(table, table->symbols, symbols, count * sizeof(*symbols)) &&
	    read_at(table, table->names, names, table->names_size)) {
		names[table->names_size] = '\0';
		look_up(table, symbols, count, names, taking);
	}
	free(symbols);
	free(names);
}

/* ---- all objects ---- */

struct search {
	int memory;
	bool (*fits)(const char *name);
	struct taking taking;
	const uint64_t *enough; /* what is looked for when it isn't 0; NULL: in all objects */
	unsigned looked;        /* at so many objects */
};

static bool search_object(const struct rqs_mapping *mapping, void *context)
{
	struct search *search = context;
	struct table table;

	if (mapping->path[0] != '/' || mapping->offset || !search->fits(file_name(mapping->path)))
		return false;
	if (find_table(&table, search->memory, mapping->start))
		read_table(&table, &search->taking);
	return ++search->looked == OBJECT_LIMIT || (search->enough && *search->enough);
}

static void take_first(void *context, unsigned n, uint64_t address, uint64_t size)
{
	uint64_t *found = context;

	(void)size;
	if (!found[n])
		found[n] = address;
}

/* The first object that fits and has the first symbol. */
static bool search_objects(pid_t pid, int memory, bool (*fits)(const char *name), const char *const *wanted,
			   uint64_t *found)
{
	struct search search = {memory, fits, {wanted, take_first, found}, found, 0};

	memset(found, 0, NAMES * sizeof(*found));
	rqs_each_mapping(pid, search_object, &search);
	return found[0] != 0;
}

/* ---- functions that a stack is looked through for ---- */

/*
 * Who signals a condition waits (in glibc, up to 2.40) for those that it has
 * woken before to leave it. In Python whoever gives the global lock away
 * signals, and our calls take that lock: in a thread that waits for it they
 * would keep it from being given away.
 */
#define WAITS_WITH_NOBODY 4u
#define WAITS 7u
#define ALLOCATES 14u

static bool waits_or_allocates(const char *name)
{
	return is_libc(name) || begins(name, "libpthread") || is_ours(name) || strstr(name, "malloc");
}

static void take_function(void *context, unsigned n, uint64_t address, uint64_t size)
{
	struct rqs_remote_functions *functions = context;

	if (functions->count == sizeof(functions->all) / sizeof(*functions->all) || !size)
		return;
	functions->all[functions->count++] =
	    (struct rqs_remote_function){address, address + size, n < functions->waits, n >= WAITS && n < ALLOCATES};
}

/* Of modules, too, where the interpreter is part of another program. */
static bool is_pythons(const struct rqs_mapping *mapping, void *found)
{
	*(bool *)found |= mapping->path[0] == '/' && strstr(file_name(mapping->path), "python");
	return *(bool *)found;
}

void rqs_remote_functions(pid_t pid, int memory, struct rqs_remote_functions *functions)
{
	static const char *const names[] = {"sem_wait",
					    "sem_timedwait",
					    "sem_clockwait",
					    "pthread_join", /* WAITS_WITH_NOBODY */
					    "pthread_cond_wait",
					    "pthread_cond_timedwait",
					    "pthread_cond_clockwait", /* WAITS */
					    "malloc",
					    "calloc",
					    "realloc",
					    "free",
					    "memalign",
					    "posix_memalign",
					    "aligned_alloc", /* ALLOCATES */
					    "dlopen",
					    "dlclose",
					    NULL};
	struct search search = {memory, waits_or_allocates, {names, take_function, functions}, NULL, 0};

	bool python = false;

	rqs_each_mapping(pid, is_pythons, &python);
	functions->waits = python ? WAITS_WITH_NOBODY : WAITS;
	functions->count = 0;
	rqs_each_mapping(pid, search_object, &search);
}

static const struct rqs_remote_function *function_at(const struct rqs_remote_functions *functions, uint64_t address)
{
	for (unsigned i = 0; i < functions->count; i++)
		if (functions->all[i].start < address && address <= functions->all[i].end)
			return &functions->all[i];
	return NULL;
}

bool rqs_remote_is_in(const struct rqs_remote_functions *functions, uint64_t address, bool *waits)
{
	const struct rqs_remote_function *function = function_at(functions, address);

	if (function)
		*waits = function->waits;
	return function;
}

bool rqs_remote_is_in_allocator(const struct rqs_remote_functions *functions, uint64_t address)
{
	const struct rqs_remote_function *function = function_at(functions, address);

	return function && function->allocates;
}

/* ---- what is called ---- */

bool rqs_remote_libc(pid_t pid, int memory, struct rqs_remote_libc *libc_)
{
	static const char *const of_libc[] = {"__errno_location",     "dlopen", "dlerror", "__libc_dlopen_mode",
					      "gnu_get_libc_version", NULL};
	static const char *const of_libdl[] = {"dlopen", "dlerror", NULL};
	uint64_t found[NAMES], old[NAMES];

	if (!search_objects(pid, memory, is_libc, of_libc, found))
		return false;
	*libc_ = (struct rqs_remote_libc){
	    .errno_location = found[0], .dlopen_ = found[1], .dlerror_ = found[2], .musl = !found[4]};
	if (!libc_->dlopen_ && search_objects(pid, memory, is_libdl, of_libdl, old)) {
		libc_->dlopen_ = old[0];
		libc_->dlerror_ = old[1];
	}
	if (!libc_->dlopen_) {
		libc_->dlopen_ = found[3];
		libc_->by_libc = true;
	}
	return libc_->dlopen_ != 0;
}

/* ---- instructions ---- */

struct instructions {
	int memory;
	struct rqs_remote_ways *ways;
	unsigned looked; /* at so many mappings */
};

static uint64_t find_bytes(const uint8_t *text, size_t size, uint64_t at, const char *bytes, size_t count)
{
	const uint8_t *found = memmem(text, size, bytes, count);

	return found ? at + (uint64_t)(found - text) : 0;
}

static bool search_code(const struct rqs_mapping *mapping, void *context)
{
	struct instructions *search = context;
	struct rqs_remote_ways *ways = search->ways;
	size_t size = mapping->end - mapping->start;

	if (!mapping->executable || !is_libc(file_name(mapping->path)) || size > TABLE_LIMIT)
		return false;
	uint8_t *text = malloc(size);
	if (text && pread(search->memory, text, size, (off_t)mapping->start) == (ssize_t)size) {
		if (!ways->syscall_return)
			ways->syscall_return = find_bytes(text, size, mapping->start, "\x0f\x05\xc3", 3);
		if (!ways->restorer)
			ways->restorer = find_bytes(text, size, mapping->start, "\x48\xc7\xc0\x0f\0\0\0\x0f\x05", 9);
		if (!ways->restorer)
			ways->restorer = find_bytes(text, size, mapping->start, "\xb8\x0f\0\0\0\x0f\x05", 7);
	}
	free(text);
	return ++search->looked == OBJECT_LIMIT || (ways->syscall_return && ways->restorer);
}

bool rqs_remote_ways(pid_t pid, int memory, struct rqs_remote_ways *ways)
{
	struct instructions search = {memory, ways, 0};

	*ways = (struct rqs_remote_ways){0, 0};
	rqs_each_mapping(pid, search_code, &search);
	return ways->syscall_return && ways->restorer;
}

bool rqs_remote_library(pid_t pid, int memory, struct rqs_remote_library *library)
{
	static const char *const wanted[] = {RQS_ATTACH_SYMBOL, RQS_DETACH_SYMBOL, RQS_RELEASE_SYMBOL, RQS_PROBE_SYMBOL,
					     NULL};
	uint64_t found[NAMES];

	if (!search_objects(pid, memory, is_ours, wanted, found))
		return false;
	*library = (struct rqs_remote_library){found[0], found[1], found[2], found[3]};
	return found[1] && found[2] && found[3];
}
