# SPDX-License-Identifier: Apache-2.0
fleetflash_unit_test(options_test SOURCES options_test.c LIBS cli)
fleetflash_unit_test(privilege_test SOURCES privilege_test.c LIBS base)
fleetflash_unit_test(options_page_test SOURCES options_page_test.c page.c LIBS cli)
fleetflash_unit_test(list_test SOURCES list_test.c LIBS cli PkgConfig::JANSSON)

add_test(NAME completion_test COMMAND ${CMAKE_CURRENT_LIST_DIR}/completion_test.py $<TARGET_FILE:fleetflash>
         ${CMAKE_BINARY_DIR}/completions)
set_tests_properties(completion_test PROPERTIES LABELS unit TIMEOUT 120)

add_library(no_thread MODULE ${CMAKE_CURRENT_LIST_DIR}/no_thread.c)
target_link_libraries(no_thread PRIVATE ${CMAKE_DL_LIBS})
set_target_properties(no_thread PROPERTIES LIBRARY_OUTPUT_DIRECTORY ${CMAKE_BINARY_DIR}/bin/tests)
if(FLEETFLASH_SANITIZE)
  set(_no_thread)
else()
  set(_no_thread $<TARGET_FILE:no_thread>)
endif()
add_test(NAME command_test COMMAND ${CMAKE_CURRENT_LIST_DIR}/command_test.py $<TARGET_FILE:fleetflash> ${_no_thread})
set_tests_properties(command_test PROPERTIES LABELS unit TIMEOUT 120)
