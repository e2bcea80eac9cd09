// EBNF as Lark writes it: "rule: alternatives", terminals in capitals, regular expressions between
// slashes, %ignore and %import common.X. The grammar is used without a separate lexer: a text is
// right where some way of cutting it into terminals fits, as with Lark's dynamic Earley lexer.
#include <algorithm>
#include <optional>
#include <string>
#include <unordered_map>

#include "generate/grammar/compiled.h"
#include "generate/grammar/regex.h"
#include "support/error.h"
#include "support/utf8.h"

namespace hearth::generate::grammar {
namespace {

constexpr std::size_t kMaxSource = 256 * 1024;
constexpr std::size_t kMaxRules = 5000;
constexpr int kMaxNesting = 100;
constexpr std::uint32_t kMaxCount = 100'000;

/// Lark's terminals named "common.X", white space bounded so that no model runs on in it.
struct CommonTerminal {
  std::string_view name, pattern;
};
constexpr CommonTerminal kCommon[] = {
    {"DIGIT", "[0-9]"},
    {"HEXDIGIT", "[0-9a-fA-F]"},
    {"INT", "[0-9]+"},
    {"SIGNED_INT", "[+-]?[0-9]+"},
    {"DECIMAL", "[0-9]+\\.[0-9]*|\\.[0-9]+"},
    {"FLOAT", "[0-9]+[eE][+-]?[0-9]+|([0-9]+\\.[0-9]*|\\.[0-9]+)([eE][+-]?[0-9]+)?"},
    {"NUMBER", "[0-9]+([eE][+-]?[0-9]+)?|([0-9]+\\.[0-9]*|\\.[0-9]+)([eE][+-]?[0-9]+)?"},
    {"SIGNED_NUMBER",
     "[+-]?([0-9]+([eE][+-]?[0-9]+)?|([0-9]+\\.[0-9]*|\\.[0-9]+)([eE][+-]?[0-9]+)?)"},
    {"ESCAPED_STRING", "\"([^\"\\\\\\n]|\\\\[^\\n])*\""},
    {"LCASE_LETTER", "[a-z]"},
    {"UCASE_LETTER", "[A-Z]"},
    {"LETTER", "[A-Za-z]"},
    {"WORD", "[A-Za-z]+"},
    {"CNAME", "[_A-Za-z][_A-Za-z0-9]*"},
    {"WS_INLINE", "[ \\t]{1,16}"},
    {"WS", "[ \\t\\f\\r\\n]{1,16}"},
    {"NEWLINE", "(\\r?\\n){1,4}"},
    {"CR", "\\r"},
    {"LF", "\\n"},
};

bool is_letter(char c) { return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || c == '_'; }
bool is_digit(char c) { return c >= '0' && c <= '9'; }

/// Names of terminals are in capitals, "_" at the start aside.
bool is_terminal(std::string_view name) {
  const std::size_t first = name.find_first_not_of('_');
  return first != std::string_view::npos && name[first] >= 'A' && name[first] <= 'Z';
}

class LarkParser {
 public:
  LarkParser(std::string_view source, Syntax& syntax) : source_(source), syntax_(syntax) {
    if (source.size() > kMaxSource) fail("it is longer than 256 KB");
    ignored_ = syntax.declare("%ignore");
  }

  void parse() {
    skip_space(true);
    while (at_ < source_.size()) {
      parse_statement();
      skip_space(true);
    }
    const auto start = rules_.find("start");
    if (start == rules_.end()) fail("it has no rule named 'start'");
    for (const auto& [name, rule] : rules_) {
      if (!syntax_.defined(rule)) fail("'" + printable(name, 60) + "' is used but not defined");
    }
    syntax_.define(ignored_, syntax_.optional(syntax_.choice(ignores_)));
    syntax_.set_root(syntax_.use(start->second));
  }

