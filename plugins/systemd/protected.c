/* SPDX-License-Identifier: Apache-2.0 */
#include "protected.h"

#include <fnmatch.h>
#include <stddef.h>

/* The first pattern that fits decides. */
static const struct {
    const char *pattern;
    bool is_protected;
} rules[] = {
    /* Containers carry systemd's name and are what people want stopped. */
    {"systemd-nspawn@*.service", false},
    /* systemd's own: udevd and networkd and resolved are needed, stopping systemd-user-sessions
     * shuts the door on every login but root's, journald comes back by its sockets (it is a writer:
     * the agent's fence silences it). */
    {"systemd-*", true},
    {"init.scope", true},
    {"session-*.scope", true}, /* our own login */
    {"user@*.service", true},
    {"user-runtime-dir@*.service", true},
    {"dbus*", true}, /* without it systemctl does not work for long */
    /* the servers we come in through */
    {"ssh.*", true},
    {"ssh@*", true},
    {"sshd*", true},
    {"dropbear*", true},
    {"tinyssh*", true},
    /* the network below them */
    {"NetworkManager*", true},
    {"networking.service", true},
    {"network.service", true},
    {"network-manager.service", true},
    {"ifup@*", true},
    {"ifupdown*", true},
    {"netplan*", true},
    {"wicked*", true},
    {"connman*", true},
    {"wpa_supplicant*", true},
    {"iwd.service", true},
    {"hostapd*", true},
    {"dhcpcd*", true},
    {"dhclient*", true},
    {"udhcpc*", true},
    {"ModemManager.service", true},
    {"wg-quick@*", true},
    {"openvpn*", true},
    {"tailscaled.service", true},
    {"zerotier-one.service", true},
    /* who sshd and sudo ask about users */
    {"sssd*", true},
    {"nslcd*", true},
    {"nscd*", true},
    {"winbind*", true},
    /* Stopping the owner of a watchdog may reset the board in the middle of things. */
    {"watchdog.service", true},
    {"wd_keepalive.service", true},
};

bool unit_is_protected(const char *name)
{
    for (size_t i = 0; i < sizeof rules / sizeof *rules; i++) {
        if (fnmatch(rules[i].pattern, name, FNM_NOESCAPE) == 0)
            return rules[i].is_protected;
    }
    return false;
}
