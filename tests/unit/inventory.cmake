# SPDX-License-Identifier: Apache-2.0
fleetflash_unit_test(inventory_mistakes_test SOURCES inventory_mistakes_test.c LIBS inventory)
fleetflash_unit_test(inventory_values_test SOURCES inventory_values_test.c LIBS inventory)
fleetflash_unit_test(inventory_select_test SOURCES inventory_select_test.c LIBS inventory)
fleetflash_unit_test(inventory_page_test SOURCES inventory_page_test.c page.c LIBS inventory)

option(FLEETFLASH_FUZZ "Build the libFuzzer programs (clang only)" OFF)
if(FLEETFLASH_FUZZ AND CMAKE_C_COMPILER_ID MATCHES Clang)
  # Built from the sources themselves, so that they are instrumented.
  file(GLOB inventory_sources ${CMAKE_SOURCE_DIR}/inventory/*.c)
  add_executable(inventory_fuzz ${CMAKE_SOURCE_DIR}/tests/fuzz/inventory_fuzz.c ${inventory_sources}
                 ${CMAKE_SOURCE_DIR}/orchestrator/base/units.c)
  target_include_directories(inventory_fuzz PRIVATE ${CMAKE_SOURCE_DIR}/inventory
                             ${CMAKE_SOURCE_DIR}/orchestrator)
  target_compile_options(inventory_fuzz PRIVATE -fsanitize=fuzzer,address,undefined)
  target_link_options(inventory_fuzz PRIVATE -fsanitize=fuzzer,address,undefined)
  target_link_libraries(inventory_fuzz PRIVATE PkgConfig::YAML)
endif()
