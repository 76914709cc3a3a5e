/* SPDX-License-Identifier: Apache-2.0 */
/* TFTP packets, and the names and reports in them, taken apart and put together. */
#include "netboot/netboot_name.h"
#include "netboot/tftp_packet.h"

#include <setjmp.h>
#include <stdarg.h>

#include <cmocka.h>

#include <string.h>

#define REQUEST(text) (const uint8_t *)(text), sizeof(text) - 1

static void test_request(void **state)
{
    (void)state;
    struct tftp_request request;
    struct error err;
    assert_int_equal(tftp_read_request(REQUEST("\0\1some/file\0OcTeT\0"), &request, &err), 0);
    assert_false(request.write);
    assert_string_equal(request.name, "some/file");
    assert_false(request.wishes.has_blksize);
    assert_int_equal(
        tftp_read_request(REQUEST("\0\2r\0octet\0BLKSIZE\0001468\0tsize\00012\0timeout\0"
                                  "7\0windowsize\00016\0unheard\0of\0"),
                          &request, &err),
        0);
    assert_true(request.write);
    assert_int_equal(request.wishes.blksize, 1468);
    assert_int_equal(request.wishes.tsize, 12);
    assert_int_equal(request.wishes.timeout, 7);
    assert_int_equal(request.wishes.windowsize, 16);
}

static void test_senseless_options(void **state)
{
    (void)state;
    struct tftp_request request;
    struct error err;
    assert_int_equal(tftp_read_request(REQUEST("\0\1f\0octet\0blksize\0007\0tsize\0-1\0timeout\0"
                                               "256\0windowsize\0000\0blksize\00099999\0tsize"),
                                       &request, &err),
                     0);
    assert_false(request.wishes.has_blksize || request.wishes.has_tsize ||
                 request.wishes.has_timeout || request.wishes.has_windowsize);
}

static void test_wrong_requests(void **state)
{
    (void)state;
    struct tftp_request request;
    struct error err;
    char text[400] = "\0\1";
    assert_int_equal(tftp_read_request(REQUEST(""), &request, &err), -1);
    assert_int_equal(tftp_read_request(REQUEST("\0\3x\0octet\0"), &request, &err), -1);
    assert_int_equal(tftp_read_request(REQUEST("\0\1name"), &request, &err), -1);
    assert_int_equal(tftp_read_request(REQUEST("\0\1name\0octet"), &request, &err), -1);
    assert_int_equal(tftp_read_request(REQUEST("\0\1name\0netascii\0"), &request, &err), -1);
    assert_non_null(strstr(err.text, "octet"));
    memset(text + 2, 'a', TFTP_NAME_MAX);
    memcpy(text + 2 + TFTP_NAME_MAX, "\0octet", 7);
    assert_int_equal(tftp_read_request((uint8_t *)text, TFTP_NAME_MAX + 9, &request, &err), -1);
    assert_non_null(strstr(err.text, "too long"));
}

static void test_packets(void **state)
{
    (void)state;
    struct tftp_packet packet;
    uint8_t out[TFTP_ERROR_SIZE];
    assert_int_equal(tftp_read_packet(REQUEST("\0\3\xff\xfe"
                                              "abc"),
                                      &packet),
                     0);
    assert_int_equal(packet.opcode, TFTP_DATA);
    assert_int_equal(packet.number, 0xfffe);
    assert_int_equal(packet.payload_size, 3);
    assert_int_equal(tftp_read_packet(REQUEST("\0\5\0\4bad\nthing\0"), &packet), 0);
    assert_string_equal(packet.text, "bad?thing");
    assert_int_equal(tftp_read_packet(REQUEST("\0\4\0"), &packet), -1);
    assert_int_equal(tftp_read_packet(REQUEST("\0\6\0\0"), &packet), -1);
    assert_int_equal(tftp_read_packet(REQUEST("\1\4\0\0"), &packet), -1);
    tftp_write_head(out, TFTP_ACK, 0x1234);
    assert_memory_equal(out, "\0\4\x12\x34", 4);
    assert_int_equal(tftp_write_error(out, TFTP_CODE_FULL, "no"), 7);
    assert_memory_equal(out, "\0\5\0\3no", 7);
    assert_true(tftp_is_error(out, 7));
    char text[300] = {0};
    memset(text, 'x', sizeof text - 1);
    assert_int_equal(tftp_write_error(out, TFTP_CODE_FULL, text), TFTP_ERROR_SIZE);
    assert_int_equal(out[TFTP_ERROR_SIZE - 1], 0);
}

static void test_oack(void **state)
{
    (void)state;
    uint8_t out[TFTP_OACK_SIZE];
    struct tftp_wishes agreed = {.has_blksize = true, .has_tsize = true, .blksize = 1024};
    static const char expected[] = "\0\6blksize\0001024\0tsize\0000";
    assert_int_equal(tftp_write_oack(out, &agreed), sizeof expected);
    assert_memory_equal(out, expected, sizeof expected);
    agreed = (struct tftp_wishes){true, true, true, true, 65464, 255, 999999999999999999, 65535};
    assert_in_range(tftp_write_oack(out, &agreed), 1, TFTP_OACK_SIZE);
    assert_int_equal(tftp_write_oack(out, &(struct tftp_wishes){0}), 0);
}

