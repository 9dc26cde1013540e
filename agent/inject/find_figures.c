/*
 * find_figures.c - where the runtime keeps its figures about the heap and its
 * garbage collector.
 *
 * There are no symbols for data in stripped programs, so that the addresses
 * are taken from the code that uses them. What is to be known beforehand are
 * distances between members of one struct, which have been the same from Go
 * 1.19 to 1.26; each is confirmed by an instruction, and what isn't confirmed
 * stays unknown.
 *
 * Source: src/runtime/mgc.go, mgcpacer.go and mstats.go.
 */
#include "inject/search.h"
#include "inject/walk.h"

/* From runtime.mstats' pause_total_ns. */
#define NUMGC 0x1008
#define LAST_HEAP_IN_USE 0x1020
/* From runtime.gcControllerState's heapLive. */
#define HEAP_IN_USE 168
#define HEAP_GOAL (-32)

#define NEAR 8 /* instructions between a load and its store */

static bool loads(const struct rqs_walk *walk, uint64_t *address)
{
	*address = walk->step.info.mnemonic == ZYDIS_MNEMONIC_MOV ? rqs_walk_variable(walk, 1, 64) : 0;
	return *address != 0;
}

static bool has_load(const struct rqs_go_function *function, uint64_t address)
{
	struct rqs_walk walk = rqs_walk(function);
	uint64_t from;

	while (rqs_walk_on(&walk))
		if (loads(&walk, &from) && from == address)
			return true;
	return false;
}

/* `incl address` */
static bool has_count(const struct rqs_go_function *function, uint64_t address)
{
	struct rqs_walk walk = rqs_walk(function);

	while (rqs_walk_on(&walk))
		if (walk.step.info.mnemonic == ZYDIS_MNEMONIC_INC && rqs_walk_variable(&walk, 0, 32) == address)
			return true;
	return false;
}

/* memstats.pause_total_ns += ...; memstats.numgc++ */
static uint64_t find_pause_total(const struct rqs_go_function *function)
{
	struct rqs_walk walk = rqs_walk(function);

	while (rqs_walk_on(&walk)) {
		uint64_t address = walk.step.info.mnemonic == ZYDIS_MNEMONIC_ADD ? rqs_walk_variable(&walk, 0, 64) : 0;

		if (address && has_count(function, address + NUMGC))
			return address;
	}
	return 0;
}

/* What is loaded last before the register is stored to `into`: memstats.lastHeapInUse = gcController.heapInUse */
static uint64_t find_copied(const struct rqs_go_function *function, uint64_t into)
{
	struct rqs_walk walk = rqs_walk(function);
	uint64_t from = 0, loaded = 0;
	ZydisRegister reg = ZYDIS_REGISTER_NONE;
	int age = 0;

	while (rqs_walk_on(&walk)) {
		if (walk.step.info.mnemonic == ZYDIS_MNEMONIC_MOV && rqs_walk_variable(&walk, 0, 64) == into)
			return age < NEAR && rqs_operand_is_register(&walk.step.operands[1], reg) ? from : 0;
		age++;
		if (loads(&walk, &loaded)) {
			from = loaded;
			reg = walk.step.operands[0].reg.value;
			age = 0;
		}
	}
	return 0;
}

/* The offset of the function's first load of 64 bits from its receiver; -1 where there is none before a call. */
static int64_t first_member(const struct rqs_go_function *function)
{
	struct rqs_walk walk = rqs_walk(function);

	while (rqs_walk_on(&walk) && walk.step.info.mnemonic != ZYDIS_MNEMONIC_CALL) {
		const ZydisDecodedOperand *from = &walk.step.operands[1];

		if (walk.step.info.mnemonic == ZYDIS_MNEMONIC_MOV && from->size == 64 &&
		    rqs_operand_is_memory(from, ZYDIS_REGISTER_RAX, from->mem.disp.value))
			return from->mem.disp.value;
	}
	return -1;
}

/*
 * heapGoalInternal() begins with the goal that GOGC gives, the member that is
 * wanted; revise() with heapLive: their distance confirms the one that is
 * expected.
 */
static bool goal_confirmed(const struct rqs_search *search)
{
	const struct rqs_go_function *goal =
	    rqs_search_function(search, "runtime.(*gcControllerState).heapGoalInternal");
	const struct rqs_go_function *live = rqs_search_function(search, "runtime.(*gcControllerState).revise");
	int64_t goal_at = first_member(goal), live_at = first_member(live);

	return goal_at > 0 && live_at > 0 && goal_at - live_at == HEAP_GOAL;
}

void rqs_find_figures(struct rqs_search *search)
{
	struct rqs_plan_figures *figures = &search->plan->figures;
	const struct rqs_go_function *function = rqs_search_function(search, "runtime.gcMarkTermination");
	uint64_t total = find_pause_total(function);

	if (!total)
		return;
	figures->gc_pause_total = rqs_checked_variable(search, total, 8);
	figures->gc_cycles = rqs_checked_variable(search, total + NUMGC, 4);
	uint64_t in_use = rqs_checked_variable(search, find_copied(function, total + LAST_HEAP_IN_USE), 8);
	if (!in_use)
		return;
	figures->heap_in_use = in_use;
	if (!has_load(function, in_use - HEAP_IN_USE))
		return;
	figures->heap_live = rqs_checked_variable(search, in_use - HEAP_IN_USE, 8);
	if (figures->heap_live && goal_confirmed(search))
		figures->heap_goal = rqs_checked_variable(search, figures->heap_live + HEAP_GOAL, 8);
}
