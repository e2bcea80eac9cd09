#include "generate/grammar/json_syntax.h"

#include <algorithm>
#include <nlohmann/json.hpp>

#include "generate/grammar/compiled.h"
#include "generate/grammar/numbers.h"
#include "generate/grammar/regex.h"
#include "support/error.h"

namespace hearth::generate::grammar {
namespace {

constexpr std::uint32_t kMaxIndent = 24;
constexpr int kMaxLiteralDepth = 64;
/// Longer strings between quote tokens may not hold the token's first character: counting and
/// looking for the token at once takes states for every length.
constexpr std::uint32_t kMaxExactLength = 1000;
/// What text::ValueReader takes for a key without quotes.
constexpr const char* kBareKey = "^[A-Za-z0-9_.$-]{1,200}$";

CodePointSet only(std::u32string_view characters) {
  std::vector<CodePointRange> ranges;
  for (const char32_t c : characters) ranges.push_back({c, c});
  return CodePointSet(std::move(ranges));
}

void check_depth(const nlohmann::ordered_json& value, int depth) {
  if (depth > kMaxLiteralDepth)
    throw Error("a value in the schema is nested too deeply", "flatten it");
  for (const auto& inner : value) {
    if (inner.is_structured()) check_depth(inner, depth + 1);
  }
}

}  // namespace

JsonSyntax::JsonSyntax(Syntax& syntax, WhiteSpace white_space, ValueStyle style)
    : syntax_(syntax), white_space_(white_space), style_(std::move(style)) {}

template <class Make>
Expression JsonSyntax::part(Part which, Make make) {
  if (!parts_[which]) {
    const Rule rule = syntax_.declare();
    parts_[which] = rule;  // known before it is made: it may hold itself
    syntax_.define(rule, make());
  }
  return syntax_.use(*parts_[which]);
}

Expression JsonSyntax::space() {
  if (white_space_ == WhiteSpace::kNone) return syntax_.empty();
  return part(kSpace, [&] {
    const Expression indent = syntax_.repeat(syntax_.one_of(only(U" \t")), 0, kMaxIndent);
    return syntax_.choice(
        {syntax_.empty(), syntax_.bytes(" "), syntax_.sequence({syntax_.bytes("\n"), indent})});
  });
}

Expression JsonSyntax::comma() {
  if (white_space_ == WhiteSpace::kNone) return syntax_.bytes(",");
  return part(kComma, [&] { return syntax_.sequence({syntax_.bytes(","), space()}); });
}

Expression JsonSyntax::colon() {
  if (white_space_ == WhiteSpace::kNone) return syntax_.bytes(":");
  return syntax_.sequence({syntax_.bytes(":"), syntax_.optional(syntax_.bytes(" "))});
}

Expression JsonSyntax::object(Expression members) {
  return syntax_.sequence({syntax_.bytes("{"), space(), members, space(), syntax_.bytes("}")});
}

Expression JsonSyntax::array(Expression items) {
  return syntax_.sequence({syntax_.bytes("["), space(), items, space(), syntax_.bytes("]")});
}

Expression JsonSyntax::member(Expression key, Expression value) {
  return syntax_.sequence({key, colon(), value});
}

Expression JsonSyntax::key(std::string_view name) {
  if (style_.kind == ValueStyle::Kind::kQuoteToken) {
    static const Dfa kBare = compile_pattern(kBareKey);
    const bool bare = kBare.accepts(code_points_of(name, "a property's name"));
    return syntax_.bytes(bare ? std::string(name) : nlohmann::json(name).dump());
  }
  return text_literal(std::string(name));
}

Expression JsonSyntax::any_key() {
  if (style_.kind != ValueStyle::Kind::kQuoteToken) return any_string();
  return part(kKey, [&] { return syntax_.string_of(compile_pattern(kBareKey)); });
}

Expression JsonSyntax::key_of(Dfa names) {
  if (style_.kind != ValueStyle::Kind::kQuoteToken) return string_of(std::move(names));
  return syntax_.string_of(
      intersection(names, compile_pattern(kBareKey, {.work = &syntax_.work()}), &syntax_.work()));
}

Expression JsonSyntax::quoted(char quote, Expression content) {
  const Expression mark = syntax_.bytes(std::string(1, quote));
  return syntax_.sequence({mark, content, mark});
}

template <class Make>
Expression JsonSyntax::with_quotes(Make make) {
  const Expression usual = quoted('"', make('"'));
  if (style_.kind != ValueStyle::Kind::kPython) return usual;
  return syntax_.choice({usual, quoted('\'', make('\''))});
}

Expression JsonSyntax::between_tokens(Expression content) {
  const Expression mark = syntax_.markup(style_.quote_token);
  return syntax_.sequence({mark, content, mark});
}

Dfa JsonSyntax::without_token(const Dfa& content) {
  return difference(content,
                    compile_pattern(literal_pattern(style_.quote_token), {.work = &syntax_.work()}),
                    &syntax_.work());
}

Expression JsonSyntax::character(char quote) {
  return part(quote == '"' ? kCharacter : kSingleQuotedCharacter, [&] {
    const CodePointSet hex{{U'0', U'9'}, {U'a', U'f'}, {U'A', U'F'}};
    const Expression digit = syntax_.one_of(hex);
    const auto digits = [&](std::uint32_t count) { return syntax_.repeat(digit, count, count); };
    const auto end = static_cast<char32_t>(quote);
    const CodePointSet direct =
        CodePointSet{{0, 0x1F}, {end, end}, {U'\\', U'\\'}}.unite(style_.escaped).complement();
    // Surrogates come in pairs: a lone one is no character.
    const Expression basic =
        syntax_.sequence({syntax_.one_of(hex.intersect(only(U"dD").complement())), digits(3)});
    const Expression below_surrogates =
        syntax_.sequence({syntax_.one_of(only(U"dD")), syntax_.one_of({{U'0', U'7'}}), digits(2)});
    const Expression pair =
        syntax_.sequence({syntax_.one_of(only(U"dD")), syntax_.one_of(only(U"89abAB")), digits(2),
                          syntax_.bytes("\\u"), syntax_.one_of(only(U"dD")),
                          syntax_.one_of(only(U"cdefCDEF")), digits(2)});
    const Expression code =
        syntax_.sequence({syntax_.bytes("u"), syntax_.choice({basic, below_surrogates, pair})});
    const CodePointSet letters = only(U"\"\\/bfnrt").unite({{end, end}});
    const Expression escape =
        syntax_.sequence({syntax_.bytes("\\"), syntax_.choice({syntax_.one_of(letters), code})});
    return syntax_.choice({syntax_.one_of(direct), escape});
  });
}

Expression JsonSyntax::any_string() {
  return part(kString, [&] {
    if (style_.kind == ValueStyle::Kind::kQuoteToken) return string_of(grammar::any_string());
    return with_quotes([&](char quote) { return syntax_.repeat(character(quote), 0, kUnlimited); });
  });
}

Expression JsonSyntax::string_of_length(std::uint32_t minimum, std::uint32_t maximum) {
  if (minimum == 0 && maximum == kUnlimited) return any_string();
  if (style_.kind == ValueStyle::Kind::kQuoteToken) return token_string_of_length(minimum, maximum);
  return with_quotes(
      [&](char quote) { return syntax_.repeat(character(quote), minimum, maximum); });
}

Expression JsonSyntax::token_string_of_length(std::uint32_t minimum, std::uint32_t maximum) {
  std::vector<Expression> ways;
  if (minimum <= kMaxExactLength) {
    std::optional<std::uint64_t> most;
    if (maximum != kUnlimited) most = std::min(maximum, kMaxExactLength);
    ways.push_back(string_of(strings_of_length(minimum, most)));
  }
  const bool longer = maximum != kUnlimited ? maximum > kMaxExactLength : minimum > kMaxExactLength;
  if (longer) {
    const auto first = static_cast<char32_t>(style_.quote_token.front());
    const CodePointSet harmless = CodePointSet{{first, first}}.complement();
    ways.push_back(between_tokens(syntax_.repeat(syntax_.one_of(harmless), minimum, maximum)));
  }
  return syntax_.choice(std::move(ways));
}

Expression JsonSyntax::string_of(Dfa content) {
  if (style_.kind == ValueStyle::Kind::kQuoteToken)
    return between_tokens(syntax_.string_of(without_token(content)));
  return with_quotes([&](char quote) {
    return syntax_.string_of(content,
                             quote == '"' ? Spelling::kJsonCharacter : Spelling::kSingleQuoted);
  });
}

Expression JsonSyntax::any_number() {
  return part(kNumber, [&] { return syntax_.string_of(number_texts({})); });
}

Expression JsonSyntax::any_integer() {
  return part(kInteger, [&] { return syntax_.string_of(integer_texts({})); });
}

Expression JsonSyntax::list_of(Expression element) {
  return syntax_.optional(syntax_.sequence(
      {element, syntax_.repeat(syntax_.sequence({comma(), element}), 0, kUnlimited)}));
}

Expression JsonSyntax::any_object() {
  return part(kObject, [&] { return object(list_of(member(any_string(), any_value()))); });
}

Expression JsonSyntax::any_array() {
  return part(kArray, [&] { return array(list_of(any_value())); });
}

Expression JsonSyntax::any_value() {
  return part(kValue, [&] {
    return syntax_.choice({any_object(), any_array(), any_string(), any_number(), literal(true),
                           literal(false), literal(nullptr)});
  });
}

/// One text as a string, in every spelling that is usual for the style.
Expression JsonSyntax::text_literal(const std::string& text) {
  const Expression usual = syntax_.bytes(nlohmann::json(text).dump());
  switch (style_.kind) {
    case ValueStyle::Kind::kJson:
      break;
    case ValueStyle::Kind::kPython: {
      const std::u32string word = code_points_of(text, "a text of the schema");
      return syntax_.choice(
          {usual, quoted('\'', syntax_.string_of(exactly({&word, 1}), Spelling::kSingleQuoted))});
    }
    case ValueStyle::Kind::kQuoteToken:
      if (text.find(style_.quote_token) == std::string::npos)
        return between_tokens(syntax_.bytes(text));
      break;
  }
  return usual;
}

Expression JsonSyntax::literal(const nlohmann::ordered_json& value) {
  if (value.is_string()) return text_literal(value.get<std::string>());
  if (style_.kind == ValueStyle::Kind::kPython && (value.is_boolean() || value.is_null()))
    return syntax_.bytes(value.is_null() ? "None" : value.get<bool>() ? "True" : "False");
  if (!value.is_structured()) return syntax_.bytes(value.dump());
  check_depth(value, 0);
  std::vector<Expression> elements;
  for (const auto& [name, inner] : value.items()) {
    if (!elements.empty()) elements.push_back(comma());
    elements.push_back(value.is_object() ? member(key(name), literal(inner)) : literal(inner));
  }
  const Expression content = syntax_.sequence(std::move(elements));
  return value.is_object() ? object(content) : array(content);
}

std::shared_ptr<const Grammar> json_object(const Options& options) {
  Syntax syntax;
  JsonSyntax json(syntax, options.white_space);
  syntax.set_root(json.any_object());
  return finish(std::move(syntax), options);
}

}  // namespace hearth::generate::grammar
