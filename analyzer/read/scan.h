/*
 * scan.h - one pass over a trace: frames are checked, decoded and handed to a
 * visitor in file order; damage is collected.
 */
#ifndef REQSCOPE_SCAN_H
#define REQSCOPE_SCAN_H

#include "read/columns.h"
#include "read/reader.h"

#include <cjson/cJSON.h>

/* "run", ..., or NULL for a type this version doesn't know. */
const char *rqs_frame_type_name(unsigned type);

/* All members but context may be NULL, and are then skipped without decompressing. */
struct rqs_visitor {
	void *context;
	uint64_t request_columns; /* wanted, by RQS_COLUMN_BIT */
	/* Run, process, totals, end. The object is freed afterwards. */
	void (*json)(void *context, enum rqs_frame_type type, const cJSON *object);
	/* Asked with a payload's route table, when that is cheap to have: false skips the rows. */
	bool (*wants_rows)(void *context, const struct rqs_frame *frame, struct rqs_columns *columns);
	/* Before a payload's first block: read its route table with rqs_columns_route. */
	void (*routes)(void *context, const struct rqs_frame *frame, struct rqs_columns *columns);
	void (*requests)(void *context, const struct rqs_frame *frame, const struct rqs_block *block);
	/* After the last block of a requests frame, whole or not. */
	void (*requests_end)(void *context);
	void (*samples)(void *context, const struct rqs_frame *frame, const struct rqs_block *block);
	/* What sites frames name; the object is freed afterwards. */
	void (*stacks)(void *context, const cJSON *object);
	/* Before a sites payload's first block: its route table, which may be empty. */
	void (*site_routes)(void *context, const struct rqs_frame *frame, struct rqs_columns *columns);
	void (*sites)(void *context, const struct rqs_frame *frame, const struct rqs_block *block);
	void (*frame)(void *context, const struct rqs_frame *frame); /* every frame */
	void (*damage)(void *context, const struct rqs_damage *damage);
	void (*progress)(void *context, uint64_t done, uint64_t size);
};

struct rqs_scan {
	uint64_t frames; /* whole ones */
	uint64_t damages;
	struct rqs_damage first_damage;
	bool run, end;    /* seen */
	unsigned version; /* of a frame that needs a newer reqscope; 0: none. The pass stopped there. */
	uint64_t version_offset;
};

/* Why a file can't be opened (-errno), or why a pass found no frame in it. To be freed. */
char *rqs_open_problem(int error);
char *rqs_unreadable(const struct rqs_scan *scan, uint64_t size);

void rqs_scan(struct rqs_reader *reader, const struct rqs_visitor *visitor, struct rqs_scan *result);

#endif
