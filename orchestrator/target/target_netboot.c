/* SPDX-License-Identifier: Apache-2.0 */
/* Flashing through the boot loader, for boards that were prepared for it or do not boot any more:
 * the board is reset, its boot loader asks our TFTP server for the parts of the image, writes them,
 * and reports. Nothing runs on the board that we could ask, so what it reports is compared with
 * what was sent, and the new system is looked for as after any flash.
 *
 * | step          | does                                     | goes on by                       |
 * |---------------|------------------------------------------|----------------------------------|
 * | NETBOOT_PROBE | opens the server, looks at the reset     | the look, or an error            |
 * | NETBOOT       | lets the board in, resets it, serves     | its report, an error, the timer: |
 * |               |                                          | it does not ask, or not go on    |
 */
#include "target/target_internal.h"

#include "netboot/boot_script.h"
#include "netboot/flash_script.h"
#include "netboot/station.h"
#include "netboot/uboot_image.h"
#include "reset/reset.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define WARNINGS_MAX 32u /* of transfers that failed */

bool target_is_netboot(const struct target *target)
{
    return target->recovering ||
           target_wanted_mode(target->env, target->status.spec) == MODE_NETBOOT;
}

/* A machine that flashes itself has nobody who would reset it and serve its boot loader: this
 * program ends with the old system, or with the reset. */
bool target_has_recovery(const struct target *target)
{
    return target->status.spec->recovery == RECOVERY_NETBOOT && !target->is_local;
}

bool target_can_recover(const struct target *target)
{
    return target_has_recovery(target) && target->status.spec->reset.present &&
           !target->recovering && !target->interrupted && target->env->store != NULL &&
           (target->status.damage == DAMAGE_INCOMPLETE || target->status.damage == DAMAGE_LOST);
}

void target_netboot_end(struct target *target)
{
    tftp_guest_dismiss(target->guest);
    target->guest = NULL;
    netconsole_ignore(target->console);
    target->console = NULL;
    reset_cancel(target->reset);
    target->reset = NULL;
}

/* The end of it that is not success. Whether anything was written only the board knows; from its
 * first request on it counts as half-written. before: what it is until then. */
static void netboot_failed(struct target *target, const struct error *err,
                           enum target_damage before)
{
    struct error final = *err;
    target->status.damage = target->netboot_asked ? DAMAGE_INCOMPLETE : before;
    if (target->recovering) {
        target->status.damage = DAMAGE_INCOMPLETE;
        error_set(&final, err->cls, "%.190s; and by its boot loader: %.190s", target->failure.text,
                  err->text);
    }
    target_netboot_end(target);
    target_finish(target, OUTCOME_FAILED, &final);
}

/* --- before --------------------------------------------------------------------------- */

/* Nothing is asked of the board: it may not boot. What the plan tells of it is what is not known.
 */
static void assume_facts(struct target *target)
{
    struct target_facts *facts = &target->status.facts;
    if (facts->known)
        return; /* of the live flash that failed */
    snprintf(facts->model, sizeof facts->model, "not asked (netboot)");
    const struct netboot_spec *netboot = &target->status.spec->netboot;
    snprintf(facts->disk, sizeof facts->disk, "%s (U-Boot's)%s", netboot->disk,
             netboot->layout == NETBOOT_SHIFTED ? ", behind its first partition" : "");
    facts->known = true;
}

static void probe_failed(struct target *target, const struct error *err)
{
    struct error copy = *err;
    if (target->recovering)
        netboot_failed(target, &copy, DAMAGE_NONE);
    else
        target_back_out(target, OUTCOME_FAILED, &copy);
}

static void probe_checked(const struct error *err, bool acted, void *arg)
{
    struct target *target = arg;
    (void)acted;
    target->reset = NULL;
    if (err != NULL) {
        probe_failed(target, err);
        return;
    }
    if (!target_is_netboot(target)) { /* only its way back was looked at */
        target_set_step(target, STEP_CONNECT);
        return;
    }
    target->status.mode = MODE_NETBOOT;
    assume_facts(target);
    target_set_step(target, target->recovering ? STEP_NETBOOT : STEP_PROBED);
}

