// Small helpers for reading a stream of text: character classes and matching against text that may
// still grow.
#pragma once

#include <cstdint>
#include <string_view>

namespace hearth::text {

inline bool is_space(char c) { return c == ' ' || c == '\n' || c == '\r' || c == '\t'; }
inline bool is_digit(char c) { return c >= '0' && c <= '9'; }
inline bool is_letter(char c) { return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z'); }

inline bool contains(std::string_view text, std::string_view part) {
  return text.find(part) != std::string_view::npos;
}

inline std::size_t count_space(std::string_view text) {
  std::size_t count = 0;
  while (count < text.size() && is_space(text[count])) ++count;
  return count;
}

inline std::string_view trim(std::string_view text) {
  text.remove_prefix(count_space(text));
  while (!text.empty() && is_space(text.back())) text.remove_suffix(1);
  return text;
}

enum class Match : std::uint8_t { kNo, kPartial, kYes };

/// Whether `text` starts with `wanted`; kPartial: not known yet, because `text` ends before and is
/// not `final`.
inline Match match(std::string_view text, std::string_view wanted, bool final) {
  if (text.starts_with(wanted)) return Match::kYes;
  return !final && wanted.starts_with(text) ? Match::kPartial : Match::kNo;
}

/// Length of the longest end of `text` that is a proper start of `wanted`: what has to be held
/// back.
inline std::size_t partial_suffix(std::string_view text, std::string_view wanted) {
  std::size_t length =
      text.size() < wanted.size() ? text.size() : wanted.size() - (wanted.empty() ? 0 : 1);
  while (length > 0 && !wanted.starts_with(text.substr(text.size() - length))) --length;
  return length;
}

}  // namespace hearth::text
