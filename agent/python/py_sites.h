/*
 * py_sites.h - sampled allocations in CPython (region.h): whose they are, and
 * which Python functions were at it. Where none are sampled nothing of this
 * runs, and frees aren't looked at.
 *
 * What the interpreter keeps in lists of its own (floats, tuples, frames and
 * more) is neither allocated nor freed when it is taken from there and put
 * back: a site is where the allocator was called.
 */
#ifndef REQSCOPE_PY_SITES_H
#define REQSCOPE_PY_SITES_H

#include "core/followed.h"
#include "core/sample.h"
#include "python/py.h"

/* Allocations are sampled, here as in memory.c; set by rqs_py_sites_install(). */
extern bool rqs_py_sites_on;

/* With the GIL, before the allocators are wrapped. */
void rqs_py_sites_install(void);

/* Finds where the thread's next sample is to be; also for its first one. */
void rqs_py_sites_next(struct rqs_py_thread *thread);
/* True: what was just counted is a sample, and its point is behind. */
static inline bool rqs_py_sites_due(struct rqs_py_thread *thread)
{
	if (rqs_likely(thread->ahead > 0))
		return false;
	rqs_py_sites_next(thread);
	return true;
}

/* rqs_meter.sampled: after the owner was found. */
void rqs_py_sites_sampled(const struct rqs_call *call, struct rqs_sample_facts *facts);

/* ---- py_frames.c ---- */

/* How this interpreter keeps its frames. False: not known. */
bool rqs_py_frames_find(void);

/*
 * The Python frames of the thread with that state, the innermost first, as a
 * traceback would have them: coroutines that wait are on no stack, those that
 * run, and who awaits them, are. Reads only. With the GIL. UINT16_MAX: what
 * was found isn't what is known of this version, and nothing is taken from it.
 */
struct rqs_py_frame {
	const char *code; /* NULL: there is nothing to show */
	uint32_t offset;  /* as in struct rqs_sample_frame */
};
uint16_t rqs_py_frames(const char *state, struct rqs_py_frame *frames, bool *more);

/* Is this the calling thread's, whose state was `own` when it was last seen, and has it the GIL? */
bool rqs_py_frames_are_own(const char *state, const void *own);

/* A code object's parts, as the record tells them; false: it isn't one. */
struct rqs_py_text {
	const char *data;
	uint64_t bytes;
	uint8_t width;
};
struct rqs_py_code {
	struct rqs_py_text file, name;
	const char *lines; /* NULL with no bytes */
	uint64_t lines_bytes;
	uint32_t first_line;
	enum rqs_line_table lines_kind;
};
bool rqs_py_code_read(const char *code, struct rqs_py_code *parts);

/* ---- py_codes.c ---- */

/* False: no memory. */
bool rqs_py_codes_start(void);
void rqs_py_codes_forget(void);
/* Sets the numbers of the frames' code, and commits the records of what has none yet. With the worker entered. */
void rqs_py_codes_number(const struct rqs_call *call, const struct rqs_py_frame *frames, uint16_t count,
			 struct rqs_sample_frame *numbered);

#endif
