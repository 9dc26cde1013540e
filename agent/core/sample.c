/* sample.c - see sample.h. */
#include "core/sample.h"

#include "core/followed.h"

#define PAGE 4096u
/* No mean is longer: with it sums stay far from overflow. */
#define MEAN_MAX (1ull << 40)

/* ---- the distance ---- */

/* xorshift64*: Vigna, "An experimental exploration of Marsaglia's xorshift generators, scrambled" (2016). Never 0. */
static uint64_t draw(uint64_t *random)
{
	uint64_t x = *random;

	x ^= x >> 12;
	x ^= x << 25;
	x ^= x >> 27;
	*random = x;
	return x * 0x2545f4914f6cdd1dull;
}

/*
 * -log2(u / 2^64), in units of 2^-LOG_BITS. What is behind the leading one is
 * squared over and over: each time that it gets to two there is another one
 * among the logarithm's digits. The first digits err by less than the last.
 */
#define LOG_BITS 40
static uint64_t minus_log2(uint64_t u)
{
	unsigned zeros = (unsigned)__builtin_clzll(u);
	uint64_t mantissa = u << zeros, digits = 0;

	for (int i = 0; i < LOG_BITS; i++) {
		unsigned __int128 square = (unsigned __int128)mantissa * mantissa;
		bool is_two = square >> 127;

		digits = digits << 1 | is_two;
		mantissa = (uint64_t)(square >> (is_two ? 64 : 63));
	}
	return ((uint64_t)(zeros + 1) << LOG_BITS) - digits;
}

#define LN2 0xb17217f7ull /* ln(2) * 2^32 */

uint64_t rqs_sample_distance(uint64_t *random, uint64_t mean)
{
	uint64_t bits = minus_log2(draw(random));
	uint64_t in_means = (uint64_t)((unsigned __int128)bits * LN2 >> 32);

	if (mean > MEAN_MAX)
		mean = MEAN_MAX;
	/* An allocation reaches a point within its last byte, too. */
	return (uint64_t)((unsigned __int128)mean * in_means >> LOG_BITS) + 1;
}

uint64_t rqs_sample_seed(const struct rqs_worker *worker)
{
	uint64_t x = rqs_tsc() ^ (uint64_t)worker->tid << 32 ^ (uint64_t)worker;

	/* The last steps of splitmix64, by which seeds that are close lead to numbers that aren't. */
	x = (x ^ x >> 30) * 0xbf58476d1ce4e5b9ull;
	x = (x ^ x >> 27) * 0x94d049bb133111ebull;
	x ^= x >> 31;
	return x ? x : 1;
}

uint64_t rqs_sample_next(const struct rqs_agent *agent, struct rqs_worker *worker)
{
	uint64_t mean = rqs_load_relaxed(&agent->region->sample_bytes);

	/* Counters that several threads write to can't tell when it is due. */
	return mean && worker->thread != RQS_THREADS ? rqs_sample_distance(&worker->random, mean) : RQS_SAMPLE_NEVER;
}

void rqs_sample_draw(const struct rqs_agent *agent, struct rqs_worker *worker)
{
	uint64_t distance = rqs_sample_next(agent, worker);

	worker->sample_at = distance == RQS_SAMPLE_NEVER ? distance : worker->counters->alloc_bytes + distance;
}

/* An exponential distance modulo a length is distributed as the first point within that length, where there is one. */
bool rqs_sample_stays(const struct rqs_agent *agent, struct rqs_worker *worker, uint64_t from, uint64_t to)
{
	uint64_t mean = rqs_load_relaxed(&agent->region->sample_bytes);

	return mean && from && (rqs_sample_distance(&worker->random, mean) - 1) % from < to;
}

/* ---- ends ---- */

/*
 * A number is followed with the epoch that it belongs to before it: one that
 * a recording before left in the table tells nothing.
 */
#define EPOCH_SHIFT 48
#define NUMBER_MASK ((1ull << EPOCH_SHIFT) - 1)
#define WITHDRAWN (1ull << 63) /* of one that is to be told yet */

