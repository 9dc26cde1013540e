/*
 * find_alloc.c - a set of functions of which every allocation passes exactly
 * one.
 *
 * Normally that is runtime.mallocgc. Where a profile made the compiler put
 * copies of it into its callers, the functions that it ends in (Go 1.24 and
 * later) serve instead. Size-specialised allocators (an experiment of Go 1.26)
 * are called by the compiler's code and by mallocgc, so that they and the
 * functions for the other sizes are the set.
 *
 * Source: src/runtime/malloc.go, malloc_generated.go.
 */
#include "inject/search.h"
#include "inject/walk.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define WHOLE "runtime.mallocgc"

/* All take the size first. Size-specialised ones stand for the last two. */
static const char *const leaves[] = {
    "runtime.mallocgcSmallNoscan", "runtime.mallocgcSmallScanHeader",   "runtime.mallocgcLarge",
    "runtime.mallocgcTiny",        "runtime.mallocgcSmallScanNoHeader",
};
#define LEAVES (sizeof(leaves) / sizeof(*leaves))
#define LEAVES_OF_SPECIALISED 3u

static bool is_specialised(const char *name)
{
	static const char *const stems[] = {"runtime.mallocgcSmallNoScanSC", "runtime.mallocgcSmallScanNoHeaderSC",
					    "runtime.mallocgcTinySize"};

	for (size_t i = 0; i < sizeof(stems) / sizeof(*stems); i++) {
		const char *rest = name + strlen(stems[i]);

		if (!strncmp(name, stems[i], strlen(stems[i])) && *rest && rest[strspn(rest, "0123456789")] == 0)
			return true;
	}
	return false;
}

static bool is_leaf(const char *name)
{
	for (size_t i = 0; i < LEAVES; i++)
		if (!strcmp(name, leaves[i]))
			return true;
	return is_specialised(name);
}

/* A function of the set that this one calls or jumps to; NULL none. */
static const char *passes_on_to(const struct rqs_search *search, const struct rqs_go_function *function)
{
	struct rqs_walk walk = rqs_walk(function);

	while (rqs_walk_on(&walk)) {
		const struct rqs_instruction *step = &walk.step;
		bool goes = rqs_instruction_is_jump(step) || step->info.mnemonic == ZYDIS_MNEMONIC_CALL;
		uint64_t target = goes ? rqs_instruction_target(step) : 0;

		for (size_t i = 0; target && i < search->function_count; i++) {
			const struct rqs_go_function *other = &search->functions[i];

			if (other->start == target && other != function &&
			    (is_leaf(other->name) || !strcmp(other->name, WHOLE)))
				return other->name;
		}
	}
	return walk.failed ? "code that isn't understood" : NULL;
}

static int use(struct rqs_plan *plan, const struct rqs_site *sites, size_t count)
{
	if (!rqs_sites_add(plan, sites, count))
		return -ENOMEM;
	plan->measures |= RQS_MEASURES_ALLOC;
	return 0;
}

static int use_whole(struct rqs_search *search)
{
	struct rqs_plan *plan = search->plan;
	struct rqs_site site;
	const struct rqs_go_function *function = rqs_search_function(search, WHOLE);

	if (function && rqs_stack_check(function) && rqs_site_at_entry(&site, RQS_SITE_ALLOC, function))
		return use(plan, &site, 1);
	RQS_SAY(plan->why_no_alloc, "%s isn't as expected", WHOLE);
	return 0;
}

/* Describes one function of the set, or says why it can't be in it. */
static bool describe_leaf(const struct rqs_search *search, const struct rqs_go_function *function,
			  struct rqs_site *site)
{
	struct rqs_plan *plan = search->plan;
	const char *host = rqs_inlined_into(&search->inlined, function->name);
	const char *other = passes_on_to(search, function);

	if (host)
		RQS_SAY(plan->why_no_alloc, "the compiler put %s into %s", function->name, host);
	else if (other)
		RQS_SAY(plan->why_no_alloc, "%s leads to %s", function->name, other);
	else if (!rqs_stack_check(function) || !rqs_site_at_entry(site, RQS_SITE_ALLOC, function))
		RQS_SAY(plan->why_no_alloc, "%s isn't as expected", function->name);
	else
		return true;
	return false;
}

/* Whether all that have to be there are: without one, some allocations would pass none of the set. */
static bool all_there(struct rqs_search *search, size_t needed)
{
	for (size_t i = 0; i < needed; i++)
		if (!rqs_search_function(search, leaves[i])) {
			RQS_SAY(search->plan->why_no_alloc, "there is no %s", leaves[i]);
			return false;
		}
	return true;
}

static int use_leaves(struct rqs_search *search, size_t needed)
{
	struct rqs_plan *plan = search->plan;
	size_t count = 0;

	if (!all_there(search, needed))
		return 0;
	struct rqs_site *sites = calloc(search->function_count, sizeof(*sites));
	int error = sites ? 0 : -ENOMEM;
	for (size_t i = 0; sites && i < search->function_count && !plan->why_no_alloc[0]; i++)
		if (is_leaf(search->functions[i].name))
			count += describe_leaf(search, &search->functions[i], &sites[count]);
	if (sites && !plan->why_no_alloc[0])
		error = use(plan, sites, count);
	free(sites);
	return error;
}

int rqs_find_alloc(struct rqs_search *search)
{
	bool specialised = false;

	if (!search->inlined_known) {
		RQS_SAY(search->plan->why_no_alloc, "what the compiler inlined isn't known");
		return 0;
	}
	for (size_t i = 0; i < search->function_count; i++)
		specialised = specialised || is_specialised(search->functions[i].name);
	const char *host = rqs_inlined_into(&search->inlined, WHOLE);
	if (!specialised && !host)
		return use_whole(search);
	if (specialised || rqs_search_function(search, leaves[0]))
		return use_leaves(search, specialised ? LEAVES_OF_SPECIALISED : LEAVES);
	RQS_SAY(search->plan->why_no_alloc, "the compiler put %s into %s", WHOLE, host);
	return 0;
}
