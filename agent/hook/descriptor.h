/* descriptor.h - what becomes of descriptors, for hooks that learn of it by other ways than descriptor.c's own. */
#ifndef REQSCOPE_DESCRIPTOR_H
#define REQSCOPE_DESCRIPTOR_H

#include <stdbool.h>

/* Before fd is closed, or its number taken by another. */
void rqs_descriptor_closing(int fd);
/* The same for all from first to last. */
void rqs_descriptor_closing_range(unsigned first, unsigned last);
/* After; the results of dup and accept, negative when they failed. */
void rqs_descriptor_duplicated(int from, int to);
void rqs_descriptor_accepted(int listener, int fd);

#endif
