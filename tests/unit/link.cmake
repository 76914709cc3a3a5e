# SPDX-License-Identifier: Apache-2.0
fleetflash_unit_test(link_auth_test SOURCES link_auth_test.c link_fixture.c LIBS link_ssh)
