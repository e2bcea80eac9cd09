// POST /v1/responses: the request.
#include <algorithm>
#include <utility>

#include "serve/dialects/bodies.h"
#include "serve/dialects/json_body.h"
#include "serve/dialects/openai.h"
#include "serve/dialects/openai_parts.h"
#include "serve/dialects/openai_writers.h"
#include "serve/dialects/responses_writer.h"
#include "support/error.h"

namespace hearth::serve {
namespace {

constexpr std::string_view kResponsesEfforts[] = {"none", "minimal", "low", "medium",
                                                  "high", "xhigh",   "max"};
constexpr Field kResponsesReasoning[] = {
    {.name = "effort", .words = kResponsesEfforts},
    {.name = "summary"},
    {.name = "generate_summary"},
};
constexpr Field kResponsesText[] = {
    {.name = "format", .types = kObject},
    {.name = "verbosity"},
};
constexpr Field kResponsesTool[] = {
    {.name = "type", .required = true},
    {.name = "name"},
    {.name = "description"},
    {.name = "parameters", .types = kObject},
    {.name = "strict", .types = kBoolean},
    {.name = "format", .types = kObject},
};
constexpr Field kResponsesFields[] = {
    {.name = "model"},
    {.name = "input",
     .types = kString | kArray,
     .what = "text, or items",
     .required = true,
     .items = kObject},
    {.name = "instructions", .what = "a system message before the input"},
    {.name = "max_output_tokens", .types = kInteger, .least = 1, .most = kMostInt32},
    {.name = "temperature", .types = kNumber, .least = 0, .most = 100},
    {.name = "top_p", .types = kNumber, .least = 0, .most = 1},
    {.name = "top_logprobs", .types = kInteger, .least = 0, .most = 20},
    {.name = "tools",
     .types = kArray,
     .items = kObject,
     .item_members = kResponsesTool,
     .most_items = 1024},
    {.name = "tool_choice", .types = kString | kObject},
    {.name = "parallel_tool_calls", .types = kBoolean},
    {.name = "text", .types = kObject, .members = kResponsesText},
    {.name = "reasoning", .types = kObject, .members = kResponsesReasoning},
    {.name = "include", .types = kArray, .items = kString},
    {.name = "stream", .types = kBoolean},
    {.name = "store", .types = kBoolean, .what = "nothing is stored"},
    {.name = "background", .types = kBoolean, .what = "refused when true"},
    {.name = "previous_response_id", .what = "refused: send the whole input"},
    {.name = "conversation", .types = kString | kObject, .what = "refused: send the whole input"},
    {.name = "prompt", .types = kObject, .what = "refused"},
    {.name = "truncation", .what = "nothing is ever cut: what does not fit is refused"},
    {.name = "metadata", .types = kObject},
    {.name = "user"},
    {.name = "keep_alive", .types = kNumber | kString},
};

constexpr Field kResponsesItem[] = {
    {.name = "type"},
    {.name = "role"},
    {.name = "content", .types = kString | kArray},
    {.name = "call_id"},
    {.name = "name"},
    {.name = "arguments"},
    {.name = "input"},
    {.name = "output", .types = kString | kArray},
    {.name = "encrypted_content"},
    {.name = "summary", .types = kArray, .items = kObject},
};

/// Turns items into messages: calls belong to the assistant's message before them, reasoning to
/// the one after it.
class ItemReader {
 public:
  void read(const Json& item, const std::string& path) {
    check_members(item, kResponsesItem, path);
    std::string type = text_member(item, "type");
    if (type.empty() && find_member(item, "role") != nullptr) type = "message";
    if (type == "message") return message(item, path);
    if (type == "function_call") return call(item, text_member(item, "arguments"), path);
    if (type == "custom_tool_call") {
      return call(item, to_line({{"input", text_member(item, "input")}}), path);
    }
    if (type == "function_call_output" || type == "custom_tool_call_output") {
      return output(item, path);
    }
    if (type == "reasoning") return reasoning(item);
    refuse(path + ": items of type \"" + printable(type, 60) + "\" are not supported", path,
           "unsupported_value");
  }

  void system(std::string text) { messages_.push_back(make_message("system", std::move(text))); }
  Json take() { return std::move(messages_); }

