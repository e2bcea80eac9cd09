// Where a model that is made goes.
#pragma once

#include <cstdint>
#include <filesystem>

namespace hearth::model {

/// The folder that `path` lies in: "." when it names none.
[[nodiscard]] std::filesystem::path folder_of(const std::filesystem::path& path);

/// Throws Error when the disk has no room for `bytes` in the folder of `out`. What cannot be told
/// shows while writing.
void require_space(const std::filesystem::path& out, std::uint64_t bytes);

}  // namespace hearth::model
