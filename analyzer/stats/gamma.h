/*
 * gamma.h - the chi-square distribution, with any real number of degrees of freedom above 0.
 *
 * The regularised incomplete gamma function by its series (NIST Digital Library of Mathematical Functions, 8.11.4) or
 * its continued fraction (8.9.2, by Lentz's method), the quantile by bisection of it; from 2,000 degrees on Wilson and
 * Hilferty's normal approximation of the cube root, which is then right to 5 digits.
 */
#ifndef REQSCOPE_GAMMA_H
#define REQSCOPE_GAMMA_H

/* The value below which a share p of the values lies, 0 < p < 1. */
double rqs_chi_square_quantile(double p, double df);

#endif
