#include "support/error.h"

#include "support/utf8.h"

namespace hearth {

std::string printable(std::string_view text, std::size_t limit) {
  static constexpr char kHex[] = "0123456789abcdef";
  std::string result;
  std::size_t position = 0;
  while (position < text.size()) {
    if (result.size() >= limit) return result + "...";
    const Utf8Decoded decoded = decode_utf8(text.substr(position));
    if (!decoded.valid || decoded.code_point < 0x20 || decoded.code_point == 0x7f) {
      const auto byte = static_cast<unsigned char>(text[position]);
      result += "\\x";
      result += kHex[byte >> 4];
      result += kHex[byte & 15];
      ++position;
    } else {
      result.append(text.substr(position, decoded.length));
      position += decoded.length;
    }
  }
  return result;
}

std::string in_quotes(std::string_view text, std::size_t limit) {
  return "'" + printable(text, limit) + "'";
}

}  // namespace hearth
