// The parts of JSON texts as expressions of a Syntax.
#pragma once

#include <cstdint>
#include <nlohmann/json_fwd.hpp>
#include <optional>
#include <string_view>
#include <vector>

#include "generate/grammar/grammar.h"
#include "generate/grammar/syntax.h"

namespace hearth::generate::grammar {

/// Makes each part once.
class JsonSyntax {
 public:
  /// `escaped`: characters that strings of any content never hold as they are, only as \uXXXX.
  JsonSyntax(Syntax& syntax, WhiteSpace white_space, CodePointSet escaped = {});

  [[nodiscard]] Syntax& syntax() { return syntax_; }
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
    kString,
    kNumber,
    kInteger,
    kObject,
    kArray,
    kValue,
    kParts
  };
  template <class Make>
  Expression part(Part which, Make make);
  [[nodiscard]] Expression character();
  [[nodiscard]] Expression quoted(Expression content);
  [[nodiscard]] Expression list_of(Expression element);

  Syntax& syntax_;
  WhiteSpace white_space_;
  CodePointSet escaped_;
  std::optional<Rule> parts_[kParts];
};

}  // namespace hearth::generate::grammar
