// The notices of everything inside the program.
#pragma once

#include <string_view>

namespace hearth::cli {

/// Hearth's own licence and those of the linked libraries, collected when it was built
/// (cmake/notices.cmake).
[[nodiscard]] std::string_view linked_notices() noexcept;

}  // namespace hearth::cli
