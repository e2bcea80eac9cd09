// UTF-8 as a byte format (Unicode 15, section 3.9): decoding, encoding, validation. No Unicode
// properties here.
#pragma once

#include <cstddef>
#include <string>
#include <string_view>

namespace hearth {

/// One decoded code point. `length` is the number of bytes consumed: 1..4 when valid, and for an
/// ill-formed sequence the length of its maximal ill-formed subpart (at least 1), in which case
/// `code_point` is U+FFFD.
struct Utf8Decoded {
  char32_t code_point = 0xFFFD;
  std::size_t length = 1;
  bool valid = false;
};

/// Decodes the first code point of `text`, which must not be empty. Surrogates and overlong forms
/// are ill-formed.
[[nodiscard]] Utf8Decoded decode_utf8(std::string_view text) noexcept;

/// Appends `code_point` to `out`. Values above U+10FFFF and surrogates become U+FFFD.
void append_utf8(std::string& out, char32_t code_point);

/// Offset of the first ill-formed byte, or npos if `text` is well-formed.
[[nodiscard]] std::size_t find_invalid_utf8(std::string_view text) noexcept;

/// `text` with every maximal ill-formed subpart replaced by U+FFFD.
[[nodiscard]] std::string to_valid_utf8(std::string_view text);

/// Number of bytes at the end of `text` that begin a well-formed but unfinished sequence (0..3):
/// what a streaming printer has to hold back.
[[nodiscard]] std::size_t incomplete_utf8_tail(std::string_view text) noexcept;

}  // namespace hearth
