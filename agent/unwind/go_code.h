/*
 * go_code.h - the code of a Go program or plugin, from its file: from a sample
 * of Go's to the frames that runtime.Callers and runtime.CallersFrames would
 * have told there, functions that were inlined among them, wrappers left out.
 *
 * By the tables that the runtime unwinds by (pclntab), which stripped programs
 * have too, and never by frame pointers: code of assembly keeps none. Formats
 * of Go 1.18 and later. Files and samples may be hostile. One thread.
 */
#ifndef UNWIND_GO_CODE_H
#define UNWIND_GO_CODE_H

#include "unwind/code.h"

struct rqs_go_code;

/*
 * Reads the file at fd, which the code keeps a duplicate of. NULL: it is no Go
 * program that can be understood, or memory is short.
 */
struct rqs_go_code *rqs_go_code_open(int fd);
void rqs_go_code_free(struct rqs_go_code *code);

/* Is there a function of Go's at that address, as linked? */
bool rqs_go_code_has(const struct rqs_go_code *code, uint64_t address);

/*
 * The code that has an address of the process, NULL none; *bias: by how much
 * it was loaded above where it was linked. A plugin's is another than the
 * program's.
 */
typedef struct rqs_go_code *rqs_go_code_finder(void *context, uint64_t address, uint64_t *bias);

/*
 * The frames of a checked sample of kind RQS_SAMPLE_GO, the innermost first:
 * RIP is where the allocator (runtime.mallocgc, or one of those that it ends
 * in) will return to, RSP and RBP are as they will be then, the stack lies
 * from RSP upwards. Frames of the runtime at the inner end are left out, as in
 * Go's own heap profiles, unless there are none but these.
 *
 * At most RQS_CODE_FRAMES. Where the outermost end isn't there, a frame of kind
 * RQS_FRAME_NOTE is the last: "(truncated)", "(system stack)" where it goes on
 * on another stack, "(unknown code)".
 *
 * Texts stay until the code is freed that they are of; of one code's the same
 * text is the same pointer. `module` is left NULL. Frames that were inlined
 * have the address of the one that they were inlined into.
 */
size_t rqs_go_code_frames(rqs_go_code_finder *find, void *context, const struct rqs_sample_record *sample,
			  struct rqs_code_frame *frames);

/* The same frames for one address of the process (`call`: a return address): one, and those inlined there. */
size_t rqs_go_code_at(struct rqs_go_code *code, uint64_t bias, uint64_t address, bool call,
		      struct rqs_code_frame *frames, size_t room);

#endif
