// Jinja's lexical structure: text, tags and white space control (trim_blocks and lstrip_blocks are
// on, a single newline at the end of the source is dropped), and the tokens inside tags.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

namespace hearth::text::jinja {

enum class TokenKind : std::uint8_t {
  kText,
  kOutputBegin,
  kOutputEnd,
  kBlockBegin,
  kBlockEnd,
  kName,
  kString,
  kInteger,
  kFloat,
  kOperator,
  kEnd,
};

struct Token {
  TokenKind kind = TokenKind::kEnd;
  std::uint32_t line = 1;
  /// Text, name, operator, the unescaped string, or the number's digits without underscores.
  std::string text;
};

/// The tokens of `source` (well-formed UTF-8), ending with kEnd. Throws TemplateError naming
/// `template_name`.
[[nodiscard]] std::vector<Token> tokenize_template(std::string_view source,
                                                   const std::string& template_name);

/// A short description for messages: "name 'x'", "end of print statement" …
[[nodiscard]] std::string describe(const Token& token);

}  // namespace hearth::text::jinja
