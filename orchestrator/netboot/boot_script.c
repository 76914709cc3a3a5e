/* SPDX-License-Identifier: Apache-2.0 */
#include "netboot/boot_script.h"

#include "values.h"

#include <arpa/inet.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define TRIES_MAX       10u
#define NETMASK_DEFAULT "255.255.255.0"

/* --- checking ------------------------------------------------------------------------ */

static int check_ipv4(const struct target_spec *spec, const char *what, const char *text,
                      struct error *err)
{
    struct in_addr address;
    if (text == NULL || inet_pton(AF_INET, text, &address) == 1)
        return 0;
    error_set(err, ERROR_USAGE, "%s: %s '%s' is no IPv4 address, and U-Boot wants one", spec->name,
              what, text);
    return error_remedy(err, "write the address in numbers, or netboot: {address: dhcp}");
}

/* They go into the script between single quotes. */
static int check_boot(const struct target_spec *spec, struct error *err)
{
    if (spec->netboot.boot == NULL || strpbrk(spec->netboot.boot, "'\n") == NULL)
        return 0;
    error_set(err, ERROR_USAGE, "%s: netboot: {boot} may have neither ' nor line ends in it",
              spec->name);
    return error_remedy(err, "U-Boot's shell knows double quotes and ; as well");
}

static int check_board(const struct boot_script_board *board, struct error *err)
{
    const struct target_spec *spec = board->spec;
    if (spec->mac == NULL) {
        error_set(err, ERROR_USAGE, "%s has no 'mac', by which its boot loader asks", spec->name);
        return error_remedy(err, "add mac: to its entry in the inventory");
    }
    if (!value_is_disk(spec->netboot.disk)) {
        error_set(err, ERROR_USAGE, "%s: '%s' is no disk of U-Boot", spec->name,
                  spec->netboot.disk);
        return error_remedy(err, "write netboot: {disk: mmc 0}");
    }
    if (check_ipv4(spec, "address", spec->netboot.is_dhcp ? NULL : spec->host, err) != 0 ||
        check_ipv4(spec, "netmask", spec->netboot.netmask, err) != 0 ||
        check_ipv4(spec, "gateway", spec->netboot.gateway, err) != 0 ||
        check_ipv4(spec, "the controller's address", board->server, err) != 0)
        return -1;
    return check_boot(spec, err);
}

static int check_boards(const struct boot_script_board *boards, size_t count, struct error *err)
{
    for (size_t i = 0; i < count; i++) {
        if (check_board(&boards[i], err) != 0)
            return -1;
        for (size_t k = 0; k < i; k++)
            if (boards[k].spec->mac != NULL &&
                strcmp(boards[k].spec->mac, boards[i].spec->mac) == 0)
                return error_set(err, ERROR_USAGE, "%s and %s have the same MAC address",
                                 boards[k].spec->name, boards[i].spec->name);
    }
    return 0;
}

bool boot_script_has_route(const struct boot_script_board *board)
{
    const struct netboot_spec *netboot = &board->spec->netboot;
    const char *netmask = netboot->netmask != NULL ? netboot->netmask : NETMASK_DEFAULT;
    struct in_addr host, server, mask;
    if (netboot->is_dhcp || netboot->gateway != NULL)
        return true;
    return inet_pton(AF_INET, board->spec->host, &host) == 1 &&
           inet_pton(AF_INET, board->server, &server) == 1 &&
           inet_pton(AF_INET, netmask, &mask) == 1 &&
           ((host.s_addr ^ server.s_addr) & mask.s_addr) == 0;
}

/* --- writing ------------------------------------------------------------------------- */

static void set(FILE *out, const char *name, const char *value)
{
    fprintf(out, "setenv %s%s%s\n", name, value[0] != '\0' ? " " : "", value);
}

