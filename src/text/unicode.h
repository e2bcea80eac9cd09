// Code points and their Unicode properties (through utf8proc): what pre-tokenizers and normalizers
// need.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>

namespace hearth::text {

/// Code points of `bytes`, decoded the way byte-level vocabularies expect (reference/tokenizers.md,
/// section 14): a bad lead byte, a truncated sequence or a bad continuation byte gives one U+FFFD
/// for that one byte; overlong forms, surrogates and four-byte values above U+10FFFF decode to
/// their numeric value.
[[nodiscard]] std::u32string decode_lenient(std::string_view bytes);

/// Appends the UTF-8 form of `code_point` (at most 0x1FFFFF), the inverse of decode_lenient for
/// well-formed text.
void append_lenient(std::string& out, char32_t code_point);
[[nodiscard]] std::string encode_lenient(std::u32string_view code_points);

/// Length in bytes of a UTF-8 character by its lead byte alone: 1 for 0x00..0xBF, 2, 3, 4.
[[nodiscard]] constexpr std::size_t utf8_length_by_lead(unsigned char lead) noexcept {
  return lead < 0xC0 ? 1 : lead < 0xE0 ? 2 : lead < 0xF0 ? 3 : 4;
}

/// General categories by their first letter.
enum class CategoryGroup : std::uint8_t {
  kUnassigned,
  kLetter,
  kMark,
  kNumber,
  kPunctuation,
  kSymbol,
  kSeparator,
  kOther,  // Cc, Cf, Cs, Co
};

[[nodiscard]] CategoryGroup category_group(char32_t code_point) noexcept;
/// General category Nd.
[[nodiscard]] bool is_decimal_digit(char32_t code_point) noexcept;
/// General category Mn.
[[nodiscard]] bool is_nonspacing_mark(char32_t code_point) noexcept;
/// Letters, marks, numbers and connector punctuation: what \w matches.
[[nodiscard]] bool is_word_character(char32_t code_point) noexcept;
/// The property White_Space (25 code points).
[[nodiscard]] bool is_white_space(char32_t code_point) noexcept;
/// The simple (one to one) lower-case mapping.
[[nodiscard]] char32_t to_lower(char32_t code_point) noexcept;

/// Canonical decomposition (NFD) and composition (NFC). Take any code points; time grows as n log
/// n.
[[nodiscard]] std::u32string to_nfd(std::u32string_view text);
[[nodiscard]] std::u32string to_nfc(std::u32string_view text);

}  // namespace hearth::text
