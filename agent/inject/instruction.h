/* instruction.h - x86-64 instructions, decoded by Zydis, and the questions that are asked about them. */
#ifndef REQSCOPE_INSTRUCTION_H
#define REQSCOPE_INSTRUCTION_H

#include <Zydis/Zydis.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct rqs_instruction {
	uint64_t address;
	const uint8_t *bytes;
	ZydisDecodedInstruction info; /* .length, .mnemonic, .operand_count_visible */
	ZydisDecodedOperand operands[ZYDIS_MAX_OPERAND_COUNT];
};

/* Decodes the instruction that `bytes`, which lie at `address`, begin with. */
bool rqs_instruction_decode(struct rqs_instruction *instruction, const uint8_t *bytes, size_t left, uint64_t address);

/* The address that a direct jump or call goes to, or that a RIP-relative operand names; 0 where it has none. */
uint64_t rqs_instruction_target(const struct rqs_instruction *instruction);

/* Whether it may go on elsewhere than at the next instruction; calls come back. */
bool rqs_instruction_is_jump(const struct rqs_instruction *instruction);

/* Whether it reads or writes a register in any width, hidden operands and addresses included. */
bool rqs_instruction_uses(const struct rqs_instruction *instruction, ZydisRegister reg);

/* Whether an operand is the memory at base+offset (no index, no segment). */
bool rqs_operand_is_memory(const ZydisDecodedOperand *operand, ZydisRegister base, int64_t offset);
bool rqs_operand_is_register(const ZydisDecodedOperand *operand, ZydisRegister reg);

#endif
