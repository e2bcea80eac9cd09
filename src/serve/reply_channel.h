// The way of a reply from the scheduler's thread, which must not wait, to the thread that writes
// it to the client, which does.
#pragma once

#include <chrono>
#include <condition_variable>
#include <cstdint>
#include <deque>
#include <memory>
#include <mutex>
#include <optional>
#include <string>
#include <vector>

#include "generate/reasoning_budget.h"
#include "generate/scheduler.h"
#include "serve/chat_request.h"
#include "serve/prompting.h"
#include "text/reply_reader.h"

namespace hearth::serve {

/// One thing that happened in one choice of a reply.
struct ChannelEvent {
  enum class Kind : std::uint8_t { kReply, kEnd, kFailed };
  int choice = 0;
  Kind kind = Kind::kReply;
  text::ReplyEvent event;              ///< kReply
  std::vector<TokenLogprob> logprobs;  ///< kReply: of the tokens since the event before
  ChoiceEnd end;                       ///< kEnd
  std::vector<text::TokenId> tokens;   ///< kEnd: what was generated
  std::string message;                 ///< kFailed
  bool refused = false;                ///< kFailed: because of what the request asks for
};

/// Events of all choices, in order. Any number of threads push, one takes. No longer than the
/// replies are: contexts bound it.
class ReplyChannel {
 public:
  void push(ChannelEvent event);
  /// Nothing when nothing came in time.
  [[nodiscard]] std::optional<ChannelEvent> take(std::chrono::milliseconds patience);

 private:
  std::mutex mutex_;
  std::condition_variable came_;
  std::deque<ChannelEvent> events_;
};

/// Listens to the generation of one choice: reads the reply and watches its reasoning. Owns all it
/// needs but the tokenizer.
class ChoiceListener final : public generate::Listener {
 public:
  /// Of a chat.
  ChoiceListener(std::shared_ptr<ReplyChannel> channel, int choice,
                 const text::Tokenizer& tokenizer, std::shared_ptr<const ChatTokens> chat);
  /// Of a completion: everything is text.
  ChoiceListener(std::shared_ptr<ReplyChannel> channel, int choice,
                 const text::Tokenizer& tokenizer);

  generate::Verdict piece(const generate::GeneratedPiece& piece) override;
  void finished(const generate::GenerateResult& result) override;
  void failed(const Error& error) override;

 private:
  void send(std::vector<text::ReplyEvent> events);
  void settle_id(text::ReplyEvent& event);
  void note_logprobs(const generate::GeneratedPiece& piece);
  [[nodiscard]] ChoiceEnd end_of(const generate::GenerateResult& result) const;

  std::shared_ptr<ReplyChannel> channel_;
  int choice_;
  const text::Tokenizer& tokenizer_;
  std::shared_ptr<const ChatTokens> chat_;
  std::optional<text::ReplyReader> reader_;
  std::optional<generate::ReasoningBudget> budget_;
  std::vector<TokenLogprob> logprobs_;  // of tokens whose text is held back
  std::int64_t reasoning_tokens_ = 0;
  std::vector<text::TokenId> tokens_;
  std::string call_id_;  // of the call under way, as its beginning told it
};

}  // namespace hearth::serve
