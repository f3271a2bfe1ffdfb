// SPDX-License-Identifier: GPL-2.0-only
/*
 * iopf-top: I/O page faults, a row a device
 *
 * Reads debugfs' iopf/devices and iopf/latency twice and shows the difference:
 * rates and percentiles are of the interval, not since boot.
 */
#include <errno.h>
#include <getopt.h>
#include <signal.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#define MAX_DEVICES	256
#define MAX_BUCKETS	64
#define LINE		4096

/* Columns of iopf/devices, as the kernel orders them. */
enum column {
	DEVICE, QUEUE, GRANTED, IN_FLIGHT, PARTIAL, REQUESTS, GROUPS, SUCCESS,
	INVALID, FAILURE, REFUSED, TIMEOUT, WITHDRAWN, DROPPED, MARKERS,
	OVERFLOWS, COLUMNS
};

struct device {
	char name[64];
	char queue[32];
	unsigned long long value[COLUMNS];
	unsigned long long latency[MAX_BUCKETS];
};

struct snapshot {
	unsigned int count;
	unsigned int left_out;
	unsigned int buckets;
	struct device devices[MAX_DEVICES];
	struct timespec when;
};

static const char *root = "/sys/kernel/debug";
static sig_atomic_t stop;

static void on_signal(int sig)
{
	(void)sig;
	__atomic_store_n(&stop, 1, __ATOMIC_RELAXED);
}

static void missing(const char *path)
{
	int err = errno;

	fprintf(stderr, "iopf-top: %s: %s\n", path, strerror(err));
	if (err == EACCES || err == EPERM)
		fprintf(stderr, "iopf-top: run it as root\n");
	else if (access(root, X_OK))
		fprintf(stderr,
			"iopf-top: is debugfs mounted? mount -t debugfs none %s\n",
			root);
	else
		fprintf(stderr,
			"iopf-top: debugfs not mounted at %s, or a kernel without CONFIG_IOMMU_IOPF\n",
			root);
	exit(2);
}

static FILE *open_file(const char *name, char *header)
{
	char path[512];
	FILE *f;

	snprintf(path, sizeof(path), "%s/iopf/%s", root, name);
	f = fopen(path, "r");
	if (!f)
		missing(path);
	if (!fgets(header, LINE, f) || strncmp(header, "device ", 7)) {
		fprintf(stderr, "iopf-top: %s: not a table I know\n", path);
		exit(2);
	}
	return f;
}

static struct device *find(struct snapshot *s, const char *name)
{
	unsigned int i;

	for (i = 0; i < s->count; i++)
		if (!strcmp(s->devices[i].name, name))
			return &s->devices[i];
	return NULL;
}

static bool parse_device(struct device *d, char *line)
{
	char *word = strtok(line, "\n ");
	int i;

	for (i = 0; i < COLUMNS; i++, word = strtok(NULL, "\n ")) {
		if (!word)
			return false;
		if (i == DEVICE)
			snprintf(d->name, sizeof(d->name), "%s", word);
		else if (i == QUEUE)
			snprintf(d->queue, sizeof(d->queue), "%s", word);
		else
			d->value[i] = strtoull(word, NULL, 10);
	}
	return true;
}

static void read_devices(struct snapshot *s)
{
	char line[LINE];
	FILE *f = open_file("devices", line);

	s->count = 0;
	s->left_out = 0;
	while (fgets(line, sizeof(line), f)) {
		if (s->count == MAX_DEVICES) {
			s->left_out++;
			continue;
		}
		memset(&s->devices[s->count], 0, sizeof(s->devices[0]));
		if (parse_device(&s->devices[s->count], line))
			s->count++;
	}
	fclose(f);
}

static void parse_latency(struct snapshot *s, char *line)
{
	struct device *d = find(s, strtok(line, "\n "));
	unsigned int i;
	char *word;

	for (i = 0; d && i < MAX_BUCKETS; i++) {
		word = strtok(NULL, "\n ");
		if (!word)
			break;
		d->latency[i] = strtoull(word, NULL, 10);
		if (i >= s->buckets)
			s->buckets = i + 1;
	}
}

static void take(struct snapshot *s)
{
	char line[LINE];
	FILE *f;

	s->buckets = 0;
	read_devices(s);
	f = open_file("latency", line);
	while (fgets(line, sizeof(line), f))
		if (line[0] != '\n' && line[0] != ' ')
			parse_latency(s, line);
	fclose(f);
	clock_gettime(CLOCK_MONOTONIC, &s->when);
}

/* The upper end, in us, of the bucket that holds the percentile; 0: no data. */
static unsigned long long percentile(const unsigned long long *bucket,
				     unsigned int buckets, unsigned int percent)
{
	unsigned long long total = 0, seen = 0;
	unsigned int i;

	for (i = 0; i < buckets; i++)
		total += bucket[i];
	for (i = 0; total && i < buckets; i++) {
		seen += bucket[i];
		if (seen * 100 >= total * percent)
			return 2ULL << i;
	}
	return 0;
}

