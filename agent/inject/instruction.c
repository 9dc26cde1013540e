/* instruction.c - decodes single instructions. */
#include "inject/instruction.h"

#include <pthread.h>

static ZydisDecoder decoder;

static void start(void)
{
	ZydisDecoderInit(&decoder, ZYDIS_MACHINE_MODE_LONG_64, ZYDIS_STACK_WIDTH_64);
}

bool rqs_instruction_decode(struct rqs_instruction *instruction, const uint8_t *bytes, size_t left, uint64_t address)
{
	static pthread_once_t once = PTHREAD_ONCE_INIT;

	pthread_once(&once, start);
	instruction->address = address;
	instruction->bytes = bytes;
	return ZYAN_SUCCESS(ZydisDecoderDecodeFull(&decoder, bytes, left, &instruction->info, instruction->operands));
}

static const ZydisDecodedOperand *relative_operand(const struct rqs_instruction *instruction)
{
	for (int i = 0; i < instruction->info.operand_count; i++) {
		const ZydisDecodedOperand *operand = &instruction->operands[i];

		if ((operand->type == ZYDIS_OPERAND_TYPE_IMMEDIATE && operand->imm.is_relative) ||
		    (operand->type == ZYDIS_OPERAND_TYPE_MEMORY && operand->mem.base == ZYDIS_REGISTER_RIP))
			return operand;
	}
	return NULL;
}

uint64_t rqs_instruction_target(const struct rqs_instruction *instruction)
{
	const ZydisDecodedOperand *operand = relative_operand(instruction);
	ZyanU64 target = 0;

	if (operand &&
	    ZYAN_SUCCESS(ZydisCalcAbsoluteAddress(&instruction->info, operand, instruction->address, &target)))
		return target;
	return 0;
}

bool rqs_instruction_is_jump(const struct rqs_instruction *instruction)
{
	switch (instruction->info.meta.category) {
	case ZYDIS_CATEGORY_COND_BR:
	case ZYDIS_CATEGORY_UNCOND_BR:
	case ZYDIS_CATEGORY_RET:
		return true;
	default:
		return false;
	}
}

static bool overlaps(ZydisRegister one, ZydisRegister other)
{
	return one != ZYDIS_REGISTER_NONE && ZydisRegisterGetLargestEnclosing(ZYDIS_MACHINE_MODE_LONG_64, one) ==
						 ZydisRegisterGetLargestEnclosing(ZYDIS_MACHINE_MODE_LONG_64, other);
}

bool rqs_instruction_uses(const struct rqs_instruction *instruction, ZydisRegister reg)
{
	for (int i = 0; i < instruction->info.operand_count; i++) {
		const ZydisDecodedOperand *operand = &instruction->operands[i];

		if (operand->type == ZYDIS_OPERAND_TYPE_REGISTER && overlaps(operand->reg.value, reg))
			return true;
		if (operand->type == ZYDIS_OPERAND_TYPE_MEMORY &&
		    (overlaps(operand->mem.base, reg) || overlaps(operand->mem.index, reg)))
			return true;
	}
	return false;
}

bool rqs_operand_is_memory(const ZydisDecodedOperand *operand, ZydisRegister base, int64_t offset)
{
	return operand->type == ZYDIS_OPERAND_TYPE_MEMORY && operand->mem.type == ZYDIS_MEMOP_TYPE_MEM &&
	       operand->mem.base == base && operand->mem.index == ZYDIS_REGISTER_NONE &&
	       operand->mem.segment != ZYDIS_REGISTER_FS && operand->mem.segment != ZYDIS_REGISTER_GS &&
	       (operand->mem.disp.has_displacement ? operand->mem.disp.value : 0) == offset;
}

bool rqs_operand_is_register(const ZydisDecodedOperand *operand, ZydisRegister reg)
{
	return operand->type == ZYDIS_OPERAND_TYPE_REGISTER && operand->reg.value == reg;
}
