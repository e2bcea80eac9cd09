// The files of data/, which are compiled into the program (cmake/embed.cmake).
#pragma once

#include <string_view>

namespace hearth::plan {

/// The text of data/NAME ("catalog.json"), or nothing when there is no such file.
[[nodiscard]] std::string_view embedded_file(std::string_view name) noexcept;

}  // namespace hearth::plan
