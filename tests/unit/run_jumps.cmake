# SPDX-License-Identifier: Apache-2.0
fleetflash_unit_test(run_jumps_test SOURCES run_jumps_test.c ../../orchestrator/run/hosts.c
                     ../../orchestrator/run/jumps.c LIBS link_ssh inventory)
target_include_directories(run_jumps_test PRIVATE ${CMAKE_SOURCE_DIR}/orchestrator)
fleetflash_unit_test(run_self_test SOURCES run_self_test.c ../../orchestrator/run/self.c LIBS base inventory)
target_include_directories(run_self_test PRIVATE ${CMAKE_SOURCE_DIR}/orchestrator)
fleetflash_unit_test(run_window_test SOURCES run_window_test.c ../../orchestrator/run/window.c LIBS inventory)
target_include_directories(run_window_test PRIVATE ${CMAKE_SOURCE_DIR}/orchestrator)
fleetflash_unit_test(run_waves_test SOURCES run_waves_test.c ../../orchestrator/run/waves.c ../../orchestrator/run/passage.c
                     ../../orchestrator/run/soak.c ../../orchestrator/run/window.c LIBS inventory journal base policy)
target_include_directories(run_waves_test PRIVATE ${CMAKE_SOURCE_DIR}/orchestrator)
