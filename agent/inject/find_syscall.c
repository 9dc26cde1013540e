/*
 * find_syscall.c - the function through which Go makes its system calls: its
 * entry, and the instruction behind SYSCALL.
 */
#include "inject/search.h"
#include "inject/walk.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

#define REGISTERS 16

/* Since Go 1.19, under the names that it had. */
static const char *const names[] = {
    "internal/runtime/syscall/linux.Syscall6",
    "internal/runtime/syscall.Syscall6",
    "runtime/internal/syscall.Syscall6",
};

/* cmp $-4095,%rax: the kernel's errors are the last 4095 numbers. */
static const uint8_t check_of_result[] = {0x48, 0x3d, 0x01, 0xf0, 0xff, 0xff};

/* Number of a whole general register; -1 for any other operand. */
static int number(const ZydisDecodedOperand *operand)
{
	if (operand->type != ZYDIS_OPERAND_TYPE_REGISTER || operand->reg.value < ZYDIS_REGISTER_RAX ||
	    operand->reg.value > ZYDIS_REGISTER_R15)
		return -1;
	return operand->reg.value - ZYDIS_REGISTER_RAX;
}

/* RSP must not move, and R12 and R13 are the hooks'. */
static bool untouchable(int reg)
{
	return reg < 0 || reg == ZYDIS_REGISTER_RSP - ZYDIS_REGISTER_RAX ||
	       reg == ZYDIS_REGISTER_R12 - ZYDIS_REGISTER_RAX || reg == ZYDIS_REGISTER_R13 - ZYDIS_REGISTER_RAX;
}

/* Whether the kernel is given Go's arguments: holds[] says whose value at the entry each register has now. */
static bool arguments_fit(const int holds[REGISTERS])
{
	static const ZydisRegister kernel[] = {ZYDIS_REGISTER_RAX, ZYDIS_REGISTER_RDI, ZYDIS_REGISTER_RSI,
					       ZYDIS_REGISTER_RDX, ZYDIS_REGISTER_R10, ZYDIS_REGISTER_R8,
					       ZYDIS_REGISTER_R9};
	static const ZydisRegister go[] = {ZYDIS_REGISTER_RAX, ZYDIS_REGISTER_RBX, ZYDIS_REGISTER_RCX,
					   ZYDIS_REGISTER_RDI, ZYDIS_REGISTER_RSI, ZYDIS_REGISTER_R8,
					   ZYDIS_REGISTER_R9};

	for (size_t i = 0; i < sizeof(go) / sizeof(*go); i++)
		if (holds[kernel[i] - ZYDIS_REGISTER_RAX] != (int)(go[i] - ZYDIS_REGISTER_RAX))
			return false;
	return true;
}

/* The address of SYSCALL, where all before it moves the arguments to the kernel's registers; 0 otherwise. */
static uint64_t syscall_of(const struct rqs_go_function *function)
{
	struct rqs_walk walk = rqs_walk(function);
	int holds[REGISTERS];

	for (int i = 0; i < REGISTERS; i++)
		holds[i] = i;
	while (rqs_walk_on(&walk)) {
		const struct rqs_instruction *step = &walk.step;
		int to = number(&step->operands[0]), from = number(&step->operands[1]);

		if (step->info.mnemonic == ZYDIS_MNEMONIC_SYSCALL)
			return arguments_fit(holds) ? step->address : 0;
		if (step->info.mnemonic != ZYDIS_MNEMONIC_MOV || untouchable(to) || untouchable(from))
			return 0;
		holds[to] = holds[from];
	}
	return 0;
}

/* Two sites in one function. */
static bool describe(const struct rqs_go_function *function, struct rqs_site sites[2])
{
	uint64_t call = syscall_of(function), done = call + 2;

	return call && done + sizeof(check_of_result) <= function->end &&
	       !memcmp(function->code + (done - function->start), check_of_result, sizeof(check_of_result)) &&
	       rqs_site_describe(&sites[0], RQS_SITE_SYSCALL, function, function->start, 0) &&
	       function->start + sites[0].length <= call &&
	       rqs_site_describe(&sites[1], RQS_SITE_SYSCALL_DONE, function, done, 0);
}

int rqs_find_syscall(struct rqs_search *search)
{
	struct rqs_plan *plan = search->plan;
	struct rqs_site sites[2], others[2];
	const struct rqs_go_function *function, *end = search->functions + search->function_count;
	int named = 0, found = 0;

	/* Wrappers for assembly callers bear the same name; they end in the function itself. */
	for (function = search->functions; function < end; function++)
		for (size_t i = 0; i < sizeof(names) / sizeof(*names); i++)
			if (!strcmp(function->name, names[i])) {
				named++;
				found += describe(function, found ? others : sites);
			}
	if (!named)
		RQS_SAY(plan->why_not,
			"it has no Syscall6 function (its names were changed, or it is older than Go 1.18)");
	else if (found != 1)
		RQS_SAY(plan->why_not, "its Syscall6 function isn't as expected (that of Go before 1.19 isn't)");
	if (plan->why_not[0])
		return 0;
	plan->syscall_instruction = sites[1].address - 2;
	return rqs_sites_add(plan, sites, 2) ? 0 : -ENOMEM;
}
