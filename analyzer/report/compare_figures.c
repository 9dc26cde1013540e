/* compare_figures.c - the sides at a glance, then figure by figure with what is sure about them. */
#include "report/compare_parts.h"
#include "base/alloc.h"
#include "render/units.h"

#include <math.h>
#include <stdlib.h>

static double value_of(const struct rqs_findings *f, enum rqs_figure figure, unsigned side)
{
	const struct rqs_row *row = rqs_rows_find(&f->rows, figure, RQS_WHOLE);

	return row ? row->side[side].value : NAN;
}

bool rqs_is_compared(const struct rqs_findings *f, enum rqs_figure figure)
{
	unsigned known = 0;

	for (unsigned i = 0; i < f->c->sides; i++)
		known += !isnan(value_of(f, figure, i));
	return rqs_figures[figure].scope == RQS_SCOPE_RUNTIME ? known == f->c->sides : known > 0;
}

static enum rqs_tone tone_of_judgement(int judgement)
{
	return judgement > 0 ? RQS_TONE_GOOD : judgement < 0 ? RQS_TONE_BAD : RQS_TONE_PLAIN;
}

enum rqs_tone rqs_tone_of_difference(enum rqs_figure figure, const struct rqs_row *row, unsigned side)
{
	const struct rqs_difference *d = &row->difference[side];

	if (d->verdict == RQS_VERDICT_IMPROVED)
		return RQS_TONE_GOOD;
	if (d->verdict == RQS_VERDICT_REGRESSED)
		return RQS_TONE_BAD;
	if (d->verdict != RQS_VERDICT_NONE)
		return RQS_TONE_PLAIN;
	return tone_of_judgement(rqs_figure_judge(figure, row->side[0].value, row->side[side].value));
}

char *rqs_verdict_text(const struct rqs_difference *d)
{
	const char *name = rqs_verdict_name(d->verdict);

	return rqs_format("%s%s", name ? name : "", name && d->basis == RQS_BASIS_WITHIN_RUNS ? "*" : "");
}

/* ---- at a glance ---- */

static const struct {
	enum rqs_figure figure;
	const char *head;
	bool below; /* of few sides it stands figure by figure below, and not here */
} columns[] = {
    {RQS_FIGURE_THROUGHPUT, "REQUESTS/S", false},
    {RQS_FIGURE_MEAN, "MEAN", false},
    {RQS_FIGURE_P50, "p50", true},
    {RQS_FIGURE_P99, "p99", false},
    {RQS_FIGURE_RSS_PEAK, "MEMORY", false},
    {RQS_FIGURE_ALLOC_COUNT, "ALLOCS/REQ", false},
    {RQS_FIGURE_ALLOC_BYTES, "BYTES/REQ", false},
    {RQS_FIGURE_CPU, "CPU/REQ", false},
    {RQS_FIGURE_QUEUE, "QUEUE", false},
    {RQS_FIGURE_ERROR_RATE, "ERRORS", false},
};
#define COLUMNS (sizeof(columns) / sizeof(columns[0]))

static bool has_figures_below(const struct rqs_findings *f)
{
	return f->c->sides <= RQS_SIDES_AS_COLUMNS;
}

static bool is_shown(const struct rqs_findings *f, unsigned column)
{
	return rqs_is_compared(f, columns[column].figure) && !(columns[column].below && has_figures_below(f));
}

static bool is_best(const struct rqs_findings *f, unsigned side, enum rqs_figure figure)
{
	double mine = value_of(f, figure, side);
	bool differs = false;

	for (unsigned i = 0; i < f->c->sides; i++) {
		int judgement = rqs_figure_judge(figure, mine, value_of(f, figure, i));

		if (judgement > 0)
			return false;
		differs |= judgement < 0;
	}
	return differs && !isnan(mine);
}

static struct rqs_table *start_side_table(struct rqs_doc *d, const struct rqs_findings *f)
{
	struct rqs_table *t = rqs_doc_table(d);

	rqs_table_column(t, false, "");
	for (unsigned i = 0; i < COLUMNS; i++)
		if (is_shown(f, i))
			rqs_table_column(t, true, columns[i].head);
	return t;
}

