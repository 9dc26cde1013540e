/*
 * objects.h - what the process's loaded objects define, by name.
 *
 * Not by dlsym and dladdr: those were libdl's before glibc 2.34, which a
 * program need not have, and a library that asks libc for them can't be loaded
 * there. They may allocate, too, and what they leave for dlerror is the
 * host's. Only the linker's list of objects is asked for, by dl_iterate_phdr.
 *
 * Any thread; takes the linker's lock for the list, and allocates nothing. In
 * a forked child that can't get that lock nothing is found.
 * What is found is valid as long as its object stays loaded. Symbols of many
 * versions: the default one.
 */
#ifndef REQSCOPE_OBJECTS_H
#define REQSCOPE_OBJECTS_H

#include <link.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/*
 * The first of that name after our own library, as by dlsym(RTLD_NEXT); NULL:
 * none. Where we were loaded late, the first of all but ours.
 */
void *rqs_objects_next(const char *name);

/* The first in any object, also in those that were opened for their openers alone; NULL: none. Size may be NULL. */
void *rqs_objects_any(const char *name, size_t *size);

/* Is it defined in no more than one object, ours, and glibc's linker and threads apart? */
bool rqs_objects_is_single(const char *name);

/* The writable part of an object that this address is in, from the first whole word on. False: in none. */
bool rqs_objects_data_around(const void *address, const char **start, const char **end);

/* Came we when the program was running already, by dlopen, behind the C library? Then nothing is interposed. */
bool rqs_objects_are_before_us(void);

/* As dl_iterate_phdr; 0, too, where the list can't be had. */
typedef int rqs_objects_visitor(struct dl_phdr_info *info, size_t size, void *argument);
int rqs_objects_walk(rqs_objects_visitor *visit, void *argument);
bool rqs_objects_is_own(const struct dl_phdr_info *info);
/* glibc's linker, an object of its own; musl's is the C library. */
bool rqs_objects_is_linker(const struct dl_phdr_info *info);

/* The dynamic section of an object, NULL: none; and the memory that an entry of it points to. */
const ElfW(Dyn) *rqs_objects_dynamic(const struct dl_phdr_info *info);
const void *rqs_objects_pointer(const struct dl_phdr_info *info, uint64_t value);

/* Our own library's file, as the linker was told; "" or NULL: not known. Valid for ever. */
const char *rqs_objects_own_file(void);

#endif
