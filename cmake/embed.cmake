# hearth_embed(ROOM FILE...): compiles files into a room's library as text; src/plan/data.h gives access to them. Changing
# a file rebuilds what holds it.

function(hearth_embed room)
  set(generated ${CMAKE_BINARY_DIR}/generated/${room}_data.cpp)
  set(script ${CMAKE_SOURCE_DIR}/cmake/embed_files.cmake)
  list(JOIN ARGN "|" files)
  add_custom_command(
    OUTPUT ${generated}
    COMMAND ${CMAKE_COMMAND} "-DFILES=${files}" -DROOM=${room} -DOUT=${generated} -P ${script}
    DEPENDS ${ARGN} ${script}
    COMMENT "Embedding data files of ${room}"
    VERBATIM)
  # A literal longer than what compilers must accept at least.
  set_source_files_properties(${generated} PROPERTIES COMPILE_OPTIONS -Wno-overlength-strings)
  target_sources(hearth_${room} PRIVATE ${generated})
endfunction()