void target_enter_netboot_probe(struct target *target)
{
    const struct target_spec *spec = target->status.spec;
    struct error err;
    if (station_server(target->env->station, spec, &err) == NULL) {
        probe_failed(target, &err);
        return;
    }
    if (!spec->reset.present) {
        probe_checked(NULL, false, target);
        return;
    }
    target->reset = reset_check(target->env->loop, spec, probe_checked, target);
    if (target->reset == NULL) {
        error_set(&err, ERROR_IO, "no memory to look at the reset line");
        probe_failed(target, &err);
    }
}

/* --- serving -------------------------------------------------------------------------- */

void target_netboot_timeout(struct target *target)
{
    const struct target_spec *spec = target->status.spec;
    struct error err;
    if (!target->netboot_asked) {
        const char *stranger = station_stranger(target->env->station, spec);
        error_set(&err, ERROR_TIMEOUT,
                  "its boot loader did not ask for the image within %" PRIu64 " s%s%s%s",
                  spec->netboot.timeout / 1000,
                  target->reset != NULL ? "; its reset has not ended yet" : "",
                  stranger[0] != '\0' ? "; " : "", stranger);
        error_remedy(&err,
                     "look at its console: is there a boot script (docs/netboot.md), does it "
                     "get an address, is its MAC address %s?",
                     spec->mac);
    } else {
        error_set(&err, ERROR_TIMEOUT, "its boot loader fetches no more, and does not report");
        error_remedy(&err, "look at its console; it asks again when it is reset");
    }
    netboot_failed(target, &err, spec->reset.present ? DAMAGE_REBOOTED : DAMAGE_NONE);
}

static void wait_for(struct target *target, uint64_t milliseconds)
{
    target_timer_start(target, milliseconds);
}

static void console_line(const char *text, void *arg)
{
    target_log(arg, LOG_INFO, "console: %s", text);
}

/* What its boot loader says, where it was told to send it. It can be flashed without. */
static void listen_to(struct target *target, const char *address)
{
    struct error err;
    const struct target_spec *spec = target->status.spec;
    if (!spec->netboot.netconsole || target->console != NULL)
        return;
    struct netconsole *console = station_console(target->env->station, spec, &err);
    if (console == NULL)
        target_log(target, LOG_WARNING, "%s", err.text);
    else
        target->console = netconsole_hear(console, address, console_line, target);
}

static void guest_asked(struct tftp_guest *guest, const char *address, void *arg)
{
    struct target *target = arg;
    (void)guest;
    target->netboot_asked = true;
    target_log(target, LOG_INFO, "its boot loader asks from %s", address);
    listen_to(target, address);
    target_set_activity(target, "the boot loader has begun");
    wait_for(target, target->status.spec->transfer_timeout);
}

static void guest_progress(struct tftp_guest *guest, unsigned part, uint64_t bytes, int64_t size,
                           void *arg)
{
    struct target *target = arg;
    (void)guest;
    struct target_status *status = &target->status;
    uint32_t block = store_info(target->env->store)->block_size;
    /* A part may be fetched again, and of a gzipped one it is not known how much of the image its
     * bytes are. */
    uint64_t done = target->netboot_sent + (size >= 0 ? bytes : 0);
    status->blocks_total = store_info(target->env->store)->block_count;
    status->blocks_done = (uint32_t)(done / block);
    if (status->blocks_done > status->blocks_total)
        status->blocks_done = status->blocks_total;
    status->bytes_sent = target->netboot_sent + bytes;
    target_set_activity(target, "fetching part %u of %u", part + 1, parts_count(target->parts));
    wait_for(target, status->spec->transfer_timeout);
}

