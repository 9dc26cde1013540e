/*
 * find_sched.c - where goroutines change their state: runtime.casgstatus, and
 * the copies of it that the compiler, given a profile, puts into its callers.
 *
 * A copy is hooked at the one instruction that it can't do without: the
 * `lock cmpxchg` of the goroutine's status, whose operands are casgstatus'
 * arguments. It runs once more for each failed try, which tells the same again.
 *
 * Source: src/runtime/proc.go.
 */
#include "inject/search.h"
#include "inject/walk.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

#define G_M 0x30 /* of runtime.g: the thread (runtime.m) that runs it */
#define CURG_MIN 0x40
#define CURG_MAX 0x400
#define CURG_NEAR 24 /* instructions between the two stores */
#define COPIES_MAX 64

#define STATUS "runtime.casgstatus"
#define START "runtime.newproc1"
#define PREEMPTED "runtime.casGToPreemptScan"

/* The sites in copies: those by which goroutines are started come first. */
struct copies {
	struct rqs_site sites[COPIES_MAX];
	size_t count, starting;
	const char *unknown_start, *unknown; /* functions with a copy that wasn't found, NULL none */
};

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

/* How often a function has a copy of another in it. */
static size_t count_copies(const struct rqs_search *search, const char *callee, uint64_t host)
{
	size_t count = 0;

	for (size_t i = 0; i < search->inlined.count; i++)
		count +=
		    search->inlined.entries[i].host.start == host && !strcmp(search->inlined.entries[i].callee, callee);
	return count;
}

/* Number of a whole or half general register; -1 for any other. */
static int number(ZydisRegister reg)
{
	if (reg >= ZYDIS_REGISTER_EAX && reg <= ZYDIS_REGISTER_R15D)
		return (int)(reg - ZYDIS_REGISTER_EAX);
	if (reg >= ZYDIS_REGISTER_RAX && reg <= ZYDIS_REGISTER_R15)
		return (int)(reg - ZYDIS_REGISTER_RAX);
	return -1;
}

/* `lock cmpxchg %new,member(%goroutine)`; the stack's pointer moves in the stub, and is no goroutine. */
static bool is_exchange(const struct rqs_instruction *step)
{
	const ZydisDecodedOperand *to = &step->operands[0], *from = &step->operands[1];

	return step->info.mnemonic == ZYDIS_MNEMONIC_CMPXCHG && step->info.attributes & ZYDIS_ATTRIB_HAS_LOCK &&
	       rqs_operand_is_memory(to, to->mem.base, to->mem.disp.value) && to->size == 32 &&
	       number(to->mem.base) >= 0 && to->mem.base != ZYDIS_REGISTER_RSP &&
	       from->type == ZYDIS_OPERAND_TYPE_REGISTER && number(from->reg.value) >= 0 &&
	       from->reg.value != ZYDIS_REGISTER_ESP;
}

/* The offset of the status in runtime.g, from casgstatus itself; 0 where it isn't plain there. */
static int64_t find_member(const struct rqs_go_function *status)
{
	struct rqs_walk walk = rqs_walk(status);
	int64_t member = 0;

	while (rqs_walk_on(&walk))
		if (is_exchange(&walk.step)) {
			if (member)
				return 0;
			member = walk.step.operands[0].mem.disp.value;
		}
	return member;
}

/* Adds a function's copies. False where there aren't as many exchanges of a status in it as there are copies. */
static bool add_copies(const struct rqs_search *search, struct copies *copies, const struct rqs_go_function *host,
		       int64_t member)
{
	struct rqs_walk walk = rqs_walk(host);
	size_t expected = count_copies(search, STATUS, host->start), found = 0;

	while (rqs_walk_on(&walk)) {
		const ZydisDecodedOperand *operands = walk.step.operands;

		if (!is_exchange(&walk.step) || operands[0].mem.disp.value != member)
			continue;
		if (copies->count == COPIES_MAX)
			return false;
		struct rqs_site *site = &copies->sites[copies->count];
		if (!rqs_site_describe(site, RQS_SITE_STATUS, host, walk.step.address, 0))
			return false;
		site->copied = true;
		site->goroutine = (uint8_t)number(operands[0].mem.base);
		site->status = (uint8_t)number(operands[1].reg.value);
		copies->count++;
		found++;
	}
	return !walk.failed && found == expected;
}

/* Whether goroutines are started in a function: newproc1, or one that has a copy of it. */
static bool starts(const struct rqs_search *search, const struct rqs_go_function *host)
{
	return !strcmp(host->name, START) || count_copies(search, START, host->start);
}

