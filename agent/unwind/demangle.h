/* demangle.h - what the names of C++'s and Rust's functions are in their sources. */
#ifndef UNWIND_DEMANGLE_H
#define UNWIND_DEMANGLE_H

/* For the caller to free; NULL: it is no such name. */
char *rqs_demangle(const char *name);

#endif