static void print_latency(unsigned long long us)
{
	if (us)
		printf(" %7llu", us);
	else
		printf(" %7s", "-");
}

/* A device that was removed and added again counts from zero. */
static bool is_same(const struct device *now, const struct device *old)
{
	unsigned int i;

	for (i = REQUESTS; old && i < COLUMNS; i++)
		if (now->value[i] < old->value[i])
			return false;
	return old;
}

static void print_row(const struct device *now, const struct device *old,
		      unsigned int buckets, double seconds)
{
	unsigned long long diff[COLUMNS], latency[MAX_BUCKETS];
	unsigned int i;

	if (!is_same(now, old))
		old = NULL;
	for (i = 0; i < COLUMNS; i++)
		diff[i] = now->value[i] - (old ? old->value[i] : 0);
	for (i = 0; i < buckets; i++)
		latency[i] = now->latency[i] - (old ? old->latency[i] : 0);
	printf("%-20.20s %-14.14s %9.0f %9.0f %8llu %8llu %8llu %9llu",
	       now->name, now->queue, diff[REQUESTS] / seconds,
	       diff[GROUPS] / seconds, diff[SUCCESS], diff[INVALID],
	       diff[DROPPED], now->value[IN_FLIGHT]);
	print_latency(percentile(latency, buckets, 50));
	print_latency(percentile(latency, buckets, 99));
	putchar('\n');
}

static void print_table(struct snapshot *now, struct snapshot *old)
{
	double seconds = (now->when.tv_sec - old->when.tv_sec) +
			 (now->when.tv_nsec - old->when.tv_nsec) / 1e9;
	unsigned int i;

	printf("%-20s %-14s %9s %9s %8s %8s %8s %9s %7s %7s\n", "DEVICE",
	       "QUEUE", "FAULTS/s", "GROUPS/s", "SUCCESS", "INVALID",
	       "DROPPED", "IN-FLIGHT", "P50<us", "P99<us");
	for (i = 0; i < now->count; i++)
		print_row(&now->devices[i], find(old, now->devices[i].name),
			  now->buckets, seconds);
	if (!now->count)
		printf("(no device is on an I/O page fault queue)\n");
	if (now->left_out)
		printf("(%u more devices are not shown)\n", now->left_out);
	fflush(stdout);
}

static void pause_for(double seconds)
{
	struct timespec ts = {
		.tv_sec = seconds,
		.tv_nsec = (seconds - (long)seconds) * 1e9,
	};

	nanosleep(&ts, NULL);
}

static void print_usage(FILE *f)
{
	fprintf(f,
		"usage: iopf-top [--once] [--interval SECONDS] [--debugfs DIR]\n"
		"Shows I/O page faults by device, per interval.\n"
		"  -1, --once      one table, then exit\n"
		"  -i, --interval  seconds between two looks (default 1)\n"
		"  -d, --debugfs   where debugfs is (default %s)\n", root);
}

static double parse_interval(const char *arg)
{
	char *end;
	double seconds = strtod(arg, &end);

	if (*end || !(seconds >= 0.01 && seconds <= 3600)) {
		fprintf(stderr,
			"iopf-top: --interval %s: not a number of seconds from 0.01 to 3600\n",
			arg);
		exit(2);
	}
	return seconds;
}

int main(int argc, char **argv)
{
	static const struct option options[] = {
		{ "once", no_argument, NULL, '1' },
		{ "interval", required_argument, NULL, 'i' },
		{ "debugfs", required_argument, NULL, 'd' },
		{ "help", no_argument, NULL, 'h' },
		{ }
	};
	static struct snapshot snap[2];
	double interval = 1;
	bool once = false;
	int c, n = 0;

	while ((c = getopt_long(argc, argv, "1i:d:h", options, NULL)) != -1) {
		switch (c) {
		case '1':
			once = true;
			break;
		case 'i':
			interval = parse_interval(optarg);
			break;
		case 'd':
			root = optarg;
			break;
		default:
			print_usage(c == 'h' ? stdout : stderr);
			return c == 'h' ? 0 : 2;
		}
	}
	signal(SIGINT, on_signal);
	signal(SIGTERM, on_signal);
	take(&snap[n]);
	while (!__atomic_load_n(&stop, __ATOMIC_RELAXED)) {
		pause_for(interval);
		n = !n;
		take(&snap[n]);
		if (!once && isatty(STDOUT_FILENO))
			printf("\033[H\033[2J");
		print_table(&snap[n], &snap[!n]);
		if (once)
			break;
	}
	return 0;
}
