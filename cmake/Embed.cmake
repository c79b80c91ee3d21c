# pinion_embed(TARGET SYMBOL FILE) puts the bytes of FILE into TARGET, to be read as
#   extern "C" const unsigned char SYMBOL_begin[]; extern "C" const unsigned char SYMBOL_end[];
# through an assembler's .incbin: compilers need minutes for the same as an array of numbers.
function(pinion_embed TARGET SYMBOL FILE)
  get_filename_component(file ${FILE} ABSOLUTE BASE_DIR ${CMAKE_CURRENT_SOURCE_DIR})
  set(assembly ${CMAKE_CURRENT_BINARY_DIR}/embed_${SYMBOL}.S)
  file(CONFIGURE OUTPUT ${assembly} CONTENT
"  .section .rodata
  .global ${SYMBOL}_begin
  .global ${SYMBOL}_end
  .balign 16
${SYMBOL}_begin:
  .incbin \"${file}\"
${SYMBOL}_end:
  .byte 0
  .section .note.GNU-stack,\"\",@progbits
")
  # In language C it is compiled by the driver that is there anyway, with its options for C++.
  set_source_files_properties(
    ${assembly} PROPERTIES
    LANGUAGE C
    OBJECT_DEPENDS ${file}
    COMPILE_OPTIONS "-x;assembler-with-cpp;-Wno-unused-command-line-argument")
  target_sources(${TARGET} PRIVATE ${assembly})
endfunction()
