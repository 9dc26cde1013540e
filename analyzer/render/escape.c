/* escape.c - a UTF-8 walk, and what each output makes of a code point. */
#include "render/escape.h"
#include "base/alloc.h"

#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define INVALID UINT32_MAX

/* One code point, and how many bytes it takes; INVALID takes one. */
static uint32_t decode(const unsigned char *p, unsigned *length)
{
	static const uint32_t least[] = {0, 0, 0x80, 0x800, 0x10000};
	unsigned n = *p < 0x80                 ? 1
		     : *p >= 0xc2 && *p < 0xe0 ? 2
		     : *p >= 0xe0 && *p < 0xf0 ? 3
		     : *p >= 0xf0 && *p < 0xf5 ? 4
					       : 0;
	uint32_t code = n == 1 ? *p : n ? *p & (0x7fu >> n) : 0;

	*length = 1;
	for (unsigned i = 1; i < n; i++) {
		if ((p[i] & 0xc0) != 0x80)
			return INVALID;
		code = code << 6 | (p[i] & 0x3f);
	}
	if (!n || code < least[n] || (code >= 0xd800 && code < 0xe000) || code > 0x10ffff)
		return INVALID;
	*length = n;
	return code;
}

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
		uint32_t code = decode(p, &length);

		if (code == INVALID)
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
