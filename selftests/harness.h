/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * The kernel's harness, and what the one of Linux 6.1 lacks: running some of
 * the tests. SHUNT_TEST=TEXT keeps those whose name (fixture.test, or
 * fixture.variant.test with only the fixture and test compared) has TEXT in it;
 * `selftests/run test_x:TEXT` sets it.
 */
#ifndef HARNESS_H
#define HARNESS_H

#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

#include <linux/types.h>

#include "factor.h"

/* Its own code does not build with -Wextra, and its EXPECT_EQ(0, x) compares
 * an int with whatever x is: the latter goes for all of the including file. */
#pragma GCC diagnostic push
#pragma GCC diagnostic ignored "-Wunused-parameter"
#include "kselftest_harness.h"
#pragma GCC diagnostic pop
#pragma GCC diagnostic ignored "-Wsign-compare"

static inline void keep_tests(const char *text)
{
	struct __fixture_metadata *f;
	struct __test_metadata *t, *first, *last;
	char name[256];

	for (f = __fixture_list; f; f = f->next) {
		first = last = NULL;
		for (t = f->tests; t; t = t->next) {
			snprintf(name, sizeof(name), "%s.%s", f->name, t->name);
			if (!strstr(name, text))
				continue;
			if (last)
				last->next = t;
			else
				first = t;
			last = t;
		}
		if (last)
			last->next = NULL;
		f->tests = first;
	}
}

static inline void scale_timeouts(void)
{
	for (struct __fixture_metadata *f = __fixture_list; f; f = f->next)
		for (struct __test_metadata *t = f->tests; t; t = t->next)
			t->timeout *= time_factor();
}

/* prepare: done once, before the tests are forked. */
#define HARNESS_MAIN_AFTER(prepare)                      \
	int main(int argc, char **argv)                  \
	{                                                \
		const char *text = getenv("SHUNT_TEST"); \
                                                         \
		if (text && *text)                       \
			keep_tests(text);                \
		scale_timeouts();                        \
		prepare;                                 \
		return test_harness_run(argc, argv);     \
	}

#undef TEST_HARNESS_MAIN
#define TEST_HARNESS_MAIN HARNESS_MAIN_AFTER()

#endif
