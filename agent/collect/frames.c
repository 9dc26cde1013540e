/* frames.c - rows, processes and totals to frames of the trace. */
#include "collect/frames.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#define FLUSH_NS 900000000ull /* with the longest pause between passes: a frame a second */

int rqs_frames_init(struct rqs_frames *frames, struct rqs_processes *processes, struct rqs_drain *drain)
{
	frames->processes = processes;
	frames->drain = drain;
	frames->next_flush_ns = frames->next_totals_ns = rqs_monotonic_ns() + FLUSH_NS;
	rqs_encoder_init(&frames->encoder);
	int error = rqs_batch_init(&frames->requests, &rqs_batch_requests);
	return error ? error : rqs_batch_init(&frames->samples, &rqs_batch_samples);
}

int rqs_frames_sites_start(struct rqs_frames *frames, uint64_t sample_bytes)
{
	int error = rqs_batch_init(&frames->sites, &rqs_batch_sites);

	if (error)
		return error;
	frames->stacks = rqs_stack_table_new();
	if (!frames->stacks)
		return -ENOMEM;
	const struct rqs_site_sink sink = {&frames->sites, frames->stacks, rqs_frames_sites, frames};
	frames->site_rows = frames->drain->sites = rqs_site_rows_new(sample_bytes, &sink);
	frames->processes->sampled = frames->site_rows != NULL;
	return frames->site_rows ? 0 : -ENOMEM;
}

void rqs_frames_free(struct rqs_frames *frames)
{
	rqs_writer_close(&frames->writer);
	rqs_batch_free(&frames->requests);
	rqs_batch_free(&frames->samples);
	rqs_batch_free(&frames->sites);
	rqs_site_rows_free(frames->site_rows);
	rqs_stack_table_free(frames->stacks);
	rqs_encoder_free(&frames->encoder);
}

static int write_text(struct rqs_frames *f, enum rqs_frame_type type, uint64_t time_ns, char *text)
{
	int error = text ? rqs_writer_append(&f->writer, type, time_ns, time_ns, text, strlen(text)) : -ENOMEM;

	free(text);
	return error;
}

int rqs_frames_run(struct rqs_frames *frames, const struct rqs_run_facts *facts)
{
	return write_text(frames, RQS_FRAME_RUN, facts->start_monotonic_ns, rqs_payload_run(facts));
}

/* Process frames come before the rows that name them. They wait for the first rows: what runs is known then. */
static int write_processes(struct rqs_frames *f)
{
	for (uint32_t i = 0; i < f->processes->noted_count; i++) {
		struct rqs_watched *watched = f->processes->noted[i];
		int error;

		if (watched->framed)
			continue;
		error = write_text(f, RQS_FRAME_PROCESS, watched->start_ns, rqs_payload_process(watched));
		if (error)
			return error;
		watched->framed = true;
	}
	return 0;
}

static int write_batch(struct rqs_frames *f, struct rqs_batch *batch)
{
	uint64_t first, last;
	int error = write_processes(f);

	if (!error)
		error = rqs_batch_encode(batch, &f->encoder, &first, &last);
	if (!error)
		error =
		    rqs_writer_append(&f->writer, batch->kind->frame, first, last, f->encoder.bytes, f->encoder.length);
	if (error && !f->writer.error)
		f->writer.error = -error;
	return error;
}

/* Requests that can't be written were completed and not recorded: dropped. */
static void count_lost(struct rqs_frames *f)
{
	const struct rqs_request_row *rows = (const struct rqs_request_row *)f->requests.rows;

	for (uint32_t i = 0; i < f->requests.count; i++) {
		struct rqs_watched *watched = f->processes->noted[rows[i].process];

		watched->lost++;
		if (rows[i].alloc_count == RQS_NULL)
			continue;
		watched->record_alloc_count -= rows[i].alloc_count;
		watched->record_alloc_bytes -= rows[i].alloc_bytes;
	}
	f->troubles.rows_lost += f->requests.count;
}

void rqs_frames_requests(void *frames)
{
	struct rqs_frames *f = frames;

	if (!f->requests.count)
		return;
	if (write_batch(f, &f->requests))
		count_lost(f);
	rqs_batch_clear(&f->requests);
}

