// Requests of /v1/messages.
#include <utility>

#include "serve/dialects/anthropic.h"
#include "serve/dialects/anthropic_writer.h"
#include "serve/dialects/bodies.h"
#include "serve/dialects/json_body.h"
#include "serve/dialects/openai_parts.h"
#include "support/error.h"

namespace hearth::serve {
namespace {

constexpr std::string_view kThinkingTypes[] = {"enabled", "disabled", "adaptive"};
constexpr Field kAnthropicThinking[] = {
    {.name = "type", .required = true, .words = kThinkingTypes},
    {.name = "budget_tokens", .types = kInteger, .least = 0, .most = kMostInt32},
};
constexpr std::string_view kAnthropicChoiceTypes[] = {"auto", "any", "none", "tool"};
constexpr Field kAnthropicToolChoice[] = {
    {.name = "type", .required = true, .words = kAnthropicChoiceTypes},
    {.name = "name"},
    {.name = "disable_parallel_tool_use", .types = kBoolean},
};
constexpr Field kAnthropicTool[] = {
    {.name = "type"},
    {.name = "name", .required = true},
    {.name = "description"},
    {.name = "input_schema", .types = kObject},
    {.name = "strict", .types = kBoolean},
};
constexpr std::string_view kAnthropicEfforts[] = {"low", "medium", "high", "xhigh", "max"};
constexpr Field kAnthropicFormat[] = {
    {.name = "type", .required = true},
    {.name = "schema", .types = kObject | kBoolean},
};
constexpr Field kOutputConfig[] = {
    {.name = "effort", .words = kAnthropicEfforts},
    {.name = "format", .types = kObject, .members = kAnthropicFormat},
};
constexpr Field kAnthropicMessage[] = {
    {.name = "role", .required = true},
    {.name = "content",
     .types = kString | kArray,
     .what = "text, or blocks",
     .required = true,
     .items = kObject},
};
constexpr Field kAnthropicBlock[] = {
    {.name = "type", .required = true},
};

constexpr Field kAnthropicFields[] = {
    {.name = "model", .required = true},
    {.name = "messages",
     .types = kArray,
     .required = true,
     .items = kObject,
     .item_members = kAnthropicMessage},
    {.name = "system",
     .types = kString | kArray,
     .what = "text, or blocks of text",
     .items = kObject,
     .item_members = kAnthropicBlock},
    {.name = "stop_sequences",
     .types = kArray,
     .items = kString,
     .most_items = 64,
     .most_bytes = kMostStopBytes},
    {.name = "stream", .types = kBoolean},
    {.name = "temperature", .types = kNumber, .least = 0, .most = 2},
    {.name = "top_p", .types = kNumber, .least = 0, .most = 1},
    {.name = "top_k", .types = kInteger, .least = 0, .most = kMostInt32},
    {.name = "tools",
     .types = kArray,
     .items = kObject,
     .item_members = kAnthropicTool,
     .most_items = 1024},
    {.name = "tool_choice", .types = kObject, .members = kAnthropicToolChoice},
    {.name = "thinking", .types = kObject, .members = kAnthropicThinking},
    {.name = "output_config", .types = kObject, .members = kOutputConfig},
    {.name = "output_format", .types = kObject, .members = kAnthropicFormat},
    {.name = "mcp_servers", .types = kArray, .what = "refused unless empty"},
    {.name = "metadata", .types = kObject},
};
constexpr Field kAnthropicLength[] = {
    {.name = "max_tokens", .types = kInteger, .required = true, .least = 1, .most = kMostInt32},
};

[[noreturn]] void refuse_block(const std::string& type, const std::string& path) {
  refuse(path + ": blocks of type \"" + printable(type, 60) + "\" are not supported", path,
         "unsupported_content");
}

const std::string& string_of(const Json& block, const char* name, const std::string& path) {
  const Json* value = find_member(block, name);
  if (value == nullptr) {
    refuse(path + "." + name + " is missing", path + "." + name, "missing_required_parameter");
  }
  if (!value->is_string()) {
    refuse(path + "." + name + " must be a string", path + "." + name, "invalid_type");
  }
  return value->get_ref<const std::string&>();
}

void join(std::string& text, std::string_view more) {
  if (!text.empty() && !more.empty()) text += '\n';
  text += more;
}

/// Text of a block that is text: also of a document that is given as text.
std::string block_text(const Json& block, const std::string& path) {
  check_members(block, kAnthropicBlock, path);
  const std::string type = text_member(block, "type");
  if (type == "text") return string_of(block, "text", path);
  const Json* source = find_member(block, "source");
  if (type == "document" && source != nullptr && source->is_object() &&
      text_member(*source, "type") == "text") {
    std::string text;
    const Json* title = find_member(block, "title");
    if (title != nullptr && title->is_string()) text = title->get<std::string>();
    join(text, string_of(*source, "data", path + ".source"));
    return text;
  }
  refuse_block(type, path);
}

std::string blocks_text(const Json& content, const std::string& path) {
  if (content.is_string()) return content.get<std::string>();
  if (!content.is_array()) refuse(path + " must be a string or an array", path, "invalid_type");
  std::string text;
  for (std::size_t i = 0; i < content.size(); ++i) {
    join(text, block_text(content[i], indexed(path, i)));
  }
  return text;
}

/// Turns messages of blocks into OpenAI's: results of tools become messages of their own, and
/// neighbours of one role are one message.
class Translator {
 public:
  void system(const Json& content) {
    if (std::string text = blocks_text(content, "system"); !text.empty()) {
      messages_.push_back(make_message("system", std::move(text)));
    }
  }

