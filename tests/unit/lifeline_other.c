/* SPDX-License-Identifier: Apache-2.0 */
#include "lifeline_other.h"

#include "link_fixture.h"

#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

struct talk {
    int fd;
    struct lifeline line;
    uint8_t raw[2 * LIFELINE_RECORD_MAX], plain[LIFELINE_PLAIN_MAX], sealed[LIFELINE_SEALED_MAX];
    size_t raw_size;
};

static void talk_write(struct talk *talk, const uint8_t *data, size_t size)
{
    while (size > 0) {
        ssize_t n = write(talk->fd, data, size);
        if (n <= 0)
            _exit(0);
        data += n;
        size -= (size_t)n;
    }
}

/* The next plain bytes, 0 for an opening step; ends the process when the other side is gone or is
 * not the controller. */
static size_t talk_read(struct talk *talk)
{
    for (;;) {
        size_t plain;
        int64_t taken = lifeline_open(&talk->line, talk->raw, talk->raw_size, talk->plain, &plain);
        if (taken < 0)
            _exit(0);
        if (taken > 0) {
            talk->raw_size -= (size_t)taken;
            memmove(talk->raw, talk->raw + taken, talk->raw_size);
            return plain;
        }
        ssize_t n = read(talk->fd, talk->raw + talk->raw_size, sizeof talk->raw - talk->raw_size);
        if (n <= 0)
            _exit(0);
        talk->raw_size += (size_t)n;
    }
}

static void talk_say(struct talk *talk, const uint8_t *data, size_t size)
{
    talk_write(talk, talk->sealed, lifeline_seal(&talk->line, data, size, talk->sealed));
}

static void talk_meet(struct talk *talk, const uint8_t *key)
{
    uint8_t hello[LIFELINE_HELLO_SIZE];
    lifeline_start(&talk->line, LIFELINE_AGENT, key);
    talk_read(talk);
    lifeline_put_hello(&talk->line, hello);
    talk_write(talk, hello, sizeof hello);
}

static void talk_digest(struct talk *talk, uint64_t limit)
{
    crypto_generichash_state state;
    uint8_t hash[32];
    int number;
    sigset_t set;
    sigemptyset(&set);
    sigaddset(&set, SIGUSR1);
    sigwait(&set, &number);
    crypto_generichash_init(&state, NULL, 0, sizeof hash);
    while (limit > 0) {
        size_t size = talk_read(talk);
        crypto_generichash_update(&state, talk->plain, size);
        limit -= size < limit ? size : limit;
    }
    crypto_generichash_final(&state, hash, sizeof hash);
    talk_say(talk, hash, sizeof hash);
}

static void talk_echo(struct talk *talk, uint64_t limit)
{
    while (limit > 0) {
        size_t size = talk_read(talk);
        if (size == 0)
            continue;
        talk_say(talk, talk->plain, size);
        limit -= size < limit ? size : limit;
    }
    talk_write(talk, (const uint8_t *)"\x00\x01\x00\x00half", 8);
}

static void talk_bad_later(struct talk *talk)
{
    while (talk_read(talk) == 0)
        continue;
    talk_say(talk, talk->plain, 1);
    size_t size = lifeline_seal(&talk->line, talk->plain, 100, talk->sealed);
    talk->sealed[size / 2] ^= 1;
    talk_write(talk, talk->sealed, size);
}

static void other_talk(const struct other *other, int fd, enum manner manner, uint64_t limit)
{
    static struct talk talk;
    talk.fd = fd;
    if (manner == MANNER_GARBAGE)
        talk_write(&talk, (const uint8_t *)"SSH-2.0-OpenSSH_9.2p1 Debian\r\n", 30);
    if (manner != MANNER_SILENT && manner != MANNER_GARBAGE)
        talk_meet(&talk, other->key);
    if (manner == MANNER_ECHO || manner == MANNER_CUT)
        talk_echo(&talk, limit);
    else if (manner == MANNER_DIGEST)
        talk_digest(&talk, limit);
    else if (manner == MANNER_BAD_LATER)
        talk_bad_later(&talk);
    if (manner == MANNER_CUT)
        _exit(0);
    while (read(fd, talk.raw, sizeof talk.raw) > 0)
        continue;
    _exit(0);
}

static void other_serve(const struct other *other, int listener, enum manner manner, uint64_t limit)
{
    signal(SIGCHLD, SIG_IGN);
    for (;;) {
        int fd = accept(listener, NULL, NULL);
        if (fd >= 0 && fork() == 0) {
            prctl(PR_SET_PDEATHSIG, SIGKILL);
            other_talk(other, fd, manner, limit);
        }
        close(fd);
    }
}

void other_start(struct other *other, enum manner manner, const uint8_t *key, uint64_t limit)
{
    int listener = listen_on_loopback(&other->port);
    memcpy(other->key, key, sizeof other->key);
    other->pid = fork();
    if (other->pid == 0) {
        sigset_t set;
        sigemptyset(&set);
        sigaddset(&set, SIGUSR1);
        sigprocmask(SIG_BLOCK, &set, NULL);
        setpgid(0, 0);
        prctl(PR_SET_PDEATHSIG, SIGKILL);
        other_serve(other, listener, manner, limit);
    }
    setpgid(other->pid, other->pid);
    close(listener);
}

void other_stop(struct other *other)
{
    kill(-other->pid, SIGKILL);
    waitpid(other->pid, NULL, 0);
}
