# SPDX-License-Identifier: Apache-2.0
# Service-stop policies and their host. The shared objects made here are the bad examples.
set(policy_bad_folder ${CMAKE_BINARY_DIR}/tests/policies)

# policy_test_module(name source [definition])
function(policy_test_module name source)
  add_library(policy_test_${name} MODULE ${CMAKE_CURRENT_SOURCE_DIR}/unit/${source})
  target_include_directories(policy_test_${name} PRIVATE ${CMAKE_SOURCE_DIR}/plugins/include)
  target_compile_definitions(policy_test_${name} PRIVATE ${ARGN})
  set_target_properties(policy_test_${name} PROPERTIES PREFIX "" SUFFIX .so OUTPUT_NAME ${name}
                        C_VISIBILITY_PRESET hidden LIBRARY_OUTPUT_DIRECTORY ${policy_bad_folder})
endfunction()

set(policy_bad version symbol null constructor abort exit table wild name nostop small older newer reserved destructor)
foreach(bad ${policy_bad})
  string(TOUPPER ${bad} BAD)
  policy_test_module(${bad} policy_broken.c BROKEN_${BAD})
endforeach()
policy_test_module(misbehave policy_misbehave.c)

set(policy_libs policy PkgConfig::UV)
foreach(part load check run systemd sysv openrc docker k8s exec)
  fleetflash_unit_test(policy_${part}_test SOURCES policy_${part}_test.c policy_support.c LIBS ${policy_libs}
                       LABELS policy)
  target_compile_definitions(policy_${part}_test PRIVATE POLICY_TEST_FOLDER="${policy_bad_folder}"
                             TEST_SOURCE_FOLDER="${CMAKE_CURRENT_SOURCE_DIR}/unit")
  add_dependencies(policy_${part}_test policy_test_misbehave policy_systemd policy_sysv policy_openrc policy_docker
                   policy_k8s-drain policy_exec)
endforeach()
foreach(bad ${policy_bad})
  add_dependencies(policy_load_test policy_test_${bad})
endforeach()
target_link_libraries(policy_exec_test PRIVATE PkgConfig::JANSSON)

# Runs a policy against this machine or, through ssh, against any device: for tests and by hand.
add_executable(policy_drive ${CMAKE_CURRENT_SOURCE_DIR}/unit/policy_drive.c ${CMAKE_CURRENT_SOURCE_DIR}/unit/policy_support.c)
target_link_libraries(policy_drive PRIVATE ${policy_libs} PkgConfig::CMOCKA)
set_target_properties(policy_drive PROPERTIES RUNTIME_OUTPUT_DIRECTORY ${CMAKE_BINARY_DIR}/bin/tests)

add_test(NAME policy_install_test
         COMMAND ${CMAKE_CURRENT_SOURCE_DIR}/integration/policy_install_test.sh ${CMAKE_COMMAND} ${CMAKE_SOURCE_DIR}
                 ${CMAKE_BINARY_DIR} $<TARGET_FILE:policy_drive>)
set_tests_properties(policy_install_test PROPERTIES LABELS "unit;policy" TIMEOUT 120 SKIP_RETURN_CODE 77)

add_test(NAME policy_page_test COMMAND ${CMAKE_CURRENT_SOURCE_DIR}/unit/policy_page_test.py $<TARGET_FILE:fleetflash>
         ${CMAKE_SOURCE_DIR})
set_tests_properties(policy_page_test PROPERTIES LABELS "unit;policy")