  void message(const Json& message, const std::string& path) {
    const std::string role = text_member(message, "role");
    const Json& content = message["content"];
    const std::string here = path + ".content";
    if (role == "user") return user(content, here);
    if (role == "assistant") return assistant(content, here);
    if (role == "system") return add("system", blocks_text(content, here));
    refuse(path + ".role must be \"user\" or \"assistant\", not \"" + printable(role, 40) + "\"",
           path + ".role");
  }

  Json take() { return std::move(messages_); }

 private:
  /// A message of `role` whose text is added to the last one when that has the same role.
  void add(std::string_view role, const std::string& text) {
    if (!messages_.empty() && messages_.back()["role"] == role &&
        !messages_.back().contains("tool_calls")) {
      join(messages_.back()["content"].get_ref<std::string&>(), text);
    } else {
      messages_.push_back(make_message(role, text));
    }
  }

  void user(const Json& content, const std::string& path) {
    if (content.is_string()) return add("user", content.get<std::string>());
    if (content.empty()) refuse(path + " is empty", path, "empty_array");
    for (std::size_t i = 0; i < content.size(); ++i) {
      const std::string here = indexed(path, i);
      const Json& block = content[i];
      check_members(block, kAnthropicBlock, here);
      if (text_member(block, "type") == "tool_result") {
        result(block, here);
      } else {
        add("user", block_text(block, here));
      }
    }
  }

  void result(const Json& block, const std::string& path) {
    const Json* content = find_member(block, "content");
    Json message = make_message(
        "tool", content == nullptr ? std::string() : blocks_text(*content, path + ".content"));
    message["tool_call_id"] = string_of(block, "tool_use_id", path);
    messages_.push_back(std::move(message));
  }

  void assistant(const Json& content, const std::string& path) {
    if (content.is_string()) return add("assistant", content.get<std::string>());
    Json message = make_message("assistant", "");
    std::string text;
    std::string reasoning;
    Json calls = Json::array();
    for (std::size_t i = 0; i < content.size(); ++i) {
      const std::string here = indexed(path, i);
      const Json& block = content[i];
      check_members(block, kAnthropicBlock, here);
      const std::string type = text_member(block, "type");
      if (type == "thinking") {
        join(reasoning, string_of(block, "thinking", here));
      } else if (type == "tool_use") {
        calls.push_back(call(block, here));
      } else if (type != "redacted_thinking") {  // nobody here can read that
        join(text, block_text(block, here));
      }
    }
    if (calls.empty() && reasoning.empty()) return add("assistant", text);
    message["content"] = std::move(text);
    if (!reasoning.empty()) message["reasoning_content"] = std::move(reasoning);
    if (!calls.empty()) message["tool_calls"] = std::move(calls);
    messages_.push_back(std::move(message));
  }

  static Json call(const Json& block, const std::string& path) {
    const Json* input = find_member(block, "input");
    if (input != nullptr && !input->is_object()) {
      refuse(path + ".input must be an object", path + ".input", "invalid_type");
    }
    return make_call(string_of(block, "id", path), string_of(block, "name", path),
                     input == nullptr ? "{}" : to_line(*input));
  }

