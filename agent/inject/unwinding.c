/* unwinding.c - see unwinding.h. Libunwind does it, by accessors of our own. */
#include "inject/unwinding.h"

#include "inject/mappings.h"
#include "inject/remote_symbols.h"
#include "inject/room.h"
#include "unwind/remote.h"

#include <elf.h>
#include <errno.h>
#include <libunwind.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define PAGE 4096u
#define PAGES 1024u  /* that are kept */
#define FRAMES 4096u /* a stack that is deeper is taken for one that doesn't end */
#define HEADERS 32u
#define READS (4u << 20) /* of words, by one unwinding: tables may be made so that they never end */

struct page {
	uint64_t at;   /* 1 added: 0 is an empty place */
	uint32_t read; /* when */
	uint8_t bytes[PAGE];
};

/* A file's, or the kernel's own, from its first mapping on. */
struct object {
	uint64_t start, end, inode;
	bool loader, knows_eintr, seen;
	struct rqs_remote_table table; /* .eh_frame_hdr, once it was looked for; base 0: none */
};

struct span {
	uint64_t start, end;
	bool writable, executable;
	uint32_t object; /* 1 added; 0 none */
};

struct rqs_unwinder {
	pid_t pid;
	int memory;
	unw_addr_space_t space;
	struct page *pages;
	uint32_t now; /* pages that can be written to are read anew after each stop */
	struct span *spans;
	size_t count, room;
	struct object *objects;
	size_t object_count, object_room;
	const struct user_regs_struct *registers;
	uint32_t reads_left;
};

/* ---- what is mapped ---- */

static bool knows_eintr(const char *path)
{
	static const char *const names[] = {"/node",    "/python3", "/libpython3", "/select.cpython-",
					    "/uvloop/", "/libuv."};

	for (size_t i = 0; i < sizeof(names) / sizeof(*names); i++)
		if (strstr(path, names[i]))
			return true;
	return false;
}

static uint32_t note_object(struct rqs_unwinder *u, const struct rqs_mapping *mapping)
{
	struct object *last = u->object_count ? &u->objects[u->object_count - 1] : NULL;
	bool kernels = !strcmp(mapping->path, "[vdso]");

	if (!mapping->inode && !kernels)
		return 0;
	if (mapping->inode && last && last->inode == mapping->inode && mapping->offset) {
		last->end = mapping->end;
		return (uint32_t)u->object_count;
	}
	if (mapping->offset ||
	    !rqs_make_room((void **)&u->objects, &u->object_room, u->object_count, sizeof(*u->objects)))
		return 0;
	u->objects[u->object_count++] = (struct object){.start = mapping->start,
							.end = mapping->end,
							.inode = mapping->inode,
							.loader = rqs_is_loader(mapping->path),
							.knows_eintr = knows_eintr(mapping->path)};
	return (uint32_t)u->object_count;
}

static bool note_span(const struct rqs_mapping *mapping, void *context)
{
	struct rqs_unwinder *u = context;

	if (!rqs_make_room((void **)&u->spans, &u->room, u->count, sizeof(*u->spans)))
		return true;
	u->spans[u->count] = (struct span){mapping->start, mapping->end, mapping->writable || !mapping->inode,
					   mapping->executable, note_object(u, mapping)};
	u->count++;
	return false;
}

/* Tables that were read stay good for as long as the same files lie at the same places. */
static bool keep_tables(struct rqs_unwinder *u, const struct object *old, size_t old_count)
{
	if (u->object_count != old_count)
		return false;
	for (size_t i = 0; i < old_count; i++)
		if (u->objects[i].start != old[i].start || u->objects[i].inode != old[i].inode)
			return false;
	for (size_t i = 0; i < old_count; i++) {
		u->objects[i].seen = old[i].seen;
		u->objects[i].table = old[i].table;
	}
	return true;
}

