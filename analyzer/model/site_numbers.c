/* site_numbers.c - ranges of numbers, which without damage are one. */
#include "model/site_numbers.h"
#include "model/site_index.h"
#include "model/trace.h"
#include "base/alloc.h"

#include <stdlib.h>
#include <string.h>

#define NUMBERS_MAX (4u << 20)
#define RANGES_MAX 4096u
#define NOT_KNOWN UINT32_MAX

/* The last range that begins at `number` or before; -1 none. */
static int range_before(const struct rqs_numbers *n, uint64_t number)
{
	int low = 0, high = (int)n->ranges;

	while (low < high) {
		int middle = (low + high) / 2;

		if (n->range[middle].first <= number)
			low = middle + 1;
		else
			high = middle;
	}
	return low - 1;
}

/* The range that numbers from `first` on go to; NULL: there are too many. */
static struct rqs_number_range *range_for(struct rqs_numbers *n, uint64_t first)
{
	unsigned at = (unsigned)(range_before(n, first) + 1);
	struct rqs_number_range *r = at ? &n->range[at - 1] : NULL;

	if (r && r->at + r->count == n->count && first == r->first + r->count)
		return r;
	if (n->ranges == RANGES_MAX)
		return NULL;
	n->range = rqs_grow(n->range, n->ranges + 1, sizeof(*n->range));
	r = &n->range[at];
	memmove(r + 1, r, (n->ranges++ - at) * sizeof(*r));
	*r = (struct rqs_number_range){first, 0, n->count};
	return r;
}

static void append(struct rqs_numbers *n, struct rqs_number_range *range, uint32_t what)
{
	if (n->count == NUMBERS_MAX)
		return;
	if (!(n->count & (n->count - 1)))
		n->what = rqs_grow(n->what, n->count ? 2 * n->count : 1, sizeof(*n->what));
	n->what[n->count++] = what;
	range->count++;
}

static uint32_t find(const struct rqs_numbers *n, uint64_t number)
{
	int at = range_before(n, number);

	if (at < 0 || number - n->range[at].first >= n->range[at].count)
		return NOT_KNOWN;
	return n->what[n->range[at].at + (number - n->range[at].first)];
}

/* ---- frames ---- */

static const char *const kinds[RQS_KINDS] = {
    [RQS_KIND_NATIVE] = "native",         [RQS_KIND_PYTHON] = "python", [RQS_KIND_GO] = "go",
    [RQS_KIND_JAVASCRIPT] = "javascript", [RQS_KIND_NOTE] = "note",
};

const char *rqs_frame_kind_name(enum rqs_frame_name_kind kind)
{
	return kinds[kind];
}

static enum rqs_frame_name_kind kind_of(const char *name)
{
	for (unsigned k = 0; name && k < RQS_KINDS; k++)
		if (!strcmp(name, kinds[k]))
			return k;
	return RQS_KIND_NATIVE;
}

static uint32_t take_frame(struct rqs_alloc_sites *sites, const cJSON *object)
{
	uint64_t line = rqs_json_u64(object, "line");
	const struct rqs_frame_name name = {
	    .function = rqs_json_string(object, "function"),
	    .file = rqs_json_string(object, "file"),
	    .module = rqs_json_string(object, "module"),
	    .line = line < UINT32_MAX ? (uint32_t)line : 0,
	    .kind = kind_of(rqs_json_string(object, "kind")),
	    .inlined = cJSON_IsTrue(cJSON_GetObjectItemCaseSensitive(object, "inlined")),
	};

	return rqs_site_index_frame(sites, &name);
}

static void take_frames(struct rqs_numbers *frames, struct rqs_alloc_sites *sites, const cJSON *object)
{
	struct rqs_number_range *range = range_for(frames, rqs_json_u64(object, "first_frame"));
	const cJSON *frame;

	if (!range)
		return;
	cJSON_ArrayForEach(frame, cJSON_GetObjectItemCaseSensitive(object, "frames"))
	{
		append(frames, range, take_frame(sites, frame));
	}
}

/* ---- stacks ---- */

static uint64_t number_of(const cJSON *item)
{
	return cJSON_IsNumber(item) && item->valuedouble >= 0 && item->valuedouble < 0x1p53
		   ? (uint64_t)item->valuedouble
		   : UINT64_MAX;
}

static uint32_t frame_at(const struct rqs_numbers *frames, struct rqs_alloc_sites *sites, uint64_t number)
{
	const struct rqs_frame_name lost = {.function = "(not known)", .kind = RQS_KIND_NOTE};
	uint32_t frame = find(frames, number);

	return frame == NOT_KNOWN ? rqs_site_index_frame(sites, &lost) : frame;
}

static void take_stacks(struct rqs_site_numbers *n, struct rqs_alloc_sites *sites, const cJSON *object)
{
	uint64_t first = rqs_json_u64(object, "first_stack");
	struct rqs_number_range *range = range_for(&n->stacks, first);
	const cJSON *list = cJSON_GetObjectItemCaseSensitive(object, "stacks");

	if (!range || !first)
		return;
	for (const cJSON *item = list ? list->child : NULL; item && item->next; item = item->next->next) {
		uint32_t caller = rqs_site_numbers_stack(n, number_of(item));
		uint32_t frame = frame_at(&n->frames, sites, number_of(item->next));

		append(&n->stacks, range, rqs_site_index_stack(sites, caller, frame));
	}
}

void rqs_site_numbers_add(struct rqs_site_numbers *n, struct rqs_alloc_sites *sites, const cJSON *object)
{
	take_frames(&n->frames, sites, object);
	take_stacks(n, sites, object);
}

uint32_t rqs_site_numbers_stack(const struct rqs_site_numbers *n, uint64_t number)
{
	uint32_t stack = find(&n->stacks, number);

	return stack == NOT_KNOWN ? 0 : stack;
}

void rqs_site_numbers_free(struct rqs_site_numbers *n)
{
	free(n->frames.range);
	free(n->frames.what);
	free(n->stacks.range);
	free(n->stacks.what);
}
