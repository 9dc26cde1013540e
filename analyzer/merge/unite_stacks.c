/* unite_stacks.c - the model's own table, written as the collector writes it. */
#include "merge/unite_stacks.h"
#include "base/alloc.h"
#include "model/site_index.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

/* Of a frame; both far below what makes a reader take its JSON for too much. */
#define FRAMES_MAX 8192u
#define STACKS_MAX 65536u

void rqs_unite_stacks_start(struct rqs_unite_stacks *u, struct rqs_inputs *inputs)
{
	*u = (struct rqs_unite_stacks){.inputs = inputs};
	rqs_site_index_start(&u->table);
	u->numbers = rqs_zalloc(inputs->count, sizeof(*u->numbers));
}

void rqs_unite_stacks_free(struct rqs_unite_stacks *u)
{
	for (unsigned i = 0; i < u->inputs->count; i++)
		rqs_site_numbers_free(&u->numbers[i]);
	free(u->numbers);
	rqs_alloc_sites_free(&u->table);
}

static struct rqs_site_numbers *numbers_of(const struct rqs_unite_stacks *u, const struct rqs_input *in)
{
	return &u->numbers[in - u->inputs->input];
}

void rqs_unite_stacks_take(struct rqs_unite_stacks *u, const struct rqs_input *in, const cJSON *object)
{
	rqs_site_numbers_add(numbers_of(u, in), &u->table, object);
}

uint64_t rqs_unite_stacks_number(const struct rqs_unite_stacks *u, const struct rqs_input *in, uint64_t stack)
{
	return rqs_site_numbers_stack(numbers_of(u, in), stack);
}

/* ---- writing ---- */

static void add_known(cJSON *object, const char *key, const char *text)
{
	if (*text)
		cJSON_AddStringToObject(object, key, text);
}

static cJSON *frame_object(const struct rqs_frame_name *frame)
{
	cJSON *object = cJSON_CreateObject();

	cJSON_AddStringToObject(object, "function", frame->function);
	add_known(object, "file", frame->file);
	if (frame->line)
		cJSON_AddNumberToObject(object, "line", frame->line);
	add_known(object, "module", frame->module);
	cJSON_AddStringToObject(object, "kind", rqs_frame_kind_name(frame->kind));
	if (frame->inlined)
		cJSON_AddTrueToObject(object, "inlined");
	return object;
}

/* A part of the table; frees nothing of it. */
static int write_part(const struct rqs_unite_stacks *u, struct rqs_writer *writer, uint64_t time, unsigned frame,
		      unsigned frame_end, unsigned stack, unsigned stack_end)
{
	cJSON *object = cJSON_CreateObject(), *list;
	int error = -ENOMEM;

	cJSON_AddNumberToObject(object, "first_frame", frame);
	list = cJSON_AddArrayToObject(object, "frames");
	for (; frame < frame_end; frame++)
		cJSON_AddItemToArray(list, frame_object(&u->table.frames[frame]));
	cJSON_AddNumberToObject(object, "first_stack", stack);
	list = cJSON_AddArrayToObject(object, "stacks");
	for (; stack < stack_end; stack++) {
		cJSON_AddItemToArray(list, cJSON_CreateNumber(u->table.stacks[stack].caller));
		cJSON_AddItemToArray(list, cJSON_CreateNumber(u->table.stacks[stack].frame));
	}
	char *text = cJSON_PrintUnformatted(object);
	if (text)
		error = rqs_writer_append(writer, RQS_FRAME_STACKS, time, time, text, strlen(text));
	free(text);
	cJSON_Delete(object);
	return error;
}

/* All frames before the stacks that name them. */
int rqs_unite_stacks_write(const struct rqs_unite_stacks *u, struct rqs_writer *writer, uint64_t time)
{
	unsigned frames = u->table.frame_count, stacks = u->table.stack_count, end;
	int error = 0;

	for (unsigned at = 0; at < frames && !error; at = end) {
		end = frames - at > FRAMES_MAX ? at + FRAMES_MAX : frames;
		error = write_part(u, writer, time, at, end, 1, 1);
	}
	for (unsigned at = 1; at < stacks && !error; at = end) {
		end = stacks - at > STACKS_MAX ? at + STACKS_MAX : stacks;
		error = write_part(u, writer, time, frames, frames, at, end);
	}
	return error;
}