/* A board can begin transfers and end them as fast as it likes. */
static void warn_of_transfer(struct target *target, const struct tftp_ended *ended)
{
    if (target->netboot_warned == WARNINGS_MAX)
        return;
    bool last = ++target->netboot_warned == WARNINGS_MAX;
    target_log(target, LOG_WARNING, "%s: %s%s", ended->name, ended->err->text,
               last ? "; no more transfers that fail are told of" : "");
}

static void guest_ended(struct tftp_guest *guest, const struct tftp_ended *ended, void *arg)
{
    struct target *target = arg;
    target->netboot_sent += ended->bytes;
    target->status.bytes_sent = target->netboot_sent;
    if (ended->err != NULL && ended->err->cls != ERROR_NONE)
        warn_of_transfer(target, ended);
    else if (ended->part >= 0) {
        if (tftp_guest_has_all(guest)) /* what it has now, it reads back and tells of */
            target_set_state(target, STATE_VERIFY);
        target_set_activity(target, "writing part %d of %u", ended->part + 1,
                            parts_count(target->parts));
    }
    /* It writes now what it has fetched: as long as one part may take. But that nothing was heard
     * of it for long is no sign of it. */
    if (!ended->unconfirmed && (ended->err == NULL || ended->err->cls != ERROR_TIMEOUT))
        wait_for(target, target->status.spec->transfer_timeout);
}

/* The board says it is done: is it what we sent? */
static void report_ok(struct target *target, const struct netboot_report *report)
{
    uint64_t total = parts_total(target->parts);
    uint32_t crc;
    struct error err = {0};
    if (report->bytes != total)
        error_set(&err, ERROR_PROTOCOL,
                  "its boot loader reports %" PRIu64 " bytes written, the image has %" PRIu64,
                  report->bytes, total);
    else if (!tftp_guest_has_all(target->guest))
        error_set(&err, ERROR_PROTOCOL,
                  "its boot loader reports success, and has not fetched all of the image");
    else if (report->has_crc && tftp_guest_crc(target->guest, &crc) &&
             !report_crc_equals(report, crc))
        error_set(&err, ERROR_PROTOCOL,
                  "its boot loader reports the crc32 %08" PRIx32 ", the image has %08" PRIx32,
                  report->crc, crc);
    if (err.cls != ERROR_NONE) {
        error_remedy(&err, "look at its boot script and at its console");
        netboot_failed(target, &err, DAMAGE_REBOOTED);
        return;
    }
    target->status.bytes_written = total;
    target->verified = false; /* nobody read it back but its boot loader */
    target_netboot_end(target);
    target->reboot_deadline = uv_now(target->env->loop) + target->status.spec->reboot_timeout;
    target_set_step(target, STEP_AWAY);
}

static void guest_reported(struct tftp_guest *guest, const struct netboot_report *report, void *arg)
{
    struct target *target = arg;
    (void)guest;
    struct error err;
    target->netboot_asked = true;
    switch (report->kind) {
    case REPORT_OK:
        report_ok(target, report);
        break;
    case REPORT_FAILED:
        error_set(&err, ERROR_IO, "its boot loader gave up after %" PRIu64 " bytes: %s",
                  report->bytes, report->reason[0] != '\0' ? report->reason : "no reason given");
        if (report->no_fetch)
            error_remedy(&err,
                         "do parts of %" PRIu64 " MiB fit into its memory (netboot: {part_size})? "
                         "Look at its console",
                         target->status.spec->netboot.part_size >> 20);
        else
            error_remedy(&err, "look at its console; it asks again when it is reset");
        netboot_failed(target, &err, DAMAGE_REBOOTED);
        break;
    case REPORT_PART:
        target_set_activity(target, "part %u of %u is written", report->part + 1,
                            parts_count(target->parts));
        wait_for(target, target->status.spec->transfer_timeout);
        break;
    }
}

