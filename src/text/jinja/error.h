// What a chat template can do wrong, and how much of the machine it may use while doing so.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string>

#include "support/error.h"

namespace hearth::text::jinja {

/// A template that cannot be parsed or rendered. `what()` names the template and the line; `line()`
/// is 1-based.
class TemplateError : public Error {
 public:
  TemplateError(const std::string& template_name, std::size_t line, const std::string& message);
  [[nodiscard]] std::size_t line() const noexcept { return line_; }

 private:
  std::size_t line_;
};

/// The template itself refused its input by raise_exception(message): the caller's request does not
/// suit the model.
class TemplateRaised : public TemplateError {
 public:
  TemplateRaised(const std::string& template_name, std::size_t line, std::string message);
  /// The text passed to raise_exception, unchanged.
  [[nodiscard]] const std::string& message() const noexcept { return message_; }

 private:
  std::string message_;
};

/// Bounds of one rendering. Exceeding any of them is a TemplateError.
struct Limits {
  /// Evaluated nodes, loop turns and, for operations on long values, their size in 64-byte units.
  std::uint64_t steps = 100'000'000;
  /// Bytes of all strings, lists and dicts alive at the same time, the rendered text included.
  std::size_t memory_bytes = std::size_t{512} << 20;
  /// Bytes of the rendered text and of any one string.
  std::size_t string_bytes = std::size_t{64} << 20;
  /// Nested evaluations (expressions in statements in macros in loops …).
  std::uint32_t depth = 1200;
};

}  // namespace hearth::text::jinja
