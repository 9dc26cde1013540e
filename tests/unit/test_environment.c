/* test_environment.c - the environment that a child gets: the library that fits, the token, and all else as it was. */
#include "unit.h"

#include "hook/membership.h"

#include <unistd.h>

struct rqs_session rqs_session;

#define OWN "/opt/lib/libreqscope.so"
#define SIBLING "/opt/lib/libreqscope-musl.so"
#define TOKEN RQS_ENV_SESSION "=0123"

static int set_session(void **state)
{
	(void)state;
	strcpy(rqs_session.environment, TOKEN);
	strcpy(rqs_session.library, OWN);
	strcpy(rqs_session.sibling, SIBLING);
	return 0;
}

/* Completes envp in memory of exactly the promised sizes, and compares. */
static void check(const char *const *envp, const char *library, const char *const *expected)
{
	char *const *from = (char *const *)(uintptr_t)envp;
	size_t pointers = rqs_session_environment_size(from) * sizeof(char *);
	size_t bytes = rqs_session_preload_size(from, library), i;
	char **to = test_malloc(pointers), *preload = test_malloc(bytes);

	rqs_session_environment(from, library, to, preload);
	for (i = 0; expected[i]; i++) {
		assert_non_null(to[i]);
		assert_string_equal(to[i], expected[i]);
	}
	assert_null(to[i]);
	/* What was completed needs nothing more. */
	assert_true(rqs_session_in_environment(to, library));
	test_free(preload);
	test_free(to);
}

#define LIST(...) ((const char *const[]){__VA_ARGS__, NULL})

static void what_is_missing_is_added(void **state)
{
	(void)state;
	check(LIST("A=1", "B=2"), rqs_session.library, LIST("A=1", "B=2", "LD_PRELOAD=" OWN, TOKEN));
	check(LIST(TOKEN, "A=1"), rqs_session.library, LIST(TOKEN, "A=1", "LD_PRELOAD=" OWN));
	check(LIST("LD_PRELOAD=" OWN), rqs_session.library, LIST("LD_PRELOAD=" OWN, TOKEN));
	check(LIST("LD_PRELOAD=", "A=1"), rqs_session.library, LIST("LD_PRELOAD=" OWN, "A=1", TOKEN));
	check(LIST("LD_PRELOAD=a.so b.so", TOKEN), rqs_session.library, LIST("LD_PRELOAD=" OWN ":a.so:b.so", TOKEN));
	check((const char *const[]){NULL}, rqs_session.library, LIST("LD_PRELOAD=" OWN, TOKEN));
	check(LIST("LD_PRELOAD_=x"), rqs_session.sibling, LIST("LD_PRELOAD_=x", "LD_PRELOAD=" SIBLING, TOKEN));
}

/* One for the other, in its place: who comes before another library matters. */
static void ours_is_exchanged(void **state)
{
	(void)state;
	check(LIST("LD_PRELOAD=" OWN, TOKEN), rqs_session.sibling, LIST("LD_PRELOAD=" SIBLING, TOKEN));
	check(LIST("LD_PRELOAD=" SIBLING, TOKEN), rqs_session.library, LIST("LD_PRELOAD=" OWN, TOKEN));
	check(LIST("A=1", "LD_PRELOAD=a.so:" OWN " b.so", TOKEN), rqs_session.sibling,
	      LIST("A=1", "LD_PRELOAD=a.so:" SIBLING ":b.so", TOKEN));
	check(LIST("LD_PRELOAD=" OWN ":" SIBLING "::a.so", TOKEN), rqs_session.sibling,
	      LIST("LD_PRELOAD=" SIBLING ":a.so", TOKEN));
}

