// What all syntaxes of tool calls share: the tools, and the values of their arguments.
#pragma once

#include <cstddef>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "generate/grammar/grammar.h"
#include "generate/grammar/json_syntax.h"
#include "generate/grammar/schema_compiler.h"
#include "generate/grammar/syntax.h"

namespace hearth::generate::grammar {

/// A tool of a request.
struct Tool {
  std::string name;
  const Json* parameters = nullptr;  ///< its JSON Schema; null: it takes none
};

/// The tools of a request (an array in OpenAI's shape, or of bare function objects) that `rules`
/// let be called. Throws Error for names that cannot be used, and for rules that name no tool.
[[nodiscard]] std::vector<Tool> read_tools(const Json& tools, const CallRules& rules);
/// The names of all tools of a request that read_tools() has read.
[[nodiscard]] std::vector<std::string> names_of_tools(const Json& tools);

/// The arguments of tools, all written in one style.
class ToolValues {
 public:
  /// `syntax` and `tools` must outlive this object.
  ToolValues(Syntax& syntax, const std::vector<Tool>& tools, WhiteSpace white_space,
             ValueStyle style);

  [[nodiscard]] JsonSyntax& json() { return json_; }
  [[nodiscard]] SchemaCompiler& compiler(std::size_t tool) { return *compilers_[tool]; }
  /// All arguments of a tool as one object.
  [[nodiscard]] Expression object(std::size_t tool);
  /// All arguments of a tool as Python writes them: (a=1, b="x").
  [[nodiscard]] Expression keywords(std::size_t tool);

  /// The alternatives of a tool's parameters that are objects.
  [[nodiscard]] std::vector<Alternative> alternatives(std::size_t tool);

 private:
  Syntax& syntax_;
  const std::vector<Tool>& tools_;
  JsonSyntax json_;
  std::vector<std::unique_ptr<SchemaCompiler>> compilers_;
  std::vector<std::optional<Expression>> objects_;
};

/// `expression`, which is used several times, as a rule, so that it is written once.
[[nodiscard]] Expression shared(Syntax& syntax, Expression expression);

}  // namespace hearth::generate::grammar
