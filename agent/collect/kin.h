/* kin.h - finds processes of a session that haven't joined it. */
#ifndef COLLECT_KIN_H
#define COLLECT_KIN_H

#include <stdbool.h>

/*
 * Whether any process lives that was started with the session's token in its
 * environment, or forked from such a one: a server that hasn't come to listen
 * yet. Reads all of /proc: some ms.
 */
bool rqs_kin_alive(const char *token);

#endif
