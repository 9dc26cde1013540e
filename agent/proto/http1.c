/* http1.c - see http1.h. */
#include "proto/http1.h"

#include "reqscope/trace_format.h"

enum state {
	IDLE,        /* between messages */
	METHOD,      /* requests: the first word */
	TARGET,
	VERSION,     /* requests: "HTTP/1.x" and the line's end */
	STATUS_LINE, /* responses */
	HEADERS,
	BODY_LENGTH,
	CHUNK_SIZE,
	CHUNK_EXTENSION,
	CHUNK_DATA,
	CHUNK_CRLF,
	TRAILERS,
	UNTIL_CLOSE,
	DONE,
	BAD,
};

/* The header fields that tell a message's end. */
enum field {
	FIELD_OTHER,
	FIELD_LENGTH,
	FIELD_CODING,
};

static bool is_token_byte(uint8_t c)
{
	static const char others[] = "!#$%&'*+-.^_`|~";

	if ((c >= '0' && c <= '9') || ((c | 0x20) >= 'a' && (c | 0x20) <= 'z'))
		return true;
	for (size_t i = 0; i + 1 < sizeof(others); i++)
		if (c == (uint8_t)others[i])
			return true;
	return false;
}

static bool is_space(uint8_t c)
{
	return c == ' ' || c == '\t';
}

/* Does s[0..n) begin with the lower-case name? */
static bool begins(const char *s, size_t n, const char *name, size_t length)
{
	if (n < length)
		return false;
	for (size_t i = 0; i < length; i++) {
		char c = s[i];
		if (c >= 'A' && c <= 'Z')
			c |= 0x20;
		if (c != name[i])
			return false;
	}
	return true;
}

#define BEGINS(s, n, literal) begins(s, n, literal, sizeof(literal) - 1)

static void message_begin(struct rqs_http1_message *m)
{
	m->has_length = false;
	m->chunked = false;
	m->transfer_coded = false;
	m->skip_line = false;
	m->space = false;
	m->field = FIELD_OTHER;
	m->line_length = 0;
	m->left = 0;
}

/* ---- lines of a header section ---- */

static bool length_value(struct rqs_http1_message *m, const char *s, size_t n)
{
	uint64_t value = 0;
	size_t i = 0;

	while (i < n && is_space((uint8_t)s[i]))
		i++;
	if (i == n)
		return true; /* empty so far: a folded line may follow */
	size_t first = i;
	for (; i < n && s[i] >= '0' && s[i] <= '9'; i++) {
		if (value > (UINT64_MAX - 9) / 10)
			return false;
		value = value * 10 + (uint64_t)(s[i] - '0');
	}
	/* "5, 5" and a repeated field of the same value are one length (RFC 9112, 6.3). */
	if (i == first || (m->has_length && m->left != value))
		return false;
	m->has_length = true;
	m->left = value;
	return true;
}

static bool coding_value(struct rqs_http1_message *m, const char *s, size_t n)
{
	size_t end = n;

	while (end && (is_space((uint8_t)s[end - 1])))
		end--;
	m->transfer_coded = true;
	m->chunked = end >= 7 && BEGINS(s + end - 7, 7, "chunked");
	return true;
}

/* The names of interest, as far as one comparison goes, and the bit that tells their small letters from the large. */
#define NAME_BLOCK 16
static const char length_name[NAME_BLOCK] = "content-length:";
static const char length_small[NAME_BLOCK] = "       \0      ";
static const char coding_name[NAME_BLOCK] = { 't', 'r', 'a', 'n', 's', 'f', 'e', 'r', '-', 'e', 'n', 'c', 'o', 'd', 'i', 'n' };
static const char coding_small[NAME_BLOCK] = "        \0       ";

static __m128i load(const void *p)
{
	return _mm_loadu_si128((const __m128i *)p);
}

/* Do the first `length` of the 16 bytes at s say that name? */
static bool is_name(const char *s, const char *name, const char *small, unsigned length)
{
	unsigned same = (unsigned)_mm_movemask_epi8(_mm_cmpeq_epi8(_mm_or_si128(load(s), load(small)), load(name)));

	return !(~same & ((1u << length) - 1));
}