  Json messages_ = Json::array();
};

Json read_messages(const Json& body) {
  Translator translator;
  if (const Json* system = find_member(body, "system"); system != nullptr) {
    translator.system(*system);
  }
  const Json& messages = body["messages"];
  if (messages.empty()) refuse("messages is empty", "messages", "empty_array");
  for (std::size_t i = 0; i < messages.size(); ++i) {
    translator.message(messages[i], indexed("messages", i));
  }
  Json result = translator.take();
  name_tool_results(result);
  return result;
}

/// A last message of the assistant is continued.
bool read_prefill(const Json& messages) {
  const Json& last = messages.back();
  if (last["role"] != "assistant" || last.contains("tool_calls")) return false;
  const std::string& text = last["content"].get_ref<const std::string&>();
  if (text.empty()) return false;
  if (std::string_view(" \t\r\n").find(text.back()) != std::string_view::npos) {
    refuse("the last message, which the answer continues, must not end with white space",
           "messages");
  }
  return true;
}

Json read_tools(const Json& tools) {
  if (tools.empty()) return nullptr;
  Json result = Json::array();
  for (std::size_t i = 0; i < tools.size(); ++i) {
    const std::string path = indexed("tools", i);
    const std::string type = string_member(tools[i], "type").value_or("custom");
    if (type != "custom") {
      refuse(path + ".type \"" + printable(type, 60) +
                 "\" is not supported: describe the tool by name and input_schema",
             path + ".type", "unsupported_value");
    }
    Json function = {{"name", text_member(tools[i], "name")}};
    if (auto description = string_member(tools[i], "description"); description) {
      function["description"] = *description;
    }
    if (const Json* schema = find_member(tools[i], "input_schema"); schema != nullptr) {
      function["parameters"] = *schema;
    }
    result.push_back(make_tool(std::move(function), path));
  }
  return result;
}

ToolChoice read_choice(const Json& choice, const Json& tools) {
  ToolChoice result;
  const std::string type = text_member(choice, "type");
  if (type == "none") result.mode = ToolMode::kNone;
  if (type == "any" || type == "tool") result.mode = ToolMode::kRequired;
  if (type == "tool") {
    const std::optional<std::string> name = string_member(choice, "name");
    if (!name) {
      refuse("tool_choice.name is missing", "tool_choice.name", "missing_required_parameter");
    }
    result.functions = {*name};
  }
  result.parallel = !bool_member(choice, "disable_parallel_tool_use").value_or(false);
  check_tool_choice(result, tools, "tool_choice");
  return result;
}

void read_anthropic_thinking(const Json& body, ChatRequest& request) {
  request.thinking = false;  // Anthropic's models think only when asked to
  if (const Json* thinking = find_member(body, "thinking"); thinking != nullptr) {
    const std::string type = text_member(*thinking, "type");
    request.thinking = type != "disabled";
    const auto budget = integer_member(*thinking, "budget_tokens");
    if (type == "enabled" && budget) request.thinking_budget = static_cast<int>(*budget);
  }
  const Json* config = find_member(body, "output_config");
  const Json* format = find_member(body, "output_format");
  std::string path = "output_format";
  if (config != nullptr) {
    if (const auto effort = string_member(*config, "effort"); effort) {
      request.template_variables["reasoning_effort"] = *effort;
    }
    if (const Json* inner = find_member(*config, "format"); inner != nullptr) {
      format = inner;
      path = "output_config.format";
    }
  }
  if (format != nullptr) request.format = read_response_format(*format, path);
}

ChatRequest read_request(const Json& body) {
  ChatRequest request;
  request.model = text_member(body, "model");
  request.messages = read_messages(body);
  request.continue_last = read_prefill(request.messages);
  request.max_tokens = integer_member(body, "max_tokens").value_or(-1);
  request.stops = strings_member(body, "stop_sequences");
  std::erase(request.stops, std::string());
  request.stream = bool_member(body, "stream").value_or(false);
  request.sampling.temperature = float_member(body, "temperature");
  request.sampling.top_p = float_member(body, "top_p");
  if (const auto top_k = integer_member(body, "top_k"); top_k) {
    request.sampling.top_k = static_cast<std::int32_t>(*top_k);
  }
  if (const Json* tools = find_member(body, "tools"); tools != nullptr) {
    request.tools = read_tools(*tools);
  }
  if (const Json* choice = find_member(body, "tool_choice"); choice != nullptr) {
    request.tool_choice = read_choice(*choice, request.tools);
  }
  if (const Json* servers = find_member(body, "mcp_servers");
      servers != nullptr && !servers->empty()) {
    refuse("mcp_servers are not supported", "mcp_servers", "unsupported_value");
  }
  read_anthropic_thinking(body, request);
  return request;
}

Json anthropic_model_object(const ModelFacts& model) {
  return {{"type", "model"},
          {"id", model.name},
          {"display_name", model.name},
          {"created_at", utc_time(model.modified)}};
}

}  // namespace

const BodyFields kAnthropicMessagesBody = {.name = "AnthropicMessagesRequest",
                                           .parts = {kAnthropicFields, kAnthropicLength}};
const BodyFields kAnthropicCountBody = {.name = "AnthropicCountTokensRequest",
                                        .parts = {kAnthropicFields}};

ChatExchange read_anthropic_messages(std::string_view text) {
  const Json body = parse_object(text);
  check_body(body, kAnthropicMessagesBody);
  ChatExchange exchange;
  exchange.request = read_request(body);
  exchange.writer = make_anthropic_writer(exchange.request.stream);
  return exchange;
}

ChatRequest read_anthropic_count(std::string_view text) {
  const Json body = parse_object(text);
  check_body(body, kAnthropicCountBody);
  return read_request(body);
}

std::string anthropic_count(std::int64_t tokens) { return to_line({{"input_tokens", tokens}}); }

std::string anthropic_models(std::span<const ModelFacts> models) {
  Json data = Json::array();
  for (const ModelFacts& model : models) data.push_back(anthropic_model_object(model));
  Json reply = {{"data", std::move(data)}, {"has_more", false}};
  reply["first_id"] = models.empty() ? Json() : Json(models.front().name);
  reply["last_id"] = models.empty() ? Json() : Json(models.back().name);
  return to_line(reply);
}

std::string anthropic_model(const ModelFacts& model) {
  return to_line(anthropic_model_object(model));
}

}  // namespace hearth::serve
