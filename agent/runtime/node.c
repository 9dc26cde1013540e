/*
 * node.c - Node.js. Its version isn't in reach of a plain call: the collector
 * reads it from the executable.
 *
 * V8 tells its heap's size to a call on the thread that runs it: the main
 * thread makes it before it waits in its loop, ten times a second at most
 * (some 8 us each). The functions are C++, exported by node for its addons:
 * v8-isolate.h, v8-statistics.h. What they fill is a class of size_t's, of
 * which the one asked for is the fifth; it is believed where it fits the rest.
 */
#include "hook/hook.h"
#include "hook/objects.h"
#include "os/sys.h"
#include "runtime/runtime.h"

#define STATISTICS_WORDS 64 /* 14 in V8 11; room for more */
#define TOTAL 0
#define USED 4
#define LIMIT 5

static struct {
	void *(*current)(void);       /* v8::Isolate::TryGetCurrent */
	void (*construct)(void *);    /* v8::HeapStatistics::HeapStatistics */
	void (*fill)(void *, void *); /* v8::Isolate::GetHeapStatistics */
	uint64_t next;                /* ticks */
	bool usable;
} v8;

static void find(void **to, const char *name)
{
	*to = rqs_objects_any(name, NULL);
}

static bool detect(char *version, size_t size)
{
	(void)version;
	(void)size;
	if (!rqs_objects_any("napi_create_function", NULL) || !rqs_objects_any("node_module_register", NULL))
		return false;
	find((void **)(void *)&v8.current, "_ZN2v87Isolate13TryGetCurrentEv");
	find((void **)(void *)&v8.construct, "_ZN2v814HeapStatisticsC1Ev");
	find((void **)(void *)&v8.fill, "_ZN2v87Isolate17GetHeapStatisticsEPNS_14HeapStatisticsE");
	v8.usable = v8.current && v8.construct && v8.fill;
	return true;
}

void rqs_node_waits(void)
{
	uint64_t statistics[STATISTICS_WORDS] = { 0 };

	if (!v8.usable)
		return;
	uint64_t now = rqs_now(&rqs_agent);
	if (now < v8.next || rqs_sys0(SYS_gettid) != rqs_sys0(SYS_getpid))
		return;
	v8.next = now + rqs_agent.region->ticks_per_second / 10;
	void *isolate = v8.current();
	if (!isolate)
		return;
	v8.construct(statistics);
	v8.fill(isolate, statistics);
	v8.usable = statistics[USED] && statistics[USED] <= statistics[TOTAL] && statistics[TOTAL] <= statistics[LIMIT] * 4;
	rqs_store_relaxed(&rqs_agent.process->heap_in_use, v8.usable ? statistics[USED] : 0);
}

const struct rqs_runtime_ops rqs_runtime_node = { .id = RQS_RUNTIME_NODE, .detect = detect };
