# SPDX-License-Identifier: Apache-2.0
# The agent: its programs as they are shipped (and the one with test switches), and its parts.
fleetflash_unit_test(protocol_test SOURCES protocol_test.c LIBS protocol LABELS agent)
fleetflash_unit_test(agent_parse_test SOURCES agent_parse_test.c LIBS agent_parts LABELS agent)
fleetflash_unit_test(agent_pin_test SOURCES agent_pin_test.c LIBS agent_parts LABELS agent)
fleetflash_unit_test(agent_disk_test SOURCES agent_disk_test.c LIBS agent_parts LABELS agent)
target_link_options(agent_disk_test PRIVATE -Wl,--wrap=flock)
fleetflash_unit_test(agent_loader_test SOURCES agent_loader_test.c LIBS agent_parts LABELS agent)
fleetflash_unit_test(agent_guard_test SOURCES agent_guard_test.c LIBS agent_parts LABELS agent)

# Under AddressSanitizer the agent's own sources are run as a native program as well.
add_executable(agent_native ${CMAKE_SOURCE_DIR}/helpers/agent/main.c)
target_link_libraries(agent_native PRIVATE agent_parts)
set_target_properties(agent_native PROPERTIES RUNTIME_OUTPUT_DIRECTORY ${CMAKE_BINARY_DIR}/bin/tests)

# Conversations with a whole agent program. The arm programs, run by qemu's user emulation, have no
# test switches.
function(fleetflash_agent_test part)
  fleetflash_unit_test(agent_${part}_test SOURCES agent_${part}_test.c agent_driver.c
                       LIBS protocol PkgConfig::ZSTD PkgConfig::SODIUM LABELS agent)
  add_dependencies(agent_${part}_test agents agent_native)
  set_tests_properties(agent_${part}_test PROPERTIES
      ENVIRONMENT "AGENT_PROGRAM=${CMAKE_BINARY_DIR}/bin/tests/agent_native")
  add_test(NAME agent_${part}_static_test COMMAND agent_${part}_test)
  set_tests_properties(agent_${part}_static_test PROPERTIES SKIP_RETURN_CODE 77 TIMEOUT 120 LABELS "unit;agent"
      ENVIRONMENT "AGENT_PROGRAM=${CMAKE_BINARY_DIR}/bin/agents/fleetflash-agent-x86_64-test")
  foreach(row "aarch64;qemu-aarch64-static" "armhf;qemu-arm-static" "armel;qemu-arm-static")
    list(GET row 0 arch)
    list(GET row 1 runner)
    add_test(NAME agent_${part}_${arch}_test COMMAND agent_${part}_test)
    set_tests_properties(agent_${part}_${arch}_test PROPERTIES SKIP_RETURN_CODE 77 TIMEOUT 300 LABELS "unit;agent"
        ENVIRONMENT "AGENT_RUNNER=/usr/bin/${runner};AGENT_PROGRAM=${CMAKE_BINARY_DIR}/bin/agents/fleetflash-agent-${arch}")
  endforeach()
endfunction()

foreach(part serve refuse table lost unattended)
  fleetflash_agent_test(${part})
endforeach()
