/* SPDX-License-Identifier: Apache-2.0 */
/* Policy `sysv`: stops services through their scripts in /etc/init.d, on boards with SysV init or
 * busybox.
 *
 * Whether a service runs is asked in this order: the script's own `status` where it has one (LSB: 0
 * runs, 3 does not), its pid file, a process of its name. */
#include "../initscript/initscript.h"

#include <stddef.h>

/* Prints "NAME SCRIPT running|stopped" or "NAME - missing" for each name in "$@". A script may also
 * be called S40name, as buildroot does. `status` is only asked of a script with such a case label:
 * others answer anything. */
static const char survey[] =
    "[ -d \"$d\" ] || exit 99\n"
    "for n in \"$@\"; do\n"
    "  s=$d/$n; r=\n"
    "  if [ ! -x \"$s\" ]; then for c in \"$d\"/S[0-9][0-9]\"$n\"; do s=$c; done; fi\n"
    "  if [ ! -x \"$s\" ]; then echo \"$n - missing\"; continue; fi\n"
    "  if grep -Eq '(^|[^[:alnum:]_$])\"?status\"?[[:space:]]*[|)]' \"$s\"; then\n"
    "    \"$s\" status </dev/null >/dev/null 2>&1\n"
    "    case $? in 0) r=running ;; 3) r=stopped ;; esac\n"
    "  fi\n"
    "  for p in \"/run/$n.pid\" \"/var/run/$n.pid\" \"/run/$n/$n.pid\"; do\n"
    "    [ -z \"$r\" ] && [ -s \"$p\" ] && kill -0 \"$(head -n 1 \"$p\")\" 2>/dev/null && "
    "r=running\n"
    "  done\n"
    "  [ -z \"$r\" ] && pidof \"$n\" >/dev/null 2>&1 && r=running\n"
    "  echo \"$n $s ${r:-stopped}\"\n"
    "done";

static const struct initscript_dialect dialect = {
    .survey = survey,
    .none = "the device has no /etc/init.d; policy systemd may fit",
};

static void sysv_stop(const struct ff_host *host, struct ff_target *target)
{
    initscript_stop(host, target, &dialect);
}

static const struct ff_parameter parameters[] = {
    {.key = "stop",
     .help = "services to stop, in this order: names of scripts in /etc/init.d",
     .required = 1,
     .list = 1},
    {.key = "timeout",
     .help = "how long each may take to stop; default 60s",
     .type = FF_TYPE_DURATION},
    {.key = "scripts", .help = "folder of the scripts; default /etc/init.d"},
    {.key = NULL},
};

static const struct ff_policy policy = {
    FF_POLICY_HEADER,
    .name = "sysv",
    .longname = "SysV init scripts",
    .description = "stops services through their scripts in /etc/init.d",
    .parameters = parameters,
    .check = initscript_check,
    .stop = sysv_stop,
    .undo = initscript_undo,
    .end = initscript_end,
};
FF_REGISTER_POLICY(policy)
