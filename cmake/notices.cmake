# hearth_notices(): compiles into the room cli the notices of the libraries that are linked into the program, as their
# Debian packages state them (/usr/share/doc/PACKAGE/copyright), for src/cli/licenses.cpp. Nothing of them is kept in the
# project. Libraries that are only loaded at run time (libc, libcurl) are no part of the program.

set(HEARTH_LINKED_PACKAGES
  libstdc++-12-dev libcli11-dev libfmt-dev libhwloc-dev nlohmann-json3-dev libpcre2-dev libsodium-dev libsqlite3-dev libssl-dev
  libudev-dev libutf8proc-dev)

function(hearth_notices)
  set(files "")
  foreach(package ${HEARTH_LINKED_PACKAGES})
    set(file /usr/share/doc/${package}/copyright)
    if(EXISTS ${file})
      list(APPEND files ${file})
    else()
      message(WARNING "No ${file}: `hearth licenses` will say that the notice of ${package} is missing.")
    endif()
  endforeach()
  set(generated ${CMAKE_BINARY_DIR}/generated/notices.cpp)
  list(JOIN HEARTH_LINKED_PACKAGES "|" packages)
  add_custom_command(
    OUTPUT ${generated}
    COMMAND ${CMAKE_COMMAND} "-DPACKAGES=${packages}" -DLICENCE=${CMAKE_SOURCE_DIR}/LICENSE -DOUT=${generated}
      -P ${CMAKE_SOURCE_DIR}/cmake/collect_notices.cmake
    DEPENDS ${files} ${CMAKE_SOURCE_DIR}/LICENSE ${CMAKE_SOURCE_DIR}/cmake/collect_notices.cmake
    COMMENT "Collecting the notices of linked libraries"
    VERBATIM)
  target_sources(hearth_cli PRIVATE ${generated})
endfunction()
