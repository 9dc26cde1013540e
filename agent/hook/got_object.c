/*
 * got_object.c - see got_object.h. Formats: the System V ABI's x86-64
 * supplement, "Relocation Types"; what is read-only after relocation as
 * glibc's elf/dl-reloc.c has it.
 */
#include "hook/got_object.h"

#include "core/core_deps.h"
#include "hook/got_table.h"
#include "hook/objects.h"
#include "os/sys.h"

#include <elf.h>
#include <errno.h>
#include <linux/futex.h>
#include <string.h>
#include <sys/mman.h>

#define PAGE 4096u

/* ---- what it is ---- */

struct rqs_got_object rqs_got_object(const struct dl_phdr_info *info)
{
	struct rqs_got_object object = { .info = info };

	for (int i = 0; i < info->dlpi_phnum; i++) {
		uint64_t start = info->dlpi_addr + info->dlpi_phdr[i].p_vaddr;

		if (info->dlpi_phdr[i].p_type == PT_GNU_RELRO) {
			object.sealed = start & ~(uint64_t)(PAGE - 1);
			object.sealed_end = (start + info->dlpi_phdr[i].p_memsz) & ~(uint64_t)(PAGE - 1);
		}
	}
	return object;
}

struct rqs_got_object rqs_got_object_around(const char *const *slot)
{
	uint64_t page = (uint64_t)slot & ~(uint64_t)(PAGE - 1);

	return (struct rqs_got_object){ .sealed = page, .sealed_end = page + PAGE };
}

/* Is that address in a part of the object with those rights? */
static bool has(const struct rqs_got_object *object, uint64_t address, uint32_t rights)
{
	for (int i = 0; i < object->info->dlpi_phnum; i++) {
		const Elf64_Phdr *part = &object->info->dlpi_phdr[i];

		if (part->p_type == PT_LOAD && (part->p_flags & rights) &&
		    address - object->info->dlpi_addr - part->p_vaddr < part->p_memsz)
			return true;
	}
	return false;
}

bool rqs_got_object_has(const struct rqs_got_object *object, const char *const *slot)
{
	return has(object, (uint64_t)slot, PF_W);
}

/*
 * The linker's last act on an object is to seal those pages; who did that for
 * it would make its next write fail. Tried by a futex call that wakes nobody
 * and adds nothing: an atomic write, refused where there is no right to one.
 * True also where there is nothing to seal.
 */
bool rqs_got_object_is_ready(const struct rqs_got_object *object)
{
	uint32_t nothing = 0, no_change = (uint32_t)FUTEX_OP(FUTEX_OP_OR, 0, FUTEX_OP_CMP_EQ, 0);

	return object->sealed >= object->sealed_end ||
	       rqs_sys6(SYS_futex, &nothing, FUTEX_WAKE_OP_PRIVATE, 0, 0, object->sealed, no_change) == -EFAULT;
}

/* ---- changing a slot ---- */

static bool protect(const struct rqs_got_object *object, int rights)
{
	return rqs_sys3(SYS_mprotect, object->sealed, object->sealed_end - object->sealed, rights) == 0;
}

static bool write_slot(struct rqs_got_object *object, const char **slot, const char *value)
{
	uint64_t at = (uint64_t)slot;

	if (at >= object->sealed && at < object->sealed_end && !object->open)
		object->open = protect(object, PROT_READ | PROT_WRITE);
	if (at >= object->sealed && at < object->sealed_end && !object->open)
		return false;
	rqs_store(slot, value);
	return true;
}

void rqs_got_object_seal(struct rqs_got_object *object)
{
	if (object->open)
		protect(object, PROT_READ);
	object->open = false;
}

/* An older object's code, of one that was here before, is none to lead to. */
static const char *original_of(const struct rqs_got_object *object, const struct rqs_got_record *record)
{
	const char *real = rqs_got_target(record->target)->real;

	return object->info && !has(object, (uint64_t)record->original, PF_X) ? real : record->original;
}

void rqs_got_object_restore(struct rqs_got_object *object, uint32_t number)
{
	const struct rqs_got_record *record = rqs_got_record(number);

	if (rqs_load_relaxed(record->slot) == rqs_got_target(record->target)->ours)
		write_slot(object, record->slot, original_of(object, record));
}

/* ---- finding slots ---- */

/* Symbols whose names were looked at: a symbol is referred to by many relocations. */
#define NAMED 8192u
enum { NOT_LOOKED_AT = 0, NOT_HOOKED = 255 };

struct tables {
	const Elf64_Sym *symbols;
	const char *strings;
	const Elf64_Rela *jumps, *others;
	size_t jump_count, other_count;
	size_t relative; /* that many of the others refer to no symbol, and come first */
	uint8_t targets[NAMED];
};

/* Not on the stack, which is the host's. */
static struct tables the_tables;

