/* escape.c - what each output makes of a code point. */
#include "render/escape.h"
#include "base/alloc.h"
#include "base/utf8.h"

#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static bool is_harmful(uint32_t code)
{
	return code < 0x20 || (code >= 0x7f && code < 0xa0) || code == 0x061c || (code >= 0x200b && code <= 0x200f) ||
	       (code >= 0x2028 && code <= 0x202e) || (code >= 0x2066 && code <= 0x2069) || code == 0xfeff ||
	       code >= 0xe0000;
}

/* Writes what a code point becomes; returns false to have it copied as it is. */
typedef bool (*replacement)(uint32_t code, FILE *out);

static char *rewrite(const char *text, replacement replace)
{
	const unsigned char *p = (const unsigned char *)text;
	char *result = NULL;
	size_t size;
	FILE *out = open_memstream(&result, &size);
	unsigned length;

	if (!out) {
		fputs("reqscope: out of memory\n", stderr);
		exit(2);
	}
	for (; *p; p += length) {
		uint32_t code = rqs_utf8_decode(p, &length);

		if (code == RQS_UTF8_INVALID)
			replace ? fprintf(out, "\\x%02x", *p) : fputs("\xef\xbf\xbd", out);
		else if (replace && is_harmful(code))
			fprintf(out, code < 0x100 ? "\\x%02x" : "\\u{%x}", code);
		else if (!replace || !replace(code, out))
			fwrite(p, 1, length, out);
	}
	fclose(out);
	return result;
}

static bool keep(uint32_t code, FILE *out)
{
	(void)code;
	(void)out;
	return false;
}

static bool html(uint32_t code, FILE *out)
{
	switch (code) {
	case '<':
		return fputs("&lt;", out) >= 0;
	case '>':
		return fputs("&gt;", out) >= 0;
	case '&':
		return fputs("&amp;", out) >= 0;
	case '"':
		return fputs("&quot;", out) >= 0;
	case '\'':
		return fputs("&#39;", out) >= 0;
	}
	return false;
}

static bool markdown(uint32_t code, FILE *out)
{
	if (code == '<' || code == '>' || code == '&')
		return html(code, out);
	if (code >= 0x80 || !strchr("\\`*_[]|~$@#", (int)code))
		return false;
	/* As a number: a backslash before | or @ isn't understood everywhere. */
	return fprintf(out, "&#%u;", code) > 0;
}

char *rqs_clean(const char *text)
{
	return rewrite(text, keep);
}

char *rqs_clean_html(const char *text)
{
	return rewrite(text, html);
}

char *rqs_clean_markdown(const char *text)
{
	return rewrite(text, markdown);
}

char *rqs_valid_utf8(const char *text)
{
	return rewrite(text, NULL);
}

size_t rqs_width(const char *text)
{
	size_t width = 0;

	for (; *text; text++)
		width += (*text & 0xc0) != 0x80;
	return width;
}
