/* SPDX-License-Identifier: Apache-2.0 */
/* Policy `k8s-drain` with the real kubectl; the API server is a stand-in (kube_api.py). */
#include "policy_support.h"

#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <unistd.h>

#include <cmocka.h>

static struct harness harness;
static char *folder;
static pid_t server;

static void begin(const char *more)
{
    static char config[200]; /* the services keep it */
    char path[200];
    if (system("command -v kubectl >/dev/null") != 0)
        skip();
    folder = folder_make();
    server = fork();
    assert_true(server >= 0);
    if (server == 0) {
        prctl(PR_SET_PDEATHSIG, SIGKILL); /* also when an assertion ends the test */
        execl("/usr/bin/python3", "python3", TEST_SOURCE_FOLDER "/kube_api.py", folder, NULL);
        _exit(127);
    }
    snprintf(path, sizeof path, "%s/config", folder);
    while (access(path, R_OK) != 0 && kill(server, 0) == 0)
        usleep(20000);
    setenv("HOME", folder, 1); /* kubectl's discovery cache */
    snprintf(config, sizeof config, "kubeconfig=%s/config", folder);
    harness_open(&harness, NULL);
    SERVICES(&harness, "k8s-drain", config, more);
    assert_true(harness_start(&harness));
}

static void end(void)
{
    harness_close(&harness);
    kill(server, SIGKILL);
    folder_remove(folder);
}

static bool node_has(const char *text)
{
    return strstr(folder_read(folder, "node.json"), text) != NULL;
}

#define CORDONED  "\"unschedulable\": true"
#define ANNOTATED "\"fleetflash.cordoned-by\": \"run-1\""

static void test_back_out(void **state)
{
    (void)state;
    begin("timeout=30s");
    assert_int_equal(harness_stop(&harness), FF_VERDICT_GO);
    assert_true(node_has(CORDONED));
    assert_true(node_has(ANNOTATED));
    assert_non_null(strstr(folder_read(folder, "requests"), "/pods/web/eviction"));
    assert_int_equal(harness_undo(&harness), FF_VERDICT_GO);
    assert_false(node_has(CORDONED));
    assert_false(node_has("cordoned-by"));
    end();
}

/* The node gets its work back once it is Ready; also from a controller that did not stop it. */
static void test_returned(void **state)
{
    (void)state;
    begin("timeout=1m");
    assert_int_equal(harness_stop(&harness), FF_VERDICT_GO);
    policy_run_free(harness.run);
    assert_true(harness_start(&harness));
    folder_write(folder, "ready", "");
    assert_int_equal(harness_returned(&harness), FF_VERDICT_GO);
    assert_false(node_has(CORDONED));
    assert_false(node_has("cordoned-by"));
    end();
}

static void test_not_ready(void **state)
{
    (void)state;
    begin("timeout=4s");
    assert_int_equal(harness_stop(&harness), FF_VERDICT_GO);
    assert_int_equal(harness_returned(&harness), FF_VERDICT_FAIL);
    assert_string_equal(harness.reason, "node pi-07 is not Ready after 4 s, and stays cordoned");
    assert_true(node_has(CORDONED));
    end();
}

/* A node that somebody else has cordoned stays so. */
static void test_others(void **state)
{
    (void)state;
    begin("timeout=30s");
    char command[300];
    snprintf(command, sizeof command, "kubectl --kubeconfig %s/config cordon pi-07 >/dev/null",
             folder);
    assert_int_equal(system(command), 0);
    assert_int_equal(harness_stop(&harness), FF_VERDICT_GO);
    assert_int_equal(harness_log_count(&harness, "cordoned by somebody else"), 1);
    folder_write(folder, "ready", "");
    assert_int_equal(harness_returned(&harness), FF_VERDICT_GO);
    assert_true(node_has(CORDONED));
    end();
}

/* A pod that may not go: the node is not flashed, and gets its work back. */
static void test_protected(void **state)
{
    (void)state;
    begin("timeout=3s");
    folder_write(folder, "protected", "");
    assert_int_equal(harness_stop(&harness), FF_VERDICT_FAIL);
    assert_non_null(strstr(harness.reason, "kubectl drain failed"));
    assert_int_equal(harness_undo(&harness), FF_VERDICT_GO);
    assert_false(node_has(CORDONED));
    end();
}

static void test_no_server(void **state)
{
    (void)state;
    begin("timeout=3s");
    kill(server, SIGKILL);
    assert_int_equal(harness_stop(&harness), FF_VERDICT_FAIL);
    assert_non_null(strstr(harness.reason, "kubectl get node failed"));
    end();
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_back_out),  cmocka_unit_test(test_returned),
        cmocka_unit_test(test_not_ready), cmocka_unit_test(test_others),
        cmocka_unit_test(test_protected), cmocka_unit_test(test_no_server),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
