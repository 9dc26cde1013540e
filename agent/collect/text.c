/* text.c - bytes from outside to printable UTF-8. */
#include "collect/text.h"

#include <stdint.h>

/* The length of the valid sequence at `at`, 0 when there is none. No surrogates, nothing overlong (RFC 3629). */
static size_t sequence_length(const unsigned char *at, size_t left)
{
	static const uint32_t smallest[] = {0, 0, 0x80, 0x800, 0x10000};
	size_t length = at[0] < 0x80 ? 1 : (at[0] >> 5) == 6 ? 2 : (at[0] >> 4) == 14 ? 3 : (at[0] >> 3) == 30 ? 4 : 0;

	if (!length || length > left)
		return 0;
	if (length == 1)
		return at[0] >= 0x20 && at[0] != 0x7f;

	uint32_t code = at[0] & (0x7fu >> length);
	for (size_t i = 1; i < length; i++) {
		if ((at[i] & 0xc0) != 0x80)
			return 0;
		code = code << 6 | (at[i] & 0x3f);
	}
	/* 0x80..0x9f are control characters, too. */
	if (code < smallest[length] || code > 0x10ffff || (code >= 0xd800 && code < 0xe000) || code < 0xa0)
		return 0;
	return length;
}

void rqs_make_printable(char *text, size_t length)
{
	for (size_t i = 0; i < length;) {
		size_t step = sequence_length((const unsigned char *)text + i, length - i);

		if (!step) {
			text[i] = '?';
			step = 1;
		}
		i += step;
	}
}
