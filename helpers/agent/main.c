/* SPDX-License-Identifier: Apache-2.0 */
/* The agent: runs on the device, started by the controller over ssh. See protocol/protocol.h. */
#include "attach.h"
#include "daemon.h"
#include "guard.h"
#include "serve.h"

#include <fcntl.h>
#include <sodium.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

/* Proves that this architecture's program runs here and arrived whole: prints its own SHA-256. */
static int selftest(void)
{
    crypto_hash_sha256_state state;
    unsigned char buffer[65536], hash[crypto_hash_sha256_BYTES];
    char hex[sizeof hash * 2 + 1];
    ssize_t n;
    int fd = open("/proc/self/exe", O_RDONLY | O_CLOEXEC);
    crypto_hash_sha256_init(&state);
    while ((n = read(fd, buffer, sizeof buffer)) > 0)
        crypto_hash_sha256_update(&state, buffer, (unsigned long long)n);
    crypto_hash_sha256_final(&state, hash);
    if (fd >= 0)
        close(fd);
    printf("fleetflash-agent %s %s\n", AGENT_VERSION, AGENT_ARCH);
    if (n == 0)
        printf("sha256 %s\n", sodium_bin2hex(hex, sizeof hex, hash, sizeof hash));
    return fflush(stdout) == 0 ? 0 : 1;
}

int main(int argc, char **argv)
{
    const char *command = argc > 1 ? argv[1] : "";
    if (sodium_init() < 0) {
        fputs("fleetflash-agent: no random numbers on this device\n", stderr);
        return 1;
    }
    if (strcmp(command, "start") == 0)
        return daemon_start();
    if (strcmp(command, "attach") == 0)
        return attach_run();
    if (strcmp(command, "selftest") == 0)
        return selftest();
    if (strcmp(command, "serve") == 0)
        return serve_run(argc - 2, argv + 2);
    if (strcmp(command, "daemon") == 0)
        return daemon_main(argc - 2, argv + 2);
    if (strcmp(command, "heir") == 0)
        return daemon_inherit();
    if (strcmp(command, "guard") == 0)
        return guard_main();
    fputs("usage: fleetflash-agent start|attach|selftest|serve\n", stderr);
    return 2;
}
