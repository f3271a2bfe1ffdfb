// SPDX-License-Identifier: GPL-2.0-only
/*
 * I/O page faults: what is seen of them
 *
 * A process knows what it reported and how it was answered. The tables in
 * debugfs, the tracepoints and iopf-top must say the same.
 */
#define _GNU_SOURCE
#include <stdio.h>
#include <stdlib.h>
#include <sys/wait.h>

#include "../../kselftest_harness.h"
#include "iopf_table.h"
#include "iopf_util.h"

#define DEVICE		"iopf-test."
#define TRACING		"/sys/kernel/tracing"
#define EVENTS		TRACING "/events/io_pgfault"
#define TOP		"iopf-top"
#define GOOD		50
#define BAD		7
#define BUCKETS		64
/* What a shell says too. */
#define NOT_FOUND	127

FIXTURE(watch)
{
	int fd;
	char *pages;
};

FIXTURE_SETUP(watch)
{
	if (iopf_absent())
		SKIP(return, IOPF_ABSENT);
	self->fd = iopf_open();
	ASSERT_GE(self->fd, 0);
	ASSERT_GT(ioctl(self->fd, IOPF_TEST_BIND, 64), 0);
	self->pages = map_anon(GOOD * page_size(), PROT_READ | PROT_WRITE);
	ASSERT_NE(NULL, self->pages);
}

FIXTURE_TEARDOWN(watch)
{
	close(self->fd);
}

/* GOOD faults that succeed, BAD ones that do not; false if otherwise. */
static bool fault_all(int fd, char *pages)
{
	bool right = true;
	int i;

	for (i = 0; i < GOOD; i++)
		right &= iopf_fault(fd, pages + i * page_size(), PERM_W) ==
			 RESP_SUCCESS;
	for (i = 0; i < BAD; i++)
		right &= iopf_fault(fd, (void *)page_size(), PERM_W) ==
			 RESP_INVALID;
	/* A response can be read a moment before its group is done with. */
	return right && !ioctl(fd, IOPF_TEST_FLUSH);
}

static long column(const char *wanted)
{
	return iopf_column(DEVICE, wanted);
}

/* The histogram's buckets; how many there are. */
static int read_latency(long *bucket)
{
	char header[1024], row[1024], *word, *rest;
	int n = 0;

	if (!iopf_read_row(IOPF_LATENCY, DEVICE, header, row, sizeof(row)))
		return 0;
	strtok_r(row, IOPF_BLANKS, &rest);
	while (n < BUCKETS && (word = strtok_r(NULL, IOPF_BLANKS, &rest)))
		bucket[n++] = atol(word);
	return n;
}

TEST_F(watch, f10_table_of_devices)
{
	if (access(IOPF_DEVICES, R_OK))
		SKIP(return, "no interface: " IOPF_DEVICES);
	EXPECT_EQ(64, column("granted"));
	ASSERT_TRUE(fault_all(self->fd, self->pages));
	EXPECT_EQ(GOOD + BAD, column("requests"));
	EXPECT_EQ(GOOD + BAD, column("groups"));
	EXPECT_EQ(GOOD, column("success"));
	EXPECT_EQ(BAD, column("invalid"));
	EXPECT_EQ(0, column("failure"));
	EXPECT_EQ(0, column("in_flight"));
	EXPECT_EQ(0, iopf_report(self->fd, self->pages, PERM_W, 9, 0));
	EXPECT_EQ(1, column("partial"));
	ASSERT_EQ(0, ioctl(self->fd, IOPF_TEST_FLUSH));
	EXPECT_EQ(0, column("partial"));
	EXPECT_EQ(1, column("dropped"));
}

TEST_F(watch, f10_latency)
{
	long bucket[BUCKETS], sum = 0;
	int i, n;

	if (access(IOPF_LATENCY, R_OK))
		SKIP(return, "no interface: " IOPF_LATENCY);
	ASSERT_TRUE(fault_all(self->fd, self->pages));
	n = read_latency(bucket);
	EXPECT_GT(n, 10);
	for (i = 0; i < n; i++)
		sum += bucket[i];
	EXPECT_EQ(GOOD + BAD, sum);
}

/* How often the trace has lines with both words. */
static int count_lines(const char *event, const char *what)
{
	FILE *file = fopen(TRACING "/trace", "r");
	char line[1024];
	int count = 0;

	while (file && fgets(line, sizeof(line), file))
		count += strstr(line, event) && strstr(line, what);
	if (file)
		fclose(file);
	return count;
}

TEST_F(watch, f10_tracepoints)
{
	bool right;

	if (access(EVENTS "/enable", W_OK))
		SKIP(return, "no interface: " EVENTS);
	write_text(TRACING "/trace", "");
	ASSERT_EQ(0, write_text(EVENTS "/enable", "1"));
	right = fault_all(self->fd, self->pages);
	iopf_report(self->fd, self->pages, PERM_W, 9, 0);
	EXPECT_EQ(0, ioctl(self->fd, IOPF_TEST_FLUSH));
	ASSERT_EQ(0, write_text(EVENTS "/enable", "0"));
	ASSERT_TRUE(right);
	EXPECT_EQ(GOOD + BAD, count_lines("iopf_report:", "last=1"));
	EXPECT_EQ(1, count_lines("iopf_report:", "last=0"));
	EXPECT_EQ(GOOD + BAD, count_lines("iopf_group:", "count=1"));
	EXPECT_EQ(GOOD, count_lines("iopf_resolve:", "code=success"));
	EXPECT_EQ(BAD, count_lines("iopf_resolve:", "code=invalid"));
	EXPECT_EQ(GOOD, count_lines("iopf_respond:", "code=success"));
	EXPECT_EQ(BAD, count_lines("iopf_respond:", "code=invalid"));
	EXPECT_EQ(GOOD + BAD, count_lines("iopf_respond:", "latency_ns="));
	EXPECT_EQ(1, count_lines("iopf_drop:", "why=flush"));
	EXPECT_EQ(2, count_lines("iopf_flush:", ""));
	EXPECT_LE(1, count_lines("iopf_flush:", "groups=0"));
}

