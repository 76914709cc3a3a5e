# SPDX-License-Identifier: Apache-2.0
# What a person and a machine see of a run. facts.c of the target has the stable names.
set(report_support report_fake.c report_lint.c ../../orchestrator/target/facts.c)
foreach(noun text plain events json junit html plan frame)
  fleetflash_unit_test(report_${noun}_test SOURCES report_${noun}_test.c ${report_support} LIBS report util)
endforeach()
foreach(noun screen keys)
  fleetflash_unit_test(report_${noun}_test SOURCES report_${noun}_test.c screen_scene.c ${report_support} LIBS report util)
endforeach()

# A simulated run to look at: screen_demo [targets [seconds]]
add_executable(screen_demo ${CMAKE_CURRENT_LIST_DIR}/screen_demo.c ${CMAKE_CURRENT_LIST_DIR}/report_fake.c
               ${CMAKE_CURRENT_LIST_DIR}/../../orchestrator/target/facts.c)
target_link_libraries(screen_demo PRIVATE report)
set_target_properties(screen_demo PROPERTIES RUNTIME_OUTPUT_DIRECTORY ${CMAKE_BINARY_DIR}/bin/tests)

# A made-up report to look at: report_demo FILE.html
add_executable(report_demo ${CMAKE_CURRENT_LIST_DIR}/report_demo.c ${CMAKE_CURRENT_LIST_DIR}/report_fake.c
               ${CMAKE_CURRENT_LIST_DIR}/../../orchestrator/target/facts.c)
target_link_libraries(report_demo PRIVATE report)
set_target_properties(report_demo PROPERTIES RUNTIME_OUTPUT_DIRECTORY ${CMAKE_BINARY_DIR}/bin/tests)
