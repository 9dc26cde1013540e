/*
 * protobuf.h - writes the wire format of protocol buffers
 * (protobuf.dev/programming-guides/encoding): numbers as varints, everything
 * else as a length and that many bytes. A message is built by itself and then
 * put into the one around it.
 */
#ifndef REQSCOPE_PROTOBUF_H
#define REQSCOPE_PROTOBUF_H

#include "export/bytes.h"

/* A number of 0 is left out, as proto3 has it. */
void rqs_protobuf_number(struct rqs_bytes *to, unsigned field, uint64_t value);
void rqs_protobuf_bytes(struct rqs_bytes *to, unsigned field, const void *bytes, size_t length);
/* A message, or packed numbers; empties it, so that it can be filled again. */
void rqs_protobuf_message(struct rqs_bytes *to, unsigned field, struct rqs_bytes *message);

#endif
