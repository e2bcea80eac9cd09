// Requests of /api/chat and /api/generate.
#include <fmt/format.h>

#include <algorithm>
#include <deque>
#include <utility>

#include "serve/dialects/bodies.h"
#include "serve/dialects/json_body.h"
#include "serve/dialects/ollama.h"
#include "serve/dialects/ollama_writers.h"
#include "serve/dialects/openai_parts.h"
#include "serve/dialects/openai_writers.h"
#include "serve/dialects/prompts.h"
#include "serve/dialects/sampling_fields.h"
#include "support/error.h"
#include "support/utf8.h"

namespace hearth::serve {
namespace {

constexpr auto kOllamaOptions = concat(
    kSamplingFields,
    std::to_array<Field>({
        {.name = "num_ctx",
         .types = kInteger,
         .what = "tokens of context",
         .least = 0,
         .most = kMostInt32},
        {.name = "num_predict",
         .types = kInteger,
         .what = "most tokens to generate; -1: no limit",
         .least = -2,
         .most = kMostInt32},
        {.name = "stop",
         .types = kString | kArray,
         .items = kString,
         .most_items = 64,
         .most_bytes = kMostStopBytes},
        {.name = "num_keep", .types = kInteger, .what = "ignored: nothing is ever cut silently"},
        {.name = "num_batch", .types = kInteger, .what = "ignored: part of the setup"},
        {.name = "num_gpu", .types = kInteger, .what = "ignored: part of the setup"},
        {.name = "main_gpu", .types = kInteger, .what = "ignored: part of the setup"},
        {.name = "num_thread", .types = kInteger, .what = "ignored: part of the setup"},
        {.name = "use_mmap", .types = kBoolean, .what = "ignored: part of the setup"},
    }));

constexpr Field kOllamaCommonFields[] = {
    {.name = "model", .required = true},
    {.name = "stream", .types = kBoolean, .what = "on unless it is false"},
    {.name = "format", .types = kString | kObject, .what = "\"json\" or a JSON Schema"},
    {.name = "options", .types = kObject, .members = kOllamaOptions},
    {.name = "keep_alive", .types = kNumber | kString, .what = "seconds, or \"5m\""},
    {.name = "think", .types = kBoolean | kString},
    {.name = "truncate", .types = kBoolean, .what = "ignored: what does not fit is refused"},
    {.name = "shift", .types = kBoolean, .what = "ignored: a full context ends the reply"},
    {.name = "logprobs", .types = kBoolean},
    {.name = "top_logprobs", .types = kInteger, .least = 0, .most = 20},
};
constexpr Field kOllamaMessage[] = {
    {.name = "role", .required = true},
    {.name = "content"},
    {.name = "thinking"},
    {.name = "images", .types = kArray, .items = kString},
    {.name = "tool_calls", .types = kArray, .items = kObject},
    {.name = "tool_name"},
    {.name = "name"},
    {.name = "tool_call_id"},
};
constexpr Field kOllamaTool[] = {
    {.name = "type"},
    {.name = "function", .types = kObject},
};
constexpr Field kOllamaChatFields[] = {
    {.name = "template", .what = "refused: the model's own template is used"},
    {.name = "messages", .types = kArray, .items = kObject, .item_members = kOllamaMessage},
    {.name = "tools",
     .types = kArray,
     .items = kObject,
     .item_members = kOllamaTool,
     .most_items = 1024},
};
constexpr Field kGenerateFields[] = {
    {.name = "prompt"},
    {.name = "suffix", .what = "text after what is to be filled in"},
    {.name = "images", .types = kArray, .items = kString},
    {.name = "system"},
    {.name = "template", .what = "refused: the model's own template is used"},
    {.name = "context",
     .types = kArray,
     .what = "ids of an earlier reply, before the prompt",
     .items = kInteger},
    {.name = "raw", .types = kBoolean, .what = "the prompt is used as it is"},
};

constexpr Field kOllamaCall[] = {
    {.name = "name", .required = true},
    {.name = "arguments", .types = kObject | kString},
};

void refuse_images(const Json& holder, const std::string& path) {
  const Json* images = find_member(holder, "images");
  if (images == nullptr || images->empty()) return;
  refuse(path + " has images, and only text is understood", path, "unsupported_content");
}

/// Ollama's messages know no ids, or may leave them out: calls are numbered, and results are
/// matched to them by name, else by order.
class OllamaMessageReader {
 public:
  Json read(const Json& message, const std::string& path) {
    refuse_images(message, path + ".images");
    const std::string role = text_member(message, "role");
    if (role != "system" && role != "developer" && role != "user" && role != "assistant" &&
        role != "tool") {
      refuse(path + ".role \"" + printable(role, 40) +
                 "\" is not known; use system, user, assistant or tool",
             path + ".role");
    }
    Json result =
        make_message(role == "developer" ? "system" : role, text_member(message, "content"));
    if (std::string thinking = text_member(message, "thinking"); !thinking.empty()) {
      result["reasoning_content"] = std::move(thinking);
    }
    if (const Json* calls = find_member(message, "tool_calls");
        role == "assistant" && calls != nullptr && !calls->empty()) {
      open_.clear();
      result["tool_calls"] = read_calls(*calls, path + ".tool_calls");
    }
    if (role == "tool") match(message, result);
    return result;
  }

