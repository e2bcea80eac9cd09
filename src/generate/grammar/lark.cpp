// EBNF as Lark writes it: "rule: alternatives", terminals in capitals, regular expressions between
// slashes, %ignore and %import common.X. The grammar is used without a separate lexer: a text is
// right where some way of cutting it into terminals fits, as with Lark's dynamic Earley lexer.
#include <string>
#include <vector>

#include "generate/grammar/compiled.h"
#include "generate/grammar/ebnf_reader.h"
#include "generate/grammar/regex.h"
#include "support/error.h"
#include "support/utf8.h"

namespace hearth::generate::grammar {
namespace {

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

class LarkReader : public EbnfReader {
 public:
  LarkReader(std::string_view source, Syntax& syntax)
      : EbnfReader(source, syntax, "write it as Lark does: start: \"text\" NAME other_rule*"),
        ignored_(syntax.declare("%ignore")) {}

  void read() {
    read_all();
    syntax_.define(ignored_, syntax_.optional(syntax_.choice(ignores_)));
    set_root("start");
  }

 private:
  [[nodiscard]] bool begins_comment() const override {
    return peek() == '#' || (peek() == '/' && peek(1) == '/');
  }
  [[nodiscard]] bool begins_item(char c) const override {
    return c == '"' || c == '/' || c == '(' || c == '[' || is_letter(c);
  }

  std::string read_name() {
    std::string name;
    for (; is_letter(peek()) || (!name.empty() && is_digit(peek())); skip(1)) name += peek();
    if (name.empty()) fail("a name is expected");
    return name;
  }

  void read_statement() override {
    if (take("%ignore")) {
      skip_space(false);
      in_terminal_ = true;
      ignores_.push_back(read_alternatives(0));
      return end_statement();
    }
    if (take("%import")) return read_import();
    if (peek() == '%') fail("only %ignore and %import are supported");
    if (!take("?")) (void)take("!");
    const std::string name = read_name();
    if (take(".")) {
      (void)take("-");
      while (is_digit(peek())) skip(1);  // priorities choose between parses, not texts
    }
    if (peek() == '{') fail("templates are not supported");
    skip_space(false);
    if (!take(":")) fail("':' is expected after '" + printable(name, 60) + "'");
    const Rule rule = new_rule(name);
    in_terminal_ = is_terminal(name);
    skip_space(true);
    syntax_.define(rule, read_alternatives(0));
    end_statement();
  }

  /// The first alternative may have a '|' before it, here and in groups.
  Expression read_alternatives(int nesting) {
    (void)take("|");
    return read_choice(nesting);
  }

  void read_import() {
    skip_space(false);
    if (!take("common")) fail("only %import common.NAME is supported");
    skip_space(false);
    if (take("(")) {
      do {
        skip_space(false);
        const std::string name = read_name();
        define_common(name, name);
        skip_space(false);
      } while (take(","));
      if (!take(")")) fail("a '(' is not closed");
      return end_statement();
    }
    if (!take(".")) fail("only %import common.NAME is supported");
    const std::string name = read_name();
    std::string alias = name;
    skip_space(false);
    if (take("->")) {
      skip_space(false);
      alias = read_name();
    }
    define_common(name, alias);
    end_statement();
  }

  void define_common(const std::string& name, const std::string& alias) {
    for (const CommonTerminal& known : kCommon) {
      if (known.name != name) continue;
      const Rule rule = rule_named(alias);
      if (!syntax_.defined(rule))
        syntax_.define(
            rule, syntax_.string_of(compile_pattern(
                      known.pattern, {.anchoring = Anchoring::kWhole, .work = &syntax_.work()})));
      return;
    }
    fail("common." + printable(name, 40) + " is not known");
  }

  Expression read_sequence(int nesting) override {
    std::vector<Expression> parts{EbnfReader::read_sequence(nesting)};
    while (take("->")) {  // the name of the alternative in the tree
      skip_space(false);
      (void)read_name();
      parts.push_back(EbnfReader::read_sequence(nesting));
    }
    return syntax_.sequence(std::move(parts));
  }

  Expression read_item(int nesting) override {
    Expression item = read_atom(nesting);
    while (true) {
      if (take("~") || take(" ~")) {
        skip_space(false);
        const std::uint32_t minimum = read_count();
        item = repeated(item, minimum, take("..") ? read_count() : minimum);
      } else if (!take_repetition(item)) {
        return item;
      }
    }
  }

  /// In rules, what is ignored may stand before every terminal.
  Expression terminal(Expression expression) {
    if (in_terminal_) return expression;
    return syntax_.sequence({syntax_.use(ignored_), expression});
  }

  Expression read_atom(int nesting) {
    if (peek() == '"') return terminal(read_literal());
    if (peek() == '/') return terminal(read_regex());
    if (peek() == '(' || peek() == '[') {
      const bool optional = peek() == '[';
      skip(1);
      skip_space(true);
      (void)take("|");
      const Expression inner = read_group(nesting, optional ? ']' : ')');
      return optional ? syntax_.optional(inner) : inner;
    }
    const std::string name = read_name();
    if (peek() == '{') fail("templates are not supported");
    const Expression use = syntax_.use(rule_named(name));
    return is_terminal(name) ? terminal(use) : use;
  }

  std::u32string read_string() {
    skip(1);
    std::u32string text;
    while (peek() != '"') text += read_character("a string is not closed", {});
    skip(1);
    return text;
  }

  Expression read_literal() {
    const std::u32string text = read_string();
    if (take("..")) {
      if (peek() != '"') fail("a range is written \"a\"..\"z\"");
      const std::u32string last = read_string();
      if (text.size() != 1 || last.size() != 1 || last[0] < text[0])
        fail("a range needs two single characters in order");
      return syntax_.one_of({{text[0], last[0]}});
    }
    const bool ignore_case = peek() == 'i' && !is_letter(peek(1)) && !is_digit(peek(1));
    if (ignore_case) skip(1);
    std::vector<Expression> letters;
    std::string bytes;
    for (const char32_t c : text) {
      const char32_t other = (c | 32) >= U'a' && (c | 32) <= U'z' && c < 128 ? c ^ 32 : c;
      append_utf8(bytes, c);
      letters.push_back(syntax_.one_of({{c, c}, {other, other}}));
    }
    return ignore_case ? syntax_.sequence(std::move(letters)) : syntax_.bytes(bytes);
  }

  Expression read_regex() {
    skip(1);
    std::string pattern;
    for (bool in_class = false; in_class || peek() != '/'; skip(1)) {
      if (at_end() || peek() == '\n') fail("a regular expression is not closed");
      if (peek() == '[') in_class = true;
      if (peek() == ']') in_class = false;
      pattern += peek();
      if (peek() != '\\') continue;
      skip(1);
      if (at_end()) fail("a regular expression is not closed");
      pattern += peek();
    }
    skip(1);
    RegexOptions options{.anchoring = Anchoring::kWhole, .work = &syntax_.work()};
    for (; is_letter(peek()); skip(1)) {
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

  bool in_terminal_ = false;
  Rule ignored_;
  std::vector<Expression> ignores_;
};

}  // namespace

std::shared_ptr<const Grammar> compile_lark(std::string_view source, const Options& options) {
  Syntax syntax;
  LarkReader(source, syntax).read();
  syntax.remove_left_recursion();
  return finish(std::move(syntax), options);
}

}  // namespace hearth::generate::grammar
