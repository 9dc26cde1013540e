/* scan.c - frame types to decoders to visitors. */
#include "read/scan.h"
#include "base/alloc.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* A JSON payload costs up to 80 bytes of memory for each of its values. */
#define JSON_MAX (4u << 20)
#define JSON_VALUES_MAX 500000u

struct pass {
	struct rqs_reader *reader;
	const struct rqs_visitor *visit;
	struct rqs_scan *result;
	struct rqs_block *block;
};

static void damaged(struct pass *p, const struct rqs_damage *d)
{
	if (!p->result->damages++)
		p->result->first_damage = *d;
	if (p->visit->damage)
		p->visit->damage(p->visit->context, d);
}

static void damaged_frame(struct pass *p, const struct rqs_frame *f, const char *what)
{
	const char *name = rqs_frame_type_name(f->header.type);
	struct rqs_damage d = {.offset = f->offset};

	snprintf(d.what, sizeof(d.what), "%s frame: %s", name ? name : "unknown", what);
	damaged(p, &d);
}

static bool few_values(const uint8_t *text, size_t length)
{
	unsigned values = 0;

	for (size_t i = 0; i < length; i++)
		values += text[i] == ',' || text[i] == '[' || text[i] == '{';
	return values <= JSON_VALUES_MAX;
}

static void hand_json(struct pass *p, enum rqs_frame_type type, const cJSON *object)
{
	if (type == RQS_FRAME_STACKS)
		p->visit->stacks(p->visit->context, object);
	else
		p->visit->json(p->visit->context, type, object);
}

static void take_json(struct pass *p, const struct rqs_frame *f, const uint8_t *payload)
{
	size_t length = f->header.raw_length;

	if (!few_values(payload, length)) {
		damaged_frame(p, f, "far too many values");
		return;
	}
	cJSON *object = cJSON_ParseWithLength((const char *)payload, length);
	if (cJSON_IsObject(object))
		hand_json(p, f->header.type, object);
	else
		damaged_frame(p, f, "the payload is not a JSON object");
	cJSON_Delete(object);
}

static void take_requests(struct pass *p, const struct rqs_frame *f, const uint8_t *payload)
{
	struct rqs_columns c;

	if (!rqs_columns_open(&c, payload, f->header.raw_length, p->visit->request_columns) || !c.routes) {
		damaged_frame(p, f, c.error ? c.error : "no route table");
		return;
	}
	if (p->visit->routes)
		p->visit->routes(p->visit->context, f, &c);
	while (rqs_columns_decode(&c, p->block))
		p->visit->requests(p->visit->context, f, p->block);
	if (p->visit->requests_end)
		p->visit->requests_end(p->visit->context);
	if (c.error)
		damaged_frame(p, f, c.error);
}

static void take_samples(struct pass *p, const struct rqs_frame *f, const uint8_t *payload)
{
	struct rqs_columns c;

	if (!rqs_columns_open(&c, payload, f->header.raw_length, UINT64_MAX)) {
		damaged_frame(p, f, c.error);
		return;
	}
	while (rqs_columns_decode(&c, p->block))
		p->visit->samples(p->visit->context, f, p->block);
	if (c.error)
		damaged_frame(p, f, c.error);
}

static void take_sites(struct pass *p, const struct rqs_frame *f, const uint8_t *payload)
{
	struct rqs_columns c;

	if (!rqs_columns_open(&c, payload, f->header.raw_length, UINT64_MAX)) {
		damaged_frame(p, f, c.error);
		return;
	}
	if (p->visit->site_routes)
		p->visit->site_routes(p->visit->context, f, &c);
	while (rqs_columns_decode(&c, p->block))
		p->visit->sites(p->visit->context, f, p->block);
	if (c.error)
		damaged_frame(p, f, c.error);
}

/* Asks the visitor with no more of the payload than its route table. */
static bool rows_unwanted(struct pass *p, const struct rqs_frame *f)
{
	struct rqs_columns c;
	size_t length;

	if (!p->visit->wants_rows || f->header.type != RQS_FRAME_REQUESTS)
		return false;
	const uint8_t *prefix = rqs_reader_prefix(p->reader, f, &length);
	return prefix && rqs_columns_open_table(&c, prefix, length) && !p->visit->wants_rows(p->visit->context, f, &c);
}

#define HAS(member) offsetof(struct rqs_visitor, member)

