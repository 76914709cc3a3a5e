/* SPDX-License-Identifier: Apache-2.0 */
/* Policy `openrc`: stops services of OpenRC (Alpine, Gentoo), with those that need them, which
 * OpenRC would stop along. Whether one runs is what `status` says by its exit status
 * (sh/openrc-run.sh, _status: 0 started, 3 stopped, 4 stopping, 8 starting, 16 inactive, 32
 * crashed). */
#include "../initscript/initscript.h"

#include <stddef.h>

static const char survey[] = "command -v rc-service >/dev/null 2>&1 || exit 99\n"
                             "for n in \"$@\"; do\n"
                             "  s=$(rc-service -r \"$n\" 2>/dev/null) && [ -n \"$s\" ] || { echo "
                             "\"$n - missing\"; continue; }\n"
                             "  r=running; \"$s\" status </dev/null >/dev/null 2>&1\n"
                             "  case $? in 3|32) r=stopped ;; esac\n"
                             "  echo \"$n $s $r\"\n"
                             "done";

/* Those that need a service come before it. */
static const char order[] =
    "command -v rc-service >/dev/null 2>&1 || exit 99\n"
    "set -f; export EINFO_QUIET=yes; seen=' '; all=\n"
    "add() {\n"
    "  case $seen in *\" $1 \"*) return ;; esac\n"
    "  seen=\"$seen$1 \"\n"
    "  s=$(rc-service -r \"$1\" 2>/dev/null)\n"
    "  [ -z \"$s\" ] || for w in $(\"$s\" needsme </dev/null 2>/dev/null); do add \"$w\"; done\n"
    "  all=\"$all $1\"\n"
    "}\n"
    "for n in \"$@\"; do add \"$n\"; done\n"
    "echo $all";

static const struct initscript_dialect dialect = {
    .survey = survey,
    .order = order,
    .none = "the device has no OpenRC (rc-service); policy systemd or sysv may fit",
};

static void openrc_stop(const struct ff_host *host, struct ff_target *target)
{
    initscript_stop(host, target, &dialect);
}

static const struct ff_parameter parameters[] = {
    {.key = "stop",
     .help = "services to stop; those that need them stop too",
     .required = 1,
     .list = 1},
    {.key = "timeout",
     .help = "how long each may take to stop; default 60s",
     .type = FF_TYPE_DURATION},
    {.key = NULL},
};

static const struct ff_policy policy = {
    FF_POLICY_HEADER,         .name = "openrc",
    .longname = "OpenRC",     .description = "stops OpenRC services and what needs them",
    .parameters = parameters, .check = initscript_check,
    .stop = openrc_stop,      .undo = initscript_undo,
    .end = initscript_end,
};
FF_REGISTER_POLICY(policy)