static uint64_t followed_as(const struct rqs_agent *agent, uint64_t number)
{
	return (agent->epoch << EPOCH_SHIFT & ~WITHDRAWN) | (number & NUMBER_MASK);
}

static bool is_of_now(const struct rqs_agent *agent, uint64_t followed)
{
	return followed_as(agent, followed) == followed;
}

static bool tell_end(struct rqs_agent *agent, struct rqs_worker *worker, uint64_t followed, bool withdrawn)
{
	struct rqs_freed_record *record = rqs_sample_space(agent, worker, sizeof(*record));

	if (!record)
		return false;
	record->size = sizeof(*record);
	record->type = RQS_RECORD_FREED;
	record->reserved = 0;
	record->withdrawn = withdrawn;
	record->ticks = rqs_now(agent);
	record->number = followed & NUMBER_MASK;
	rqs_record_commit(worker, sizeof(*record));
	return true;
}

/*
 * Until it is told, the sample is one whose end isn't seen: nothing more can
 * come, if the process is killed or the recording ends first.
 */
static bool keep(struct rqs_agent *agent, uint64_t untold)
{
	for (uint32_t i = 0; i < RQS_SAMPLES_UNTOLD; i++) {
		if (!rqs_load_relaxed(&agent->untold[i]) && rqs_swap(&agent->untold[i], 0, untold)) {
			rqs_store(&agent->has_untold, true);
			return true;
		}
	}
	return false;
}

void rqs_sample_ended_later(struct rqs_agent *agent, uint64_t followed, bool withdrawn)
{
	if (!is_of_now(agent, followed))
		return;
	rqs_count(agent, RQS_EVENT_SAMPLE_UNFOLLOWED);
	keep(agent, followed | (withdrawn ? WITHDRAWN : 0));
}

void rqs_sample_tell_ends(struct rqs_agent *agent, struct rqs_worker *worker)
{
	bool has_room = true;

	/* Whoever keeps one meanwhile says so after it, and we look after this. */
	(void)__atomic_exchange_n(&agent->has_untold, false, __ATOMIC_SEQ_CST);
	for (uint32_t i = 0; i < RQS_SAMPLES_UNTOLD && has_room; i++) {
		uint64_t untold = rqs_load(&agent->untold[i]), followed = untold & ~WITHDRAWN;

		if (!untold || !rqs_swap(&agent->untold[i], untold, 0))
			continue;
		if (!is_of_now(agent, followed))
			continue;
		has_room = tell_end(agent, worker, followed, untold & WITHDRAWN);
		if (has_room)
			rqs_add(&agent->process->events[RQS_EVENT_SAMPLE_UNFOLLOWED], -1);
		else
			keep(agent, untold);
	}
}

void rqs_sample_ended(struct rqs_agent *agent, struct rqs_worker *worker, uint64_t followed, bool withdrawn)
{
	if (is_of_now(agent, followed) && !tell_end(agent, worker, followed, withdrawn))
		rqs_sample_ended_later(agent, followed, withdrawn);
	else
		rqs_sample_tell_untold(agent, worker);
}

/* ---- the record ---- */

/* A block whose end was seen by nobody had the address before. */
static bool follow(struct rqs_agent *agent, struct rqs_worker *worker, const void *memory, uint64_t number)
{
	uint64_t before = rqs_followed_maybe(memory) ? rqs_followed_take(memory) : 0;

	if (before)
		rqs_sample_ended(agent, worker, before, false);
	if (rqs_followed_add(memory, followed_as(agent, number)))
		return true;
	rqs_count(agent, RQS_EVENT_SAMPLE_UNFOLLOWED);
	return false;
}

/*
 * The page that RSP points into is the thread's own; what is beyond it may be
 * another's, who gives it back while we look, so that the kernel has to copy.
 * Where it can't be asked, that page is all.
 */
