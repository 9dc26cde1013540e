/* search.c - finds functions by name and checks what may be displaced. */
#include "inject/search.h"
#include "inject/instruction.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define PATCH 5u /* bytes of a jump */

static const char *const wanted[] = {
    "internal/runtime/syscall/linux.Syscall6",
    "internal/runtime/syscall.Syscall6",
    "runtime/internal/syscall.Syscall6",
    "runtime.casgstatus",
    "runtime.casGToPreemptScan",
    "runtime.execute",
    "runtime.ready",
    "runtime.park_m",
    "runtime.newproc1",
    "runtime.gcMarkTermination",
    "runtime.(*gcControllerState).heapGoalInternal",
    "runtime.(*gcControllerState).revise",
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

static bool decode_at(const struct rqs_go_function *function, uint64_t address, struct rqs_instruction *instruction)
{
	uint64_t at = address - function->start;

	return address >= function->start && address < function->end &&
	       rqs_instruction_decode(instruction, function->code + at, function->end - address, address);
}

/* `cmp 0x10(%r14),%rsp`, or for larger frames `lea -x(%rsp),%r12; cmp 0x10(%r14),%r12`; then `jbe`. */
unsigned rqs_stack_check(const struct rqs_go_function *function)
{
	struct rqs_instruction step;
	uint64_t at = function->start;
	ZydisRegister checked = ZYDIS_REGISTER_RSP;

	if (!decode_at(function, at, &step))
		return 0;
	if (step.info.mnemonic == ZYDIS_MNEMONIC_LEA &&
	    rqs_operand_is_register(&step.operands[0], ZYDIS_REGISTER_R12) &&
	    step.operands[1].mem.base == ZYDIS_REGISTER_RSP && step.operands[1].mem.index == ZYDIS_REGISTER_NONE) {
		checked = ZYDIS_REGISTER_R12;
		at += step.info.length;
		if (!decode_at(function, at, &step))
			return 0;
	}
	if (step.info.mnemonic != ZYDIS_MNEMONIC_CMP || !rqs_operand_is_register(&step.operands[0], checked) ||
	    !rqs_operand_is_memory(&step.operands[1], ZYDIS_REGISTER_R14, 0x10))
		return 0;
	at += step.info.length;
	if (!decode_at(function, at, &step) || step.info.mnemonic != ZYDIS_MNEMONIC_JBE ||
	    rqs_instruction_target(&step) <= step.address || rqs_instruction_target(&step) >= function->end)
		return 0;
	return (unsigned)(at + step.info.length - function->start);
}

/* Whether a jump of the function goes to an address between from and to, both left out. */
static bool jumps_between(const struct rqs_go_function *function, uint64_t from, uint64_t to)
{
	struct rqs_instruction step;

	for (uint64_t at = function->start; at < function->end; at += step.info.length) {
		if (!decode_at(function, at, &step))
			return true;
		uint64_t target = rqs_instruction_is_jump(&step) ? rqs_instruction_target(&step) : 0;
		if (target > from && target < to)
			return true;
	}
	return false;
}

bool rqs_site_describe(struct rqs_site *site, enum rqs_site_kind kind, const struct rqs_go_function *function,
		       uint64_t address, unsigned before)
{
	struct rqs_instruction step;
	unsigned length = 0;

	while (length < before || length < PATCH) {
		if (!decode_at(function, address + length, &step) ||
		    (length >= before && (rqs_instruction_is_jump(&step) || step.info.mnemonic == ZYDIS_MNEMONIC_CALL)))
			return false;
		length += step.info.length;
	}
	if (length > RQS_SITE_CODE || jumps_between(function, address, address + length))
		return false;
	*site =
	    (struct rqs_site){.kind = kind, .length = (uint8_t)length, .before = (uint8_t)before, .address = address};
	memcpy(site->code, function->code + (address - function->start), length);
	snprintf(site->name, sizeof(site->name), "%s", function->name);
	return true;
}

bool rqs_site_at_entry(struct rqs_site *site, enum rqs_site_kind kind, const struct rqs_go_function *function)
{
	return rqs_site_describe(site, kind, function, function->start, rqs_stack_check(function));
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