 private:
  void message(const Json& item, const std::string& path) {
    const std::string role = text_member(item, "role");
    const Json* content = find_member(item, "content");
    std::string text =
        content == nullptr ? std::string() : content_text(*content, path + ".content");
    if (role == "assistant") {
      Json result = make_message("assistant", std::move(text));
      take_reasoning(result);
      messages_.push_back(std::move(result));
    } else if (role == "user" || role == "system" || role == "developer") {
      messages_.push_back(make_message(role == "user" ? "user" : "system", std::move(text)));
    } else {
      refuse(path + ".role must be user, assistant, system or developer, not \"" +
                 printable(role, 40) + "\"",
             path + ".role");
    }
  }

  void call(const Json& item, std::string arguments, const std::string& path) {
    Json entry = make_call(required(item, "call_id", path), required(item, "name", path),
                           std::move(arguments));
    if (messages_.empty() || messages_.back()["role"] != "assistant" || !reasoning_.empty()) {
      messages_.push_back(make_message("assistant", ""));
      take_reasoning(messages_.back());
    }
    messages_.back()["tool_calls"].push_back(std::move(entry));
  }

  void output(const Json& item, const std::string& path) {
    const Json* text = find_member(item, "output");
    Json result = make_message(
        "tool", text == nullptr ? std::string() : content_text(*text, path + ".output"));
    result["tool_call_id"] = required(item, "call_id", path);
    messages_.push_back(std::move(result));
  }

  void reasoning(const Json& item) {
    const auto texts = [this](const Json* parts) {
      if (parts == nullptr || !parts->is_array()) return;
      for (const Json& part : *parts) {
        const Json* text = part.is_object() ? find_member(part, "text") : nullptr;
        if (text == nullptr || !text->is_string()) continue;
        if (!reasoning_.empty()) reasoning_ += '\n';
        reasoning_ += text->get_ref<const std::string&>();
      }
    };
    const std::string before = reasoning_;
    texts(find_member(item, "content"));
    if (reasoning_ == before)
      reasoning_ += unseal_reasoning(text_member(item, "encrypted_content"));
    if (reasoning_ == before) texts(find_member(item, "summary"));
  }

  void take_reasoning(Json& message) {
    if (!reasoning_.empty()) message["reasoning_content"] = std::exchange(reasoning_, {});
  }

  static std::string required(const Json& item, const char* name, const std::string& path) {
    std::string text = text_member(item, name);
    if (text.empty()) {
      refuse(path + "." + name + " is missing", path + "." + name, "missing_required_parameter");
    }
    return text;
  }

