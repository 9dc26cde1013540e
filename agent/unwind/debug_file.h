/*
 * debug_file.h - the file that has what was stripped from another one.
 *
 * By build-id: /usr/lib/debug/.build-id/XX/YYYY.debug; by .gnu_debuglink: beside the
 * file, in .debug there, below /usr/lib/debug. Each below the process's root
 * first, then below ours.
 */
#ifndef UNWIND_DEBUG_FILE_H
#define UNWIND_DEBUG_FILE_H

#include <libelf.h>

/*
 * Opens the one that belongs to a file: of the same build-id, or, where there
 * is none, of the checksum that the link tells. -1 none. path: as the process
 * sees the file; root: of the process, -1 not known.
 */
int rqs_debug_file_open(Elf *elf, int root, const char *path);

#endif
