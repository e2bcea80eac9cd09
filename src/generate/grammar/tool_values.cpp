#include "generate/grammar/tool_values.h"

#include <algorithm>
#include <unordered_set>

#include "generate/grammar/grammar.h"
#include "support/error.h"

namespace hearth::generate::grammar {
namespace {

bool is_usable_name(std::string_view name) {
  static constexpr std::string_view kForbidden = "\"'`<>{}[]()|,;= \t\r\n";
  return !name.empty() && name.size() <= 256 && name.find_first_of(kForbidden) == std::string::npos;
}

/// The description of a tool: in OpenAI's shape it is a member.
const Json& function_of(const Json& entry) {
  const Json* inner = member_of(entry, "function");
  return inner != nullptr && inner->is_object() ? *inner : entry;
}

/// Null when it has no name that can be used.
const std::string* name_of(const Json& function) {
  const Json* name = member_of(function, "name");
  if (name == nullptr || !name->is_string()) return nullptr;
  const auto& text = name->get_ref<const std::string&>();
  return is_usable_name(text) ? &text : nullptr;
}

}  // namespace

std::vector<Tool> read_tools(const Json& tools, const CallRules& rules) {
  std::vector<Tool> result;
  std::unordered_set<std::string> names;
  if (tools.is_array()) {
    for (const Json& entry : tools) {
      const Json& function = function_of(entry);
      const std::string* name = name_of(function);
      if (name == nullptr)
        throw Error("a tool has no usable name", "name it with letters, digits, '_' and '-'");
      Tool tool{*name, nullptr};
      for (const char* key : {"parameters", "input_schema", "inputSchema"}) {
        const Json* schema = member_of(function, key);
        if (tool.parameters == nullptr && schema != nullptr && !schema->is_null())
          tool.parameters = schema;
      }
      names.insert(tool.name);
      const bool wanted = rules.functions.empty() ||
                          std::find(rules.functions.begin(), rules.functions.end(), tool.name) !=
                              rules.functions.end();
      if (wanted) result.push_back(std::move(tool));
    }
  }
  for (const std::string& name : rules.functions) {
    if (!names.contains(name))
      throw Error("there is no tool named '" + printable(name, 60) + "'",
                  "name one of the request's tools");
  }
  if (result.empty()) throw Error("there are no tools to call", "send at least one tool");
  return result;
}

std::vector<std::string> names_of_tools(const Json& tools) {
  std::vector<std::string> names;
  for (const Json& entry : tools) names.push_back(*name_of(function_of(entry)));
  return names;
}

Expression shared(Syntax& syntax, Expression expression) {
  const Rule rule = syntax.declare();
  syntax.define(rule, expression);
  return syntax.use(rule);
}

ToolValues::ToolValues(Syntax& syntax, const std::vector<Tool>& tools, WhiteSpace white_space,
                       ValueStyle style)
    : syntax_(syntax), tools_(tools), json_(syntax, white_space, std::move(style)) {
  static const Json kNone = Json::object();
  for (const Tool& tool : tools) {
    compilers_.push_back(std::make_unique<SchemaCompiler>(
        json_, tool.parameters != nullptr ? *tool.parameters : kNone));
  }
  objects_.resize(tools.size());
}

std::vector<Alternative> ToolValues::alternatives(std::size_t tool) {
  std::vector<Alternative> objects;
  if (tools_[tool].parameters == nullptr) return objects;
  for (Alternative& part : compiler(tool).reader().expand({tools_[tool].parameters})) {
    part.types &= kObjectType;
    if (part.types != 0) objects.push_back(std::move(part));
  }
  return objects;
}

Expression ToolValues::object(std::size_t tool) {
  if (!objects_[tool]) {
    std::vector<Expression> ways;
    if (tools_[tool].parameters == nullptr) ways.push_back(syntax_.bytes("{}"));
    for (const Alternative& part : alternatives(tool))
      ways.push_back(compiler(tool).alternative(part));
    objects_[tool] = shared(syntax_, syntax_.choice(std::move(ways)));
  }
  return *objects_[tool];
}

Expression ToolValues::keywords(std::size_t tool) {
  std::vector<Expression> ways;
  if (tools_[tool].parameters == nullptr) ways.push_back(syntax_.bytes("()"));
  for (const Alternative& part : alternatives(tool)) {
    if (compiler(tool).reader().values(part)) {
      throw Error(
          "\"enum\" or \"const\" of a tool's parameters as a whole cannot be enforced in "
          "the syntax of this model's family",
          "say it of each parameter");
    }
    ways.push_back(write_object(compiler(tool), part, ObjectForm::kKeywords));
  }
  return syntax_.choice(std::move(ways));
}

}  // namespace hearth::generate::grammar
