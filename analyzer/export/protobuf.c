/* protobuf.c - a key is the field's number and how long its value is. */
#include "export/protobuf.h"

enum wire_type {
	WIRE_VARINT = 0,
	WIRE_LENGTH = 2,
};

static void put_key(struct rqs_bytes *to, unsigned field, enum wire_type type)
{
	rqs_bytes_put_varint(to, (uint64_t)field << 3 | type);
}

void rqs_protobuf_number(struct rqs_bytes *to, unsigned field, uint64_t value)
{
	if (!value)
		return;
	put_key(to, field, WIRE_VARINT);
	rqs_bytes_put_varint(to, value);
}

void rqs_protobuf_bytes(struct rqs_bytes *to, unsigned field, const void *bytes, size_t length)
{
	put_key(to, field, WIRE_LENGTH);
	rqs_bytes_put_varint(to, length);
	rqs_bytes_put(to, bytes, length);
}

void rqs_protobuf_message(struct rqs_bytes *to, unsigned field, struct rqs_bytes *message)
{
	rqs_protobuf_bytes(to, field, message->at, message->length);
	message->length = 0;
}