static bool read_tables(const struct dl_phdr_info *info, struct tables *tables)
{
	const ElfW(Dyn) *entry = rqs_objects_dynamic(info);

	memset(tables, 0, sizeof(*tables));
	for (; entry && entry->d_tag != DT_NULL; entry++) {
		uint64_t value = entry->d_un.d_val;

		if (entry->d_tag == DT_SYMTAB)
			tables->symbols = rqs_objects_pointer(info, value);
		else if (entry->d_tag == DT_STRTAB)
			tables->strings = rqs_objects_pointer(info, value);
		else if (entry->d_tag == DT_JMPREL)
			tables->jumps = rqs_objects_pointer(info, value);
		else if (entry->d_tag == DT_PLTRELSZ)
			tables->jump_count = value / sizeof(Elf64_Rela);
		else if (entry->d_tag == DT_RELA)
			tables->others = rqs_objects_pointer(info, value);
		else if (entry->d_tag == DT_RELASZ)
			tables->other_count = value / sizeof(Elf64_Rela);
		else if (entry->d_tag == DT_RELACOUNT)
			tables->relative = value;
	}
	return tables->symbols && tables->strings;
}

/* 0: none of ours. */
static uint32_t target_of(struct tables *tables, uint32_t symbol)
{
	uint8_t *known = &tables->targets[symbol % NAMED];

	if (symbol < NAMED && *known != NOT_LOOKED_AT)
		return *known == NOT_HOOKED ? 0 : *known;
	uint32_t number = rqs_got_target_number(tables->strings + tables->symbols[symbol].st_name);
	if (symbol < NAMED)
		*known = number ? (uint8_t)number : NOT_HOOKED;
	return number;
}

static bool is_slot(const Elf64_Rela *relocation)
{
	unsigned type = ELF64_R_TYPE(relocation->r_info);

	return type == R_X86_64_JUMP_SLOT || type == R_X86_64_GLOB_DAT ||
	       (type == R_X86_64_64 && !relocation->r_addend);
}

/* ---- hooking ---- */

/*
 * Would the linker choose the one that we call? Where there are several it may
 * do otherwise for some objects (RTLD_DEEPBIND), and what allocates must be of
 * the same kind as free, which isn't hooked. Asked once for each name, until
 * objects come.
 */
static bool is_certain(const struct rqs_got_object *object, uint32_t number)
{
	static struct {
		uint64_t adds;
		bool is;
	} known[256];
	if (known[number].adds != object->info->dlpi_adds) {
		known[number].is = rqs_objects_is_single(rqs_got_target(number)->name);
		known[number].adds = object->info->dlpi_adds;
	}
	return known[number].is;
}

/* Not resolved yet, it leads to the object's own code that asks the linker. */
static bool is_waiting(const struct rqs_got_object *object, const struct tables *tables, const Elf64_Rela *relocation,
		       const char *value)
{
	return ELF64_R_TYPE(relocation->r_info) == R_X86_64_JUMP_SLOT &&
	       tables->symbols[ELF64_R_SYM(relocation->r_info)].st_shndx == SHN_UNDEF &&
	       has(object, (uint64_t)value, PF_X);
}

static void hook_slot(struct rqs_got_object *object, const struct tables *tables, const Elf64_Rela *relocation,
		      uint32_t number, uint32_t *newest)
{
	const char **slot = (const char **)(object->info->dlpi_addr + relocation->r_offset);
	const struct rqs_got_target *target = rqs_got_target(number);

	if ((uint64_t)slot % 8 || !rqs_got_object_has(object, slot))
		return;
	const char *value = rqs_load_relaxed(slot);
	if (value != target->real && !(is_waiting(object, tables, relocation, value) && is_certain(object, number)))
		return;
	/* First: whoever forks meanwhile has it in the child. */
	struct rqs_got_record record = { slot, value, number, *newest };
	uint32_t recorded = rqs_got_record_add(&record);
	if (!recorded)
		return;
	*newest = recorded;
	if (!write_slot(object, slot, target->ours))
		*newest = record.older;
}

static void hook_all(struct rqs_got_object *object, struct tables *tables, const Elf64_Rela *relocations, size_t count,
		     uint32_t *newest)
{
	for (const Elf64_Rela *r = relocations; r && r < relocations + count; r++) {
		uint32_t number = is_slot(r) ? target_of(tables, ELF64_R_SYM(r->r_info)) : 0;

		if (number)
			hook_slot(object, tables, r, number, newest);
	}
}

void rqs_got_object_hook(struct rqs_got_object *object, uint32_t *newest)
{
	struct tables *tables = &the_tables;

	if (!read_tables(object->info, tables))
		return;
	hook_all(object, tables, tables->jumps, tables->jump_count, newest);
	if (tables->others && tables->relative < tables->other_count)
		hook_all(object, tables, tables->others + tables->relative, tables->other_count - tables->relative,
			 newest);
	rqs_got_object_seal(object);
}
