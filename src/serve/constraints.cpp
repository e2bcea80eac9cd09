#include "serve/constraints.h"

#include <fmt/format.h>

#include <algorithm>

#include "serve/request_failure.h"
#include "support/error.h"

namespace hearth::serve {
namespace {

namespace grammar = generate::grammar;

/// `compile` with its errors as answers to the request.
template <class Compile>
std::shared_ptr<const grammar::Grammar> compiled(const std::string& parameter, Compile compile) {
  try {
    return compile();
  } catch (const Error& error) {
    std::string message = error.what();
    if (!error.hint().empty()) message += "; " + error.hint();
    throw RequestFailure(400, std::move(message), "invalid_value", parameter);
  }
}

bool is_strict(const Json& tool) {
  const auto function = tool.find("function");
  return function != tool.end() && function->is_object() && function->contains("strict") &&
         (*function)["strict"] == true;
}

const Json& function_of(const Json& tool) {
  const auto function = tool.find("function");
  return function != tool.end() ? *function : tool;
}

/// `tools` without the schemas that cannot be kept to: their arguments are any object, as no more
/// is promised of tools that are not strict. Throws Error naming the tool that is.
Json enforceable(const Json& tools, const text::ChatFormat& format,
                 const grammar::Options& options) {
  Json result = tools;
  for (Json& tool : result) {
    const std::string name = function_of(tool).value("name", "");
    try {
      static_cast<void>(grammar::for_tools(format, Json::array({tool}), {}, options));
    } catch (const Error& error) {
      if (is_strict(tool)) {
        throw Error(fmt::format("tool \"{}\": {}", printable(name, 60), error.what()), error.hint(),
                    error.exit_code());
      }
      Json& function = tool.contains("function") ? tool["function"] : tool;
      function["parameters"] = {{"type", "object"}};
    }
  }
  return result;
}

/// With all schemas as they are when that is possible.
std::shared_ptr<const grammar::Grammar> grammar_for_tools(const text::ChatFormat& format,
                                                          const Json& tools,
                                                          const grammar::CallRules& rules,
                                                          const grammar::Options& options) {
  try {
    return grammar::for_tools(format, tools, rules, options);
  } catch (const Error&) {
    return grammar::for_tools(format, enforceable(tools, format, options), rules, options);
  }
}

}  // namespace

std::shared_ptr<const grammar::Grammar> Constraints::of_format(const OutputFormat& format,
                                                               const grammar::Options& options) {
  using Kind = OutputFormat::Kind;
  const std::string key = grammar::key_of(options);
  switch (format.kind) {
    case Kind::kText:
      return nullptr;
    case Kind::kJsonObject:
      return cache_.get("object|" + key, [&] { return grammar::json_object(options); });
    case Kind::kJsonSchema:
      return cache_.get("schema|" + key + format.schema.dump(),
                        [&] { return grammar::compile_json_schema(format.schema, options); });
    case Kind::kGrammar:
      return cache_.get("grammar|" + key + format.grammar,
                        [&] { return grammar::compile_grammar(format.grammar, options); });
    case Kind::kRegex:
      return cache_.get("regex|" + key + format.grammar,
                        [&] { return grammar::compile_regex(format.grammar, options); });
  }
  return nullptr;
}

std::shared_ptr<const grammar::Grammar> Constraints::for_chat(const ChatRequest& request,
                                                              const ChatTokens& prompt) {
  const grammar::Options options = grammar::options_for(prompt.format, prompt.text);
  const bool tools = !prompt.tools.empty();
  const bool required = tools && request.tool_choice.mode == ToolMode::kRequired;
  // Templates that know no tools are told to answer in JSON, and may not answer otherwise.
  const bool generic = tools && !prompt.format.template_knows_tools;
  const bool strict = tools && std::any_of(prompt.tools.begin(), prompt.tools.end(), is_strict);
  if (!required && !generic && !strict) {
    return compiled(request.format.field, [&] { return of_format(request.format, options); });
  }
  if (request.format.kind != OutputFormat::Kind::kText && !required) {
    throw RequestFailure(400, "a response format cannot be combined with these tools",
                         "invalid_value", request.format.field);
  }
  const grammar::CallRules rules{.required = required,
                                 .parallel = request.tool_choice.parallel,
                                 .functions = request.tool_choice.functions};
  std::string key =
      fmt::format("tools|{}|{}{}{}{}|", prompt.format.name, required ? "r" : "-",
                  rules.parallel ? "p" : "-", grammar::key_of(options), rules.functions.size());
  for (const std::string& name : rules.functions) (key += name) += '\0';
  return compiled("tools", [&] {
    return cache_.get(key + prompt.tools.dump(), [&] {
      return grammar_for_tools(prompt.format, prompt.tools, rules, options);
    });
  });
}

std::shared_ptr<const grammar::Grammar> Constraints::for_completion(
    const CompletionRequest& request) {
  return compiled(request.format.field, [&] { return of_format(request.format, {}); });
}

}  // namespace hearth::serve
