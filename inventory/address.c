/* SPDX-License-Identifier: Apache-2.0 */
#include "address.h"

#include <arpa/inet.h>
#include <ctype.h>
#include <stdio.h>
#include <string.h>

#define HOST_MAX 253 /* RFC 1035, 2.3.4 */

static const char host_letters[] = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ"
                                   "0123456789-._";

/* Splits off "%zone"; returns 0 when what is left is an IPv6 address. */
static int parse_ipv6(const char *text, struct in6_addr *out)
{
    char address[INET6_ADDRSTRLEN];
    size_t length = strcspn(text, "%");
    if (length >= sizeof address || (text[length] == '%' && text[length + 1] == '\0'))
        return -1;
    snprintf(address, sizeof address, "%.*s", (int)length, text);
    return inet_pton(AF_INET6, address, out) == 1 ? 0 : -1;
}

bool address_is_ipv4(const char *text)
{
    struct in_addr address;
    return inet_pton(AF_INET, text, &address) == 1;
}

bool address_is_number(const char *text)
{
    struct in6_addr address;
    return address_is_ipv4(text) || parse_ipv6(text, &address) == 0;
}

static int check_ipv4(const char *text, char *why, size_t why_size)
{
    if (address_is_ipv4(text))
        return 0;
    snprintf(why, why_size, "'%s' is no IPv4 address", text);
    return -1;
}

static int check_colons(const char *text, char *why, size_t why_size)
{
    struct in6_addr address;
    if (parse_ipv6(text, &address) == 0)
        return 0;
    const char *colon = strchr(text, ':');
    if (strchr(colon + 1, ':') == NULL && colon[1] != '\0' &&
        strspn(colon + 1, "0123456789") == strlen(colon + 1))
        snprintf(why, why_size, "'%s' has a port in it; write 'port: %s' beside it", text,
                 colon + 1);
    else
        snprintf(why, why_size, "'%s' is no IPv6 address", text);
    return -1;
}

int address_check(const char *text, char *why, size_t why_size)
{
    size_t length = strlen(text);
    if (length == 0 || length > HOST_MAX) {
        snprintf(why, why_size,
                 length == 0 ? "an address is empty" : "an address is longer than 253 characters");
        return -1;
    }
    if (strchr(text, '@') != NULL) {
        snprintf(why, why_size, "'%s' has a user in it; write 'user: …' beside it", text);
        return -1;
    }
    if (strchr(text, '[') != NULL || strchr(text, ']') != NULL) {
        snprintf(why, why_size, "'%s': write addresses without brackets", text);
        return -1;
    }
    if (strchr(text, ':') != NULL)
        return check_colons(text, why, why_size);
    if (strspn(text, "0123456789.") == length)
        return check_ipv4(text, why, why_size);
    if (strspn(text, host_letters) == length && text[0] != '-' && text[0] != '.')
        return 0;
    snprintf(why, why_size, "'%s' is neither a host name nor an address", text);
    return -1;
}

char *address_canonical(const char *text, char *out, size_t out_size)
{
    struct in6_addr address;
    char shortened[INET6_ADDRSTRLEN];
    if (strchr(text, ':') != NULL && parse_ipv6(text, &address) == 0 &&
        inet_ntop(AF_INET6, &address, shortened, sizeof shortened) != NULL)
        snprintf(out, out_size, "%s%s", shortened, text + strcspn(text, "%"));
    else
        snprintf(out, out_size, "%s", text);
    for (char *c = out; *c != '\0'; c++)
        *c = (char)tolower((unsigned char)*c);
    size_t length = strlen(out);
    if (length > 1 && out[length - 1] == '.') /* the root's dot changes nothing */
        out[length - 1] = '\0';
    return out;
}

int mac_canonical(const char *text, char out[MAC_TEXT_SIZE], char *why, size_t why_size)
{
    static const char *const forms[] = {"xx:xx:xx:xx:xx:xx", "xx-xx-xx-xx-xx-xx", "xxxx.xxxx.xxxx",
                                        "xxxxxxxxxxxx"};
    const char *form = NULL;
    for (size_t i = 0; i < sizeof forms / sizeof *forms && form == NULL; i++) {
        size_t n = 0;
        while (forms[i][n] != '\0' && (forms[i][n] == 'x' ? isxdigit((unsigned char)text[n]) != 0
                                                          : text[n] == forms[i][n]))
            n++;
        if (forms[i][n] == '\0' && text[n] == '\0')
            form = forms[i];
    }
    if (form == NULL) {
        snprintf(why, why_size, "'%s' is no MAC address like dc:a6:32:01:02:03", text);
        return -1;
    }
    size_t used = 0, digits = 0;
    for (const char *c = text; *c != '\0'; c++) {
        if (!isxdigit((unsigned char)*c))
            continue;
        if (digits > 0 && digits % 2 == 0)
            out[used++] = ':';
        out[used++] = (char)tolower((unsigned char)*c);
        digits++;
    }
    out[used] = '\0';
    if (strchr("13579bdf", out[1]) != NULL || strcmp(out, "00:00:00:00:00:00") == 0) {
        snprintf(why, why_size, "'%s' is no device's MAC address (%s)", text,
                 out[1] == '0' && out[0] == '0' ? "all zero" : "a multicast address");
        return -1;
    }
    return 0;
}

char *reset_line_canonical(const char *chip, const char *line, char *out, size_t out_size)
{
    if (strncmp(chip, "/dev/", 5) == 0)
        chip += 5;
    bool is_number = chip[0] != '\0' && chip[strspn(chip, "0123456789")] == '\0';
    if (line[strspn(line, "0123456789")] == '\0')
        while (line[0] == '0' && line[1] != '\0')
            line++;
    snprintf(out, out_size, "%.250s of %s%.250s", line, is_number ? "gpiochip" : "", chip);
    return out;
}
