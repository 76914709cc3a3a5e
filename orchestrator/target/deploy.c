/* SPDX-License-Identifier: Apache-2.0 */
#include "target/deploy.h"

#include "base/buffer.h"
#include "target/agent_files.h"
#include "target/shell.h"
#include "target/target.h"

#include <sodium.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* Each step is one command on the device; the caller's timer bounds the whole. */
#define STEP_TIMEOUT   (120u * 1000u)
#define REMOVE_TIMEOUT (10u * 1000u)

/* What the shell tells of itself. The folder is looked for on the usual tmpfs mounts; each is tried
 * for real (room, and a program that runs), because noexec, quotas and full file systems show only
 * then. With root rights a tmpfs of our own is the last resort. */
static const char survey_script[] =
    "umask 077\n"
    "name=fleetflash-$RUN\n"
    "uid=$(id -u)\n"
    "echo machine=$(uname -m)\n"
    "echo uid=$uid\n"
    "echo boot_id=$(cat /proc/sys/kernel/random/boot_id)\n"
    "root=none\n"
    "if [ \"$uid\" = 0 ]; then root=direct\n"
    "elif [ \"$BECOME\" = sudo ]; then\n"
    "  if why=$(sudo -n true 2>&1); then root=sudo; else echo \"sudo_error=$(echo \"$why\" | tail "
    "-n 1)\"; fi\n"
    "fi\n"
    "echo root=$root\n"
    /* An empty file, packed. */
    "printf '\\37\\213\\10\\0\\0\\0\\0\\0\\0\\3\\3\\0\\0\\0\\0\\0\\0\\0\\0\\0' |\n"
    "  gunzip -c >/dev/null 2>&1 && echo unpack=yes\n"
    "try() {\n"
    "  dd if=/dev/zero of=\"$1/agent\" bs=65536 count=40 2>/dev/null || return 1\n"
    "  printf '#!/bin/sh\\nexit 0\\n' >\"$1/try\" && chmod 700 \"$1/try\" && \"$1/try\" "
    "2>/dev/null || return 1\n"
    "  rm -f \"$1/agent\" \"$1/try\"\n"
    "}\n"
    "for d in /dev/shm /run/user/$uid /run /tmp /var/volatile /mnt; do\n"
    "  grep -q \"^[^ ]* $d \\(tmpfs\\|ramfs\\) \" /proc/mounts || continue\n"
    "  mkdir \"$d/$name\" 2>/dev/null || continue\n"
    "  if try \"$d/$name\"; then echo directory=$d/$name; exit 0; fi\n"
    "  rm -rf \"$d/$name\"\n"
    "done\n"
    "sudo=; [ $root = sudo ] && sudo='sudo -n'\n"
    "d=/run; [ -d $d ] || d=/dev/shm; [ -d $d ] || d=/tmp\n"
    "if [ $root != none ] && $sudo mkdir \"$d/$name\" 2>/dev/null &&\n"
    "    $sudo mount -t tmpfs -o exec,mode=700,uid=$uid,size=8m fleetflash \"$d/$name\" "
    "2>/dev/null &&\n"
    "    try \"$d/$name\"; then echo directory=$d/$name; exit 0; fi\n"
    "$sudo umount \"$d/$name\" 2>/dev/null\n"
    "$sudo rmdir \"$d/$name\" 2>/dev/null\n"
    "echo directory=\n";

struct deploy {
    struct link *link;
    const struct deploy_config *config;
    deploy_callback callback;
    void *arg;
    struct link_run *run; /* the step under way */
    bool starting, stopped;
    bool unpacks; /* the device has a gunzip that works */
    const struct agent_file *file;
    struct deploy_result result;
    struct error error; /* while the folder is removed after a failure */
};

void deploy_cancel(struct deploy *deploy)
{
    if (deploy == NULL)
        return;
    if (deploy->run != NULL)
        link_run_cancel(deploy->run);
    free(deploy);
}

const char *deploy_remove_command(const struct deploy_result *result, char out[DEPLOY_REMOVE_SIZE])
{
    snprintf(out, DEPLOY_REMOVE_SIZE, "%ssh -c 'umount %s 2>/dev/null; rm -rf %s'",
             result->is_root ? "" : "sudo -n ", result->directory, result->directory);
    return out;
}

static void deploy_tell(struct deploy *deploy, const struct error *err)
{
    deploy_callback callback = deploy->callback;
    void *arg = deploy->arg;
    struct deploy_result result = deploy->result;
    free(deploy);
    callback(err == NULL ? &result : NULL, err, arg);
}

static void removed_callback(const struct link_run_result *result, void *arg)
{
    (void)result;
    struct deploy *deploy = arg;
    deploy->run = NULL;
    struct error err = deploy->error;
    deploy_tell(deploy, &err);
}

