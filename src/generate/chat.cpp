#include "generate/chat.h"

#include <fmt/format.h>

#include <algorithm>
#include <utility>

#include "generate/reasoning_budget.h"
#include "support/error.h"

namespace hearth::generate {
namespace {

/// Collects the events of one reply and cuts its reasoning when that becomes too long.
class ReplyCollector {
 public:
  ReplyCollector(Session& session, const text::ChatFormat& format, const ChatOptions& options,
                 std::optional<int> budget, std::string_view prompt,
                 const std::function<void(const text::ReplyEvent&)>& on_event)
      : session_(session),
        budget_(format, budget, prompt),
        reader_(format,
                text::ReplyOptions{.tools = options.tools, .prompt = prompt, .earlier_calls = 0}),
        on_event_(on_event) {}

  /// False when the reply is over.
  bool push(const Piece& piece) {
    take(reader_.push(piece.text,
                      piece.control ? text::PieceKind::kControl : text::PieceKind::kText));
    // Hearth writes this, so it may be a control token.
    if (const std::optional<std::string> close = budget_.piece(piece.text, piece.tokens)) {
      session_.force(session_.tokenizer().encode(
          *close, text::EncodeOptions{.add_special = false, .parse_special = true}));
    }
    return !reader_.stopped();
  }

  void finish() { take(reader_.finish()); }

  ChatReply reply;

 private:
  void take(const std::vector<text::ReplyEvent>& events) {
    for (const text::ReplyEvent& event : events) {
      budget_.event(event);
      switch (event.kind) {
        case text::ReplyEvent::Kind::kText:
          reply.text += event.text;
          break;
        case text::ReplyEvent::Kind::kReasoning:
          reply.reasoning += event.text;
          break;
        case text::ReplyEvent::Kind::kToolCallEnd:
          reply.tool_calls.push_back(
              {{"id", event.id},
               {"type", "function"},
               {"function", {{"name", event.name}, {"arguments", event.text}}}});
          break;
        default:
          break;
      }
      on_event_(event);
    }
  }

  Session& session_;
  ReasoningBudget budget_;
  text::ReplyReader reader_;
  const std::function<void(const text::ReplyEvent&)>& on_event_;
};

}  // namespace

Chat::Chat(Session& session, PromptRenderer renderer, text::ChatFormat format)
    : session_(session), renderer_(std::move(renderer)), format_(std::move(format)) {}

Chat::Rendered Chat::render(const ChatOptions& options, const Json& variables) const {
  const std::int64_t context = session_.context();
  const bool shift = options.generate.overflow == Overflow::kShift;
  const std::int64_t most = shift ? context - context / 4 : context;
  Rendered result;
  bool one_turn = false;
  for (std::size_t first = 0;;) {
    Json messages = Json::array();
    if (!conversation.system.empty())
      messages.push_back({{"role", "system"}, {"content", conversation.system}});
    for (std::size_t index = first; index < conversation.messages.size(); ++index) {
      messages.push_back(conversation.messages[index]);
    }
    const text::Prompt prompt = renderer_(messages, variables);
    result.text = prompt.str();
    result.tokens = prompt_tokens(session_.tokenizer(), prompt);
    result.boundaries = prompt_boundaries(session_.tokenizer(), prompt, result.tokens);
    result.dropped_messages = static_cast<int>(first);
    if (static_cast<std::int64_t>(result.tokens.size()) <= most) return result;
    // Drop the oldest turn: up to the next message of the user.
    std::size_t next = first + 1;
    while (next < conversation.messages.size() && conversation.messages[next]["role"] != "user")
      ++next;
    one_turn = next >= conversation.messages.size();
    if (!shift || one_turn) break;
    first = next;
  }
  if (static_cast<std::int64_t>(result.tokens.size()) <= context) return result;
  if (one_turn) {
    throw Error(fmt::format("the message alone makes {} tokens, but the context holds {}",
                            result.tokens.size(), context),
                "shorten it, or ask for a larger context with --ctx", ExitCode::kDoesNotFit);
  }
  throw Error(fmt::format("the conversation has {} tokens, but the context holds {}",
                          result.tokens.size(), context),
              "let old turns go with /set overflow shift, start anew with /clear, or leave and ask "
              "for a larger context with --ctx",
              ExitCode::kDoesNotFit);
}

ChatReply Chat::reply(const ChatOptions& options,
                      const std::function<void(const text::ReplyEvent&)>& on_event) {
  Json variables = Json::object();
  std::optional<int> budget = options.thinking_budget;
  if (options.thinking.has_value()) {
    variables = text::thinking_arguments(format_, *options.thinking,
                                         *options.thinking ? budget : std::nullopt);
    // A template without a switch: reasoning is closed as soon as it opens.
    if (!*options.thinking && variables.empty()) budget = 0;
  }
  const Rendered rendered = render(options, variables);
  GenerateOptions generate = options.generate;
  generate.control_pieces = true;
  generate.boundaries = rendered.boundaries;
  generate.overflow = Overflow::kStop;
  ReplyCollector collector(session_, format_, options, budget, rendered.text, on_event);
  GenerateResult result = session_.generate(
      rendered.tokens, generate, [&](const Piece& piece) { return collector.push(piece); });
  collector.finish();
  ChatReply reply = std::move(collector.reply);
  reply.result = std::move(result);
  reply.dropped_messages = rendered.dropped_messages;
  return reply;
}

void Chat::remember(const ChatReply& reply) {
  Json message = {{"role", "assistant"}, {"content", reply.text}};
  if (!reply.reasoning.empty()) message["reasoning_content"] = reply.reasoning;
  if (!reply.tool_calls.empty()) message["tool_calls"] = reply.tool_calls;
  conversation.messages.push_back(std::move(message));
}

ChatReply Chat::ask(Json message, const ChatOptions& options,
                    const std::function<void(const text::ReplyEvent&)>& on_event) {
  const Json before = conversation.messages;
  conversation.messages.push_back(std::move(message));
  try {
    ChatReply answer = reply(options, on_event);
    const bool nothing = answer.text.empty() && answer.tool_calls.empty();
    if (answer.result.finish == FinishReason::kCancelled && nothing) {
      conversation.messages = before;
    } else {
      remember(answer);
    }
    return answer;
  } catch (...) {
    conversation.messages = before;
    throw;
  }
}

ChatReply Chat::send(const std::string& user_text, const ChatOptions& options,
                     const std::function<void(const text::ReplyEvent&)>& on_event) {
  return ask({{"role", "user"}, {"content", user_text}}, options, on_event);
}

ChatReply Chat::retry(const ChatOptions& options,
                      const std::function<void(const text::ReplyEvent&)>& on_event) {
  const Json before = conversation.messages;
  std::size_t last = before.size();
  while (last > 0 && before[last - 1]["role"] != "user") --last;
  if (last == 0) throw Error("there is no answer to retry", "write a message first");
  conversation.messages.erase(conversation.messages.begin() + static_cast<std::ptrdiff_t>(last - 1),
                              conversation.messages.end());
  try {
    ChatReply answer = ask(before[last - 1], options, on_event);
    // Cancelled before anything was said: the old answer stays.
    if (conversation.messages.size() < last) conversation.messages = before;
    return answer;
  } catch (...) {
    conversation.messages = before;
    throw;
  }
}

}  // namespace hearth::generate
