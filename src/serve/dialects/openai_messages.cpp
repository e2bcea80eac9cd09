#include <map>

#include "serve/dialects/fields.h"
#include "serve/dialects/json_body.h"
#include "serve/dialects/openai_parts.h"
#include "support/error.h"

namespace hearth::serve {
namespace {

[[noreturn]] void refuse_media(std::string_view kind, const std::string& path) {
  refuse(path + " is " + std::string(kind) + ", and only text is understood", path,
         "unsupported_content");
}

std::string part_text(const Json& part, const std::string& path) {
  if (part.is_string()) return part.get<std::string>();
  const std::string type = part.is_object() ? text_member(part, "type") : std::string();
  if (type == "text" || type == "input_text" || type == "output_text" || type == "refusal") {
    const char* name = type == "refusal" ? "refusal" : "text";
    const Json* text = find_member(part, name);
    if (text != nullptr && text->is_string()) return text->get<std::string>();
    refuse(path + "." + name + " must be a string", path + "." + name, "invalid_type");
  }
  if (type.find("image") != std::string::npos) refuse_media("an image", path);
  if (type.find("audio") != std::string::npos) refuse_media("a sound", path);
  if (type.find("file") != std::string::npos) refuse_media("a file", path);
  refuse(path + ".type \"" + printable(type, 60) + "\" is not known; use \"text\"", path + ".type");
}

Json read_calls(const Json& calls, const std::string& path) {
  if (!calls.is_array()) refuse(path + " must be an array", path, "invalid_type");
  Json result = Json::array();
  for (std::size_t i = 0; i < calls.size(); ++i) {
    const std::string here = indexed(path, i);
    const Json& call = calls[i];
    if (!call.is_object()) refuse(here + " must be an object", here, "invalid_type");
    const bool custom = text_member(call, "type") == "custom";
    const char* member = custom ? "custom" : "function";
    const Json* function = find_member(call, member);
    if (function == nullptr || !function->is_object()) {
      refuse(here + "." + member + " must be an object", here + "." + member, "invalid_type");
    }
    const std::string name = text_member(*function, "name");
    if (name.empty()) {
      refuse(here + "." + member + ".name is missing", here + "." + member + ".name",
             "missing_required_parameter");
    }
    std::string arguments;
    if (custom) {
      arguments = to_line({{"input", text_member(*function, "input")}});
    } else if (const Json* given = find_member(*function, "arguments"); given != nullptr) {
      arguments = given->is_string() ? given->get<std::string>() : to_line(*given);
    }
    result.push_back(make_call(text_member(call, "id"), name, std::move(arguments)));
  }
  return result;
}

/// Reads messages one after the other; remembers what the deprecated function calls leave open.
class OpenAiMessageReader {
 public:
  Json read(const Json& message, const std::string& path) {
    static constexpr Field kMembers[] = {
        {.name = "role", .required = true},
        {.name = "content", .types = kString | kArray},
        {.name = "name"},
        {.name = "tool_call_id"},
        {.name = "reasoning_content"},
        {.name = "reasoning"},
        {.name = "refusal"},
        {.name = "tool_calls", .types = kArray, .items = kObject},
        {.name = "function_call", .types = kObject},
    };
    check_members(message, kMembers, path);
    const std::string role = text_member(message, "role");
    const Json* content = find_member(message, "content");
    std::string text =
        content == nullptr ? std::string() : content_text(*content, path + ".content");
    if (role == "system" || role == "developer") return named(message, "system", std::move(text));
    if (role == "user") return named(message, "user", std::move(text));
    if (role == "assistant") return assistant(message, std::move(text), path);
    if (role == "tool") return tool(message, std::move(text), path);
    if (role == "function") return function_result(message, std::move(text));
    refuse(path + ".role \"" + printable(role, 40) +
               "\" is not known; use system, developer, user, assistant or tool",
           path + ".role");
  }