 private:
  [[noreturn]] void fail(const std::string& why) const {
    const auto end = source_.begin() + static_cast<std::ptrdiff_t>(std::min(at_, source_.size()));
    const auto line = 1 + std::count(source_.begin(), end, '\n');
    throw Error("the grammar cannot be used: line " + std::to_string(line) + ": " + why,
                "write it as Lark does: start: \"text\" NAME other_rule*");
  }
  [[nodiscard]] char peek(std::size_t ahead = 0) const {
    return at_ + ahead < source_.size() ? source_[at_ + ahead] : '\0';
  }
  bool take(std::string_view wanted) {
    if (!source_.substr(at_).starts_with(wanted)) return false;
    at_ += wanted.size();
    return true;
  }
  void skip_space(bool lines) {
    while (at_ < source_.size()) {
      const char c = source_[at_];
      if ((c == '/' && peek(1) == '/') || c == '#') {
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
    while (is_letter(peek()) || (at_ > begin && is_digit(peek()))) ++at_;
    if (at_ == begin) fail("a name is expected");
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

  void parse_statement() {
    if (take("%ignore")) {
      skip_space(false);
      in_terminal_ = true;
      ignores_.push_back(parse_choice(0));
      return end_statement();
    }
    if (take("%import")) return parse_import();
    if (peek() == '%') fail("only %ignore and %import are supported");
    if (!take("?")) (void)take("!");
    const std::string name = parse_name();
    if (take(".")) {
      (void)take("-");
      while (is_digit(peek())) ++at_;  // priorities choose between parses, not texts
    }
    if (peek() == '{') fail("templates are not supported");
    skip_space(false);
    if (!take(":")) fail("':' is expected after '" + printable(name, 60) + "'");
    const Rule rule = rule_named(name);
    if (syntax_.defined(rule)) fail("'" + printable(name, 60) + "' is defined twice");
    in_terminal_ = is_terminal(name);
    skip_space(true);
    syntax_.define(rule, parse_choice(0));
    end_statement();
  }

  void end_statement() {
    skip_space(false);
    if (at_ < source_.size() && peek() != '\n' && peek() != '\r')
      fail("a new line is expected at the end of a statement");
  }

  void parse_import() {
    skip_space(false);
    if (!take("common")) fail("only %import common.NAME is supported");
    skip_space(false);
    if (take("(")) {
      do {
        skip_space(false);
        const std::string name = parse_name();
        define_common(name, name);
        skip_space(false);
      } while (take(","));
      if (!take(")")) fail("a '(' is not closed");
      return end_statement();
    }
    if (!take(".")) fail("only %import common.NAME is supported");
    const std::string name = parse_name();
    std::string alias = name;
    skip_space(false);
    if (take("->")) {
      skip_space(false);
      alias = parse_name();
    }
    define_common(name, alias);
    end_statement();
  }

  void define_common(const std::string& name, const std::string& alias) {
    for (const CommonTerminal& known : kCommon) {
      if (known.name != name) continue;
      const Rule rule = rule_named(alias);
      if (!syntax_.defined(rule))
        syntax_.define(rule,
                       syntax_.string_of(compile_pattern(known.pattern, {Anchoring::kWhole})));
      return;
    }
    fail("common." + printable(name, 40) + " is not known");
  }

  Expression parse_choice(int nesting) {
    if (nesting > kMaxNesting) fail("groups are nested too deeply");
    (void)take("|");
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
      if (c == '-' && peek(1) == '>') {
        at_ += 2;
        skip_space(false);
        (void)parse_name();  // the name of the alternative in the tree
        continue;
      }
      if (c != '"' && c != '/' && c != '(' && c != '[' && !is_letter(c)) break;
      items.push_back(parse_item(nesting));
    }
    return syntax_.sequence(std::move(items));
  }

  Expression parse_item(int nesting) {
    Expression item = parse_atom(nesting);
    while (true) {
      if (take("*")) {
        item = syntax_.repeat(item, 0, kUnlimited);
      } else if (take("+")) {
        item = syntax_.repeat(item, 1, kUnlimited);
      } else if (take("?")) {
        item = syntax_.optional(item);
      } else if (take("~") || take(" ~")) {
        skip_space(false);
        const std::uint32_t minimum = parse_count();
        const std::uint32_t maximum = take("..") ? parse_count() : minimum;
        if (maximum < minimum) fail("a repetition's maximum is below its minimum");
        item = syntax_.repeat(item, minimum, maximum);
      } else {
        return item;
      }
    }
  }

  std::uint32_t parse_count() {
    std::uint64_t value = 0;
    if (!is_digit(peek())) fail("a number is expected after '~'");
    for (; is_digit(peek()); ++at_)
      value = std::min<std::uint64_t>(value * 10 + static_cast<std::uint64_t>(peek() - '0'),
                                      kMaxCount + 1);
    if (value > kMaxCount) fail("a repetition count is above 100,000");
    return static_cast<std::uint32_t>(value);
  }

  /// In rules, what is ignored may stand before every terminal.
  Expression terminal(Expression expression) {
    if (in_terminal_) return expression;
    return syntax_.sequence({syntax_.use(ignored_), expression});
  }

  Expression parse_atom(int nesting) {
    if (peek() == '"') return terminal(parse_literal());
    if (peek() == '/') return terminal(parse_regex());
    if (take("(") || take("[")) {
      const bool optional = source_[at_ - 1] == '[';
      skip_space(true);
      const Expression inner = parse_choice(nesting + 1);
      skip_space(true);
      if (!take(optional ? "]" : ")")) fail("a group is not closed");
      return optional ? syntax_.optional(inner) : inner;
    }
    const std::string name = parse_name();
    if (peek() == '{') fail("templates are not supported");
    const Expression use = syntax_.use(rule_named(name));
    return is_terminal(name) ? terminal(use) : use;
  }

  std::u32string string_content() {
    ++at_;
    std::u32string text;
    while (peek() != '"') {
      if (at_ >= source_.size() || peek() == '\n') fail("a string is not closed");
      if (peek() == '\\') {
        ++at_;
        text += escape();
        continue;
      }
      const Utf8Decoded decoded = decode_utf8(source_.substr(at_));
      if (!decoded.valid) fail("it is not valid UTF-8");
      text += decoded.code_point;
      at_ += decoded.length;
    }
    ++at_;
    return text;
  }

  char32_t escape() {
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
        return hex(2);
      case 'u':
        return hex(4);
      case 'U':
        return hex(8);
      case '\\':
      case '"':
      case '\'':
      case '/':
        return static_cast<char32_t>(c);
      default:
        fail("an escape is not known");
    }
  }

  char32_t hex(int digits) {
    std::uint64_t value = 0;
    for (int i = 0; i < digits; ++i, ++at_) {
      const char c = peek();
      if (!is_digit(c) && !((c | 32) >= 'a' && (c | 32) <= 'f'))
        fail("an escape lacks hexadecimal digits");
      value = value * 16 + static_cast<std::uint64_t>(is_digit(c) ? c - '0' : (c | 32) - 'a' + 10);
    }
    if (value > kLastCodePoint || (value >= 0xD800 && value <= 0xDFFF))
      fail("an escape is not a code point");
    return static_cast<char32_t>(value);
  }

  Expression parse_literal() {
    const std::u32string text = string_content();
    if (take("..")) {
      if (peek() != '"') fail("a range is written \"a\"..\"z\"");
      const std::u32string last = string_content();
      if (text.size() != 1 || last.size() != 1 || last[0] < text[0])
        fail("a range needs two single characters in order");
      return syntax_.one_of({{text[0], last[0]}});
    }
    const bool ignore_case = peek() == 'i' && !is_letter(peek(1)) && !is_digit(peek(1));
    if (ignore_case) ++at_;
    std::vector<Expression> letters;
    std::string bytes;
    for (const char32_t c : text) {
      const char32_t other = (c | 32) >= U'a' && (c | 32) <= U'z' && c < 128 ? c ^ 32 : c;
      append_utf8(bytes, c);
      letters.push_back(syntax_.one_of({{c, c}, {other, other}}));
    }
    return ignore_case ? syntax_.sequence(std::move(letters)) : syntax_.bytes(bytes);
  }

  Expression parse_regex() {
    const std::size_t begin = ++at_;
    for (bool in_class = false; in_class || peek() != '/'; ++at_) {
      if (at_ >= source_.size() || peek() == '\n') fail("a regular expression is not closed");
      if (peek() == '\\') {
        ++at_;
      } else if (peek() == '[') {
        in_class = true;
      } else if (peek() == ']') {
        in_class = false;
      }
    }
    if (at_ > source_.size()) fail("a regular expression is not closed");
    const std::string_view pattern = source_.substr(begin, at_ - begin);
    ++at_;
    RegexOptions options{.anchoring = Anchoring::kWhole};
    for (; is_letter(peek()); ++at_) {
      if (peek() == 'i') {
        options.ignore_case = true;
      } else if (peek() == 's') {
        options.dot_matches_all = true;
      } else if (peek() != 'u') {
        fail("this flag of a regular expression is not supported");
      }
    }
    return syntax_.string_of(compile_pattern(pattern, options));
  }

  std::string_view source_;
  Syntax& syntax_;
  std::size_t at_ = 0;
  bool in_terminal_ = false;
  Rule ignored_ = 0;
  std::vector<Expression> ignores_;
  std::unordered_map<std::string, Rule> rules_;
};

}  // namespace

std::shared_ptr<const Grammar> compile_lark(std::string_view source, const Options& options) {
  Syntax syntax;
  LarkParser(source, syntax).parse();
  syntax.remove_left_recursion();
  return finish(std::move(syntax), options);
}

}  // namespace hearth::generate::grammar