/* The length of the name of interest that the line begins with, and which it is. The line's end follows it in memory. */
static size_t field_name(const char *s, size_t n, uint8_t *field)
{
	const unsigned length = sizeof("content-length:") - 1, coding = sizeof("transfer-encoding:") - 1;

	*field = FIELD_OTHER;
	if (n >= length && is_name(s, length_name, length_small, length)) {
		*field = FIELD_LENGTH;
		return length;
	}
	if (n >= coding && is_name(s, coding_name, coding_small, NAME_BLOCK) && (s[16] | 0x20) == 'g' && s[17] == ':') {
		*field = FIELD_CODING;
		return coding;
	}
	return 0;
}

/* One whole header line, its end removed. False: the message's borders can't be known. */
static bool header_line(struct rqs_http1_message *m, const char *s, size_t n)
{
	size_t name = 0;

	/* A line that begins with white space goes on with the one before (obsolete folding, RFC 9112, 5.2). */
	if (!is_space((uint8_t)s[0]))
		name = field_name(s, n, &m->field);
	if (m->field == FIELD_LENGTH)
		return length_value(m, s + name, n - name);
	return m->field == FIELD_OTHER || coding_value(m, s + name, n - name);
}

/*
 * May the line at p[0..n) say anything of the message's end, or be the last?
 * Two letters of a name tell most others apart.
 */
static inline bool may_matter(const uint8_t *p, size_t n)
{
	enum { LENGTH_AT = 8, CODING_AT = 9 };
	uint8_t c = p[0] | 0x20;

	if (p[0] <= ' ')
		return true;
	if (c == (uint8_t)length_name[0])
		return n <= LENGTH_AT || (p[LENGTH_AT] | 0x20) == length_name[LENGTH_AT];
	if (c == (uint8_t)coding_name[0])
		return n <= CODING_AT || (p[CODING_AT] | 0x20) == coding_name[CODING_AT];
	return false;
}

#define BLOCK 64

static uint64_t line_ends_16(const uint8_t *p)
{
	return (unsigned)_mm_movemask_epi8(_mm_cmpeq_epi8(load(p), _mm_set1_epi8('\n')));
}

/*
 * Bit i: p[i] is a line feed, for n bytes or BLOCK. Where n isn't a multiple of
 * 16, the last 16 bytes before p + n are compared: up to 15 bytes before p must
 * be readable, and none behind.
 */
static inline uint64_t line_ends(const uint8_t *p, size_t n)
{
	uint64_t ends = 0;

	if (rqs_likely(n >= BLOCK))
		return line_ends_16(p) | line_ends_16(p + 16) << 16 | line_ends_16(p + 32) << 32 | line_ends_16(p + 48) << 48;
	for (size_t at = 0; at < n; at += 16) {
		size_t before = n - at < 16 ? at + 16 - n : 0;

		ends |= line_ends_16(p + at - before) >> before << at;
	}
	return ends;
}

/*
 * Most of a head is lines of no interest. Returns how many bytes of whole such
 * lines p[0..n) begins with: all line ends of a block are found at once.
 */
static size_t skip_dull_lines(struct rqs_http1_message *m, const uint8_t *p, size_t n)
{
	size_t line = 0;

	if (n < 16 || may_matter(p, n))
		return 0;
	for (size_t at = 0; at < n; at += BLOCK) {
		for (uint64_t ends = line_ends(p + at, n - at); ends; ends &= ends - 1) {
			line = at + (unsigned)__builtin_ctzll(ends) + 1;
			m->field = FIELD_OTHER;
			if (line == n || may_matter(p + line, n - line))
				return line;
		}
	}
	return line;
}

/* Keeps bytes of a cut line; runs of white space count as one byte. */
static void keep(struct rqs_http1_message *m, const uint8_t *p, size_t n)
{
	for (size_t i = 0; i < n; i++) {
		bool space = is_space(p[i]);

		if (space && m->space)
			continue;
		m->space = space;
		if (m->line_length == RQS_LINE_MAX) {
			m->skip_line = true;
			return;
		}
		m->line[m->line_length++] = (char)p[i];
	}
}

enum line { LINE_MORE, LINE_FIELD, LINE_EMPTY, LINE_BAD };

/*
 * Takes one line, or what there is of it. Only the first byte of a line and
 * its name decide whether it is worth keeping, so most are skipped by one
 * search for their end.
 */
static enum line take_line(struct rqs_http1_message *m, const uint8_t *p, size_t n, size_t *taken)
{
	const uint8_t *end = rqs_find(p, n, '\n');
	size_t length = (size_t)(end - p);
	bool whole = length < n;
	const char *s = (const char *)p;

