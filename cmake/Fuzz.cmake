# pinion_fuzz(NAME PARSERS file ... [SOURCES file ...] [DEPS module ...] [LIBRARIES target ...])
#
# A libFuzzer program fuzz_<NAME> of <NAME>.cc. PARSERS are the sources under src/ that it is about: they
# are compiled once more, with the counters that steer the fuzzer and those of llvm-cov, and take the
# place of the module's own objects. Everything else comes from the modules as they are.
# In ctest it is fuzz.<NAME>; tools/fuzz.py knows how it is run.
function(pinion_fuzz NAME)
  cmake_parse_arguments(F "" "" "PARSERS;SOURCES;DEPS;LIBRARIES" ${ARGN})
  list(TRANSFORM F_PARSERS PREPEND ${CMAKE_SOURCE_DIR}/src/)
  list(TRANSFORM F_DEPS PREPEND pinion::)
  add_executable(fuzz_${NAME} ${NAME}.cc ${F_SOURCES} ${F_PARSERS})
  target_include_directories(fuzz_${NAME} PRIVATE ${CMAKE_SOURCE_DIR}/src ${CMAKE_SOURCE_DIR})
  target_compile_options(fuzz_${NAME} PRIVATE -O1 -fsanitize=fuzzer-no-link -fprofile-instr-generate
                                              -fcoverage-mapping)
  target_link_options(fuzz_${NAME} PRIVATE -fsanitize=fuzzer -fprofile-instr-generate)
  target_link_libraries(fuzz_${NAME} PRIVATE ${F_DEPS} ${F_LIBRARIES})
  add_dependencies(fuzz_targets fuzz_${NAME})
  add_test(NAME fuzz.${NAME} COMMAND ${CMAKE_SOURCE_DIR}/tools/fuzz.py ${CMAKE_BINARY_DIR} test ${NAME})
  set_tests_properties(fuzz.${NAME} PROPERTIES TIMEOUT 300)
endfunction()
