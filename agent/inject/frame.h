/*
 * frame.h - the way back to what a borrowed thread did, which it takes by
 * itself if we are killed: what the kernel would have pushed for a signal's
 * handler (arch/x86/include/asm/sigframe.h), taken up by rt_sigreturn.
 */
#ifndef REQSCOPE_INJECT_FRAME_H
#define REQSCOPE_INJECT_FRAME_H

#include "inject/tracee.h"

/* Bytes that a frame for this thread takes at an address of 64 bytes' alignment, and at most. */
size_t rqs_frame_size(const struct rqs_tracee *tracee);
#define RQS_FRAME_MAX (32u << 10)

/*
 * Writes one that brings back the registers, extended state and signals that
 * the tracee was borrowed with; an interrupted call is made again. RSP is to
 * be `at` when rt_sigreturn is called.
 */
bool rqs_frame_write(struct rqs_tracee *tracee, uint64_t at);

#endif
