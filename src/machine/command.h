// Running another program for what it prints.
#pragma once

#include <functional>
#include <optional>
#include <string>
#include <vector>

namespace hearth::machine {

/// What the program named by arguments[0] (found on PATH) wrote to its standard output, at most
/// 1 MiB; nothing when it is not there, fails, or takes longer than `seconds`, after which it is
/// killed. Its input is empty; what it writes to standard error is dropped.
[[nodiscard]] std::optional<std::string> command_output(const std::vector<std::string>& arguments,
                                                        double seconds);

/// The same of `work`, which runs in a process of its own, so that it may crash or hang: what it
/// returned, or nothing. Only the calling thread exists there.
[[nodiscard]] std::optional<std::string> isolated(const std::function<std::string()>& work,
                                                  double seconds);

}  // namespace hearth::machine
