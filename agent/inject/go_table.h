/*
 * go_table.h - the table of functions that every Go program carries for its
 * own tracebacks (pclntab), stripped ones included. Formats of Go 1.18 and
 * later.
 *
 * Source: src/runtime/symtab.go and runtime2.go of the versions in question.
 */
#ifndef REQSCOPE_GO_TABLE_H
#define REQSCOPE_GO_TABLE_H

#include "inject/elf_image.h"

struct rqs_go_table {
	struct rqs_image *image;
	const uint8_t *bytes; /* borrowed from the image */
	uint64_t size;        /* from its start to the segment's end: at least what belongs to it */
	uint64_t address;
	uint64_t count;             /* of functions */
	uint64_t text;              /* functions' addresses count from here */
	uint64_t names, names_size; /* offsets into bytes, and sizes */
	uint64_t pcdata, pcdata_size;
	uint64_t functions;
	uint64_t module; /* address of the runtime's moduledata, 0 not found */
	bool before_120; /* the older layout of function records */
};

struct rqs_go_function {
	const char *name;
	uint64_t start, end;
	const uint8_t *code;   /* all of it */
	const uint8_t *record; /* runtime._func, its fixed part is there in full */
	uint64_t record_left;
};

/* Finds and checks the table. False: why says what is missing, as a sentence's end. */
bool rqs_go_table_open(struct rqs_go_table *table, struct rqs_image *image, const char **why);

/* One function; false where its entry makes no sense. They ascend by address. */
bool rqs_go_table_function(const struct rqs_go_table *table, uint64_t index, struct rqs_go_function *function);

/* The name at an offset into the names, NULL where there is none. */
const char *rqs_go_table_name(const struct rqs_go_table *table, uint64_t offset);

#endif