bool rqs_unwinder_look(struct rqs_unwinder *u)
{
	struct object *old = u->objects;
	size_t old_count = u->object_count;

	u->count = u->object_count = u->object_room = 0;
	u->objects = NULL;
	u->now++;
	bool failed = rqs_each_mapping(u->pid, note_span, u);
	if (!keep_tables(u, old, old_count)) {
		unw_flush_cache(u->space, 0, 0);
		for (size_t i = 0; i < PAGES; i++)
			u->pages[i].at = 0;
	}
	free(old);
	return !failed && u->count;
}

static const struct span *span_of(const struct rqs_unwinder *u, uint64_t address)
{
	size_t low = 0, high = u->count;

	while (low < high) {
		size_t middle = (low + high) / 2;

		if (u->spans[middle].end <= address)
			low = middle + 1;
		else
			high = middle;
	}
	return low < u->count && u->spans[low].start <= address ? &u->spans[low] : NULL;
}

uint64_t rqs_unwinder_end(const struct rqs_unwinder *u, uint64_t address)
{
	const struct span *span = span_of(u, address);

	return span ? span->end : 0;
}

static const struct object *object_of(const struct rqs_unwinder *u, uint64_t address)
{
	const struct span *span = span_of(u, address);

	return span && span->executable && span->object ? &u->objects[span->object - 1] : NULL;
}

bool rqs_unwinder_is_code(const struct rqs_unwinder *u, uint64_t address)
{
	const struct span *span = span_of(u, address);

	return span && span->executable;
}

bool rqs_unwinder_knows_eintr(const struct rqs_unwinder *u, uint64_t address)
{
	const struct object *object = object_of(u, address);

	return object && object->knows_eintr;
}

bool rqs_unwinder_in_loader(const struct rqs_unwinder *u, uint64_t address)
{
	const struct object *object = object_of(u, address);

	return object && object->loader;
}

/* ---- memory ---- */

static const struct page *page_of(struct rqs_unwinder *u, uint64_t address)
{
	const struct span *span = span_of(u, address);
	uint64_t at = address & ~(uint64_t)(PAGE - 1);
	struct page *page = &u->pages[at / PAGE % PAGES];

	if (page->at == at + 1 && (page->read == u->now || (span && !span->writable)))
		return page;
	page->at = 0;
	if (pread(u->memory, page->bytes, PAGE, (off_t)at) != PAGE)
		return NULL;
	page->at = at + 1;
	page->read = u->now;
	return page;
}

uint64_t rqs_unwinder_read(struct rqs_unwinder *u, uint64_t address, void *bytes, uint64_t size)
{
	uint64_t done = 0;

	while (done < size) {
		const struct page *page = page_of(u, address + done);
		uint64_t skip = (address + done) % PAGE, n = PAGE - skip < size - done ? PAGE - skip : size - done;

		if (!page)
			break;
		memcpy((char *)bytes + done, page->bytes + skip, n);
		done += n;
	}
	return done;
}

static bool read_all(void *unwinder, uint64_t address, void *bytes, uint64_t size)
{
	return rqs_unwinder_read(unwinder, address, bytes, size) == size;
}

/* ---- tables ---- */

static void find_table(struct rqs_unwinder *u, struct object *object)
{
	Elf64_Ehdr head;
	Elf64_Phdr headers[HEADERS];
	uint64_t first = UINT64_MAX, table = 0;

	object->seen = true;
	if (!read_all(u, object->start, &head, sizeof(head)) || memcmp(head.e_ident, ELFMAG, SELFMAG) ||
	    head.e_ident[EI_CLASS] != ELFCLASS64 || head.e_phnum > HEADERS ||
	    !read_all(u, object->start + head.e_phoff, headers, head.e_phnum * sizeof(*headers)))
		return;
	for (unsigned i = 0; i < head.e_phnum; i++) {
		if (headers[i].p_type == PT_LOAD && headers[i].p_vaddr < first)
			first = headers[i].p_vaddr & ~(uint64_t)(PAGE - 1);
		if (headers[i].p_type == PT_GNU_EH_FRAME)
			table = headers[i].p_vaddr;
	}
	if (table)
		rqs_remote_table_read(&object->table, object->start - first + table, read_all, u);
}

