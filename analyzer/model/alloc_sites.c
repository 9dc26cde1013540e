/*
 * alloc_sites.c - frames, stacks and sites, each once: a hash table of numbers
 * for each of the three, and one of texts.
 */
#include "model/alloc_sites.h"
#include "model/site_index.h"
#include "base/alloc.h"
#include "base/utf8.h"

#include <stdlib.h>
#include <string.h>

/* Numbers by hash; open addressing, at most half full. */
struct lookup {
	struct lookup_slot {
		uint32_t hash;
		uint32_t number; /* + 1; 0: empty */
	} * slot;
	uint32_t size, used;
};

struct rqs_site_index {
	struct lookup texts, frames, stacks, sites;
	char **text;
	uint32_t text_count;
	size_t text_bytes;
	uint16_t *depth; /* of each stack */
};

/* ---- hashing ---- */

static uint32_t mix(uint64_t v)
{
	v *= 0x9e3779b97f4a7c15ull;
	v ^= v >> 29;
	v *= 0xbf58476d1ce4e5b9ull;
	return (uint32_t)(v >> 32);
}

static uint32_t mix_pair(uint32_t a, uint32_t b)
{
	return mix((uint64_t)a << 32 | b);
}

static uint32_t mix_text(const char *text)
{
	uint64_t h = 0xcbf29ce484222325ull;

	for (; *text; text++)
		h = (h ^ (unsigned char)*text) * 0x100000001b3ull;
	return mix(h);
}

static void lookup_put(struct lookup *l, uint32_t hash, uint32_t number)
{
	uint32_t at = hash & (l->size - 1);

	while (l->slot[at].number)
		at = (at + 1) & (l->size - 1);
	l->slot[at] = (struct lookup_slot){hash, number + 1};
}

static void lookup_add(struct lookup *l, uint32_t hash, uint32_t number)
{
	if (2 * ++l->used > l->size) {
		struct lookup old = *l;

		l->size = old.size ? 2 * old.size : 256;
		l->slot = rqs_zalloc(l->size, sizeof(*l->slot));
		for (uint32_t i = 0; i < old.size; i++)
			if (old.slot[i].number)
				lookup_put(l, old.slot[i].hash, old.slot[i].number - 1);
		free(old.slot);
	}
	lookup_put(l, hash, number);
}

/* The slots with that hash, one after the other: *at is 0 at first. False: no more. */
static bool lookup_next(const struct lookup *l, uint32_t hash, uint32_t *at, uint32_t *number)
{
	while (l->size) {
		const struct lookup_slot *slot = &l->slot[(hash + (*at)++) & (l->size - 1)];

		if (!slot->number)
			return false;
		*number = slot->number - 1;
		if (slot->hash == hash)
			return true;
	}
	return false;
}

/* Room for one more of what is allocated by doubling. */
static void *room(void *array, uint32_t count, size_t size)
{
	return count & (count - 1) ? array : rqs_grow(array, count ? 2 * (size_t)count : 1, size);
}

/* ---- texts ---- */

/* Valid, nothing in it that could move a cursor, and not endless. To be freed. */
static char *fit_text(const char *text)
{
	char *fit = rqs_strndup(text, strnlen(text, RQS_SITE_TEXT_MAX + 4)), *to = fit;
	unsigned length;

	for (const unsigned char *p = (const unsigned char *)text; *p && to < fit + RQS_SITE_TEXT_MAX; p += length) {
		uint32_t code = rqs_utf8_decode(p, &length);

		if (code == RQS_UTF8_INVALID || code < 0x20 || (code >= 0x7f && code < 0xa0)) {
			*to++ = '?';
			continue;
		}
		memcpy(to, p, length);
		to += length;
	}
	*to = 0;
	return fit;
}

static const char *intern(struct rqs_site_index *index, const char *text)
{
	uint32_t at = 0, number;

	if (!text || !*text)
		return "";
	char *fit = fit_text(text);
	uint32_t hash = mix_text(fit);
	while (lookup_next(&index->texts, hash, &at, &number)) {
		if (strcmp(index->text[number], fit))
			continue;
		free(fit);
		return index->text[number];
	}
	size_t bytes = strlen(fit) + 1;
	if (bytes > RQS_SITE_TEXTS_MAX - index->text_bytes) {
		free(fit);
		return "";
	}
	index->text_bytes += bytes;
	index->text = room(index->text, index->text_count, sizeof(*index->text));
	lookup_add(&index->texts, hash, index->text_count);
	return index->text[index->text_count++] = fit;
}

/* ---- frames, stacks and sites ---- */

