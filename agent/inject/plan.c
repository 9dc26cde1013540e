/* plan.c - makes the plan of a program: the parts in their order. */
#include "inject/plan.h"
#include "inject/go_version.h"
#include "inject/search.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static void take_bounds(struct rqs_plan *plan, const struct rqs_image *image)
{
	const struct rqs_segment *last = &image->segments[image->segment_count - 1];

	plan->position_independent = image->position_independent;
	plan->dynamic = image->dynamic;
	plan->image_start = image->segments[0].address;
	plan->image_end = last->address + last->size;
	for (size_t i = 0; i < image->segment_count; i++) {
		const struct rqs_segment *segment = &image->segments[i];

		if (!segment->executable)
			continue;
		if (!plan->text_end)
			plan->text_start = segment->address;
		plan->text_end = segment->address + segment->size;
	}
}

/* A program has some 80 at most; one with more, or longer ones, would take long to look at. */
#define FUNCTIONS_LIMIT 256
#define CODE_LIMIT (1u << 17)

static int collect_functions(struct rqs_search *search)
{
	struct rqs_go_function function;

	search->functions = calloc(FUNCTIONS_LIMIT, sizeof(*search->functions));
	if (!search->functions)
		return -ENOMEM;
	for (uint64_t i = 0; i < search->table.count && search->function_count < FUNCTIONS_LIMIT; i++)
		if (rqs_go_table_function(&search->table, i, &function) && rqs_search_wants(function.name) &&
		    function.end - function.start < CODE_LIMIT)
			search->functions[search->function_count++] = function;
	return 0;
}

/* A plugin brings copies of the runtime's functions along, which it calls and nobody sees. */
static bool may_load_plugins(struct rqs_search *search)
{
	static const char why[] = "it can load plugins, whose copies of the runtime aren't seen";
	struct rqs_plan *plan = search->plan;

	if (!rqs_search_function(search, "plugin.open"))
		return false;
	RQS_SAY(plan->why_no_alloc, "%s", why);
	RQS_SAY(plan->why_no_children, "%s", why);
	RQS_SAY(plan->why_no_sched, "%s", why);
	return true;
}

static int find_all(struct rqs_search *search)
{
	struct rqs_plan *plan = search->plan;
	const char *why;

	if (!rqs_go_table_open(&search->table, &search->image, &why)) {
		RQS_SAY(plan->why_not, "%s", why);
		return 0;
	}
	int error = collect_functions(search);
	if (error)
		return error;
	error = rqs_find_syscall(search);
	if (error || plan->why_not[0])
		return error;
	error = rqs_inline_tree_read(&search->inlined, &search->table, rqs_search_wants);
	if (error == -ENOMEM)
		return error;
	search->inlined_known = !error;
	rqs_find_vdso(search);
	rqs_find_figures(search);
	rqs_find_goroutines(search);
	if (may_load_plugins(search))
		return 0;
	error = rqs_find_alloc(search);
	return error ? error : rqs_find_sched(search);
}

int rqs_plan_make(struct rqs_plan *plan, int fd)
{
	struct rqs_search search = {.plan = plan};

	memset(plan, 0, sizeof(*plan));
	int error = rqs_image_open(&search.image, fd);
	if (!error) {
		plan->is_go = rqs_go_version(&search.image, plan->version, sizeof(plan->version));
		if (plan->is_go) {
			take_bounds(plan, &search.image);
			error = find_all(&search);
		}
	}
	rqs_inline_tree_free(&search.inlined);
	free(search.functions);
	rqs_image_close(&search.image);
	return error < 0 ? error : 0;
}

void rqs_plan_free(struct rqs_plan *plan)
{
	free(plan->sites);
	plan->sites = NULL;
	plan->site_count = 0;
}
