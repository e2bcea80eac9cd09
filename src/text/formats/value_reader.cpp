#include "text/formats/value_reader.h"

#include <nlohmann/json.hpp>

#include "support/utf8.h"
#include "text/formats/scan.h"

namespace hearth::text {
namespace {

constexpr std::size_t kMaxValueDepth = 256;
constexpr std::size_t kMaxToken = 4096;  // numbers, words and unquoted keys

bool is_word_char(char c) {
  return is_letter(c) || is_digit(c) || c == '_' || static_cast<unsigned char>(c) >= 0x80;
}

int hex_value(char c) {
  if (c >= '0' && c <= '9') return c - '0';
  if (c >= 'a' && c <= 'f') return c - 'a' + 10;
  if (c >= 'A' && c <= 'F') return c - 'A' + 10;
  return -1;
}

/// Number of hexadecimal digits at the start of `text`, at most `limit`.
std::size_t count_hex(std::string_view text, std::size_t limit) {
  std::size_t count = 0;
  while (count < limit && count < text.size() && hex_value(text[count]) >= 0) ++count;
  return count;
}

char32_t hex_number(std::string_view digits) {
  char32_t value = 0;
  for (char c : digits) value = value * 16 + static_cast<char32_t>(hex_value(c));
  return value;
}

void append_character(std::string& out, char c) {
  static constexpr char kDigits[] = "0123456789abcdef";
  switch (c) {
    case '"':
      out += "\\\"";
      return;
    case '\\':
      out += "\\\\";
      return;
    case '\n':
      out += "\\n";
      return;
    case '\r':
      out += "\\r";
      return;
    case '\t':
      out += "\\t";
      return;
    case '\b':
      out += "\\b";
      return;
    case '\f':
      out += "\\f";
      return;
    default:
      break;
  }
  if (static_cast<unsigned char>(c) >= 0x20) {
    out += c;
    return;
  }
  out += "\\u00";
  out += kDigits[static_cast<unsigned char>(c) >> 4];
  out += kDigits[static_cast<unsigned char>(c) & 15];
}

void append_code_point(std::string& out, char32_t code_point) {
  if (code_point < 0x80) {
    append_character(out, static_cast<char>(code_point));
  } else {
    append_utf8(out, code_point);
  }
}

std::size_t skip_digits(std::string_view text, std::size_t at) {
  while (at < text.size() && is_digit(text[at])) ++at;
  return at;
}

/// `token` as a JSON number: the spellings ".5", "5." and "+5" are completed; empty when it is no
/// number.
std::string json_number(std::string_view token) {
  std::string number;
  if (token.starts_with('-')) number = "-";
  if (token.starts_with('-') || token.starts_with('+')) token.remove_prefix(1);
  std::size_t integer_end = skip_digits(token, 0);
  if (integer_end > 1 && token[0] == '0') return {};
  number += integer_end == 0 ? "0" : token.substr(0, integer_end);
  std::size_t at = integer_end;
  std::size_t digits = integer_end;
  if (at < token.size() && token[at] == '.') {
    std::size_t end = skip_digits(token, at + 1);
    digits += end - at - 1;
    number += end == at + 1 ? ".0" : token.substr(at, end - at);
    at = end;
  }
  if (digits == 0) return {};
  if (at < token.size() && (token[at] == 'e' || token[at] == 'E')) {
    std::size_t sign = at + 1;
    if (sign < token.size() && (token[sign] == '+' || token[sign] == '-')) ++sign;
    std::size_t end = skip_digits(token, sign);
    if (end == sign) return {};
    number += token.substr(at, end - at);
    at = end;
  }
  return at == token.size() ? number : std::string();
}

}  // namespace

ValueReader::Status ValueReader::read(std::string_view text, bool final, std::size_t& consumed,
                                      std::string& out) {
  consumed = 0;
  while (state_ != State::kDone && state_ != State::kBroken) {
    std::string_view rest = text.substr(consumed);
    if (state_ != State::kString) {
      std::size_t space = count_space(rest);
      consumed += space;
      rest.remove_prefix(space);
    }
    if (rest.empty()) break;
    std::size_t used =
        state_ == State::kString ? read_string(rest, final, out) : read_token(rest, final, out);
    if (used == 0) break;
    consumed += used;
  }
  if (state_ == State::kDone) return Status::kDone;
  return state_ == State::kBroken ? Status::kBroken : Status::kMore;
}

std::size_t ValueReader::fail() {
  state_ = State::kBroken;
  return 0;
}

void ValueReader::finish_value(Shape shape) {
  if (frames_.empty()) {
    shape_ = shape;
    state_ = State::kDone;
  } else {
    state_ = State::kAfter;
  }
}

/// Commas are written before the element they precede, so that a trailing one never is.
void ValueReader::write_comma(std::string& out) {
  if (frames_.empty()) return;
  if (frames_.back().has_elements) out += ',';
  frames_.back().has_elements = true;
}

std::size_t ValueReader::read_token(std::string_view text, bool final, std::string& out) {
  const char c = text.front();
  switch (state_) {
    case State::kColon:
      if (c != ':') return fail();
      out += ':';
      state_ = State::kValue;
      return 1;
    case State::kAfter:
      if (c == frames_.back().closer) return close_container(out);
      if (c != ',') return fail();
      state_ = frames_.back().closer == '}' ? State::kKey : State::kElement;
      return 1;
    case State::kKey:
      return c == '}' ? close_container(out) : read_key(text, final, out);
    case State::kElement:
      return c == frames_.back().closer ? close_container(out) : read_value(text, final, out);
    default:
      return read_value(text, final, out);
  }
}

std::size_t ValueReader::close_container(std::string& out) {
  const char closer = frames_.back().closer;
  out += closer == '}' ? '}' : ']';
  frames_.pop_back();
  finish_value(closer == '}' ? Shape::kObject : Shape::kArray);
  return 1;
}

std::size_t ValueReader::open_container(char opener, std::string& out) {
  if (frames_.size() >= kMaxValueDepth) return fail();
  if (state_ == State::kElement) write_comma(out);
  out += opener == '{' ? '{' : '[';
  frames_.push_back({opener == '{' ? '}' : opener == '[' ? ']' : ')', false});
  state_ = opener == '{' ? State::kKey : State::kElement;
  return 1;
}

std::size_t ValueReader::read_value(std::string_view text, bool final, std::string& out) {
  const char c = text.front();
  if (c == '{' || c == '[' || c == '(') return open_container(c, out);
  string_is_key_ = false;
  if (c == '"' || c == '\'') return open_string(text, final, out);
  if (!quote_token_.empty()) {
    const Match quote = match(text, quote_token_, final);
    if (quote == Match::kPartial) return 0;
    if (quote == Match::kYes) return open_string(text, final, out);
  }
  if (is_digit(c) || c == '-' || c == '+' || c == '.') return read_number(text, final, out);
  return is_letter(c) ? read_word(text, final, out) : fail();
}

std::size_t ValueReader::read_key(std::string_view text, bool final, std::string& out) {
  const char c = text.front();
  string_is_key_ = true;
  if (c == '"' || c == '\'') return open_string(text, final, out);
  if (!quote_token_.empty()) {
    const Match quote = match(text, quote_token_, final);
    if (quote == Match::kPartial) return 0;
    if (quote == Match::kYes) return open_string(text, final, out);
  }
  std::size_t end = 0;
  while (end < text.size() &&
         (is_word_char(text[end]) || text[end] == '-' || text[end] == '.' || text[end] == '$'))
    ++end;
  if (end == 0 || end > kMaxToken) return fail();
  if (end == text.size()) return 0;
  write_comma(out);
  append_json_string(out, text.substr(0, end));
  state_ = State::kColon;
  return end;
}

std::size_t ValueReader::open_string(std::string_view text, bool final, std::string& out) {
  const char c = text.front();
  if (c == '"' || c == '\'') {
    delimiter_.assign(1, c);
    escapes_ = true;
    if (text.size() > 1 && text[1] == c) {  // an empty string, or the first two of three quotes
      if (text.size() == 2 && !final) return 0;
      if (text.size() > 2 && text[2] == c) delimiter_.assign(3, c);
    } else if (text.size() == 1 && !final) {
      return 0;
    }
  } else {
    delimiter_ = quote_token_;
    escapes_ = false;
  }
  if (string_is_key_ || state_ == State::kElement) write_comma(out);
  out += '"';
  state_ = State::kString;
  return delimiter_.size();
}

std::size_t ValueReader::read_string(std::string_view text, bool final, std::string& out) {
  std::size_t at = 0;
  while (at < text.size()) {
    std::string_view rest = text.substr(at);
    if (rest.front() == delimiter_.front()) {
      const Match end = match(rest, delimiter_, final);
      if (end == Match::kPartial) return at;
      if (end == Match::kYes) {
        out += '"';
        if (string_is_key_) {
          state_ = State::kColon;
        } else {
          finish_value(Shape::kString);
        }
        return at + delimiter_.size();
      }
    }
    if (rest.front() == '\\' && escapes_) {
      const std::size_t used = read_escape(rest, out);
      if (used == 0) return at;
      at += used;
    } else {
      append_character(out, rest.front());
      ++at;
    }
  }
  return at;
}

/// An escape sequence at the start of `text`; 0 when it is not complete yet.
std::size_t ValueReader::read_escape(std::string_view text, std::string& out) {
  if (text.size() < 2) return 0;
  switch (text[1]) {
    case '"':
    case '\\':
    case 'b':
    case 'f':
    case 'n':
    case 'r':
    case 't':
      out += text.substr(0, 2);
      return 2;
    case '/':
    case '\'':
      out += text[1];
      return 2;
    case 'u':
      return read_unicode_escape(text, out);
    case 'x': {
      const std::size_t digits = count_hex(text.substr(2), 2);
      if (digits == 2) {
        append_code_point(out, hex_number(text.substr(2, 2)));
        return 4;
      }
      if (2 + digits == text.size()) return 0;
      break;
    }
    default:
      break;
  }
  out += "\\\\";  // not an escape: the backslash stands for itself
  return 1;
}

std::size_t ValueReader::read_unicode_escape(std::string_view text, std::string& out) {
  const std::size_t digits = count_hex(text.substr(2), 4);
  if (digits < 4) {
    if (2 + digits == text.size()) return 0;
    out += "\\\\";
    return 1;
  }
  const char32_t first = hex_number(text.substr(2, 4));
  if (first < 0xD800 || first > 0xDFFF) {
    append_code_point(out, first);
    return 6;
  }
  if (first < 0xDC00) {  // a high surrogate: its low half must follow
    const std::string_view next = text.substr(6);
    if (match(next, "\\u", false) == Match::kPartial) return 0;
    if (next.starts_with("\\u")) {
      const std::size_t low_digits = count_hex(next.substr(2), 4);
      if (low_digits < 4 && 2 + low_digits == next.size()) return 0;
      const char32_t second = low_digits == 4 ? hex_number(next.substr(2, 4)) : 0;
      if (second >= 0xDC00 && second <= 0xDFFF) {
        append_utf8(out, 0x10000 + ((first - 0xD800) << 10) + (second - 0xDC00));
        return 12;
      }
    }
  }
  append_utf8(out, 0xFFFD);
  return 6;
}

std::size_t ValueReader::read_word(std::string_view text, bool final, std::string& out) {
  std::size_t end = 0;
  while (end < text.size() && is_word_char(text[end])) ++end;
  if (end > 5) return fail();  // longer than any literal
  if (end == text.size() && !final) return 0;
  const std::string_view word = text.substr(0, end);
  const bool yes = word == "true" || word == "True";
  const bool no = word == "false" || word == "False";
  if (!yes && !no && word != "null" && word != "None") return fail();
  if (state_ == State::kElement) write_comma(out);
  out += yes ? "true" : no ? "false" : "null";
  finish_value(yes || no ? Shape::kBoolean : Shape::kNull);
  return end;
}

std::size_t ValueReader::read_number(std::string_view text, bool final, std::string& out) {
  static constexpr std::string_view kMarks = "+-.eE";
  std::size_t end = 0;
  while (end < text.size() &&
         (is_digit(text[end]) || kMarks.find(text[end]) != std::string_view::npos))
    ++end;
  if (end > kMaxToken) return fail();
  if (end == text.size() && !final) return 0;
  const std::string number = json_number(text.substr(0, end));
  if (number.empty()) return fail();
  if (state_ == State::kElement) write_comma(out);
  out += number;
  finish_value(Shape::kNumber);
  return end;
}

std::optional<std::string> read_whole_value(std::string_view text, ValueReader::Shape* shape) {
  ValueReader reader;
  std::string out;
  std::size_t consumed = 0;
  if (reader.read(text, true, consumed, out) != ValueReader::Status::kDone) return std::nullopt;
  if (count_space(text.substr(consumed)) != text.size() - consumed) return std::nullopt;
  if (shape != nullptr) *shape = reader.shape();
  return out;
}

void append_json_string(std::string& out, std::string_view text) {
  out += '"';
  for (char c : text) append_character(out, c);
  out += '"';
}

std::optional<std::string> json_string_content(std::string_view literal) {
  if (!literal.starts_with('"')) return std::nullopt;
  const auto value = nlohmann::json::parse(literal, nullptr, /*allow_exceptions=*/false);
  if (!value.is_string()) return std::nullopt;
  return value.get<std::string>();
}

}  // namespace hearth::text