 private:
  struct Open {
    std::string id, name;
  };

  Json read_calls(const Json& calls, const std::string& path) {
    Json result = Json::array();
    for (std::size_t i = 0; i < calls.size(); ++i) {
      const std::string here = indexed(path, i);
      const Json* function = find_member(calls[i], "function");
      if (function == nullptr) {
        refuse(here + ".function is missing", here + ".function", "missing_required_parameter");
      }
      check_members(*function, kOllamaCall, here + ".function");
      const Json* arguments = find_member(*function, "arguments");
      std::string text;
      if (arguments != nullptr) {
        text = arguments->is_string() ? arguments->get<std::string>() : to_line(*arguments);
      }
      ++calls_;
      std::string id = text_member(calls[i], "id");
      if (id.empty()) id = "call_" + std::to_string(calls_);
      open_.push_back({id, text_member(*function, "name")});
      result.push_back(make_call(id, open_.back().name, std::move(text)));
    }
    return result;
  }

  void match(const Json& message, Json& result) {
    std::string name = text_member(message, "tool_name");
    if (name.empty()) name = text_member(message, "name");
    const std::string id = text_member(message, "tool_call_id");
    auto found = std::find_if(open_.begin(), open_.end(), [&](const Open& call) {
      return id.empty() ? name.empty() || call.name == name : call.id == id;
    });
    if (found == open_.end() && id.empty()) found = open_.begin();
    if (found != open_.end()) {
      result["tool_call_id"] = found->id;
      if (name.empty()) name = found->name;
      open_.erase(found);
    } else if (!id.empty()) {
      result["tool_call_id"] = id;
    }
    if (!name.empty()) result["name"] = name;
  }

