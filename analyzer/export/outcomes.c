/* outcomes.c - finding a request's outcome, and counting it. */
#include "export/outcomes.h"
#include "base/alloc.h"

#include <stdlib.h>
#include <string.h>

/* Above either of them the requests of a trace with a new outcome are one, RQS_ROUTE_OTHER: only hostile ones are. */
#define OUTCOMES_MAX 4096
#define MEMORY_MAX ((size_t)64 << 20)

#define SLOTS (4 * OUTCOMES_MAX)

struct span {
	uint64_t first, last; /* ns since the epoch */
};

struct rqs_outcomes {
	const struct rqs_traces *traces;
	unsigned count;
	struct rqs_outcome **outcome;
	struct span *span; /* by trace */
	/* The trace being read. */
	const struct rqs_trace *trace;
	unsigned begin;       /* its first outcome */
	uint16_t slot[SLOTS]; /* its outcomes by their key's hash: number - begin + 1 */
	size_t memory;        /* of all histograms */
};

static const uint64_t bounds[] = {
#define NANOSECONDS(text) (uint64_t)(text * 1e9 + 0.5),
    RQS_LATENCY_BOUNDS(NANOSECONDS)
#undef NANOSECONDS
};

/*
 * With as many bits as fit behind the point, so that what is cut off decides
 * nothing: a bound is no multiple of a ns, unless it is a power of two.
 */
unsigned rqs_seconds_bucket(uint64_t ns)
{
	int bits = __builtin_clzll(ns) + 28; /* 10^9 > 2^29, so the quotient is below 2^63 */
	uint64_t scaled = (uint64_t)(((unsigned __int128)ns << bits) / 1000000000u);
	int k = (int)rqs_bucket_of(scaled) + (RQS_SECOND_BITS - bits) * RQS_BUCKETS_PER_OCTAVE;

	return k < RQS_BUCKET_LIMIT ? (unsigned)k : RQS_BUCKET_LIMIT - 1;
}

static struct rqs_outcome *add(struct rqs_outcomes *o, unsigned row, unsigned status, bool aborted)
{
	struct rqs_outcome *one = rqs_zalloc(1, sizeof(*one));

	one->trace = (unsigned)(o->trace - o->traces->trace);
	one->row = row;
	one->status = status;
	one->aborted = aborted;
	one->min = UINT64_MAX;
	one->histogram = rqs_zalloc(1, sizeof(*one->histogram));
	o->outcome = rqs_grow(o->outcome, o->count + 1, sizeof(struct rqs_outcome *));
	return o->outcome[o->count++] = one;
}

static unsigned first_slot(unsigned row, unsigned status, bool aborted)
{
	return (row * 2654435761u ^ (status * 2 + aborted) * 40503u) % SLOTS;
}

static struct rqs_outcome *find(struct rqs_outcomes *o, unsigned row, unsigned status, bool aborted)
{
	unsigned at = first_slot(row, status, aborted);

	for (; o->slot[at]; at = (at + 1) % SLOTS) {
		struct rqs_outcome *one = o->outcome[o->begin + o->slot[at] - 1];

		if (one->row == row && one->status == status && one->aborted == aborted)
			return one;
	}
	if (row != RQS_ROUTE_OTHER && o->count - o->begin >= OUTCOMES_MAX)
		return find(o, RQS_ROUTE_OTHER, 0, aborted);
	o->slot[at] = (uint16_t)(o->count - o->begin + 1);
	return add(o, row, status, aborted);
}

static void time_one(struct rqs_outcome *one, uint64_t ns)
{
	unsigned b = 0;

	while (b < RQS_LATENCY_BOUND_COUNT && ns > bounds[b])
		b++;
	one->at_most[b]++;
	one->timed++;
	one->sum += ns;
	one->min = ns < one->min ? ns : one->min;
	one->max = ns > one->max ? ns : one->max;
	if (ns)
		rqs_histogram_add_to(one->histogram, rqs_seconds_bucket(ns), 1);
	else
		one->histogram->zeros++;
}

static void count_one(struct rqs_outcomes *o, const struct rqs_request_rows *rows, uint32_t i)
{
	uint64_t route = rows->block->column[RQS_COL_ROUTE][i], status = rows->block->column[RQS_COL_STATUS][i];
	bool aborted = rows->block->column[RQS_COL_FLAGS][i] & RQS_FLAG_ABORTED;
	struct rqs_outcome *one = o->memory > MEMORY_MAX ? find(o, RQS_ROUTE_OTHER, 0, aborted)
							 : find(o, rows->route[route], (unsigned)status, aborted);
	size_t before = rqs_stats_memory;

	one->requests++;
	if (rows->latency[i] != RQS_NULL)
		time_one(one, rows->latency[i]);
	o->memory += rqs_stats_memory - before;
}

static void note_time(struct rqs_outcomes *o, const struct rqs_request_rows *rows, uint32_t i)
{
	struct span *s = &o->span[rows->trace - o->traces->trace];
	uint64_t start = rows->trace->start_realtime - rows->trace->start_monotonic; /* wraps to the right moment */
	uint64_t arrival = start + rows->first_time + rows->block->column[RQS_COL_TIME][i] * 1000;
	uint64_t end = rows->latency[i] == RQS_NULL ? arrival : arrival + rows->latency[i];

	s->first = arrival < s->first ? arrival : s->first;
	s->last = end > s->last ? end : s->last;
}

static void begin_trace(struct rqs_outcomes *o, const struct rqs_trace *trace)
{
	if (!o->span) {
		o->span = rqs_zalloc(o->traces->count, sizeof(*o->span));
		for (unsigned i = 0; i < o->traces->count; i++)
			o->span[i].first = UINT64_MAX;
	}
	o->trace = trace;
	o->begin = o->count;
	memset(o->slot, 0, sizeof(o->slot));
}

void rqs_outcomes_take(struct rqs_outcomes *o, const struct rqs_chosen *chosen)
{
	if (chosen->rows->trace != o->trace)
		begin_trace(o, chosen->rows->trace);
	for (uint32_t k = 0; k < chosen->count; k++) {
		note_time(o, chosen->rows, chosen->index[k]);
		count_one(o, chosen->rows, chosen->index[k]);
	}
}

struct rqs_outcomes *rqs_outcomes_new(const struct rqs_export *what)
{
	struct rqs_outcomes *o = rqs_zalloc(1, sizeof(*o));

	o->traces = what->traces;
	return o;
}

void rqs_outcomes_free(struct rqs_outcomes *o)
{
	for (unsigned i = 0; i < o->count; i++) {
		rqs_histogram_free(o->outcome[i]->histogram);
		free(o->outcome[i]);
	}
	free(o->outcome);
	free(o->span);
	free(o);
}

unsigned rqs_outcomes_count(const struct rqs_outcomes *o)
{
	return o->count;
}

const struct rqs_outcome *rqs_outcomes_get(const struct rqs_outcomes *o, unsigned i)
{
	return o->outcome[i];
}

bool rqs_outcomes_span(const struct rqs_outcomes *o, unsigned trace, uint64_t *first, uint64_t *last)
{
	if (!o->span || o->span[trace].first > o->span[trace].last)
		return false;
	*first = o->span[trace].first;
	*last = o->span[trace].last;
	return true;
}
