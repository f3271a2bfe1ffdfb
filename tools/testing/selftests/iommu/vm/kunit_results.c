// SPDX-License-Identifier: GPL-2.0-only
/*
 * kunit_results SUITE...: what KUnit suites said at boot, as one flat TAP. A
 * suite that is not there fails, and so does one that ran no test.
 */
#include <stdio.h>
#include <string.h>

#define RESULTS	"/sys/kernel/debug/kunit/%s/results"
#define INDENT	"    "

struct out {
	FILE *text;
	unsigned int number;
};

/* A result of the suite's own tests: indented once. */
static int is_result(const char *line)
{
	line += strlen(INDENT);
	return !strncmp(line, "ok ", 3) || !strncmp(line, "not ok ", 7);
}

static void add(struct out *out, const char *suite, const char *line)
{
	int ok = !strncmp(line, "ok ", 3);
	const char *name = strchr(line + (ok ? 3 : 7), ' ');

	fprintf(out->text, "%s %u %s.%s", ok ? "ok" : "not ok", ++out->number,
		suite, name ? name + 1 : "unnamed\n");
}

static void read_suite(struct out *out, const char *suite)
{
	unsigned int before = out->number;
	char path[256], line[512];
	FILE *file;

	snprintf(path, sizeof(path), RESULTS, suite);
	file = fopen(path, "r");
	while (file && fgets(line, sizeof(line), file)) {
		if (!strncmp(line, INDENT, strlen(INDENT)) && is_result(line))
			add(out, suite, line + strlen(INDENT));
		else
			printf("# %s", line);
	}
	if (file)
		fclose(file);
	if (out->number == before)
		fprintf(out->text, "not ok %u %s.absent # %s\n", ++out->number,
			suite, file ? "it ran no test" : "no such suite");
}

int main(int argc, char **argv)
{
	struct out out = { .text = tmpfile() };
	char line[1024];
	int failed = 0, index;

	if (!out.text)
		return 1;
	puts("TAP version 13");
	for (index = 1; index < argc; index++)
		read_suite(&out, argv[index]);
	rewind(out.text);
	printf("1..%u\n", out.number);
	while (fgets(line, sizeof(line), out.text)) {
		failed |= !strncmp(line, "not ok", 6);
		fputs(line, stdout);
	}
	return failed;
}
