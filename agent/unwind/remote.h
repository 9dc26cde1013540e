/*
 * remote.h - what libunwind is told the same way by all who unwind other
 * processes with it: accessors that have nothing to tell, and the search of
 * .eh_frame_hdr.
 */
#ifndef UNWIND_REMOTE_H
#define UNWIND_REMOTE_H

#include <libunwind.h>
#include <stdbool.h>
#include <stdint.h>

typedef int (*rqs_find_proc_info_fn)(unw_addr_space_t space, unw_word_t address, unw_proc_info_t *about, int whole,
				     void *context);
typedef int (*rqs_access_word_fn)(unw_addr_space_t space, unw_word_t address, unw_word_t *value, int write,
				  void *context);
typedef int (*rqs_access_register_fn)(unw_addr_space_t space, unw_regnum_t number, unw_word_t *value, int write,
				      void *context);

/* An address space that is read by these; what it learns of addresses is kept. NULL: no memory. */
unw_addr_space_t rqs_remote_space(rqs_find_proc_info_fn find, rqs_access_word_fn word, rqs_access_register_fn reg);

/* A table of functions, sorted: pairs of 32-bit offsets from `base`, of the function and of its FDE. */
struct rqs_remote_table {
	uint64_t base;
	uint64_t rows; /* address of the first */
	uint64_t count;
};

/* Reads the head of the .eh_frame_hdr at that address. False: there is none of the kind that linkers make. */
bool rqs_remote_table_read(struct rqs_remote_table *table, uint64_t address,
			   bool (*read)(void *context, uint64_t address, void *bytes, uint64_t size), void *context);

/* For who is asked for the information about an address: as unw_accessors_t's find_proc_info(). */
int rqs_remote_search(const struct rqs_remote_table *table, unw_addr_space_t space, unw_word_t address,
		      unw_proc_info_t *about, int whole, void *context);

#endif
