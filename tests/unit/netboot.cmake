# SPDX-License-Identifier: Apache-2.0
# The TFTP server by itself, for real clients.
add_executable(tftp_serve ${CMAKE_CURRENT_SOURCE_DIR}/unit/tftp_serve.c)
target_link_libraries(tftp_serve PRIVATE netboot PkgConfig::JANSSON)
set_target_properties(tftp_serve PROPERTIES RUNTIME_OUTPUT_DIRECTORY ${CMAKE_BINARY_DIR}/bin/tests)
foreach(_test tftp_packet tftp_transfer netconsole)
  fleetflash_unit_test(${_test}_test SOURCES ${_test}_test.c LIBS netboot LABELS netboot)
endforeach()
target_link_options(netconsole_test PRIVATE -Wl,--wrap=uv_now) # its clock is the test's
fleetflash_unit_test(chunk_test SOURCES chunk_test.c store_help.c
  LIBS netboot PkgConfig::SODIUM PkgConfig::ZSTD Threads::Threads LABELS netboot)
fleetflash_unit_test(boot_script_test SOURCES boot_script_test.c store_help.c
  LIBS netboot PkgConfig::SODIUM PkgConfig::ZSTD Threads::Threads LABELS netboot)

# A short run of the fuzzer whatever compiler the rest is built with; longer ones by hand:
# build/bin/tests/tftp_fuzz -max_total_time=600
find_program(FLEETFLASH_CLANG clang)
if(FLEETFLASH_CLANG)
  set(_netboot ${CMAKE_SOURCE_DIR}/orchestrator/netboot)
  set(_sources ${CMAKE_SOURCE_DIR}/tests/fuzz/tftp_fuzz.c ${_netboot}/tftp_packet.c ${_netboot}/tftp_transfer.c
      ${_netboot}/netboot_name.c ${_netboot}/report_text.c ${CMAKE_SOURCE_DIR}/inventory/address.c
      ${CMAKE_SOURCE_DIR}/orchestrator/base/error.c)
  set(_fuzz ${CMAKE_BINARY_DIR}/bin/tests/tftp_fuzz)
  add_custom_command(OUTPUT ${_fuzz}
    COMMAND ${CMAKE_COMMAND} -E make_directory ${CMAKE_BINARY_DIR}/bin/tests
    COMMAND ${FLEETFLASH_CLANG} -std=gnu17 -D_GNU_SOURCE -g -O1 -fsanitize=fuzzer,address,undefined
            -fno-sanitize-recover=undefined -I${CMAKE_SOURCE_DIR}/orchestrator -I${CMAKE_SOURCE_DIR}/inventory
            ${_sources} -o ${_fuzz}
    DEPENDS ${_sources} VERBATIM)
  add_custom_target(tftp_fuzz ALL DEPENDS ${_fuzz})
  add_test(NAME tftp_fuzz COMMAND ${_fuzz} -seed=1 -runs=200000 -max_len=600 -print_final_stats=1)
  set_tests_properties(tftp_fuzz PROPERTIES TIMEOUT 300 LABELS "unit;netboot")
endif()
