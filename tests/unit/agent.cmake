# SPDX-License-Identifier: Apache-2.0
# The agent: its programs as they are shipped (and the one with test switches), and its parts.
fleetflash_unit_test(protocol_test SOURCES protocol_test.c LIBS protocol LABELS agent)
fleetflash_unit_test(agent_parse_test SOURCES agent_parse_test.c LIBS agent_parts LABELS agent)
fleetflash_unit_test(agent_serve_test SOURCES agent_serve_test.c agent_driver.c
                     LIBS protocol PkgConfig::ZSTD PkgConfig::SODIUM LABELS agent)
add_dependencies(agent_serve_test agents)

# Under AddressSanitizer the agent's own sources are run as a native program as well.
add_executable(agent_native ${CMAKE_SOURCE_DIR}/helpers/agent/main.c)
target_link_libraries(agent_native PRIVATE agent_parts)
set_target_properties(agent_native PROPERTIES RUNTIME_OUTPUT_DIRECTORY ${CMAKE_BINARY_DIR}/bin/tests)
add_dependencies(agent_serve_test agent_native)
set_tests_properties(agent_serve_test PROPERTIES
    ENVIRONMENT "AGENT_PROGRAM=${CMAKE_BINARY_DIR}/bin/tests/agent_native")
add_test(NAME agent_serve_static_test COMMAND agent_serve_test)
set_tests_properties(agent_serve_static_test PROPERTIES SKIP_RETURN_CODE 77 TIMEOUT 120 LABELS "unit;agent"
    ENVIRONMENT "AGENT_PROGRAM=${CMAKE_BINARY_DIR}/bin/agents/fleetflash-agent-x86_64-test")

# The arm programs, run by qemu's user emulation. They have no test switches.
foreach(row "aarch64;qemu-aarch64-static" "armhf;qemu-arm-static" "armel;qemu-arm-static")
  list(GET row 0 arch)
  list(GET row 1 runner)
  add_test(NAME agent_serve_${arch}_test COMMAND agent_serve_test)
  set_tests_properties(agent_serve_${arch}_test PROPERTIES SKIP_RETURN_CODE 77 TIMEOUT 300 LABELS "unit;agent"
      ENVIRONMENT "AGENT_RUNNER=/usr/bin/${runner};AGENT_PROGRAM=${CMAKE_BINARY_DIR}/bin/agents/fleetflash-agent-${arch}")
endforeach()