static void test_names(void **state)
{
    (void)state;
    static const char *const macs[] = {"dc:a6:32:01:02:ff",    "DC-A6-32-01-02-FF",
                                       "dca6320102ff",         "dca6.3201.02ff",
                                       "01-dc-a6-32-01-02-ff", "/./dc:a6:32:01:02:FF"};
    struct netboot_name name;
    char text[80];
    for (size_t i = 0; i < sizeof macs / sizeof *macs; i++) {
        strcpy(text, macs[i]);
        strcat(text, "/rpi_image_part_12");
        assert_int_equal(netboot_name_parse(text, &name), 0);
        assert_string_equal(name.mac, "dc:a6:32:01:02:ff");
        assert_int_equal(name.kind, NAME_PART);
        assert_int_equal(name.part, 12);
        assert_false(name.gzip);
    }
    static const struct {
        const char *text;
        int kind; /* -1: refused */
    } others[] = {
        {"dca6320102ff/rpi_image_part_0.gz", NAME_PART},
        {"dca6320102ff/rpi_image_part_", NAME_FILE},
        {"dca6320102ff/rpi_image_part_1x", NAME_FILE},
        {"dca6320102ff/rpi_image_part_123456", NAME_FILE},
        {"dca6320102ff//report", NAME_REPORT_FILE},
        {"dca6320102ff/report/OK-10", NAME_REPORT},
        {"dca6320102ff/report/OK", NAME_FILE},
        {"dca6320102ff/report/", NAME_FILE},
        {"dca6320102ff/boot.scr", NAME_FILE},
        {"dca6320102ff/../../etc/passwd", NAME_FILE},
        {"dca6320102ff/", -1},
        {"dca6320102ff", -1},
        {"rpi_image_part_0", -1},
        {"dca6320102f/x", -1},
        {"01:00:5e:00:00:01/x", -1}, /* multicast */
        {"", -1},
    };
    for (size_t i = 0; i < sizeof others / sizeof *others; i++) {
        int result = netboot_name_parse(others[i].text, &name);
        assert_int_equal(result == 0 ? (int)name.kind : -1, others[i].kind);
    }
}

static void test_reports(void **state)
{
    (void)state;
    struct netboot_report report;
    assert_int_equal(report_text_parse("OK 786432000\n", ' ', &report), 0);
    assert_int_equal(report.kind, REPORT_OK);
    assert_int_equal(report.bytes, 786432000);
    assert_false(report.has_crc);
    assert_int_equal(report_text_parse("OK-0x2ee00000-cbf43926", '-', &report), 0);
    assert_int_equal(report.bytes, 0x2ee00000);
    assert_true(report_crc_equals(&report, 0xcbf43926));
    assert_true(report_crc_equals(&report, 0x2639f4cb));
    assert_false(report_crc_equals(&report, 0xcbf43927));
    assert_int_equal(report_text_parse("FAILED-0-write-error-5", '-', &report), 0);
    assert_int_equal(report.kind, REPORT_FAILED);
    assert_string_equal(report.reason, "write error 5");
    assert_false(report.no_fetch);
    /* As the flash script says it, by name and by tftpput. */
    assert_int_equal(report_text_parse("FAILED-0x0-part-3-fetch", '-', &report), 0);
    assert_true(report.no_fetch);
    assert_int_equal(report_text_parse("FAILED 0x0 part-3-fetch\n", ' ', &report), 0);
    assert_true(report.no_fetch);
    assert_int_equal(report_text_parse("FAILED 0x0 prefetch", ' ', &report), 0);
    assert_false(report.no_fetch);
    assert_int_equal(report_text_parse("FAILED 12 no \x01memory\r\n", ' ', &report), 0);
    assert_string_equal(report.reason, "no ?memory");
    assert_int_equal(report_text_parse("PART-7-512-1f", '-', &report), 0);
    assert_int_equal(report.part, 7);
    assert_int_equal(report.crc, 0x1f);
    static const char *const wrong[] = {"",
                                        "OK",
                                        "OK ",
                                        "OK x",
                                        "OK 1 2 3",
                                        "OK -1",
                                        "OK 1 123456789",
                                        "ok 1",
                                        "OK 99999999999999999999",
                                        "PART 1 2",
                                        "PART x 1 1",
                                        "FAILED",
                                        "FAILED why",
                                        "OK 0x"};
    for (size_t i = 0; i < sizeof wrong / sizeof *wrong; i++)
        assert_int_equal(report_text_parse(wrong[i], ' ', &report), -1);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_request),        cmocka_unit_test(test_senseless_options),
        cmocka_unit_test(test_wrong_requests), cmocka_unit_test(test_packets),
        cmocka_unit_test(test_oack),           cmocka_unit_test(test_names),
        cmocka_unit_test(test_reports),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
