/*
 * flame_tree.h - the call stacks of one side or two, merged into one tree:
 * frames of the same function in the same file are one, wherever in it they
 * are, so that two versions of a program meet in the same frames.
 *
 * Of two sides the tree is as wide as the greater of the two at each stack.
 * So what either has is in the same picture, at the same place, also what the
 * other one lacks; laid out by one side alone, as B. Gregg's differential flame
 * graphs are, there must be two of them, and what has gone is only in one.
 */
#ifndef REQSCOPE_FLAME_TREE_H
#define REQSCOPE_FLAME_TREE_H

#include "model/alloc_sites.h"
#include "render/flame.h"
#include "report/frame_keys.h"

#define RQS_FLAME_SIDES 2

/* Bytes a request: the mean of the runs, and the variance of that mean. */
struct rqs_flame_value {
	double bytes, variance;
	uint64_t samples;
	/* While runs are added: sums over those before, and what the present one has. */
	double sum, squares, sampling;
	struct {
		double bytes, variance;
		uint64_t samples;
	} run;
};

struct rqs_flame_node {
	uint32_t caller, first, next; /* numbers of nodes; 0, the whole's, is none */
	uint32_t key;
	const struct rqs_frame_name *name; /* NULL: the whole, and what is too narrow to be shown */
	uint32_t low_line, high_line;
	double width, own; /* with and without what it calls */
	struct rqs_flame_value side[RQS_FLAME_SIDES];
};

struct rqs_flame_tree {
	unsigned sides;
	unsigned runs[RQS_FLAME_SIDES];
	double requests[RQS_FLAME_SIDES], sample_bytes[RQS_FLAME_SIDES];
	struct rqs_intern keys;
	unsigned nodes;
	struct rqs_flame_node *node; /* a caller has a lower number */
	unsigned slots;              /* a power of 2 */
	uint32_t *slot;              /* nodes by caller and key; 0 free */
};

/* What is added up of a site. */
enum rqs_flame_measure {
	RQS_FLAME_ALLOCATED,
	RQS_FLAME_RETAINED,
};

#define RQS_FLAME_ALL_ROUTES UINT32_MAX

void rqs_flame_tree_start(struct rqs_flame_tree *t, unsigned sides);
/* One run of a side, whose sites must outlive the tree; of one route, or of all. requests > 0. */
void rqs_flame_tree_add_run(struct rqs_flame_tree *t, unsigned side, const struct rqs_alloc_sites *sites,
			    enum rqs_flame_measure measure, uint32_t row, double requests);
/*
 * After all runs: draws it with at most `bars` bars, those that are narrower
 * made one beside their siblings. `whole` stands in the topmost; `names` of the sides, of two. NULL: there is nothing.
 */
struct rqs_flame *rqs_flame_tree_draw(struct rqs_flame_tree *t, const char *title, const char *whole, const char *note,
				      const char *const *names, unsigned bars);
void rqs_flame_tree_free(struct rqs_flame_tree *t);

#endif
