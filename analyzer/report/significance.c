/* significance.c - two corrections, and the better of them. */
#include "report/significance.h"
#include "base/alloc.h"
#include "stats/adjust.h"
#include "stats/numbers.h"
#include "stats/student.h"

#include <math.h>
#include <stdlib.h>

/* The median standard error of a figure's ratios of one side, or of its differences, where ratios are none. */
static double typical_error(const struct rqs_rows *rows, enum rqs_figure figure, unsigned side, bool ratio,
			    double *room)
{
	unsigned n = 0;

	for (unsigned r = 0; r < rows->count; r++) {
		const struct rqs_difference *d = &rows->row[r].difference[side];

		if (rows->row[r].figure == figure && d->basis != RQS_BASIS_NONE && d->ratio == ratio)
			room[n++] = d->se;
	}
	n = rqs_numbers_sort(room, room, n);
	return n ? room[n / 2] : 0;
}

static double distant_p(const struct rqs_difference *d, double typical)
{
	if (isnan(d->p))
		return NAN;
	double size = fabs(d->ratio ? log(d->estimate) : d->estimate);
	double beyond = fmax(0, size - d->resolution), error = hypot(d->se, typical);

	if (!(error > 0))
		return !(beyond > 0);
	return 2 * rqs_student_cdf(-beyond / error, d->df);
}

void rqs_rows_adjust(struct rqs_rows *rows)
{
	size_t most = (size_t)rows->count * rows->sides;
	double *own = rqs_zalloc(most, sizeof(*own)), *distant = rqs_zalloc(most, sizeof(*distant));
	double *room = rqs_zalloc(rows->count, sizeof(*room));
	double typical[RQS_FIGURE_COUNT_OF][2];
	unsigned n = 0;

	for (unsigned i = 1; i < rows->sides; i++) {
		for (unsigned f = 0; f < RQS_FIGURE_COUNT_OF; f++)
			for (unsigned ratio = 0; ratio < 2; ratio++)
				typical[f][ratio] = typical_error(rows, f, i, ratio, room);
		for (unsigned r = 0; r < rows->count; r++, n++) {
			const struct rqs_row *row = &rows->row[r];
			bool judged = rqs_figures[row->figure].better != RQS_BETTER_NEITHER;

			own[n] = judged ? row->difference[i].p : NAN;
			distant[n] =
			    judged ? distant_p(&row->difference[i], typical[row->figure][row->difference[i].ratio])
				   : NAN;
		}
	}
	rqs_adjust_benjamini_hochberg(own, n);
	rqs_adjust_benjamini_hochberg(distant, n);
	n = 0;
	for (unsigned i = 1; i < rows->sides; i++)
		for (unsigned r = 0; r < rows->count; r++, n++) {
			struct rqs_difference *d = &rows->row[r].difference[i];

			d->adjusted = isnan(own[n]) ? NAN : fmax(d->p, fmin(own[n], distant[n]));
		}
	free(own);
	free(distant);
	free(room);
}
