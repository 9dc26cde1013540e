/*
 * trial.h - may system calls be made that the host doesn't make itself? A
 * filter from before the exec may kill for them, so a child tries them first.
 */
#ifndef REQSCOPE_TRIAL_H
#define REQSCOPE_TRIAL_H

#include <stdbool.h>

/* True without a filter, or when calls() returns true in a child: it makes them in ways that do nothing. */
bool rqs_trial_passes(bool (*calls)(void));

#endif
