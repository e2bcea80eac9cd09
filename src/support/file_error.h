// What is said when the system refuses to make, read or write a file.
#pragma once

#include <filesystem>
#include <string_view>

namespace hearth {

/// Throws Error "cannot VERB 'PATH': REASON", the reason being that of the last failed call
/// (errno). Where a disk, a quota or a file cannot grow, the hint is `when_full` and the exit code
/// kDoesNotFit.
[[noreturn]] void throw_file_error(std::string_view verb, const std::filesystem::path& path,
                                   std::string_view when_full = "make room or write elsewhere");

}  // namespace hearth
