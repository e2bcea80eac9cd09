// Letters of ASCII, whatever the locale.
#pragma once

#include <string>
#include <string_view>

namespace hearth {

[[nodiscard]] constexpr char ascii_lower(char c) noexcept {
  return 'A' <= c && c <= 'Z' ? static_cast<char>(c + 32) : c;
}

[[nodiscard]] constexpr char ascii_upper(char c) noexcept {
  return 'a' <= c && c <= 'z' ? static_cast<char>(c - 32) : c;
}

/// `text` with its ASCII letters in lower case; other bytes stay.
[[nodiscard]] inline std::string ascii_lower(std::string_view text) {
  std::string lowered(text);
  for (char& c : lowered) c = ascii_lower(c);
  return lowered;
}
[[nodiscard]] inline std::string ascii_upper(std::string_view text) {
  std::string raised(text);
  for (char& c : raised) c = ascii_upper(c);
  return raised;
}

}  // namespace hearth
