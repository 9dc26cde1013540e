/*
 * random.h - reproducible pseudo-random numbers: the same seed, the same numbers, on every machine.
 *
 * xoshiro256** 1.0 by Blackman and Vigna ("Scrambled linear pseudorandom number generators", ACM Transactions on
 * Mathematical Software 47(4), 2021), its state filled by splitmix64 as its authors advise (prng.di.unimi.it).
 */
#ifndef REQSCOPE_RANDOM_H
#define REQSCOPE_RANDOM_H

#include <stdint.h>

struct rqs_random {
	uint64_t state[4];
};

void rqs_random_seed(struct rqs_random *r, uint64_t seed);
uint64_t rqs_random_next(struct rqs_random *r);
/* 0 <= result < n, all equally probable; n >= 1. */
uint32_t rqs_random_below(struct rqs_random *r, uint32_t n);
/* One bootstrap resample of n things: weight[i] is how often thing i was drawn; the weights' sum is n. */
void rqs_random_resample(struct rqs_random *r, uint32_t n, uint32_t *weight);

#endif
