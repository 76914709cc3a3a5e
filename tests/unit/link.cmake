# SPDX-License-Identifier: Apache-2.0
foreach(part auth hostkey route transfer)
  fleetflash_unit_test(link_${part}_test SOURCES link_${part}_test.c link_fixture.c LIBS link_ssh
                       LABELS link)
endforeach()
