/* SPDX-License-Identifier: Apache-2.0 */
/* Policy `k8s-drain`: the device is a Kubernetes node. Its pods are moved away by the kubectl of
 * the controller (cordon, drain), and the scheduler gets it back when it is flashed or backed out.
 *
 * | call     | does                                                                              |
 * |----------|-----------------------------------------------------------------------------------|
 * | stop     | get node; when it can be scheduled to: annotate it with the run, cordon; drain    |
 * | undo     | get node; when the annotation is ours: uncordon, remove the annotation            |
 * | returned | the same, once the new kubelet says Ready                                         |
 *
 * The annotation says who cordoned it: a node that its admin has cordoned stays so, and it is found
 * again by a controller that goes on with the run of one that was killed. */
#include "../common/finish.h"

#include <fleetflash/policy.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define ANNOTATION     "fleetflash.cordoned-by"
#define CALL_MS        30000u
#define TIMEOUT_MS     300000u
#define TIMEOUT_MAX_MS 3000000u
#define POLL_MS        3000u
#define WORDS_MAX      24

enum call { CALL_STOP, CALL_UNDO, CALL_RETURNED };

struct work {
    enum call call;
    const char *node;
    uint64_t timeout_ms;
    unsigned polls_left; /* for Ready */
    bool cordoned;       /* by us */
};

/* kubectl with the parameters that belong to each call, then the given words. 0 or -1. */
static int kubectl(const struct ff_host *host, struct ff_target *target, unsigned timeout_ms,
                   ff_command_callback callback, const char *const *words)
{
    const char *argv[WORDS_MAX + 8] = {"kubectl"};
    size_t count = 1;
    const char *config = host->parameter(target, "kubeconfig", 0);
    const char *context = host->parameter(target, "context", 0);
    if (config != NULL) {
        argv[count++] = "--kubeconfig";
        argv[count++] = config;
    }
    if (context != NULL) {
        argv[count++] = "--context";
        argv[count++] = context;
    }
    for (size_t i = 0; words[i] != NULL && i < WORDS_MAX; i++)
        argv[count++] = words[i];
    return host->run_local(target, argv, NULL, timeout_ms, callback, NULL);
}

#define KUBECTL(host, target, timeout, callback, ...)                                              \
    do {                                                                                           \
        if (kubectl(host, target, timeout, callback, (const char *const[]){__VA_ARGS__, NULL}) !=  \
            0)                                                                                     \
            finish_no_memory(host, target);                                                        \
    } while (0)

/* --- the node --------------------------------------------------------------------------------- */

struct node {
    bool unschedulable, ready;
    char cordoned_by[120];
};

/* Three lines, each perhaps empty: see node_ask. */
static bool node_read(const char *text, struct node *node)
{
    const char *by = strchr(text, '\n');
    const char *ready = by == NULL ? NULL : strchr(by + 1, '\n');
    memset(node, 0, sizeof *node);
    if (ready == NULL)
        return false;
    node->unschedulable = strncmp(text, "true\n", 5) == 0;
    snprintf(node->cordoned_by, sizeof node->cordoned_by, "%.*s", (int)(ready - by - 1), by + 1);
    node->ready = strncmp(ready + 1, "True", 4) == 0;
    return true;
}

static void node_ask(const struct ff_host *host, struct ff_target *target,
                     ff_command_callback callback)
{
    const struct work *work = target->policy_data;
    KUBECTL(
        host, target, CALL_MS, callback, "get", "node", work->node, "-o",
        "jsonpath={.spec.unschedulable}{\"\\n\"}{.metadata.annotations.fleetflash\\.cordoned-by}"
        "{\"\\n\"}{.status.conditions[?(@.type==\"Ready\")].status}");
}

/* False with the verdict given. */
static bool node_answer(const struct ff_host *host, struct ff_target *target,
                        const struct ff_result *result, struct node *node)
{
    if (result->exit_status != 0) {
        finish_failed(host, target, "kubectl get node", result);
        return false;
    }
    if (!node_read(result->out, node)) {
        host->finish(target, FF_VERDICT_FAIL, "kubectl's answer about the node is not understood");
        return false;
    }
    return true;
}

