# SPDX-License-Identifier: Apache-2.0
foreach(part auth hostkey route transfer failure sshagent closing)
  fleetflash_unit_test(link_${part}_test SOURCES link_${part}_test.c link_stand.c link_fixture.c LIBS link_ssh
                       LABELS link TIMEOUT 300)
endforeach()
fleetflash_unit_test(link_lifeline_test SOURCES link_lifeline_test.c lifeline_other.c link_fixture.c
                     LIBS link_ssh protocol PkgConfig::SODIUM LABELS link TIMEOUT 300)
add_dependencies(link_lifeline_test agent_native)
set_tests_properties(link_lifeline_test PROPERTIES
    ENVIRONMENT "AGENT_PROGRAM=${CMAKE_BINARY_DIR}/bin/tests/agent_native")
fleetflash_unit_test(settings_cache_test SOURCES settings_cache_test.c LIBS link_ssh LABELS link)
fleetflash_unit_test(wire_local_test SOURCES wire_local_test.c LIBS link_ssh LABELS link)
fleetflash_unit_test(link_local_test SOURCES link_local_test.c LIBS link_ssh LABELS link)

# Not a test: how much one loop thread sends. See tests/bench/link_bench.c.
add_executable(link_bench EXCLUDE_FROM_ALL ${CMAKE_CURRENT_LIST_DIR}/../bench/link_bench.c
               ${CMAKE_CURRENT_LIST_DIR}/link_fixture.c)
target_include_directories(link_bench PRIVATE ${CMAKE_CURRENT_LIST_DIR})
target_link_libraries(link_bench PRIVATE link_ssh PkgConfig::CMOCKA)