static void add_values(struct rqs_doc *d, const struct rqs_findings *f)
{
	struct rqs_table *t = start_side_table(d, f);

	for (unsigned i = 0; i < f->c->sides; i++) {
		rqs_table_row(t, false);
		rqs_table_cell(t, RQS_TONE_STRONG, rqs_format("%s", f->c->side[i].name));
		for (unsigned k = 0; k < COLUMNS; k++) {
			enum rqs_figure figure = columns[k].figure;
			double value = value_of(f, figure, i);

			if (!is_shown(f, k))
				continue;
			rqs_table_cell(t, is_best(f, i, figure) ? RQS_TONE_GOOD : RQS_TONE_PLAIN,
				       rqs_figure_text(figure, value));
			rqs_table_sort_key(t, value);
		}
	}
}

#define SHOWN_AS_SAME 0.005 /* "1.00x": no difference that chance would have to explain */

/* "0.52x", and "0.97x ~" where a test was made and the difference may be chance: of many sides only this says so. */
static char *multiple_text(const struct rqs_findings *f, double ratio, const struct rqs_difference *difference)
{
	enum rqs_verdict verdict = difference->verdict;
	bool sure = verdict == RQS_VERDICT_IMPROVED || verdict == RQS_VERDICT_REGRESSED;
	bool marked = !has_figures_below(f) && verdict != RQS_VERDICT_NONE && !sure && fabs(ratio - 1) >= SHOWN_AS_SAME;
	char *factor = rqs_human_factor(ratio);
	char *text = rqs_format("%s%s", factor, marked ? " ~" : "");

	free(factor);
	return text;
}

static void add_multiples(struct rqs_doc *d, const struct rqs_findings *f)
{
	rqs_doc_heading(d, "As a multiple of %s", f->c->side[0].name);
	struct rqs_table *t = start_side_table(d, f);

	for (unsigned i = 1; i < f->c->sides; i++) {
		rqs_table_row(t, false);
		rqs_table_cell(t, RQS_TONE_STRONG, rqs_format("%s", f->c->side[i].name));
		for (unsigned k = 0; k < COLUMNS; k++) {
			enum rqs_figure figure = columns[k].figure;
			const struct rqs_row *row = rqs_rows_find(&f->rows, figure, RQS_WHOLE);

			if (!is_shown(f, k))
				continue;
			double ratio = rqs_figure_ratio(row->side[0].value, row->side[i].value);
			rqs_table_cell(t, rqs_tone_of_difference(figure, row, i),
				       multiple_text(f, ratio, &row->difference[i]));
			rqs_table_sort_key(t, ratio);
		}
	}
}

void rqs_doc_add_glance(struct rqs_doc *d, const struct rqs_findings *f)
{
	add_values(d, f);
	if (f->c->sides > 2)
		add_multiples(d, f);
}

/* ---- figure by figure ---- */

/* "+12.3 % [+10.1 .. +14.8]", or without an interval "+12.3 %". */
static char *change_text(enum rqs_figure figure, const struct rqs_row *row, unsigned side)
{
	const struct rqs_difference *d = &row->difference[side];

	if (d->basis != RQS_BASIS_NONE)
		return rqs_difference_text(figure, d);
	return rqs_human_change(rqs_figure_ratio(row->side[0].value, row->side[side].value) - 1);
}

static void add_figure_row(struct rqs_table *t, const struct rqs_findings *f, enum rqs_figure figure)
{
	const struct rqs_row *row = rqs_rows_find(&f->rows, figure, RQS_WHOLE);

	rqs_table_row(t, figure == RQS_FIGURE_CPU || figure == RQS_FIGURE_REQUEST_BYTES);
	rqs_table_cell(t, RQS_TONE_PLAIN, rqs_format("%s", rqs_figures[figure].title));
	rqs_table_cell(t, RQS_TONE_PLAIN, rqs_figure_text(figure, row->side[0].value));
	for (unsigned i = 1; i < f->c->sides; i++) {
		enum rqs_tone tone = rqs_tone_of_difference(figure, row, i);

		rqs_table_cell(t, RQS_TONE_PLAIN, rqs_figure_text(figure, row->side[i].value));
		rqs_table_cell(t, tone, change_text(figure, row, i));
		rqs_table_cell(t, tone, rqs_figure_factor(figure, row->side[0].value, row->side[i].value));
		rqs_table_cell(t, tone, rqs_verdict_text(&row->difference[i]));
	}
}

