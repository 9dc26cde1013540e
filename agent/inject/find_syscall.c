/*
 * find_syscall.c - the function through which Go makes its system calls: right
 * before SYSCALL, and right behind it. Before Go 1.19 there are four of them,
 * in assembly, which take their arguments on the stack
 * (syscall/asm_linux_amd64.s).
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

/* Before. rawVforkSyscall is a child's birth, and rawSyscallNoError asks for numbers of users and processes. */
static const char *const assembly_names[] = {
    "syscall.Syscall",
    "syscall.Syscall6",
    "syscall.RawSyscall",
    "syscall.RawSyscall6",
};
#define ASSEMBLY_NAMES (sizeof(assembly_names) / sizeof(assembly_names[0]))

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

/* The site behind the SYSCALL instruction at `call`. */
static bool describe_done(const struct rqs_go_function *function, uint64_t call, struct rqs_site *site)
{
	uint64_t done = call + 2;

	return done + sizeof(check_of_result) <= function->end &&
	       !memcmp(function->code + (done - function->start), check_of_result, sizeof(check_of_result)) &&
	       rqs_site_describe(site, RQS_SITE_SYSCALL_DONE, function, done, 0);
}

/* The site right before it: of the last instructions, not the function's first (rqs_site_at_entry()). */
static bool describe_loaded(const struct rqs_go_function *function, uint64_t call, struct rqs_site *site)
{
	struct rqs_walk walk = rqs_walk(function);
	uint64_t at = function->start;

	while (rqs_walk_on(&walk) && walk.step.address + RQS_JUMP <= call)
		at = walk.step.address;
	return at != function->start &&
	       rqs_site_describe(site, RQS_SITE_SYSCALL_LOADED, function, at, (unsigned)(call - at)) &&
	       at + site->length == call;
}

/* Two sites in one function, whose SYSCALL is at `call`, 0 none. */
static bool describe(const struct rqs_go_function *function, uint64_t call, struct rqs_site sites[2])
{
	return call && describe_loaded(function, call, &sites[0]) && describe_done(function, call, &sites[1]);
}

/* ---- before Go 1.19 ---- */

/* The kernel's registers, in the order of Go's arguments on the stack, the number first. */
static const ZydisRegister loaded[] = {ZYDIS_REGISTER_RAX, ZYDIS_REGISTER_RDI, ZYDIS_REGISTER_RSI, ZYDIS_REGISTER_RDX,
				       ZYDIS_REGISTER_R10, ZYDIS_REGISTER_R8,  ZYDIS_REGISTER_R9};
#define LOADED (sizeof(loaded) / sizeof(loaded[0]))

/* Which of these an instruction loads from the stack; -1: it is another. */
static int loads(const struct rqs_instruction *step)
{
	const ZydisDecodedOperand *from = &step->operands[1];

	if (step->info.mnemonic != ZYDIS_MNEMONIC_MOV || from->type != ZYDIS_OPERAND_TYPE_MEMORY ||
	    !rqs_operand_is_memory(from, ZYDIS_REGISTER_RSP, from->mem.disp.value))
		return -1;
	for (size_t i = 0; i < LOADED; i++)
		if (rqs_operand_is_register(&step->operands[0], loaded[i]))
			return (int)i;
	return -1;
}

/* Three arguments or six, side by side. */
static bool loads_fit(const int64_t at[LOADED])
{
	size_t count = at[4] || at[5] || at[6] ? LOADED : 4;

	for (size_t i = 0; i < count; i++)
		if (at[i] != at[0] + 8 * (int64_t)i)
			return false;
	return at[0] > 0;
}

/* The address of SYSCALL, right before which its number is loaded; 0 where the function is another. */
static uint64_t assembly_syscall_of(const struct rqs_go_function *function)
{
	struct rqs_walk walk = rqs_walk(function);
	const struct rqs_instruction *step = &walk.step;
	int64_t at[LOADED] = {0};
	int last = -1;

	while (rqs_walk_on(&walk)) {
		if (step->info.mnemonic == ZYDIS_MNEMONIC_SYSCALL)
			return last == 0 && loads_fit(at) ? step->address : 0;
		if (step->info.mnemonic == ZYDIS_MNEMONIC_CALL && step->address == function->start)
			continue; /* of runtime.entersyscall */
		last = loads(step);
		if (last < 0 || at[last])
			return 0;
		at[last] = step->operands[1].mem.disp.value;
	}
	return 0;
}

/* Sites in all of the four that are there; 0: one of them is another, or not the only one of its name. */
static size_t find_assembly(const struct rqs_search *search, struct rqs_site sites[2 * ASSEMBLY_NAMES])
{
	const struct rqs_go_function *end = search->functions + search->function_count;
	bool found[ASSEMBLY_NAMES] = {false};
	size_t count = 0;

	for (const struct rqs_go_function *function = search->functions; function < end; function++)
		for (size_t i = 0; i < ASSEMBLY_NAMES; i++) {
			if (strcmp(function->name, assembly_names[i]))
				continue;
			if (found[i] || !describe(function, assembly_syscall_of(function), sites + count))
				return 0;
			found[i] = true;
			count += 2;
		}
	return found[0] ? count : 0;
}

/* ---- both ---- */

static const char *find_sites(const struct rqs_search *search, struct rqs_site sites[2 * ASSEMBLY_NAMES], size_t *count)
{
	const struct rqs_go_function *function, *end = search->functions + search->function_count;
	struct rqs_site others[2];
	int named = 0, found = 0;

	/* Wrappers for assembly callers bear the same name; they end in the function itself. */
	for (function = search->functions; function < end; function++)
		for (size_t i = 0; i < sizeof(names) / sizeof(*names); i++)
			if (!strcmp(function->name, names[i])) {
				named++;
				found += describe(function, syscall_of(function), found ? others : sites);
			}
	*count = found ? 2 : find_assembly(search, sites);
	if (!*count && !named)
		return "it has no Syscall6 function (its names were changed, or it is older than Go 1.18)";
	return found > 1 || !*count ? "its Syscall6 function isn't as expected" : NULL;
}

int rqs_find_syscall(struct rqs_search *search)
{
	struct rqs_plan *plan = search->plan;
	struct rqs_site sites[2 * ASSEMBLY_NAMES];
	size_t count;
	const char *why = find_sites(search, sites, &count);

	if (why) {
		RQS_SAY(plan->why_not, "%s", why);
		return 0;
	}
	plan->syscall_instruction = sites[1].address - 2;
	return rqs_sites_add(plan, sites, count) ? 0 : -ENOMEM;
}