  int calls_ = 0;
  std::deque<Open> open_;  // of the last assistant's message, not yet answered
};

OutputFormat read_format(const Json& body) {
  OutputFormat format;
  format.field = "format";
  const Json* value = find_member(body, "format");
  if (value == nullptr || *value == "") return format;
  if (value->is_string()) {
    if (*value != "json") {
      refuse("format must be \"json\" or a JSON Schema, not \"" +
                 printable(value->get_ref<const std::string&>(), 40) + "\"",
             "format");
    }
    format.kind = OutputFormat::Kind::kJsonObject;
    return format;
  }
  format.kind = OutputFormat::Kind::kJsonSchema;
  format.schema = *value;
  return format;
}

void read_common(const Json& body, GenerationRequest& request) {
  request.model = text_member(body, "model");
  request.stream = bool_member(body, "stream").value_or(true);
  request.keep_alive_seconds = read_keep_alive(body);
  request.format = read_format(body);
  if (bool_member(body, "logprobs").value_or(false)) {
    request.top_logprobs = static_cast<int>(integer_member(body, "top_logprobs").value_or(0));
  }
  const Json* options = find_member(body, "options");
  if (options == nullptr) return;
  OllamaOptions read = read_ollama_options(*options);
  request.sampling = std::move(read.sampling);
  request.max_tokens = read.max_tokens;
  request.stops = std::move(read.stops);
  request.context = read.context;
}

void read_think(const Json& body, ChatRequest& request) {
  const Json* think = find_member(body, "think");
  if (think == nullptr) return;
  if (think->is_boolean()) {
    request.thinking = think->get<bool>();
    request.must_think = *request.thinking;
    return;
  }
  const std::string& level = think->get_ref<const std::string&>();
  if (level != "low" && level != "medium" && level != "high" && level != "max") {
    refuse("think must be true, false, \"low\", \"medium\", \"high\" or \"max\", not \"" +
               printable(level, 40) + "\"",
           "think");
  }
  apply_effort(request, level);
  request.must_think = true;
}

LoadExchange load_exchange(const GenerationRequest& request, bool chat) {
  LoadExchange load;
  load.model = request.model;
  load.keep_alive_seconds = request.keep_alive_seconds;
  load.unload = request.keep_alive_seconds == 0.0;
  load.context = request.context;
  load.chat = chat;
  return load;
}

std::unique_ptr<ReplyWriter> writer_for(const GenerationRequest& request, bool chat) {
  OllamaReplyOptions options;
  options.chat = chat;
  options.stream = request.stream;
  options.logprobs = request.top_logprobs.has_value();
  return make_ollama_writer(options);
}

CompletionExchange read_raw(const Json& body, std::string prompt) {
  CompletionExchange exchange;
  read_common(body, exchange.request);
  exchange.request.prompts.push_back(std::move(prompt));
  exchange.request.tokens.emplace_back();
  exchange.request.suffix = text_member(body, "suffix");
  exchange.writer = writer_for(exchange.request, false);
  return exchange;
}

/// Discarded when `text` is no JSON, or exceeds the limits of bodies.
Json parsed_parameter(const std::string& text) {
  if (json_excess(text) != JsonExcess::kNone) return Json(Json::value_t::discarded);
  return Json::parse(text, nullptr, /*allow_exceptions=*/false);
}

}  // namespace

const BodyFields kOllamaChatBody = {.name = "OllamaChatRequest",
                                    .parts = {kOllamaCommonFields, kOllamaChatFields}};
const BodyFields kOllamaGenerateBody = {.name = "OllamaGenerateRequest",
                                        .parts = {kOllamaCommonFields, kGenerateFields}};

OllamaOptions read_ollama_options(const Json& options) {
  OllamaOptions read;
  read.sampling = read_sampling(options);
  read.max_tokens = std::max<std::int64_t>(integer_member(options, "num_predict").value_or(-1), -1);
  read.stops = strings_member(options, "stop");
  std::erase(read.stops, std::string());
  const std::int64_t context = integer_member(options, "num_ctx").value_or(0);
  if (context > 0) read.context = context;
  return read;
}

Json typed_ollama_parameters(const Json& parameters) {
  Json typed = Json::object();
  for (const auto& [name, value] : parameters.items()) {
    const std::string path = "parameters." + name;
    const bool plain = value.is_primitive() && !value.is_null();
    const bool list =
        value.is_array() && std::all_of(value.begin(), value.end(), [](const Json& each) {
          return each.is_primitive() && !each.is_null();
        });
    if (!plain && !list) {
      refuse(path + " must be a string, a number, true or false, or several of them", path,
             "invalid_type");
    }
    const auto* field = std::find_if(kOllamaOptions.begin(), kOllamaOptions.end(),
                                     [&](const Field& each) { return each.name == name; });
    const bool text =
        field != kOllamaOptions.end() && (field->types & kString) == 0 && value.is_string();
    Json parsed = text ? parsed_parameter(value.get_ref<const std::string&>()) : value;
    typed[name] = parsed.is_discarded() ? value : std::move(parsed);
  }
  check_members(typed, kOllamaOptions, "parameters");
  return typed;
}

std::vector<std::pair<std::string, std::string>> ollama_parameter_lines(
    const std::string& parameters) {
  std::vector<std::pair<std::string, std::string>> lines;
  const Json all = parsed_parameter(parameters);
  if (!all.is_object()) return lines;
  const auto add = [&lines](const std::string& name, const Json& value) {
    lines.emplace_back(name, value.is_string() ? value.get<std::string>() : to_line(value));
  };
  for (const auto& [name, value] : all.items()) {
    if (!value.is_array()) add(name, value);
    for (std::size_t i = 0; value.is_array() && i < value.size(); ++i) add(name, value[i]);
  }
  return lines;
}

ModelDefaults read_extras(const ModelExtras& extras) {
  ModelDefaults defaults;
  defaults.chat_template = extras.chat_template;
  defaults.system = to_valid_utf8(extras.system);
  defaults.adapters = extras.adapters;
  const auto attempt = [&defaults](const char* what, const auto& read) {
    try {
      read();
    } catch (const RequestError& error) {
      defaults.problems.push_back(
          fmt::format("left out of the model's own {}: {}", what, error.message));
    }
  };
  Json parameters = Json::object();
  attempt("parameters", [&] {
    if (!extras.parameters.empty()) parameters = parse_object(extras.parameters);
  });
  Json usable = Json::object();
  for (const auto& [name, value] : parameters.items()) {
    attempt("parameters", [&] {
      const Json typed = typed_ollama_parameters(Json::object({{name, value}}));
      static_cast<void>(read_ollama_options(typed));
      usable.update(typed);
    });
  }
  OllamaOptions options = read_ollama_options(usable);
  defaults.sampling = std::move(options.sampling);
  defaults.sampling.logit_bias.clear();  // of the vocabulary, nothing is known here
  defaults.stops = std::move(options.stops);
  defaults.max_tokens = options.max_tokens;
  defaults.context = options.context;
  attempt("messages", [&] {
    if (!extras.messages.empty())
      defaults.messages = read_ollama_messages(parse_json(extras.messages));
  });
  return defaults;
}

Json read_ollama_messages(const Json& messages) {
  OllamaMessageReader reader;
  Json result = Json::array();
  for (std::size_t i = 0; i < messages.size(); ++i) {
    check_members(messages[i], kOllamaMessage, indexed("messages", i));
    result.push_back(reader.read(messages[i], indexed("messages", i)));
  }
  return result;
}

OllamaExchange read_ollama_chat(std::string_view text) {
  const Json body = parse_object(text);
  check_body(body, kOllamaChatBody);
  ChatExchange exchange;
  ChatRequest& request = exchange.request;
  read_common(body, request);
  if (!text_member(body, "template").empty()) {
    refuse("template is not supported: the model's own template is used", "template",
           "unsupported_value");
  }
  const Json* messages = find_member(body, "messages");
  if (messages == nullptr || messages->empty()) return load_exchange(request, true);
  request.messages = read_ollama_messages(*messages);
  const Json& last = request.messages.back();
  request.continue_last =
      last["role"] == "assistant" && !last.contains("tool_calls") && last["content"] != "";
  if (const Json* tools = find_member(body, "tools"); tools != nullptr) {
    request.tools = read_openai_tools(*tools);
  }
  read_think(body, request);
  exchange.writer = writer_for(request, true);
  return exchange;
}

OllamaExchange read_ollama_generate(std::string_view text) {
  const Json body = parse_object(text);
  check_body(body, kOllamaGenerateBody);
  refuse_images(body, "images");
  std::string prompt = text_member(body, "prompt");
  std::string system = text_member(body, "system");
  const Json* context = find_member(body, "context");
  const bool has_context = context != nullptr && !context->empty();
  const bool has_template = !text_member(body, "template").empty();
  const bool raw = bool_member(body, "raw").value_or(false);
  if (raw && (!system.empty() || has_context || has_template)) {
    refuse("raw cannot be combined with system, template or context", "raw");
  }
  if (has_template) {
    refuse(
        "template is not supported: the model's own template is used; with \"raw\": true none is",
        "template", "unsupported_value");
  }
  ChatExchange exchange;
  ChatRequest& request = exchange.request;
  read_common(body, request);
  const bool fill = !text_member(body, "suffix").empty();
  if (prompt.empty() && !fill && system.empty()) return load_exchange(request, false);
  if (raw || fill) return read_raw(body, std::move(prompt));
  if (!system.empty()) request.messages.push_back(make_message("system", std::move(system)));
  request.messages.push_back(make_message("user", std::move(prompt)));
  if (has_context) request.earlier_tokens = read_ids(*context, "context");
  request.return_tokens = true;
  read_think(body, request);
  exchange.writer = writer_for(request, false);
  return exchange;
}

}  // namespace hearth::serve
