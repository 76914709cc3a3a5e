# SPDX-License-Identifier: Apache-2.0
# Tests on virtual devices. Each boots its own fleet, in a network of its own, and waits more than it works: two
# of them may run at once, those with the longest time limit first. ALONE: its fleet takes the whole machine.
# Label "sanitized": also run with the sanitized controller.
function(fleetflash_lab_test name)
  cmake_parse_arguments(ARG "ALONE" "TIMEOUT" "LABELS" ${ARGN})
  add_test(NAME lab_${name} COMMAND ${CMAKE_CURRENT_FUNCTION_LIST_DIR}/lab/test_${name}.py)
  set_tests_properties(lab_${name} PROPERTIES SKIP_RETURN_CODE 77 TIMEOUT ${ARG_TIMEOUT}
    COST ${ARG_TIMEOUT} RUN_SERIAL ${ARG_ALONE} LABELS "lab;${ARG_LABELS}"
    ENVIRONMENT "FLEETFLASH=${CMAKE_BINARY_DIR}/bin/fleetflash")
endfunction()

fleetflash_lab_test(lab TIMEOUT 300)
fleetflash_lab_test(fleet TIMEOUT 900)
fleetflash_lab_test(arm64 TIMEOUT 1200)
fleetflash_lab_test(fence ALONE TIMEOUT 900)
fleetflash_lab_test(stacks_flash TIMEOUT 900)
fleetflash_lab_test(damage TIMEOUT 600)
fleetflash_lab_test(unfit TIMEOUT 600)
fleetflash_lab_test(sectors TIMEOUT 600)
fleetflash_lab_test(many TIMEOUT 900)
fleetflash_lab_test(resume TIMEOUT 900)
fleetflash_lab_test(silent TIMEOUT 600)
fleetflash_lab_test(cuts TIMEOUT 900)
fleetflash_lab_test(retries TIMEOUT 120)
fleetflash_lab_test(services TIMEOUT 400)
fleetflash_lab_test(reflash TIMEOUT 400)
fleetflash_lab_test(refusals TIMEOUT 600)
fleetflash_lab_test(routes TIMEOUT 400)
fleetflash_lab_test(rollout TIMEOUT 600)
fleetflash_lab_test(soak TIMEOUT 600)
add_library(kill_commit MODULE ${CMAKE_CURRENT_LIST_DIR}/lab/kill_commit.c)
target_link_libraries(kill_commit PRIVATE PkgConfig::SQLITE)
set_target_properties(kill_commit PROPERTIES LIBRARY_OUTPUT_DIRECTORY ${CMAKE_BINARY_DIR}/bin/tests)
fleetflash_lab_test(journal TIMEOUT 600)
fleetflash_lab_test(states TIMEOUT 600)
fleetflash_lab_test(guards TIMEOUT 900)
fleetflash_lab_test(after TIMEOUT 900)
fleetflash_lab_test(nightly TIMEOUT 600)
fleetflash_lab_test(units TIMEOUT 300)
fleetflash_lab_test(reset TIMEOUT 900)
fleetflash_lab_test(local TIMEOUT 400)
fleetflash_lab_test(tftp TIMEOUT 600)
fleetflash_lab_test(netboot_faults TIMEOUT 300)
fleetflash_lab_test(recovery TIMEOUT 600)
fleetflash_lab_test(shifted TIMEOUT 300)
fleetflash_lab_test(netboot TIMEOUT 900)
fleetflash_lab_test(terminal TIMEOUT 600 LABELS sanitized)

# The benchmark's short form: no figures, only that it runs and that all disks are right.
add_test(NAME lab_bench COMMAND ${CMAKE_CURRENT_LIST_DIR}/bench/bench --short)
set_tests_properties(lab_bench PROPERTIES SKIP_RETURN_CODE 77 TIMEOUT 180 LABELS "lab"
  ENVIRONMENT "FLEETFLASH=${CMAKE_BINARY_DIR}/bin/fleetflash")
