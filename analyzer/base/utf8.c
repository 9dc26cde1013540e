/* utf8.c - decoding that takes no byte for what it isn't: no overlong form, no surrogate. */
#include "base/utf8.h"

uint32_t rqs_utf8_decode(const unsigned char *p, unsigned *length)
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
			return RQS_UTF8_INVALID;
		code = code << 6 | (p[i] & 0x3f);
	}
	if (!n || code < least[n] || (code >= 0xd800 && code < 0xe000) || code > 0x10ffff)
		return RQS_UTF8_INVALID;
	*length = n;
	return code;
}
