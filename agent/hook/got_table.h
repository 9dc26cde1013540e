/*
 * got_table.h - which functions are hooked in a process that is attached to,
 * and what the slots held that lead to them now.
 *
 * Of one thread at a time.
 */
#ifndef REQSCOPE_GOT_TABLE_H
#define REQSCOPE_GOT_TABLE_H

#include <stdbool.h>
#include <stdint.h>

struct rqs_got_target {
	const char *name;
	const char *ours;
	const char *real; /* NULL: there is none */
};

/* Finds the real functions, once; that of free each time, and only where samples are taken. */
void rqs_got_targets_find(void);
/* Numbers begin at 1; 0: it isn't one, or has no real function. */
uint32_t rqs_got_target_number(const char *name);
const struct rqs_got_target *rqs_got_target(uint32_t number);

/* ---- records of slots ---- */

struct rqs_got_record {
	const char **slot;
	const char *original;
	uint32_t target;
	uint32_t older; /* the record before of the same object, 0 none */
};

/* False: no memory. */
bool rqs_got_records_map(void);
/* The new record's number, from 1 on; 0: there are too many. */
uint32_t rqs_got_record_add(const struct rqs_got_record *record);
const struct rqs_got_record *rqs_got_record(uint32_t number);
uint32_t rqs_got_records(void);
/* Gives their memory back. */
void rqs_got_records_forget(void);

#endif
