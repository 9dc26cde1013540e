/* random.c - the generator, unbiased integers, and multinomial weights. */
#include "stats/random.h"

#include <string.h>

static uint64_t splitmix64(uint64_t *x)
{
	uint64_t z = *x += 0x9E3779B97F4A7C15ull;

	z = (z ^ z >> 30) * 0xBF58476D1CE4E5B9ull;
	z = (z ^ z >> 27) * 0x94D049BB133111EBull;
	return z ^ z >> 31;
}

void rqs_random_seed(struct rqs_random *r, uint64_t seed)
{
	for (unsigned i = 0; i < 4; i++)
		r->state[i] = splitmix64(&seed);
}

static uint64_t rotate_left(uint64_t x, int bits)
{
	return x << bits | x >> (64 - bits);
}

uint64_t rqs_random_next(struct rqs_random *r)
{
	uint64_t *s = r->state;
	uint64_t result = rotate_left(s[1] * 5, 7) * 9;
	uint64_t t = s[1] << 17;

	s[2] ^= s[0];
	s[3] ^= s[1];
	s[1] ^= s[2];
	s[0] ^= s[3];
	s[2] ^= t;
	s[3] = rotate_left(s[3], 45);
	return result;
}

/* Lemire, "Fast random integer generation in an interval", ACM TOMACS 29(1), 2019: divides only when it must reject. */
uint32_t rqs_random_below(struct rqs_random *r, uint32_t n)
{
	uint64_t product = (rqs_random_next(r) >> 32) * n;

	if ((uint32_t)product < n) {
		uint32_t surplus = -n % n; /* 2^32 mod n */

		while ((uint32_t)product < surplus)
			product = (rqs_random_next(r) >> 32) * n;
	}
	return (uint32_t)(product >> 32);
}

void rqs_random_resample(struct rqs_random *r, uint32_t n, uint32_t *weight)
{
	memset(weight, 0, n * sizeof(*weight));
	for (uint32_t i = 0; i < n; i++)
		weight[rqs_random_below(r, n)]++;
}