  Json messages_ = Json::array();
  std::string reasoning_;
};

Json read_input(const Json& body) {
  ItemReader reader;
  if (std::string text = text_member(body, "instructions"); !text.empty()) {
    reader.system(std::move(text));
  }
  const Json& input = body["input"];
  if (input.is_string()) {
    reader.read({{"role", "user"}, {"content", input}}, "input");
  } else {
    for (std::size_t i = 0; i < input.size(); ++i) reader.read(input[i], indexed("input", i));
  }
  Json messages = reader.take();
  if (messages.empty()) refuse("input is empty", "input", "empty_array");
  name_tool_results(messages);
  return messages;
}

/// A tool whose argument is text without a schema, as a function with one string.
Json custom_tool(const Json& tool, const std::string& path) {
  std::string description = text_member(tool, "description");
  const Json* format = find_member(tool, "format");
  const Json* definition = format == nullptr ? nullptr : find_member(*format, "definition");
  if (definition != nullptr && definition->is_string()) {
    description += "\nThe input follows this grammar:\n" + definition->get<std::string>();
  }
  const Json parameters = {{"type", "object"},
                           {"properties", {{"input", {{"type", "string"}}}}},
                           {"required", Json::array({"input"})}};
  return make_tool({{"name", text_member(tool, "name")},
                    {"description", std::move(description)},
                    {"parameters", parameters}},
                   path);
}

void read_tools(const Json& body, ChatRequest& request, ResponsesReplyOptions& options) {
  const Json* tools = find_member(body, "tools");
  for (std::size_t i = 0; tools != nullptr && i < tools->size(); ++i) {
    const std::string path = indexed("tools", i);
    const Json& tool = (*tools)[i];
    const std::string type = text_member(tool, "type");
    if (type == "function") {
      Json function = tool;
      function.erase("type");
      request.tools.push_back(make_tool(std::move(function), path));
    } else if (type == "custom") {
      request.tools.push_back(custom_tool(tool, path));
      options.custom_tools.insert(text_member(tool, "name"));
    } else {
      refuse(path + ".type \"" + printable(type, 60) +
                 "\" is not supported; use \"function\" or \"custom\"",
             path + ".type", "unsupported_value");
    }
  }
  if (const Json* choice = find_member(body, "tool_choice"); choice != nullptr) {
    request.tool_choice = read_tool_choice(*choice, request.tools);
  }
  request.tool_choice.parallel = bool_member(body, "parallel_tool_calls").value_or(true);
}

void refuse_what_needs_a_store(const Json& body) {
  for (const char* name : {"previous_response_id", "conversation"}) {
    if (find_member(body, name) != nullptr) {
      refuse(
          std::string(name) + " is not supported: responses are not stored; send the whole input",
          name, "unsupported_parameter");
    }
  }
  if (find_member(body, "prompt") != nullptr) {
    refuse("prompt is not supported: prompts are not stored; send instructions and input", "prompt",
           "unsupported_parameter");
  }
  if (bool_member(body, "background").value_or(false)) {
    refuse("background is not supported: responses are not stored", "background",
           "unsupported_parameter");
  }
}

Json or_null(const Json& body, const char* name) {
  const Json* value = find_member(body, name);
  return value == nullptr ? Json() : *value;
}

Json echo_of(const Json& body, const ChatRequest& request) {
  Json reasoning = {{"effort", nullptr}, {"summary", nullptr}};
  if (const Json* given = find_member(body, "reasoning"); given != nullptr) {
    reasoning["effort"] = or_null(*given, "effort");
  }
  Json text = {{"format", {{"type", "text"}}}};
  if (const Json* given = find_member(body, "text"); given != nullptr) text.update(*given);
  if (text["format"].is_null()) text["format"] = {{"type", "text"}};
  const Json* tools = find_member(body, "tools");
  const Json* choice = find_member(body, "tool_choice");
  const Json* metadata = find_member(body, "metadata");
  return {{"instructions", or_null(body, "instructions")},
          {"max_output_tokens", or_null(body, "max_output_tokens")},
          {"parallel_tool_calls", request.tool_choice.parallel},
          {"previous_response_id", nullptr},
          {"reasoning", std::move(reasoning)},
          {"store", false},
          {"temperature", or_null(body, "temperature")},
          {"text", std::move(text)},
          {"tool_choice", choice == nullptr ? Json("auto") : *choice},
          {"tools", tools == nullptr ? Json::array() : *tools},
          {"top_p", or_null(body, "top_p")},
          {"truncation", "disabled"},
          {"user", or_null(body, "user")},
          {"metadata", metadata == nullptr ? Json::object() : *metadata}};
}

bool includes(const Json& body, std::string_view what) {
  const Json* include = find_member(body, "include");
  return include != nullptr && std::find(include->begin(), include->end(), what) != include->end();
}

}  // namespace

const BodyFields kOpenAiResponsesBody = {.name = "CreateResponse", .parts = {kResponsesFields}};

ChatExchange read_openai_responses(std::string_view text) {
  const Json body = parse_object(text);
  check_body(body, kOpenAiResponsesBody);
  refuse_what_needs_a_store(body);
  ResponsesReplyOptions options;
  ChatExchange exchange;
  ChatRequest& request = exchange.request;
  request.model = text_member(body, "model");
  request.messages = read_input(body);
  request.prompt_field = "input";
  request.max_tokens = integer_member(body, "max_output_tokens").value_or(-1);
  request.sampling.temperature = float_member(body, "temperature");
  request.sampling.top_p = float_member(body, "top_p");
  request.stream = bool_member(body, "stream").value_or(false);
  request.keep_alive_seconds = read_keep_alive(body);
  read_tools(body, request, options);
  if (const Json* given = find_member(body, "text"); given != nullptr) {
    if (const Json* format = find_member(*given, "format"); format != nullptr) {
      request.format = read_response_format(*format, "text.format");
    }
  }
  if (const Json* reasoning = find_member(body, "reasoning"); reasoning != nullptr) {
    if (const auto effort = string_member(*reasoning, "effort"); effort) {
      apply_effort(request, *effort);
    }
  }
  options.logprobs = includes(body, "message.output_text.logprobs");
  if (options.logprobs) {
    request.top_logprobs = static_cast<int>(integer_member(body, "top_logprobs").value_or(0));
  }
  options.stream = request.stream;
  options.encrypted_reasoning = includes(body, "reasoning.encrypted_content");
  options.echo = echo_of(body, request);
  exchange.writer = make_responses_writer(std::move(options));
  return exchange;
}

}  // namespace hearth::serve
