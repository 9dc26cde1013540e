/* test_route.c - templates: a pure function of the target, however it is cut. */
#include "unit.h"

#include "core/route.h"

static const char *template_of(const char *target, size_t cut)
{
	static char text[RQS_ROUTE_MAX + 1];
	struct rqs_route route;
	size_t n = strlen(target), first = cut < n ? cut : n;

	rqs_route_begin(&route, false);
	rqs_route_feed(&route, at_page_end(target, first), first);
	rqs_route_feed(&route, at_page_end(target + first, n - first), n - first);
	if (!rqs_route_end(&route))
		return NULL;
	memcpy(text, route.text, route.length);
	text[route.length] = 0;
	return text;
}

static const struct {
	const char *target, *template;
} cases[] = {
	{ "/", "/" },
	{ "/json", "/json" },
	{ "/json/", "/json/" },
	{ "//a", "//a" },
	{ "/users/42", "/users/{}" },
	{ "/users/42/posts/7?page=2", "/users/{}/posts/{}" },
	{ "/t/-3.5", "/t/{}" },
	{ "/v1/api", "/v1/api" },
	{ "/o/123e4567-e89b-12d3-a456-426614174000/x", "/o/{}/x" },
	{ "/c/deadbeef", "/c/{}" },
	{ "/c/deadbee", "/c/deadbee" },
	{ "/c/DEADBEEF01", "/c/{}" },
	{ "/k/dGhpcyBpcyBhIHRlc3Q1", "/k/{}" },
	{ "/k/getUserAccountDetails", "/k/getUserAccountDetails" },
	{ "/k/getting-started-with-version-2", "/k/getting-started-with-version-2" },
	{ "/k/k3j4h5k2j3h4k5j2", "/k/{}" },
	{ "/s/app.8f3a9c1d.js", "/s/app.8f3a9c1d.js" },
	{ "/bad/a\x01z", "/bad/{}" },
	{ "/u/caf\xc3\xa9", "/u/{}" },
	{ "/x?", "/x" },
	{ "/x#frag", "/x" },
	{ "http://h:80/a/1?x", "/a/{}" },
	{ "HTTPS://h", "/" },
	{ "http://h?x", "/" },
	{ "*", "*" },
	{ "ftp://h/a", NULL },
	{ "htt/a", NULL },
	{ "http:/x", NULL },
	{ "*a", NULL },
	{ "", NULL },
};

static void templates(void **state)
{
	(void)state;
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		for (size_t cut = 0; cut <= strlen(cases[i].target); cut++) {
			const char *got = template_of(cases[i].target, cut);

			if (!cases[i].template)
				assert_null(got);
			else
				assert_string_equal(got, cases[i].template);
		}
	}
}

static void long_segments_and_paths_are_bounded(void **state)
{
	char target[4000] = "/a/";
	const char *got;

	(void)state;
	memset(target + 3, 'x', 64);
	assert_string_equal(template_of(target, 10), target);
	target[67] = 'x';
	assert_string_equal(template_of(target, 10), "/a/{}");

	target[0] = 0;
	for (int i = 0; i < 300; i++)
		strcat(target, "/segment");
	got = template_of(target, 100);
	assert_true(strlen(got) <= RQS_ROUTE_MAX);
	assert_string_equal(got + strlen(got) - 4, "/...");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(templates),
		cmocka_unit_test(long_segments_and_paths_are_bounded),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
