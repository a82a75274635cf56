// SPDX-License-Identifier: GPL-2.0-only
/* Tables, for the terminal and as markdown. */
#include "judge.h"

void set(struct table *t, int column, const char *fmt, ...)
{
	va_list args;

	if (t->rows == MAX_ROWS) {
		errno = 0;
		die("more than %d rows", MAX_ROWS);
	}
	va_start(args, fmt);
	vsnprintf(t->cell[t->rows][column], sizeof(t->cell[0][0]), fmt, args);
	va_end(args);
}

void print_plain(const struct table *t, FILE *f)
{
	for (int r = -1; r < t->rows; r++) {
		for (int c = 0; c < t->columns; c++)
			fprintf(f, "%s%*s", c ? "  " : "",
				c == t->columns - 1 ? 0 : t->width[c],
				r < 0 ? t->head[c] : t->cell[r][c]);
		fputc('\n', f);
	}
}

void print_markdown(const struct table *t, FILE *f)
{
	for (int r = -1; r < t->rows; r++) {
		for (int c = 0; c < t->columns; c++)
			fprintf(f, "| %s ", r < 0 ? t->head[c] : t->cell[r][c]);
		fputs("|\n", f);
		for (int c = 0; r < 0 && c < t->columns; c++)
			fputs(t->width[c] < 0 ? "|---" : "|---:", f);
		fputs(r < 0 ? "|\n" : "", f);
	}
	fputc('\n', f);
}

void set_system(struct table *t, enum system s)
{
	set(t, 0, "%s", systems[s].name);
	t->rows++;
}