static void add_figure_table(struct rqs_doc *d, const struct rqs_findings *f)
{
	struct rqs_table *t = rqs_doc_table(d);

	rqs_table_column(t, false, "");
	rqs_table_column(t, true, f->c->side[0].name);
	for (unsigned i = 1; i < f->c->sides; i++) {
		rqs_table_column(t, true, f->c->side[i].name);
		rqs_table_column(t, true, "CHANGE [95 %]");
		rqs_table_column(t, false, "");
		rqs_table_column(t, false, "VERDICT");
	}
	for (unsigned figure = 0; figure < RQS_FIGURE_COUNT_OF; figure++)
		if (rqs_is_compared(f, figure))
			add_figure_row(t, f, figure);
}

struct verdict_count {
	unsigned of[RQS_VERDICT_REGRESSED + 1], within, runs_needed;
	double detectable; /* of p50, the greatest of the sides */
};

static struct verdict_count count_verdicts(const struct rqs_findings *f)
{
	struct verdict_count n = {.detectable = NAN};

	for (unsigned r = 0; r < f->rows.count; r++)
		for (unsigned i = 1; i < f->c->sides; i++) {
			const struct rqs_difference *d = &f->rows.row[r].difference[i];

			n.of[d->verdict]++;
			n.within += d->basis == RQS_BASIS_WITHIN_RUNS;
			if (f->rows.row[r].route == RQS_WHOLE && d->verdict == RQS_VERDICT_INCONCLUSIVE &&
			    d->runs_needed > n.runs_needed && d->runs_needed > f->rows.row[r].side[i].runs)
				n.runs_needed = d->runs_needed;
			if (f->rows.row[r].figure == RQS_FIGURE_P50 && f->rows.row[r].route == RQS_WHOLE && d->ratio)
				n.detectable =
				    fmax(n.detectable, d->detectable); /* of one that isn't known the other */
		}
	return n;
}

/* How to read the verdicts, and what could not have been seen. */
static void add_legend(struct rqs_doc *d, const struct rqs_findings *f)
{
	struct verdict_count n = count_verdicts(f);

	if (!has_figures_below(f) &&
	    n.of[RQS_VERDICT_OK] + n.of[RQS_VERDICT_INCONCLUSIVE] + n.of[RQS_VERDICT_UNRESOLVED])
		rqs_doc_text(d, RQS_TONE_DIM, "~ may be chance, as far as these runs tell.");
	if (n.within)
		rqs_doc_text(d, RQS_TONE_DIM,
			     "* within these runs: with one run a side, how another run would differ isn't known. "
			     "Five runs a side or more, alternated, tell.");
	if (!isnan(n.detectable)) {
		char *least = rqs_human_percent(n.detectable);

		rqs_doc_text(d, RQS_TONE_DIM, "A change of p50 by less than %s could not have been seen reliably.",
			     least);
		free(least);
	}
	if (n.runs_needed)
		rqs_doc_text(
		    d, RQS_TONE_DIM, "inconclusive: up to %u runs a side would find a change of %.3g %% in each.",
		    n.runs_needed, 100 * (f->options.threshold > 0 ? f->options.threshold : RQS_WANTED_CHANGE));
	if (n.of[RQS_VERDICT_UNRESOLVED])
		rqs_doc_text(
		    d, RQS_TONE_DIM,
		    "unresolved: too few requests so far out in the distribution, in too few parts of the run; "
		    "record longer.");
}

void rqs_doc_add_figures(struct rqs_doc *d, const struct rqs_findings *f)
{
	if (has_figures_below(f)) {
		rqs_doc_heading(d, "Figures");
		add_figure_table(d, f);
	}
	add_legend(d, f);
}

/* ---- gates ---- */

void rqs_doc_add_gates(struct rqs_doc *d, const struct rqs_findings *f)
{
	if (!f->gates.results)
		return;
	rqs_doc_heading(d, "Gates");
	struct rqs_table *t = rqs_doc_table(d);

	rqs_table_column(t, false, "");
	rqs_table_column(t, false, "GATE");
	rqs_table_column(t, false, "");
	for (unsigned i = 0; i < f->gates.results; i++) {
		const struct rqs_gate_result *r = &f->gates.result[i];
		bool passed = rqs_gate_passed(r, &f->options);

		rqs_table_row(t, false);
		rqs_table_format(t, passed ? RQS_TONE_GOOD : RQS_TONE_BAD, "%s, %s", passed ? "passed" : "failed",
				 rqs_verdict_name(r->verdict));
		rqs_table_cell(t, RQS_TONE_STRONG, rqs_format("%s", r->gate->text));
		rqs_table_cell(t, RQS_TONE_PLAIN, rqs_gate_text(r, f->c));
	}
}
