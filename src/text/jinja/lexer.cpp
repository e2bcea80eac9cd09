#include "text/jinja/lexer.h"

#include <algorithm>
#include <array>

#include "support/utf8.h"
#include "text/jinja/error.h"
#include "text/jinja/unicode.h"

namespace hearth::text::jinja {
namespace {

bool is_ascii_digit(char c) { return c >= '0' && c <= '9'; }

/// Line ends become "\n", and one at the very end is dropped.
std::string normalize_newlines(std::string_view source) {
  std::string text;
  text.reserve(source.size());
  for (std::size_t i = 0; i < source.size(); ++i) {
    if (source[i] == '\r') {
      if (i + 1 < source.size() && source[i + 1] == '\n') ++i;
      text += '\n';
    } else {
      text += source[i];
    }
  }
  if (!text.empty() && text.back() == '\n') text.pop_back();
  return text;
}

class Lexer {
 public:
  Lexer(std::string_view source, const std::string& name)
      : name_(name), source_(normalize_newlines(source)) {}

  std::vector<Token> run() {
    while (position_ < source_.size()) text_until_tag();
    push(TokenKind::kEnd, {});
    return std::move(tokens_);
  }

 private:
  [[noreturn]] void fail(const std::string& message) const {
    throw TemplateError(name_, line_, message);
  }

  std::string_view rest() const { return std::string_view(source_).substr(position_); }
  char at(std::size_t offset) const {
    return position_ + offset < source_.size() ? source_[position_ + offset] : '\0';
  }
  bool starts(std::string_view text) const { return rest().starts_with(text); }

  void push(TokenKind kind, std::string text) { tokens_.push_back({kind, line_, std::move(text)}); }

  void advance(std::size_t bytes) {
    for (std::size_t i = 0; i < bytes; ++i) line_ += source_[position_ + i] == '\n' ? 1 : 0;
    if (bytes > 0) line_starting_ = source_[position_ + bytes - 1] == '\n';
    position_ += bytes;
  }

  void skip_space() {
    while (position_ < source_.size()) {
      const Utf8Decoded next = decode_utf8(rest());
      if (!is_space(next.code_point)) return;
      advance(next.length);
    }
  }

  std::size_t space_length(std::size_t offset) const {
    std::size_t length = 0;
    while (offset + length < source_.size()) {
      const Utf8Decoded next = decode_utf8(std::string_view(source_).substr(offset + length));
      if (!is_space(next.code_point)) break;
      length += next.length;
    }
    return length;
  }

  /// The part of `text` that stays when the tag after it has `sign` ('-', '+' or 0). `strips_line`
  /// says whether white space before the tag on its line goes too.
  std::string_view strip_before_tag(std::string_view text, char sign, bool strips_line) const {
    if (sign == '-') {
      std::size_t end = text.size();
      while (end > 0) {
        std::size_t start = end - 1;
        while (start > 0 && (static_cast<unsigned char>(text[start]) & 0xC0) == 0x80) --start;
        if (!is_space(decode_utf8(text.substr(start)).code_point)) break;
        end = start;
      }
      return text.substr(0, end);
    }
    if (sign == '+' || !strips_line) return text;
    const std::size_t newline = text.rfind('\n');
    const std::size_t line_begin = newline == std::string_view::npos ? 0 : newline + 1;
    if (line_begin == 0 && !line_starting_) return text;
    for (std::size_t i = line_begin; i < text.size();) {
      const Utf8Decoded next = decode_utf8(text.substr(i));
      if (!is_space(next.code_point)) return text;
      i += next.length;
    }
    return text.substr(0, line_begin);
  }

  void emit_text(std::string_view text, std::size_t consumed) {
    if (!text.empty()) push(TokenKind::kText, std::string(text));
    if (consumed > 0) advance(consumed);
  }