/* Ends; after a failure nothing of ours stays on the device. */
static void deploy_end(struct deploy *deploy, const struct error *err)
{
    char command[DEPLOY_REMOVE_SIZE];
    if (err == NULL || deploy->result.directory[0] == '\0' || error_is_transient(err)) {
        deploy_tell(deploy, err);
        return;
    }
    deploy->error = *err;
    deploy->run = link_run_command(deploy->link, deploy_remove_command(&deploy->result, command),
                                   NULL, REMOVE_TIMEOUT, removed_callback, deploy);
    if (deploy->run == NULL)
        deploy_tell(deploy, &deploy->error);
}

static void deploy_end_stopped(struct deploy *deploy)
{
    struct error err;
    error_set(&err, ERROR_CANCELLED, "stopped before the agent was started");
    deploy_end(deploy, &err);
}

void deploy_stop(struct deploy *deploy)
{
    deploy->stopped = true;
    if (deploy->starting || deploy->result.directory[0] == '\0' || deploy->error.cls != ERROR_NONE)
        return;                   /* it tells soon: of the agent, of the survey, of the removal */
    link_run_cancel(deploy->run); /* the upload, which may take long */
    deploy->run = NULL;
    deploy_end_stopped(deploy);
}

/* The step's command could not even run, or ended badly. */
static void deploy_fail(struct deploy *deploy, const struct link_run_result *result,
                        const char *what)
{
    struct error err;
    if (result->err != NULL) {
        err = *result->err;
    } else {
        char line[200];
        snprintf(line, sizeof line, "%.*s", (int)strcspn(result->err_text, "\n"), result->err_text);
        error_set(&err, ERROR_IO, "%s (status %d)%s%s", what, result->exit_status,
                  line[0] != '\0' ? ": " : "", line);
    }
    deploy_end(deploy, &err);
}

static void deploy_step(struct deploy *deploy, const char *command, struct buffer *input,
                        link_run_callback callback)
{
    deploy->run = link_run_command(deploy->link, command, input, STEP_TIMEOUT, callback, deploy);
}

/* --- start --------------------------------------------------------------------------- */

static void start_callback(const struct link_run_result *result, void *arg)
{
    struct deploy *deploy = arg;
    deploy->run = NULL;
    struct error err;
    long pid = 0;
    if (result->err == NULL && result->exit_status == 4 &&
        strstr(result->err_text, deploy->config->run_id) != NULL) {
        /* An earlier try of this very run has started it; HELLO will tell its port. */
        deploy_end(deploy, NULL);
    } else if (result->err == NULL && result->exit_status == 4) {
        error_set(&err, ERROR_BUSY, "%.*s", (int)strcspn(result->err_text, "\n"), result->err_text);
        error_remedy(&err, "wait until that run has ended, or stop it");
        deploy_end(deploy, &err);
    } else if (result->err != NULL || result->exit_status != 0) {
        deploy_fail(deploy, result, "the agent did not start");
    } else if (sscanf(result->out, "ready %ld %u", &pid, &deploy->result.port) != 2) {
        deploy_fail(deploy, result, "the agent did not say that it is ready");
    } else {
        deploy_end(deploy, NULL);
    }
}

static void deploy_start_agent(struct deploy *deploy)
{
    char key[2 * PROTOCOL_KEY_SIZE + 1];
    sodium_bin2hex(key, sizeof key, deploy->config->key, PROTOCOL_KEY_SIZE);
    char text[800];
    int size = snprintf(text, sizeof text,
                        "run_id %s\nkey %s\nuid %u\ncontroller %s\nport 0\ndirectory %s\n",
                        deploy->config->run_id, key, deploy->result.uid, deploy->config->controller,
                        deploy->result.directory);
    char command[320];
    snprintf(command, sizeof command, "%s%s/agent start", deploy->result.is_root ? "" : "sudo -n ",
             deploy->result.directory);
    struct buffer *input = buffer_copy(text, (size_t)size);
    sodium_memzero(text, sizeof text);
    sodium_memzero(key, sizeof key);
    deploy->starting = true;
    deploy_step(deploy, command, input, start_callback);
    buffer_unref(input);
}

/* --- upload -------------------------------------------------------------------------- */

static void upload_callback(const struct link_run_result *result, void *arg)
{
    struct deploy *deploy = arg;
    deploy->run = NULL;
    if (result->err != NULL) {
        deploy_fail(deploy, result, "the agent could not be uploaded");
        return;
    }
    struct error err;
    if (strstr(result->out, deploy->file->sha256) == NULL) {
        error_set(&err, ERROR_NETWORK, "the uploaded agent is not what was sent (%s)",
                  result->err_text[0] != '\0' ? result->err_text : "another hash");
        deploy_end(deploy, &err);
    } else if (strstr(result->out, "fleetflash-agent ") == NULL) {
        error_set(&err, ERROR_REFUSED, "the %s agent does not run on this device (%s): %.*s",
                  deploy->file->arch, deploy->result.machine, (int)strcspn(result->err_text, "\n"),
                  result->err_text);
        deploy_end(deploy, &err);
    } else {
        deploy_start_agent(deploy);
    }
}

