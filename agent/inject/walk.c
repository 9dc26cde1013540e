/* walk.c - decodes a function from its start to its end. */
#include "inject/walk.h"

struct rqs_walk rqs_walk_from(const struct rqs_go_function *function, uint64_t address)
{
	return (struct rqs_walk){.function = function, .next = address};
}

bool rqs_walk_on(struct rqs_walk *walk)
{
	const struct rqs_go_function *function = walk->function;
	uint64_t at = walk->next;

	if (!function || at < function->start || at >= function->end)
		return false;
	if (!rqs_instruction_decode(&walk->step, function->code + (at - function->start), function->end - at, at)) {
		walk->failed = true;
		return false;
	}
	walk->next += walk->step.info.length;
	return true;
}

uint64_t rqs_walk_variable(const struct rqs_walk *walk, int operand, unsigned bits)
{
	const ZydisDecodedOperand *op = &walk->step.operands[operand];

	if (op->type != ZYDIS_OPERAND_TYPE_MEMORY || op->mem.type != ZYDIS_MEMOP_TYPE_MEM ||
	    op->mem.base != ZYDIS_REGISTER_RIP || op->size != bits)
		return 0;
	return rqs_instruction_target(&walk->step);
}
