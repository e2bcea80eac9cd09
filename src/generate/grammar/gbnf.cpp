// GBNF, the grammar notation of the GGML world: rules "name ::= alternatives", literals, classes,
// groups, repetitions and comments.
#include <algorithm>
#include <optional>
#include <string>
#include <vector>

#include "generate/grammar/compiled.h"
#include "generate/grammar/ebnf_reader.h"
#include "support/error.h"
#include "support/utf8.h"

namespace hearth::generate::grammar {
namespace {

bool is_name_character(char c) {
  return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '-' ||
         c == '_';
}

class GbnfReader : public EbnfReader {
 public:
  GbnfReader(std::string_view source, Syntax& syntax)
      : EbnfReader(source, syntax, "write it as GBNF: root ::= \"text\" [a-z]+ other-rule") {}

  void read() {
    read_all();
    set_root("root");
  }

 private:
  [[nodiscard]] bool begins_comment() const override { return peek() == '#'; }
  [[nodiscard]] bool begins_item(char c) const override {
    return c == '"' || c == '[' || c == '(' || c == '.' || is_name_character(c);
  }

  std::string read_name() {
    std::string name;
    for (; is_name_character(peek()); skip(1)) name += peek();
    if (name.empty()) fail("a rule's name is expected");
    return name;
  }

  void read_statement() override {
    const std::string name = read_name();
    skip_space(false);
    if (!take("::=")) fail("'::=' is expected after '" + printable(name, 60) + "'");
    const Rule rule = new_rule(name);
    skip_space(true);
    syntax_.define(rule, read_choice(0));
    end_statement();
  }

  Expression read_item(int nesting) override {
    Expression item = read_atom(nesting);
    while (true) {
      skip_space(false);
      if (take("{")) {
        item = read_counts(item);
      } else if (!take_repetition(item)) {
        return item;
      }
    }
  }

  /// {3}, {1,3}, {2,} or {,3}
  Expression read_counts(Expression item) {
    const auto number = [&]() -> std::optional<std::uint32_t> {
      skip_space(false);
      if (peek() < '0' || peek() > '9') return std::nullopt;
      const std::uint32_t count = read_count();
      skip_space(false);
      return count;
    };
    const std::optional<std::uint32_t> minimum = number();
    std::optional<std::uint32_t> maximum = minimum;
    if (take(",")) maximum = number().value_or(kUnlimited);
    if (!take("}") || !maximum) fail("a repetition is written {3}, {1,3} or {2,}");
    return repeated(item, minimum.value_or(0), *maximum);
  }

  Expression read_atom(int nesting) {
    if (take("\"")) {
      std::string text;
      while (peek() != '"') append_utf8(text, character("a string is not closed"));
      skip(1);
      return syntax_.bytes(text);
    }
    if (take("[")) return syntax_.one_of(read_class());
    if (take("(")) return read_group(nesting, ')');
    if (take(".")) return syntax_.one_of(CodePointSet::all());
    const std::string name = read_name();
    std::size_t space = 0;
    while (peek(space) == ' ' || peek(space) == '\t') ++space;
    if (rest().substr(space).starts_with("::=")) fail("a rule begins in the middle of a line");
    return syntax_.use(rule_named(name));
  }

  char32_t character(const char* unclosed) { return read_character(unclosed, "[]-^"); }

  CodePointSet read_class() {
    static constexpr const char* kUnclosed = "a '[' is not closed";
    const bool negated = take("^");
    std::vector<CodePointRange> ranges;
    while (peek() != ']') {
      const char32_t first = character(kUnclosed);
      char32_t last = first;
      if (peek() == '-' && peek(1) != ']' && peek(1) != '\0') {
        skip(1);
        last = character(kUnclosed);
        if (last < first) fail("a range in a class is in the wrong order");
      }
      ranges.push_back({first, last});
    }
    skip(1);
    const CodePointSet set(std::move(ranges));
    return negated ? set.complement() : set;
  }
};

/// Whether the first statement is a name and "::=". Elsewhere "::=" can be part of a text.
bool begins_as_gbnf(std::string_view source) {
  const auto skip = [&](std::string_view characters) {
    source.remove_prefix(std::min(source.find_first_not_of(characters), source.size()));
  };
  skip(" \t\r\n");
  while (source.starts_with('#') || source.starts_with("//")) {
    source.remove_prefix(std::min(source.find('\n'), source.size()));
    skip(" \t\r\n");
  }
  while (!source.empty() && is_name_character(source.front())) source.remove_prefix(1);
  skip(" \t");
  return source.starts_with("::=");
}

}  // namespace

std::shared_ptr<const Grammar> compile_gbnf(std::string_view source, const Options& options) {
  Syntax syntax;
  GbnfReader(source, syntax).read();
  syntax.remove_left_recursion();
  return finish(std::move(syntax), options);
}

std::shared_ptr<const Grammar> compile_grammar(std::string_view source, const Options& options) {
  return begins_as_gbnf(source) ? compile_gbnf(source, options) : compile_lark(source, options);
}

}  // namespace hearth::generate::grammar
