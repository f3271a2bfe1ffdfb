// SPDX-License-Identifier: GPL-2.0-only
/*
 * What I/O page faults cost, for the harness in vm/.
 *
 *	iopf_bench measure WORK...	work that the kernel's iopf-bench knows
 *	iopf_bench own PAGES		a CPU's own faults, one by one
 *	iopf_bench behind COUNT		single faults, and the CPU's own, while
 *					a thread changes the protection of
 *					256 MiB
 *	iopf_bench record WORK...	the host records instructions meanwhile
 *
 * Each cost is printed as "# bench work=... NAME=NANOSECONDS".
 */
#include <fcntl.h>
#include <pthread.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <time.h>
#include <unistd.h>

#include "../../kselftest.h"

#define BENCH	"/sys/kernel/debug/iopf-bench"
#define HOST	"/dev/vm/host"
#define REGION	(256UL << 20)

static size_t page;
static bool stop;

static long long now_ns(void)
{
	struct timespec time;

	clock_gettime(CLOCK_MONOTONIC, &time);
	return time.tv_sec * 1000000000LL + time.tv_nsec;
}

/* Prints what work cost, its spaces as commas; false if it failed. */
static bool measure(const char *work)
{
	char text[256], name[64], *space;
	int fd = open(BENCH, O_RDWR);
	ssize_t got = -1;

	if (fd < 0 || write(fd, work, strlen(work)) < 0)
		perror("# " BENCH);
	else
		got = read(fd, text, sizeof(text) - 1);
	if (fd >= 0)
		close(fd);
	if (got <= 0)
		return false;
	text[got] = '\0';
	snprintf(name, sizeof(name), "%s", work);
	while ((space = strchr(name, ' ')))
		*space = ',';
	printf("# bench work=%s %s", name, text);
	return true;
}

/* Asks the harness for something; true if it did it. */
static bool ask_host(const char *what)
{
	char reply[64];
	int fd = open(HOST, O_RDWR);
	ssize_t got = -1;

	if (fd < 0)
		return false;
	if (dprintf(fd, "%s\n", what) > 0)
		got = read(fd, reply, sizeof(reply));
	close(fd);
	return got >= 2 && !strncmp(reply, "ok", 2);
}

static bool record(const char *work)
{
	bool done;

	if (!ask_host("instructions on"))
		return false;
	done = measure(work);
	return ask_host("instructions off") && done;
}

static char *map(size_t len, int prot)
{
	void *p = mmap(NULL, len, prot, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

	return p == MAP_FAILED ? NULL : p;
}

static void touch(char *addr)
{
	__atomic_store_n(addr, 1, __ATOMIC_RELAXED);
}

static bool touch_pages(int pages)
{
	char *p = map(pages * page, PROT_READ | PROT_WRITE);
	long long start;
	int i;

	if (!p)
		return false;
	start = now_ns();
	for (i = 0; i < pages; i++)
		touch(p + i * page);
	printf("# bench work=own,%d page=%lld\n", pages,
	       (now_ns() - start) / pages);
	munmap(p, pages * page);
	return true;
}

static void *change_protection(void *region)
{
	while (!__atomic_load_n(&stop, __ATOMIC_RELAXED)) {
		mprotect(region, REGION, PROT_READ);
		mprotect(region, REGION, PROT_READ | PROT_WRITE);
	}
	return NULL;
}

static int compare(const void *a, const void *b)
{
	long long x = *(const long long *)a, y = *(const long long *)b;

	return x < y ? -1 : x > y;
}

static void touch_singly(int count)
{
	char *p = map(count * page, PROT_READ | PROT_WRITE);
	long long *samples = calloc(count, sizeof(*samples)), start;
	int i;

	for (i = 0; p && samples && i < count; i++) {
		usleep(8000);
		start = now_ns();
		touch(p + i * page);
		samples[i] = now_ns() - start;
	}
	if (p && samples) {
		qsort(samples, count, sizeof(*samples), compare);
		printf("# bench work=own,behind p50=%lld p99=%lld max=%lld\n",
		       samples[count / 2], samples[count * 99 / 100],
		       samples[count - 1]);
	}
	free(samples);
	munmap(p, count * page);
}

/* The region has neighbours that no other mapping is merged with. */
static bool behind(int count)
{
	char *fence = map(REGION + 2 * page, PROT_NONE), *region, work[32];
	pthread_t thread;
	bool done;

	if (!fence)
		return false;
	region = fence + page;
	if (mprotect(region, REGION, PROT_READ | PROT_WRITE))
		return false;
	memset(region, 1, REGION);
	if (pthread_create(&thread, NULL, change_protection, region))
		return false;
	snprintf(work, sizeof(work), "single %d", count);
	done = measure(work);
	touch_singly(count);
	__atomic_store_n(&stop, true, __ATOMIC_RELAXED);
	pthread_join(thread, NULL);
	return done;
}

static bool run(const char *what, const char *rest)
{
	if (!strcmp(what, "measure"))
		return measure(rest);
	if (!strcmp(what, "record"))
		return record(rest);
	if (!strcmp(what, "own"))
		return touch_pages(atoi(rest));
	if (!strcmp(what, "behind"))
		return behind(atoi(rest));
	return false;
}

int main(int argc, char **argv)
{
	char rest[64] = "";
	int i;

	page = sysconf(_SC_PAGESIZE);
	for (i = 2; i < argc; i++)
		snprintf(rest + strlen(rest), sizeof(rest) - strlen(rest),
			 "%s%s", i > 2 ? " " : "", argv[i]);
	ksft_print_header();
	ksft_set_plan(1);
	ksft_test_result(argc > 2 && run(argv[1], rest), "bench\n");
	ksft_finished();
}
