/*
 * code.h - the code of one process, as the collector sees it from outside:
 * from a sample's registers and piece of stack to named frames.
 *
 * Reads /proc/PID/maps and the mapped files, never the process's memory (it
 * runs on, or is dead), and trusts nothing: not the sample, not the files. One
 * thread. What was read stays known after the process has ended.
 */
#ifndef UNWIND_CODE_H
#define UNWIND_CODE_H

#include "reqscope/region.h"

#include <stdbool.h>
#include <stddef.h>
#include <sys/types.h>

/* As in trace_format.md. */
enum rqs_frame_kind {
	RQS_FRAME_NATIVE,
	RQS_FRAME_PYTHON,
	RQS_FRAME_GO,
	RQS_FRAME_JAVASCRIPT,
	RQS_FRAME_NOTE,
};

/* The texts are the code's own and stay until it is freed. */
struct rqs_code_frame {
	const char *function; /* never NULL */
	const char *file;     /* NULL unknown */
	const char *module;   /* NULL none */
	uint32_t line;        /* 0 unknown */
	enum rqs_frame_kind kind;
	bool inlined;
	uint64_t address; /* in the process, that was resolved: of a caller its return address; 0 none (Python's) */
};
#define RQS_CODE_FRAMES 512u

struct rqs_code;

/* Differs between all that there ever are; never 0. */
uint64_t rqs_code_serial(const struct rqs_code *code);

/* procdir: /proc/PID, stays the caller's and is used while it lives; -1: it can't be read. NULL: no memory. */
struct rqs_code *rqs_code_new(int procdir, uint32_t runtime);
void rqs_code_free(struct rqs_code *code);

/* A code object of Python's, checked against `size` bytes of which it is a copy. */
void rqs_code_python(struct rqs_code *code, const struct rqs_code_record *record, size_t size);
/* Has the code object of that number been told of? */
bool rqs_code_knows_python(const struct rqs_code *code, uint32_t number);

/*
 * The frames of a checked sample, the innermost first; none of ours, and none
 * below the allocator's own entry that was called. At most RQS_CODE_FRAMES.
 * Where the outermost end isn't there a frame of kind RQS_FRAME_NOTE says why:
 * "(truncated)", it wasn't copied; "(unknown code)", of the last function it
 * isn't told how to go on; "(no room for its stack)" stands alone, as nothing was copied.
 *
 * Of Python's functions those that the interpreter runs stand in place of its
 * own; the outermost of them, if it was copied, is the end.
 */
size_t rqs_code_frames(struct rqs_code *code, const struct rqs_sample_record *sample, struct rqs_code_frame *frames);

#endif
