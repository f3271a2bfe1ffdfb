// SPDX-License-Identifier: GPL-2.0-only
/*
 * testdev_show: copy through the endpoint by each way that it has, and say
 * what that took; vm/faults.py makes a table of it.
 *
 * Much is copied into fresh memory, eight pages at a time. Then single pages
 * are filled one after another: from the write to the endpoint's register to
 * the status in the descriptor is the latency of a fault.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <time.h>
#include <unistd.h>

#include "testdev.h"
#include "../../kselftest.h"

#define VOLUME		(64 * MB)
#define SINGLES		1000

struct way {
	const char *name;
	uint32_t mode;
	bool waits;		/* for pages that are not there */
};

static const struct way ways[] = {
	{ "stall", IOPF_MODE_STALL, true },
	{ "ATS", IOPF_MODE_ATS, false },
	{ "ATS and PRI", IOPF_MODE_PRI, true },
};

struct figures {
	uint64_t pages, faults, groups, responses, refused;
	double seconds;		/* of the volume */
	double p50, p99;	/* microseconds, of single pages */
};

static double now(void)
{
	struct timespec time;

	clock_gettime(CLOCK_MONOTONIC, &time);
	return time.tv_sec + time.tv_nsec / 1e9;
}

/* What is answered together: a stall by itself, page requests as a group */
static uint64_t groups(void)
{
	return counter(IOPF_CNT_STALLS) + counter(IOPF_CNT_GROUPS);
}

static uint64_t responses(void)
{
	return counter(IOPF_CNT_RETRIES) + counter(IOPF_CNT_RESP_SUCCESS);
}

static uint64_t refused(void)
{
	return counter(IOPF_CNT_STALL_ABORTS) + counter(IOPF_CNT_ABORTS) +
	       counter(IOPF_CNT_RESP_INVALID) + counter(IOPF_CNT_RESP_FAILURE);
}

/* Copy a MiB into memory that has no page yet, or has if nobody waits. */
static const char *copy_one(struct queue *q, const struct way *way,
			    unsigned char *src, struct figures *out)
{
	unsigned char *dst = fresh(MB);
	const char *wrong = NULL;
	double start;

	if (dst == MAP_FAILED)
		return "no memory";
	if (!way->waits)
		memset(dst, 0xff, MB);
	start = now();
	if (run(q, IOPF_OP_COPY, src, dst, MB, 0) != IOPF_DESC_OK)
		wrong = "a copy failed";
	out->seconds += now() - start;
	if (!wrong && memcmp(src, dst, MB))
		wrong = "the data is wrong";
	munmap(dst, MB);

	return wrong;
}

static const char *copy_volume(struct queue *q, const struct way *way,
			       struct figures *out)
{
	unsigned char *src = fresh(MB);
	const char *wrong = NULL;
	unsigned int i;

	for (i = 0; i < VOLUME / MB && !wrong; i++) {
		fill(src, MB, i);
		wrong = copy_one(q, way, src, out);
	}
	munmap(src, MB);
	out->pages += VOLUME / page;

	return wrong;
}

static int compare(const void *a, const void *b)
{
	double x = *(const double *)a, y = *(const double *)b;

	return (x > y) - (x < y);
}

/* The status is polled without a pause: its writer is what is measured. */
static const char *time_singles(struct queue *q, struct figures *out)
{
	unsigned char *dst = fresh(SINGLES * page);
	static double took[SINGLES];
	struct iopf_desc *desc;
	const char *wrong = NULL;
	int i;

	if (dst == MAP_FAILED)
		return "no memory";
	for (i = 0; i < SINGLES && !wrong; i++) {
		took[i] = now();
		desc = submit(q, IOPF_OP_FILL, NULL, dst + i * page, 8, i);
		while (!__atomic_load_n(&desc->status, __ATOMIC_ACQUIRE) &&
		       now() - took[i] < 10)
			;
		took[i] = now() - took[i];
		if (desc->status != IOPF_DESC_OK)
			wrong = "a fill failed";
	}
	munmap(dst, SINGLES * page);
	out->pages += SINGLES;
	qsort(took, SINGLES, sizeof(*took), compare);
	out->p50 = took[SINGLES / 2] * 1e6;
	out->p99 = took[SINGLES * 99 / 100] * 1e6;

	return wrong;
}

static void print_row(const struct way *way, const struct figures *out)
{
	printf("# row mode=%u mib=%lu pages=%lu", way->mode, VOLUME / MB,
	       out->pages);
	printf(" faults=%lu groups=%lu responses=%lu", out->faults,
	       out->groups, out->responses);
	printf(" seconds=%.2f p50=%.0f p99=%.0f\n", out->seconds, out->p50,
	       out->p99);
}

/* What the endpoint counted must be a fault a page, and a response a group. */
static const char *check_counters(const struct way *way,
				  const struct figures *out)
{
	uint64_t wanted = way->waits ? out->pages : 0;

	if (out->faults != wanted)
		return "not one fault a page";
	if (out->responses != out->groups)
		return "not one response a group";
	if (out->refused)
		return "something was refused";

	return NULL;
}

static const char *show(const struct way *way)
{
	uint64_t faults = waits(), answered = responses(), denied = refused();
	uint64_t sent = groups();
	struct figures out = { 0 };
	const char *wrong;
	struct queue q;

	if (set_mode(way->mode) || queue_open(&q))
		return "no queue";
	/* the ring's own page is not what is counted */
	if (run(&q, IOPF_OP_NOP, NULL, NULL, 0, 0) != IOPF_DESC_OK)
		return "the queue does not work";
	wrong = copy_volume(&q, way, &out);
	if (!wrong && way->waits)
		wrong = time_singles(&q, &out);
	out.faults = waits() - faults;
	out.groups = groups() - sent;
	out.responses = responses() - answered;
	out.refused = refused() - denied;
	queue_close(&q);
	print_row(way, &out);

	return wrong ? wrong : check_counters(way, &out);
}

int main(void)
{
	unsigned int i, nr = 0;

	ksft_print_header();
	if (map_bar() || access("/dev/iopf-testdev-0", F_OK))
		ksft_exit_skip("no iopf-testdev\n");
	for (i = 0; i < ARRAY_SIZE(ways); i++)
		nr += has_mode(ways[i].mode);
	ksft_set_plan(nr);
	for (i = 0; i < ARRAY_SIZE(ways); i++) {
		const char *wrong;

		if (!has_mode(ways[i].mode))
			continue;
		wrong = show(&ways[i]);
		if (wrong)
			ksft_test_result_fail("%s # %s\n", ways[i].name, wrong);
		else
			ksft_test_result_pass("%s\n", ways[i].name);
	}
	ksft_finished();
}
