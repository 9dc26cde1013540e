/* gzip.c - zlib, a piece of input at a time. */
#define ZLIB_CONST
#include "export/gzip.h"

#include <stdlib.h>
#include <zlib.h>

#define PIECE (1u << 20) /* zlib counts what it is given by 32 bits */
#define WINDOW 15
#define AS_GZIP 16
#define MEMORY_LEVEL 8

void rqs_gzip(FILE *out, const uint8_t *bytes, size_t length)
{
	z_stream z = {0};
	uint8_t packed[16384];
	int result;

	if (deflateInit2(&z, Z_DEFAULT_COMPRESSION, Z_DEFLATED, WINDOW + AS_GZIP, MEMORY_LEVEL, Z_DEFAULT_STRATEGY)) {
		fputs("reqscope: out of memory\n", stderr);
		exit(2);
	}
	do {
		if (!z.avail_in) {
			z.next_in = bytes;
			z.avail_in = length < PIECE ? (unsigned)length : PIECE;
			bytes += z.avail_in;
			length -= z.avail_in;
		}
		z.next_out = packed;
		z.avail_out = sizeof(packed);
		result = deflate(&z, length ? Z_NO_FLUSH : Z_FINISH);
		fwrite(packed, 1, sizeof(packed) - z.avail_out, out);
	} while (result != Z_STREAM_END);
	deflateEnd(&z);
}
