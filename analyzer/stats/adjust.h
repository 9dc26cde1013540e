/*
 * adjust.h - p values of many tests, made comparable with one level.
 *
 * Holm, "A simple sequentially rejective multiple test procedure", Scandinavian Journal of Statistics 6, 1979: the
 * chance of even one false alarm stays below the level, however the tests depend on each other; for what gates.
 * Benjamini and Hochberg, "Controlling the false discovery rate", Journal of the Royal Statistical Society B 57, 1995:
 * the share of false alarms among the alarms does; for what is only looked at.
 *
 * In place; a p that is NAN is no test: it stays, and doesn't count. Equal values stay equal.
 */
#ifndef REQSCOPE_ADJUST_H
#define REQSCOPE_ADJUST_H

void rqs_adjust_holm(double *p, unsigned n);
void rqs_adjust_benjamini_hochberg(double *p, unsigned n);

#endif
