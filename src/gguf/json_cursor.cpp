#include "gguf/json_cursor.h"

#include "support/error.h"
#include "support/utf8.h"

namespace hearth::gguf {

void JsonCursor::fail(const std::string& what) const {
  throw Error("bad JSON in " + in_quotes(name_, kPathLimit) + " at byte " +
                  std::to_string(position_) + ": " + what,
              "the file is damaged: fetch it again");
}

void JsonCursor::skip_white_space() noexcept {
  while (position_ < text_.size()) {
    const char c = text_[position_];
    if (c != ' ' && c != '\t' && c != '\n' && c != '\r') return;
    ++position_;
  }
}

char JsonCursor::peek() {
  skip_white_space();
  if (position_ >= text_.size()) fail("it ends in the middle");
  return text_[position_];
}

void JsonCursor::need(char expected) {
  if (peek() != expected) fail(std::string("'") + expected + "' is missing");
  ++position_;
}

void JsonCursor::enter(char bracket, const char* what) {
  if (peek() != bracket) fail(std::string("here should be ") + what);
  if (++depth_ > kMaxDepth) fail("it is nested too deeply");
  ++position_;
}

bool JsonCursor::more(char bracket, bool first) {
  if (peek() == bracket) {
    ++position_;
    --depth_;
    return false;
  }
  if (!first) need(',');
  return true;
}

std::uint32_t JsonCursor::hexadecimal() {
  std::uint32_t value = 0;
  for (int i = 0; i < 4; ++i) {
    const char c = position_ < text_.size() ? text_[position_] : '\0';
    if (c >= '0' && c <= '9') {
      value = value * 16 + static_cast<std::uint32_t>(c - '0');
    } else if ((c | 0x20) >= 'a' && (c | 0x20) <= 'f') {
      value = value * 16 + static_cast<std::uint32_t>((c | 0x20) - 'a' + 10);
    } else {
      fail("an escape needs four hexadecimal digits");
    }
    ++position_;
  }
  return value;
}

void JsonCursor::append_escape(std::string& to) {
  const char c = position_ < text_.size() ? text_[position_] : '\0';
  ++position_;
  switch (c) {
    case '"':
    case '\\':
    case '/':
      to += c;
      return;
    case 'b':
      to += '\b';
      return;
    case 'f':
      to += '\f';
      return;
    case 'n':
      to += '\n';
      return;
    case 'r':
      to += '\r';
      return;
    case 't':
      to += '\t';
      return;
    case 'u':
      break;
    default:
      fail("an unknown escape");
  }
  std::uint32_t code = hexadecimal();
  if (code >= 0xD800 && code < 0xDC00 && text_.substr(position_).starts_with("\\u")) {
    position_ += 2;
    const std::uint32_t low = hexadecimal();
    if (low < 0xDC00 || low >= 0xE000) fail("an unpaired surrogate");
    code = 0x10000 + ((code - 0xD800) << 10) + (low - 0xDC00);
  }
  if (code >= 0xD800 && code < 0xE000) fail("an unpaired surrogate");
  append_utf8(to, static_cast<char32_t>(code));
}

std::string JsonCursor::string() {
  if (peek() != '"') fail("here should be a string");
  ++position_;
  std::string result;
  for (;;) {
    if (position_ >= text_.size()) fail("a string does not end");
    const char c = text_[position_++];
    if (c == '"') break;
    if (static_cast<unsigned char>(c) < 0x20) fail("a control character in a string");
    if (c == '\\') {
      append_escape(result);
    } else {
      result += c;
    }
  }
  if (find_invalid_utf8(result) != std::string_view::npos) fail("a string is not UTF-8");
  return result;
}

std::uint64_t JsonCursor::unsigned_integer() {
  (void)peek();
  const std::size_t begin = position_;
  std::uint64_t value = 0;
  while (position_ < text_.size() && text_[position_] >= '0' && text_[position_] <= '9') {
    const auto digit = static_cast<std::uint64_t>(text_[position_] - '0');
    if (__builtin_mul_overflow(value, std::uint64_t{10}, &value) ||
        __builtin_add_overflow(value, digit, &value)) {
      fail("a number is too large");
    }
    ++position_;
  }
  if (position_ == begin) fail("here should be a whole number from 0 up");
  if (text_[begin] == '0' && position_ > begin + 1) fail("a number begins with 0");
  if (position_ < text_.size() &&
      std::string_view(".eE").find(text_[position_]) != std::string::npos)
    fail("a number is not whole");
  return value;
}

/// true, false, null and numbers: what they are made of is enough, nobody looks at them.
void JsonCursor::skip_literal() {
  const std::size_t begin = position_;
  while (position_ < text_.size()) {
    const char c = text_[position_];
    const bool part = (c >= '0' && c <= '9') || (c >= 'a' && c <= 'z') || c == '-' || c == '+' ||
                      c == '.' || c == 'E';
    if (!part) break;
    ++position_;
  }
  if (position_ == begin) fail("here should be a value");
}

void JsonCursor::skip() {
  switch (peek()) {
    case '{':
      return object([this](const std::string&) { skip(); });
    case '[':
      return array([this] { skip(); });
    case '"':
      (void)string();
      return;
    default:
      return skip_literal();
  }
}

void JsonCursor::finish() {
  skip_white_space();
  if (position_ < text_.size()) fail("there is more after its end");
}

}  // namespace hearth::gguf
