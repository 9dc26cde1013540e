/* show_plan.c - the hidden command `plan`: what could be hooked in a Go program. */
#include "cmd/command.h"
#include "inject/plan.h"
#include "reqscope/region.h"

#include <cjson/cJSON.h>
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static const char usage[] = "usage: reqscope plan [--json] FILE\n"
			    "\n"
			    "What could be hooked in the Go program FILE, and what could be measured then.\n"
			    "\n"
			    "exit status: 0 requests can be recorded; 1 they can't; 2 FILE can't be read.\n";

static const char *const kinds[] = {
#define KIND_NAME(symbol) [RQS_SITE_##symbol] = #symbol,
    RQS_SITES(KIND_NAME)
#undef KIND_NAME
};

static const struct {
	const char *name;
	uint32_t bit;
	size_t why; /* offset in struct rqs_plan */
} measures[] = {
    {"allocations", RQS_MEASURES_ALLOC, offsetof(struct rqs_plan, why_no_alloc)},
    {"children", RQS_MEASURES_CHILDREN, offsetof(struct rqs_plan, why_no_children)},
    {"times", RQS_MEASURES_SCHED, offsetof(struct rqs_plan, why_no_sched)},
};

static const struct {
	const char *name;
	size_t offset; /* in struct rqs_plan_figures */
} figures[] = {
#define FIGURE(member) {#member, offsetof(struct rqs_plan_figures, member)},
    FIGURE(heap_in_use) FIGURE(heap_live) FIGURE(heap_goal) FIGURE(gc_cycles) FIGURE(gc_pause_total)
	FIGURE(goroutines_all) FIGURE(goroutines_free) FIGURE(goroutines_bare) FIGURE(goroutines_system)
#undef FIGURE
};

#define LENGTH(array) (sizeof(array) / sizeof(*(array)))

static uint64_t figure_of(const struct rqs_plan *plan, size_t offset)
{
	uint64_t value;

	memcpy(&value, (const char *)&plan->figures + offset, sizeof(value));
	return value;
}

static void print_text(const struct rqs_plan *plan)
{
	printf("Go %s%s%s\n", plan->version[0] ? plan->version : "of an unknown version",
	       plan->dynamic ? ", dynamic" : "", plan->position_independent ? ", position-independent" : "");
	printf("%-12s %s\n", "requests", plan->why_not[0] ? plan->why_not : "yes");
	for (size_t i = 0; i < LENGTH(measures) && !plan->why_not[0]; i++)
		printf("%-12s %s\n", measures[i].name,
		       plan->measures & measures[i].bit ? "yes" : (const char *)plan + measures[i].why);
	for (size_t i = 0; i < plan->site_count; i++) {
		const struct rqs_site *site = &plan->sites[i];

		printf("%-12s %" PRIx64 " %s, %u bytes, %u before%s\n", kinds[site->kind], site->address, site->name,
		       site->length, site->before, site->copied ? ", a copy" : "");
	}
	for (size_t i = 0; i < LENGTH(figures); i++)
		printf("%-18s %" PRIx64 "\n", figures[i].name, figure_of(plan, figures[i].offset));
}

static void add_address(cJSON *object, const char *name, uint64_t address)
{
	char text[24];

	snprintf(text, sizeof(text), "0x%" PRIx64, address);
	cJSON_AddStringToObject(object, name, text);
}

static void add_site(cJSON *sites, const struct rqs_site *site)
{
	cJSON *object = cJSON_CreateObject();
	char code[2 * RQS_SITE_CODE + 1] = "";

	for (unsigned i = 0; i < site->length; i++)
		snprintf(code + 2 * i, 3, "%02x", site->code[i]);
	cJSON_AddStringToObject(object, "kind", kinds[site->kind]);
	cJSON_AddStringToObject(object, "name", site->name);
	add_address(object, "address", site->address);
	cJSON_AddNumberToObject(object, "length", site->length);
	cJSON_AddNumberToObject(object, "before", site->before);
	cJSON_AddBoolToObject(object, "copied", site->copied);
	if (site->copied) {
		cJSON_AddNumberToObject(object, "goroutine", site->goroutine);
		cJSON_AddNumberToObject(object, "status", site->status);
	}
	cJSON_AddStringToObject(object, "code", code);
	cJSON_AddItemToArray(sites, object);
}