static int find_proc_info(unw_addr_space_t space, unw_word_t address, unw_proc_info_t *about, int whole, void *context)
{
	struct rqs_unwinder *u = context;
	const struct span *span = span_of(u, address);
	struct object *object = span && span->object ? &u->objects[span->object - 1] : NULL;

	if (object && !object->seen)
		find_table(u, object);
	if (!object || !object->table.base)
		return -UNW_ENOINFO;
	return rqs_remote_search(&object->table, space, address, about, whole, context);
}

/* ---- memory and registers, for libunwind ---- */

static int access_memory(unw_addr_space_t space, unw_word_t address, unw_word_t *value, int write, void *context)
{
	struct rqs_unwinder *u = context;

	(void)space;
	if (write || !u->reads_left)
		return -UNW_EINVAL;
	u->reads_left--;
	return read_all(u, address, value, sizeof(*value)) ? 0 : -UNW_EINVAL;
}

static int access_register(unw_addr_space_t space, unw_regnum_t number, unw_word_t *value, int write, void *context)
{
	const struct user_regs_struct *r = ((struct rqs_unwinder *)context)->registers;
	const unsigned long long all[] = {r->rax, r->rdx, r->rcx, r->rbx, r->rsi, r->rdi, r->rbp, r->rsp, r->r8,
					  r->r9,  r->r10, r->r11, r->r12, r->r13, r->r14, r->r15, r->rip};

	(void)space;
	if (write || number < UNW_X86_64_RAX || number > UNW_X86_64_RIP)
		return -UNW_EBADREG;
	*value = all[number - UNW_X86_64_RAX];
	return 0;
}

struct rqs_unwinder *rqs_unwinder_new(pid_t pid, int memory)
{
	struct rqs_unwinder *u = calloc(1, sizeof(*u));

	if (!u)
		return NULL;
	*u = (struct rqs_unwinder){.pid = pid, .memory = memory, .pages = calloc(PAGES, sizeof(*u->pages))};
	u->space = rqs_remote_space(find_proc_info, access_memory, access_register);
	if (!u->pages || !u->space) {
		rqs_unwinder_free(u);
		return NULL;
	}
	return u;
}

void rqs_unwinder_free(struct rqs_unwinder *u)
{
	if (!u)
		return;
	if (u->space)
		unw_destroy_addr_space(u->space);
	free(u->pages);
	free(u->spans);
	free(u->objects);
	free(u);
}

/* ---- unwinding ---- */

/* Libunwind goes on by guesses where it knows nothing of a function: that is told by its size. */
static bool is_guessed(unw_cursor_t *cursor)
{
	unw_proc_info_t about;

	return unw_get_proc_info(cursor, &about) || about.end_ip <= about.start_ip + 1;
}

enum rqs_unwound rqs_unwind(struct rqs_unwinder *u, const struct user_regs_struct *registers,
			    bool (*visit)(void *data, unsigned depth, uint64_t address), void *data)
{
	unw_cursor_t cursor;

	u->registers = registers;
	u->reads_left = READS;
	if (unw_init_remote(&cursor, u->space, u))
		return RQS_UNKNOWN;
	for (unsigned depth = 0; depth < FRAMES; depth++) {
		unw_word_t address = 0;

		unw_get_reg(&cursor, UNW_REG_IP, &address);
		if (unw_is_signal_frame(&cursor) > 0)
			return RQS_IN_SIGNAL_HANDLER;
		if (!visit(data, depth, address))
			return RQS_ENDED;
		if (is_guessed(&cursor))
			return RQS_UNKNOWN;
		int more = unw_step(&cursor);
		if (more <= 0)
			return more ? RQS_UNKNOWN : RQS_UNWOUND;
	}
	return RQS_UNKNOWN;
}