void rqs_site_index_start(struct rqs_alloc_sites *s)
{
	if (s->index)
		return;
	s->index = rqs_zalloc(1, sizeof(*s->index));
	s->stacks = room(NULL, 0, sizeof(*s->stacks));
	s->index->depth = room(NULL, 0, sizeof(*s->index->depth));
	s->stacks[0] = (struct rqs_stack_node){0, RQS_NO_FRAME};
	s->index->depth[0] = 0;
	s->stack_count = 1;
}

static bool same_frame(const struct rqs_frame_name *a, const struct rqs_frame_name *b)
{
	return a->function == b->function && a->file == b->file && a->module == b->module && a->line == b->line &&
	       a->kind == b->kind && a->inlined == b->inlined;
}

uint32_t rqs_site_index_frame(struct rqs_alloc_sites *s, const struct rqs_frame_name *name)
{
	struct rqs_site_index *index = s->index;
	struct rqs_frame_name own = *name;
	uint32_t at = 0, number;

	own.function = intern(index, name->function);
	own.file = intern(index, name->file);
	own.module = intern(index, name->module);
	uint32_t hash = mix_pair(mix((uintptr_t)own.function), mix((uintptr_t)own.file) ^ own.line);
	while (lookup_next(&index->frames, hash, &at, &number))
		if (same_frame(&s->frames[number], &own))
			return number;
	if (s->frame_count == RQS_SITE_FRAMES_MAX)
		return RQS_NO_FRAME;
	s->frames = room(s->frames, s->frame_count, sizeof(*s->frames));
	lookup_add(&index->frames, hash, s->frame_count);
	own.helper = rqs_site_is_helper(&own);
	s->frames[s->frame_count] = own;
	return s->frame_count++;
}

uint32_t rqs_site_index_stack(struct rqs_alloc_sites *s, uint32_t caller, uint32_t frame)
{
	struct rqs_site_index *index = s->index;
	uint32_t at = 0, number;

	if (frame >= s->frame_count)
		return caller;
	if (index->depth[caller] >= RQS_SITE_DEPTH_MAX)
		caller = 0;
	uint32_t hash = mix_pair(caller, frame);
	while (lookup_next(&index->stacks, hash, &at, &number))
		if (s->stacks[number].caller == caller && s->stacks[number].frame == frame)
			return number;
	if (s->stack_count == RQS_SITE_STACKS_MAX)
		return 0;
	s->stacks = room(s->stacks, s->stack_count, sizeof(*s->stacks));
	index->depth = room(index->depth, s->stack_count, sizeof(*index->depth));
	lookup_add(&index->stacks, hash, s->stack_count);
	s->stacks[s->stack_count] = (struct rqs_stack_node){caller, frame};
	index->depth[s->stack_count] = (uint16_t)(index->depth[caller] + 1);
	return s->stack_count++;
}

/* Where there are too many, the frame that is named stays, and then not even that. */
static uint32_t fewer(struct rqs_alloc_sites *s, uint32_t stack)
{
	if (s->site_count >= 2 * RQS_SITES_MAX)
		return 0;
	if (s->site_count >= RQS_SITES_MAX)
		return rqs_site_index_stack(s, 0, rqs_alloc_sites_frame_of(s, stack));
	return stack;
}

static bool find_site(const struct rqs_alloc_sites *s, uint32_t row, uint32_t stack, uint32_t *number)
{
	uint32_t at = 0;

	while (lookup_next(&s->index->sites, mix_pair(row, stack), &at, number))
		if (s->sites[*number].row == row && s->sites[*number].stack == stack)
			return true;
	return false;
}

uint32_t rqs_site_index_site(struct rqs_alloc_sites *s, uint32_t row, uint32_t stack)
{
	uint32_t number;

	if (find_site(s, row, stack, &number))
		return number;
	stack = fewer(s, stack);
	if (find_site(s, row, stack, &number))
		return number;
	s->sites = room(s->sites, s->site_count, sizeof(*s->sites));
	lookup_add(&s->index->sites, mix_pair(row, stack), s->site_count);
	s->sites[s->site_count] = (struct rqs_alloc_site){.row = row, .stack = stack};
	return s->site_count++;
}

double *rqs_site_index_requests(struct rqs_alloc_sites *s, uint32_t row)
{
	if (row >= s->rows) {
		s->requests_along = rqs_grow(s->requests_along, row + 1, sizeof(*s->requests_along));
		memset(s->requests_along + s->rows, 0, (row + 1 - s->rows) * sizeof(*s->requests_along));
		s->rows = row + 1;
	}
	return s->requests_along[row];
}

/* ---- several ---- */

void rqs_site_estimate_add(struct rqs_site_estimate *into, const struct rqs_site_estimate *from)
{
	into->samples += from->samples;
	into->bytes += from->bytes;
	into->bytes_variance += from->bytes_variance;
	into->count += from->count;
	into->count_variance += from->count_variance;
}

