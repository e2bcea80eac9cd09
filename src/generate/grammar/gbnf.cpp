// GBNF, the grammar notation of the GGML world: rules "name ::= alternatives", literals, classes,
// groups, repetitions and comments.
#include <algorithm>
#include <optional>
#include <string>
#include <unordered_map>

#include "generate/grammar/compiled.h"
#include "support/error.h"
#include "support/utf8.h"

namespace hearth::generate::grammar {
namespace {

constexpr std::size_t kMaxSource = 256 * 1024;
constexpr std::size_t kMaxRules = 5000;
constexpr int kMaxNesting = 100;
constexpr std::uint32_t kMaxCount = 100'000;

bool is_name_character(char c) {
  return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '-' ||
         c == '_';
}

class GbnfParser {
 public:
  GbnfParser(std::string_view source, Syntax& syntax) : source_(source), syntax_(syntax) {
    if (source.size() > kMaxSource) fail("it is longer than 256 KB");
  }

  void parse() {
    skip_space(true);
    while (at_ < source_.size()) {
      parse_rule();
      skip_space(true);
    }
    const auto root = rules_.find("root");
    if (root == rules_.end()) fail("it has no rule named 'root'");
    for (const auto& [name, rule] : rules_) {
      if (!syntax_.defined(rule))
        fail("the rule '" + printable(name, 60) + "' is used but not defined");
    }
    syntax_.set_root(syntax_.use(root->second));
  }

 private:
  [[noreturn]] void fail(const std::string& why) const {
    const auto end = source_.begin() + static_cast<std::ptrdiff_t>(std::min(at_, source_.size()));
    const auto line = 1 + std::count(source_.begin(), end, '\n');
    throw Error("the grammar cannot be used: line " + std::to_string(line) + ": " + why,
                "write it as GBNF: root ::= \"text\" [a-z]+ other-rule");
  }
  [[nodiscard]] char peek() const { return at_ < source_.size() ? source_[at_] : '\0'; }
  bool take(std::string_view wanted) {
    if (!source_.substr(at_).starts_with(wanted)) return false;
    at_ += wanted.size();
    return true;
  }

  /// White space and comments; new lines only when `lines`.
  void skip_space(bool lines) {
    while (at_ < source_.size()) {
      const char c = source_[at_];
      if (c == '#') {
        while (at_ < source_.size() && source_[at_] != '\n') ++at_;
      } else if (c == ' ' || c == '\t' || (lines && (c == '\n' || c == '\r'))) {
        ++at_;
      } else {
        return;
      }
    }
  }

  std::string parse_name() {
    const std::size_t begin = at_;
    while (at_ < source_.size() && is_name_character(source_[at_])) ++at_;
    if (at_ == begin) fail("a rule's name is expected");
    return std::string(source_.substr(begin, at_ - begin));
  }

  Rule rule_named(const std::string& name) {
    const auto [found, is_new] = rules_.emplace(name, 0);
    if (is_new) {
      if (rules_.size() > kMaxRules) fail("it has more than 5000 rules");
      found->second = syntax_.declare(name);
    }
    return found->second;
  }

  void parse_rule() {
    const std::string name = parse_name();
    skip_space(false);
    if (!take("::=")) fail("'::=' is expected after '" + printable(name, 60) + "'");
    const Rule rule = rule_named(name);
    if (syntax_.defined(rule)) fail("the rule '" + printable(name, 60) + "' is defined twice");
    skip_space(true);
    syntax_.define(rule, parse_choice(0));
    skip_space(false);
    if (at_ < source_.size() && peek() != '\n' && peek() != '\r')
      fail("a new line is expected at the end of a rule");
  }

  Expression parse_choice(int nesting) {
    if (nesting > kMaxNesting) fail("groups are nested too deeply");
    std::vector<Expression> alternatives{parse_sequence(nesting)};
    while (true) {
      const std::size_t before = at_;
      skip_space(true);
      if (!take("|")) {
        at_ = before;
        break;
      }
      skip_space(true);
      alternatives.push_back(parse_sequence(nesting));
    }
    return syntax_.choice(std::move(alternatives));
  }

  Expression parse_sequence(int nesting) {
    std::vector<Expression> items;
    while (true) {
      skip_space(nesting > 0);
      const char c = peek();
      if (c != '"' && c != '[' && c != '(' && c != '.' && !is_name_character(c)) break;
      items.push_back(parse_item(nesting));
    }
    return syntax_.sequence(std::move(items));
  }

