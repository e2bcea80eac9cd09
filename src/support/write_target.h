// Which file is meant by the name of one to write.
#pragma once

#include <filesystem>

namespace hearth {

/// The file that takes the place of what `path` names: `path` itself, or the file that the link of
/// this name leads to, so that the link stays. Throws Error (exit code 2) when the name is that of
/// something else than a regular file or a link to one: a folder, a device, a pipe, a socket; and
/// when it is "-", by which people mean standard output.
[[nodiscard]] std::filesystem::path write_target(const std::filesystem::path& path);

/// Throws what write_target does, and Error (exit code 1) when `path` exists and `replace` is
/// false. For what took long to make or has no second copy; other commands replace the file that
/// they are told to write.
void require_new(const std::filesystem::path& path, bool replace);

}  // namespace hearth