void rqs_site_index_add(struct rqs_alloc_site *into, const struct rqs_alloc_site *from)
{
	rqs_site_estimate_add(&into->allocated, &from->allocated);
	rqs_site_estimate_add(&into->followed, &from->followed);
	rqs_site_estimate_add(&into->retained, &from->retained);
	for (unsigned b = 0; b < RQS_SITE_BINS; b++)
		into->retained_along[b] += from->retained_along[b];
}

static int by_key(const void *a, const void *b)
{
	const struct rqs_alloc_site *x = a, *y = b;

	if (x->row != y->row)
		return x->row < y->row ? -1 : 1;
	return x->stack < y->stack ? -1 : x->stack > y->stack;
}

static int by_bytes(const void *a, const void *b)
{
	const struct rqs_alloc_site *x = a, *y = b;

	if (x->row == y->row && x->allocated.bytes != y->allocated.bytes)
		return x->allocated.bytes > y->allocated.bytes ? -1 : 1;
	return by_key(a, b);
}

static void unite_same(struct rqs_alloc_sites *s)
{
	uint32_t count = 1;

	qsort(s->sites, s->site_count, sizeof(*s->sites), by_key);
	for (uint32_t i = 1; i < s->site_count; i++) {
		if (by_key(&s->sites[i], &s->sites[count - 1]))
			s->sites[count++] = s->sites[i];
		else
			rqs_site_index_add(&s->sites[count - 1], &s->sites[i]);
	}
	s->site_count = count;
}

void rqs_site_index_sort(struct rqs_alloc_sites *s)
{
	struct lookup *sites = &s->index->sites;

	if (!s->site_count)
		return;
	unite_same(s);
	qsort(s->sites, s->site_count, sizeof(*s->sites), by_bytes);
	memset(sites->slot, 0, sites->size * sizeof(*sites->slot));
	sites->used = s->site_count;
	for (uint32_t i = 0; i < s->site_count; i++)
		lookup_put(sites, mix_pair(s->sites[i].row, s->sites[i].stack), i);
}

static void merge_requests(struct rqs_alloc_sites *into, const struct rqs_alloc_sites *from)
{
	for (uint32_t row = 0; row < from->rows; row++) {
		double *along = rqs_site_index_requests(into, row);

		for (unsigned b = 0; b < RQS_SITE_BINS; b++)
			along[b] += from->requests_along[row][b];
	}
}

static void merge_sites(struct rqs_alloc_sites *into, const struct rqs_alloc_sites *from)
{
	uint32_t *frame = rqs_zalloc(from->frame_count, sizeof(*frame));
	uint32_t *stack = rqs_zalloc(from->stack_count, sizeof(*stack));

	for (uint32_t i = 0; i < from->frame_count; i++)
		frame[i] = rqs_site_index_frame(into, &from->frames[i]);
	for (uint32_t i = 1; i < from->stack_count; i++)
		stack[i] = rqs_site_index_stack(into, stack[from->stacks[i].caller], frame[from->stacks[i].frame]);
	for (uint32_t i = 0; i < from->site_count; i++) {
		uint32_t number = rqs_site_index_site(into, from->sites[i].row, stack[from->sites[i].stack]);

		rqs_site_index_add(&into->sites[number], &from->sites[i]);
	}
	free(frame);
	free(stack);
}

void rqs_alloc_sites_merge(struct rqs_alloc_sites *into, const struct rqs_alloc_sites *from)
{
	if (!from->runs)
		return;
	/* What is known of a side is known of each of its runs. */
	into->known = (into->known || !into->runs) && from->known;
	into->sample_bytes = !into->runs || into->sample_bytes == from->sample_bytes ? from->sample_bytes : 0;
	into->runs += from->runs;
	if (!from->known)
		return;
	rqs_site_index_start(into);
	into->samples += from->samples;
	into->withdrawn += from->withdrawn;
	into->lost += from->lost;
	into->unfollowed += from->unfollowed;
	merge_requests(into, from);
	merge_sites(into, from);
	rqs_site_index_sort(into);
}

void rqs_alloc_sites_free(struct rqs_alloc_sites *s)
{
	struct rqs_site_index *index = s->index;

	if (index) {
		for (uint32_t i = 0; i < index->text_count; i++)
			free(index->text[i]);
		free(index->text);
		free(index->texts.slot);
		free(index->frames.slot);
		free(index->stacks.slot);
		free(index->sites.slot);
		free(index->depth);
	}
	free(index);
	free(s->frames);
	free(s->stacks);
	free(s->sites);
	free(s->requests_along);
	*s = (struct rqs_alloc_sites){0};
}
