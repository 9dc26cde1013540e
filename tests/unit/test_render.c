/* test_render.c - numbers for people, and texts made harmless. */
#include "unit.h"

#include "render/escape.h"
#include "render/units.h"

#include <math.h>
#include <stdlib.h>

static void assert_text(char *got, const char *want)
{
	assert_string_equal(got, want);
	free(got);
}

static void times(void **unused)
{
	(void)unused;
	assert_text(rqs_human_time(0), "0 s");
	assert_text(rqs_human_time(NAN), "-");
	assert_text(rqs_human_time(15e-9), "15.0 ns");
	assert_text(rqs_human_time(1.234e-6), "1.23 µs");
	assert_text(rqs_human_time(12.34e-6), "12.3 µs");
	assert_text(rqs_human_time(999.4e-6), "999 µs");
	assert_text(rqs_human_time(999.96e-6), "1.00 ms");
	assert_text(rqs_human_time(0.9999), "1.00 s");
	assert_text(rqs_human_time(123.4), "123 s");
}

static void bytes_counts_and_parts(void **unused)
{
	(void)unused;
	assert_text(rqs_human_bytes(0), "0 B");
	assert_text(rqs_human_bytes(999), "999 B");
	assert_text(rqs_human_bytes(46.14), "46.1 B");
	assert_text(rqs_human_bytes(999.6), "1.00 kB");
	assert_text(rqs_human_bytes(45.1e6), "45.1 MB");
	assert_text(rqs_human_bytes(NAN), "-");
	assert_text(rqs_human_count(1234567), "1,234,567");
	assert_text(rqs_human_count(100), "100");
	assert_text(rqs_human_count(0.523), "0.52");
	assert_text(rqs_human_rate(1000.4), "1,000/s");
	assert_text(rqs_human_percent(0.1234), "12.3 %");
	assert_text(rqs_human_percent(0.0012), "0.12 %");
	assert_text(rqs_human_percent(0.00001), "< 0.01 %");
	assert_text(rqs_human_change(-0.5), "-50.0 %");
	assert_text(rqs_human_change(0.00001), "0.0 %");
	assert_text(rqs_human_factor(1.316), "1.32x");
}

static void harmful_characters_are_shown(void **unused)
{
	(void)unused;
	assert_text(rqs_clean("plain \xc3\xa9 \xe2\x82\xac"), "plain \xc3\xa9 \xe2\x82\xac");
	assert_text(rqs_clean("\x1b[2J\r\n\x7f"), "\\x1b[2J\\x0d\\x0a\\x7f");
	assert_text(rqs_clean("\xc2\x9b"), "\\x9b");                                 /* CSI in one character */
	assert_text(rqs_clean("\xe2\x80\xae"), "\\u{202e}");                         /* right to left */
	assert_text(rqs_clean("\xff\xc0\x80\xe2\x82"), "\\xff\\xc0\\x80\\xe2\\x82"); /* not UTF-8, or cut */
	assert_text(rqs_clean("\xed\xa0\x80"), "\\xed\\xa0\\x80");                   /* a surrogate */
	assert_text(rqs_clean_html("<a href=\"x\">&'"), "&lt;a href=&quot;x&quot;&gt;&amp;&#39;");
	assert_text(rqs_clean_markdown("a|b*c"), "a&#124;b&#42;c");
	assert_text(rqs_valid_utf8("a\xff\x1b"), "a\xef\xbf\xbd\x1b");
	assert_int_equal(rqs_width("\xc3\xa9\xe2\x82\xac."), 3);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(times),
	    cmocka_unit_test(bytes_counts_and_parts),
	    cmocka_unit_test(harmful_characters_are_shown),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
