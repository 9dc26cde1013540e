/*
 * python_code.h - the code objects of one CPython process, as their records
 * (region.h) tell of them: from a frame's numbers to function, file and line.
 *
 * Nothing of the process is asked for. One thread.
 */
#ifndef UNWIND_PYTHON_CODE_H
#define UNWIND_PYTHON_CODE_H

#include "reqscope/region.h"

#include <stdbool.h>
#include <stddef.h>

/*
 * A program may make code all the time: what has a number above the first, or
 * would take more memory than the second, is "(too many code objects)".
 */
#define RQS_PYTHON_CODES 1048576u
#define RQS_PYTHON_CODE_BYTES (64u << 20)

struct rqs_python_codes;

/* The texts are UTF-8, never NULL, and stay until the codes are freed. */
struct rqs_python_place {
	const char *function; /* qualified, where the version has that */
	const char *file;     /* as co_filename; "": too many */
	uint32_t line;        /* as a traceback gives it; 0: the instruction has none, or the line table is too long */
};

/* NULL: no memory. */
struct rqs_python_codes *rqs_python_codes_new(void);
void rqs_python_codes_free(struct rqs_python_codes *codes);

/* Of `size` bytes, copied out of the region. False: damaged, a number that is taken, too many, or no memory. */
bool rqs_python_codes_take(struct rqs_python_codes *codes, const struct rqs_code_record *record, size_t size);

/*
 * Where a frame is: its code and offset as in struct rqs_sample_frame,
 * RQS_FRAME_ENTRY or not. False: that number isn't known (yet).
 */
bool rqs_python_codes_frame(const struct rqs_python_codes *codes, uint32_t code, uint32_t offset,
			    struct rqs_python_place *place);

#endif
