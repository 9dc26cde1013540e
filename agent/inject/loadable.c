/* loadable.c - see loadable.h. */
#include "inject/loadable.h"

#include "go/setup.h"
#include "inject/dynsym.h"

#include <elf.h>
#include <errno.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

/* payload_image.S */
extern const uint8_t rqs_payload_start[], rqs_payload_end[];

static size_t payload_size(void)
{
	return (size_t)((uintptr_t)rqs_payload_end - (uintptr_t)rqs_payload_start);
}

/* The n-th program header; false beyond the last. */
static bool read_header(unsigned n, Elf64_Phdr *header)
{
	Elf64_Ehdr head;

	memcpy(&head, rqs_payload_start, sizeof(head));
	if (n >= head.e_phnum)
		return false;
	memcpy(header, rqs_payload_start + head.e_phoff + n * sizeof(*header), sizeof(*header));
	return true;
}

static int protection_of(const Elf64_Phdr *header)
{
	return (header->p_flags & PF_R ? PROT_READ : 0) | (header->p_flags & PF_W ? PROT_WRITE : 0) |
	       (header->p_flags & PF_X ? PROT_EXEC : 0);
}

static bool add_segment(struct rqs_loadable *payload, const Elf64_Phdr *header)
{
	uint64_t page = header->p_vaddr & ~(uint64_t)(RQS_PAGE - 1), lead = header->p_vaddr - page;
	int protection = protection_of(header);

	if (payload->segment_count == RQS_LOADABLE_SEGMENTS || page < payload->size ||
	    header->p_offset + header->p_filesz > payload_size() ||
	    ((protection & PROT_WRITE) && (protection & PROT_EXEC)))
		return false;
	payload->segments[payload->segment_count].offset = page;
	payload->segments[payload->segment_count].filled = lead + header->p_filesz;
	payload->segments[payload->segment_count].size = rqs_page_up(lead + header->p_memsz);
	payload->segments[payload->segment_count].protection = protection;
	payload->size = page + rqs_page_up(lead + header->p_memsz);
	payload->segment_count++;
	return true;
}

static bool find_symbols(struct rqs_loadable *payload)
{
	payload->entries = rqs_dynsym(rqs_payload_start, payload_size(), "rqs_go_entries");
	payload->setup = rqs_dynsym(rqs_payload_start, payload_size(), "rqs_go_setup");
	payload->begin = rqs_dynsym(rqs_payload_start, payload_size(), "rqs_go_begin");
	payload->began = rqs_dynsym(rqs_payload_start, payload_size(), "rqs_go_began");
	payload->end = rqs_dynsym(rqs_payload_start, payload_size(), "rqs_go_end");
	payload->leave = rqs_dynsym(rqs_payload_start, payload_size(), "rqs_go_leave");
	payload->stack_end = rqs_dynsym(rqs_payload_start, payload_size(), "rqs_go_stack") + RQS_GO_STACK;
	return payload->entries && payload->setup && payload->begin && payload->began && payload->end &&
	       payload->leave && payload->stack_end > RQS_GO_STACK &&
	       payload->entries + RQS_SITE_KINDS * sizeof(uint64_t) <= payload->size &&
	       payload->setup + sizeof(struct rqs_go_setup) <= payload->size;
}

int rqs_loadable_make(struct rqs_loadable *payload)
{
	Elf64_Phdr header;

	memset(payload, 0, sizeof(*payload));
	for (unsigned n = 0; read_header(n, &header); n++)
		if (header.p_type == PT_LOAD && !add_segment(payload, &header))
			return -ENOEXEC;
	if (!find_symbols(payload))
		return -ENOEXEC;
	payload->bytes = calloc(1, payload->size);
	if (!payload->bytes)
		return -ENOMEM;
	for (unsigned n = 0; read_header(n, &header); n++)
		if (header.p_type == PT_LOAD)
			memcpy(payload->bytes + header.p_vaddr, rqs_payload_start + header.p_offset, header.p_filesz);
	return 0;
}

void rqs_loadable_free(struct rqs_loadable *payload)
{
	free(payload->bytes);
	payload->bytes = NULL;
}

/* Where the dynamic section says that the relocations are. */
static void find_relocations(const struct rqs_loadable *payload, uint64_t *at, uint64_t *size)
{
	Elf64_Phdr header;
	Elf64_Dyn entry;

	*at = *size = 0;
	for (unsigned n = 0; read_header(n, &header); n++) {
		if (header.p_type != PT_DYNAMIC)
			continue;
		for (uint64_t i = 0; i + sizeof(entry) <= header.p_filesz; i += sizeof(entry)) {
			memcpy(&entry, payload->bytes + header.p_vaddr + i, sizeof(entry));
			if (entry.d_tag == DT_RELA)
				*at = entry.d_un.d_ptr;
			if (entry.d_tag == DT_RELASZ)
				*size = entry.d_un.d_val;
		}
	}
}

void rqs_loadable_relocate(struct rqs_loadable *payload, uint64_t base)
{
	uint64_t at, size;
	Elf64_Rela relocation;

	find_relocations(payload, &at, &size);
	for (uint64_t i = 0; i + sizeof(relocation) <= size; i += sizeof(relocation)) {
		memcpy(&relocation, payload->bytes + at + i, sizeof(relocation));
		if (ELF64_R_TYPE(relocation.r_info) != R_X86_64_RELATIVE)
			continue;
		uint64_t value = base + (uint64_t)relocation.r_addend;
		memcpy(payload->bytes + relocation.r_offset, &value, sizeof(value));
	}
}
