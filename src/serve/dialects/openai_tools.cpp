#include <algorithm>
#include <charconv>
#include <cmath>

#include "serve/dialects/bodies.h"
#include "serve/dialects/json_body.h"
#include "serve/dialects/openai_parts.h"
#include "support/error.h"

namespace hearth::serve {
namespace {

constexpr float kFloatMost = 1e30F;

bool is_tool_name(std::string_view name) {
  constexpr std::size_t kLongest = 128;
  return !name.empty() && name.size() <= kLongest &&
         std::all_of(name.begin(), name.end(), [](char c) {
           return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') ||
                  std::string_view("_-.:/").find(c) != std::string_view::npos;
         });
}

std::string choice_name(const Json& choice, const std::string& path) {
  const Json* function = find_member(choice, "function");
  const Json& holder = function != nullptr ? *function : choice;
  const Json* name = holder.is_object() ? find_member(holder, "name") : nullptr;
  if (name == nullptr || !name->is_string()) {
    refuse(path + ".function.name must be a string", path + ".function.name", "invalid_type");
  }
  return name->get<std::string>();
}

ToolMode tool_mode(std::string_view word, const std::string& path) {
  if (word == "auto") return ToolMode::kAuto;
  if (word == "none") return ToolMode::kNone;
  if (word == "required" || word == "any") return ToolMode::kRequired;
  refuse(path + " must be \"auto\", \"none\" or \"required\", not \"" + printable(word, 40) + "\"",
         path);
}

ToolChoice allowed_tools(const Json& choice) {
  // Chat completions nest it, responses do not.
  const Json* nested = find_member(choice, "allowed_tools");
  const Json& allowed = nested != nullptr ? *nested : choice;
  const std::string path = nested != nullptr ? "tool_choice.allowed_tools" : "tool_choice";
  static constexpr Field kMembers[] = {
      {.name = "mode", .required = true},
      {.name = "tools", .types = kArray, .required = true, .items = kObject, .most_items = 1024},
  };
  check_members(allowed, kMembers, path);
  ToolChoice result;
  result.mode = tool_mode(text_member(allowed, "mode"), path + ".mode");
  const Json& tools = allowed["tools"];
  for (std::size_t i = 0; i < tools.size(); ++i) {
    result.functions.push_back(choice_name(tools[i], indexed(path + ".tools", i)));
  }
  if (result.functions.empty()) result.mode = ToolMode::kNone;
  return result;
}

float bias_value(const Json& value, const std::string& path) {
  if (value.is_boolean() && !value.get<bool>()) return -INFINITY;
  if (!value.is_number()) refuse(path + " must be a number", path, "invalid_type");
  const double bias = value.get<double>();
  if (!(std::abs(bias) <= kFloatMost)) refuse(path + " is too large", path);
  return static_cast<float>(bias);
}

std::int32_t token_id(std::string_view text, const std::string& path) {
  std::int32_t id = 0;
  const char* end = text.data() + text.size();
  const auto [stop, error] = std::from_chars(text.data(), end, id);
  if (error != std::errc() || stop != end || id < 0) {
    refuse(path + ": \"" + printable(text, 40) + "\" is not a token id", path);
  }
  return id;
}

/// "5" in an object is a token's id, in an array it is a text.
void read_bias_object(const Json& bias, BiasKeys keys, SamplingChanges& changes) {
  for (const auto& [key, value] : bias.items()) {
    const bool digits = !key.empty() && key.find_first_not_of("0123456789") == std::string::npos;
    const float number = bias_value(value, "logit_bias." + printable(key, 40));
    if (digits || keys == BiasKeys::kIds) {
      changes.logit_bias.emplace_back(token_id(key, "logit_bias"), number);
    } else {
      changes.text_bias.emplace_back(key, number);
    }
  }
}

void read_bias_pairs(const Json& bias, BiasKeys keys, SamplingChanges& changes) {
  for (std::size_t i = 0; i < bias.size(); ++i) {
    const std::string path = indexed("logit_bias", i);
    const Json& pair = bias[i];
    if (!pair.is_array() || pair.size() != 2) {
      refuse(path + " must be [token id, bias]", path, "invalid_type");
    }
    const float number = bias_value(pair[1], path + "[1]");
    if (pair[0].is_string() && keys == BiasKeys::kIdsAndTexts) {
      changes.text_bias.emplace_back(pair[0].get<std::string>(), number);
      continue;
    }
    const std::optional<std::int64_t> id = as_integer(pair[0]);
    if (!id || *id < 0 || *id > INT32_MAX) {
      refuse(path + "[0] must be a token id", path + "[0]", "invalid_type");
    }
    changes.logit_bias.emplace_back(static_cast<std::int32_t>(*id), number);
  }
}

OutputFormat schema_format(const Json* schema, const std::string& path) {
  if (schema == nullptr) refuse(path + " is missing", path, "missing_required_parameter");
  if (!schema->is_object() && !schema->is_boolean()) {
    refuse(path + " must be an object", path, "invalid_type");
  }
  OutputFormat format;
  format.kind = OutputFormat::Kind::kJsonSchema;
  format.schema = *schema;
  format.field = path;
  return format;
}

OutputFormat text_format(OutputFormat::Kind kind, const Json& holder, const char* name,
                         const std::string& path) {
  const Json* text = find_member(holder, name);
  if (text == nullptr || !text->is_string()) {
    refuse(path + "." + name + " must be a string", path + "." + name, "invalid_type");
  }
  OutputFormat format;
  format.kind = kind;
  format.grammar = text->get<std::string>();
  format.field = path + "." + name;
  return format;
}

}  // namespace

Json make_tool(Json function, std::string_view path) {
  const std::string name = text_member(function, "name");
  if (!is_tool_name(name)) {
    refuse(std::string(path) + ".name \"" + printable(name, 60) +
               "\" must have 1 to 128 letters, digits, \"_\", \"-\", \".\", \":\" or \"/\"",
           std::string(path) + ".name");
  }
  if (find_member(function, "parameters") == nullptr) {
    function["parameters"] = {{"type", "object"}, {"properties", Json::object()}};
  }
  return {{"type", "function"}, {"function", std::move(function)}};
}

Json read_openai_tools(const Json& tools) {
  static constexpr Field kFunction[] = {
      {.name = "name", .required = true},
      {.name = "description"},
      {.name = "parameters", .types = kObject},
      {.name = "strict", .types = kBoolean},
  };
  if (tools.empty()) return nullptr;
  Json result = Json::array();
  for (std::size_t i = 0; i < tools.size(); ++i) {
    const std::string path = indexed("tools", i);
    const Json& tool = tools[i];
    const std::string type = string_member(tool, "type").value_or("function");
    if (type != "function") {
      refuse(path + ".type \"" + printable(type, 40) + "\" is not supported; use \"function\"",
             path + ".type", "unsupported_value");
    }
    const Json* function = find_member(tool, "function");
    if (function == nullptr) {
      refuse(path + ".function is missing", path + ".function", "missing_required_parameter");
    }
    check_members(*function, kFunction, path + ".function");
    result.push_back(make_tool(*function, path + ".function"));
  }
  return result;
}

void check_tool_choice(const ToolChoice& choice, const Json& tools, std::string_view path) {
  const std::string where(path);
  if (choice.mode == ToolMode::kRequired && tools.is_null()) {
    refuse(where + " asks for a tool, but the request has no tools", where);
  }
  for (const std::string& name : choice.functions) {
    const bool known =
        tools.is_array() && std::any_of(tools.begin(), tools.end(), [&name](const Json& tool) {
          return tool["function"]["name"] == name;
        });
    if (!known) refuse(where + ": there is no tool \"" + printable(name, 60) + "\"", where);
  }
}

ToolChoice read_tool_choice(const Json& choice, const Json& tools) {
  ToolChoice result;
  if (choice.is_string()) {
    result.mode = tool_mode(choice.get_ref<const std::string&>(), "tool_choice");
  } else if (choice.is_object()) {
    const std::string type = string_member(choice, "type").value_or("function");
    if (type == "allowed_tools") {
      result = allowed_tools(choice);
    } else if (type == "function" || type == "custom") {
      result.mode = ToolMode::kRequired;
      const Json* custom = find_member(choice, "custom");
      result.functions = {choice_name(custom != nullptr ? *custom : choice, "tool_choice")};
    } else {
      refuse("tool_choice.type \"" + printable(type, 40) + "\" is not supported",
             "tool_choice.type", "unsupported_value");
    }
  }
  check_tool_choice(result, tools, "tool_choice");
  return result;
}

OutputFormat read_response_format(const Json& format, std::string_view path) {
  const std::string where(path);
  const std::string type = string_member(format, "type").value_or("text");
  if (type == "text") return {};
  if (type == "json_object") {
    if (const Json* schema = find_member(format, "schema"); schema != nullptr) {
      return schema_format(schema, where + ".schema");
    }
    OutputFormat result;
    result.kind = OutputFormat::Kind::kJsonObject;
    return result;
  }
  if (type == "json_schema") {
    // Nested in chat completions; flat in responses and in llama-server.
    const Json* nested = find_member(format, "json_schema");
    if (nested == nullptr) return schema_format(find_member(format, "schema"), where + ".schema");
    if (!nested->is_object()) {
      refuse(where + ".json_schema must be an object", where + ".json_schema", "invalid_type");
    }
    return schema_format(find_member(*nested, "schema"), where + ".json_schema.schema");
  }
  if (type == "regex") return text_format(OutputFormat::Kind::kRegex, format, "value", where);
  if (type == "grammar") return text_format(OutputFormat::Kind::kGrammar, format, "grammar", where);
  refuse(where + ".type \"" + printable(type, 40) +
             "\" is not known; use text, json_object, json_schema, regex or grammar",
         where + ".type");
}

OutputFormat read_output_format(const Json& body) {
  OutputFormat format;
  std::string_view first;
  const auto only_one = [&first](std::string_view name) {
    if (!first.empty()) {
      refuse(std::string(first) + " and " + std::string(name) + " cannot be combined",
             std::string(name));
    }
    first = name;
  };
  if (const Json* given = find_member(body, "response_format"); given != nullptr) {
    format = read_response_format(*given, "response_format");
    if (format.kind != OutputFormat::Kind::kText) only_one("response_format");
  }
  if (const Json* schema = find_member(body, "json_schema"); schema != nullptr) {
    only_one("json_schema");
    format = schema_format(schema, "json_schema");
  }
  if (const Json* grammar = find_member(body, "grammar");
      grammar != nullptr &&
      !(grammar->is_string() && grammar->get_ref<const std::string&>().empty())) {
    only_one("grammar");
    if (!grammar->is_string()) refuse("grammar must be a string", "grammar", "invalid_type");
    format.kind = OutputFormat::Kind::kGrammar;
    format.grammar = grammar->get<std::string>();
    format.field = "grammar";
  }
  return format;
}

std::optional<std::uint64_t> read_seed(const Json& body) {
  const std::optional<std::int64_t> seed = integer_member(body, "seed");
  if (!seed || *seed == -1) return std::nullopt;
  return static_cast<std::uint64_t>(*seed);
}

void read_logit_bias(const Json& bias, BiasKeys keys, SamplingChanges& changes) {
  if (bias.is_object()) return read_bias_object(bias, keys, changes);
  if (!bias.is_array())
    refuse("logit_bias must be an object or an array", "logit_bias", "invalid_type");
  read_bias_pairs(bias, keys, changes);
}

SamplingChanges read_sampling(const Json& body, BiasKeys bias_keys) {
  const auto integer = [&body](const char* name) -> std::optional<std::int32_t> {
    const std::optional<std::int64_t> value = integer_member(body, name);
    if (!value) return std::nullopt;
    return static_cast<std::int32_t>(*value);
  };
  SamplingChanges changes;
  changes.temperature = float_member(body, "temperature");
  changes.top_p = float_member(body, "top_p");
  changes.min_p = float_member(body, "min_p");
  changes.typical = float_member(body, "typical_p");
  changes.repeat_penalty = float_member(body, "repeat_penalty");
  changes.frequency_penalty = float_member(body, "frequency_penalty");
  changes.presence_penalty = float_member(body, "presence_penalty");
  changes.top_k = integer("top_k");
  if (changes.top_k) changes.top_k = std::max(*changes.top_k, 0);
  changes.repeat_last_n = integer("repeat_last_n");
  changes.mirostat = integer("mirostat");
  changes.mirostat_tau = float_member(body, "mirostat_tau");
  changes.mirostat_eta = float_member(body, "mirostat_eta");
  changes.dry_multiplier = float_member(body, "dry_multiplier");
  changes.dry_base = float_member(body, "dry_base");
  changes.dry_allowed_length = integer("dry_allowed_length");
  changes.dry_last_n = integer("dry_penalty_last_n");
  if (find_member(body, "dry_sequence_breakers") != nullptr) {
    changes.dry_breakers = strings_member(body, "dry_sequence_breakers");
  }
  changes.xtc_probability = float_member(body, "xtc_probability");
  changes.xtc_threshold = float_member(body, "xtc_threshold");
  changes.seed = read_seed(body);
  if (const Json* bias = find_member(body, "logit_bias"); bias != nullptr) {
    read_logit_bias(*bias, bias_keys, changes);
  }
  return changes;
}

void apply_effort(ChatRequest& request, std::string_view effort) {
  request.thinking = effort != "none";
  if (effort == "none") return;
  request.template_variables["reasoning_effort"] = effort == "minimal" ? "low" : effort;
}

}  // namespace hearth::serve
