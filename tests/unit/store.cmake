# SPDX-License-Identifier: Apache-2.0
if(TARGET store)
  foreach(_test decoder_format store_prepare store_damage store_fetch store_share image_table
          image_root source_http source_signature source_bmap source_zip)
    fleetflash_unit_test(${_test}_test SOURCES ${_test}_test.c store_help.c
      LIBS store PkgConfig::SODIUM PkgConfig::ZSTD Threads::Threads LABELS store)
  endforeach()
  fleetflash_unit_test(store_effort_test SOURCES store_effort_test.c LIBS store LABELS store)
endif()

# -DFLEETFLASH_FUZZ=ON with clang: a fuzzer for everything that looks into an image.
if(FLEETFLASH_FUZZ)
  file(GLOB _image ${CMAKE_SOURCE_DIR}/orchestrator/image/*.c)
  add_executable(image_fuzz ${CMAKE_SOURCE_DIR}/tests/fuzz/image_fuzz.c ${_image})
  target_include_directories(image_fuzz PRIVATE ${CMAKE_SOURCE_DIR}/orchestrator ${CMAKE_SOURCE_DIR}/helpers)
  target_compile_options(image_fuzz PRIVATE -fsanitize=fuzzer,address,undefined)
  target_link_options(image_fuzz PRIVATE -fsanitize=fuzzer,address,undefined)
  target_link_libraries(image_fuzz PRIVATE base PkgConfig::UV PkgConfig::EXT2FS PkgConfig::SODIUM PkgConfig::ZLIB)
  set_target_properties(image_fuzz PROPERTIES RUNTIME_OUTPUT_DIRECTORY ${CMAKE_BINARY_DIR}/bin/tests)
endif()
