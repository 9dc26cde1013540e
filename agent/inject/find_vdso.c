/*
 * find_vdso.c - where a thread notes that it is in code that isn't Go's, and
 * from where it went there.
 *
 * The runtime does so around its calls of the vDSO: it puts the caller's
 * program counter and stack pointer in m.vdsoPC and m.vdsoSP, for profiles'
 * sake. Their offsets are taken from runtime.nanotime1.
 *
 * Source: src/runtime/sys_linux_amd64.s; who reads them is sigprof() in
 * proc.go, and traceback1() in traceback.go.
 */
#include "inject/search.h"
#include "inject/walk.h"

#include <string.h>

#define G_M 0x30 /* of runtime.g: the thread (runtime.m) that runs it */
#define OFFSET_MIN 0x40
#define OFFSET_MAX 0x1000

/* What registers hold, in straight-line code. */
struct known {
	ZydisRegister thread; /* runtime.m */
	ZydisRegister sp;     /* the caller's stack pointer */
	ZydisRegister pc;     /* the address in the caller, loaded from below it */
};

static void learn(struct known *known, const struct rqs_instruction *step)
{
	const ZydisDecodedOperand *to = &step->operands[0], *from = &step->operands[1];
	bool lea = step->info.mnemonic == ZYDIS_MNEMONIC_LEA, mov = step->info.mnemonic == ZYDIS_MNEMONIC_MOV;
	bool by_sp = mov && known->sp != ZYDIS_REGISTER_NONE && rqs_operand_is_memory(from, known->sp, -8);

	if (to->type != ZYDIS_OPERAND_TYPE_REGISTER || !(to->actions & ZYDIS_OPERAND_ACTION_MASK_WRITE))
		return;
	ZydisRegister reg = to->reg.value;
	if (reg == known->thread)
		known->thread = ZYDIS_REGISTER_NONE;
	if (reg == known->sp)
		known->sp = ZYDIS_REGISTER_NONE;
	if (reg == known->pc)
		known->pc = ZYDIS_REGISTER_NONE;
	if (mov && rqs_operand_is_memory(from, ZYDIS_REGISTER_R14, G_M))
		known->thread = reg;
	else if (by_sp)
		known->pc = reg;
	else if (lea && from->mem.base == ZYDIS_REGISTER_RSP && from->mem.index == ZYDIS_REGISTER_NONE)
		known->sp = reg;
}

/* The member of the thread that the instruction sets to a register, of which more is known than that it is none. */
static uint32_t member_set(const struct known *known, const struct rqs_instruction *step, ZydisRegister to)
{
	const ZydisDecodedOperand *into = &step->operands[0];
	int64_t offset = into->mem.disp.value;

	if (step->info.mnemonic != ZYDIS_MNEMONIC_MOV || to == ZYDIS_REGISTER_NONE ||
	    known->thread == ZYDIS_REGISTER_NONE || !rqs_operand_is_memory(into, known->thread, offset) ||
	    into->size != 64 || !rqs_operand_is_register(&step->operands[1], to))
		return 0;
	return offset >= OFFSET_MIN && offset < OFFSET_MAX && offset % 8 == 0 ? (uint32_t)offset : 0;
}

static bool find_in(const struct rqs_go_function *function, uint32_t *pc, uint32_t *sp)
{
	const struct known nothing = {ZYDIS_REGISTER_NONE, ZYDIS_REGISTER_NONE, ZYDIS_REGISTER_NONE};
	struct rqs_walk walk = rqs_walk(function);
	struct known known = nothing;

	*pc = 0;
	while (rqs_walk_on(&walk)) {
		uint32_t set_pc = member_set(&known, &walk.step, known.pc);

		*pc = set_pc ? set_pc : *pc;
		*sp = member_set(&known, &walk.step, known.sp);
		if (*pc && *sp)
			return *pc != *sp;
		if (rqs_instruction_is_jump(&walk.step) || walk.step.info.mnemonic == ZYDIS_MNEMONIC_CALL) {
			known = nothing;
			*pc = 0;
		}
		learn(&known, &walk.step);
	}
	return false;
}

void rqs_find_vdso(struct rqs_search *search)
{
	uint32_t pc, sp;

	/* A wrapper for other callers may bear the same name. */
	for (size_t i = 0; i < search->function_count; i++)
		if (!strcmp(search->functions[i].name, "runtime.nanotime1") &&
		    find_in(&search->functions[i], &pc, &sp)) {
			search->plan->vdso_pc_offset = pc;
			search->plan->vdso_sp_offset = sp;
		}
}
