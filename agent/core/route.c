/* route.c - see route.h. */
#include "core/route.h"

enum state {
	START,     /* nothing seen yet */
	SCHEME,    /* letters that may be http: or https: */
	AUTHORITY, /* the host of an absolute target */
	PATH,
	ASTERISK,
	IGNORED, /* query, or CONNECT's authority */
	BAD,
};

static bool is_digit(char c)
{
	return c >= '0' && c <= '9';
}

static bool is_hex(char c)
{
	return is_digit(c) || ((c | 0x20) >= 'a' && (c | 0x20) <= 'f');
}

static bool is_number(const char *s, size_t n)
{
	size_t digits = 0;

	for (size_t i = 0; i < n; i++) {
		if (is_digit(s[i]))
			digits++;
		else if (!(s[i] == '-' && i == 0) && !(s[i] == '.' && i > 0 && i + 1 < n))
			return false;
	}
	return digits > 0;
}

static bool is_uuid(const char *s, size_t n)
{
	if (n != 36)
		return false;
	for (size_t i = 0; i < n; i++) {
		bool dash = i == 8 || i == 13 || i == 18 || i == 23;
		if (dash ? s[i] != '-' : !is_hex(s[i]))
			return false;
	}
	return true;
}

static bool is_long_hex(const char *s, size_t n)
{
	if (n < 8)
		return false;
	for (size_t i = 0; i < n; i++)
		if (!is_hex(s[i]))
			return false;
	return true;
}

/*
 * Random tokens, but neither words-with-dashes nor CamelCaseNames: of the
 * base64 alphabets, with digits, and with both cases or without separators.
 */
static bool is_base64_like(const char *s, size_t n)
{
	size_t digits = 0, upper = 0, lower = 0, separators = 0;

	if (n < 16)
		return false;
	for (size_t i = 0; i < n; i++) {
		if (is_digit(s[i]))
			digits++;
		else if (s[i] >= 'A' && s[i] <= 'Z')
			upper++;
		else if (s[i] >= 'a' && s[i] <= 'z')
			lower++;
		else if (s[i] == '-' || s[i] == '_' || s[i] == '+' || s[i] == '=')
			separators++;
		else
			return false;
	}
	return digits && ((upper && lower) || (digits >= 3 && !separators));
}

static bool is_variable(const char *s, size_t n)
{
	bool digits = false, words = false;

	if (n > RQS_SEGMENT_MAX)
		return true;
	for (size_t i = 0; i < n; i++) {
		if ((uint8_t)s[i] <= 0x20 || (uint8_t)s[i] >= 0x7f)
			return true;
		digits |= is_digit(s[i]);
		words |= !is_hex(s[i]) && s[i] != '-';
	}
	/* Most are words, which none of these are. */
	if (words && !digits)
		return false;
	return is_number(s, n) || is_long_hex(s, n) || is_uuid(s, n) || is_base64_like(s, n);
}

/* Appends the finished segment s[0..n), and the slash that ended it. */
static void append_segment(struct rqs_route *route, const char *s, size_t n, bool slash)
{
	static const char placeholder[2] = { '{', '}' };
	static const char ellipsis[3] = { '.', '.', '.' };

	if (route->full)
		return;
	if (n && is_variable(s, n)) {
		s = placeholder;
		n = sizeof(placeholder);
	}
	/* Room for a slash and the ellipsis always stays. */
	if (route->length + n + slash + sizeof(ellipsis) > RQS_ROUTE_MAX) {
		s = ellipsis;
		n = sizeof(ellipsis);
		slash = false;
		route->full = 1;
	}
	for (size_t i = 0; i < n; i++)
		route->text[route->length++] = s[i];
	if (slash)
		route->text[route->length++] = '/';
}

void rqs_route_begin(struct rqs_route *route, bool authority)
{
	route->state = authority ? IGNORED : START;
	route->segment_length = 0;
	route->length = 0;
	route->full = 0;
	route->scheme_slashes = 0;
	if (authority) {
		route->text[0] = '{';
		route->text[1] = '}';
		route->length = 2;
	}
}

