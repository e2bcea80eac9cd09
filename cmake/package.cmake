# cmake --install and cpack: the program with its manual, completions and service (component program), and the library
# with its header, pkg-config and CMake files (component library).
include(GNUInstallDirs)
include(CMakePackageConfigHelpers)

# All rooms in one archive: what hearth/hearth.h needs, and the linker takes no more.
set(HEARTH_LIBRARY_ROOMS ${HEARTH_ROOMS})
list(REMOVE_ITEM HEARTH_LIBRARY_ROOMS cli)
set(HEARTH_LIBRARY_DEPENDENCIES -lstdc++ -lpcre2-32 -lsodium -lutf8proc -lhwloc -ludev -lm -ldl -pthread)
set(library ${CMAKE_BINARY_DIR}/lib/libhearth.a)
set(merge "create ${library}\n")
set(archives "")
foreach(room ${HEARTH_LIBRARY_ROOMS} fmt json)
  string(APPEND merge "addlib $<TARGET_FILE:hearth_${room}>\n")
  list(APPEND archives hearth_${room})
endforeach()
string(APPEND merge "save\nend\n")
file(GENERATE OUTPUT ${CMAKE_BINARY_DIR}/lib/merge.mri CONTENT "${merge}")
add_custom_command(
  OUTPUT ${library}
  COMMAND ${CMAKE_COMMAND} -E rm -f ${library}
  COMMAND ${CMAKE_AR} -M < ${CMAKE_BINARY_DIR}/lib/merge.mri
  DEPENDS ${archives} ${CMAKE_BINARY_DIR}/lib/merge.mri
  COMMENT "Merging the rooms into libhearth.a"
  VERBATIM)
add_custom_target(hearth_library ALL DEPENDS ${library})
# The same rooms as one shared library, which shows nothing but the functions of hearth/hearth.h and needs neither libstdc++
# nor the libraries that exist as archives.
if(HEARTH_SHARED_LIBRARY AND NOT HEARTH_SANITIZE)
  set(symbols ${CMAKE_SOURCE_DIR}/cmake/library_symbols.map)
  add_library(hearth_shared SHARED $<TARGET_OBJECTS:hearth_capi>)
  target_link_libraries(hearth_shared PRIVATE hearth_capi)
  target_link_options(hearth_shared PRIVATE LINKER:--version-script=${symbols},--no-undefined,--as-needed,--gc-sections)
  target_include_directories(hearth_shared INTERFACE ${CMAKE_SOURCE_DIR}/include)
  # As find_package() has it: what runs with one minor version need not run with the next.
  set_target_properties(hearth_shared PROPERTIES OUTPUT_NAME hearth LINKER_LANGUAGE CXX LINK_DEPENDS ${symbols}
    LIBRARY_OUTPUT_DIRECTORY ${CMAKE_BINARY_DIR}/lib VERSION ${PROJECT_VERSION}
    SOVERSION ${PROJECT_VERSION_MAJOR}.${PROJECT_VERSION_MINOR})
  add_dependencies(hearth_library hearth_shared)
endif()
if(HEARTH_SANITIZE)
  set_target_properties(hearth_library PROPERTIES EXCLUDE_FROM_ALL ON)
  return()
endif()

# Made by the program itself.
set(pages ${CMAKE_BINARY_DIR}/share)
add_custom_command(
  OUTPUT ${pages}/hearth.1
  COMMAND ${CMAKE_COMMAND} -E make_directory ${pages}
  COMMAND hearth man > ${pages}/hearth.1
  COMMAND hearth completion bash > ${pages}/hearth.bash
  COMMAND hearth completion zsh > ${pages}/_hearth
  COMMAND hearth completion fish > ${pages}/hearth.fish
  DEPENDS hearth
  COMMENT "Writing the manual page and shell completions"
  VERBATIM)
add_custom_target(hearth_pages ALL DEPENDS ${pages}/hearth.1)
# What installing needs, and no tests: cmake --build build --target hearth_installable.
add_custom_target(hearth_installable DEPENDS hearth_pages hearth_library)
set(CMAKE_SKIP_INSTALL_ALL_DEPENDENCY ON)

string(REPLACE ";" " " dependencies "${HEARTH_LIBRARY_DEPENDENCIES}")
if(HEARTH_SHARED_LIBRARY)  # pkg-config --static also names what is private
  set(HEARTH_PC_LIBS "")
  set(HEARTH_PC_PRIVATE_LIBS "${dependencies}")
