/* rules.c - see rules.h. */
#include "unwind/rules.h"

#include <string.h>

/* In the kernel's half, where no program has anything: registers point to stacks of 1 TiB, each to another. */
#define STACKS 0xffffa00000000000ull
#define STACK_BITS 40
#define MIDDLE (1ull << 39)
#define FURTHER 0x12345670ull /* by trial */
/* What lies in them is its own address, that much further up. */
#define WORDS 0x0000100000000000ull
#define REACH (1 << 24) /* bytes of a frame */

struct rqs_rule *rqs_rule_at(struct rqs_rule rules[RQS_RULES], uint64_t address)
{
	return &rules[(address * 0x9e3779b97f4a7c15ull >> 32) % RQS_RULES];
}

static uint64_t made_up(unsigned number, unsigned trial)
{
	return STACKS + ((uint64_t)number << STACK_BITS) + MIDDLE + trial * FURTHER;
}

void rqs_rule_make_up(uint64_t registers[RQS_SAMPLE_REGISTERS], uint64_t address, unsigned trial)
{
	for (unsigned i = 0; i < RQS_SAMPLE_REGISTERS; i++)
		registers[i] = made_up(i, trial);
	registers[RQS_SAMPLE_RIP] = address;
}

bool rqs_rule_word(uint64_t address, uint64_t *word)
{
	if ((address - STACKS) >> STACK_BITS >= RQS_SAMPLE_REGISTERS)
		return false;
	*word = address + WORDS;
	return true;
}

static bool is_near(uint64_t value, uint64_t from, int32_t *distance)
{
	int64_t difference = (int64_t)(value - from);

	*distance = (int32_t)difference;
	return difference > -REACH && difference < REACH;
}

bool rqs_rule_learn(struct rqs_rule *rule, const uint64_t callers[RQS_SAMPLE_REGISTERS], unsigned trial)
{
	uint64_t begin = callers[RQS_SAMPLE_RSP];

	rule->base = RQS_SAMPLE_RSP;
	if (!is_near(begin, made_up(rule->base, trial), &rule->from_base)) {
		rule->base = RQS_SAMPLE_RBP;
		if (!is_near(begin, made_up(rule->base, trial), &rule->from_base))
			return false;
	}
	for (unsigned i = 0; i < RQS_SAMPLE_REGISTERS; i++) {
		rule->saved[i] = RQS_RULE_KEPT;
		if (i != RQS_SAMPLE_RSP && (i == RQS_SAMPLE_RIP || callers[i] != made_up(i, trial)) &&
		    !is_near(callers[i] - WORDS, begin, &rule->saved[i]))
			return false;
	}
	return true;
}
