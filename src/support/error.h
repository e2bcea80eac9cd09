// hearth::Error: the one exception type that reaches users. It is thrown at the boundary where the
// problem is known (a file is opened, a flag is read) and caught once per command or request.
#pragma once

#include <stdexcept>
#include <string>
#include <string_view>

namespace hearth {

/// What a command returns to the shell (docs/cli.md).
enum class ExitCode : int {
  kOk = 0,
  kFailure = 1,
  kUsage = 2,
  kDoesNotFit = 3,
  kInterrupted = 130,
};

/// An error a person can act on. `what()` is one sentence saying what is wrong; `hint()` says what
/// to do about it (may be empty). Never contains a stack trace or a newline.
class Error : public std::runtime_error {
 public:
  explicit Error(std::string message, std::string hint = {},
                 ExitCode exit_code = ExitCode::kFailure)
      : std::runtime_error(std::move(message)), hint_(std::move(hint)), exit_code_(exit_code) {}

  [[nodiscard]] const std::string& hint() const noexcept { return hint_; }
  [[nodiscard]] ExitCode exit_code() const noexcept { return exit_code_; }

 private:
  std::string hint_;
  ExitCode exit_code_;
};

/// `text` made safe to print inside a one-line message: control characters and invalid UTF-8 become
/// \xNN, and more than `limit` bytes are cut with an ellipsis. Use it for every string that came
/// from a file or the network.
[[nodiscard]] std::string printable(std::string_view text, std::size_t limit = 120);
/// The limit for paths and addresses.
inline constexpr std::size_t kPathLimit = 300;

/// printable() between single quotes.
[[nodiscard]] std::string in_quotes(std::string_view text, std::size_t limit = 120);

}  // namespace hearth