/* --- stop ------------------------------------------------------------------------------------- */

static void drained_callback(const struct ff_host *host, struct ff_target *target,
                             const struct ff_result *result, void *data)
{
    (void)data;
    if (result->exit_status == 0)
        host->finish(target, FF_VERDICT_GO, NULL);
    else
        finish_failed(host, target, "kubectl drain", result);
}

static void drain(const struct ff_host *host, struct ff_target *target)
{
    const struct work *work = target->policy_data;
    char timeout[40];
    bool force = host->number(target, "force", 0) != 0;
    snprintf(timeout, sizeof timeout, "--timeout=%llus",
             (unsigned long long)(work->timeout_ms / 1000));
    host->log(target, "draining node %s", work->node);
    KUBECTL(host, target, (unsigned)work->timeout_ms + CALL_MS, drained_callback, "drain",
            work->node, "--ignore-daemonsets", "--delete-emptydir-data", timeout,
            force ? "--force" : NULL);
}

static void cordoned_callback(const struct ff_host *host, struct ff_target *target,
                              const struct ff_result *result, void *data)
{
    (void)data;
    if (result->exit_status == 0)
        drain(host, target);
    else
        finish_failed(host, target, "kubectl cordon", result);
}

static void annotated_callback(const struct ff_host *host, struct ff_target *target,
                               const struct ff_result *result, void *data)
{
    const struct work *work = target->policy_data;
    (void)data;
    if (result->exit_status == 0)
        KUBECTL(host, target, CALL_MS, cordoned_callback, "cordon", work->node);
    else
        finish_failed(host, target, "kubectl annotate", result);
}

static void stop_node_callback(const struct ff_host *host, struct ff_target *target,
                               const struct ff_result *result, void *data)
{
    struct work *work = target->policy_data;
    struct node node;
    char annotation[200];
    (void)data;
    if (!node_answer(host, target, result, &node))
        return;
    if (node.unschedulable) {
        if (node.cordoned_by[0] == '\0')
            host->log(target, "node %s was cordoned by somebody else and stays so", work->node);
        work->cordoned = node.cordoned_by[0] != '\0';
        drain(host, target);
        return;
    }
    work->cordoned = true;
    snprintf(annotation, sizeof annotation, ANNOTATION "=%s", target->run_id);
    KUBECTL(host, target, CALL_MS, annotated_callback, "annotate", "--overwrite", "node",
            work->node, annotation);
}

static struct work *work_begin(const struct ff_host *host, struct ff_target *target, enum call call)
{
    struct work *work = target->policy_data;
    if (work == NULL)
        work = target->policy_data = calloc(1, sizeof *work);
    if (work == NULL) {
        finish_no_memory(host, target);
        return NULL;
    }
    const char *node = host->parameter(target, "node", 0);
    work->call = call;
    work->node = node != NULL ? node : target->name;
    work->timeout_ms = host->number(target, "timeout", TIMEOUT_MS);
    host->deadline(target, (unsigned)work->timeout_ms + 5 * CALL_MS);
    return work;
}

static void drain_stop(const struct ff_host *host, struct ff_target *target)
{
    if (work_begin(host, target, CALL_STOP) != NULL)
        node_ask(host, target, stop_node_callback);
}

/* --- undo, and the way back to work ----------------------------------------------------------- */

static void back_node_callback(const struct ff_host *host, struct ff_target *target,
                               const struct ff_result *result, void *data);

static void unannotated_callback(const struct ff_host *host, struct ff_target *target,
                                 const struct ff_result *result, void *data)
{
    (void)data;
    if (result->exit_status == 0)
        host->finish(target, FF_VERDICT_GO, NULL);
    else
        finish_failed(host, target, "kubectl annotate", result);
}

