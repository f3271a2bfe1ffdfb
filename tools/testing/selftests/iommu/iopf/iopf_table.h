/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * The tables of I/O page faults in debugfs
 */
#ifndef _IOPF_TABLE_H
#define _IOPF_TABLE_H

#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define IOPF_DEVICES	"/sys/kernel/debug/iopf/devices"
#define IOPF_LATENCY	"/sys/kernel/debug/iopf/latency"
#define IOPF_BLANKS	"\n "

/* The row of the first device whose name begins so, its header before. */
static inline bool iopf_read_row(const char *path, const char *device,
				 char *header, char *row, size_t size)
{
	FILE *file = fopen(path, "r");
	bool found = false;

	if (!file)
		return false;
	if (fgets(header, size, file))
		while (!found && fgets(row, size, file))
			found = !strncmp(row, device, strlen(device));
	fclose(file);
	return found;
}

/* A column of a device's row in iopf/devices, or -1. */
static inline long iopf_column(const char *device, const char *wanted)
{
	char header[1024], row[1024], *name, *value, *h, *r;

	if (!iopf_read_row(IOPF_DEVICES, device, header, row, sizeof(row)))
		return -1;
	name = strtok_r(header, IOPF_BLANKS, &h);
	value = strtok_r(row, IOPF_BLANKS, &r);
	while (name && value) {
		if (!strcmp(name, wanted))
			return atol(value);
		name = strtok_r(NULL, IOPF_BLANKS, &h);
		value = strtok_r(NULL, IOPF_BLANKS, &r);
	}
	return -1;
}

#endif /* _IOPF_TABLE_H */