static void add_bounds(cJSON *json, const struct rqs_plan *plan)
{
	cJSON_AddBoolToObject(json, "position_independent", plan->position_independent);
	cJSON_AddBoolToObject(json, "dynamic", plan->dynamic);
	add_address(json, "image_start", plan->image_start);
	add_address(json, "image_end", plan->image_end);
	add_address(json, "text_start", plan->text_start);
	add_address(json, "text_end", plan->text_end);
	add_address(json, "syscall_instruction", plan->syscall_instruction);
	cJSON_AddNumberToObject(json, "curg_offset", plan->curg_offset);
	cJSON_AddNumberToObject(json, "vdso_pc_offset", plan->vdso_pc_offset);
	cJSON_AddNumberToObject(json, "vdso_sp_offset", plan->vdso_sp_offset);
}

static cJSON *to_json(const struct rqs_plan *plan)
{
	cJSON *json = cJSON_CreateObject();

	cJSON_AddBoolToObject(json, "is_go", plan->is_go);
	cJSON_AddStringToObject(json, "version", plan->version);
	cJSON_AddStringToObject(json, "why_not", plan->why_not);
	cJSON *possible = cJSON_AddObjectToObject(json, "measures");
	for (size_t i = 0; i < LENGTH(measures); i++)
		cJSON_AddBoolToObject(possible, measures[i].name, plan->measures & measures[i].bit);
	cJSON *reasons = cJSON_AddObjectToObject(json, "reasons");
	for (size_t i = 0; i < LENGTH(measures); i++)
		cJSON_AddStringToObject(reasons, measures[i].name, (const char *)plan + measures[i].why);
	cJSON *sites = cJSON_AddArrayToObject(json, "sites");
	for (size_t i = 0; i < plan->site_count; i++)
		add_site(sites, &plan->sites[i]);
	add_bounds(json, plan);
	cJSON *found = cJSON_AddObjectToObject(json, "figures");
	for (size_t i = 0; i < LENGTH(figures); i++)
		add_address(found, figures[i].name, figure_of(plan, figures[i].offset));
	return json;
}

static void print_json(const struct rqs_plan *plan)
{
	cJSON *json = to_json(plan);
	char *text = cJSON_Print(json);

	puts(text ? text : "{}");
	cJSON_free(text);
	cJSON_Delete(json);
}

static int show(const char *file, bool as_json)
{
	struct rqs_plan plan;
	int fd = open(file, O_RDONLY | O_CLOEXEC);
	int error = fd < 0 ? -errno : rqs_plan_make(&plan, fd);

	if (fd >= 0)
		close(fd);
	if (error) {
		rqs_complain("%s: %s", file, strerror(-error));
		if (fd >= 0)
			rqs_plan_free(&plan);
		return RQS_EXIT_USAGE;
	}
	if (as_json)
		print_json(&plan);
	else if (plan.is_go)
		print_text(&plan);
	else
		puts("no Go program for x86-64");
	int status = plan.is_go && !plan.why_not[0] ? RQS_EXIT_OK : RQS_EXIT_GATE;
	rqs_plan_free(&plan);
	return status;
}

static int run_plan(int argc, char **argv)
{
	bool as_json = argc > 1 && !strcmp(argv[1], "--json");

	if (argc == 2 && !strcmp(argv[1], "--help")) {
		rqs_print_usage(&rqs_command_show_plan);
		return RQS_EXIT_OK;
	}
	if (argc != 2 + as_json) {
		rqs_complain("plan takes one FILE; see `reqscope plan --help`");
		return RQS_EXIT_USAGE;
	}
	return show(argv[1 + as_json], as_json);
}

const struct rqs_command rqs_command_show_plan = {"plan", NULL, usage, run_plan};
