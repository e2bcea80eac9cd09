#include "generate/conversation.h"

#include <fmt/format.h>

#include <span>
#include <utility>

#include "support/error.h"
#include "support/file.h"
#include "support/json_limits.h"
#include "support/private_file.h"
#include "support/write_target.h"

namespace hearth::generate {
namespace {

constexpr const char* kFormat = "hearth-conversation-1";
constexpr std::size_t kMaxBytes = std::size_t{256} << 20;
constexpr JsonLimits kLimits{.depth = 64};

[[noreturn]] void refuse(const std::filesystem::path& path, const std::string& why) {
  throw Error(
      fmt::format("'{}' is not a saved conversation: {}", printable(path.string(), 300), why),
      "load a file that /save wrote");
}

Json parse(const std::filesystem::path& path) {
  const std::string text = read_file(path, kMaxBytes);
  const JsonExcess excess = json_excess(text, kLimits);
  if (excess == JsonExcess::kDepth) refuse(path, "it is nested too deeply");
  if (excess != JsonExcess::kNone) refuse(path, "it holds too many values");
  try {
    return Json::parse(text);
  } catch (const Json::exception&) {
    refuse(path, "it is not valid JSON");
  }
}

void check_message(const std::filesystem::path& path, const Json& message) {
  const auto role = message.is_object() ? message.find("role") : message.end();
  if (!message.is_object() || role == message.end() || !role->is_string())
    refuse(path, "a message has no role");
  const std::string name = role->get<std::string>();
  if (name != "system" && name != "user" && name != "assistant" && name != "tool") {
    refuse(path, fmt::format("a message has the unknown role '{}'", printable(name)));
  }
  const auto content = message.find("content");
  const bool text = content != message.end() && (content->is_string() || content->is_array());
  if (!text && !message.contains("tool_calls")) refuse(path, "a message has no content");
}

}  // namespace

void save_conversation(const SavedConversation& saved, const std::filesystem::path& path) {
  Json messages = Json::array();
  if (!saved.conversation.system.empty()) {
    messages.push_back({{"role", "system"}, {"content", saved.conversation.system}});
  }
  for (const Json& message : saved.conversation.messages) messages.push_back(message);
  Json file = {{"format", kFormat}, {"model", saved.model}, {"settings", Json::object()}};
  for (const auto& [name, value] : saved.settings) file["settings"][name] = value;
  file["messages"] = std::move(messages);
  const std::string text = file.dump(2, ' ', false, Json::error_handler_t::replace) + "\n";
  // What was said is for nobody else's eyes.
  const std::filesystem::path target = write_target(path);
  UnpublishedFile written(target.has_parent_path() ? target.parent_path() : ".");
  written.write(std::as_bytes(std::span(text)));
  written.sync();
  written.publish(target.filename().string());
}

SavedConversation load_conversation(const std::filesystem::path& path) {
  const Json file = parse(path);
  if (!file.is_object() || !file.contains("format") || file["format"] != kFormat) {
    refuse(path, fmt::format("its format is not \"{}\"", kFormat));
  }
  SavedConversation result;
  if (file.contains("model") && file["model"].is_string())
    result.model = file["model"].get<std::string>();
  if (file.contains("settings")) {
    if (!file["settings"].is_object()) refuse(path, "its settings are not an object");
    for (const auto& [name, value] : file["settings"].items()) {
      if (!value.is_string())
        refuse(path, fmt::format("setting '{}' is not a string", printable(name)));
      result.settings[name] = value.get<std::string>();
    }
  }
  if (!file.contains("messages") || !file["messages"].is_array())
    refuse(path, "it has no messages");
  for (const Json& message : file["messages"]) {
    check_message(path, message);
    const auto content = message.find("content");  // tool calls need none
    const bool text = content != message.end() && content->is_string();
    if (text && message["role"] == "system" && result.conversation.messages.empty()) {
      result.conversation.system = content->get<std::string>();
    } else {
      result.conversation.messages.push_back(message);
    }
  }
  return result;
}

}  // namespace hearth::generate
