/*
 * trial.h - what might end or block the host is tried by a child first: system
 * calls that it doesn't make itself, which a filter from before the exec may
 * kill for, and locks that nobody may ever give back.
 */
#ifndef REQSCOPE_TRIAL_H
#define REQSCOPE_TRIAL_H

#include <stdbool.h>

/* True without a filter, or when calls() returns true in a child: it makes them in ways that do nothing. */
bool rqs_trial_passes(bool (*calls)(void));

/* True when calls() returns true in a child within so many ms. What it changes of memory is lost. */
bool rqs_trial_ends(bool (*calls)(void), unsigned ms);

#endif
