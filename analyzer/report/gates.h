/*
 * gates.h - what a comparison must keep to: `--gate EXPR`.
 *
 *   EXPR    [METHOD ROUTE:]FIGURE <= BOUND   or >= for what is better when higher
 *   BOUND   +5%     the new side's ratio to the base, that much more at most (>= -5%: less at most); <= -5% asks for
 * less, with all of the interval +2ms    the difference, in the figure's unit: ns us ms s, B kB MB GB KiB MiB GiB, pp,
 * /s or a bare number 100MB   without a sign: the new side's value itself
 *
 * FIGURE is a name as in JSON, or short: p99 for latency_p99, errors for error_rate.
 */
#ifndef REQSCOPE_GATES_H
#define REQSCOPE_GATES_H

#include "report/rows.h"

enum rqs_gate_kind {
	RQS_GATE_RATIO,
	RQS_GATE_DIFFERENCE,
	RQS_GATE_LIMIT,
};

struct rqs_gate {
	const char *text; /* as it was given; the caller's */
	char *route;      /* "GET /users/{}", or NULL for the whole */
	enum rqs_figure figure;
	bool at_most; /* otherwise at least */
	enum rqs_gate_kind kind;
	double bound; /* of 1 for ratios, with its sign; else in the figure's unit */
};

/* A gate of one new side. */
struct rqs_gate_result {
	const struct rqs_gate *gate;
	unsigned side;
	double base, value; /* NAN: not measured */
	struct rqs_difference difference;
	enum rqs_verdict verdict; /* OK (or IMPROVED) passes */
	const char *why;          /* what a verdict that isn't from the difference is from, or NULL */
};

struct rqs_gates {
	unsigned count;
	struct rqs_gate *gate;
	unsigned results;
	struct rqs_gate_result *result; /* a gate after the other, of each the sides in order */
};

/* Adds one. NULL, or what is wrong with it, to be freed, and at which of its bytes. */
char *rqs_gates_add(struct rqs_gates *g, const char *text, size_t *at);
/* NULL, or which gate's route isn't in any trace, to be freed. */
char *rqs_gates_check(const struct rqs_gates *g, const struct rqs_comparison *c);
void rqs_gates_evaluate(struct rqs_gates *g, const struct rqs_comparison *c, const struct rqs_rows *rows,
			const struct rqs_compare_options *options);
/* Of all gates: 0 pass, 1 regressed, 3 inconclusive or unresolved, 4 not comparable; 0 when there is no gate. */
int rqs_gates_status(const struct rqs_gates *g, const struct rqs_compare_options *options);
/* The worst of all, RQS_VERDICT_NONE without gates. */
enum rqs_verdict rqs_gates_verdict(const struct rqs_gates *g);
bool rqs_gate_passed(const struct rqs_gate_result *r, const struct rqs_compare_options *options);
/* "p99 is 12.3 ms, +8.1 % [+3.2, +13.0] against +5 % allowed", to be freed. */
char *rqs_gate_text(const struct rqs_gate_result *r, const struct rqs_comparison *c);
void rqs_gates_free(struct rqs_gates *g);

#endif
