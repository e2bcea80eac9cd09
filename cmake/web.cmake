# hearth_web(): compiles the web page (web/) into the room serve, for src/serve/page.h. npm and vite run in the build
# folder, and only when something in web/ changed. HEARTH_NO_WEB=1, as a variable of the environment or of CMake, leaves
# the page out, as sanitizer builds always do.

option(HEARTH_NO_WEB "Leave the web page out" OFF)
if(DEFINED ENV{HEARTH_NO_WEB})
  if("$ENV{HEARTH_NO_WEB}" MATCHES "^(|0|no|off|false)$")
    set(HEARTH_NO_WEB OFF CACHE BOOL "Leave the web page out" FORCE)
  else()
    set(HEARTH_NO_WEB ON CACHE BOOL "Leave the web page out" FORCE)
  endif()
endif()

function(hearth_web)
  set(generated ${CMAKE_BINARY_DIR}/generated/page_files.cpp)
  if(HEARTH_NO_WEB OR HEARTH_SANITIZE OR HEARTH_FUZZ)
    file(CONFIGURE OUTPUT ${CMAKE_BINARY_DIR}/generated/no_page_files.cpp CONTENT
"// Made by cmake/web.cmake: this Hearth has no page.
#include \"serve/page.h\"

namespace hearth::serve {

std::span<const PageFile> page_files() noexcept { return {}; }

std::string_view page_notices() noexcept { return {}; }

}  // namespace hearth::serve
")
    target_sources(hearth_serve PRIVATE ${CMAKE_BINARY_DIR}/generated/no_page_files.cpp)
    return()
  endif()
  find_program(HEARTH_NODE NAMES node nodejs)
  find_program(HEARTH_NPM npm)
  if(NOT HEARTH_NODE OR NOT HEARTH_NPM)
    message(FATAL_ERROR "The web page needs node (18 or newer) and npm to be built: install them (Debian: "
      "apt-get install nodejs npm), or set HEARTH_NO_WEB=1 to leave the page out.")
  endif()
  file(GLOB_RECURSE sources CONFIGURE_DEPENDS ${CMAKE_SOURCE_DIR}/web/src/* ${CMAKE_SOURCE_DIR}/web/public/*
    ${CMAKE_SOURCE_DIR}/web/test/*)
  foreach(name index.html package.json package-lock.json tsconfig.json vite.config.ts embed.mjs content_types.mjs)
    list(APPEND sources ${CMAKE_SOURCE_DIR}/web/${name})
  endforeach()
  add_custom_command(
    OUTPUT ${generated}
    COMMAND ${CMAKE_COMMAND} -DSOURCE=${CMAKE_SOURCE_DIR}/web -DWORK=${CMAKE_BINARY_DIR}/web -DNODE=${HEARTH_NODE}
      -DNPM=${HEARTH_NPM} -DOUT=${CMAKE_BINARY_DIR}/generated -P ${CMAKE_SOURCE_DIR}/cmake/build_web.cmake
    DEPENDS ${sources} ${CMAKE_SOURCE_DIR}/cmake/build_web.cmake
    COMMENT "Building the web page"
    VERBATIM)
  target_sources(hearth_serve PRIVATE ${generated})
endfunction()
