/*
 * find_sched.c - where goroutines change their state: runtime.casgstatus, or
 * the functions that hold copies of it.
 *
 * Source: src/runtime/proc.go.
 */
#include "inject/search.h"
#include "inject/walk.h"

#include <stdio.h>
#include <string.h>

#define G_M 0x30 /* of runtime.g: the thread (runtime.m) that runs it */
#define CURG_MIN 0x40
#define CURG_MAX 0x400
#define CURG_NEAR 24 /* instructions between the two stores */

#define STATUS "runtime.casgstatus"
#define START "runtime.newproc1"
#define PREEMPTED "runtime.casGToPreemptScan"

static bool is_store(const struct rqs_instruction *step)
{
	return step->info.mnemonic == ZYDIS_MNEMONIC_MOV && step->operands[0].type == ZYDIS_OPERAND_TYPE_MEMORY &&
	       step->operands[1].type == ZYDIS_OPERAND_TYPE_REGISTER && step->operands[0].size == 64 &&
	       step->operands[0].mem.base != ZYDIS_REGISTER_RSP && step->operands[0].mem.base != ZYDIS_REGISTER_RIP;
}

/* Whether gp.m = mp follows closely, mp still in its register or loaded once more. */
static bool linked_back(struct rqs_walk walk, ZydisRegister gp, ZydisRegister mp)
{
	ZydisRegister again = mp;

	for (int i = 0; i < CURG_NEAR && rqs_walk_on(&walk); i++) {
		const struct rqs_instruction *step = &walk.step;
		const ZydisDecodedOperand *to = &step->operands[0], *from = &step->operands[1];

		if (is_store(step) && rqs_operand_is_memory(to, gp, G_M) &&
		    (rqs_operand_is_register(from, mp) || rqs_operand_is_register(from, again)))
			return true;
		if (step->info.mnemonic == ZYDIS_MNEMONIC_MOV && to->type == ZYDIS_OPERAND_TYPE_REGISTER &&
		    rqs_operand_is_memory(from, from->mem.base, G_M))
			again = to->reg.value;
	}
	return false;
}

/* runtime.execute stores `mp.curg = gp; gp.m = mp`: the offset in the first of the pair. 0 where it isn't found. */
static uint32_t find_curg(const struct rqs_go_function *execute)
{
	struct rqs_walk walk = rqs_walk(execute);

	while (rqs_walk_on(&walk)) {
		const ZydisDecodedOperand *to = &walk.step.operands[0], *from = &walk.step.operands[1];

		if (is_store(&walk.step) && to->mem.disp.value >= CURG_MIN && to->mem.disp.value < CURG_MAX &&
		    to->mem.index == ZYDIS_REGISTER_NONE && linked_back(walk, from->reg.value, to->mem.base))
			return (uint32_t)to->mem.disp.value;
	}
	return 0;
}

static bool holds_copy(const struct rqs_search *search, const char *callee, const char *host)
{
	for (size_t i = 0; i < search->inlined.count; i++)
		if (!strcmp(search->inlined.entries[i].callee, callee) &&
		    !strcmp(search->inlined.entries[i].host, host))
			return true;
	return false;
}

/* The functions that may hold copies of casgstatus: which transition each means is known. */
static const struct {
	const char *name;
	enum rqs_site_kind kind;
} holders[] = {
    {"runtime.execute", RQS_SITE_EXECUTE},
    {"runtime.ready", RQS_SITE_READY},
    {"runtime.park_m", RQS_SITE_PARK},
};
#define HOLDERS (sizeof(holders) / sizeof(*holders))

/* A function with a copy of casgstatus that isn't one of these; NULL none. */
static const char *other_holder(const struct rqs_search *search)
{
	for (size_t i = 0; i < search->inlined.count; i++) {
		const struct rqs_inlined *entry = &search->inlined.entries[i];
		bool known = strcmp(entry->callee, STATUS) != 0;

		for (size_t h = 0; h < HOLDERS; h++)
			known = known || !strcmp(entry->host, holders[h].name);
		if (!known)
			return entry->host;
	}
	return NULL;
}

