/*
 * find_goroutines.c - where the runtime counts its goroutines, found like its
 * other figures: in the code that changes the counts.
 *
 * There is no one count of those that live. It is what was ever made, without
 * the dead that are kept for reuse, and without the runtime's own. The up to
 * 64 dead that each P keeps for itself are in none of these counts.
 *
 * Source: src/runtime/proc.go, gcount() and what it reads.
 */
#include "inject/search.h"
#include "inject/walk.h"

#define FREE_LISTS 2

/* The current instruction works on memory that a register holds the address of: that register. */
static ZydisRegister pointer_of(const struct rqs_walk *walk, ZydisMnemonic mnemonic, unsigned bits)
{
	for (int i = 0; i < 2 && walk->step.info.mnemonic == mnemonic; i++) {
		const ZydisDecodedOperand *operand = &walk->step.operands[i];

		if (operand->size == bits && rqs_operand_is_memory(operand, operand->mem.base, 0))
			return operand->mem.base;
	}
	return ZYDIS_REGISTER_NONE;
}

/* Go's atomic operations: `lea variable(%rip),%reg`, and some steps later `op %other,(%reg)`. 0 where there is none. */
static uint64_t atomic_variable(struct rqs_walk *walk, ZydisMnemonic mnemonic, unsigned bits)
{
	uint64_t address = 0;
	ZydisRegister reg = ZYDIS_REGISTER_NONE;

	while (rqs_walk_on(walk)) {
		const ZydisDecodedOperand *to = &walk->step.operands[0];

		if (address && pointer_of(walk, mnemonic, bits) == reg)
			return address;
		if (to->type != ZYDIS_OPERAND_TYPE_REGISTER)
			continue;
		if (walk->step.info.mnemonic == ZYDIS_MNEMONIC_LEA) {
			address = rqs_instruction_target(&walk->step);
			reg = to->reg.value;
		} else if (to->reg.value == reg && to->actions & ZYDIS_OPERAND_ACTION_MASK_WRITE) {
			address = 0;
		}
	}
	return 0;
}

static bool has_operand(const struct rqs_go_function *function, ZydisMnemonic mnemonic, unsigned bits, uint64_t address)
{
	struct rqs_walk walk = rqs_walk(function);

	while (rqs_walk_on(&walk))
		if (walk.step.info.mnemonic == mnemonic && rqs_walk_variable(&walk, 0, bits) == address)
			return true;
	return false;
}

/* allgadd() stores the list's address, if that isn't what it was, and the list's length. */
static uint64_t find_all(const struct rqs_search *search)
{
	const struct rqs_go_function *function = rqs_search_function(search, "runtime.allgadd");
	struct rqs_walk walk = rqs_walk(function);
	uint64_t address;

	while ((address = atomic_variable(&walk, ZYDIS_MNEMONIC_XCHG, 64)))
		if (!has_operand(function, ZYDIS_MNEMONIC_CMP, 64, address))
			return address;
	return 0;
}

static bool counts_atomically(const struct rqs_go_function *function, uint64_t address)
{
	struct rqs_walk walk = rqs_walk(function);
	uint64_t found;

	while ((found = atomic_variable(&walk, ZYDIS_MNEMONIC_XADD, 32)))
		if (found == address)
			return true;
	return false;
}

/* The one counter that goes down where goroutines end, and up where they are started. */
static uint64_t find_system(const struct rqs_search *search)
{
	const struct rqs_go_function *end = rqs_search_function(search, "runtime.gdestroy");
	const struct rqs_go_function *start = rqs_search_function(search, "runtime.newproc1");
	uint64_t address;

	struct rqs_walk walk = rqs_walk(end ? end : rqs_search_function(search, "runtime.goexit0"));
	while ((address = atomic_variable(&walk, ZYDIS_MNEMONIC_XADD, 32)))
		if (counts_atomically(start ? start : rqs_search_function(search, "runtime.newproc.func1"), address))
			return address;
	return 0;
}

/*
 * gfget() takes one from the dead that all Ps share, gfput() adds to them. Two
 * lists, those with a stack and those without one, have a count in common up
 * to Go 1.24, and one each since. Returns how many counts were found.
 */
static size_t find_free(const struct rqs_search *search, uint64_t counts[FREE_LISTS])
{
	const struct rqs_go_function *put = rqs_search_function(search, "runtime.gfput");
	struct rqs_walk walk = rqs_walk(rqs_search_function(search, "runtime.gfget"));
	size_t found = 0;

	while (rqs_walk_on(&walk)) {
		uint64_t address = 0;

		if (walk.step.info.mnemonic == ZYDIS_MNEMONIC_DEC)
			address = rqs_walk_variable(&walk, 0, 32);
		if (!address || (found && counts[0] == address))
			continue;
		if (found == FREE_LISTS || !has_operand(put, ZYDIS_MNEMONIC_ADD, 32, address))
			return 0;
		counts[found++] = address;
	}
	return found;
}

void rqs_find_goroutines(struct rqs_search *search)
{
	struct rqs_plan_figures *figures = &search->plan->figures;
	uint64_t counts[FREE_LISTS] = {0};
	uint64_t all = rqs_checked_variable(search, find_all(search), 8);
	uint64_t system = rqs_checked_variable(search, find_system(search), 4);

	if (!all || !system || !find_free(search, counts))
		return;
	figures->goroutines_free = rqs_checked_variable(search, counts[0], 4);
	if (!figures->goroutines_free)
		return;
	figures->goroutines_bare = rqs_checked_variable(search, counts[1], 4);
	figures->goroutines_all = all;
	figures->goroutines_system = system;
}
