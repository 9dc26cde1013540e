/* buckets.c - the table behind rqs_bucket_of, and the bounds as numbers. */
#include "stats/buckets.h"
#include "stats/bucket_bounds.h"

#include <math.h>

struct rqs_bucket_cell rqs_bucket_cells[512];

__attribute__((constructor)) static void fill_cells(void)
{
	unsigned below = 0;

	for (unsigned i = 0; i < 512; i++) {
		uint64_t start = (uint64_t)(512 + i) << 54;

		while (below < 256 && rqs_bucket_bounds[below] < start)
			below++;
		/* Behind the last bound of the octave comes the next power of two, which no mantissa reaches. */
		rqs_bucket_cells[i].bound = below < 256 ? rqs_bucket_bounds[below] : UINT64_MAX;
		rqs_bucket_cells[i].below = below;
	}
}

double rqs_bucket_upper(unsigned k)
{
	return exp2((double)k / RQS_BUCKETS_PER_OCTAVE);
}

double rqs_bucket_middle(unsigned k)
{
	return (exp2(((double)k - 1) / RQS_BUCKETS_PER_OCTAVE) + rqs_bucket_upper(k)) / 2;
}
