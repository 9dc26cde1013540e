/* patches.c - the hidden command `patches`: what the preloaded library asks for in a dynamic Go program (inject/patching.h). */
#include "cmd/command.h"
#include "inject/patching.h"
#include "reqscope/region.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static const char usage[] = "usage: reqscope patches < CONNECTION > PROGRAM\n"
			    "\n"
			    "Tells libreqscope.so, in a Go program, where its hooks go. Standard output is\n"
			    "read, not written. It is started by the library; there is no need to call it.\n";

static bool transfer(int fd, void *p, size_t n, ssize_t (*move)(int, void *, size_t))
{
	char *at = p;

	while (n) {
		ssize_t moved = move(fd, at, n);

		if (moved < 0 && errno == EINTR)
			continue;
		if (moved <= 0)
			return false;
		at += moved;
		n -= (size_t)moved;
	}
	return true;
}

static ssize_t put(int fd, void *p, size_t n)
{
	return write(fd, p, n);
}

static void say_why(struct rqs_patching_answer *answer, const char *why)
{
	snprintf(answer->why, sizeof(answer->why), "%s", why);
}

/* Fills answer, patches and stubs; both are as big as the plan needs. */
static void build(const struct rqs_patching_request *request, const struct rqs_plan *plan,
		  struct rqs_patching_answer *answer, struct rqs_patch *patches, uint8_t *stubs)
{
	size_t count = 0;
	size_t size = rqs_stubs_build(plan, request->bias, request->entries, request->base, stubs, patches, &count,
				      answer->why);

	if (size > request->room)
		say_why(answer, "it has more places to hook than there is room for");
	else if (size) {
		answer->patch_count = (uint32_t)count;
		answer->stubs_size = (uint32_t)size;
	}
}

static int answer_request(const struct rqs_patching_request *request, const struct rqs_plan *plan)
{
	struct rqs_patching_answer answer = {
	    .version = RQS_REGION_VERSION,
	    .measures = plan->measures,
	    .curg_offset = plan->curg_offset,
	    .figures = plan->figures,
	};
	struct rqs_patch *patches = calloc(plan->site_count + 1, sizeof(*patches));
	uint8_t *stubs = calloc(1, rqs_stubs_room(plan->site_count));
	bool sent = false;

	memcpy(answer.go_version, plan->version, sizeof(answer.go_version));
	if (!plan->is_go)
		say_why(&answer, "it isn't a Go program");
	else if (plan->why_not[0])
		say_why(&answer, plan->why_not);
	else if (patches && stubs)
		build(request, plan, &answer, patches, stubs);
	if (patches && stubs)
		sent = transfer(0, &answer, sizeof(answer), put) &&
		       transfer(0, patches, answer.patch_count * sizeof(*patches), put) &&
		       transfer(0, stubs, answer.stubs_size, put);
	free(patches);
	free(stubs);
	return sent ? RQS_EXIT_OK : RQS_EXIT_USAGE;
}

static int patches_command(int argc, char **argv)
{
	struct rqs_patching_request request;
	struct rqs_plan plan = {0};
	int status = RQS_EXIT_USAGE;

	if (argc > 1) {
		rqs_print_usage(&rqs_command_patches);
		return strcmp(argv[1], "--help") ? RQS_EXIT_USAGE : RQS_EXIT_OK;
	}
	if (!transfer(0, &request, sizeof(request), read) || request.version != RQS_REGION_VERSION) {
		rqs_complain("patches: it is started by libreqscope.so");
		return status;
	}
	if (rqs_plan_make(&plan, 1) == 0)
		status = answer_request(&request, &plan);
	rqs_plan_free(&plan);
	return status;
}

const struct rqs_command rqs_command_patches = {
    .name = RQS_PATCHING_COMMAND,
    .usage = usage,
    .run = patches_command,
};