  Expression parse_item(int nesting) {
    Expression item = parse_atom(nesting);
    while (true) {
      skip_space(false);
      if (take("*")) {
        item = syntax_.repeat(item, 0, kUnlimited);
      } else if (take("+")) {
        item = syntax_.repeat(item, 1, kUnlimited);
      } else if (take("?")) {
        item = syntax_.optional(item);
      } else if (take("{")) {
        item = parse_counts(item);
      } else {
        return item;
      }
    }
  }

  Expression parse_counts(Expression item) {
    const auto number = [&]() -> std::optional<std::uint32_t> {
      skip_space(false);
      std::uint64_t value = 0;
      const std::size_t begin = at_;
      for (; peek() >= '0' && peek() <= '9'; ++at_)
        value = std::min<std::uint64_t>(value * 10 + static_cast<std::uint64_t>(peek() - '0'),
                                        kMaxCount + 1);
      if (at_ == begin) return std::nullopt;
      if (value > kMaxCount) fail("a repetition count is above 100,000");
      skip_space(false);
      return static_cast<std::uint32_t>(value);
    };
    const std::optional<std::uint32_t> minimum = number();
    std::optional<std::uint32_t> maximum = minimum;
    if (take(",")) maximum = number().value_or(kUnlimited);
    if (!take("}") || !maximum) fail("a repetition is written {3}, {1,3} or {2,}");
    if (*maximum < minimum.value_or(0)) fail("a repetition's maximum is below its minimum");
    return syntax_.repeat(item, minimum.value_or(0), *maximum);
  }

  Expression parse_atom(int nesting) {
    if (take("\"")) {
      std::string text;
      while (peek() != '"') append_utf8(text, character("a string is not closed"));
      ++at_;
      return syntax_.bytes(text);
    }
    if (take("[")) return syntax_.one_of(parse_class());
    if (take("(")) {
      skip_space(true);
      const Expression inner = parse_choice(nesting + 1);
      skip_space(true);
      if (!take(")")) fail("a '(' is not closed");
      return inner;
    }
    if (take(".")) return syntax_.one_of(CodePointSet::all());
    const std::string name = parse_name();
    const std::size_t before = at_;
    skip_space(false);
    if (take("::=")) fail("a rule begins in the middle of a line");
    at_ = before;
    return syntax_.use(rule_named(name));
  }

  /// The next character of a string or class, escapes resolved.
  char32_t character(const char* unclosed) {
    if (at_ >= source_.size() || peek() == '\n') fail(unclosed);
    if (!take("\\")) {
      const Utf8Decoded decoded = decode_utf8(source_.substr(at_));
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
      case 'x':
        return hex(2);
      case 'u':
        return hex(4);
      case 'U':
        return hex(8);
      case '"':
      case '\\':
      case '[':
      case ']':
      case '-':
      case '^':
      case '/':
      case '\'':
        return static_cast<char32_t>(c);
      default:
        fail("an escape is not known");
    }
  }

  char32_t hex(int digits) {
    std::uint64_t value = 0;
    for (int i = 0; i < digits; ++i) {
      const char c = peek();
      const int digit = c >= '0' && c <= '9'                 ? c - '0'
                        : (c | 32) >= 'a' && (c | 32) <= 'f' ? (c | 32) - 'a' + 10
                                                             : -1;
      if (digit < 0) fail("an escape lacks hexadecimal digits");
      value = value * 16 + static_cast<std::uint64_t>(digit);
      ++at_;
    }
    if (value > kLastCodePoint || (value >= 0xD800 && value <= 0xDFFF))
      fail("an escape is not a code point");
    return static_cast<char32_t>(value);
  }

  CodePointSet parse_class() {
    const bool negated = take("^");
    std::vector<CodePointRange> ranges;
    while (peek() != ']') {
      const char32_t first = character("a '[' is not closed");
      char32_t last = first;
      if (peek() == '-' && at_ + 1 < source_.size() && source_[at_ + 1] != ']') {
        ++at_;
        last = character("a '[' is not closed");
        if (last < first) fail("a range in a class is in the wrong order");
      }
      ranges.push_back({first, last});
    }
    ++at_;
    const CodePointSet set(std::move(ranges));
    return negated ? set.complement() : set;
  }

  std::string_view source_;
  Syntax& syntax_;
  std::size_t at_ = 0;
  std::unordered_map<std::string, Rule> rules_;
};

}  // namespace

std::shared_ptr<const Grammar> compile_gbnf(std::string_view source, const Options& options) {
  Syntax syntax;
  GbnfParser(source, syntax).parse();
  syntax.remove_left_recursion();
  return finish(std::move(syntax), options);
}

std::shared_ptr<const Grammar> compile_grammar(std::string_view source, const Options& options) {
  return source.find("::=") != std::string_view::npos ? compile_gbnf(source, options)
                                                      : compile_lark(source, options);
}

}  // namespace hearth::generate::grammar