 private:
  static Json named(const Json& message, std::string_view role, std::string text) {
    Json result = make_message(role, std::move(text));
    if (std::string name = text_member(message, "name"); !name.empty()) {
      result["name"] = std::move(name);
    }
    return result;
  }

  Json assistant(const Json& message, std::string text, const std::string& path) {
    if (text.empty()) text = text_member(message, "refusal");
    Json result = named(message, "assistant", std::move(text));
    std::string reasoning = text_member(message, "reasoning_content");
    if (reasoning.empty()) reasoning = text_member(message, "reasoning");
    if (!reasoning.empty()) result["reasoning_content"] = std::move(reasoning);
    if (const Json* calls = find_member(message, "tool_calls");
        calls != nullptr && !calls->empty()) {
      result["tool_calls"] = read_calls(*calls, path + ".tool_calls");
    } else if (const Json* call = find_member(message, "function_call"); call != nullptr) {
      last_legacy_id_ = "call_legacy" + std::to_string(++legacy_calls_);
      const Json as_calls = Json::array({{{"id", last_legacy_id_}, {"function", *call}}});
      result["tool_calls"] = read_calls(as_calls, path + ".function_call");
    }
    return result;
  }

  static Json tool(const Json& message, std::string text, const std::string& path) {
    Json result = named(message, "tool", std::move(text));
    std::string id = text_member(message, "tool_call_id");
    if (id.empty() && !result.contains("name")) {
      refuse(path + ".tool_call_id is missing", path + ".tool_call_id",
             "missing_required_parameter");
    }
    if (!id.empty()) result["tool_call_id"] = std::move(id);
    return result;
  }

  Json function_result(const Json& message, std::string text) const {
    Json result = named(message, "tool", std::move(text));
    if (!last_legacy_id_.empty()) result["tool_call_id"] = last_legacy_id_;
    return result;
  }

  int legacy_calls_ = 0;
  std::string last_legacy_id_;
};

}  // namespace

Json make_message(std::string_view role, std::string text) {
  return {{"role", role}, {"content", std::move(text)}};
}

Json make_call(std::string id, std::string name, std::string arguments) {
  if (arguments.empty()) arguments = "{}";
  Json call = Json::object();
  if (!id.empty()) call["id"] = std::move(id);
  call["type"] = "function";
  call["function"] = {{"name", std::move(name)}, {"arguments", std::move(arguments)}};
  return call;
}

std::string content_text(const Json& content, std::string_view path) {
  if (content.is_string()) return content.get<std::string>();
  if (content.is_null()) return {};
  if (!content.is_array()) {
    refuse(std::string(path) + " must be a string or an array", std::string(path), "invalid_type");
  }
  std::string text;
  for (std::size_t i = 0; i < content.size(); ++i) {
    if (i != 0) text += '\n';
    text += part_text(content[i], indexed(path, i));
  }
  return text;
}

void name_tool_results(Json& messages) {
  std::map<std::string, std::string, std::less<>> names;
  for (Json& message : messages) {
    if (const Json* calls = find_member(message, "tool_calls"); calls != nullptr) {
      for (const Json& call : *calls) {
        names[text_member(call, "id")] = call["function"]["name"].get<std::string>();
      }
    }
    if (message["role"] != "tool" || message.contains("name")) continue;
    const auto found = names.find(text_member(message, "tool_call_id"));
    if (found != names.end()) message["name"] = found->second;
  }
}

Json read_openai_messages(const Json& messages) {
  if (!messages.is_array()) refuse("messages must be an array", "messages", "invalid_type");
  if (messages.empty()) refuse("messages is empty", "messages", "empty_array");
  OpenAiMessageReader reader;
  Json result = Json::array();
  for (std::size_t i = 0; i < messages.size(); ++i) {
    result.push_back(reader.read(messages[i], indexed("messages", i)));
  }
  name_tool_results(result);
  return result;
}

}  // namespace hearth::serve