  void text_until_tag() {
    std::size_t tag = position_;
    while (true) {
      tag = source_.find('{', tag);
      if (tag == std::string::npos || tag + 1 >= source_.size()) {
        tag = source_.size();
        break;
      }
      const char next = source_[tag + 1];
      if (next == '{' || next == '%' || next == '#') break;
      ++tag;
    }
    const std::string_view text = rest().substr(0, tag - position_);
    if (tag == source_.size()) {
      emit_text(text, text.size());
      return;
    }
    const char opener = source_[tag + 1];
    char sign = tag + 2 < source_.size() ? source_[tag + 2] : '\0';
    if (sign != '-' && sign != '+') sign = '\0';
    emit_text(strip_before_tag(text, sign, opener != '{'), text.size());
    const std::size_t raw = opener == '%' ? raw_begin_length() : 0;
    if (raw > 0) {
      advance(raw);
      raw_block();
      return;
    }
    if (opener == '{') push(TokenKind::kOutputBegin, {});
    if (opener == '%') push(TokenKind::kBlockBegin, {});
    advance(sign == '\0' ? 2 : 3);
    if (opener == '#') {
      comment();
    } else {
      tag_tokens(opener == '{');
    }
  }

  /// Length of "{% raw %}" (with its variants) at the position, or 0.
  std::size_t raw_begin_length() const {
    std::size_t i = position_ + 2;
    if (i < source_.size() && (source_[i] == '-' || source_[i] == '+')) ++i;
    i += space_length(i);
    if (source_.compare(i, 3, "raw") != 0) return 0;
    i += 3;
    i += space_length(i);
    if (source_.compare(i, 3, "-%}") == 0) {
      i += 3;
      return i + space_length(i) - position_;
    }
    return source_.compare(i, 2, "%}") == 0 ? i + 2 - position_ : 0;
  }

  void raw_block() {
    for (std::size_t tag = source_.find("{%", position_); tag != std::string::npos;
         tag = source_.find("{%", tag + 2)) {
      std::size_t i = tag + 2;
      char sign = '\0';
      if (i < source_.size() && (source_[i] == '-' || source_[i] == '+')) sign = source_[i++];
      i += space_length(i);
      if (source_.compare(i, 6, "endraw") != 0) continue;
      i += 6;
      i += space_length(i);
      std::size_t end = i;
      if (source_.compare(i, 3, "-%}") == 0) {
        end = i + 3 + space_length(i + 3);
      } else if (source_.compare(i, 3, "+%}") == 0) {
        end = i + 3;
      } else if (source_.compare(i, 2, "%}") == 0) {
        end = i + 2 + (i + 2 < source_.size() && source_[i + 2] == '\n' ? 1 : 0);
      } else {
        continue;
      }
      const std::string_view text = rest().substr(0, tag - position_);
      emit_text(strip_before_tag(text, sign, true), end - position_);
      return;
    }
    fail("missing end of raw directive");
  }

  void comment() {
    const std::size_t end = source_.find("#}", position_);
    if (end == std::string::npos) fail("missing end of comment tag");
    const char before = end > position_ ? source_[end - 1] : '\0';
    advance(end + 2 - position_);
    if (before == '-') {
      skip_space();
    } else if (before != '+' && at(0) == '\n') {
      advance(1);
    }
  }

  /// Consumes the end of the tag if it is here.
  bool tag_end(bool output) {
    const std::string_view close = output ? "}}" : "%}";
    const TokenKind kind = output ? TokenKind::kOutputEnd : TokenKind::kBlockEnd;
    if (at(0) == '-' && rest().substr(1).starts_with(close)) {
      push(kind, {});
      advance(3);
      skip_space();
      return true;
    }
    if (!output && at(0) == '+' && rest().substr(1).starts_with(close)) {
      push(kind, {});
      advance(3);
      return true;
    }
    if (!starts(close)) return false;
    push(kind, {});
    advance(2);
    if (!output && at(0) == '\n') advance(1);
    return true;
  }