/* What differs from board to board, as variables. */
static void write_variables(FILE *out, const struct boot_script_board *board)
{
    const struct target_spec *spec = board->spec;
    const struct netboot_spec *netboot = &spec->netboot;
    bool shifted = netboot->layout == NETBOOT_SHIFTED;
    char mac[20], port[12] = "", interface[16];
    /* With dashes: some U-Boots take what is before a colon in a file name for a server. */
    snprintf(mac, sizeof mac, "%s", spec->mac);
    for (char *c = mac; *c != '\0'; c++)
        if (*c == ':')
            *c = '-';
    if (netboot->port != 69)
        snprintf(port, sizeof port, "%u", netboot->port);
    int length = (int)strcspn(netboot->disk, " ");
    snprintf(interface, sizeof interface, "%.*s", length, netboot->disk);
    set(out, "ff_mac", mac);
    set(out, "ff_ip", netboot->is_dhcp ? "" : spec->host);
    set(out, "ff_netmask", netboot->netmask != NULL ? netboot->netmask : NETMASK_DEFAULT);
    set(out, "ff_gateway", netboot->gateway != NULL ? netboot->gateway : "");
    set(out, "ff_server", board->server);
    set(out, "ff_port", port);
    set(out, "ff_console", netboot->netconsole ? "yes" : "");
    set(out, "ff_if", interface);
    set(out, "ff_dev", netboot->disk + length + 1);
    set(out, "ff_bootpart", shifted ? "2" : "1");
    set(out, "ff_rootpart", shifted ? "3" : "");
    if (netboot->boot != NULL)
        fprintf(out, "setenv ff_boot '%s'\n", netboot->boot);
    else
        set(out, "ff_boot", "");
}

static void write_boards(FILE *out, const struct boot_script_board *boards, size_t count)
{
    fprintf(out, "# Which board this is\nsetenv ff_mac\n");
    for (size_t i = 0; i < count; i++) {
        const char *mac = boards[i].spec->mac;
        if (count > 1)
            fprintf(out, "if test \"${ethaddr}\" = %s || test \"${usbethaddr}\" = %s; then\n", mac,
                    mac);
        write_variables(out, &boards[i]);
        if (count > 1)
            fprintf(out, "fi\n");
    }
    fprintf(out,
            "if test -z \"${ff_mac}\"; then\n"
            "  echo \"fleetflash: a board with the address ${ethaddr} is not in the inventory\"\n"
            "fi\n");
}

/* DHCP may name another server, so ours comes after it. A netconsole that U-Boot was not built with
 * is only an error message. Windows of 4 blocks: after a loss several may be on their way, the last
 * one is repeated while the board writes and does not listen, and U-Boot's drivers have few buffers
 * (the one for virtio has 32, and is deaf for good once all of them were full). */
static void write_network(FILE *out)
{
    fprintf(out,
            "# How it gets to the controller\n"
            "setenv ff_net 'if test -n \"${ff_ip}\"; then "
            "setenv ipaddr ${ff_ip}; setenv netmask ${ff_netmask}; setenv gatewayip ${ff_gateway}; "
            "else setenv autoload no; dhcp; fi; "
            "setenv serverip ${ff_server}; setenv tftpdstp ${ff_port}; "
            "if test -n \"${ff_console}\"; then setenv ncip ${ff_server}; "
            "setenv stdout serial,nc; setenv stderr serial,nc; fi'\n"
            "setenv netretry no\n"
            "setenv tftpblocksize 1468; setenv tftpwindowsize 4\n"
            "setenv tftptimeout 1000; setenv tftptimeoutcountmax 5\n");
}

/* Asked for several times: the link may only just be coming up, and some network chips are behind
 * USB. A flash script that succeeds does not come back. */
