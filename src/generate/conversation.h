// A conversation as data, and as a file that can be saved and loaded.
#pragma once

#include <filesystem>
#include <map>
#include <nlohmann/json.hpp>
#include <string>

namespace hearth::generate {

using Json = nlohmann::ordered_json;

/// Messages in OpenAI's shape: {"role": "user" | "assistant" | "tool", "content": …, …}; the system
/// message is apart.
struct Conversation {
  std::string system;
  Json messages = Json::array();
};

/// What a saved file holds: {"format": "hearth-conversation-1", "model": …, "settings": {name:
/// value, …}, "messages": […]} with the system message first.
struct SavedConversation {
  Conversation conversation;
  std::string model;
  std::map<std::string, std::string> settings;
};

/// Replaces the file atomically; only its owner may read it. Throws Error when it cannot be
/// written.
void save_conversation(const SavedConversation& saved, const std::filesystem::path& path);

/// Throws Error naming the file when it cannot be read or is not a conversation. Depth and size of
/// the JSON are bounded.
[[nodiscard]] SavedConversation load_conversation(const std::filesystem::path& path);

}  // namespace hearth::generate