/* Adds the copies in functions that start goroutines, or in all others. The function where that failed, NULL none. */
static const char *find_copies(const struct rqs_search *search, struct copies *copies, bool starting, int64_t member)
{
	for (size_t i = 0; i < search->inlined.count; i++) {
		const struct rqs_inlined *entry = &search->inlined.entries[i];
		bool seen = false;

		if (strcmp(entry->callee, STATUS) || starts(search, &entry->host) != starting)
			continue;
		for (size_t k = 0; k < i && !seen; k++)
			seen = search->inlined.entries[k].host.start == entry->host.start &&
			       !strcmp(search->inlined.entries[k].callee, STATUS);
		if (!seen && (!member || !add_copies(search, copies, &entry->host, member)))
			return entry->host.name;
	}
	return NULL;
}

static bool check_children(struct rqs_search *search, const struct copies *copies)
{
	struct rqs_plan *plan = search->plan;

	if (copies->unknown_start)
		RQS_SAY(plan->why_no_children, "the compiler put %s into %s", STATUS, copies->unknown_start);
	else if (!rqs_search_function(search, START) && !rqs_inlined_into(&search->inlined, START))
		RQS_SAY(plan->why_no_children, "there is no %s", START);
	else if (!plan->curg_offset)
		RQS_SAY(plan->why_no_children, "where a thread keeps its goroutine wasn't found");
	return !plan->why_no_children[0];
}

static bool check_times(struct rqs_search *search, const struct copies *copies, struct rqs_site *preempted)
{
	struct rqs_plan *plan = search->plan;
	const struct rqs_go_function *function = rqs_search_function(search, PREEMPTED);
	const char *host = rqs_inlined_into(&search->inlined, PREEMPTED);

	if (copies->unknown_start || copies->unknown)
		RQS_SAY(plan->why_no_sched, "the compiler put %s into %s", STATUS,
			copies->unknown_start ? copies->unknown_start : copies->unknown);
	else if (host)
		RQS_SAY(plan->why_no_sched, "the compiler put %s into %s", PREEMPTED, host);
	else if (!function || !rqs_stack_check(function) || !rqs_site_at_entry(preempted, RQS_SITE_PREEMPTED, function))
		RQS_SAY(plan->why_no_sched, "%s isn't as expected", PREEMPTED);
	return !plan->why_no_sched[0];
}

static bool add_sites(struct rqs_plan *plan, const struct rqs_site *status, const struct copies *copies,
		      const struct rqs_site *preempted)
{
	return rqs_sites_add(plan, status, 1) && rqs_sites_add(plan, copies->sites, copies->starting) &&
	       (!preempted ||
		(rqs_sites_add(plan, copies->sites + copies->starting, copies->count - copies->starting) &&
		 rqs_sites_add(plan, preempted, 1)));
}

static int choose(struct rqs_search *search, const struct rqs_site *status, const struct copies *copies)
{
	struct rqs_plan *plan = search->plan;
	struct rqs_site preempted;
	bool children = check_children(search, copies), times = check_times(search, copies, &preempted);

	if ((children || times) && !add_sites(plan, status, copies, times ? &preempted : NULL))
		return -ENOMEM;
	plan->measures |= (children ? RQS_MEASURES_CHILDREN : 0) | (times ? RQS_MEASURES_SCHED : 0);
	return 0;
}

int rqs_find_sched(struct rqs_search *search)
{
	struct rqs_plan *plan = search->plan;
	const struct rqs_go_function *function = rqs_search_function(search, STATUS);
	struct copies copies = {.count = 0};
	struct rqs_site status;

	plan->curg_offset = find_curg(rqs_search_function(search, "runtime.execute"));
	if (!search->inlined_known)
		RQS_SAY(plan->why_no_children, "what the compiler inlined isn't known");
	else if (!function || rqs_stack_check(function) || !rqs_site_at_entry(&status, RQS_SITE_STATUS, function))
		RQS_SAY(plan->why_no_children, "%s isn't as expected", STATUS);
	if (plan->why_no_children[0]) {
		strcpy(plan->why_no_sched, plan->why_no_children);
		return 0;
	}
	copies.unknown_start = find_copies(search, &copies, true, find_member(function));
	copies.starting = copies.count;
	copies.unknown = find_copies(search, &copies, false, find_member(function));
	return choose(search, &status, &copies);
}
