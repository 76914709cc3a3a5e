# SPDX-License-Identifier: Apache-2.0
foreach(part auth failure hostkey route transfer)
  fleetflash_unit_test(link_${part}_test SOURCES link_${part}_test.c link_fixture.c LIBS link_ssh
                       LABELS link TIMEOUT 300)
endforeach()
fleetflash_unit_test(wire_local_test SOURCES wire_local_test.c LIBS link_ssh LABELS link)
