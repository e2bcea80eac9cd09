#include "generate/grammar/ebnf_reader.h"

#include <algorithm>

#include "generate/grammar/code_points.h"
#include "support/error.h"
#include "support/utf8.h"

namespace hearth::generate::grammar {
namespace {

constexpr std::size_t kMaxSource = 256 * 1024;
constexpr std::size_t kMaxRules = 5000;
constexpr int kMaxGroupNesting = 100;
constexpr std::uint32_t kMaxRepetitions = 100'000;

int hexadecimal_digit(char c) {
  if (c >= '0' && c <= '9') return c - '0';
  const char lower = static_cast<char>(c | 32);
  return lower >= 'a' && lower <= 'f' ? lower - 'a' + 10 : -1;
}

}  // namespace

EbnfReader::EbnfReader(std::string_view source, Syntax& syntax, std::string hint)
    : syntax_(syntax), source_(source), hint_(std::move(hint)) {
  if (source.size() > kMaxSource) fail("it is longer than 256 KB");
}

void EbnfReader::read_all() {
  skip_space(true);
  while (!at_end()) {
    read_statement();
    skip_space(true);
  }
}

void EbnfReader::fail(const std::string& why) const {
  const auto end = source_.begin() + static_cast<std::ptrdiff_t>(std::min(at_, source_.size()));
  const auto line = 1 + std::count(source_.begin(), end, '\n');
  throw Error("the grammar cannot be used: line " + std::to_string(line) + ": " + why, hint_);
}

bool EbnfReader::take(std::string_view wanted) {
  if (!rest().starts_with(wanted)) return false;
  at_ += wanted.size();
  return true;
}

void EbnfReader::skip_space(bool lines) {
  for (; !at_end(); ++at_) {
    const char c = peek();
    if (begins_comment()) {
      while (at_ + 1 < source_.size() && peek(1) != '\n') ++at_;
    } else if (c != ' ' && c != '\t' && !(lines && (c == '\n' || c == '\r'))) {
      return;
    }
  }
}

void EbnfReader::end_statement() {
  skip_space(false);
  if (!at_end() && peek() != '\n' && peek() != '\r')
    fail("a new line is expected at the end of a rule");
}

Rule EbnfReader::rule_named(const std::string& name) {
  const auto [found, is_new] = rules_.emplace(name, 0);
  if (is_new) {
    if (rules_.size() > kMaxRules) fail("it has more than 5000 rules");
    found->second = syntax_.declare(name);
  }
  return found->second;
}

Rule EbnfReader::new_rule(const std::string& name) {
  const Rule rule = rule_named(name);
  if (syntax_.defined(rule)) fail("the rule '" + printable(name, 60) + "' is defined twice");
  return rule;
}

void EbnfReader::set_root(const std::string& name) {
  const auto root = rules_.find(name);
  if (root == rules_.end()) fail("it has no rule named '" + name + "'");
  for (const auto& [used, rule] : rules_) {
    if (!syntax_.defined(rule))
      fail("the rule '" + printable(used, 60) + "' is used but not defined");
  }
  syntax_.set_root(syntax_.use(root->second));
}

Expression EbnfReader::read_choice(int nesting) {
  if (nesting > kMaxGroupNesting) fail("groups are nested too deeply");
  std::vector<Expression> alternatives{read_sequence(nesting)};
  while (true) {
    const std::size_t before = at_;
    skip_space(true);
    if (!take("|")) {
      at_ = before;
      break;
    }
    skip_space(true);
    alternatives.push_back(read_sequence(nesting));
  }
  return syntax_.choice(std::move(alternatives));
}

Expression EbnfReader::read_sequence(int nesting) {
  std::vector<Expression> items;
  for (skip_space(nesting > 0); begins_item(peek()); skip_space(nesting > 0))
    items.push_back(read_item(nesting));
  return syntax_.sequence(std::move(items));
}

Expression EbnfReader::read_group(int nesting, char close) {
  skip_space(true);
  const Expression inner = read_choice(nesting + 1);
  skip_space(true);
  if (peek() != close || at_end()) fail("a group is not closed");
  ++at_;
  return inner;
}

bool EbnfReader::take_repetition(Expression& item) {
  if (take("*")) {
    item = syntax_.repeat(item, 0, kUnlimited);
  } else if (take("+")) {
    item = syntax_.repeat(item, 1, kUnlimited);
  } else if (take("?")) {
    item = syntax_.optional(item);
  } else {
    return false;
  }
  return true;
}

std::uint32_t EbnfReader::read_count() {
  const auto is_digit = [this] { return peek() >= '0' && peek() <= '9'; };
  if (!is_digit()) fail("a number of repetitions is expected");
  std::uint64_t value = 0;
  for (; is_digit(); ++at_)
    value = std::min<std::uint64_t>(value * 10 + static_cast<std::uint64_t>(peek() - '0'),
                                    kMaxRepetitions + 1);
  if (value > kMaxRepetitions) fail("a repetition count is above 100,000");
  return static_cast<std::uint32_t>(value);
}

Expression EbnfReader::repeated(Expression item, std::uint32_t minimum, std::uint32_t maximum) {
  if (maximum < minimum) fail("a repetition's maximum is below its minimum");
  return syntax_.repeat(item, minimum, maximum);
}

char32_t EbnfReader::read_character(const char* unclosed, std::string_view also) {
  if (at_end() || peek() == '\n') fail(unclosed);
  if (!take("\\")) {
    const Utf8Decoded decoded = decode_utf8(rest());
    if (!decoded.valid) fail("it is not valid UTF-8");
    at_ += decoded.length;
    return decoded.code_point;
  }
  const char c = peek();
  ++at_;
  switch (c) {
    case 'n':
      return U'\n';
    case 'r':
      return U'\r';
    case 't':
      return U'\t';
    case 'f':
      return U'\f';
    case 'x':
      return read_hexadecimal(2);
    case 'u':
      return read_hexadecimal(4);
    case 'U':
      return read_hexadecimal(8);
    case '"':
    case '\\':
    case '/':
    case '\'':
      return static_cast<char32_t>(c);
    default:
      break;
  }
  if (c == '\0' || also.find(c) == std::string_view::npos) fail("an escape is not known");
  return static_cast<char32_t>(c);
}

char32_t EbnfReader::read_hexadecimal(int digits) {
  std::uint64_t value = 0;
  for (int i = 0; i < digits; ++i, ++at_) {
    const int digit = hexadecimal_digit(peek());
    if (digit < 0) fail("an escape lacks hexadecimal digits");
    value = value * 16 + static_cast<std::uint64_t>(digit);
  }
  if (value > kLastCodePoint || (value >= 0xD800 && value <= 0xDFFF))
    fail("an escape is not a code point");
  return static_cast<char32_t>(value);
}

}  // namespace hearth::generate::grammar
