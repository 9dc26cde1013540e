/*
 * units.h - numbers for people: three significant digits and a unit. NAN, for
 * what was not measured, is a dash. The texts are the caller's to free.
 */
#ifndef REQSCOPE_UNITS_H
#define REQSCOPE_UNITS_H

#include <stdint.h>

char *rqs_human_time(double seconds);    /* "1.23 ms" */
char *rqs_human_bytes(double bytes);     /* "45.1 MB", powers of 1000 */
char *rqs_human_count(double count);     /* "301,224"; "0.52" below 100 when it isn't whole */
char *rqs_human_rate(double per_second); /* "10,041/s" */
char *rqs_human_percent(double part);    /* "12.3 %", of a part of 1 */
char *rqs_human_change(double part);     /* "+12.3 %" */
char *rqs_human_factor(double factor);   /* "1.32x" */

#endif