	*taken = length + whole;
	if (m->line_length || m->skip_line || !whole || length > RQS_LINE_MAX) {
		keep(m, p, length);
		if (!whole)
			return LINE_MORE;
		s = m->line;
		length = m->line_length;
	}
	if (length && s[length - 1] == '\r')
		length--;
	m->line_length = 0;
	m->skip_line = false;
	m->space = false;
	if (!length)
		return LINE_EMPTY;
	return header_line(m, s, length) ? LINE_FIELD : LINE_BAD;
}

/* ---- bodies ---- */

static int hex_value(uint8_t c)
{
	if (c >= '0' && c <= '9')
		return c - '0';
	c |= 0x20;
	return c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}

/* A byte of a chunk's head or of the line end behind its data. */
static void chunk_byte(struct rqs_http1_message *m, uint8_t c)
{
	int value;

	switch (m->state) {
	case CHUNK_SIZE:
		value = hex_value(c);
		if (value >= 0) {
			m->digits = true;
			if (m->left >> 59)
				m->state = BAD;
			m->left = m->left << 4 | (unsigned)value;
			return;
		}
		if (!m->digits) {
			m->state = BAD;
			return;
		}
		m->state = CHUNK_EXTENSION;
		/* fall through */
	case CHUNK_EXTENSION:
		if (c == '\n')
			m->state = m->left ? CHUNK_DATA : TRAILERS;
		return;
	default: /* CHUNK_CRLF */
		if (c == '\n') {
			m->state = CHUNK_SIZE;
			m->left = 0;
			m->digits = false;
		} else if (c != '\r') {
			m->state = BAD;
		}
	}
}

static size_t skip_left(struct rqs_http1_message *m, size_t n, uint8_t then)
{
	size_t taken = m->left < n ? (size_t)m->left : n;

	m->left -= taken;
	if (!m->left)
		m->state = then;
	return taken;
}

/* Takes body bytes in any body state; ends in DONE or BAD or with all input taken. */
static size_t take_body(struct rqs_http1_message *m, const uint8_t *p, size_t n)
{
	size_t at = 0, taken;

	while (at < n && m->state != DONE && m->state != BAD) {
		switch (m->state) {
		case BODY_LENGTH:
			at += skip_left(m, n - at, DONE);
			break;
		case CHUNK_DATA:
			at += skip_left(m, n - at, CHUNK_CRLF);
			break;
		case TRAILERS:
			if (take_line(m, p + at, n - at, &taken) == LINE_EMPTY)
				m->state = DONE;
			at += taken;
			break;
		case UNTIL_CLOSE:
			return n;
		default:
			chunk_byte(m, p[at++]);
		}
	}
	return at;
}

static void begin_chunked(struct rqs_http1_message *m)
{
	m->state = CHUNK_SIZE;
	m->left = 0;
	m->digits = false;
}

/* Is the message over, well or badly? That is told before any more is taken. */
static bool is_settled(struct rqs_http1_message *m, enum rqs_http1_event *event)
{
	if (m->state == BAD) {
		*event = RQS_HTTP1_BAD;
		return true;
	}
	if (m->state == DONE) {
		m->state = IDLE;
		*event = RQS_HTTP1_END;
		return true;
	}
	return false;
}

/* ---- requests ---- */

void rqs_http1_in_reset(struct rqs_http1_in *in)
{
	in->m.state = IDLE;
}

