#include "text/unicode.h"

#include <utf8proc.h>

#include <algorithm>
#include <array>
#include <vector>

namespace hearth::text {
namespace {

constexpr char32_t kReplacement = 0xFFFD;
constexpr char32_t kLastCodePoint = 0x10FFFF;
/// The first code point that takes part in composition or has a decomposition above it.
constexpr char32_t kFirstComposing = 0x300;

bool is_continuation(unsigned char byte) { return (byte & 0xC0) == 0x80; }

/// Decodes one code point at `bytes[at]`; returns its length.
std::size_t decode_one(std::string_view bytes, std::size_t at, char32_t& code_point) {
  const auto lead = static_cast<unsigned char>(bytes[at]);
  code_point = lead;
  if (lead < 0x80) return 1;
  const std::size_t length = lead >= 0xC0 && lead < 0xF8 ? utf8_length_by_lead(lead) : 1;
  code_point = kReplacement;
  if (length == 1 || bytes.size() - at < length) return 1;
  char32_t value = lead & (0xFFU >> (length + 1));
  for (std::size_t i = 1; i < length; ++i) {
    const auto byte = static_cast<unsigned char>(bytes[at + i]);
    if (!is_continuation(byte)) return 1;
    value = value << 6 | (byte & 0x3FU);
  }
  code_point = value;
  return length;
}

utf8proc_category_t category(char32_t code_point) {
  return utf8proc_category(static_cast<utf8proc_int32_t>(code_point));
}

int combining_class(char32_t code_point) {
  return utf8proc_get_property(static_cast<utf8proc_int32_t>(code_point))->combining_class;
}

void append_decomposed(std::u32string& out, char32_t code_point) {
  // The longest canonical decomposition has four code points; the function reports what it needs.
  std::array<utf8proc_int32_t, 32> parts{};
  int boundary_class = 0;
  const utf8proc_ssize_t count = utf8proc_decompose_char(
      static_cast<utf8proc_int32_t>(code_point), parts.data(),
      static_cast<utf8proc_ssize_t>(parts.size()), UTF8PROC_DECOMPOSE, &boundary_class);
  if (count <= 0 || count > static_cast<utf8proc_ssize_t>(parts.size())) {
    out.push_back(code_point);
    return;
  }
  for (utf8proc_ssize_t i = 0; i < count; ++i) out.push_back(static_cast<char32_t>(parts[i]));
}

/// Canonical ordering: every run of combining marks is sorted by combining class, stably.
void order_marks(std::u32string& text) {
  for (std::size_t i = 0; i < text.size();) {
    if (text[i] < kFirstComposing || combining_class(text[i]) == 0) {
      ++i;
      continue;
    }
    std::size_t end = i + 1;
    while (end < text.size() && combining_class(text[end]) != 0) ++end;
    std::stable_sort(text.begin() + static_cast<std::ptrdiff_t>(i),
                     text.begin() + static_cast<std::ptrdiff_t>(end), [](char32_t a, char32_t b) {
                       return combining_class(a) < combining_class(b);
                     });
    i = end;
  }
}

}  // namespace

std::u32string decode_lenient(std::string_view bytes) {
  std::u32string code_points;
  code_points.reserve(bytes.size());
  for (std::size_t at = 0; at < bytes.size();) {
    char32_t code_point = 0;
    at += decode_one(bytes, at, code_point);
    code_points.push_back(code_point);
  }
  return code_points;
}

void append_lenient(std::string& out, char32_t code_point) {
  const auto put = [&](char32_t byte) { out.push_back(static_cast<char>(byte)); };
  if (code_point < 0x80) {
    put(code_point);
  } else if (code_point < 0x800) {
    put(0xC0 | code_point >> 6);
    put(0x80 | (code_point & 0x3F));
  } else if (code_point < 0x10000) {
    put(0xE0 | code_point >> 12);
    put(0x80 | (code_point >> 6 & 0x3F));
    put(0x80 | (code_point & 0x3F));
  } else {
    put(0xF0 | code_point >> 18);
    put(0x80 | (code_point >> 12 & 0x3F));
    put(0x80 | (code_point >> 6 & 0x3F));
    put(0x80 | (code_point & 0x3F));
  }
}

std::string encode_lenient(std::u32string_view code_points) {
  std::string bytes;
  bytes.reserve(code_points.size());
  for (const char32_t code_point : code_points) append_lenient(bytes, code_point);
  return bytes;
}

CategoryGroup category_group(char32_t code_point) noexcept {
  switch (category(code_point)) {
    case UTF8PROC_CATEGORY_LU:
    case UTF8PROC_CATEGORY_LL:
    case UTF8PROC_CATEGORY_LT:
    case UTF8PROC_CATEGORY_LM:
    case UTF8PROC_CATEGORY_LO:
      return CategoryGroup::kLetter;
    case UTF8PROC_CATEGORY_MN:
    case UTF8PROC_CATEGORY_MC:
    case UTF8PROC_CATEGORY_ME:
      return CategoryGroup::kMark;
    case UTF8PROC_CATEGORY_ND:
    case UTF8PROC_CATEGORY_NL:
    case UTF8PROC_CATEGORY_NO:
      return CategoryGroup::kNumber;
    case UTF8PROC_CATEGORY_PC:
    case UTF8PROC_CATEGORY_PD:
    case UTF8PROC_CATEGORY_PS:
    case UTF8PROC_CATEGORY_PE:
    case UTF8PROC_CATEGORY_PI:
    case UTF8PROC_CATEGORY_PF:
    case UTF8PROC_CATEGORY_PO:
      return CategoryGroup::kPunctuation;
    case UTF8PROC_CATEGORY_SM:
    case UTF8PROC_CATEGORY_SC:
    case UTF8PROC_CATEGORY_SK:
    case UTF8PROC_CATEGORY_SO:
      return CategoryGroup::kSymbol;
    case UTF8PROC_CATEGORY_ZS:
    case UTF8PROC_CATEGORY_ZL:
    case UTF8PROC_CATEGORY_ZP:
      return CategoryGroup::kSeparator;
    case UTF8PROC_CATEGORY_CC:
    case UTF8PROC_CATEGORY_CF:
    case UTF8PROC_CATEGORY_CS:
    case UTF8PROC_CATEGORY_CO:
      return CategoryGroup::kOther;
    default:
      return CategoryGroup::kUnassigned;
  }
}

bool is_decimal_digit(char32_t code_point) noexcept {
  return category(code_point) == UTF8PROC_CATEGORY_ND;
}

bool is_nonspacing_mark(char32_t code_point) noexcept {
  return category(code_point) == UTF8PROC_CATEGORY_MN;
}

bool is_word_character(char32_t code_point) noexcept {
  const CategoryGroup group = category_group(code_point);
  return group == CategoryGroup::kLetter || group == CategoryGroup::kMark ||
         group == CategoryGroup::kNumber || category(code_point) == UTF8PROC_CATEGORY_PC;
}

bool is_white_space(char32_t code_point) noexcept {
  return (code_point >= 0x9 && code_point <= 0xD) || code_point == 0x20 || code_point == 0x85 ||
         code_point == 0xA0 || code_point == 0x1680 ||
         (code_point >= 0x2000 && code_point <= 0x200A) || code_point == 0x2028 ||
         code_point == 0x2029 || code_point == 0x202F || code_point == 0x205F ||
         code_point == 0x3000;
}

char32_t to_lower(char32_t code_point) noexcept {
  if (code_point < 0x80) {
    return code_point >= U'A' && code_point <= U'Z' ? code_point + 32 : code_point;
  }
  return static_cast<char32_t>(utf8proc_tolower(static_cast<utf8proc_int32_t>(code_point)));
}

std::u32string to_nfd(std::u32string_view text) {
  std::u32string decomposed;
  decomposed.reserve(text.size());
  for (const char32_t code_point : text) append_decomposed(decomposed, code_point);
  order_marks(decomposed);
  return decomposed;
}

std::u32string to_nfc(std::u32string_view text) {
  const bool plain = std::all_of(text.begin(), text.end(),
                                 [](char32_t code_point) { return code_point < kFirstComposing; });
  if (plain) return std::u32string(text);
  const std::u32string decomposed = to_nfd(text);
  std::vector<utf8proc_int32_t> buffer;
  buffer.reserve(decomposed.size());
  for (const char32_t code_point : decomposed) {
    const bool known =
        code_point <= kLastCodePoint;  // the composition looks up its table unchecked
    buffer.push_back(static_cast<utf8proc_int32_t>(known ? code_point : kReplacement));
  }
  const utf8proc_ssize_t length =
      utf8proc_normalize_utf32(buffer.data(), static_cast<utf8proc_ssize_t>(buffer.size()),
                               static_cast<utf8proc_option_t>(UTF8PROC_COMPOSE | UTF8PROC_STABLE));
  if (length < 0) return std::u32string(text);
  return std::u32string(buffer.begin(), buffer.begin() + length);
}

}  // namespace hearth::text
