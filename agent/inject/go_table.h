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
	uint64_t units;             /* of files' offsets, by unit of compilation */
	uint64_t files, files_size;
	uint64_t pcdata, pcdata_size;
	uint64_t functions;
	uint64_t module;   /* address of the runtime's moduledata, 0 not found */
	uint64_t funcdata; /* address from which other data of functions is counted, 0 not found */
	bool before_120;   /* the older layout of function records */
};

struct rqs_go_function {
	const char *name;
	uint64_t start, end;
	const uint8_t *code;   /* all of it; NULL where only the record was asked for */
	const uint8_t *record; /* runtime._func, its fixed part is there in full */
	uint64_t record_left;
};

/* Finds and checks the table. False: why says what is missing, as a sentence's end. */
bool rqs_go_table_open(struct rqs_go_table *table, struct rqs_image *image, const char **why);

/* One function; false where its entry makes no sense. They ascend by address. */
bool rqs_go_table_function(const struct rqs_go_table *table, uint64_t index, struct rqs_go_function *function);

/* The name at an offset into the names, NULL where there is none. */
const char *rqs_go_table_name(const struct rqs_go_table *table, uint64_t offset);

/* The same without its code; and the function that the instruction at an address is of. */
bool rqs_go_table_at(const struct rqs_go_table *table, uint64_t index, struct rqs_go_function *function);
bool rqs_go_table_find(const struct rqs_go_table *table, uint64_t address, struct rqs_go_function *function);

#define RQS_GO_TOP_FRAME 1u /* the outermost of its stack */
#define RQS_GO_SP_WRITE 2u  /* goes over to other stacks */

/* Of a function's record. Tables of values by instruction: offsets into pcdata, 0 none. */
struct rqs_go_record {
	uint32_t sp, file, line, inlined;
	uint32_t unit;
	uint8_t id;    /* of functions special to the runtime, 0 others; the highest: wrappers made by the compiler */
	uint8_t flags; /* RQS_GO_* */
	bool has_inline_tree;
	uint32_t inline_tree; /* counted from table->funcdata */
};
bool rqs_go_table_record(const struct rqs_go_table *table, const struct rqs_go_function *function,
			 struct rqs_go_record *record);

/* A source file's name, by the value of its function's table of them; NULL not known. */
const char *rqs_go_table_file(const struct rqs_go_table *table, const struct rqs_go_record *record, int32_t value);

/* A table of values by instruction, step by step. */
struct rqs_go_values {
	const uint8_t *at, *end;
	bool begun;
	uint64_t until; /* the value holds for addresses below */
	int32_t value;
};
bool rqs_go_values_begin(struct rqs_go_values *values, const struct rqs_go_table *table, uint32_t offset,
			 uint64_t start);
/* False at the end: damaged unless rqs_go_values_whole(). */
bool rqs_go_values_next(struct rqs_go_values *values);
static inline bool rqs_go_values_whole(const struct rqs_go_values *values)
{
	return values->at < values->end;
}

/* The value for the instruction at an address; false where there is none. */
bool rqs_go_table_value(const struct rqs_go_table *table, const struct rqs_go_function *function, uint32_t offset,
			uint64_t address, int32_t *value);

#endif
