# Run with cmake -P by cmake/web.cmake: builds the page of SOURCE in WORK and writes OUT/page_files.cpp.

function(step what)
  execute_process(COMMAND ${ARGN} WORKING_DIRECTORY ${WORK} RESULT_VARIABLE result OUTPUT_VARIABLE output
    ERROR_VARIABLE output)
  if(NOT result EQUAL 0)
    message(FATAL_ERROR "${output}\n${what}; set HEARTH_NO_WEB=1 to build Hearth without its web page")
  endif()
endfunction()

execute_process(COMMAND ${NODE} --version OUTPUT_VARIABLE version OUTPUT_STRIP_TRAILING_WHITESPACE)
if(NOT version MATCHES "^v([0-9]+)" OR CMAKE_MATCH_1 LESS 18)
  message(FATAL_ERROR "The web page needs node 18 or newer, but ${NODE} is '${version}'; set HEARTH_NO_WEB=1 to build "
    "Hearth without its web page")
endif()

file(MAKE_DIRECTORY ${WORK})
file(REMOVE_RECURSE ${WORK}/src ${WORK}/test ${WORK}/public ${WORK}/dist)
foreach(name src test public index.html package.json package-lock.json tsconfig.json vite.config.ts embed.mjs
    content_types.mjs)
  file(COPY ${SOURCE}/${name} DESTINATION ${WORK})
endforeach()

# The packages are installed anew only when the lock file changed.
file(SHA256 ${SOURCE}/package-lock.json lock)
set(installed "")
if(EXISTS ${WORK}/node_modules/.hearth-lock)
  file(READ ${WORK}/node_modules/.hearth-lock installed)
endif()
if(NOT installed STREQUAL lock)
  step("npm could not fetch what the web page is built with (is this machine online?)"
    ${NPM} ci --ignore-scripts --prefer-offline --no-audit --no-fund)
  file(WRITE ${WORK}/node_modules/.hearth-lock ${lock})
endif()
step("the web page has errors" ${NODE} node_modules/typescript/bin/tsc --noEmit)
step("the web page cannot be built" ${NODE} node_modules/vite/bin/vite.js build --logLevel warn)
step("the web page cannot be embedded" ${NODE} embed.mjs dist ${OUT})
