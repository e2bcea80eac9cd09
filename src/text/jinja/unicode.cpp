#include "text/jinja/unicode.h"

#include <utf8proc.h>

#include <array>

#include "support/utf8.h"

namespace hearth::text::jinja {
namespace {

utf8proc_category_t category(char32_t c) noexcept {
  return utf8proc_category(static_cast<utf8proc_int32_t>(c));
}

bool is_case_ignorable(char32_t c) noexcept {
  switch (category(c)) {
    case UTF8PROC_CATEGORY_MN:
    case UTF8PROC_CATEGORY_ME:
    case UTF8PROC_CATEGORY_CF:
    case UTF8PROC_CATEGORY_LM:
    case UTF8PROC_CATEGORY_SK:
      return true;
    default:
      return c == U'\'' || c == U'.' || c == U':' || c == 0xB7 || c == 0x2019 || c == 0x2018;
  }
}

std::string one(utf8proc_int32_t c) {
  std::string text;
  append_utf8(text, static_cast<char32_t>(c));
  return text;
}

}  // namespace

bool is_space(char32_t c) noexcept {
  if (c < 0x80) return (c >= 9 && c <= 13) || (c >= 28 && c <= 32);
  return c == 0x85 || c == 0xA0 || c == 0x1680 || (c >= 0x2000 && c <= 0x200A) || c == 0x2028 ||
         c == 0x2029 || c == 0x202F || c == 0x205F || c == 0x3000;
}

bool is_alpha(char32_t c) noexcept {
  if (c < 0x80) return (c >= U'a' && c <= U'z') || (c >= U'A' && c <= U'Z');
  const auto kind = category(c);
  return kind >= UTF8PROC_CATEGORY_LU && kind <= UTF8PROC_CATEGORY_LO;
}

bool is_decimal(char32_t c) noexcept {
  return c < 0x80 ? c >= U'0' && c <= U'9' : category(c) == UTF8PROC_CATEGORY_ND;
}

bool is_digit(char32_t c) noexcept {
  // Beyond decimals: superscripts, subscripts and the circled and dotted digits
  // (Numeric_Type=Digit).
  if (is_decimal(c)) return true;
  constexpr std::array<std::pair<char32_t, char32_t>, 20> kDigits = {{
      {0xB2, 0xB3},       {0xB9, 0xB9},       {0x1369, 0x1371},   {0x19DA, 0x19DA},
      {0x2070, 0x2070},   {0x2074, 0x2079},   {0x2080, 0x2089},   {0x2460, 0x2468},
      {0x2474, 0x247C},   {0x2488, 0x2490},   {0x24EA, 0x24EA},   {0x24F5, 0x24FD},
      {0x24FF, 0x24FF},   {0x2776, 0x277E},   {0x2780, 0x2788},   {0x278A, 0x2792},
      {0x10A40, 0x10A43}, {0x10E60, 0x10E68}, {0x11052, 0x1105A}, {0x1F100, 0x1F10A},
  }};
  for (const auto& [first, last] : kDigits) {
    if (c >= first && c <= last) return true;
  }
  return false;
}

bool is_numeric(char32_t c) noexcept {
  if (c < 0x80) return c >= U'0' && c <= U'9';
  const auto kind = category(c);
  return kind >= UTF8PROC_CATEGORY_ND && kind <= UTF8PROC_CATEGORY_NO;
}

bool is_alphanumeric(char32_t c) noexcept { return is_alpha(c) || is_numeric(c); }

bool is_printable(char32_t c) noexcept {
  if (c < 0x7F) return c >= 0x20;
  switch (category(c)) {
    case UTF8PROC_CATEGORY_CN:
    case UTF8PROC_CATEGORY_CC:
    case UTF8PROC_CATEGORY_CF:
    case UTF8PROC_CATEGORY_CS:
    case UTF8PROC_CATEGORY_CO:
    case UTF8PROC_CATEGORY_ZS:
    case UTF8PROC_CATEGORY_ZL:
    case UTF8PROC_CATEGORY_ZP:
      return false;
    default:
      return true;
  }
}

bool is_upper(char32_t c) noexcept {
  if (c < 0x80) return c >= U'A' && c <= U'Z';
  // Other_Uppercase: Roman numerals and circled letters.
  return category(c) == UTF8PROC_CATEGORY_LU || (c >= 0x2160 && c <= 0x216F) ||
         (c >= 0x24B6 && c <= 0x24CF);
}

bool is_lower(char32_t c) noexcept {
  if (c < 0x80) return c >= U'a' && c <= U'z';
  // Other_Lowercase: ordinal indicators, modifier letters, Roman numerals, circled letters.
  return category(c) == UTF8PROC_CATEGORY_LL || c == 0xAA || c == 0xBA ||
         (c >= 0x2B0 && c <= 0x2B8) || (c >= 0x2E0 && c <= 0x2E4) || (c >= 0x2170 && c <= 0x217F) ||
         (c >= 0x24D0 && c <= 0x24E9) || (c >= 0x1D2C && c <= 0x1D6A) || c == 0x2071 ||
         c == 0x207F || (c >= 0x2090 && c <= 0x209C);
}

bool is_title(char32_t c) noexcept { return c >= 0x80 && category(c) == UTF8PROC_CATEGORY_LT; }

std::string fold_case(char32_t c) {
  std::array<utf8proc_int32_t, 8> folded{};
  int boundary = 0;
  const auto count = utf8proc_decompose_char(static_cast<utf8proc_int32_t>(c), folded.data(),
                                             folded.size(), UTF8PROC_CASEFOLD, &boundary);
  if (count <= 0 || static_cast<std::size_t>(count) > folded.size())
    return one(static_cast<utf8proc_int32_t>(c));
  std::string text;
  for (std::size_t i = 0; i < static_cast<std::size_t>(count); ++i) text += one(folded[i]);
  return text;
}

std::string to_upper(char32_t c) {
  if (c < 0x80) return std::string(1, static_cast<char>(c >= U'a' && c <= U'z' ? c - 32 : c));
  // Where folding gives several characters (ß, ﬁ, ŉ …), the full upper case is the upper case of
  // the folding.
  if (is_lower(c) || is_title(c)) {
    const std::string folded = fold_case(c);
    if (decode_utf8(folded).length < folded.size()) {
      std::string text;
      for (std::size_t i = 0; i < folded.size();) {
        const Utf8Decoded part = decode_utf8(std::string_view(folded).substr(i));
        text += one(utf8proc_toupper(static_cast<utf8proc_int32_t>(part.code_point)));
        i += part.length;
      }
      return text;
    }
  }
  return one(utf8proc_toupper(static_cast<utf8proc_int32_t>(c)));
}

std::string to_lower(char32_t c, bool final_sigma) {
  if (c < 0x80) return std::string(1, static_cast<char>(c >= U'A' && c <= U'Z' ? c + 32 : c));
  if (c == 0x130) return "i\u0307";
  if (c == 0x3A3 && final_sigma) return "\u03C2";
  return one(utf8proc_tolower(static_cast<utf8proc_int32_t>(c)));
}

std::string to_title(char32_t c) {
  if (c < 0x80) return to_upper(c);
  const utf8proc_int32_t title = utf8proc_totitle(static_cast<utf8proc_int32_t>(c));
  if (is_lower(c) && !is_title(static_cast<char32_t>(title))) {
    const std::string folded = fold_case(c);
    const Utf8Decoded first = decode_utf8(folded);
    if (first.length < folded.size()) {
      return one(utf8proc_totitle(static_cast<utf8proc_int32_t>(first.code_point))) +
             folded.substr(first.length);
    }
  }
  return one(title);
}

bool is_final_sigma(std::string_view text, std::size_t offset) noexcept {
  std::size_t before = offset;
  bool cased_before = false;
  while (before > 0) {
    std::size_t start = before - 1;
    while (start > 0 && (static_cast<unsigned char>(text[start]) & 0xC0) == 0x80) --start;
    const char32_t c = decode_utf8(text.substr(start)).code_point;
    before = start;
    if (is_case_ignorable(c)) continue;
    cased_before = is_cased(c);
    break;
  }
  if (!cased_before) return false;
  std::size_t after = offset + decode_utf8(text.substr(offset)).length;
  while (after < text.size()) {
    const Utf8Decoded next = decode_utf8(text.substr(after));
    after += next.length;
    if (is_case_ignorable(next.code_point)) continue;
    return !is_cased(next.code_point);
  }
  return true;
}

}  // namespace hearth::text::jinja
