// The parts of JSON texts, and of what model families write instead of JSON, as expressions of a
// Syntax.
#pragma once

#include <cstdint>
#include <nlohmann/json_fwd.hpp>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "generate/grammar/grammar.h"
#include "generate/grammar/syntax.h"

namespace hearth::generate::grammar {

/// How values are written; text::ValueReader reads all of it.
struct ValueStyle {
  enum class Kind : std::uint8_t {
    kJson,
    kPython,      ///< strings between double or single quotes; True, False, None
    kQuoteToken,  ///< strings as they are, between a token; keys without quotes (Gemma)
  };
  Kind kind = Kind::kJson;
  /// kJson: characters that strings of any content never hold as they are, only as \uXXXX.
  CodePointSet escaped = {};
  std::string quote_token = {};  ///< kQuoteToken
};

/// Makes each part once.
class JsonSyntax {
 public:
  JsonSyntax(Syntax& syntax, WhiteSpace white_space, ValueStyle style = {});

  [[nodiscard]] Syntax& syntax() { return syntax_; }
  [[nodiscard]] const ValueStyle& style() const { return style_; }
  /// White space between tokens: bounded, or none.
  [[nodiscard]] Expression space();
  [[nodiscard]] Expression comma();
  [[nodiscard]] Expression colon();
  /// '{', then the members or nothing, then '}'.
  [[nodiscard]] Expression object(Expression members);
  [[nodiscard]] Expression array(Expression items);
  /// A member: a key's text and a value.
  [[nodiscard]] Expression member(Expression key, Expression value);
  [[nodiscard]] Expression key(std::string_view name);
  [[nodiscard]] Expression any_key();
  [[nodiscard]] Expression key_of(Dfa names);

  [[nodiscard]] Expression any_string();
  /// Of so many code points.
  [[nodiscard]] Expression string_of_length(std::uint32_t minimum, std::uint32_t maximum);
  [[nodiscard]] Expression string_of(Dfa content);
  [[nodiscard]] Expression any_number();
  [[nodiscard]] Expression any_integer();
  [[nodiscard]] Expression any_object();
  [[nodiscard]] Expression any_array();
  [[nodiscard]] Expression any_value();
  /// Exactly this value; white space in it is free.
  [[nodiscard]] Expression literal(const nlohmann::ordered_json& value);

 private:
  enum Part : std::uint8_t {
    kSpace,
    kComma,
    kColon,
    kCharacter,
    kSingleQuotedCharacter,
    kString,
    kKey,
    kNumber,
    kInteger,
    kObject,
    kArray,
    kValue,
    kParts
  };
  template <class Make>
  Expression part(Part which, Make make);
  /// A character of a string that ends with `quote`.
  [[nodiscard]] Expression character(char quote);
  [[nodiscard]] Expression quoted(char quote, Expression content);
  /// A string by `make(quote)`, once for every quote that the style knows.
  template <class Make>
  Expression with_quotes(Make make);
  /// Text between quote tokens.
  [[nodiscard]] Expression between_tokens(Expression content);
  [[nodiscard]] Dfa without_token(const Dfa& content);
  [[nodiscard]] Expression token_string_of_length(std::uint32_t minimum, std::uint32_t maximum);
  [[nodiscard]] Expression text_literal(const std::string& text);
  [[nodiscard]] Expression list_of(Expression element);

  Syntax& syntax_;
  WhiteSpace white_space_;
  ValueStyle style_;
  std::optional<Rule> parts_[kParts];
};

}  // namespace hearth::generate::grammar
