// A chat: messages are rendered by the model's template, continued by a session and read back as
// text, reasoning and tool calls. The conversation is kept here; what it has in common with the
// turn before is not evaluated again.
#pragma once

#include <cstdint>
#include <functional>
#include <optional>
#include <string>

#include "generate/conversation.h"
#include "generate/session.h"
#include "text/chat_format.h"
#include "text/prompt.h"
#include "text/reply_reader.h"

namespace hearth::generate {

/// Renders messages (the system message first, if there is one) with extra template variables into
/// a prompt that asks for an answer.
using PromptRenderer = std::function<text::Prompt(const Json& messages, const Json& variables)>;

struct ChatOptions {
  GenerateOptions generate;
  /// Nothing: what the template does by itself.
  std::optional<bool> thinking;
  /// Most tokens of reasoning: then its closing marker is written for the model. Formats without a
  /// marker cannot be cut.
  std::optional<int> thinking_budget;
  /// Tools the model is told of and whose calls are recognized. Null: every call is recognized. An
  /// empty array: none is, and what looks like one is text.
  const Json* tools = nullptr;
};

struct ChatReply {
  std::string text;
  std::string reasoning;
  Json tool_calls = Json::array();  ///< [{"id", "type": "function", "function": {"name",
                                    ///< "arguments": JSON text}}]
  GenerateResult result;
  int dropped_messages =
      0;  ///< oldest messages that were left out because the context is full (Overflow::kShift)
};

class Chat {
 public:
  /// The session must outlive the chat.
  Chat(Session& session, PromptRenderer renderer, text::ChatFormat format);

  Conversation conversation;

  /// Adds a message of the user and generates the answer, which is added too. When it was cancelled
  /// before anything was said, or fails, the conversation is left as it was. With Overflow::kShift
  /// the oldest messages are left out until a quarter of the context is free (they stay in the
  /// conversation); with kStop a conversation longer than the context is an Error (exit code 3).
  ChatReply send(const std::string& user_text, const ChatOptions& options,
                 const std::function<void(const text::ReplyEvent&)>& on_event);

  /// Replaces the last answer by another one. Throws Error when there is none.
  ChatReply retry(const ChatOptions& options,
                  const std::function<void(const text::ReplyEvent&)>& on_event);

  /// Answers the conversation as it is, without adding to it.
  ChatReply reply(const ChatOptions& options,
                  const std::function<void(const text::ReplyEvent&)>& on_event);

  [[nodiscard]] const text::ChatFormat& format() const noexcept { return format_; }

 private:
  struct Rendered {
    std::string text;
    std::vector<text::TokenId> tokens;
    std::vector<std::int64_t> boundaries;
    int dropped_messages = 0;
  };
  [[nodiscard]] Rendered render(const ChatOptions& options, const Json& variables) const;
  ChatReply ask(Json message, const ChatOptions& options,
                const std::function<void(const text::ReplyEvent&)>& on_event);
  void remember(const ChatReply& reply);

  Session& session_;
  PromptRenderer renderer_;
  text::ChatFormat format_;
};

}  // namespace hearth::generate
