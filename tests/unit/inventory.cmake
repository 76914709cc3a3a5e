# SPDX-License-Identifier: Apache-2.0
fleetflash_unit_test(inventory_mistakes_test SOURCES inventory_mistakes_test.c LIBS inventory)
fleetflash_unit_test(inventory_values_test SOURCES inventory_values_test.c LIBS inventory)
fleetflash_unit_test(inventory_select_test SOURCES inventory_select_test.c LIBS inventory)
fleetflash_unit_test(inventory_import_test SOURCES inventory_import_test.c LIBS inventory)
fleetflash_unit_test(inventory_page_test SOURCES inventory_page_test.c page.c LIBS inventory)

option(FLEETFLASH_FUZZ "Build the libFuzzer programs (clang only)" OFF)
if(FLEETFLASH_FUZZ AND CMAKE_C_COMPILER_ID MATCHES Clang)
  # Built from the sources themselves, so that they are instrumented.
  file(GLOB inventory_sources ${CMAKE_SOURCE_DIR}/inventory/*.c)
  foreach(fuzz inventory import)
    add_executable(${fuzz}_fuzz ${CMAKE_SOURCE_DIR}/tests/fuzz/${fuzz}_fuzz.c ${inventory_sources}
                   ${CMAKE_SOURCE_DIR}/orchestrator/base/units.c)
    target_include_directories(${fuzz}_fuzz PRIVATE ${CMAKE_SOURCE_DIR}/inventory
                               ${CMAKE_SOURCE_DIR}/orchestrator)
    target_compile_options(${fuzz}_fuzz PRIVATE -fsanitize=fuzzer,address,undefined)
    target_link_options(${fuzz}_fuzz PRIVATE -fsanitize=fuzzer,address,undefined)
    target_link_libraries(${fuzz}_fuzz PRIVATE PkgConfig::YAML)
  endforeach()
endif()
