/*
 * student.h - Student's t distribution, with any real number of degrees of freedom from 0.1 on; INFINITY: the normal
 * one.
 *
 * The regularised incomplete beta function by its continued fraction (NIST Digital Library of Mathematical Functions,
 * 8.17.22, evaluated by Lentz's method), and the quantile by bisection of it, which can't fail to converge.
 */
#ifndef REQSCOPE_STUDENT_H
#define REQSCOPE_STUDENT_H

/* The probability of a value of at most t. */
double rqs_student_cdf(double t, double df);
/* The t below which a share p of the values lies, 0 < p < 1. */
double rqs_student_quantile(double p, double df);

#endif
