/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * How long a test waits for what must come. The harness in vm/ says in SLOWNESS
 * how many times longer than usual things take, where that is not once.
 */
#ifndef _PATIENCE_H
#define _PATIENCE_H

#include <stdlib.h>

static inline int patience(int time)
{
	const char *slowness = getenv("SLOWNESS");
	int times = slowness ? atoi(slowness) : 1;

	return times > 1 ? time * times : time;
}

#endif
