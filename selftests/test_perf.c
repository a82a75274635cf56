// SPDX-License-Identifier: GPL-2.0-only
/* perf/compare: a regression is seen, and noise is not taken for one. */
#include "cli_run.h"
#include "harness.h"

#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

FIXTURE(runs)
{
	char dir[64];
	struct cli_output o;
};

FIXTURE_SETUP(runs)
{
	snprintf(self->dir, sizeof(self->dir), "/tmp/shunt-perf-XXXXXX");
	ASSERT_NE(NULL, mkdtemp(self->dir));
}

FIXTURE_TEARDOWN(runs)
{
	cli_sh(&self->o, "rm -r %s", self->dir);
}

/* A folder with two figures, a latency and connections per second; their
 * quartiles are spread away from them. */
static void write_run(FIXTURE_DATA(runs) * self, const char *name,
		      double latency, double rate, double spread)
{
	char path[128];
	FILE *f;

	snprintf(path, sizeof(path), "%s/%s", self->dir, name);
	mkdir(path, 0700);
	snprintf(path, sizeof(path), "%s/%s/results.json", self->dir, name);
	f = fopen(path, "w");
	if (!f)
		abort();
	fprintf(f,
		"{\"figures\":[{\"name\":\"latency\",\"better\":\"less\","
		"\"ratio\":true,\"value\":{\"median\":%f,\"q1\":%f,"
		"\"q3\":%f}},{\"name\":\"rate\",\"better\":\"more\","
		"\"ratio\":false,\"value\":{\"median\":%f,\"q1\":%f,"
		"\"q3\":%f}}]}\n",
		latency, latency * (1 - spread), latency * (1 + spread), rate,
		rate * (1 - spread), rate * (1 + spread));
	fclose(f);
}

static void make_run(FIXTURE_DATA(runs) * self, const char *name,
		     double latency, double rate)
{
	write_run(self, name, latency, rate, 0.01);
}

static int compare(FIXTURE_DATA(runs) * self, const char *threshold)
{
	return cli_sh(&self->o,
		      "$(dirname $S)/perf/report compare %s %s/a %s/b",
		      threshold, self->dir, self->dir);
}

TEST_F(runs, what_stays_within_the_quartiles_is_noise)
{
	make_run(self, "a", 1.0, 1000);
	make_run(self, "b", 1.015, 985);
	EXPECT_EQ(0, compare(self, "--threshold 0"));
	EXPECT_NE(NULL, strstr(self->o.out, "0 changed"))
	TH_LOG("%s", self->o.out);
}

TEST_F(runs, what_was_measured_once_may_vary)
{
	write_run(self, "a", 1.0, 1000, 0);
	write_run(self, "b", 1.08, 1000, 0);
	EXPECT_EQ(0, compare(self, ""));
	write_run(self, "b", 1.15, 1000, 0);
	EXPECT_EQ(1, compare(self, ""));
}

TEST_F(runs, more_latency_is_a_regression)
{
	make_run(self, "a", 1.0, 1000);
	make_run(self, "b", 1.1, 1000);
	EXPECT_EQ(1, compare(self, ""));
	EXPECT_NE(NULL, strstr(self->o.out, "REGRESSION"));
	EXPECT_EQ(0, compare(self, "--threshold 15"));
	EXPECT_NE(NULL, strstr(self->o.out, "1 changed"));
}

TEST_F(runs, a_lower_rate_is_a_regression_and_a_higher_is_not)
{
	make_run(self, "a", 1.0, 1000);
	make_run(self, "b", 1.0, 800);
	EXPECT_EQ(1, compare(self, ""));
	make_run(self, "b", 1.0, 1200);
	EXPECT_EQ(0, compare(self, ""));
	EXPECT_NE(NULL, strstr(self->o.out, "better"));
}

TEST_F(runs, nothing_to_compare_is_an_error)
{
	make_run(self, "a", 1.0, 1000);
	EXPECT_NE(0, compare(self, ""));
	EXPECT_NE(0, compare(self, "--threshold x"));
}

TEST_HARNESS_MAIN
