# SPDX-License-Identifier: Apache-2.0
# The TFTP server by itself, for real clients.
add_executable(tftp_serve ${CMAKE_CURRENT_SOURCE_DIR}/unit/tftp_serve.c)
target_link_libraries(tftp_serve PRIVATE netboot PkgConfig::JANSSON)
set_target_properties(tftp_serve PROPERTIES RUNTIME_OUTPUT_DIRECTORY ${CMAKE_BINARY_DIR}/bin/tests)
foreach(_test tftp_packet tftp_transfer)
  fleetflash_unit_test(${_test}_test SOURCES ${_test}_test.c LIBS netboot LABELS netboot)
endforeach()
