#include "support/utf8.h"

namespace hearth {
namespace {

constexpr bool is_continuation(unsigned char byte) { return (byte & 0xC0) == 0x80; }

struct LeadByte {
  int length;         // total bytes of the sequence, 0 when not a lead byte
  unsigned char low;  // allowed range of the second byte (table 3-7 of the Unicode standard)
  unsigned char high;
};

constexpr LeadByte classify(unsigned char lead) {
  if (lead < 0x80) return {1, 0, 0};
  if (lead < 0xC2) return {0, 0, 0};
  if (lead < 0xE0) return {2, 0x80, 0xBF};
  if (lead == 0xE0) return {3, 0xA0, 0xBF};
  if (lead == 0xED) return {3, 0x80, 0x9F};
  if (lead < 0xF0) return {3, 0x80, 0xBF};
  if (lead == 0xF0) return {4, 0x90, 0xBF};
  if (lead < 0xF4) return {4, 0x80, 0xBF};
  if (lead == 0xF4) return {4, 0x80, 0x8F};
  return {0, 0, 0};
}

/// Bytes of `text` that form a valid prefix of the sequence announced by its lead byte.
std::size_t valid_prefix(std::string_view text, const LeadByte& lead) {
  std::size_t length = 1;
  while (length < static_cast<std::size_t>(lead.length) && length < text.size()) {
    const auto byte = static_cast<unsigned char>(text[length]);
    const bool fits = length == 1 ? byte >= lead.low && byte <= lead.high : is_continuation(byte);
    if (!fits) break;
    ++length;
  }
  return length;
}

}  // namespace

Utf8Decoded decode_utf8(std::string_view text) noexcept {
  const auto first = static_cast<unsigned char>(text[0]);
  const LeadByte lead = classify(first);
  if (lead.length == 1) return {first, 1, true};
  if (lead.length == 0) return {};
  const std::size_t length = valid_prefix(text, lead);
  if (length < static_cast<std::size_t>(lead.length)) return {0xFFFD, length, false};
  char32_t code_point = first & (0x7F >> lead.length);
  for (std::size_t i = 1; i < length; ++i) {
    code_point = (code_point << 6) | (static_cast<unsigned char>(text[i]) & 0x3F);
  }
  return {code_point, length, true};
}

void append_utf8(std::string& out, char32_t code_point) {
  if (code_point > 0x10FFFF || (code_point >= 0xD800 && code_point < 0xE000)) code_point = 0xFFFD;
  const auto tail = [&](int shift) {
    return static_cast<char>(0x80 | ((code_point >> shift) & 0x3F));
  };
  if (code_point < 0x80) {
    out += static_cast<char>(code_point);
  } else if (code_point < 0x800) {
    out += static_cast<char>(0xC0 | (code_point >> 6));
    out += tail(0);
  } else if (code_point < 0x10000) {
    out += static_cast<char>(0xE0 | (code_point >> 12));
    out += tail(6);
    out += tail(0);
  } else {
    out += static_cast<char>(0xF0 | (code_point >> 18));
    out += tail(12);
    out += tail(6);
    out += tail(0);
  }
}

std::size_t find_invalid_utf8(std::string_view text) noexcept {
  std::size_t position = 0;
  while (position < text.size()) {
    const Utf8Decoded decoded = decode_utf8(text.substr(position));
    if (!decoded.valid) return position;
    position += decoded.length;
  }
  return std::string_view::npos;
}

std::string to_valid_utf8(std::string_view text) {
  std::string result;
  result.reserve(text.size());
  while (!text.empty()) {
    const Utf8Decoded decoded = decode_utf8(text);
    append_utf8(result, decoded.code_point);
    text.remove_prefix(decoded.length);
  }
  return result;
}

std::size_t incomplete_utf8_tail(std::string_view text) noexcept {
  for (std::size_t back = 1; back <= 3 && back <= text.size(); ++back) {
    const std::string_view tail = text.substr(text.size() - back);
    const auto byte = static_cast<unsigned char>(tail[0]);
    if (is_continuation(byte)) continue;
    const LeadByte lead = classify(byte);
    const bool unfinished =
        lead.length > static_cast<int>(back) && valid_prefix(tail, lead) == back;
    return unfinished ? back : 0;
  }
  return 0;
}

}  // namespace hearth
