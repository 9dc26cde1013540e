/*
 * escape.h - texts of unknown origin, made fit for a terminal, markdown or
 * HTML. Invalid UTF-8, control characters and the marks that turn the
 * direction of writing are shown as \xNN or \u{N}, so that nothing in a trace
 * can move a cursor or forge a line. The texts are the caller's to free.
 */
#ifndef REQSCOPE_ESCAPE_H
#define REQSCOPE_ESCAPE_H

#include <stddef.h>

char *rqs_clean(const char *text);
char *rqs_clean_html(const char *text);
char *rqs_clean_markdown(const char *text); /* for a table's cell or a line */
char *rqs_valid_utf8(const char *text);     /* invalid bytes become U+FFFD; for JSON */
size_t rqs_width(const char *text);         /* in code points; of cleaned text */

#endif