/* One row a frame type: who takes its payload, and which member of the visitor must be there for it to be looked at. */
static const struct {
	const char *name;
	size_t member;
	size_t raw_max;
	void (*take)(struct pass *p, const struct rqs_frame *f, const uint8_t *payload);
} types[] = {
    [RQS_FRAME_RUN] = {"run", HAS(json), JSON_MAX, take_json},
    [RQS_FRAME_PROCESS] = {"process", HAS(json), JSON_MAX, take_json},
    [RQS_FRAME_REQUESTS] = {"requests", HAS(requests), RQS_FRAME_MAX, take_requests},
    [RQS_FRAME_SAMPLES] = {"samples", HAS(samples), RQS_FRAME_MAX, take_samples},
    [RQS_FRAME_TOTALS] = {"totals", HAS(json), JSON_MAX, take_json},
    [RQS_FRAME_END] = {"end", HAS(json), JSON_MAX, take_json},
    [RQS_FRAME_STACKS] = {"stacks", HAS(stacks), JSON_MAX, take_json},
    [RQS_FRAME_SITES] = {"sites", HAS(sites), RQS_FRAME_MAX, take_sites},
};

const char *rqs_frame_type_name(unsigned type)
{
	return type < sizeof(types) / sizeof(types[0]) ? types[type].name : NULL;
}

static bool wanted(const struct pass *p, unsigned type)
{
	void (*member)(void);

	memcpy(&member, (const char *)p->visit + types[type].member, sizeof(member));
	return member != NULL;
}

/* What the sequence of frames must be. False: nothing behind this frame counts. */
static bool check_order(struct pass *p, const struct rqs_frame *f)
{
	struct rqs_scan *s = p->result;

	if (s->end) {
		damaged_frame(p, f, "behind the end frame; were traces joined? Give them as separate files");
		return false;
	}
	if (f->header.type == RQS_FRAME_RUN && s->run) {
		damaged_frame(p, f, "a second one; were traces joined? Give them as separate files");
		return false;
	}
	if (f->header.type != RQS_FRAME_RUN && !s->run && !s->damages)
		damaged_frame(p, f, "in the place of the run frame, which must be the first");
	s->run |= f->header.type == RQS_FRAME_RUN;
	s->end |= f->header.type == RQS_FRAME_END;
	return true;
}

/* False: stop here. */
static bool take_frame(struct pass *p, const struct rqs_frame *f)
{
	struct rqs_damage d;
	unsigned type = f->header.type;

	if (rqs_frame_type_name(type) && f->header.version != RQS_TRACE_VERSION) {
		p->result->version = f->header.version;
		p->result->version_offset = f->offset;
		return false;
	}
	if (!check_order(p, f))
		return false;
	p->result->frames++;
	if (p->visit->frame)
		p->visit->frame(p->visit->context, f);
	if (!rqs_frame_type_name(type) || !wanted(p, type))
		return true;
	if (f->header.raw_length > types[type].raw_max) {
		damaged_frame(p, f, "far too long for its type");
		return true;
	}
	if (rows_unwanted(p, f))
		return true;
	const uint8_t *payload = rqs_reader_payload(p->reader, f, &d);
	if (payload)
		types[type].take(p, f, payload);
	else
		damaged_frame(p, f, d.what);
	return true;
}

void rqs_scan(struct rqs_reader *reader, const struct rqs_visitor *visitor, struct rqs_scan *result)
{
	struct pass p = {reader, visitor, result, rqs_zalloc(1, sizeof(*p.block))};
	struct rqs_frame frame;
	struct rqs_damage damage;
	enum rqs_read_result what;
	bool more = true;

	memset(result, 0, sizeof(*result));
	rqs_block_init(p.block);
	rqs_reader_rewind(reader);
	while (more && (what = rqs_reader_next(reader, &frame, &damage)) != RQS_READ_END) {
		if (what == RQS_READ_DAMAGE)
			damaged(&p, &damage);
		else
			more = take_frame(&p, &frame);
		if (visitor->progress)
			visitor->progress(visitor->context, reader->offset, reader->source.size);
	}
	free(p.block);
}

char *rqs_open_problem(int error)
{
	return rqs_format("%s", error == -EISDIR ? "is a directory; give the .rqs file" : strerror(-error));
}

char *rqs_unreadable(const struct rqs_scan *scan, uint64_t size)
{
	if (scan->version)
		return rqs_format("was written by a newer reqscope: format version %u, and this one reads %u; "
				  "use a newer reqscope",
				  scan->version, RQS_TRACE_VERSION);
	if (!size)
		return rqs_format("is empty: the recording wrote nothing to it");
	return rqs_format("is not a reqscope trace: no whole frame in its %llu bytes (offset %llu: %s)",
			  (unsigned long long)size, (unsigned long long)scan->first_damage.offset,
			  scan->first_damage.what);
}