/* Those that hold copies are hooked themselves; the others' transitions pass casgstatus. */
static bool describe_holders(struct rqs_search *search, struct rqs_site sites[HOLDERS], size_t *count)
{
	for (size_t h = 0; h < HOLDERS; h++) {
		const struct rqs_go_function *function = rqs_search_function(search, holders[h].name);

		if (!holds_copy(search, STATUS, holders[h].name))
			continue;
		if (!function || rqs_inlined_into(&search->inlined, holders[h].name) || !rqs_stack_check(function) ||
		    !rqs_site_at_entry(&sites[(*count)++], holders[h].kind, function)) {
			RQS_SAY(search->plan->why_no_sched, "the compiler put %s into %s", STATUS, holders[h].name);
			return false;
		}
	}
	return true;
}

/* Whether goroutines are started by a copy of casgstatus: one in newproc1, or in a function that has newproc1 in it. */
static bool starts_by_copy(const struct rqs_search *search)
{
	for (size_t i = 0; i < search->inlined.count; i++) {
		const struct rqs_inlined *entry = &search->inlined.entries[i];

		if (!strcmp(entry->callee, STATUS) &&
		    (!strcmp(entry->host, START) || holds_copy(search, START, entry->host)))
			return true;
	}
	return false;
}

static void find_children(struct rqs_search *search, const struct rqs_site *status)
{
	struct rqs_plan *plan = search->plan;

	if (starts_by_copy(search))
		RQS_SAY(plan->why_no_children, "the compiler put %s into %s", STATUS, START);
	else if (!rqs_search_function(search, START) && !rqs_inlined_into(&search->inlined, START))
		RQS_SAY(plan->why_no_children, "there is no %s", START);
	else if (!plan->curg_offset)
		RQS_SAY(plan->why_no_children, "where a thread keeps its goroutine wasn't found");
	else if (!rqs_sites_add(plan, status, 1))
		RQS_SAY(plan->why_no_children, "memory is short");
	else
		plan->measures |= RQS_MEASURES_CHILDREN;
}

static void find_times(struct rqs_search *search, const struct rqs_site *status)
{
	struct rqs_plan *plan = search->plan;
	const struct rqs_go_function *preempted = rqs_search_function(search, PREEMPTED);
	const char *other = other_holder(search), *host = rqs_inlined_into(&search->inlined, PREEMPTED);
	struct rqs_site sites[2 + HOLDERS];
	size_t count = 0;

	if (other || host) {
		RQS_SAY(plan->why_no_sched, "the compiler put %s into %s", other ? STATUS : PREEMPTED,
			other ? other : host);
		return;
	}
	if (!preempted || !rqs_stack_check(preempted) ||
	    !rqs_site_at_entry(&sites[count++], RQS_SITE_PREEMPTED, preempted)) {
		RQS_SAY(plan->why_no_sched, "%s isn't as expected", PREEMPTED);
		return;
	}
	if (!describe_holders(search, sites, &count))
		return;
	if (!(plan->measures & RQS_MEASURES_CHILDREN))
		sites[count++] = *status;
	if (rqs_sites_add(plan, sites, count))
		plan->measures |= RQS_MEASURES_SCHED;
	else
		RQS_SAY(plan->why_no_sched, "memory is short");
}

void rqs_find_sched(struct rqs_search *search)
{
	struct rqs_plan *plan = search->plan;
	const struct rqs_go_function *function = rqs_search_function(search, STATUS);
	struct rqs_site status;

	plan->curg_offset = find_curg(rqs_search_function(search, "runtime.execute"));
	if (!search->inlined_known)
		RQS_SAY(plan->why_no_children, "what the compiler inlined isn't known");
	else if (!function || rqs_stack_check(function) || !rqs_site_at_entry(&status, RQS_SITE_STATUS, function))
		RQS_SAY(plan->why_no_children, "%s isn't as expected", STATUS);
	if (plan->why_no_children[0]) {
		strcpy(plan->why_no_sched, plan->why_no_children);
		return;
	}
	find_children(search, &status);
	find_times(search, &status);
}
