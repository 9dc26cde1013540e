/*
 * csv.c - comma-separated values as RFC 4180 has them: a header, CRLF, and
 * quotes around texts that need them. Times are integers of ns, an empty
 * field is what was not measured.
 *
 * A spreadsheet takes a text that begins with = + - @ for a formula, also in
 * quotes, and a client chooses what it asks for. So such a text gets an
 * apostrophe in front, as OWASP advises ("CSV injection"); whoever needs the
 * very bytes takes Parquet. Numbers are never negative, and stay as they are.
 */
#include "export/fields.h"
#include "base/alloc.h"

#include <stdlib.h>
#include <string.h>

struct csv {
	FILE *out;
	struct rqs_field_reader *fields;
	bool begun;
	unsigned texts;
	char **text; /* as written, by the fields' number */
	uint64_t values[RQS_FIELD_COUNT][RQS_BLOCK_ROWS];
};

static void *start_csv(const struct rqs_export *what)
{
	struct csv *c = rqs_zalloc(1, sizeof(*c));

	c->out = what->out;
	c->fields = rqs_field_reader_new(what);
	return c;
}

static char *quote(const char *text)
{
	bool formula = *text && strchr("=+-@\t\r\n", *text), quoted = strpbrk(text, ",\"\r\n") != NULL;
	char *copy = rqs_zalloc(2 * strlen(text) + 4, 1), *to = copy;

	if (quoted)
		*to++ = '"';
	if (formula)
		*to++ = '\'';
	for (; *text; text++) {
		if (*text == '"')
			*to++ = '"';
		*to++ = *text;
	}
	if (quoted)
		*to++ = '"';
	return copy;
}

static void take_texts(struct csv *c)
{
	unsigned texts = rqs_field_texts(c->fields);

	if (texts == c->texts)
		return;
	c->text = rqs_grow(c->text, texts, sizeof(char *));
	while (c->texts < texts) {
		c->text[c->texts] = quote(rqs_field_text(c->fields, c->texts));
		c->texts++;
	}
}

/* What a program reads at once must say its unit: Parquet's type does for the column time. */
static const char *name_of(const struct rqs_field *field)
{
	return field->type == RQS_FIELD_MOMENT ? "time_unix_ns" : field->name;
}

static void begin(struct csv *c)
{
	if (c->begun)
		return;
	c->begun = true;
	for (unsigned f = 0; f < RQS_FIELD_COUNT; f++)
		fprintf(c->out, "%s%s", f ? "," : "", name_of(&rqs_fields[f]));
	fputs("\r\n", c->out);
}

/* The decimal digits of v, ending before `end`. */
static const char *decimal(uint64_t v, char *end)
{
	do
		*--end = (char)('0' + v % 10);
	while (v /= 10);
	return end;
}

static void put(const struct csv *c, const struct rqs_field *field, uint64_t value)
{
	char digits[20], *end = digits + sizeof(digits);

	if (value == RQS_NULL)
		return;
	switch (field->type) {
	case RQS_FIELD_TEXT:
		fputs_unlocked(c->text[value], c->out);
		return;
	case RQS_FIELD_FLAG:
		fputs_unlocked(value ? "true" : "false", c->out);
		return;
	case RQS_FIELD_NUMBER:
	case RQS_FIELD_MOMENT: {
		const char *first = decimal(value, end);

		fwrite_unlocked(first, 1, (size_t)(end - first), c->out);
	}
	}
}

static void take_csv(void *state, const struct rqs_chosen *chosen)
{
	struct csv *c = state;

	begin(c);
	for (unsigned f = 0; f < RQS_FIELD_COUNT; f++)
		rqs_field_values(c->fields, chosen, f, c->values[f]);
	take_texts(c);
	for (uint32_t row = 0; row < chosen->count; row++) {
		for (unsigned f = 0; f < RQS_FIELD_COUNT; f++) {
			if (f)
				putc_unlocked(',', c->out);
			put(c, &rqs_fields[f], c->values[f][row]);
		}
		fputs_unlocked("\r\n", c->out);
	}
}

static void finish_csv(void *state)
{
	begin(state);
}

static void free_csv(void *state)
{
	struct csv *c = state;

	for (unsigned i = 0; i < c->texts; i++)
		free(c->text[i]);
	free(c->text);
	rqs_field_reader_free(c->fields);
	free(c);
}

const struct rqs_exporter rqs_exporter_csv = {
    .name = "csv",
    .start = start_csv,
    .take = take_csv,
    .finish = finish_csv,
    .free = free_csv,
};