void rqs_frames_samples(void *frames)
{
	struct rqs_frames *f = frames;

	if (f->samples.count)
		write_batch(f, &f->samples);
	rqs_batch_clear(&f->samples);
}

/* What wasn't written stays new, and is tried again with the next rows. */
static int write_stacks(struct rqs_frames *f)
{
	struct rqs_stack_piece piece;

	while (rqs_stack_table_piece(f->stacks, &piece)) {
		int error = write_text(f, RQS_FRAME_STACKS, rqs_monotonic_ns(), piece.text);

		if (error && !f->writer.error)
			f->writer.error = -error;
		if (error)
			return error;
		rqs_stack_table_written(f->stacks, &piece);
	}
	return 0;
}

void rqs_frames_sites(void *frames)
{
	struct rqs_frames *f = frames;

	if (!f->sites.count)
		return;
	if (write_stacks(f) || write_batch(f, &f->sites))
		f->troubles.site_rows_lost += f->sites.count;
	rqs_batch_clear(&f->sites);
}

static void gather_troubles(struct rqs_frames *f)
{
	const struct rqs_region_header *header = f->processes->region->header;

	f->troubles.lost_processes = __atomic_load_n(&header->lost_processes, __ATOMIC_RELAXED);
	f->troubles.unplaced = __atomic_load_n(&header->unplaced, __ATOMIC_RELAXED);
	f->troubles.malformed_records = f->drain->malformed_records;
	f->troubles.broken_chunks = f->drain->broken_chunks;
	f->troubles.write_error = f->writer.error;
	if (f->site_rows)
		rqs_site_rows_troubles(f->site_rows, &f->troubles.sites);
}

static bool totals_changed(struct rqs_frames *f)
{
	struct rqs_completeness sum = rqs_completeness_sum(f->processes);
	uint64_t accepted = 0;

	for (uint32_t i = 0; i < f->processes->noted_count; i++)
		accepted += f->processes->noted[i]->accepted;
	if (!memcmp(&sum, &f->told.sum, sizeof(sum)) && accepted == f->told.accepted &&
	    f->told.noted == f->processes->noted_count && f->told.unplaced == f->troubles.unplaced &&
	    f->told.write_error == f->writer.error)
		return false;
	f->told.sum = sum;
	f->told.accepted = accepted;
	f->told.noted = f->processes->noted_count;
	f->told.unplaced = f->troubles.unplaced;
	f->told.write_error = f->writer.error;
	return true;
}

static void write_totals(struct rqs_frames *f, uint64_t now_ns)
{
	if (now_ns < f->next_totals_ns)
		return;
	/* A long list of processes, most of them ended, isn't told every second. */
	f->next_totals_ns = now_ns + FLUSH_NS + f->processes->noted_count / 256 * FLUSH_NS;
	rqs_drain_survey(f->drain);
	gather_troubles(f);
	if (!totals_changed(f))
		return;
	if (write_text(f, RQS_FRAME_TOTALS, now_ns, rqs_payload_totals(f->processes, &f->troubles, now_ns, NULL)))
		f->told.noted = UINT32_MAX; /* to be told again */
}

void rqs_frames_flush(struct rqs_frames *frames, uint64_t now_ns)
{
	if (now_ns < frames->next_flush_ns)
		return;
	frames->next_flush_ns = now_ns + FLUSH_NS;
	write_processes(frames);
	rqs_frames_requests(frames);
	rqs_frames_samples(frames);
	if (frames->site_rows)
		rqs_site_rows_noted(frames->site_rows);
	rqs_frames_sites(frames);
	write_totals(frames, now_ns);
}

int rqs_frames_end(struct rqs_frames *frames, uint64_t now_ns, const char *reason)
{
	write_processes(frames);
	rqs_frames_requests(frames);
	rqs_frames_samples(frames);
	if (frames->site_rows)
		rqs_site_rows_end(frames->site_rows, NULL);
	rqs_frames_sites(frames);
	rqs_drain_survey(frames->drain);
	gather_troubles(frames);
	return write_text(frames, RQS_FRAME_END, now_ns,
			  rqs_payload_totals(frames->processes, &frames->troubles, now_ns, reason));
}
