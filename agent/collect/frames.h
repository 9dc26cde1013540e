/*
 * frames.h - what a session puts into its trace, and when: rows are gathered
 * and written about once a second, or when there are many; totals follow them.
 */
#ifndef COLLECT_FRAMES_H
#define COLLECT_FRAMES_H

#include "collect/batch.h"
#include "collect/drain.h"
#include "collect/frame_json.h"
#include "collect/writer.h"

struct rqs_frames {
	struct rqs_processes *processes;
	struct rqs_drain *drain;
	struct rqs_writer writer;
	struct rqs_encoder encoder;
	struct rqs_batch requests, samples;
	/* Of sampled allocations; NULL and empty where none are taken. */
	struct rqs_site_rows *site_rows;
	struct rqs_stack_table *stacks;
	struct rqs_batch sites;
	struct rqs_troubles troubles;
	uint64_t next_flush_ns, next_totals_ns;
	struct {
		struct rqs_completeness sum;
		uint64_t accepted;
		uint64_t unplaced;
		uint32_t noted;
		int write_error;
	} told; /* what the last totals frame said */
};

/* The writer is opened by the caller. 0 or -ENOMEM. */
int rqs_frames_init(struct rqs_frames *frames, struct rqs_processes *processes, struct rqs_drain *drain);
/* Before any process is watched: sampled allocations of that mean distance are in the trace. 0 or -ENOMEM. */
int rqs_frames_sites_start(struct rqs_frames *frames, uint64_t sample_bytes);
/* Closes the writer, too. */
void rqs_frames_free(struct rqs_frames *frames);

/* Writes the first frame. 0 or -errno. */
int rqs_frames_run(struct rqs_frames *frames, const struct rqs_run_facts *facts);

/* Writes the batch, with the process frames that its rows name, and clears it. `frames` is a struct rqs_frames. */
void rqs_frames_requests(void *frames);
void rqs_frames_samples(void *frames);
void rqs_frames_sites(void *frames); /* with the stacks that its rows name */

/* When it is time: all that was gathered, and totals when they have changed. */
void rqs_frames_flush(struct rqs_frames *frames, uint64_t now_ns);

/* Writes all that is left and the end frame. 0 or -errno. */
int rqs_frames_end(struct rqs_frames *frames, uint64_t now_ns, const char *reason);

#endif
