# SPDX-License-Identifier: Apache-2.0
fleetflash_unit_test(options_test SOURCES options_test.c LIBS cli)
fleetflash_unit_test(options_page_test SOURCES options_page_test.c page.c LIBS cli)
fleetflash_unit_test(list_test SOURCES list_test.c LIBS cli PkgConfig::JANSSON)
