# SPDX-License-Identifier: Apache-2.0
fleetflash_unit_test(target_shell_test SOURCES target_shell_test.c LIBS target)
fleetflash_unit_test(target_agent_files_test SOURCES target_agent_files_test.c LIBS target PkgConfig::ZLIB)
fleetflash_unit_test(target_facts_test SOURCES target_facts_test.c LIBS target)
fleetflash_unit_test(target_pace_test SOURCES target_pace_test.c LIBS target)
fleetflash_unit_test(target_rules_test SOURCES target_rules_test.c LIBS target)
fleetflash_unit_test(target_shift_test SOURCES target_shift_test.c LIBS target)
fleetflash_unit_test(target_session_test SOURCES target_session_test.c LIBS target)
add_test(NAME install_test COMMAND ${CMAKE_CURRENT_LIST_DIR}/install_test.sh ${CMAKE_BINARY_DIR}
         ${CMAKE_SOURCE_DIR})
set_tests_properties(install_test PROPERTIES LABELS unit TIMEOUT 120)
