/* units.c - three significant digits and a unit. */
#include "render/units.h"
#include "base/alloc.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define DASH "-"

struct scale {
	double from; /* the unit is used from this value on */
	double unit;
	const char *name;
};

/* Three significant digits: 1.23, 12.3, 123, and no fraction above. */
static char *digits(double v, const char *unit)
{
	double size = fabs(v);
	int decimals = size >= 99.95 || size == 0 ? 0 : size >= 9.995 ? 1 : 2;

	return rqs_format("%.*f%s%s", decimals, v, *unit ? " " : "", unit);
}

static char *scaled(double v, const struct scale *s)
{
	if (isnan(v))
		return rqs_format(DASH);
	while (s->from > 0 && fabs(v) < s->from)
		s++;
	return digits(v / s->unit, s->name);
}

char *rqs_human_time(double seconds)
{
	/* 999.95 us would be rounded to 1000 us: the next unit begins a little below its 1. */
	static const struct scale scales[] = {
	    {99.95, 1, "s"}, {0.9995, 1, "s"}, {0.9995e-3, 1e-3, "ms"}, {0.9995e-6, 1e-6, "µs"}, {0, 1e-9, "ns"},
	};

	if (seconds == 0)
		return rqs_format("0 s");
	return scaled(seconds, scales);
}

char *rqs_human_bytes(double bytes)
{
	static const struct scale scales[] = {
	    {0.9995e12, 1e12, "TB"}, {0.9995e9, 1e9, "GB"}, {0.9995e6, 1e6, "MB"}, {999.5, 1e3, "kB"}, {0, 1, "B"},
	};

	/* Below 1 kB only a mean has a fraction. */
	if (fabs(bytes) < 999.5 && bytes == floor(bytes))
		return rqs_format("%.0f B", bytes);
	return scaled(bytes, scales);
}

static char *grouped(double v)
{
	char plain[400], *out, *o;
	int length = snprintf(plain, sizeof(plain), "%.0f", v);

	o = out = rqs_zalloc((size_t)length * 2 + 1, 1);
	for (int i = 0; i < length; i++) {
		*o++ = plain[i];
		if ((length - 1 - i) % 3 == 0 && i != length - 1 && plain[i] != '-')
			*o++ = ',';
	}
	return out;
}

char *rqs_human_count(double count)
{
	if (isnan(count))
		return rqs_format(DASH);
	if (fabs(count) >= 99.95 || count == floor(count))
		return grouped(count);
	return digits(count, "");
}

char *rqs_human_rate(double per_second)
{
	char *count = rqs_human_count(per_second);

	if (isnan(per_second))
		return count;
	char *text = rqs_format("%s/s", count);
	free(count);
	return text;
}

char *rqs_human_percent(double part)
{
	if (isnan(part))
		return rqs_format(DASH);
	if (part != 0 && fabs(part) < 0.00005)
		return rqs_format("< 0.01 %%");
	return rqs_format(part != 0 && fabs(part) < 0.00995 ? "%.2f %%" : "%.1f %%", part * 100);
}

char *rqs_human_change(double part)
{
	if (isnan(part))
		return rqs_format(DASH);
	if (fabs(part) < 0.0005)
		return rqs_format("0.0 %%");
	if (part >= 9.995) /* four digits of per cent say less than a factor */
		return rqs_format("%+.0f %%", part * 100);
	return rqs_format("%+.1f %%", part * 100);
}

char *rqs_human_factor(double factor)
{
	if (isnan(factor))
		return rqs_format(DASH);
	return rqs_format(factor >= 99.95 ? "%.0fx" : factor >= 9.995 ? "%.1fx" : "%.2fx", factor);
}
