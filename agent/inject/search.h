/*
 * search.h - what the parts that choose sites share: the program's tables, and
 * the checks that every site goes through.
 */
#ifndef REQSCOPE_SEARCH_H
#define REQSCOPE_SEARCH_H

#include "inject/inline_tree.h"
#include "inject/plan.h"
#include "reqscope/region.h"

struct rqs_search {
	struct rqs_image image;
	struct rqs_go_table table;
	struct rqs_inline_tree inlined;
	bool inlined_known;
	struct rqs_go_function *functions; /* those that matter here */
	size_t function_count;
	struct rqs_plan *plan;
};

/* The function of that name; NULL where there is none, or more than one. */
const struct rqs_go_function *rqs_search_function(const struct rqs_search *search, const char *name);

/* Bytes of the stack check that the function begins with; 0 where it begins otherwise. */
unsigned rqs_stack_check(const struct rqs_go_function *function);

/*
 * Describes the site at an address in the function. False where its bytes
 * can't be displaced: something jumps between them, or they aren't
 * straight-line code.
 */
bool rqs_site_describe(struct rqs_site *site, enum rqs_site_kind kind, const struct rqs_go_function *function,
		       uint64_t address, unsigned before);

/*
 * Describes a site at the function's start, behind its stack check if it has
 * one. Where possible the first instruction stays: there breakpoints are put,
 * those of the kernel (uprobes) at any time, which it steps over as if the
 * file's instruction were still there.
 */
bool rqs_site_at_entry(struct rqs_site *site, enum rqs_site_kind kind, const struct rqs_go_function *function);

/* The address of a variable that was found, 0 where it can't be one: not aligned, or not in writable memory. */
uint64_t rqs_checked_variable(const struct rqs_search *search, uint64_t address, uint64_t size);

/* Adds sites to the plan, all of them or none; false when memory is short. */
bool rqs_sites_add(struct rqs_plan *plan, const struct rqs_site *sites, size_t count);

/* The parts. Each adds its sites and sets its bits in `measures`, or says why not. 0 or -ENOMEM. */
int rqs_find_syscall(struct rqs_search *search);
int rqs_find_alloc(struct rqs_search *search);
int rqs_find_sched(struct rqs_search *search);
/* These only add what they find. */
void rqs_find_vdso(struct rqs_search *search);
void rqs_find_figures(struct rqs_search *search);
void rqs_find_goroutines(struct rqs_search *search);

/* Whether a function's name is one of those that the parts look for. */
bool rqs_search_wants(const char *name);

#define RQS_SAY(reason, ...) snprintf(reason, RQS_REASON, __VA_ARGS__)

#endif
