/*
 * python_merge.h - one stack of CPython's native frames and of the functions
 * that its interpreter runs in them.
 */
#ifndef UNWIND_PYTHON_MERGE_H
#define UNWIND_PYTHON_MERGE_H

#include "unwind/code.h"

/* The function of a frame; false: it isn't known. */
typedef bool rqs_python_namer(void *context, const struct rqs_sample_frame *frame, struct rqs_code_frame *named);

/* How far out native frames are of use: up to the outermost call of the loop of which Python's functions were copied.
 */
struct rqs_python_reach {
	unsigned calls; /* of the loop, further out than the last frame */
	bool part;      /* that was a part of a call whose next frame may belong to it, too */
};
void rqs_python_reach_begin(struct rqs_python_reach *reach, const struct rqs_sample_record *sample);
/* The next native frame. False: those further out are left out by the merge. */
bool rqs_python_reach_on(struct rqs_python_reach *reach, const struct rqs_code_frame *frame);

/*
 * `frames` has the sample's native ones, `count`, and gets the merged ones: in
 * place of each call of the interpreter's loop the functions that it runs. The
 * number of them.
 *
 * Left out are the interpreter's allocator at the inner end, and what called
 * the outermost function at the other: they say nothing, and the latter is
 * often cut off: native frames may end where rqs_python_reach_on() tells.
 * Where no call of the loop can be told by name there are Python's functions
 * alone.
 */
size_t rqs_python_merge(rqs_python_namer *name, void *context, const struct rqs_sample_record *sample,
			struct rqs_code_frame *frames, size_t count);

#endif