static uint8_t method_id(const char *s, size_t n)
{
#define COMPARE(name)                                                    \
	if (n == sizeof(#name) - 1) {                                    \
		size_t i = 0;                                            \
		while (i < n && s[i] == #name[i])                        \
			i++;                                             \
		if (i == n)                                              \
			return RQS_METHOD_##name;                        \
	}
	RQS_METHODS(COMPARE)
#undef COMPARE
	return RQS_METHOD_OTHER;
}

static void begin_target(struct rqs_http1_in *in, uint8_t method)
{
	in->method = method;
	rqs_route_begin(&in->route, method == RQS_METHOD_CONNECT);
	in->m.state = TARGET;
}

static bool is_word(const uint8_t *p, const char word[4])
{
	return p[0] == (uint8_t)word[0] && p[1] == (uint8_t)word[1] && p[2] == (uint8_t)word[2] && p[3] == (uint8_t)word[3];
}

static size_t take_method(struct rqs_http1_in *in, const uint8_t *p, size_t n)
{
	struct rqs_http1_message *m = &in->m;
	size_t i;

	if (n >= 4 && !in->method_length && is_word(p, "GET ")) {
		begin_target(in, RQS_METHOD_GET);
		return 4;
	}
	for (i = 0; i < n && p[i] != ' '; i++) {
		if (!is_token_byte(p[i]) || in->method_length == RQS_METHOD_MAX) {
			m->state = BAD;
			return i;
		}
		m->line[in->method_length++] = (char)p[i];
	}
	if (i == n)
		return i;
	if (!in->method_length) {
		m->state = BAD;
		return i;
	}
	begin_target(in, method_id(m->line, in->method_length));
	return i + 1;
}

static size_t take_target(struct rqs_http1_in *in, const uint8_t *p, size_t n)
{
	size_t taken = rqs_route_feed(&in->route, p, n);

	if (taken == n)
		return taken;
	/* A target that the line ends behind is HTTP/0.9, or not HTTP. */
	if (p[taken] != ' ' || !rqs_route_end(&in->route)) {
		in->m.state = BAD;
		return taken;
	}
	in->m.state = VERSION;
	in->version_length = 0;
	return taken + 1;
}

static void begin_headers(struct rqs_http1_message *m)
{
	message_begin(m);
	m->state = HEADERS;
}

static size_t take_version(struct rqs_http1_in *in, const uint8_t *p, size_t n)
{
	static const char name[] = "HTTP/1.";
	const unsigned minor_at = sizeof(name) - 1;
	size_t i;

	if (n >= 10 && !in->version_length && is_word(p, "HTTP") && is_word(p + 4, "/1.1") && p[8] == '\r' && p[9] == '\n') {
		begin_headers(&in->m);
		return 10;
	}
	for (i = 0; i < n; i++) {
		uint8_t c = p[i];

		if (in->version_length < minor_at) {
			if (c != (uint8_t)name[in->version_length])
				break;
		} else if (in->version_length == minor_at) {
			if (c < '0' || c > '9')
				break;
		} else if (c == '\n') {
			begin_headers(&in->m);
			return i + 1;
		} else if (c != '\r' && !is_space(c)) {
			break;
		}
		if (in->version_length <= minor_at)
			in->version_length++;
	}
	if (i < n)
		in->m.state = BAD;
	return i;
}

static void in_head_end(struct rqs_http1_message *m)
{
	if (m->chunked)
		begin_chunked(m);
	else if (m->transfer_coded)
		m->state = UNTIL_CLOSE; /* a server must refuse it and close (RFC 9112, 6.3) */
	else
		m->state = m->has_length && m->left ? BODY_LENGTH : DONE;
}

static size_t take_headers(struct rqs_http1_message *m, const uint8_t *p, size_t n, bool *ended)
{
	size_t at = 0, taken;

	*ended = false;
	while (at < n) {
		if (!m->line_length && !m->skip_line) {
			at += skip_dull_lines(m, p + at, n - at);
			if (n - at >= 2 && p[at] == '\r' && p[at + 1] == '\n') {
				*ended = true;
				return at + 2;
			}
			if (at == n)
				return at;
		}
		enum line line = take_line(m, p + at, n - at, &taken);

		at += taken;
		if (line == LINE_BAD) {
			m->state = BAD;
			return at;
		}
		if (line == LINE_EMPTY) {
			*ended = true;
			return at;
		}
	}
	return at;
}

size_t rqs_http1_in(struct rqs_http1_in *in, const uint8_t *p, size_t n, enum rqs_http1_event *event)
{
	struct rqs_http1_message *m = &in->m;
	size_t at = 0;
	bool ended;

	*event = RQS_HTTP1_MORE;
	for (;;) {
		if (is_settled(m, event) || at == n)
			return at;
		switch (m->state) {
		case IDLE:
			/* Empty lines before a request are to be ignored (RFC 9112, 2.2). */
			if (p[at] == '\r' || p[at] == '\n') {
				at++;
				break;
			}
			m->state = METHOD;
			in->method_length = 0;
			*event = RQS_HTTP1_BEGIN;
			return at;
		case METHOD:
			at += take_method(in, p + at, n - at);
			break;
		case TARGET:
			at += take_target(in, p + at, n - at);
			break;
		case VERSION:
			at += take_version(in, p + at, n - at);
			if (m->state == HEADERS) {
				*event = RQS_HTTP1_START_LINE;
				return at;
			}
			break;
		case HEADERS:
			at += take_headers(m, p + at, n - at, &ended);
			if (ended)
				in_head_end(m);
			break;
		default:
			at += take_body(m, p + at, n - at);
		}
	}
}

/* ---- responses ---- */

void rqs_http1_out_reset(struct rqs_http1_out *out)
{
	out->m.state = IDLE;
}

/* "HTTP/1.1 200 reason": the reason is skipped with the line's end. */
static size_t take_status_line(struct rqs_http1_out *out, const uint8_t *p, size_t n)
{
	static const char name[] = "HTTP/1.";
	const unsigned minor_at = sizeof(name) - 1, space_at = minor_at + 1, status_at = space_at + 1,
		       reason_at = status_at + 3;
	size_t i;

	for (i = 0; i < n; i++) {
		uint8_t c = p[i];
		unsigned at = out->line_at;

		if (at >= reason_at)
			break;
		if (at < minor_at ? c != (uint8_t)name[at] : at == space_at ? c != ' ' : c < '0' || c > '9') {
			out->m.state = BAD;
			return i;
		}
		if (at >= status_at)
			out->status = (uint16_t)(out->status * 10 + (c - '0'));
		out->line_at++;
	}
	i = (size_t)(rqs_find(p + i, n - i, '\n') - p);
	if (i == n)
		return n;
	begin_headers(&out->m);
	return i + 1;
}

/* The head is complete: what follows it? */
static enum rqs_http1_event out_head_end(struct rqs_http1_out *out)
{
	struct rqs_http1_message *m = &out->m;
	unsigned status = out->status;

	if (status == 101 || (out->method == RQS_METHOD_CONNECT && status >= 200 && status < 300)) {
		m->state = DONE;
		return RQS_HTTP1_TUNNEL;
	}
	if (status < 200) {
		/* An interim response: the final one is still to come. */
		m->state = STATUS_LINE;
		out->line_at = 0;
		out->status = 0;
		return RQS_HTTP1_MORE;
	}
	if (out->method == RQS_METHOD_HEAD || status == 204 || status == 304)
		m->state = DONE;
	else if (m->chunked)
		begin_chunked(m);
	else if (m->has_length && !m->transfer_coded)
		m->state = m->left ? BODY_LENGTH : DONE;
	else
		m->state = UNTIL_CLOSE;
	return RQS_HTTP1_MORE;
}

size_t rqs_http1_out(struct rqs_http1_out *out, const uint8_t *p, size_t n, enum rqs_http1_event *event)
{
	struct rqs_http1_message *m = &out->m;
	size_t at = 0;
	bool ended;

	*event = RQS_HTTP1_MORE;
	for (;;) {
		if (is_settled(m, event) || at == n)
			return at;
		switch (m->state) {
		case IDLE:
			m->state = STATUS_LINE;
			out->line_at = 0;
			out->status = 0;
			*event = RQS_HTTP1_BEGIN;
			return at;
		case STATUS_LINE:
			at += take_status_line(out, p + at, n - at);
			if (m->state == HEADERS && out->status >= 200) {
				*event = RQS_HTTP1_START_LINE;
				return at;
			}
			break;
		case HEADERS:
			at += take_headers(m, p + at, n - at, &ended);
			if (ended) {
				*event = out_head_end(out);
				if (*event == RQS_HTTP1_TUNNEL)
					return at;
			}
			break;
		default:
			at += take_body(m, p + at, n - at);
		}
	}
}

static uint64_t skip_unseen(struct rqs_http1_message *m, uint64_t n, enum rqs_http1_event *event)
{
	*event = RQS_HTTP1_MORE;
	if (m->state == UNTIL_CLOSE)
		return n;
	if ((m->state != BODY_LENGTH && m->state != CHUNK_DATA) || n > m->left) {
		m->state = BAD;
		*event = RQS_HTTP1_BAD;
		return 0;
	}
	m->left -= n;
	if (!m->left && m->state == BODY_LENGTH) {
		m->state = IDLE;
		*event = RQS_HTTP1_END;
	} else if (!m->left) {
		m->state = CHUNK_CRLF;
	}
	return n;
}

uint64_t rqs_http1_in_skip(struct rqs_http1_in *in, uint64_t n, enum rqs_http1_event *event)
{
	return skip_unseen(&in->m, n, event);
}

uint64_t rqs_http1_out_skip(struct rqs_http1_out *out, uint64_t n, enum rqs_http1_event *event)
{
	return skip_unseen(&out->m, n, event);
}

bool rqs_http1_out_until_close(const struct rqs_http1_out *out)
{
	return out->m.state == UNTIL_CLOSE;
}

bool rqs_http1_is_idle(const struct rqs_http1_in *in, const struct rqs_http1_out *out)
{
	return in->m.state == IDLE && out->m.state == IDLE;
}