static void guest_refused(struct tftp_guest *guest, const char *address, const char *name,
                          const char *why, void *arg)
{
    struct target *target = arg;
    (void)guest;
    struct netboot_name parsed;
    /* A script that counts the parts by asking has found their end. */
    bool at_end = netboot_name_parse(name, &parsed) == 0 && parsed.kind == NAME_PART &&
                  parsed.part == parts_count(target->parts);
    target_log(target, at_end ? LOG_INFO : LOG_WARNING, "%s asks for %s: %s", address, name, why);
}

static const struct tftp_guest_events guest_events = {
    .asked = guest_asked,
    .progress = guest_progress,
    .ended = guest_ended,
    .reported = guest_reported,
    .refused = guest_refused,
};

static void reset_done(const struct error *err, bool acted, void *arg)
{
    struct target *target = arg;
    target->reset = NULL;
    if (err != NULL && acted && target->netboot_asked) { /* it has come out of it */
        target_log(target, LOG_WARNING, "%s; its boot loader is at work, and goes on", err->text);
        return;
    }
    if (err != NULL) {
        struct error copy = *err;
        netboot_failed(target, &copy, acted ? DAMAGE_REBOOTED : DAMAGE_NONE);
        return;
    }
    if (!target->netboot_asked)
        target_set_activity(target, "was reset, waiting for its boot loader");
}

/* What its boot loader is told to do. Boards with a script of their own need not ask for it. */
static struct buffer *make_flash_script(const struct target *target, struct error *err)
{
    const struct target_spec *spec = target->status.spec;
    struct flash_script script = {
        .mac = spec->mac,
        .disk = spec->netboot.disk,
        .layout = spec->netboot.layout,
        .facts = &store_info(target->env->store)->facts,
        .parts = target->parts,
        .tries = spec->retries + 1,
    };
    char *text = flash_script_make(&script, err);
    if (text == NULL)
        return NULL;
    struct buffer *image = uboot_image_script(text, "fleetflash");
    free(text);
    if (image == NULL)
        error_set(err, ERROR_IO, "no memory for its boot script");
    return image;
}

static struct tftp_guest *let_in(struct target *target, struct error *err)
{
    const struct target_spec *spec = target->status.spec;
    struct tftp_server *server = station_server(target->env->station, spec, err);
    if (server == NULL)
        return NULL;
    target->parts = station_parts(target->env->station, target->env->store, &spec->netboot, err);
    struct buffer *script = target->parts != NULL ? make_flash_script(target, err) : NULL;
    if (script == NULL)
        return NULL;
    struct netboot_file file = {FLASH_SCRIPT_NAME, script->data, script->size};
    struct tftp_admission admission = {
        .mac = spec->mac,
        .address = spec->netboot.is_dhcp ? NULL : spec->host,
        .parts = target->parts,
        .files = &file,
        .file_count = 1,
        .events = &guest_events,
        .arg = target,
    };
    struct tftp_guest *guest = tftp_server_admit(server, &admission, err);
    buffer_unref(script);
    return guest;
}

void target_enter_netboot(struct target *target)
{
    const struct target_spec *spec = target->status.spec;
    struct error err;
    target->netboot_asked = false;
    target->netboot_sent = 0;
    target->netboot_warned = 0;
    target->status.bytes_skipped = target->status.bytes_written =
        0; /* of a live flash that failed */
    target->guest = let_in(target, &err);
    if (target->guest == NULL) {
        probe_failed(target, &err);
        return;
    }
    if (!spec->netboot.is_dhcp)
        listen_to(target, spec->host); /* from its first word on */
    wait_for(target, spec->netboot.timeout);
    if (!spec->reset.present) {
        target_log(target, LOG_WARNING, "no reset is known for it: reset it by hand");
        target_set_activity(target, "waiting for somebody to reset it");
        return;
    }
    char text[160];
    target_log(target, LOG_INFO, "reset: %s", reset_text(&spec->reset, text, sizeof text));
    target->reset = reset_start(target->env->loop, spec, reset_done, target);
    if (target->reset == NULL) {
        error_set(&err, ERROR_IO, "no memory to reset it");
        netboot_failed(target, &err, DAMAGE_NONE);
    }
}
