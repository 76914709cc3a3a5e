/* SPDX-License-Identifier: Apache-2.0 */
#include "network.h"

#include "process.h"
#include "text.h"

#include <arpa/inet.h>
#include <ifaddrs.h>
#include <linux/netlink.h>
#include <linux/rtnetlink.h>
#include <net/if.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

/* "SSH_CONNECTION=client port server port", of the nearest ancestor that has it. */
static bool find_own_address(pid_t pid, char out[64])
{
    for (pid_t parent = 0; pid > 1; pid = parent) {
        char path[64], comm[32], text[16384];
        text_format(path, sizeof path, "/proc/%d/environ", (int)pid);
        ssize_t n = text_read(path, text, sizeof text);
        for (char *p = text; n > 0 && p < text + n; p += strlen(p) + 1)
            if (text_starts(p, "SSH_CONNECTION=") && sscanf(p + 15, "%*s %*s %63s", out) == 1)
                return true;
        if (!process_stat(pid, comm, &parent))
            return false;
    }
    return false;
}

static void find_by_address(const char *address, struct network *network)
{
    struct ifaddrs *list = NULL;
    char text[64];
    if (getifaddrs(&list) != 0)
        return;
    for (struct ifaddrs *a = list; a != NULL; a = a->ifa_next) {
        int family = a->ifa_addr == NULL ? 0 : a->ifa_addr->sa_family;
        const void *bytes =
            family == AF_INET
                ? (const void *)&((const struct sockaddr_in *)(const void *)a->ifa_addr)->sin_addr
                : (const void *)&((const struct sockaddr_in6 *)(const void *)a->ifa_addr)
                      ->sin6_addr;
        if ((family == AF_INET || family == AF_INET6) &&
            inet_ntop(family, bytes, text, sizeof text) != NULL && strcmp(text, address) == 0)
            text_copy(network->interface, sizeof network->interface, a->ifa_name);
    }
    freeifaddrs(list);
}

static void find_by_route(struct network *network)
{
    char *save = NULL, *text = text_read_all("/proc/net/route");
    for (char *line = text == NULL ? NULL : strtok_r(text, "\n", &save); line != NULL;
         line = strtok_r(NULL, "\n", &save)) {
        char name[32];
        unsigned long destination, gateway, flags, mask;
        if (sscanf(line, "%31s %lx %lx %lx %*s %*s %*s %lx", name, &destination, &gateway, &flags,
                   &mask) == 5 &&
            destination == 0 && mask == 0) {
            text_copy(network->interface, sizeof network->interface, name);
            break;
        }
    }
    free(text);
}

/* One address: the time it remains valid is what a DHCP client has set (rtnetlink(7)). */
static void take_address(const struct nlmsghdr *message, unsigned index, struct network *network)
{
    const struct ifaddrmsg *address = NLMSG_DATA(message);
    size_t left = message->nlmsg_len - NLMSG_LENGTH(sizeof *address);
    if (address->ifa_index != index || address->ifa_family != AF_INET)
        return;
    for (const struct rtattr *a = IFA_RTA(address); RTA_OK(a, left); a = RTA_NEXT(a, left)) {
        struct ifa_cacheinfo info;
        if (a->rta_type != IFA_CACHEINFO)
            continue;
        memcpy(&info, RTA_DATA(a), sizeof info);
        if (info.ifa_valid != UINT32_MAX)
            network->lease = info.ifa_valid;
    }
}

static void find_lease(struct network *network)
{
    struct {
        struct nlmsghdr header;
        struct ifaddrmsg body;
    } request = {
        .header = {.nlmsg_len = NLMSG_LENGTH(sizeof request.body),
                   .nlmsg_type = RTM_GETADDR,
                   .nlmsg_flags = NLM_F_REQUEST | NLM_F_DUMP},
        .body = {.ifa_family = AF_INET},
    };
    static const struct timeval patience = {.tv_sec = 2};
    unsigned index = if_nametoindex(network->interface);
    char *buffer = malloc(32768);
    int fd = socket(AF_NETLINK, SOCK_RAW | SOCK_CLOEXEC, NETLINK_ROUTE);
    bool done = buffer == NULL || fd < 0 || index == 0;
    if (!done) {
        setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &patience, sizeof patience);
        done = send(fd, &request, request.header.nlmsg_len, 0) < 0;
    }
    while (!done) {
        ssize_t n = recv(fd, buffer, 32768, 0);
        size_t left = n > 0 ? (size_t)n : 0;
        done = left == 0;
        for (const struct nlmsghdr *m = (const struct nlmsghdr *)(const void *)buffer;
             !done && NLMSG_OK(m, left); m = NLMSG_NEXT(m, left)) {
            if (m->nlmsg_type == NLMSG_DONE || m->nlmsg_type == NLMSG_ERROR)
                done = true;
            else if (m->nlmsg_type == RTM_NEWADDR)
                take_address(m, index, network);
        }
    }
    if (fd >= 0)
        close(fd);
    free(buffer);
}

void network_look(pid_t relay, struct network *network)
{
    char address[64], path[128];
    memset(network, 0, sizeof *network);
    network->lease = -1;
    if (find_own_address(relay, address) || find_own_address(getpid(), address))
        find_by_address(address, network);
    if (network->interface[0] == '\0')
        find_by_route(network);
    if (network->interface[0] == '\0')
        return;
    text_format(path, sizeof path, "/sys/class/net/%s/wireless", network->interface);
    network->wifi = access(path, F_OK) == 0;
    text_format(path, sizeof path, "/sys/class/net/%s/phy80211", network->interface);
    network->wifi = network->wifi || access(path, F_OK) == 0;
    find_lease(network);
}
