#include "text/chat_template.h"

#include <algorithm>
#include <array>
#include <nlohmann/json.hpp>

#include "support/error.h"
#include "support/json_limits.h"
#include "text/jinja/template.h"

namespace hearth::text {
namespace {

using Json = nlohmann::ordered_json;

/// Probing renders run on every model load: a template that needs more than this for three messages
/// is not usable.
constexpr jinja::Limits kProbeLimits{
    .steps = 2'000'000, .memory_bytes = 64U << 20, .string_bytes = 4U << 20};

// Words that no template contains by itself.
constexpr const char* kUser = "zqUserText";
constexpr const char* kSystem = "zqSystemText";
constexpr const char* kReply = "zqReplyText";
constexpr const char* kResult = "zqResultText";

bool has(const std::optional<std::string>& text, std::string_view word) {
  return text && text->find(word) != std::string::npos;
}

Json message(const char* role, Json content) {
  return {{"role", role}, {"content", std::move(content)}};
}

Json call_messages(Json arguments, Json content, const char* id) {
  Json assistant = message("assistant", std::move(content));
  const Json function = {{"name", "zqFunction"}, {"arguments", std::move(arguments)}};
  assistant["tool_calls"] =
      Json::array({Json{{"id", id}, {"type", "function"}, {"function", function}}});
  Json result = message("tool", kResult);
  result["tool_call_id"] = id;
  result["name"] = "zqFunction";
  return Json::array({message("user", kUser), assistant, result});
}

bool is_role(const Json& message, std::string_view role) {
  return message["role"].get_ref<const std::string&>() == role;
}

}  // namespace

ChatTemplate::ChatTemplate(std::string source, std::string name)
    : source_(std::move(source)),
      template_(std::make_unique<jinja::Template>(source_, std::move(name))) {
  probe_roles();
  probe_content();
  probe_tools();
}

ChatTemplate::~ChatTemplate() = default;
ChatTemplate::ChatTemplate(ChatTemplate&&) noexcept = default;
ChatTemplate& ChatTemplate::operator=(ChatTemplate&&) noexcept = default;

Prompt ChatTemplate::render(const ChatRequest& request) const {
  Json context = request.extra != nullptr ? *request.extra : Json::object();
  if (!context.is_object()) throw Error("the template's extra variables must be a JSON object");
  context["messages"] = request.messages != nullptr ? *request.messages : Json::array();
  context["tools"] = request.tools != nullptr && !request.tools->empty() ? *request.tools : Json();
  context["documents"] = request.documents != nullptr ? *request.documents : Json();
  context["add_generation_prompt"] = request.add_generation_prompt;
  return render_context(context, request.special_tokens,
                        request.now ? *request.now : DateTime::now());
}

Prompt ChatTemplate::render_context(const Json& context,
                                    const std::map<std::string, std::string>& trusted,
                                    const DateTime& now) const {
  return template_->render(context, trusted, now);
}

std::optional<std::string> ChatTemplate::try_render(const Json& messages, const Json* tools) const {
  const Json context = {{"messages", messages},
                        {"tools", tools != nullptr ? *tools : Json()},
                        {"documents", nullptr},
                        {"add_generation_prompt", false}};
  try {
    return template_
        ->render(context, {{"bos_token", ""}, {"eos_token", ""}}, DateTime{}, kProbeLimits)
        .str();
  } catch (const jinja::TemplateError&) {
    return std::nullopt;
  }
}

void ChatTemplate::probe_roles() {
  const Json user = message("user", kUser);
  const Json system = message("system", kSystem);
  const Json reply = message("assistant", kReply);
  const auto with_system = try_render(Json::array({system, user}));
  capabilities_.system_role = has(with_system, kSystem) && has(with_system, kUser);
  const auto later =
      try_render(Json::array({system, user, reply, message("system", "zqLater"), user}));
  capabilities_.later_system = capabilities_.system_role && has(later, "zqLater");
  // Most templates print any role name; one that knows this role mentions it.
  const auto developer = try_render(Json::array({message("developer", kSystem), user}));
  capabilities_.developer_role =
      source_.find("developer") != std::string::npos && has(developer, kSystem);
  const auto twice = try_render(
      Json::array({user, message("user", "zqSecond"), reply, message("assistant", "zqThird")}));
  capabilities_.consecutive_roles =
      has(twice, kUser) && has(twice, "zqSecond") && has(twice, kReply) && has(twice, "zqThird");
}

void ChatTemplate::probe_content() {
  capabilities_.string_content = has(try_render(Json::array({message("user", kUser)})), kUser);
  const Json parts = Json::array({Json{{"type", "text"}, {"text", kUser}}});
  const auto rendered = try_render(Json::array({message("user", parts)}));
  // A template that does not know parts fails or prints the list.
  capabilities_.content_parts =
      has(rendered, kUser) && !has(rendered, "'text'") && !has(rendered, "\"text\"");
}

void ChatTemplate::probe_tools() {
  const Json tool = {
      {"type", "function"},
      {"function",
       {{"name", "zqDeclared"},
        {"description", "d"},
        {"parameters",
         {{"type", "object"}, {"properties", Json::object()}, {"required", Json::array()}}}}}};
  const Json tools = Json::array({tool});
  capabilities_.tools =
      has(try_render(Json::array({message("user", kUser)}), &tools), "zqDeclared");

  constexpr const char* kId = "abc123DEF";  // nine letters and digits: every template takes it
  const Json object = {{"zqKey", "zqValue"}};
  const std::string text = object.dump();
  // Some templates refuse calls with empty text beside them, or need text; try both.
  for (const char* content : {"", kReply}) {
    const auto as_object = try_render(call_messages(object, content, kId));
    const auto as_text = try_render(call_messages(text, content, kId));
    const bool object_works = has(as_object, "zqFunction") && has(as_object, "zqValue");
    const bool text_works = has(as_text, "zqFunction") && has(as_text, "zqValue");
    if (!object_works && !text_works) continue;
    capabilities_.tool_calls = true;
    // A Python dict in the output means the template concatenates what it expects to be text.
    const bool object_is_printed_raw = has(as_object, "{'zqKey'");
    capabilities_.object_arguments = object_works && !(object_is_printed_raw && text_works);
    const Json arguments = capabilities_.object_arguments ? object : Json(text);
    const auto null_content = try_render(call_messages(arguments, nullptr, kId));
    capabilities_.null_content = has(null_content, "zqFunction") && !has(null_content, "None");
    capabilities_.any_call_id =
        has(try_render(call_messages(arguments, content, "call_0123456789")), "zqFunction");
    return;
  }
}

// Normalization
// ------------------------------------------------------------------------------------------------------

namespace {

/// The text of content in any form: a string, null, or parts of which the texts are joined.
std::string content_text(const Json& content) {
  if (content.is_string()) return content.get<std::string>();
  std::string text;
  if (!content.is_array()) return text;
  for (const Json& part : content) {
    if (part.is_string()) {
      text += part.get<std::string>();
    } else if (part.is_object() && part.contains("text") && part["text"].is_string()) {
      text += part["text"].get<std::string>();
    }
  }
  return text;
}

bool only_text(const Json& parts) {
  return std::all_of(parts.begin(), parts.end(), [](const Json& part) {
    return part.is_string() ||
           (part.is_object() && part.contains("text") && part["text"].is_string());
  });
}

/// Nine letters and digits made from any id; the same id always gives the same.
std::string short_id(const std::string& id) {
  const bool fits =
      id.size() == 9 && std::all_of(id.begin(), id.end(), [](char c) {
        return (c >= '0' && c <= '9') || (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z');
      });
  if (fits) return id;
  std::uint64_t hash = 14695981039346656037ULL;  // FNV-1a
  for (const char c : id) hash = (hash ^ static_cast<unsigned char>(c)) * 1099511628211ULL;
  std::string result;
  for (int i = 0; i < 9; ++i) {
    result += "0123456789abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ"[hash % 62];
    hash /= 62;
  }
  return result;
}

/// Text that a model or a client wrote as JSON; discarded when it is none, or nested so deeply that
/// copying it would need a deep stack, or holds so much that reading it would take long.
Json parse_arguments(const std::string& text) {
  if (json_excess(text, {.depth = 128}) != JsonExcess::kNone) return Json(Json::value_t::discarded);
  return Json::parse(text, nullptr, /*allow_exceptions=*/false);
}

void normalize_call(Json& call, const TemplateCapabilities& capabilities) {
  if (!call.is_object()) return;
  Json& function =
      call.contains("function") && call["function"].is_object() ? call["function"] : call;
  if (function.contains("arguments")) {
    Json& arguments = function["arguments"];
    if (capabilities.object_arguments && arguments.is_string()) {
      // Text that is not JSON (a model may have written it) stays as it is.
      Json parsed = parse_arguments(arguments.get_ref<const std::string&>());
      if (parsed.is_object()) arguments = std::move(parsed);
      if (arguments.is_string() && arguments.get_ref<const std::string&>().empty())
        arguments = Json::object();
    } else if (!capabilities.object_arguments && !arguments.is_string()) {
      arguments = arguments.dump(-1, ' ', false, Json::error_handler_t::replace);
    }
  }
  if (!capabilities.any_call_id && call.contains("id") && call["id"].is_string()) {
    call["id"] = short_id(call["id"].get_ref<const std::string&>());
  }
}

void normalize_content(Json& entry, const TemplateCapabilities& capabilities) {
  const bool has_calls = entry.contains("tool_calls") && entry["tool_calls"].is_array() &&
                         !entry["tool_calls"].empty();
  Json& content = entry["content"];  // null when absent
  if (content.is_null()) {
    if (!(has_calls && capabilities.null_content)) content = "";
  } else if (content.is_array() && !capabilities.content_parts) {
    content = content_text(content);
  } else if (content.is_array() && capabilities.string_content && only_text(content)) {
    content = content_text(content);  // plain text is what every template handles best
  } else if (content.is_string() && !capabilities.string_content && capabilities.content_parts) {
    content = Json::array({Json{{"type", "text"}, {"text", content.get<std::string>()}}});
  }
}

/// Adds the content of `from` to that of `into`, with an empty line between two texts.
void append_content(Json& into, const Json& from) {
  Json& content = into["content"];
  if (content.is_array() || from["content"].is_array()) {
    const auto as_parts = [](const Json& value) {
      if (value.is_array()) return value;
      return Json::array({Json{{"type", "text"}, {"text", content_text(value)}}});
    };
    Json parts = as_parts(content);
    for (const Json& part : as_parts(from["content"])) parts.push_back(part);
    content = std::move(parts);
    return;
  }
  const std::string first = content_text(content);
  const std::string second = content_text(from["content"]);
  content = first.empty() || second.empty() ? first + second : first + "\n\n" + second;
}

/// Puts system messages where the template takes them.
Json place_system_messages(Json messages, const TemplateCapabilities& capabilities) {
  Json system;
  Json rest = Json::array();
  for (Json& entry : messages) {
    const bool moves =
        is_role(entry, "system") && (!capabilities.system_role || !capabilities.later_system);
    if (!moves) {
      rest.push_back(std::move(entry));
    } else if (system.is_null()) {
      system = std::move(entry);
    } else {
      append_content(system, entry);
    }
  }
  if (system.is_null()) return rest;
  if (!capabilities.system_role) {
    // Into the first user message, which gets it in front.
    system["role"] = "user";
    const auto user = std::find_if(rest.begin(), rest.end(),
                                   [](const Json& entry) { return is_role(entry, "user"); });
    if (user != rest.end()) {
      append_content(system, *user);
      (*user)["content"] = system["content"];
      return rest;
    }
  }
  rest.insert(rest.begin(), std::move(system));
  return rest;
}

Json merge_consecutive(Json messages) {
  Json merged = Json::array();
  for (Json& entry : messages) {
    const bool mergeable = !merged.empty() && entry["role"] == merged.back()["role"] &&
                           (is_role(entry, "user") || is_role(entry, "assistant")) &&
                           !(entry.contains("tool_calls") && merged.back().contains("tool_calls"));
    if (!mergeable) {
      merged.push_back(std::move(entry));
      continue;
    }
    append_content(merged.back(), entry);
    for (auto& [key, value] : entry.items()) {
      if (!merged.back().contains(key)) merged.back()[key] = value;
    }
  }
  return merged;
}

}  // namespace

Json normalize_messages(const Json& messages, const TemplateCapabilities& capabilities) {
  if (!messages.is_array())
    throw Error("'messages' must be an array", "see the OpenAI chat completions format");
  Json result = Json::array();
  for (const Json& original : messages) {
    if (!original.is_object() || !original.contains("role") || !original["role"].is_string()) {
      throw Error(
          "message " + std::to_string(result.size() + 1) + " is not an object with a 'role'",
          "write it like {\"role\": \"user\", \"content\": \"Hello\"}");
    }
    Json entry = original;
    if (is_role(entry, "developer") && !capabilities.developer_role) entry["role"] = "system";
    normalize_content(entry, capabilities);
    if (entry.contains("tool_calls") && entry["tool_calls"].is_array()) {
      for (Json& call : entry["tool_calls"]) normalize_call(call, capabilities);
    }
    if (!capabilities.any_call_id && entry.contains("tool_call_id") &&
        entry["tool_call_id"].is_string()) {
      entry["tool_call_id"] = short_id(entry["tool_call_id"].get_ref<const std::string&>());
    }
    result.push_back(std::move(entry));
  }
  result = place_system_messages(std::move(result), capabilities);
  return capabilities.consecutive_roles ? result : merge_consecutive(std::move(result));
}

// Metadata
// -----------------------------------------------------------------------------------------------------------

std::optional<std::string> find_chat_template(const gguf::Metadata& metadata, bool with_tools) {
  std::optional<std::string_view> found;
  if (with_tools) found = metadata.get_string("tokenizer.chat_template.tool_use");
  if (!found) found = metadata.get_string("tokenizer.chat_template");
  if (!found) found = metadata.get_string("tokenizer.chat_template.default");
  if (!found) return std::nullopt;
  return std::string(*found);
}

std::map<std::string, std::string> special_token_texts(const gguf::Metadata& metadata) {
  constexpr std::array<std::pair<const char*, const char*>, 7> kNames = {{
      {"bos", "bos_token"},
      {"eos", "eos_token"},
      {"unknown", "unk_token"},
      {"padding", "pad_token"},
      {"seperator", "sep_token"},  // the key is spelled like this in GGUF
      {"cls", "cls_token"},
      {"mask", "mask_token"},
  }};
  std::map<std::string, std::string> texts;
  const auto tokens = metadata.get_strings("tokenizer.ggml.tokens");
  if (!tokens) return texts;
  for (const auto& [key, variable] : kNames) {
    const auto id = metadata.get_uint("tokenizer.ggml." + std::string(key) + "_token_id");
    if (id && *id < tokens->size()) texts.emplace(variable, std::string((*tokens)[*id]));
  }
  return texts;
}

}  // namespace hearth::text
