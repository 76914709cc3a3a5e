# SPDX-License-Identifier: Apache-2.0
if(TARGET store)
  foreach(_test decoder_format store_prepare store_damage store_fetch store_share)
    fleetflash_unit_test(${_test}_test SOURCES ${_test}_test.c store_help.c
      LIBS store PkgConfig::SODIUM PkgConfig::ZSTD LABELS store)
  endforeach()
endif()
