/*
 * eh_frame.h - a table of the functions that .eh_frame tells of, for files
 * whose linker made none (.eh_frame_hdr): as such a table has them, pairs of
 * 32-bit offsets.
 */
#ifndef UNWIND_EH_FRAME_H
#define UNWIND_EH_FRAME_H

#include "unwind/code_file.h"

struct rqs_eh_frame;

/* The file's, made when it is first asked for; NULL none. */
struct rqs_eh_frame *rqs_eh_frame_of(struct rqs_code_file *file);
void rqs_eh_frame_free(struct rqs_eh_frame *frame);

/* The address, as linked, from which the offsets count. */
uint64_t rqs_eh_frame_base(const struct rqs_eh_frame *frame);
uint32_t rqs_eh_frame_count(const struct rqs_eh_frame *frame);
/* The pair at so many bytes of the table. */
bool rqs_eh_frame_row(const struct rqs_eh_frame *frame, uint64_t offset, uint64_t *row);

#endif
