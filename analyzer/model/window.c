/* window.c - parsing of moments, and RFC 3339 both ways. */
#include "model/window.h"
#include "base/alloc.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#define SECOND 1000000000ull
#define SECONDS_MAX 1e9

bool rqs_seconds_parse(struct rqs_moment *m, const char *text)
{
	char *end;
	double seconds = strtod(text, &end);

	if (end == text || *end || !isfinite(seconds) || seconds < 0 || seconds > SECONDS_MAX)
		return false;
	m->kind = RQS_MOMENT_RELATIVE;
	m->ns = (uint64_t)llround(seconds * 1e9);
	return true;
}

/* "Z", "+02:00", "-0530"; seconds east of Greenwich. */
static bool parse_zone(const char *text, long *east)
{
	int hours, minutes, used = 0;

	if ((!strcmp(text, "Z") || !strcmp(text, "z"))) {
		*east = 0;
		return true;
	}
	if ((*text != '+' && *text != '-') || sscanf(text + 1, "%2d:%2d%n", &hours, &minutes, &used) != 2 ||
	    text[1 + used] || hours < 0 || minutes < 0)
		return false;
	*east = (hours * 3600L + minutes * 60L) * (*text == '-' ? -1 : 1);
	return true;
}

static const char *parse_fraction(const char *p, uint64_t *ns)
{
	uint64_t unit = SECOND / 10;

	*ns = 0;
	if (*p != '.')
		return p;
	for (p++; *p >= '0' && *p <= '9'; p++, unit /= 10)
		*ns += (uint64_t)(*p - '0') * unit;
	return p;
}

static bool parse_rfc3339(struct rqs_moment *m, const char *text)
{
	struct tm tm = {0};
	char separator;
	uint64_t fraction;
	long east;
	int used = 0;

	if (sscanf(text, "%4d-%2d-%2d%c%2d:%2d:%2d%n", &tm.tm_year, &tm.tm_mon, &tm.tm_mday, &separator, &tm.tm_hour,
		   &tm.tm_min, &tm.tm_sec, &used) != 7 ||
	    !used || !strchr("Tt ", separator))
		return false;
	tm.tm_year -= 1900;
	tm.tm_mon -= 1;
	if (!parse_zone(parse_fraction(text + used, &fraction), &east))
		return false;
	time_t seconds = timegm(&tm) - east;
	if (seconds < 0)
		return false;
	m->kind = RQS_MOMENT_ABSOLUTE;
	m->ns = (uint64_t)seconds * SECOND + fraction;
	return true;
}

bool rqs_moment_parse(struct rqs_moment *m, const char *text)
{
	return rqs_seconds_parse(m, text) || parse_rfc3339(m, text);
}

uint64_t rqs_moment_on_clock(const struct rqs_moment *m, uint64_t first_arrival, uint64_t start_monotonic,
			     uint64_t start_realtime, uint64_t otherwise)
{
	if (m->kind == RQS_MOMENT_RELATIVE)
		return first_arrival + m->ns;
	if (m->kind == RQS_MOMENT_NONE)
		return otherwise;
	if (m->ns < start_realtime && start_realtime - m->ns > start_monotonic)
		return 0;
	return start_monotonic + (m->ns - start_realtime);
}

char *rqs_rfc3339(uint64_t ns)
{
	time_t seconds = (time_t)(ns / SECOND);
	struct tm tm;
	char text[64];

	if (!gmtime_r(&seconds, &tm))
		return rqs_format("?");
	strftime(text, sizeof(text), "%Y-%m-%dT%H:%M:%S", &tm);
	return rqs_format("%s.%03uZ", text, (unsigned)(ns % SECOND / 1000000));
}
