/* SPDX-License-Identifier: Apache-2.0 */
/* What forbids a flash before anything is touched, on facts as an agent sends them. */
#include "store/store.h"
#include "target/target.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define MIB (1u << 20)

static const struct store_info image = {.image_size = 4096ull * MIB, .wire_bytes = 1024ull * MIB};

/* Whether a device with this network may be streamed to. */
static int may_stream(const char *network, uint64_t rate, struct error *err)
{
    struct target_status status = {0};
    char json[200];
    int size = snprintf(json, sizeof json, "{\"network\":%s}", network);
    assert_int_equal(target_facts_read(&status.facts, json, (size_t)size, err), 0);
    return target_may_stream(&status, &image, rate, err);
}

static void a_cable_and_an_own_address_may_stream(void **state)
{
    (void)state;
    struct error err = {0};
    assert_int_equal(may_stream("{\"interface\":\"eth0\",\"wifi\":false,\"lease\":null}", 0, &err),
                     0);
    assert_int_equal(may_stream("null", 0, &err), 0); /* an agent that could not tell */
}

static void wifi_may_not(void **state)
{
    (void)state;
    struct error err = {0};
    assert_int_equal(may_stream("{\"interface\":\"wlan0\",\"wifi\":true,\"lease\":null}", 0, &err),
                     -1);
    assert_int_equal(err.cls, ERROR_REFUSED);
    assert_non_null(strstr(err.text, "Wi-Fi (wlan0)"));
    assert_non_null(strstr(err.remedy, "1025 MiB")); /* what staging would take */
}

static void a_lease_must_outlive_the_stream(void **state)
{
    (void)state;
    struct error err = {0};
    uint64_t seconds = target_stream_seconds(&image, 0);
    char network[100];
    assert_true(seconds > 1024 / 10 && seconds < 3600); /* a day's lease is long enough */
    snprintf(network, sizeof network, "{\"interface\":\"eth0\",\"lease\":%llu}",
             (unsigned long long)seconds);
    assert_int_equal(may_stream(network, 0, &err), 0);
    /* With --rate it takes longer. */
    assert_int_equal(may_stream(network, MIB, &err), -1);
    snprintf(network, sizeof network, "{\"interface\":\"eth0\",\"lease\":%llu}",
             (unsigned long long)seconds - 1);
    assert_int_equal(may_stream(network, 0, &err), -1);
    assert_int_equal(err.cls, ERROR_REFUSED);
    assert_non_null(strstr(err.text, "leased for"));
    assert_true(err.remedy[0] != '\0');
    assert_int_equal(may_stream("{\"interface\":\"eth0\",\"lease\":0}", 0, &err), -1);
}

static void a_limit_makes_a_stream_longer_and_nothing_shorter(void **state)
{
    (void)state;
    uint64_t seconds = target_stream_seconds(&image, 0);
    assert_int_equal(target_stream_seconds(&image, 1024ull * MIB), seconds);
    assert_true(target_stream_seconds(&image, MIB) > seconds);
}

static void our_own_machine_is_known_by_its_boot(void **state)
{
    (void)state;
    char own[64] = "";
    FILE *stream = fopen("/proc/sys/kernel/random/boot_id", "r");
    assert_non_null(stream);
    assert_int_equal(fscanf(stream, "%63s", own), 1);
    fclose(stream);
    assert_true(target_is_controller(own));
    own[0] = own[0] == 'a' ? 'b' : 'a';
    assert_false(target_is_controller(own));
    assert_false(target_is_controller(""));
}

static void the_command_line_overrules_the_inventory_s_mode(void **state)
{
    (void)state;
    struct target_env env = {.mode = MODE_AUTO};
    struct target_spec spec = {.mode = INVENTORY_STREAM};
    assert_int_equal(target_wanted_mode(&env, &spec), MODE_STREAM);
    env.mode = MODE_STAGE;
    assert_int_equal(target_wanted_mode(&env, &spec), MODE_STAGE);
    env.mode = MODE_AUTO;
    spec.mode = INVENTORY_AUTO;
    assert_int_equal(target_wanted_mode(&env, &spec), MODE_AUTO);
}

static void who_flashes_himself_stages(void **state)
{
    (void)state;
    struct target_env env = {.mode = MODE_AUTO};
    struct target_spec spec = {.mode = INVENTORY_LOCAL};
    assert_true(target_is_local(&env, &spec));
    assert_int_equal(target_wanted_mode(&env, &spec), MODE_STAGE);
    assert_int_equal(target_trust(&env, &spec, NULL), TRUST_NOT_NEEDED);
    env.mode = MODE_STREAM; /* the command line's: over ssh, then, and refused there */
    assert_false(target_is_local(&env, &spec));
    env.mode = MODE_AUTO;
    spec.mode = INVENTORY_STREAM;
    assert_false(target_is_local(&env, &spec));
    env.local = true;
    assert_true(target_is_local(&env, &spec));
    assert_int_equal(target_wanted_mode(&env, &spec), MODE_STAGE);
}

static void who_flashes_himself_needs_memory_for_all(void **state)
{
    (void)state;
    struct target_status status = {.facts = {.stage_room = 1024ull * MIB}};
    struct error err = {0};
    assert_int_equal(target_memory_fits(&status, &image, &err), 0);
    status.facts.stage_room--;
    assert_int_equal(target_memory_fits(&status, &image, &err), -1);
    assert_int_equal(err.cls, ERROR_REFUSED);
    assert_non_null(strstr(err.text, "1025 MiB, and only 1023 MiB"));
}

static void ping_must_be_installed_to_be_used(void **state)
{
    (void)state;
    struct target_spec spec = {.reach = REACH_PING};
    struct error err = {0};
    setenv("PATH", "/nonexistent:/", 1);
    assert_int_equal(target_can_look(&spec, &err), -1);
    assert_int_equal(err.cls, ERROR_REFUSED);
    assert_true(err.remedy[0] != '\0');
    spec.reach = REACH_SSH;
    assert_int_equal(target_can_look(&spec, &err), 0);
    spec.reach = REACH_PING;
    char folder[] = "/tmp/rules-test-XXXXXX", path[64], file[64];
    assert_non_null(mkdtemp(folder));
    snprintf(file, sizeof file, "%s/ping", folder);
    snprintf(path, sizeof path, "/nonexistent:%s", folder);
    FILE *stream = fopen(file, "w");
    assert_non_null(stream);
    fclose(stream);
    chmod(file, 0755);
    setenv("PATH", path, 1);
    assert_int_equal(target_can_look(&spec, &err), 0);
    unlink(file);
    rmdir(folder);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_cable_and_an_own_address_may_stream),
        cmocka_unit_test(wifi_may_not),
        cmocka_unit_test(a_lease_must_outlive_the_stream),
        cmocka_unit_test(a_limit_makes_a_stream_longer_and_nothing_shorter),
        cmocka_unit_test(our_own_machine_is_known_by_its_boot),
        cmocka_unit_test(the_command_line_overrules_the_inventory_s_mode),
        cmocka_unit_test(who_flashes_himself_stages),
        cmocka_unit_test(who_flashes_himself_needs_memory_for_all),
        cmocka_unit_test(ping_must_be_installed_to_be_used),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
