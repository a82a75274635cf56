// SPDX-License-Identifier: GPL-2.0-only
/*
 * tsc-khz - print the rate of this processor's time stamp counter, which is
 * what a guest reads: on a busy machine it cannot find out by itself, and its
 * clock then runs twice or three times too fast.
 */
#include <stdint.h>
#include <stdio.h>
#include <time.h>

#ifdef __x86_64__
#include <x86intrin.h>

static uint64_t now_ns(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	return ts.tv_sec * 1000000000ULL + ts.tv_nsec;
}

/* Both at once, or nearly: of some tries the one that took least. */
static void read_both(uint64_t *ns, uint64_t *ticks)
{
	uint64_t best = UINT64_MAX;

	for (int i = 0; i < 100; i++) {
		uint64_t from = __rdtsc(), now = now_ns(), to = __rdtsc();

		if (to - from >= best)
			continue;
		best = to - from;
		*ns = now;
		*ticks = from + best / 2;
	}
}

int main(void)
{
	const struct timespec wait = {.tv_nsec = 200000000};
	uint64_t ns[2], ticks[2];

	read_both(&ns[0], &ticks[0]);
	nanosleep(&wait, NULL);
	read_both(&ns[1], &ticks[1]);
	printf("%.0f\n", (ticks[1] - ticks[0]) * 1e6 / (ns[1] - ns[0]));
	return 0;
}
#else
int main(void)
{
	return 1;
}
#endif
