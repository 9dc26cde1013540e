/* test_routes.c - collapsing is a property of the set of templates. */
#include "unit.h"

#include "model/routes.h"

#include <stdlib.h>

static uint64_t state = 99;

static unsigned dice(unsigned n)
{
	state = state * 6364136223846793005ull + 1442695040888963407ull;
	return (unsigned)(state >> 33) % n;
}

static void add(struct rqs_routes *r, const char *template)
{
	/* What is added may end anywhere: no terminator is relied on. */
	rqs_routes_add(r, (const char *)at_page_end(template, strlen(template)), strlen(template));
}

static const char *shown(struct rqs_routes *r, const char *template)
{
	unsigned row = rqs_routes_find(r, 0, (const char *)at_page_end(template, strlen(template)), strlen(template));

	return rqs_routes_get(r, row).path;
}

static void few_names_stay(void **unused)
{
	struct rqs_routes *r = rqs_routes_new();
	char text[32];

	(void)unused;
	for (int i = 0; i < RQS_SEGMENTS_MAX; i++) {
		snprintf(text, sizeof(text), "/api/n%d/x", i);
		add(r, text);
	}
	add(r, "/api/{}/x");
	rqs_routes_finish(r);
	assert_string_equal(shown(r, "/api/n7/x"), "/api/n7/x");
	assert_string_equal(shown(r, "/api/{}/x"), "/api/{}/x");
	assert_string_equal(shown(r, "/api/other/x"), "(unmatched)");
	assert_string_equal(shown(r, "/api/n7"), "(unmatched)");
	rqs_routes_free(r);
}

static void one_more_collapses_and_unites_what_is_below(void **unused)
{
	struct rqs_routes *r = rqs_routes_new();
	char text[32];

	(void)unused;
	for (int i = 0; i <= RQS_SEGMENTS_MAX; i++) {
		snprintf(text, sizeof(text), "/api/n%d/x%d", i, i % 3);
		add(r, text);
	}
	rqs_routes_finish(r);
	assert_string_equal(shown(r, "/api/n7/x1"), "/api/{}/x1");
	assert_string_equal(shown(r, "/api/new/x2"), "/api/{}/x2");
	assert_string_equal(shown(r, "/api/n7/x5"), "(unmatched)");
	rqs_routes_free(r);
}

static void odd_templates_come_back_as_they_are(void **unused)
{
	static const char *const odd[] = {"/", "", "*", "//", "/a/", "/a//b", "example.org:443", "/{}", "a/b"};
	struct rqs_routes *r = rqs_routes_new();

	(void)unused;
	for (unsigned i = 0; i < sizeof(odd) / sizeof(odd[0]); i++)
		add(r, odd[i]);
	rqs_routes_finish(r);
	for (unsigned i = 0; i < sizeof(odd) / sizeof(odd[0]); i++)
		assert_string_equal(shown(r, odd[i]), odd[i]);
	rqs_routes_free(r);
}

static void methods_are_rows_of_their_own(void **unused)
{
	struct rqs_routes *r = rqs_routes_new();

	(void)unused;
	add(r, "/a");
	unsigned get = rqs_routes_find(r, 0, "/a", 2), other = rqs_routes_find(r, 255, "/a", 2);
	assert_int_not_equal(get, other);
	assert_int_equal(rqs_routes_find(r, 200, "/a", 2), other);
	assert_string_equal(rqs_route_method(r, get), "GET");
	assert_string_equal(rqs_route_method(r, other), "_OTHER");
	assert_string_equal(rqs_route_method(r, RQS_ROUTE_UNMATCHED), "*");
	rqs_routes_free(r);
}

/* A set of templates that collapses at several depths, some only after their parents did. */
static char *make_template(unsigned i)
{
	static char text[64];
	unsigned a = i % 45, b = i / 45 % 25, c = i / 45 / 25;

	snprintf(text, sizeof(text), c ? "/g%u/%c%u/z%u" : "/g%u/%c%u", a % 20 * (i % 2) + a * !(i % 2), 'a' + (int)b,
		 a / 9, c);
	return text;
}

#define TEMPLATES 4000

static void the_order_does_not_matter(void **unused)
{
	static unsigned order[TEMPLATES];
	static char first[TEMPLATES][64];

	(void)unused;
	for (unsigned i = 0; i < TEMPLATES; i++)
		order[i] = i;
	for (int round = 0; round < 10; round++) {
		struct rqs_routes *r = rqs_routes_new();

		for (unsigned i = 0; i < TEMPLATES; i++)
			add(r, make_template(order[i]));
		rqs_routes_finish(r);
		for (unsigned i = 0; i < TEMPLATES; i++) {
			if (round)
				assert_string_equal(shown(r, make_template(i)), first[i]);
			else
				snprintf(first[i], sizeof(first[i]), "%s", shown(r, make_template(i)));
			assert_string_not_equal(first[i], "(unmatched)");
		}
		assert_in_range(rqs_routes_count(r), 3, 2 + RQS_TEMPLATES_MAX);
		rqs_routes_free(r);
		for (unsigned i = TEMPLATES - 1; i; i--) {
			unsigned j = dice(i + 1), swap = order[i];

			order[i] = order[j];
			order[j] = swap;
		}
	}
}

static void hostile_numbers_are_bounded(void **unused)
{
	struct rqs_routes *r = rqs_routes_new();
	char text[600];

	(void)unused;
	for (int i = 0; i < 100000; i++) {
		size_t n = 0;

		for (unsigned depth = 1 + dice(12); depth; depth--)
			n += (size_t)snprintf(text + n, sizeof(text) - n, "/%c%u", 'a' + (int)dice(26), dice(2));
		add(r, text);
	}
	rqs_routes_finish(r);
	for (int i = 0; i < 1000; i++)
		shown(r, text);
	assert_in_range(rqs_routes_count(r), 3, 2 + RQS_TEMPLATES_MAX);
	rqs_routes_free(r);
}

static void long_and_deep_ones_are_parameters(void **unused)
{
	static char deep[20000], longest[500];
	struct rqs_routes *r = rqs_routes_new();

	(void)unused;
	for (unsigned i = 0; i + 2 < sizeof(deep); i += 2)
		memcpy(deep + i, "/x", 2);
	memset(longest, 'y', sizeof(longest) - 1);
	longest[0] = '/';
	add(r, deep);
	add(r, longest);
	rqs_routes_finish(r);
	assert_string_equal(shown(r, longest), "/{}");
	assert_in_range(strlen(shown(r, deep)), 10, 100);
	rqs_routes_free(r);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(few_names_stay),
	    cmocka_unit_test(one_more_collapses_and_unites_what_is_below),
	    cmocka_unit_test(odd_templates_come_back_as_they_are),
	    cmocka_unit_test(methods_are_rows_of_their_own),
	    cmocka_unit_test(the_order_does_not_matter),
	    cmocka_unit_test(hostile_numbers_are_bounded),
	    cmocka_unit_test(long_and_deep_ones_are_parameters),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
