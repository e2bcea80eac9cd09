#include "serve/reply_channel.h"

#include <utility>

#include "support/error.h"

namespace hearth::serve {

void ReplyChannel::push(ChannelEvent event) {
  {
    const std::lock_guard lock(mutex_);
    events_.push_back(std::move(event));
  }
  came_.notify_one();
}

std::optional<ChannelEvent> ReplyChannel::take(std::chrono::milliseconds patience) {
  std::unique_lock lock(mutex_);
  if (!came_.wait_for(lock, patience, [this] { return !events_.empty(); })) return std::nullopt;
  ChannelEvent event = std::move(events_.front());
  events_.pop_front();
  return event;
}

ChoiceListener::ChoiceListener(std::shared_ptr<ReplyChannel> channel, int choice,
                               const text::Tokenizer& tokenizer,
                               std::shared_ptr<const ChatTokens> chat)
    : channel_(std::move(channel)), choice_(choice), tokenizer_(tokenizer), chat_(std::move(chat)) {
  reader_.emplace(chat_->format, text::ReplyOptions{.tools = &chat_->tools,
                                                    .prompt = chat_->text,
                                                    .earlier_calls = chat_->earlier_calls});
  budget_.emplace(chat_->format, chat_->reasoning_budget, chat_->text);
}

ChoiceListener::ChoiceListener(std::shared_ptr<ReplyChannel> channel, int choice,
                               const text::Tokenizer& tokenizer)
    : channel_(std::move(channel)), choice_(choice), tokenizer_(tokenizer) {}

generate::Verdict ChoiceListener::piece(const generate::GeneratedPiece& piece) {
  if (piece.token >= 0) tokens_.push_back(piece.token);
  note_logprobs(piece);
  if (!reader_) {
    if (piece.piece.text.empty()) return {};
    text::ReplyEvent event;
    event.text = piece.piece.text;
    send({std::move(event)});
    return {};
  }
  std::vector<text::ReplyEvent> events = reader_->push(
      piece.piece.text, piece.piece.control ? text::PieceKind::kControl : text::PieceKind::kText);
  for (const text::ReplyEvent& event : events) budget_->event(event);
  if (budget_->reasoning() && piece.token >= 0) ++reasoning_tokens_;
  send(std::move(events));
  generate::Verdict verdict;
  verdict.go_on = !reader_->stopped();
  if (const std::optional<std::string> close =
          budget_->piece(piece.piece.text, piece.piece.tokens)) {
    verdict.force = tokenizer_.encode(*close, {.add_special = false, .parse_special = true});
  }
  return verdict;
}

void ChoiceListener::note_logprobs(const generate::GeneratedPiece& piece) {
  if (!piece.log_probability || piece.token < 0) return;
  TokenLogprob logprob{.token = tokenizer_.piece(piece.token, /*special=*/true),
                       .logprob = *piece.log_probability,
                       .top = {}};
  for (const generate::TokenProbability& each : piece.top)
    logprob.top.emplace_back(tokenizer_.piece(each.id, /*special=*/true), each.log_probability);
  logprobs_.push_back(std::move(logprob));
}

/// A call keeps the id (or none: writers make one) with which it began. Some models write one after
/// the arguments, which a stream could not tell any more.
void ChoiceListener::settle_id(text::ReplyEvent& event) {
  if (event.kind == text::ReplyEvent::Kind::kToolCallStart) call_id_ = event.id;
  if (event.kind == text::ReplyEvent::Kind::kToolCallEnd) event.id = call_id_;
}

void ChoiceListener::send(std::vector<text::ReplyEvent> events) {
  for (text::ReplyEvent& event : events) {
    settle_id(event);
    ChannelEvent sent;
    sent.choice = choice_;
    sent.event = std::move(event);
    sent.logprobs = std::exchange(logprobs_, {});
    channel_->push(std::move(sent));
  }
}

ChoiceEnd ChoiceListener::end_of(const generate::GenerateResult& result) const {
  using generate::FinishReason;
  switch (result.finish) {
    case FinishReason::kStop:
      break;
    case FinishReason::kStopText:
      return {EndReason::kStopText, result.stop_text};
    case FinishReason::kLength:
      return {EndReason::kLength, {}};
    case FinishReason::kContext:
      return {EndReason::kContext, {}};
    case FinishReason::kCancelled:
      return {EndReason::kCancelled, {}};
  }
  return {reader_ && reader_->complete_calls() > 0 ? EndReason::kToolCalls : EndReason::kStop, {}};
}

void ChoiceListener::finished(const generate::GenerateResult& result) {
  using generate::FinishReason;
  const bool whole =
      result.finish == FinishReason::kStop || result.finish == FinishReason::kStopText;
  if (reader_) send(reader_->finish(/*cut=*/!whole));
  ChannelEvent sent;
  sent.choice = choice_;
  sent.kind = ChannelEvent::Kind::kEnd;
  sent.end = end_of(result);
  sent.end.usage.prompt_tokens = result.prompt_tokens;
  sent.end.usage.cached_tokens = result.reused_tokens;
  sent.end.usage.completion_tokens = result.generated_tokens;
  sent.end.usage.reasoning_tokens = reasoning_tokens_;
  sent.end.usage.prompt_seconds = result.prompt_seconds;
  sent.end.usage.generate_seconds = result.generate_seconds;
  sent.tokens = std::move(tokens_);
  channel_->push(std::move(sent));
}

void ChoiceListener::failed(const Error& error) {
  ChannelEvent sent;
  sent.choice = choice_;
  sent.kind = ChannelEvent::Kind::kFailed;
  sent.message = error.hint().empty() ? std::string(error.what())
                                      : std::string(error.what()) + "; " + error.hint();
  sent.refused = error.exit_code() == ExitCode::kUsage;
  channel_->push(std::move(sent));
}

}  // namespace hearth::serve