  void tag_tokens(bool output) {
    std::string brackets;
    while (position_ < source_.size()) {
      if (brackets.empty() && tag_end(output)) return;
      const char c = at(0);
      const Utf8Decoded next = decode_utf8(rest());
      if (is_space(next.code_point)) {
        skip_space();
      } else if (is_ascii_digit(c)) {
        number();
      } else if (is_word(next.code_point)) {
        name();
      } else if (c == '\'' || c == '"') {
        string(c);
      } else {
        operator_token(brackets);
      }
    }
    fail("unexpected end of template inside a tag");
  }

  /// Digits at `offset` with single underscores between them; the offset behind them.
  template <typename IsDigit>
  std::size_t digits(std::size_t offset, IsDigit is_digit_of_base) const {
    std::size_t i = offset;
    while (true) {
      std::size_t j = i;
      if (i > offset && at(j) == '_') ++j;
      if (!is_digit_of_base(at(j))) return i;
      i = j + 1;
    }
  }

  void push_number(TokenKind kind, std::size_t length) {
    std::string text(rest().substr(0, length));
    std::erase(text, '_');
    push(kind, std::move(text));
    advance(length);
  }

  void number() {
    // A float needs a fraction or an exponent, and does not follow a dot ("x.1.2" are two indices).
    const bool after_dot = position_ > 0 && source_[position_ - 1] == '.';
    if (!after_dot) {
      const std::size_t whole = digits(0, is_ascii_digit);
      std::size_t end = whole;
      if (at(whole) == '.' && is_ascii_digit(at(whole + 1)))
        end = digits(whole + 1, is_ascii_digit);
      if (at(end) == 'e' || at(end) == 'E') {
        const std::size_t sign = at(end + 1) == '+' || at(end + 1) == '-' ? 1 : 0;
        if (is_ascii_digit(at(end + 1 + sign))) end = digits(end + 1 + sign, is_ascii_digit);
      }
      if (end > whole) return push_number(TokenKind::kFloat, end);
    }
    if (at(0) != '0') return push_number(TokenKind::kInteger, digits(0, is_ascii_digit));
    const char base = static_cast<char>(at(1) | 0x20);
    const auto is_base_digit = [base](char c) {
      if (base == 'b') return c == '0' || c == '1';
      if (base == 'o') return c >= '0' && c <= '7';
      return is_ascii_digit(c) || ((c | 0x20) >= 'a' && (c | 0x20) <= 'f');
    };
    if (base == 'b' || base == 'o' || base == 'x') {
      const std::size_t first = at(2) == '_' ? 3 : 2;
      if (is_base_digit(at(first)))
        return push_number(TokenKind::kInteger, digits(first, is_base_digit));
    }
    push_number(TokenKind::kInteger, digits(0, [](char c) { return c == '0'; }));
  }

  void name() {
    std::size_t length = 0;
    while (position_ + length < source_.size()) {
      const Utf8Decoded next = decode_utf8(rest().substr(length));
      if (!is_word(next.code_point)) break;
      length += next.length;
    }
    if (is_numeric(decode_utf8(rest()).code_point)) fail("invalid character in identifier");
    push(TokenKind::kName, std::string(rest().substr(0, length)));
    advance(length);
  }

  void string(char quote) {
    std::size_t end = 1;
    while (at(end) != quote) {
      if (position_ + end >= source_.size()) fail("unexpected end of template inside a string");
      end += at(end) == '\\' ? 2 : 1;
    }
    if (position_ + end >= source_.size()) fail("unexpected end of template inside a string");
    push(TokenKind::kString, unescape(rest().substr(1, end - 1)));
    advance(end + 1);
  }

