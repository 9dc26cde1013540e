/*
 * site_rules.c - which frame of a stack is its site.
 *
 * The innermost one that isn't an allocator's, or a helper of the runtime or
 * the language through which everything goes. Where Python called it, the
 * innermost Python line: that is what its users can change, and a line of C in
 * an extension says less. Names: jemalloc, tcmalloc, mimalloc and musl as they
 * export them; glibc's malloc/malloc.c; CPython's Objects/obmalloc.c; the
 * demangled forms of the Itanium ABI; Rust's library/alloc; Go's package runtime.
 */
#include "model/alloc_sites.h"
#include "model/site_index.h"

#include <string.h>

/* Functions of allocators; one that ends in '*' is a beginning. Without what `strip` takes off. */
static const char *const native_helpers[] = {
    "malloc",
    "calloc",
    "realloc",
    "reallocarray",
    "memalign",
    "aligned_alloc",
    "posix_memalign",
    "valloc",
    "pvalloc",
    "strdup",
    "strndup",
    "asprintf",
    "vasprintf",
    "_int_malloc",
    "_int_realloc",
    "_int_memalign",
    "_mid_memalign",
    "sysmalloc",
    "tcache_*",
    "checked_request2size",
    "malloc_*",
    "realloc_*",
    "calloc_*",
    "je_malloc*",
    "je_calloc",
    "je_realloc*",
    "tc_malloc*",
    "tc_calloc",
    "tc_realloc",
    "tc_new*",
    "mi_malloc*",
    "mi_calloc*",
    "mi_zalloc*",
    "mi_realloc*",
    "mi_heap_*",
    "mi_new*",
    "tcmalloc::*",
    "xmalloc",
    "xcalloc",
    "xrealloc",
    "operator new*",
    "std::*",
    "__gnu_cxx::*",
    "_Znwm",
    "_Znam",
    "_ZnwmRKSt9nothrow_t",
    "_ZnamRKSt9nothrow_t",
    "rust_alloc*",
    "rust_realloc",
    "rdl_alloc*",
    "rdl_realloc",
    "rg_alloc*",
    "rg_realloc",
    "alloc::alloc::*",
    "alloc::raw_vec::*",
    "g_malloc*",
    "g_realloc*",
    "g_try_malloc*",
    "g_slice_alloc*",
    "g_strdup",
    "zmalloc*",
    "zcalloc*",
    "zrealloc*",
    "zmalloc",
    "ngx_alloc",
    "ngx_calloc",
    "ngx_memalign",
    "ngx_palloc*",
    "ngx_pnalloc",
    "ngx_pcalloc",
    "ngx_pmemalign",
    "ngx_create_pool",
    "CRYPTO_malloc",
    "CRYPTO_zalloc",
    "CRYPTO_realloc",
    "PyMem_*",
    "_PyMem_*",
    "PyObject_Malloc",
    "PyObject_Calloc",
    "PyObject_Realloc",
    "_PyObject_Malloc",
    "_PyObject_Calloc",
    "_PyObject_Realloc",
    "pymalloc_*",
    "PyObject_GC_*",
    "_PyObject_GC_*",
    "gc_alloc",
    "PyType_GenericAlloc",
    "_PyType_AllocNoTrack",
    "_PyObject_New",
    "_PyObject_NewVar",
};

static const char *const go_helpers[] = {"runtime.*", "internal/runtime/*", "runtime/internal/*"};

static bool is_one_of(const char *name, const char *const *list, size_t count)
{
	for (size_t i = 0; i < count; i++) {
		size_t length = strlen(list[i]);
		bool beginning = list[i][length - 1] == '*';

		if (beginning ? !strncmp(name, list[i], length - 1) : !strcmp(name, list[i]))
			return true;
	}
	return false;
}

#define LIST(list) list, sizeof(list) / sizeof(*(list))

/* What stands behind a template function's type: "T* f<T>(int)". */
static const char *without_type(const char *name)
{
	const char *start = name;
	int depth = 0;

	for (const char *p = name; *p && (depth || *p != '('); p++) {
		depth += (*p == '<') - (*p == '>');
		if (*p == ' ' && depth <= 0 && strncmp(start, "operator", 8))
			start = p + 1;
	}
	return start;
}

/* glibc's names for what it exports, and for its own calls of it. */
static const char *strip(const char *name)
{
	static const char *const prefixes[] = {"__GI_", "__libc_", "__"};

	name = without_type(name);
	for (unsigned i = 0; i < sizeof(prefixes) / sizeof(prefixes[0]) && strncmp(name, "__gnu_cxx", 9); i++)
		if (!strncmp(name, prefixes[i], strlen(prefixes[i])))
			name += strlen(prefixes[i]);
	return name;
}

bool rqs_site_is_helper(const struct rqs_frame_name *f)
{
	switch (f->kind) {
	case RQS_KIND_NATIVE:
		return is_one_of(strip(f->function), LIST(native_helpers));
	case RQS_KIND_GO:
		return is_one_of(f->function, LIST(go_helpers));
	case RQS_KIND_NOTE:
		return true;
	default:
		return false;
	}
}

uint32_t rqs_alloc_sites_frame_of(const struct rqs_alloc_sites *s, uint32_t stack)
{
	uint32_t first = s->stacks && stack ? s->stacks[stack].frame : RQS_NO_FRAME, found = RQS_NO_FRAME;

	for (; stack; stack = s->stacks[stack].caller) {
		uint32_t frame = s->stacks[stack].frame;

		if (s->frames[frame].kind == RQS_KIND_PYTHON)
			return frame;
		if (found == RQS_NO_FRAME && !s->frames[frame].helper)
			found = frame;
	}
	/* Helpers alone: better the innermost than none. */
	return found == RQS_NO_FRAME ? first : found;
}
