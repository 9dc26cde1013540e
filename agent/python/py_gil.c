/*
 * py_gil.c - waits for CPython's global lock, and its release. Its condition
 * variable lies in the runtime's own state (_PyRuntime): a wait on one of
 * there is a wait for the lock (ceval_gil.c), and other waits pass by.
 */
#include "hook/hook.h"
#include "hook/objects.h"
#include "python/py.h"
#include "python/py_api.h"

#include <pthread.h>

static struct {
	const char *start, *end; /* of _PyRuntime */
	int (*wait)(pthread_cond_t *, pthread_mutex_t *);
	int (*timedwait)(pthread_cond_t *, pthread_mutex_t *, const struct timespec *);
	int (*signal)(pthread_cond_t *);
} real;

/*
 * Their default versions: an older one, for programs from before 2003, has another idea of what a condition variable
 * is. Before the host has forked: in a child there may be nothing to be found any more.
 */
static void __attribute__((constructor)) find_waits(void)
{
	*(void **)(void *)&real.wait = rqs_objects_next("pthread_cond_wait");
	*(void **)(void *)&real.timedwait = rqs_objects_next("pthread_cond_timedwait");
	*(void **)(void *)&real.signal = rqs_objects_next("pthread_cond_signal");
}

bool rqs_py_gil_find(void)
{
	size_t size;
	const char *runtime = rqs_objects_any("_PyRuntime", &size);

	if (runtime) {
		real.end = runtime + size;
		real.start = runtime;
	}
	return real.end > real.start;
}

static bool is_gil(const pthread_cond_t *condition)
{
	const char *p = (const char *)condition;

	return rqs_py_on && p >= real.start && p < real.end && rqs_active();
}

RQS_EXPORT int pthread_cond_wait(pthread_cond_t *condition, pthread_mutex_t *mutex)
{
	if (rqs_unlikely(!real.wait))
		find_waits();
	if (rqs_likely(!is_gil(condition)))
		return real.wait(condition, mutex);
	uint64_t before = rqs_now(&rqs_agent);
	int result = real.wait(condition, mutex);
	rqs_py_waited(rqs_now(&rqs_agent) - before);
	return result;
}

RQS_EXPORT int pthread_cond_timedwait(pthread_cond_t *condition, pthread_mutex_t *mutex, const struct timespec *until)
{
	if (rqs_unlikely(!real.timedwait))
		find_waits();
	if (rqs_likely(!is_gil(condition)))
		return real.timedwait(condition, mutex, until);
	uint64_t before = rqs_now(&rqs_agent);
	int result = real.timedwait(condition, mutex, until);
	rqs_py_waited(rqs_now(&rqs_agent) - before);
	return result;
}

/* Whoever lets go of the lock signals that: before another thread can have it, what this one allocated is charged. */
RQS_EXPORT int pthread_cond_signal(pthread_cond_t *condition)
{
	if (rqs_unlikely(!real.signal))
		find_waits();
	if (is_gil(condition))
		rqs_py_settle(&rqs_py_self);
	return real.signal(condition);
}
