# SPDX-License-Identifier: Apache-2.0
# Each agent on the oldest CPU that it is meant for. armv6 (arm1176: the first boards of a well-known
# kind) is why there is armel beside armhf, which must not run there.
foreach(row "aarch64;cortex-a53;runs" "armhf;cortex-a7;runs" "armel;arm1176;runs" "armel;arm926;runs"
        "armhf;arm1176;refused")
  list(GET row 0 arch)
  list(GET row 1 cpu)
  list(GET row 2 expected)
  set(runner /usr/bin/qemu-arm-static)
  if(arch STREQUAL aarch64)
    set(runner /usr/bin/qemu-aarch64-static)
  endif()
  set(test agent_selftest_${arch}_${cpu})
  add_test(NAME ${test} COMMAND ${CMAKE_CURRENT_LIST_DIR}/agent_selftest ${runner} ${cpu}
           ${CMAKE_BINARY_DIR}/bin/agents/fleetflash-agent-${arch} ${arch} ${expected})
  set_tests_properties(${test} PROPERTIES SKIP_RETURN_CODE 77 TIMEOUT 60 LABELS "unit;agent")
endforeach()

# The whole conversation, not only the start, on armv6 (agent.cmake runs it on qemu's best CPU).
foreach(part serve refuse table lost)
  if(TEST agent_${part}_armel_test)
    set_property(TEST agent_${part}_armel_test APPEND PROPERTY ENVIRONMENT QEMU_CPU=arm1176)
  endif()
endforeach()
