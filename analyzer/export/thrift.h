/*
 * thrift.h - writes Thrift's compact protocol, in which Parquet's metadata are
 * (apache/thrift, doc/specs/thrift-compact-protocol.md): structs of numbered
 * fields, in ascending order, and lists.
 *
 * Field 0 stands for an element of a list, which has no head of its own.
 */
#ifndef REQSCOPE_THRIFT_H
#define REQSCOPE_THRIFT_H

#include "export/bytes.h"

#include <stdbool.h>

enum rqs_thrift_type {
	RQS_THRIFT_TRUE = 1,
	RQS_THRIFT_FALSE = 2,
	RQS_THRIFT_I16 = 4,
	RQS_THRIFT_I32 = 5,
	RQS_THRIFT_I64 = 6,
	RQS_THRIFT_BINARY = 8,
	RQS_THRIFT_LIST = 9,
	RQS_THRIFT_STRUCT = 12,
};

#define RQS_THRIFT_DEPTH 8

struct rqs_thrift {
	struct rqs_bytes *to;
	unsigned depth;
	int last[RQS_THRIFT_DEPTH]; /* the last field's number of each open struct */
};

/* The outermost struct is open. */
void rqs_thrift_start(struct rqs_thrift *t, struct rqs_bytes *to);
void rqs_thrift_begin(struct rqs_thrift *t, int field); /* a struct */
void rqs_thrift_end(struct rqs_thrift *t);              /* ... also of the outermost one */
void rqs_thrift_int(struct rqs_thrift *t, int field, enum rqs_thrift_type type, int64_t value);
void rqs_thrift_bool(struct rqs_thrift *t, int field, bool value); /* not in lists */
void rqs_thrift_binary(struct rqs_thrift *t, int field, const void *bytes, size_t length);
void rqs_thrift_text(struct rqs_thrift *t, int field, const char *text);
void rqs_thrift_list(struct rqs_thrift *t, int field, enum rqs_thrift_type type, size_t count);

#endif
