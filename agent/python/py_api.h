/*
 * py_api.h - what we call of CPython. Found by name at run time, in the
 * executable or a shared libpython: no headers of any version are needed, and
 * one library fits all from 3.8 on.
 */
#ifndef REQSCOPE_PY_API_H
#define REQSCOPE_PY_API_H

#include <stdbool.h>
#include <stddef.h>
#include <sys/types.h>

/* PyMemAllocatorEx (docs.python.org/3/c-api/memory.html). */
struct rqs_py_allocator {
	void *context;
	void *(*malloc)(void *context, size_t size);
	void *(*calloc)(void *context, size_t count, size_t size);
	void *(*realloc)(void *context, void *p, size_t size);
	void (*free)(void *context, void *p);
};
enum { RQS_PY_DOMAIN_MEM = 1, RQS_PY_DOMAIN_OBJ = 2 };

/* X(result, name, parameters); objects are void *. */
#define RQS_PY_FUNCTIONS(X)                                              \
	X(int, Py_IsInitialized, (void))                                 \
	X(int, PyGILState_Ensure, (void))                                \
	X(void, PyGILState_Release, (int))                               \
	X(void *, PyGILState_GetThisThreadState, (void))                 \
	X(void, PyMem_GetAllocator, (int, struct rqs_py_allocator *))    \
	X(void, PyMem_SetAllocator, (int, struct rqs_py_allocator *))    \
	X(void *, PyContextVar_New, (const char *, void *))              \
	X(int, PyContextVar_Get, (void *, void *, void **))              \
	X(void *, PyContextVar_Set, (void *, void *))                    \
	X(void *, PyContext_New, (void))                                 \
	X(int, PyContext_Enter, (void *))                                \
	X(int, PyContext_Exit, (void *))                                 \
	X(void *, PyWeakref_NewRef, (void *, void *))                    \
	X(void *, PyWeakref_GetObject, (void *))                         \
	X(void *, PyLong_FromUnsignedLongLong, (unsigned long long))     \
	X(ssize_t, PyLong_AsSsize_t, (void *))                           \
	X(void, Py_DecRef, (void *))                                     \
	X(void, PyErr_Clear, (void))                                     \
	X(int, PyErr_CheckSignals, (void))                               \
	X(int, Py_AddPendingCall, (int (*)(void *), void *))

struct rqs_py_api {
#define RQS_PY_FIELD(result, name, parameters) result(*name) parameters;
	RQS_PY_FUNCTIONS(RQS_PY_FIELD)
#undef RQS_PY_FIELD
	void *(*thread_state)(void); /* the current one, NULL: this thread doesn't hold the GIL. By either of its names */
	int minor;                   /* its version: 3.minor */
	void *(*interpreter)(void);  /* the current thread state's; NULL before 3.9, where all interpreters share the GIL */
};
extern struct rqs_py_api rqs_py;

/* Looks them all up; false where one is missing: no CPython, or none that we know, or one without a GIL. */
bool rqs_py_find(void);

#endif