static size_t copy_stack(const struct rqs_agent *agent, const struct rqs_sample_facts *facts, char *to, size_t most,
			 bool *more)
{
	uint64_t from = facts->registers[RQS_SAMPLE_RSP];
	size_t n = 0;

	*more = true;
	if (!most)
		return 0;
	if (facts->stack_end) {
		n = facts->stack_end > from ? facts->stack_end - from : 0;
		*more = n > most;
		n = *more ? most : n & ~(size_t)7;
		rqs_copy(to, (const void *)from, n);
		return n;
	}
	if (!agent->frozen)
		n = agent->env->copy(to, (const void *)from, most);
	*more = !n || n == most;
	if (!n) {
		n = PAGE - from % PAGE;
		n = n < most ? n : most;
		rqs_copy(to, (const void *)from, n);
	}
	return n & ~(size_t)7;
}

static void fill(struct rqs_agent *agent, struct rqs_sample_record *record, const struct rqs_sample_facts *facts,
		 size_t stack)
{
	size_t frames = facts->frame_count * sizeof(*facts->frames);
	bool more_stack;

	record->type = RQS_RECORD_SAMPLE;
	record->kind = (uint8_t)facts->kind;
	record->frame_count = facts->frame_count;
	record->slot = facts->slot;
	record->ordinal = facts->ordinal;
	record->ticks = rqs_now(agent);
	record->bytes = facts->bytes;
	for (unsigned i = 0; i < RQS_SAMPLE_REGISTERS; i++)
		record->registers[i] = facts->registers[i];
	rqs_copy(record->frames, facts->frames, frames);
	record->stack_bytes = (uint32_t)copy_stack(agent, facts, (char *)record->frames + frames, stack, &more_stack);
	record->size = (uint16_t)(sizeof(*record) + frames + record->stack_bytes);
	record->flags = (uint16_t)((facts->after ? RQS_SAMPLE_AFTER : 0) | (more_stack ? RQS_SAMPLE_MORE_STACK : 0) |
				   (facts->more_frames ? RQS_SAMPLE_MORE_FRAMES : 0) | (stack ? 0 : RQS_SAMPLE_NO_ROOM));
}

static size_t most_stack(const struct rqs_agent *agent, const struct rqs_worker *worker,
			 const struct rqs_sample_facts *facts)
{
	bool is_short = facts->frame_count || rqs_stack_space_is_scarce(agent, worker);
	uint64_t stack = is_short ? RQS_SAMPLE_SHORT : RQS_SAMPLE_STACK, from = facts->registers[RQS_SAMPLE_RSP];

	if (facts->stack_end > from && facts->stack_end - from < stack)
		stack = (facts->stack_end - from) & ~7ull;
	return stack;
}

/* Room for the record and *stack bytes of stack; where there is none, without any: its site isn't known then. */
static struct rqs_sample_record *find_room(struct rqs_agent *agent, struct rqs_worker *worker,
					   const struct rqs_sample_facts *facts, size_t *stack)
{
	size_t bare = sizeof(struct rqs_sample_record) + facts->frame_count * sizeof(*facts->frames);
	struct rqs_sample_record *record;

	*stack = most_stack(agent, worker, facts);
	record = rqs_stack_space(agent, worker, bare + *stack);
	if (record)
		return record;
	*stack = 0;
	return rqs_sample_space(agent, worker, bare);
}

uint64_t rqs_sample_commit(struct rqs_agent *agent, struct rqs_worker *worker, const struct rqs_sample_facts *facts)
{
	uint64_t number = rqs_add(&agent->samples, 1) + 1;

	rqs_sample_tell_untold(agent, worker);
	/* Before there is space, as it may tell of an end. */
	bool followed = facts->memory && follow(agent, worker, facts->memory, number);
	size_t stack;
	struct rqs_sample_record *record = find_room(agent, worker, facts, &stack);

	if (!record) {
		if (followed)
			rqs_followed_take(facts->memory);
		rqs_count(agent, RQS_EVENT_SAMPLE_LOST);
		return 0;
	}
	record->number = number;
	fill(agent, record, facts, stack);
	if (followed)
		record->flags |= RQS_SAMPLE_FOLLOWED;
	rqs_record_commit(worker, record->size);
	return number;
}