else()
  set(HEARTH_PC_LIBS " ${dependencies}")
  set(HEARTH_PC_PRIVATE_LIBS "")
endif()
configure_file(packaging/hearth.pc.in ${pages}/hearth.pc @ONLY)
configure_package_config_file(packaging/hearthConfig.cmake.in ${pages}/hearthConfig.cmake
  INSTALL_DESTINATION ${CMAKE_INSTALL_LIBDIR}/cmake/hearth
  PATH_VARS CMAKE_INSTALL_LIBDIR CMAKE_INSTALL_INCLUDEDIR)
write_basic_package_version_file(${pages}/hearthConfigVersion.cmake COMPATIBILITY SameMinorVersion)

install(TARGETS hearth RUNTIME DESTINATION ${CMAKE_INSTALL_BINDIR} COMPONENT program)
install(FILES ${pages}/hearth.1 DESTINATION ${CMAKE_INSTALL_MANDIR}/man1 COMPONENT program)
install(FILES ${pages}/hearth.bash DESTINATION ${CMAKE_INSTALL_DATADIR}/bash-completion/completions RENAME hearth
        COMPONENT program)
install(FILES ${pages}/_hearth DESTINATION ${CMAKE_INSTALL_DATADIR}/zsh/vendor-completions COMPONENT program)
install(FILES ${pages}/hearth.fish DESTINATION ${CMAKE_INSTALL_DATADIR}/fish/vendor_completions.d COMPONENT program)
install(FILES packaging/hearth.service DESTINATION lib/systemd/user COMPONENT program)
install(FILES LICENSE DESTINATION ${CMAKE_INSTALL_DOCDIR} RENAME copyright COMPONENT program)
install(FILES ${library} DESTINATION ${CMAKE_INSTALL_LIBDIR} COMPONENT library)
if(HEARTH_SHARED_LIBRARY)
  install(TARGETS hearth_shared LIBRARY DESTINATION ${CMAKE_INSTALL_LIBDIR} COMPONENT library)
endif()
install(FILES include/hearth/hearth.h DESTINATION ${CMAKE_INSTALL_INCLUDEDIR}/hearth COMPONENT library)
install(FILES ${pages}/hearth.pc DESTINATION ${CMAKE_INSTALL_LIBDIR}/pkgconfig COMPONENT library)
install(FILES ${pages}/hearthConfig.cmake ${pages}/hearthConfigVersion.cmake
        DESTINATION ${CMAKE_INSTALL_LIBDIR}/cmake/hearth COMPONENT library)

# cpack -G DEB --config build/CPackConfig.cmake: hearth and libhearth-dev.
set(CPACK_PACKAGE_NAME hearth)
set(CPACK_PACKAGE_VENDOR Hearth)
set(CPACK_PACKAGE_CONTACT "The Hearth maintainers <hearth@localhost>")
set(CPACK_PACKAGE_DESCRIPTION_SUMMARY "Local AI in one program")
set(CPACK_PACKAGING_INSTALL_PREFIX /usr)
set(CPACK_STRIP_FILES ON)
set(CPACK_GENERATOR DEB)
set(CPACK_DEB_COMPONENT_INSTALL ON)
set(CPACK_COMPONENTS_ALL program library)
set(CPACK_DEBIAN_PROGRAM_PACKAGE_NAME hearth)
set(CPACK_DEBIAN_PROGRAM_PACKAGE_SHLIBDEPS ON)
set(CPACK_DEBIAN_PROGRAM_PACKAGE_SECTION utils)
set(CPACK_DEBIAN_LIBRARY_PACKAGE_NAME libhearth-dev)
set(CPACK_DEBIAN_LIBRARY_PACKAGE_SECTION libdevel)
set(CPACK_DEBIAN_LIBRARY_DESCRIPTION "Local AI as a C library: header, archive, pkg-config and CMake files")
set(CPACK_DEBIAN_LIBRARY_PACKAGE_DEPENDS "libpcre2-dev, libsodium-dev, libutf8proc-dev, libhwloc-dev, libudev-dev")
set(CPACK_DEBIAN_FILE_NAME DEB-DEFAULT)
include(CPack)