/* Starts iopf-top; what it prints, errors too, can be read from the file. */
static FILE *start_top(const char *arguments, pid_t *pid)
{
	char words[128], *argv[8] = { TOP }, *word, *rest;
	int ends[2], argc = 1;

	snprintf(words, sizeof(words), "%s", arguments);
	for (word = strtok_r(words, " ", &rest); word && argc < 7;
	     word = strtok_r(NULL, " ", &rest))
		argv[argc++] = word;
	if (pipe(ends))
		return NULL;
	*pid = fork();
	if (!*pid) {
		dup2(ends[1], STDOUT_FILENO);
		dup2(ends[1], STDERR_FILENO);
		close(ends[0]);
		close(ends[1]);
		execvp(TOP, argv);
		_exit(NOT_FOUND);
	}
	close(ends[1]);
	return fdopen(ends[0], "r");
}

/* How iopf-top ended. */
static int end_top(FILE *out, pid_t pid)
{
	int status = -1;

	fclose(out);
	if (waitpid(pid, &status, 0) != pid || !WIFEXITED(status))
		return -1;
	return WEXITSTATUS(status);
}

/* Runs iopf-top: its status, and what it printed. */
static int run_top(const char *arguments, char *said, size_t size)
{
	pid_t pid;
	FILE *out = start_top(arguments, &pid);

	if (!out)
		return -1;
	said[fread(said, 1, size - 1, out)] = '\0';
	return end_top(out, pid);
}

static bool top_is_absent(void)
{
	char said[1024];

	return run_top("--help", said, sizeof(said)) == NOT_FOUND;
}

struct top {
	char device[64], queue[64];
	double faults, groups;
	long success, invalid, dropped, in_flight, p50, p99;
};

static bool parse_top(FILE *out, struct top *top)
{
	char line[512];

	while (fgets(line, sizeof(line), out))
		if (!strncmp(line, "iopf-test.", 10))
			return sscanf(line,
				      "%63s %63s %lf %lf %ld %ld %ld %ld %ld %ld",
				      top->device, top->queue, &top->faults,
				      &top->groups, &top->success,
				      &top->invalid, &top->dropped,
				      &top->in_flight, &top->p50,
				      &top->p99) == 10;
	return false;
}

/* The end of the bucket that so many percent of the faults are below. */
static long percentile(const long *bucket, int n, int percent)
{
	long seen = 0;
	int i;

	for (i = 0; i < n; i++) {
		seen += bucket[i];
		if (seen * 100 >= (GOOD + BAD) * percent)
			break;
	}
	return 2L << i;
}

TEST_F_TIMEOUT(watch, f10_iopf_top_agrees_with_debugfs, 60)
{
	/* Sleeping takes no longer on a slow kernel; starting does. */
	int interval = patience(4) < 20 ? patience(4) : 20, n;
	long bucket[BUCKETS];
	char arguments[32];
	struct top top;
	pid_t pid;
	FILE *out;

	if (access(IOPF_DEVICES, R_OK))
		SKIP(return, "no interface: " IOPF_DEVICES);
	if (top_is_absent())
		SKIP(return, "no " TOP " in PATH");
	snprintf(arguments, sizeof(arguments), "--once --interval %d",
		 interval);
	out = start_top(arguments, &pid);
	ASSERT_NE(NULL, out);
	/* Its first look is before the faults, its second one after them. */
	sleep(interval / 4);
	ASSERT_TRUE(fault_all(self->fd, self->pages));
	ASSERT_TRUE(parse_top(out, &top));
	EXPECT_EQ(0, end_top(out, pid));
	EXPECT_EQ(column("success"), top.success);
	EXPECT_EQ(column("invalid"), top.invalid);
	EXPECT_EQ(column("in_flight"), top.in_flight);
	EXPECT_EQ(GOOD, top.success);
	EXPECT_EQ(BAD, top.invalid);
	/* Per second: the interval is what was asked for, or a little more. */
	EXPECT_LE(top.faults, (GOOD + BAD) / interval + 1);
	EXPECT_GE(top.faults, (GOOD + BAD) / (2 * interval));
	n = read_latency(bucket);
	EXPECT_EQ(percentile(bucket, n, 50), top.p50);
	EXPECT_EQ(percentile(bucket, n, 99), top.p99);
}

TEST(f10_iopf_top_says_what_is_missing)
{
	char said[1024];

	if (top_is_absent())
		SKIP(return, "no " TOP " in PATH");
	EXPECT_EQ(0, run_top("--help", said, sizeof(said)));
	EXPECT_NE(NULL, strstr(said, "--once"));
	EXPECT_EQ(2, run_top("--once --debugfs /nowhere", said, sizeof(said)));
	EXPECT_NE(NULL, strstr(said, "mount -t debugfs"));
	EXPECT_EQ(2, run_top("--once --debugfs /tmp", said, sizeof(said)));
	EXPECT_NE(NULL, strstr(said, "CONFIG_IOMMU_IOPF"));
	EXPECT_EQ(2, run_top("--interval 0", said, sizeof(said)));
	EXPECT_NE(NULL, strstr(said, "--interval"));
}

TEST_HARNESS_MAIN
