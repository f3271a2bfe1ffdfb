/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * SMMUv3 substreams, stalls, ATS and PRI, and the endpoint iopf-testdev: the
 * tests are in the rooms of iopf-testdev/, see lib.h there.
 */

#include "qemu/osdep.h"
#include "iopf-testdev/lib.h"

static const IopfTest *const rooms[] = {
    iopf_tests_properties,
    iopf_tests_substream,
    iopf_tests_stall,
    iopf_tests_ats,
    iopf_tests_pri,
    iopf_tests_endpoint,
    iopf_tests_error,
    iopf_tests_vf,
    iopf_tests_migration,
    iopf_tests_fuzz,
};

int main(int argc, char **argv)
{
    const IopfTest *test;
    int i;

    g_test_init(&argc, &argv, NULL);
    for (i = 0; i < ARRAY_SIZE(rooms); i++) {
        for (test = rooms[i]; test->name; test++) {
            qtest_add_func(test->name, test->fn);
        }
    }
    return g_test_run();
}