static void ours_is_taken_out(void **state)
{
	(void)state;
	check(LIST("A=1", "LD_PRELOAD=" OWN, TOKEN, "B=2"), NULL, LIST("A=1", TOKEN, "B=2"));
	check(LIST("LD_PRELOAD=a.so:" OWN ":b.so"), NULL, LIST("LD_PRELOAD=a.so:b.so"));
	check(LIST("LD_PRELOAD=" SIBLING " " OWN ":b.so"), NULL, LIST("LD_PRELOAD=b.so"));
	check(LIST("LD_PRELOAD=/elsewhere/libreqscope.so", "A=1"), NULL, LIST("A=1"));
}

static void what_fits_is_left(void **state)
{
	static const char *const kept[][3] = {
	    {"LD_PRELOAD=" OWN, TOKEN},
	    {"LD_PRELOAD=/elsewhere/libreqscope.so", TOKEN},
	    {"LD_PRELOAD=a.so  :" OWN, TOKEN},
	    {"LD_PRELOAD=libreqscope.so", TOKEN},
	};

	(void)state;
	for (size_t i = 0; i < sizeof(kept) / sizeof(kept[0]); i++)
		assert_true(rqs_session_in_environment((char *const *)(uintptr_t)kept[i], rqs_session.library));
	assert_true(rqs_session_in_environment((char *[]){"A=1", NULL}, NULL));
	assert_true(rqs_session_in_environment((char *[]){"LD_PRELOAD=a.so", NULL}, NULL));
}

/* Names that only look like ours. */
static void others_are_not_ours(void **state)
{
	static const char *const others[] = {
	    "LD_PRELOAD=xlibreqscope.so", "LD_PRELOAD=/a/libreqscope.so.1", "LD_PRELOAD=/libreqscope.so/a.so",
	    "LD_PRELOAD=libreqscope.s",   "LD_PRELOAD=reqscope.so",         "LD_PRELOAD=:  :",
	};

	(void)state;
	for (size_t i = 0; i < sizeof(others) / sizeof(others[0]); i++) {
		char *const envp[] = {(char *)(uintptr_t)others[i], TOKEN, NULL};

		assert_false(rqs_session_in_environment(envp, rqs_session.library));
		assert_true(rqs_session_in_environment(envp, NULL));
	}
}

static void without_a_sibling(void **state)
{
	(void)state;
	rqs_session.sibling[0] = 0;
	check(LIST("LD_PRELOAD=a.so"), rqs_session.library, LIST("LD_PRELOAD=" OWN ":a.so", TOKEN));
	check(LIST("LD_PRELOAD=a.so:" OWN), NULL, LIST("LD_PRELOAD=a.so"));
}

static void the_library_that_fits(void **state)
{
	enum rqs_interpreter other =
	    RQS_INTERPRETER_OWN == RQS_INTERPRETER_GLIBC ? RQS_INTERPRETER_MUSL : RQS_INTERPRETER_GLIBC;

	(void)state;
	assert_ptr_equal(rqs_session_library(RQS_INTERPRETER_OWN), rqs_session.library);
	assert_ptr_equal(rqs_session_library(RQS_INTERPRETER_UNKNOWN), rqs_session.library);
	assert_ptr_equal(rqs_session_library(RQS_INTERPRETER_STATIC), rqs_session.library);
	assert_null(rqs_session_library(RQS_INTERPRETER_OTHER));
	assert_null(rqs_session_library(other)); /* it isn't there */
	strcpy(rqs_session.sibling, "/dev/null");
	assert_ptr_equal(rqs_session_library(other), rqs_session.sibling);
	rqs_session.sibling[0] = 0;
	assert_null(rqs_session_library(other));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test_setup(what_is_missing_is_added, set_session),
	    cmocka_unit_test_setup(ours_is_exchanged, set_session),
	    cmocka_unit_test_setup(ours_is_taken_out, set_session),
	    cmocka_unit_test_setup(what_fits_is_left, set_session),
	    cmocka_unit_test_setup(others_are_not_ours, set_session),
	    cmocka_unit_test_setup(without_a_sibling, set_session),
	    cmocka_unit_test_setup(the_library_that_fits, set_session),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