static void deploy_upload(struct deploy *deploy)
{
    char command[512];
    bool packed = deploy->unpacks && deploy->file->packed != NULL;
    struct buffer *content = packed ? deploy->file->packed : deploy->file->content;
    /* A device without sha256sum lets the agent hash itself: that finds a spoilt upload too. */
    snprintf(command, sizeof command,
             "cd %s && %s >agent && chmod 700 agent && { sha256sum agent 2>/dev/null || busybox "
             "sha256sum agent 2>/dev/null; }; ./agent selftest",
             deploy->result.directory, packed ? "gunzip -c" : "cat");
    deploy->result.uploaded = content->size;
    deploy_step(deploy, command, content, upload_callback);
}

/* --- survey -------------------------------------------------------------------------- */

static int survey_judge(struct deploy *deploy, const char *output, struct error *err)
{
    struct deploy_result *result = &deploy->result;
    char root[16];
    char uid[16];
    char unpack[8];
    char why[160];
    shell_value(output, "machine", result->machine, sizeof result->machine);
    shell_value(output, "boot_id", result->boot_id, sizeof result->boot_id);
    shell_value(output, "directory", result->directory, sizeof result->directory);
    shell_value(output, "root", root, sizeof root);
    shell_value(output, "sudo_error", why, sizeof why);
    deploy->unpacks = shell_value(output, "unpack", unpack, sizeof unpack);
    if (!shell_value(output, "uid", uid, sizeof uid) || result->boot_id[0] == '\0')
        return error_set(err, ERROR_REFUSED, "the device's shell does not answer as Linux does");
    if (target_is_controller(result->boot_id) && !deploy->config->is_local) {
        error_set(err, ERROR_REFUSED, "this is the machine that fleetflash itself runs on");
        return error_remedy(err, "run fleetflash on another machine, or use --local on this one");
    }
    result->uid = (unsigned)strtoul(uid, NULL, 10);
    result->is_root = strcmp(root, "direct") == 0;
    if (strcmp(root, "none") == 0) {
        error_set(err, ERROR_AUTH, "no root rights on %s%s%s",
                  deploy->config->is_local ? "this machine" : "the device",
                  why[0] != '\0' ? ": " : "", why);
        if (deploy->config->is_local)
            return error_remedy(err, "run fleetflash as root, or let this user run sudo without a "
                                     "password");
        return error_remedy(err, "log in as root, or let this user run sudo without a password "
                                 "(user ALL=(ALL) NOPASSWD: ALL)");
    }
    if (strspn(result->directory, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789"
                                  "/._-") != strlen(result->directory)) {
        result->directory[0] = '\0';
        return error_set(err, ERROR_PROTOCOL, "the device names a folder that cannot be");
    }
    if (result->directory[0] == '\0') {
        error_set(err, ERROR_REFUSED,
                  "no tmpfs on the device takes the agent (all are missing, "
                  "full or mounted noexec)");
        return error_remedy(err, "mount a tmpfs with exec and 8 MiB of room, for example on /run");
    }
    deploy->file = agent_files_find(deploy->config->files, result->machine);
    if (deploy->file == NULL)
        return error_set(err, ERROR_REFUSED, "there is no agent for this device's machine (%s)",
                         result->machine);
    return 0;
}

static void survey_callback(const struct link_run_result *result, void *arg)
{
    struct deploy *deploy = arg;
    deploy->run = NULL;
    struct error err;
    if (result->err != NULL || result->exit_status != 0)
        deploy_fail(deploy, result, "the survey of the device failed");
    else if (survey_judge(deploy, result->out, &err) != 0)
        deploy_end(deploy, &err);
    else if (deploy->stopped)
        deploy_end_stopped(deploy);
    else
        deploy_upload(deploy);
}

struct deploy *deploy_start(struct link *link, const struct deploy_config *config,
                            deploy_callback callback, void *arg)
{
    struct deploy *deploy = calloc(1, sizeof *deploy);
    if (deploy == NULL)
        return NULL;
    deploy->link = link;
    deploy->config = config;
    deploy->callback = callback;
    deploy->arg = arg;
    char text[sizeof survey_script + 160];
    int size =
        snprintf(text, sizeof text, "RUN=%s-%u BECOME=%s\n%s", config->run_id, config->attempt,
                 config->become == BECOME_SUDO ? "sudo" : "none", survey_script);
    struct buffer *input = buffer_copy(text, (size_t)size);
    deploy_step(deploy, "sh -s", input, survey_callback);
    buffer_unref(input);
    return deploy;
}
