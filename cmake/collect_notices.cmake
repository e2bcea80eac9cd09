# Run with cmake -P by cmake/notices.cmake: writes OUT (C++) and the text beside it. The text is brought in by the
# assembler: compilers need not accept literals of that length.
string(REPLACE "|" ";" packages "${PACKAGES}")
string(REPEAT "-" 80 rule)
file(READ ${LICENCE} text)
string(PREPEND text "Hearth\n\n")
foreach(package ${packages})
  string(APPEND text "\n${rule}\n\n${package} (Debian)\n\n")
  set(file /usr/share/doc/${package}/copyright)
  if(EXISTS ${file})
    file(READ ${file} notice)
    string(APPEND text "${notice}")
  else()
    string(APPEND text "The notice was not found where this Hearth was built; see the library's own distribution.\n")
  endif()
endforeach()
file(WRITE ${OUT}.txt "${text}")
string(SHA256 hash "${text}")
file(WRITE ${OUT} "// Made by cmake/collect_notices.cmake; ${hash}
#include <string_view>

#include \"cli/licenses.h\"

__asm__(
    \".section .rodata\\n\"
    \"hearth_notices:\\n.incbin \\\"${OUT}.txt\\\"\\nhearth_notices_end:\\n.byte 0\\n\"
    \".text\\n\");

extern \"C\" {
extern const char hearth_notices[], hearth_notices_end[];
}

namespace hearth::cli {

std::string_view linked_notices() noexcept {
  return {hearth_notices, static_cast<std::size_t>(hearth_notices_end - hearth_notices)};
}

}  // namespace hearth::cli
")
