/*
 * reserve.h - address space for the agent, which costs the host as little as
 * can be: pages come with their use, also where all of the host's memory is
 * locked, and where its address space is limited we take a small part of it.
 */
#ifndef REQSCOPE_RESERVE_H
#define REQSCOPE_RESERVE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* Memory that is zero, or with fd >= 0 the file's, shared. NULL: there is no room. */
void *rqs_reserve(size_t size, int fd);
/* The same for a file's bytes from offset (of whole pages) on. */
void *rqs_reserve_at(size_t size, int fd, uint64_t offset);
/* For tables of which little is used: no huge page, which would take 2 MiB for a few entries. */
void *rqs_reserve_sparse(size_t size);
void rqs_unreserve(void *memory, size_t size);

/* Gives the pages of a reservation without a file back: it is zero again. */
void rqs_reserve_forget(void *memory, size_t size);
/* Puts a reservation of that size at the place of another, of which there is always one or the other. */
bool rqs_reserve_move(void *from, size_t size, void *to);

/* How much one reservation may take, at most `wanted`, given the host's limits. */
size_t rqs_reserve_share(size_t wanted);

/* Go reserves some 700 MB and ends when it can't. Is so little allowed here that what we take could be what it lacks? */
bool rqs_reserve_is_scarce_for_go(void);

#endif
