/*
 * stack_table.c - three tables found by hash: texts, frames made of texts, and
 * stacks made of frames. An entry's number is its place, which never changes.
 */
#include "collect/stack_table.h"
#include "collect/text.h"

#include <cjson/cJSON.h>
#include <stdlib.h>
#include <string.h>

#define NOWHERE UINT32_MAX
#define FIRST_BUCKETS 1024u
/* Of one payload: readers take 4 MiB and 500,000 commas, which names may be full of. */
#define PIECE_TEXT (256u << 10)
#define PIECE_STACKS 50000u
#define FRAME_COST 64u
#define KNOWN 1024u

struct pool {
	size_t size; /* of an entry, which begins with its hash, a u32 */
	unsigned char *entries;
	uint32_t count, capacity, limit;
	uint32_t *buckets; /* entry + 1, 0 free; at most half of them are taken */
	uint32_t bucket_count;
};

struct text {
	uint32_t hash;
	uint32_t offset, length; /* in `bytes` */
};

struct frame {
	uint32_t hash;
	uint32_t function, file, module; /* texts, NOWHERE none */
	uint32_t line;
	uint8_t kind, inlined;
};

struct stack {
	uint32_t hash;
	uint32_t caller; /* number, 0 none */
	uint32_t frame;
};

struct rqs_stack_table {
	struct pool texts, frames, stacks; /* the stack at place 0 has the number 1 */
	char *bytes;
	uint32_t bytes_length, bytes_capacity, bytes_limit;
	uint32_t frames_written, stacks_written;
	uint64_t beyond;
	/* Frames of that source, found by their texts' addresses: stacks have most of theirs in common. */
	uint64_t source;
	struct {
		struct rqs_code_frame frame;
		uint32_t place;
	} known[KNOWN]; /* without a function: none */
};

static bool pool_init(struct pool *pool, size_t size)
{
	*pool = (struct pool){.size = size, .bucket_count = FIRST_BUCKETS};
	pool->buckets = calloc(pool->bucket_count, sizeof(*pool->buckets));
	return pool->buckets != NULL;
}

static void pool_free(struct pool *pool)
{
	free(pool->entries);
	free(pool->buckets);
}

static void *entry_at(const struct pool *pool, uint32_t place)
{
	return pool->entries + place * pool->size;
}

static uint32_t hash_at(const struct pool *pool, uint32_t place)
{
	return *(const uint32_t *)entry_at(pool, place);
}

static void put_bucket(uint32_t *buckets, uint32_t count, uint32_t hash, uint32_t place)
{
	uint32_t at = hash & (count - 1);

	while (buckets[at])
		at = (at + 1) & (count - 1);
	buckets[at] = place + 1;
}

static bool more_buckets(struct pool *pool)
{
	uint32_t count = 2 * pool->bucket_count;
	uint32_t *buckets = calloc(count, sizeof(*buckets));

	if (!buckets)
		return false;
	for (uint32_t i = 0; i < pool->count; i++)
		put_bucket(buckets, count, hash_at(pool, i), i);
	free(pool->buckets);
	pool->buckets = buckets;
	pool->bucket_count = count;
	return true;
}

static bool more_entries(struct pool *pool)
{
	uint32_t capacity = pool->capacity ? 2 * pool->capacity : 256;
	unsigned char *entries = realloc(pool->entries, capacity * pool->size);

	if (!entries)
		return false;
	pool->entries = entries;
	pool->capacity = capacity;
	return true;
}

/* Appends an entry, which isn't in there. Its place; NOWHERE: no room. */
static uint32_t pool_add(struct pool *pool, const void *entry)
{
	if (pool->count >= pool->limit || (pool->count == pool->capacity && !more_entries(pool)) ||
	    (2 * pool->count >= pool->bucket_count && !more_buckets(pool)))
		return NOWHERE;
	memcpy(entry_at(pool, pool->count), entry, pool->size);
	put_bucket(pool->buckets, pool->bucket_count, hash_at(pool, pool->count), pool->count);
	return pool->count++;
}

/* The place of an entry of the same bytes; NOWHERE: there is none. */
static uint32_t pool_find(const struct pool *pool, const void *entry)
{
	uint32_t hash = *(const uint32_t *)entry, at = hash & (pool->bucket_count - 1);

	for (; pool->buckets[at]; at = (at + 1) & (pool->bucket_count - 1)) {
		const uint32_t *other = entry_at(pool, pool->buckets[at] - 1);

		if (*other == hash && !memcmp(other, entry, pool->size))
			return pool->buckets[at] - 1;
	}
	return NOWHERE;
}

static uint32_t find_or_add(struct pool *pool, const void *entry)
{
	uint32_t place = pool_find(pool, entry);

	return place == NOWHERE ? pool_add(pool, entry) : place;
}

/* The last step of MurmurHash3 (A. Appleby): every bit depends on each. */
static uint32_t mixed(uint64_t hash)
{
	hash = (hash ^ hash >> 33) * 0xff51afd7ed558ccdull;
	return (uint32_t)(hash ^ hash >> 33);
}

