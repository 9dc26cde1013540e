/*
 * unite_rows.h - the rows of request, sample and sites frames, encoded anew
 * for the united trace, by the collector's own encoder.
 *
 * A frame of requests or sites becomes one of the same rows (several when it
 * is huge). Samples of all traces are gathered and written in the order of time,
 * because a report adds up what the processes take at one time.
 */
#ifndef REQSCOPE_UNITE_ROWS_H
#define REQSCOPE_UNITE_ROWS_H

#include "collect/encode.h"
#include "collect/writer.h"
#include "merge/inputs.h"
#include "merge/unite_stacks.h"

struct rqs_sample {
	uint64_t time; /* on the common clock */
	uint64_t process;
	uint64_t value[RQS_COL_LIMIT]; /* by column id */
};

struct rqs_unite_rows {
	struct rqs_inputs *inputs;
	struct rqs_writer *writer;
	struct rqs_unite_stacks stacks; /* all of them, before any sites */
	struct rqs_encoder encoder;
	struct rqs_block block;
	uint64_t *value[RQS_COL_LIMIT]; /* a chunk's columns */
	uint32_t rows;                  /* of the chunk */

	/* The table of the requests or sites frame being read. */
	uint32_t routes;
	struct rqs_table_entry {
		const char *text;
		uint16_t length;
		uint8_t method;
	} * table;
	uint32_t *place; /* + 1 in the chunk's table, by the frame's route; 0: not in it */
	uint32_t *used;  /* the chunk's table: the frame's route */
	uint32_t used_count;

	struct rqs_sample *sample; /* that wait for their turn */
	uint32_t samples;
};

void rqs_unite_rows_start(struct rqs_unite_rows *u, struct rqs_inputs *inputs, struct rqs_writer *writer);
void rqs_unite_rows_free(struct rqs_unite_rows *u);
/* Takes the rows of in->frame, which was read last from in->reader. 0 or -errno. */
int rqs_unite_requests(struct rqs_unite_rows *u, struct rqs_input *in);
int rqs_unite_sites(struct rqs_unite_rows *u, struct rqs_input *in);
int rqs_unite_samples(struct rqs_unite_rows *u, struct rqs_input *in);
/* Writes the samples that still wait. */
int rqs_unite_samples_end(struct rqs_unite_rows *u);

#endif
