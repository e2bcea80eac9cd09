// Reading all of stdin.
#pragma once

#include <cstddef>
#include <string>
#include <string_view>

namespace hearth::cli {

/// All bytes of stdin. Throws Error when it cannot be read or holds more than `limit` bytes; `what`
/// names what is expected there ("the prompt"). Ctrl-C within an InterruptGuard throws QuietExit.
[[nodiscard]] std::string read_stdin(std::size_t limit, std::string_view what);

}  // namespace hearth::cli
