// POST /v1/chat/completions: the request.
#include <utility>

#include "serve/dialects/bodies.h"
#include "serve/dialects/json_body.h"
#include "serve/dialects/openai.h"
#include "serve/dialects/openai_parts.h"
#include "serve/dialects/openai_writers.h"
#include "serve/dialects/sampling_fields.h"

namespace hearth::serve {
namespace {

constexpr std::string_view kChatEfforts[] = {"none", "minimal", "low", "medium",
                                             "high", "xhigh",   "max"};

constexpr Field kStreamOptions[] = {
    {.name = "include_usage", .types = kBoolean, .what = "a last chunk with the usage"},
    {.name = "include_obfuscation", .types = kBoolean},
};
constexpr Field kChatReasoning[] = {
    {.name = "effort", .words = kChatEfforts},
    {.name = "enabled", .types = kBoolean},
    {.name = "max_tokens", .types = kInteger, .least = 0, .most = kMostInt32},
};
constexpr Field kResponseFormat[] = {
    {.name = "type"},
    {.name = "json_schema", .types = kObject},
    {.name = "schema", .types = kObject | kBoolean},
};
constexpr Field kChatTool[] = {
    {.name = "type"},
    {.name = "function", .types = kObject},
};
constexpr Field kChatMessage[] = {
    {.name = "role", .required = true},
    {.name = "content", .types = kString | kArray, .what = "text, or parts with text"},
    {.name = "name"},
    {.name = "tool_calls", .types = kArray, .items = kObject},
    {.name = "tool_call_id"},
    {.name = "reasoning_content", .what = "of an assistant's message"},
};
constexpr Field kLegacyFunction[] = {
    {.name = "name", .required = true},
    {.name = "description"},
    {.name = "parameters", .types = kObject},
};

constexpr Field kChatFields[] = {
    {.name = "model"},
    {.name = "messages",
     .types = kArray,
     .required = true,
     .items = kObject,
     .item_members = kChatMessage},
    {.name = "tools",
     .types = kArray,
     .items = kObject,
     .item_members = kChatTool,
     .most_items = 1024},
    {.name = "tool_choice", .types = kString | kObject},
    {.name = "parallel_tool_calls", .types = kBoolean},
    {.name = "functions",
     .types = kArray,
     .what = "deprecated",
     .items = kObject,
     .item_members = kLegacyFunction,
     .most_items = 1024},
    {.name = "function_call", .types = kString | kObject, .what = "deprecated"},
    {.name = "max_completion_tokens", .types = kInteger, .least = -1, .most = kMostInt32},
    {.name = "logprobs", .types = kBoolean},
    {.name = "top_logprobs", .types = kInteger, .least = 0, .most = 20},
    {.name = "response_format", .types = kObject, .members = kResponseFormat},
    {.name = "reasoning_effort", .words = kChatEfforts},
    {.name = "reasoning", .types = kObject, .members = kChatReasoning},
    {.name = "chat_template_kwargs", .types = kObject, .what = "variables for the template"},
    {.name = "enable_thinking", .types = kBoolean},
    {.name = "thinking_budget",
     .types = kInteger,
     .what = "most tokens of reasoning",
     .least = -1,
     .most = kMostInt32},
};

constexpr Field kGenerationFields[] = {
    {.name = "max_tokens",
     .types = kInteger,
     .what = "-1: no limit",
     .least = -1,
     .most = kMostInt32},
    {.name = "n", .types = kInteger, .what = "choices", .least = 1, .most = 128},
    {.name = "stop",
     .types = kString | kArray,
     .items = kString,
     .most_items = 64,
     .most_bytes = kMostStopBytes},
    {.name = "stream", .types = kBoolean},
    {.name = "stream_options", .types = kObject, .members = kStreamOptions},
    {.name = "grammar", .what = "GBNF or Lark-like"},
    {.name = "json_schema", .types = kObject | kBoolean},
    {.name = "keep_alive", .types = kNumber | kString, .what = "seconds, or \"5m\""},
    {.name = "cache_prompt", .types = kBoolean},
    {.name = "post_sampling_probs", .types = kBoolean, .what = "refused when true"},
    {.name = "ignore_eos", .types = kBoolean, .what = "refused when true"},
    {.name = "lora", .types = kArray, .what = "refused unless empty"},
};

/// What llama-server does for these would change the answer.
void refuse_unsupported(const Json& body) {
  for (const char* name : {"post_sampling_probs", "ignore_eos"}) {
    if (!bool_member(body, name).value_or(false)) continue;
    refuse(std::string(name) + " is not supported", name, "unsupported_parameter");
  }
  if (const Json* adapters = find_member(body, "lora"); adapters != nullptr && !adapters->empty()) {
    refuse("lora is not supported: adapters belong to the setup", "lora", "unsupported_parameter");
  }
}

void read_tools(const Json& body, ChatRequest& request, OpenAiReplyOptions& options) {
  if (const Json* tools = find_member(body, "tools"); tools != nullptr) {
    request.tools = read_openai_tools(*tools);
  } else if (const Json* functions = find_member(body, "functions");
             functions != nullptr && !functions->empty()) {
    options.legacy_functions = true;
    request.tools = Json::array();
    for (std::size_t i = 0; i < functions->size(); ++i) {
      request.tools.push_back(make_tool((*functions)[i], indexed("functions", i)));
    }
    request.tool_choice.parallel = false;
  }
  const char* choice_name = options.legacy_functions ? "function_call" : "tool_choice";
  if (const Json* choice = find_member(body, choice_name); choice != nullptr) {
    const bool parallel = request.tool_choice.parallel;
    request.tool_choice = read_tool_choice(*choice, request.tools);
    request.tool_choice.parallel = parallel;
  }
  if (const std::optional<bool> parallel = bool_member(body, "parallel_tool_calls"); parallel) {
    request.tool_choice.parallel = *parallel && !options.legacy_functions;
  }
}

void read_chat_thinking(const Json& body, ChatRequest& request) {
  if (const Json* reasoning = find_member(body, "reasoning"); reasoning != nullptr) {
    if (const auto enabled = bool_member(*reasoning, "enabled"); enabled) {
      request.thinking = *enabled;
    }
    if (const auto effort = string_member(*reasoning, "effort"); effort) {
      apply_effort(request, *effort);
    }
    if (const auto budget = integer_member(*reasoning, "max_tokens"); budget) {
      request.thinking_budget = static_cast<int>(*budget);
    }
  }
  if (const auto effort = string_member(body, "reasoning_effort"); effort) {
    apply_effort(request, *effort);
  }
  if (const auto enabled = bool_member(body, "enable_thinking"); enabled) {
    request.thinking = *enabled;
  }
  if (const auto budget = integer_member(body, "thinking_budget"); budget && *budget >= 0) {
    request.thinking_budget = static_cast<int>(*budget);
  }
  // What is asked of the template by name wins over what was derived.
  if (const Json* variables = find_member(body, "chat_template_kwargs"); variables != nullptr) {
    for (const auto& [name, value] : variables->items()) request.template_variables[name] = value;
  }
}

void read_logprobs(const Json& body, ChatRequest& request) {
  const std::optional<std::int64_t> top = integer_member(body, "top_logprobs");
  if (bool_member(body, "logprobs").value_or(false)) {
    request.top_logprobs = static_cast<int>(top.value_or(0));
  } else if (top.value_or(0) > 0) {
    refuse("top_logprobs needs \"logprobs\": true", "top_logprobs");
  }
}

/// A last message of the assistant is the beginning of the answer, as llama-server has it.
bool is_prefill(const Json& messages) {
  const Json& last = messages.back();
  return last["role"] == "assistant" && !last.contains("tool_calls") && last["content"] != "";
}

}  // namespace

const BodyFields kOpenAiChatBody = {.name = "CreateChatCompletionRequest",
                                    .parts = {kChatFields, kGenerationFields, kSamplingFields}};

std::span<const Field> generation_fields() { return kGenerationFields; }

void read_generation(const Json& body, GenerationRequest& request, BiasKeys bias) {
  refuse_unsupported(body);
  request.model = text_member(body, "model");
  request.sampling = read_sampling(body, bias);
  request.format = read_output_format(body);
  request.max_tokens = integer_member(body, "max_tokens").value_or(-1);
  request.choices = static_cast<int>(integer_member(body, "n").value_or(1));
  request.stops = strings_member(body, "stop");
  std::erase(request.stops, std::string());
  request.stream = bool_member(body, "stream").value_or(false);
  if (const Json* options = find_member(body, "stream_options"); options != nullptr) {
    request.stream_usage = bool_member(*options, "include_usage").value_or(false);
  }
  request.keep_alive_seconds = read_keep_alive(body);
}

std::optional<double> read_keep_alive(const Json& body) {
  const Json* value = find_member(body, "keep_alive");
  if (value == nullptr) return std::nullopt;
  if (value->is_number()) return value->get<double>();
  const std::optional<double> seconds =
      value->is_string() ? duration_seconds(value->get_ref<const std::string&>()) : std::nullopt;
  if (!seconds) {
    refuse("keep_alive must be a number of seconds or a duration such as \"5m\"", "keep_alive");
  }
  return seconds;
}

ChatRequest read_openai_chat_request(const Json& body, OpenAiReplyOptions& options) {
  check_body(body, kOpenAiChatBody);
  ChatRequest request;
  read_generation(body, request);
  if (const auto most = integer_member(body, "max_completion_tokens"); most) {
    request.max_tokens = *most;
  }
  request.messages = read_openai_messages(body["messages"]);
  request.prompt_field = "messages";
  request.continue_last = is_prefill(request.messages);
  read_tools(body, request, options);
  read_chat_thinking(body, request);
  read_logprobs(body, request);
  options.stream = request.stream;
  options.usage = request.stream_usage;
  options.logprobs = request.top_logprobs.has_value();
  return request;
}

ChatExchange read_openai_chat(std::string_view body) {
  OpenAiReplyOptions options;
  ChatExchange exchange;
  exchange.request = read_openai_chat_request(parse_object(body), options);
  exchange.writer = make_openai_chat_writer(options);
  return exchange;
}

}  // namespace hearth::serve
