/* search.c - finds functions by name and checks what may be displaced. */
#include "inject/search.h"
#include "inject/walk.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define G_STACK_GUARD 0x10 /* of runtime.g */

static const char *const wanted[] = {
    "internal/runtime/syscall/linux.Syscall6",
    "internal/runtime/syscall.Syscall6",
    "runtime/internal/syscall.Syscall6",
    "syscall.Syscall",
    "syscall.Syscall6",
    "syscall.RawSyscall",
    "syscall.RawSyscall6",
    "plugin.open",
    "runtime.casgstatus",
    "runtime.casGToPreemptScan",
    "runtime.execute",
    "runtime.nanotime1",
    "runtime.newproc1",
    "runtime.newproc.func1",
    "runtime.gcMarkTermination",
    "runtime.(*gcControllerState).heapGoalInternal",
    "runtime.(*gcControllerState).revise",
    "runtime.allgadd",
    "runtime.gfget",
    "runtime.gfput",
    "runtime.gdestroy",
    "runtime.goexit0",
};

bool rqs_search_wants(const char *name)
{
	if (!strncmp(name, "runtime.mallocgc", 16))
		return true;
	for (size_t i = 0; i < sizeof(wanted) / sizeof(*wanted); i++)
		if (!strcmp(name, wanted[i]))
			return true;
	return false;
}

const struct rqs_go_function *rqs_search_function(const struct rqs_search *search, const char *name)
{
	const struct rqs_go_function *found = NULL;

	for (size_t i = 0; i < search->function_count; i++)
		if (!strcmp(search->functions[i].name, name)) {
			if (found)
				return NULL;
			found = &search->functions[i];
		}
	return found;
}

/* `cmp 0x10(%r14),%rsp`, or for larger frames `lea -x(%rsp),%r12; cmp 0x10(%r14),%r12`; then `jbe`. */
unsigned rqs_stack_check(const struct rqs_go_function *function)
{
	struct rqs_walk walk = rqs_walk(function);
	const struct rqs_instruction *step = &walk.step;
	ZydisRegister checked = ZYDIS_REGISTER_RSP;

	if (!rqs_walk_on(&walk))
		return 0;
	if (step->info.mnemonic == ZYDIS_MNEMONIC_LEA &&
	    rqs_operand_is_register(&step->operands[0], ZYDIS_REGISTER_R12) &&
	    step->operands[1].mem.base == ZYDIS_REGISTER_RSP && step->operands[1].mem.index == ZYDIS_REGISTER_NONE) {
		checked = ZYDIS_REGISTER_R12;
		if (!rqs_walk_on(&walk))
			return 0;
	}
	if (step->info.mnemonic != ZYDIS_MNEMONIC_CMP || !rqs_operand_is_register(&step->operands[0], checked) ||
	    !rqs_operand_is_memory(&step->operands[1], ZYDIS_REGISTER_R14, G_STACK_GUARD))
		return 0;
	if (!rqs_walk_on(&walk) || step->info.mnemonic != ZYDIS_MNEMONIC_JBE ||
	    rqs_instruction_target(step) <= step->address || rqs_instruction_target(step) >= function->end)
		return 0;
	return (unsigned)(walk.next - function->start);
}

/* Whether a jump of the function goes to an address between from and to, both left out, or may do so. */
static bool jumps_between(const struct rqs_go_function *function, uint64_t from, uint64_t to)
{
	struct rqs_walk walk = rqs_walk(function);

	while (rqs_walk_on(&walk)) {
		uint64_t target = rqs_instruction_is_jump(&walk.step) ? rqs_instruction_target(&walk.step) : 0;

		if (target > from && target < to)
			return true;
	}
	return walk.failed;
}

bool rqs_site_describe(struct rqs_site *site, enum rqs_site_kind kind, const struct rqs_go_function *function,
		       uint64_t address, unsigned before)
{
	struct rqs_walk walk = rqs_walk_from(function, address);
	unsigned length = 0;

	while (length < before || length < RQS_JUMP) {
		if (!rqs_walk_on(&walk) || (length >= before && (rqs_instruction_is_jump(&walk.step) ||
								 walk.step.info.mnemonic == ZYDIS_MNEMONIC_CALL)))
			return false;
		length += walk.step.info.length;
	}
	if (length > RQS_SITE_CODE || jumps_between(function, address, address + length))
		return false;
	*site =
	    (struct rqs_site){.kind = kind, .length = (uint8_t)length, .before = (uint8_t)before, .address = address};
	memcpy(site->code, function->code + (address - function->start), length);
	snprintf(site->name, sizeof(site->name), "%s", function->name);
	return true;
}

/* Bytes of the first instruction; 0 where a hook behind it wouldn't find all as at the start, but for the stack. */
static unsigned first_instruction(const struct rqs_go_function *function, unsigned check)
{
	struct rqs_walk walk = rqs_walk(function);

	if (!rqs_walk_on(&walk))
		return 0;
	bool makes_frame =
	    walk.step.info.mnemonic == ZYDIS_MNEMONIC_PUSH ||
	    (walk.step.info.mnemonic == ZYDIS_MNEMONIC_SUB &&
	     rqs_operand_is_register(&walk.step.operands[0], ZYDIS_REGISTER_RSP));
	return makes_frame || check ? walk.step.info.length : 0;
}

bool rqs_site_at_entry(struct rqs_site *site, enum rqs_site_kind kind, const struct rqs_go_function *function)
{
	unsigned check = rqs_stack_check(function), first = first_instruction(function, check);
	uint64_t second = function->start + first;

	if (first && !jumps_between(function, function->start, second + 1) &&
	    rqs_site_describe(site, kind, function, second, check ? check - first : 0))
		return true;
	return rqs_site_describe(site, kind, function, function->start, check);
}

bool rqs_sites_add(struct rqs_plan *plan, const struct rqs_site *sites, size_t count)
{
	struct rqs_site *more = realloc(plan->sites, (plan->site_count + count) * sizeof(*sites));

	if (!more)
		return false;
	memcpy(more + plan->site_count, sites, count * sizeof(*sites));
	plan->sites = more;
	plan->site_count += count;
	return true;
}

uint64_t rqs_checked_variable(const struct rqs_search *search, uint64_t address, uint64_t size)
{
	for (size_t i = 0; i < search->image.segment_count; i++) {
		const struct rqs_segment *segment = &search->image.segments[i];

		if (segment->writable && address >= segment->address && address % size == 0 &&
		    address - segment->address + size <= segment->size)
			return address;
	}
	return 0;
}