static uint32_t hash_words(uint64_t a, uint64_t b, uint64_t c)
{
	return mixed((a * 0x9e3779b97f4a7c15ull + b) * 0x9e3779b97f4a7c15ull + c);
}

/* FNV-1a, eight bytes at a time. */
static uint32_t hash_bytes(const char *bytes, size_t length)
{
	uint64_t hash = 0xcbf29ce484222325ull ^ length, word;

	for (; length >= 8; bytes += 8, length -= 8) {
		memcpy(&word, bytes, 8);
		hash = (hash ^ word) * 0x100000001b3ull;
		hash ^= hash >> 29;
	}
	word = 0;
	memcpy(&word, bytes, length);
	return mixed((hash ^ word) * 0x100000001b3ull);
}

/* With `note`, there is room for one note more. */
static void set_limits(struct rqs_stack_table *table, bool note)
{
	table->bytes_limit = RQS_STACK_TEXTS_MAX + (note ? RQS_STACK_TEXT_MAX : 0);
	table->texts.limit = 3 * RQS_STACK_FRAMES_MAX + note;
	table->frames.limit = RQS_STACK_FRAMES_MAX + note;
	table->stacks.limit = RQS_STACKS_MAX + note;
}

struct rqs_stack_table *rqs_stack_table_new(void)
{
	struct rqs_stack_table *table = calloc(1, sizeof(*table));

	if (table && pool_init(&table->texts, sizeof(struct text)) && pool_init(&table->frames, sizeof(struct frame)) &&
	    pool_init(&table->stacks, sizeof(struct stack))) {
		set_limits(table, false);
		return table;
	}
	rqs_stack_table_free(table);
	return NULL;
}

void rqs_stack_table_free(struct rqs_stack_table *table)
{
	if (!table)
		return;
	pool_free(&table->texts);
	pool_free(&table->frames);
	pool_free(&table->stacks);
	free(table->bytes);
	free(table);
}

static bool keep_bytes(struct rqs_stack_table *table, const char *bytes, uint32_t length)
{
	if (table->bytes_length + length > table->bytes_limit)
		return false;
	if (table->bytes_length + length > table->bytes_capacity) {
		uint32_t capacity = table->bytes_capacity ? 2 * table->bytes_capacity : 65536;
		char *more = realloc(table->bytes, capacity);

		if (!more)
			return false;
		table->bytes = more;
		table->bytes_capacity = capacity;
	}
	memcpy(table->bytes + table->bytes_length, bytes, length);
	table->bytes_length += length;
	return true;
}

/* As it came: what isn't printable is seen to when it is written. False: no room. */
static bool text_place(struct rqs_stack_table *table, const char *bytes, uint32_t *place)
{
	struct pool *pool = &table->texts;

	*place = NOWHERE;
	if (!bytes)
		return true;
	uint32_t length = (uint32_t)strnlen(bytes, RQS_STACK_TEXT_MAX);
	struct text text = {hash_bytes(bytes, length), table->bytes_length, length};
	uint32_t at = text.hash & (pool->bucket_count - 1);
	for (; pool->buckets[at]; at = (at + 1) & (pool->bucket_count - 1)) {
		const struct text *other = entry_at(pool, pool->buckets[at] - 1);

		if (other->hash == text.hash && other->length == length &&
		    !memcmp(table->bytes + other->offset, bytes, length)) {
			*place = pool->buckets[at] - 1;
			return true;
		}
	}
	if (!keep_bytes(table, bytes, length))
		return false;
	*place = pool_add(pool, &text);
	return *place != NOWHERE;
}

static uint32_t frame_place(struct rqs_stack_table *table, const struct rqs_code_frame *it)
{
	struct frame frame;

	memset(&frame, 0, sizeof(frame)); /* its padding, too: it is compared */
	if (!text_place(table, it->function, &frame.function) || !text_place(table, it->file, &frame.file) ||
	    !text_place(table, it->module, &frame.module))
		return NOWHERE;
	frame.line = it->line;
	frame.kind = (uint8_t)it->kind;
	frame.inlined = it->inlined;
	frame.hash = hash_words((uint64_t)frame.function << 32 | frame.file, (uint64_t)frame.module << 32 | frame.line,
				(uint64_t)(frame.kind << 1 | frame.inlined));
	return find_or_add(&table->frames, &frame);
}

void rqs_stack_table_source(struct rqs_stack_table *table, uint64_t source)
{
	if (source != table->source)
		memset(table->known, 0, sizeof(table->known));
	table->source = source;
}

static bool is_same(const struct rqs_code_frame *a, const struct rqs_code_frame *b)
{
	return a->function == b->function && a->file == b->file && a->module == b->module && a->line == b->line &&
	       a->kind == b->kind && a->inlined == b->inlined;
}

static uint32_t known_place(struct rqs_stack_table *table, const struct rqs_code_frame *it)
{
	uint32_t at = hash_words((uintptr_t)it->function, (uintptr_t)it->file, it->line) % KNOWN;

	if (!table->source)
		return frame_place(table, it);
	if (!is_same(&table->known[at].frame, it)) {
		uint32_t place = frame_place(table, it);

		if (place == NOWHERE)
			return NOWHERE;
		table->known[at].frame = *it;
		table->known[at].place = place;
	}
	return table->known[at].place;
}