static void uncordoned_callback(const struct ff_host *host, struct ff_target *target,
                                const struct ff_result *result, void *data)
{
    const struct work *work = target->policy_data;
    (void)data;
    if (result->exit_status == 0)
        KUBECTL(host, target, CALL_MS, unannotated_callback, "annotate", "node", work->node,
                ANNOTATION "-");
    else
        finish_failed(host, target, "kubectl uncordon", result);
}

static void poll_callback(const struct ff_host *host, struct ff_target *target, void *data)
{
    (void)data;
    node_ask(host, target, back_node_callback);
}

static void back_node_callback(const struct ff_host *host, struct ff_target *target,
                               const struct ff_result *result, void *data)
{
    struct work *work = target->policy_data;
    struct node node;
    char reason[300];
    (void)data;
    if (!node_answer(host, target, result, &node))
        return;
    if (node.cordoned_by[0] == '\0') { /* not ours, or uncordoned by somebody meanwhile */
        host->finish(target, FF_VERDICT_GO, NULL);
        return;
    }
    if (work->call == CALL_RETURNED && !node.ready) {
        if (work->polls_left-- > 0) {
            if (host->after(target, POLL_MS, poll_callback, NULL) != 0)
                finish_no_memory(host, target);
            return;
        }
        snprintf(reason, sizeof reason, "node %.100s is not Ready after %llu s, and stays cordoned",
                 work->node, (unsigned long long)(work->timeout_ms / 1000));
        host->finish(target, FF_VERDICT_FAIL, reason);
        return;
    }
    host->log(target, "uncordoning node %s", work->node);
    KUBECTL(host, target, CALL_MS, uncordoned_callback, "uncordon", work->node);
}

static void drain_undo(const struct ff_host *host, struct ff_target *target)
{
    const struct work *work = target->policy_data;
    if (work == NULL || !work->cordoned)
        host->finish(target, FF_VERDICT_GO, NULL);
    else if (work_begin(host, target, CALL_UNDO) != NULL)
        node_ask(host, target, back_node_callback);
}

static void drain_returned(const struct ff_host *host, struct ff_target *target)
{
    struct work *work = work_begin(host, target, CALL_RETURNED);
    if (work == NULL)
        return;
    work->polls_left = (unsigned)(work->timeout_ms / POLL_MS);
    node_ask(host, target, back_node_callback);
}

static void drain_end(const struct ff_host *host, struct ff_target *target)
{
    (void)host;
    free(target->policy_data);
}

/* --- the policy ------------------------------------------------------------------------------- */

static bool is_node_name(const char *name)
{
    size_t length = strlen(name);
    return length > 0 && length < 254 && name[0] != '-' &&
           name[strspn(name, "abcdefghijklmnopqrstuvwxyz0123456789.-")] == '\0';
}

static void drain_check(const struct ff_host *host, struct ff_target *target)
{
    const char *node = host->parameter(target, "node", 0);
    const char *name = node != NULL ? node : target->name;
    if (!is_node_name(name))
        host->mistake(target, node != NULL ? "node" : NULL, "'%.60s' is no name of a node", name);
    if (host->number(target, "timeout", 0) > TIMEOUT_MAX_MS)
        host->mistake(target, "timeout", "'timeout' can be 50m at most");
}

static const struct ff_parameter parameters[] = {
    {.key = "node", .help = "the node's name; default the target's"},
    {.key = "timeout",
     .help = "how long draining, and later becoming Ready, may take; default 5m",
     .type = FF_TYPE_DURATION},
    {.key = "force",
     .help = "also delete pods that nothing makes anew; default no",
     .type = FF_TYPE_BOOL},
    {.key = "kubeconfig", .help = "file for kubectl; default its own"},
    {.key = "context", .help = "context for kubectl; default its current one"},
    {.key = NULL},
};

static const struct ff_policy policy = {
    FF_POLICY_HEADER,
    .name = "k8s-drain",
    .longname = "Kubernetes",
    .description = "cordons and drains the node with the controller's kubectl, uncordons it later",
    .parameters = parameters,
    .check = drain_check,
    .stop = drain_stop,
    .undo = drain_undo,
    .end = drain_end,
    .returned = drain_returned,
};
FF_REGISTER_POLICY(policy)
