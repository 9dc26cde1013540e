/*
 * rules.h - how a function is left from an address in it, where that is no more
 * than: registers lie at fixed distances from where the frame begins.
 *
 * Libunwind doesn't tell what it makes of .eh_frame, and takes some system
 * calls for each frame. So it is tried once for an address, with registers and
 * a stack that are made up: what it finds tells where it has looked.
 */
#ifndef UNWIND_RULES_H
#define UNWIND_RULES_H

#include "reqscope/region.h"

#include <stdbool.h>
#include <stdint.h>

#define RQS_RULES 1024u

struct rqs_rule {
	uint64_t address; /* 0: none */
	int32_t from_base;
	int32_t saved[RQS_SAMPLE_REGISTERS]; /* from the frame's beginning; RQS_RULE_KEPT: the caller's is the same */
	uint8_t base;                        /* the register that the frame's beginning is `from_base` beyond */
	bool simple;                         /* the rest is set */
};
#define RQS_RULE_KEPT INT32_MAX

/* Where the rule of that address is, if it is known. */
struct rqs_rule *rqs_rule_at(struct rqs_rule rules[RQS_RULES], uint64_t address);

/* Registers of a trial, 0 or 1, for the code at that address: each has other values, and finds the same. */
void rqs_rule_make_up(uint64_t registers[RQS_SAMPLE_REGISTERS], uint64_t address, unsigned trial);
/* The word of a made-up stack; false: the address isn't of one. */
bool rqs_rule_word(uint64_t address, uint64_t *word);
/* What the caller's registers tell, that were found in a trial. False: it isn't that simple. */
bool rqs_rule_learn(struct rqs_rule *rule, const uint64_t callers[RQS_SAMPLE_REGISTERS], unsigned trial);

#endif