/* The number of that frame called by that stack. 0: no room. */
static uint32_t stack_number(struct rqs_stack_table *table, uint32_t caller, const struct rqs_code_frame *it)
{
	uint32_t frame = known_place(table, it);

	if (frame == NOWHERE)
		return 0;
	struct stack stack = {hash_words(caller, frame, 0), caller, frame};
	return find_or_add(&table->stacks, &stack) + 1; /* NOWHERE + 1 is 0 */
}

/* In place of the frames of what finds no room. */
static uint32_t note_number(struct rqs_stack_table *table)
{
	static const struct rqs_code_frame note = {.function = "(too many stacks)", .kind = RQS_FRAME_NOTE};

	table->beyond++;
	set_limits(table, true);
	uint32_t number = stack_number(table, 0, &note);
	set_limits(table, false);
	return number;
}

uint32_t rqs_stack_table_number(struct rqs_stack_table *table, const struct rqs_code_frame *frames, size_t count)
{
	uint32_t number = 0;

	while (count) {
		number = stack_number(table, number, &frames[--count]);
		if (!number)
			return note_number(table);
	}
	return number;
}

uint64_t rqs_stack_table_beyond(const struct rqs_stack_table *table)
{
	return table->beyond;
}

/* Writing */

static void add_text(cJSON *object, const char *key, const struct rqs_stack_table *table, uint32_t place)
{
	char clean[RQS_STACK_TEXT_MAX + 1];

	if (place == NOWHERE)
		return;
	const struct text *text = entry_at(&table->texts, place);
	memcpy(clean, table->bytes + text->offset, text->length);
	clean[text->length] = 0;
	rqs_make_printable(clean, text->length);
	cJSON_AddStringToObject(object, key, clean);
}

static cJSON *make_frame(const struct rqs_stack_table *table, const struct frame *frame)
{
	static const char *const kinds[] = {
	    [RQS_FRAME_NATIVE] = "native",         [RQS_FRAME_PYTHON] = "python", [RQS_FRAME_GO] = "go",
	    [RQS_FRAME_JAVASCRIPT] = "javascript", [RQS_FRAME_NOTE] = "note",
	};
	cJSON *object = cJSON_CreateObject();

	add_text(object, "function", table, frame->function);
	add_text(object, "file", table, frame->file);
	if (frame->line)
		cJSON_AddNumberToObject(object, "line", frame->line);
	add_text(object, "module", table, frame->module);
	cJSON_AddStringToObject(object, "kind", kinds[frame->kind]);
	if (frame->inlined)
		cJSON_AddTrueToObject(object, "inlined");
	return object;
}

static uint32_t length_of(const struct rqs_stack_table *table, uint32_t place)
{
	return place == NOWHERE ? 0 : ((const struct text *)entry_at(&table->texts, place))->length;
}

/* How many frames, and of the stacks made of these and earlier ones how many, one payload is to have. */
static void measure(const struct rqs_stack_table *table, struct rqs_stack_piece *piece)
{
	uint32_t frames = table->frames_written, stacks = table->stacks_written, bytes = 0;

	for (; frames < table->frames.count && bytes < PIECE_TEXT; frames++) {
		const struct frame *frame = entry_at(&table->frames, frames);

		bytes += FRAME_COST + length_of(table, frame->function) + length_of(table, frame->file) +
			 length_of(table, frame->module);
	}
	for (; stacks < table->stacks.count && stacks - table->stacks_written < PIECE_STACKS; stacks++)
		if (((const struct stack *)entry_at(&table->stacks, stacks))->frame >= frames)
			break;
	piece->frames = frames - table->frames_written;
	piece->stacks = stacks - table->stacks_written;
}

bool rqs_stack_table_piece(const struct rqs_stack_table *table, struct rqs_stack_piece *piece)
{
	measure(table, piece);
	if (!piece->frames && !piece->stacks)
		return false;
	cJSON *object = cJSON_CreateObject();
	cJSON_AddNumberToObject(object, "first_frame", table->frames_written);
	cJSON *frames = cJSON_AddArrayToObject(object, "frames");
	for (uint32_t i = 0; i < piece->frames; i++)
		cJSON_AddItemToArray(frames, make_frame(table, entry_at(&table->frames, table->frames_written + i)));
	cJSON_AddNumberToObject(object, "first_stack", table->stacks_written + 1);
	cJSON *stacks = cJSON_AddArrayToObject(object, "stacks");
	for (uint32_t i = 0; i < piece->stacks; i++) {
		const struct stack *stack = entry_at(&table->stacks, table->stacks_written + i);

		cJSON_AddItemToArray(stacks, cJSON_CreateNumber(stack->caller));
		cJSON_AddItemToArray(stacks, cJSON_CreateNumber(stack->frame));
	}
	piece->text = cJSON_PrintUnformatted(object);
	cJSON_Delete(object);
	return true;
}

void rqs_stack_table_written(struct rqs_stack_table *table, const struct rqs_stack_piece *piece)
{
	table->frames_written += piece->frames;
	table->stacks_written += piece->stacks;
}
