/*
 * batch.h - rows gathered for the next frame: requests with their routes,
 * samples, or sampled allocations with the routes that some of them have.
 */
#ifndef COLLECT_BATCH_H
#define COLLECT_BATCH_H

#include "collect/encode.h"

/* A frame's rows: enough to compress well, few enough to stay small. */
#define RQS_BATCH_ROWS 32768u

/* One row of a request frame. Durations in ns, sizes in bytes; RQS_NULL where a column's null is meant. */
struct rqs_request_row {
	uint64_t time; /* ns of CLOCK_MONOTONIC; must come first */
	uint64_t process;
	uint64_t route; /* as rqs_batch_route gave it */
	uint64_t status;
	uint64_t flags;
	uint64_t queue;
	uint64_t handler;
	uint64_t send;
	uint64_t request_bytes;
	uint64_t response_bytes;
	uint64_t alloc_count;
	uint64_t alloc_bytes;
	uint64_t cpu_time;
	uint64_t sched_wait;
	uint64_t children_cpu_time;
	uint64_t gil_wait;
	uint64_t loop_delay;
	uint64_t recv_buffer_bytes;
};

/* One row of a sample frame. */
struct rqs_sample_row {
	uint64_t time; /* ns of CLOCK_MONOTONIC; must come first */
	uint64_t process;
	uint64_t rss;        /* bytes */
	uint64_t cpu_user;   /* us */
	uint64_t cpu_system; /* us */
	uint64_t threads;
	uint64_t fds;
	uint64_t heap_in_use; /* bytes */
	uint64_t heap_goal;   /* bytes */
	uint64_t gc_cycles;
	uint64_t gc_pause_total; /* ns */
	uint64_t goroutines;
};

/* One row of a sites frame; a freed one leaves at 0 what only an allocated one tells. */
struct rqs_site_row {
	uint64_t time; /* ns of CLOCK_MONOTONIC; must come first */
	uint64_t process;
	uint64_t event; /* enum rqs_site_event */
	uint64_t number;
	uint64_t owner; /* enum rqs_site_owner */
	uint64_t route; /* as rqs_batch_route gave it, or RQS_NULL */
	uint64_t stack;
	uint64_t bytes;
	uint64_t sample_bytes;
	uint64_t followed;
};

struct rqs_batch_kind {
	enum rqs_frame_type frame;
	size_t row_size;
	const struct rqs_batch_field {
		uint8_t column;
		size_t offset; /* of the u64 in the row */
	} * fields;
	unsigned field_count;
};

extern const struct rqs_batch_kind rqs_batch_requests, rqs_batch_samples, rqs_batch_sites;

struct rqs_batch_route {
	uint32_t text; /* offset in `texts` */
	uint16_t length;
	uint8_t method;
	uint32_t hash;
};

struct rqs_batch {
	const struct rqs_batch_kind *kind;
	unsigned char *rows;
	uint32_t count;
	/* The route table of the coming frame, found by hash. */
	struct rqs_batch_route *routes;
	uint32_t route_count;
	uint32_t *buckets; /* route + 1, 0 free */
	char *texts;
	uint32_t texts_length, texts_capacity;
	/* Scratch of rqs_batch_encode. */
	uint64_t *values, *keys, *spare;
};

/* 0 or -ENOMEM. */
int rqs_batch_init(struct rqs_batch *batch, const struct rqs_batch_kind *kind);
void rqs_batch_free(struct rqs_batch *batch);

static inline int rqs_batch_is_full(const struct rqs_batch *batch)
{
	return batch->count == RQS_BATCH_ROWS;
}

/* The index of a route in the coming frame. The text is copied, bytes that aren't printable UTF-8 as '?'. */
uint32_t rqs_batch_route(struct rqs_batch *batch, uint8_t method, const char *text, uint16_t length);

/* Appends a row of the kind's type. The batch must not be full. */
void rqs_batch_add(struct rqs_batch *batch, const void *row);

/*
 * Encodes all rows, in order of time, with the first and last of the times in
 * ns. The batch must not be empty. 0, or as rqs_encoder_end.
 */
int rqs_batch_encode(struct rqs_batch *batch, struct rqs_encoder *encoder, uint64_t *first, uint64_t *last);

void rqs_batch_clear(struct rqs_batch *batch);

#endif