static void write_asking(FILE *out, unsigned tries)
{
    fprintf(out, "# Is there something to flash? Its script does not come back when it is done\n"
                 "setexpr ff_load ${scriptaddr} + 100000\n"
                 "if test -n \"${ff_mac}\"; then\n"
                 "for ff_try in");
    for (unsigned i = 1; i <= tries; i++)
        fprintf(out, " %u", i);
    fprintf(out, "; do\n"
                 "  run ff_net\n"
                 "  if tftpboot ${ff_load} ${ff_mac}/" FLASH_SCRIPT_NAME "; then\n"
                 "    source ${ff_load}\n"
                 "  else\n"
                 "    usb start\n"
                 "  fi\n"
                 "  sleep 1\n"
                 "done\n"
                 "fi\n"
                 "echo fleetflash: nothing to flash, booting from the disk\n");
}

/* The kernel's command line is a text file of the image; it becomes the variable bootargs by being
 * imported with "bootargs=" written before it. Its root is the image's second partition, which is
 * the third one where the boot loader has the first. */
static void write_boot(FILE *out)
{
    fprintf(out, "# No: what is on the disk\n"
                 "setenv ff_root\n"
                 "if test -n \"${ff_rootpart}\"; then\n"
                 "  part uuid ${ff_if} ${ff_dev}:${ff_rootpart} ff_root\n"
                 "fi\n"
                 "if test -n \"${ff_boot}\"; then\n"
                 "  run ff_boot\n"
                 "else\n"
                 "  mw.l ${ff_load} 746f6f62; setexpr ff_at ${ff_load} + 4\n"
                 "  mw.l ${ff_at} 73677261; setexpr ff_at ${ff_load} + 8\n"
                 "  mw.b ${ff_at} 3d; setexpr ff_at ${ff_load} + 9\n"
                 "  if load ${ff_if} ${ff_dev}:${ff_bootpart} ${ff_at} cmdline.txt; then\n"
                 "    setexpr ff_size ${filesize} + 9\n"
                 "    env import -t ${ff_load} ${ff_size} bootargs\n"
                 "  fi\n"
                 "  if test -n \"${ff_root}\"; then\n"
                 "    setexpr bootargs sub 'root=[^ ]*' root=PARTUUID=${ff_root}\n"
                 "  fi\n"
                 "  if test -z \"${fdt_addr}\"; then setenv fdt_addr ${fdtcontroladdr}; fi\n"
                 "  setenv ff_initrd -\n"
                 "  if load ${ff_if} ${ff_dev}:${ff_bootpart} ${ramdisk_addr_r} initramfs8; then\n"
                 "    setenv ff_initrd ${ramdisk_addr_r}:${filesize}\n"
                 "  fi\n"
                 "  load ${ff_if} ${ff_dev}:${ff_bootpart} ${kernel_addr_r} kernel8.img && "
                 "booti ${kernel_addr_r} ${ff_initrd} ${fdt_addr}\n"
                 "fi\n"
                 "echo fleetflash: the disk does not boot, asking again in 20 s\n"
                 "sleep 20\n"
                 "reset\n");
}

/* There is one loop for all: as often as the board that wants most. Each time that it boots while
 * nobody answers it waits for seconds, so there is an end to it whatever the inventory says. */
static unsigned tries_of(const struct boot_script_board *boards, size_t count)
{
    unsigned tries = 1;
    for (size_t i = 0; i < count; i++)
        if (tries < boards[i].spec->retries + 1)
            tries = boards[i].spec->retries + 1;
    return tries < TRIES_MAX ? tries : TRIES_MAX;
}

char *boot_script_make(const struct boot_script_board *boards, size_t count, struct error *err)
{
    char *text = NULL;
    size_t size;
    if (check_boards(boards, count, err) != 0)
        return NULL;
    FILE *out = open_memstream(&text, &size);
    if (out != NULL) {
        fprintf(out, "# fleetflash recovery script, for %zu board%s\n", count,
                count == 1 ? "" : "s");
        write_boards(out, boards, count);
        write_network(out);
        write_asking(out, tries_of(boards, count));
        write_boot(out);
        if (fclose(out) == 0)
            return text;
    }
    free(text);
    error_set(err, ERROR_IO, "out of memory");
    return NULL;
}
