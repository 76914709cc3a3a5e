# SPDX-License-Identifier: Apache-2.0
# The agent: its programs as they are shipped (and the one with test switches), and its parts.
fleetflash_unit_test(agent_serve_test SOURCES agent_serve_test.c agent_driver.c
                     LIBS protocol PkgConfig::ZSTD PkgConfig::SODIUM LABELS agent)
add_dependencies(agent_serve_test agents)
set_tests_properties(agent_serve_test PROPERTIES
    ENVIRONMENT "AGENT_PROGRAM=${CMAKE_BINARY_DIR}/bin/agents/fleetflash-agent-x86_64-test")
