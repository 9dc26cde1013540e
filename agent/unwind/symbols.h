/* symbols.h - the names of a file's functions, and their lines, by libelf and libdw. */
#ifndef UNWIND_SYMBOLS_H
#define UNWIND_SYMBOLS_H

#include "unwind/code_file.h"
#include "unwind/lines.h"

struct rqs_symbols;

/*
 * The file's, read when it is first asked for; NULL none. What was stripped
 * from it may lie in another file: `path` is its own one, below `root` (of a
 * process; -1: not known).
 */
struct rqs_symbols *rqs_symbols_of(struct rqs_code_file *file, int root, const char *path);
void rqs_symbols_free(struct rqs_symbols *symbols);

/* The function that has that address, as linked. Its name stays until the symbols are freed; NULL none. */
const char *rqs_symbols_name(const struct rqs_symbols *symbols, uint64_t address);

/* As rqs_lines_at(), of the file or of what was stripped from it. */
size_t rqs_symbols_lines(struct rqs_symbols *symbols, uint64_t address, struct rqs_line *found, size_t room);

#endif
