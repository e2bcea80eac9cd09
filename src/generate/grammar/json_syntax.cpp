#include "generate/grammar/json_syntax.h"

#include <nlohmann/json.hpp>

#include "generate/grammar/compiled.h"
#include "generate/grammar/numbers.h"
#include "support/error.h"

namespace hearth::generate::grammar {
namespace {

constexpr std::uint32_t kMaxIndent = 24;
constexpr int kMaxLiteralDepth = 64;

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

JsonSyntax::JsonSyntax(Syntax& syntax, WhiteSpace white_space, CodePointSet escaped)
    : syntax_(syntax), white_space_(white_space), escaped_(std::move(escaped)) {}

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
  return syntax_.bytes(nlohmann::json(name).dump());
}

Expression JsonSyntax::quoted(Expression content) {
  return syntax_.sequence({syntax_.bytes("\""), content, syntax_.bytes("\"")});
}

Expression JsonSyntax::character() {
  return part(kCharacter, [&] {
    const CodePointSet hex{{U'0', U'9'}, {U'a', U'f'}, {U'A', U'F'}};
    const Expression digit = syntax_.one_of(hex);
    const auto digits = [&](std::uint32_t count) { return syntax_.repeat(digit, count, count); };
    const CodePointSet direct =
        CodePointSet{{0, 0x1F}, {U'"', U'"'}, {U'\\', U'\\'}}.unite(escaped_).complement();
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
    const Expression escape = syntax_.sequence(
        {syntax_.bytes("\\"), syntax_.choice({syntax_.one_of(only(U"\"\\/bfnrt")), code})});
    return syntax_.choice({syntax_.one_of(direct), escape});
  });
}

Expression JsonSyntax::any_string() {
  return part(kString, [&] { return quoted(syntax_.repeat(character(), 0, kUnlimited)); });
}

Expression JsonSyntax::string_of_length(std::uint32_t minimum, std::uint32_t maximum) {
  if (minimum == 0 && maximum == kUnlimited) return any_string();
  return quoted(syntax_.repeat(character(), minimum, maximum));
}

Expression JsonSyntax::string_of(Dfa content) {
  return quoted(syntax_.string_of(std::move(content), Spelling::kJsonCharacter));
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
    return syntax_.choice({any_object(), any_array(), any_string(), any_number(),
                           syntax_.bytes("true"), syntax_.bytes("false"), syntax_.bytes("null")});
  });
}

Expression JsonSyntax::literal(const nlohmann::ordered_json& value) {
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
