# pinion_module(NAME SOURCES ... [DEPS module ...] [LIBRARIES target ...] [TESTS file ...])
#
# One static library per folder of src/, every source listed. DEPS are other modules (the layer test
# holds the #includes to them), LIBRARIES are third-party targets that stay private to the module.
# All TESTS of a module make one executable <name>_test, run whole (its cases share one PostgreSQL).
function(pinion_module NAME)
  cmake_parse_arguments(M "" "" "SOURCES;DEPS;LIBRARIES;TESTS" ${ARGN})
  add_library(${NAME} STATIC ${M_SOURCES})
  add_library(pinion::${NAME} ALIAS ${NAME})
  target_include_directories(${NAME} PUBLIC ${CMAKE_SOURCE_DIR}/src)
  list(TRANSFORM M_DEPS PREPEND pinion::)
  target_link_libraries(${NAME} PUBLIC ${M_DEPS} PRIVATE ${M_LIBRARIES})
  if(PINION_TESTS AND M_TESTS)
    add_executable(${NAME}_test ${M_TESTS})
    target_link_libraries(${NAME}_test PRIVATE pinion::${NAME} ${M_LIBRARIES} GTest::gmock
                                               GTest::gtest GTest::gtest_main)
    target_compile_definitions(${NAME}_test
                               PRIVATE PINION_SOURCE_DIR="${CMAKE_SOURCE_DIR}"
                                       PINION_BINARY_DIR="${CMAKE_BINARY_DIR}")
    add_test(NAME ${NAME} COMMAND ${NAME}_test
                                  --gtest_output=json:${CMAKE_BINARY_DIR}/test-results/${NAME}.json)
    set_tests_properties(${NAME} PROPERTIES TIMEOUT 900)
  endif()
endfunction()