  std::string unescape(std::string_view text) const {
    std::string result;
    for (std::size_t i = 0; i < text.size(); ++i) {
      if (text[i] != '\\' || i + 1 == text.size()) {
        result += text[i];
        continue;
      }
      const char c = text[++i];
      static constexpr std::string_view kNames = "abfnrtv\\'\"";
      static constexpr std::string_view kValues = "\a\b\f\n\r\t\v\\'\"";
      if (const std::size_t known = kNames.find(c); known != std::string_view::npos) {
        result += kValues[known];
      } else if (c == '\n') {
        continue;
      } else if (c >= '0' && c <= '7') {
        std::size_t end = i;
        char32_t value = 0;
        while (end < text.size() && end < i + 3 && text[end] >= '0' && text[end] <= '7') {
          value = value * 8 + static_cast<char32_t>(text[end++] - '0');
        }
        append_utf8(result, value);
        i = end - 1;
      } else if (c == 'x' || c == 'u' || c == 'U') {
        const std::size_t count = c == 'x' ? 2 : c == 'u' ? 4 : 8;
        char32_t value = hex(text, i + 1, count);
        i += count;
        // Python keeps the halves of a surrogate pair apart and then cannot print them; joining
        // them is what is meant.
        if (value >= 0xD800 && value < 0xDC00 && text.substr(i + 1).starts_with("\\u")) {
          const char32_t low = hex(text, i + 3, 4);
          if (low >= 0xDC00 && low < 0xE000) {
            value = 0x10000 + ((value - 0xD800) << 10) + (low - 0xDC00);
            i += 6;
          }
        }
        append_utf8(result, value);
      } else if (c == 'N') {
        fail("character names (\\N{...}) are not supported");
      } else {
        result += '\\';
        result += c;
      }
    }
    return result;
  }

  char32_t hex(std::string_view text, std::size_t offset, std::size_t count) const {
    char32_t value = 0;
    for (std::size_t i = offset; i < offset + count; ++i) {
      const char c = i < text.size() ? static_cast<char>(text[i] | 0x20) : ' ';
      const bool letter = c >= 'a' && c <= 'f';
      if (i >= text.size() || (!is_ascii_digit(text[i]) && !letter))
        fail("a string has a malformed \\x or \\u escape");
      value = value * 16 + static_cast<char32_t>(letter ? c - 'a' + 10 : text[i] - '0');
    }
    if (value > 0x10FFFF) fail("a string escape is beyond the last Unicode character");
    return value;
  }

  void operator_token(std::string& brackets) {
    static constexpr std::array<std::string_view, 7> kTwo = {
        "//", "**", "==", "!=", ">=", "<=", ""};
    for (const std::string_view two : kTwo) {
      if (!two.empty() && starts(two)) {
        push(TokenKind::kOperator, std::string(two));
        advance(2);
        return;
      }
    }
    const char c = at(0);
    if (std::string_view("+-/*%~[](){}><=.:|,;").find(c) == std::string_view::npos) {
      fail("unexpected character '" + std::string(rest().substr(0, decode_utf8(rest()).length)) +
           "'");
    }
    if (c == '(' || c == '[' || c == '{') {
      brackets += c == '(' ? ')' : c == '[' ? ']' : '}';
    } else if (c == ')' || c == ']' || c == '}') {
      if (brackets.empty()) fail(std::string("unexpected '") + c + "'");
      if (brackets.back() != c)
        fail(std::string("unexpected '") + c + "', expected '" + brackets.back() + "'");
      brackets.pop_back();
    }
    push(TokenKind::kOperator, std::string(1, c));
    advance(1);
  }

  const std::string& name_;
  std::string source_;
  std::size_t position_ = 0;
  std::uint32_t line_ = 1;
  bool line_starting_ = true;
  std::vector<Token> tokens_;
};

}  // namespace

std::vector<Token> tokenize_template(std::string_view source, const std::string& template_name) {
  return Lexer(source, template_name).run();
}

std::string describe(const Token& token) {
  switch (token.kind) {
    case TokenKind::kText:
      return "template text";
    case TokenKind::kOutputBegin:
      return "begin of print statement";
    case TokenKind::kOutputEnd:
      return "end of print statement";
    case TokenKind::kBlockBegin:
      return "begin of statement block";
    case TokenKind::kBlockEnd:
      return "end of statement block";
    case TokenKind::kEnd:
      return "end of template";
    case TokenKind::kString:
      return "a string";
    default:
      return "'" + token.text + "'";
  }
}

}  // namespace hearth::text::jinja
