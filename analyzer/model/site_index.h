/* site_index.h - finding the frames, stacks and sites again that there are; for what fills struct rqs_alloc_sites. */
#ifndef REQSCOPE_SITE_INDEX_H
#define REQSCOPE_SITE_INDEX_H

#include "model/alloc_sites.h"

#include <stddef.h>

/* Bounds of what hostile traces can ask for; beyond them things aren't told apart any more. */
#define RQS_SITE_TEXT_MAX 1024u               /* bytes of one, about: longer ones are cut, as the collector does */
#define RQS_SITE_TEXTS_MAX ((size_t)64 << 20) /* bytes */
#define RQS_SITE_FRAMES_MAX (1u << 18)
#define RQS_SITE_STACKS_MAX (1u << 20)
#define RQS_SITES_MAX (1u << 16)

/* Makes stack 0. Before anything is added; again is harmless. */
void rqs_site_index_start(struct rqs_alloc_sites *s);
/* The number of a frame, added where it is new. Texts are copied and made fit for showing, NULL is ""; `helper` is set. */
uint32_t rqs_site_index_frame(struct rqs_alloc_sites *s, const struct rqs_frame_name *name);
/* The number of a stack; `caller` and `frame` are there. Too deep: without its callers. */
uint32_t rqs_site_index_stack(struct rqs_alloc_sites *s, uint32_t caller, uint32_t frame);
/* The number of a site. */
uint32_t rqs_site_index_site(struct rqs_alloc_sites *s, uint32_t row, uint32_t stack);
/* The requests along the recording of a route's row. */
double *rqs_site_index_requests(struct rqs_alloc_sites *s, uint32_t row);
/* Sorts the sites, and makes one of those that have become the same. Numbers of sites change. */
void rqs_site_index_sort(struct rqs_alloc_sites *s);

/* By the name and kind of a frame. */
bool rqs_site_is_helper(const struct rqs_frame_name *f);
void rqs_site_estimate_add(struct rqs_site_estimate *into, const struct rqs_site_estimate *from);
/* All but row and stack. */
void rqs_site_index_add(struct rqs_alloc_site *into, const struct rqs_alloc_site *from);

#endif