static void begin_path(struct rqs_route *route)
{
	route->text[0] = '/';
	route->length = 1;
	route->state = PATH;
}

static uint8_t start_of(struct rqs_route *route, uint8_t c)
{
	if (c == '/') {
		begin_path(route);
		return PATH;
	}
	if (c == '*') {
		route->text[0] = '*';
		route->length = 1;
		return ASTERISK;
	}
	return (c | 0x20) == 'h' ? SCHEME : BAD;
}

/* Bytes of "http://" or "https://" after the first letter. */
static uint8_t scheme_byte(struct rqs_route *route, uint8_t c)
{
	static const char http[] = "http", https[] = "https";
	unsigned n = route->segment_length + 1u; /* letters so far */

	if (route->scheme_slashes) {
		if (c != '/')
			return BAD;
		return ++route->scheme_slashes == 3 ? AUTHORITY : SCHEME;
	}
	if (c == ':' && (n == sizeof(http) - 1 || n == sizeof(https) - 1)) {
		route->scheme_slashes = 1;
		route->segment_length = 0;
		return SCHEME;
	}
	if (n >= sizeof(https) - 1 || (c | 0x20) != https[n])
		return BAD;
	route->segment_length++;
	return SCHEME;
}

/* The same for one whose bytes were kept. */
static void end_segment(struct rqs_route *route, bool slash)
{
	size_t n = route->segment_length;

	route->segment_length = 0;
	append_segment(route, route->segment, n, slash);
}

static void path_byte(struct rqs_route *route, uint8_t c)
{
	if (c == '/')
		end_segment(route, true);
	else if (route->segment_length < RQS_SEGMENT_MAX)
		route->segment[route->segment_length++] = (char)c;
	else
		route->segment_length = RQS_SEGMENT_MAX + 1;
}

/* Does a segment of a path end before this byte? */
static bool ends_segment(uint8_t c)
{
	const uint64_t ends = 1ull << '\r' | 1ull << '\n' | 1ull << ' ' | 1ull << '/' | 1ull << '?' | 1ull << '#';

	return c < 64 && (ends >> c & 1);
}

/* A segment begins at p: takes what p[0..n) holds whole of the path. Less trouble than byte by byte. */
static size_t whole_segments(struct rqs_route *route, const uint8_t *p, size_t n)
{
	size_t at = 0;

	for (;;) {
		size_t end = at;

		while (end < n && !ends_segment(p[end]))
			end++;
		if (end == n)
			return at;
		append_segment(route, (const char *)p + at, end - at, p[end] == '/');
		if (p[end] != '/')
			return end;
		at = end + 1;
	}
}

size_t rqs_route_feed(struct rqs_route *route, const uint8_t *p, size_t n)
{
	size_t i;

	for (i = 0; i < n && p[i] != ' ' && p[i] != '\r' && p[i] != '\n'; i++) {
		uint8_t c = p[i];

		if (c == '?' || c == '#') {
			if (route->state == PATH)
				end_segment(route, false);
			else if (route->state == AUTHORITY)
				begin_path(route);
			else if (route->state != IGNORED)
				route->state = BAD;
			if (route->state == PATH)
				route->state = IGNORED;
			continue;
		}
		switch (route->state) {
		case PATH:
			path_byte(route, c);
			break;
		case START:
			route->state = start_of(route, c);
			break;
		case SCHEME:
			route->state = scheme_byte(route, c);
			break;
		case AUTHORITY:
			if (c == '/')
				begin_path(route);
			break;
		case ASTERISK:
			route->state = BAD;
			break;
		default:
			break;
		}
		if (c == '/' && route->state == PATH)
			i += whole_segments(route, p + i + 1, n - i - 1);
	}
	return i;
}

bool rqs_route_end(struct rqs_route *route)
{
	if (route->state == PATH)
		end_segment(route, false);
	else if (route->state == AUTHORITY)
		begin_path(route);
	return route->state != BAD && route->state != START && route->state != SCHEME;
}
