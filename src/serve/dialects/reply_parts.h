// Pieces that the writers of several dialects share. Internal to the dialects.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "serve/dialects/exchange.h"

namespace hearth::serve {

/// A call of a collected reply.
struct CollectedCall {
  int index = 0;
  std::string id, name, arguments;
};

/// "data: JSON\n\n", and with the event's name before it.
[[nodiscard]] std::string sse(const Json& data);
[[nodiscard]] std::string sse(std::string_view event, const Json& data);
inline constexpr std::string_view kSseType = "text/event-stream";
inline constexpr std::string_view kJsonType = "application/json";
inline constexpr std::string_view kLinesType = "application/x-ndjson";
inline constexpr std::string_view kSsePing = ": ping\n\n";

/// The body of an error that has no code.
[[nodiscard]] std::string failure(Dialect dialect, int status, std::string_view message);

/// Id of the `index`-th call of a choice, the same for every event of the call: the event's own
/// when it has one (ChoiceListener gives all of them the first one's), else nine alphanumerics
/// (what the pickiest templates, Mistral's, take) made of the reply's random id.
[[nodiscard]] std::string call_id(const text::ReplyEvent& event, std::string_view reply_id,
                                  int choice);
/// Of a call of a collected reply: what a stream would have told.
[[nodiscard]] std::string call_id(const CollectedCall& call, std::string_view reply_id, int choice);

/// What writers have in common whose replies are server-sent events or, collected, one JSON body.
class EventsOrBody : public ReplyWriter {
 public:
  EventsOrBody(Dialect dialect, bool stream) noexcept : dialect_(dialect), stream_(stream) {}

  [[nodiscard]] std::string fail(int status, std::string_view message) override;
  [[nodiscard]] std::string keep_alive() override;
  [[nodiscard]] std::string_view content_type() const override;

 protected:
  [[nodiscard]] bool streams() const noexcept { return stream_; }

 private:
  Dialect dialect_;
  bool stream_;
};

/// {"prompt_tokens", "completion_tokens", "total_tokens", …}.
[[nodiscard]] Json openai_usage(const Usage& usage);
/// llama-server's "timings".
[[nodiscard]] Json llama_timings(const Usage& usage);

/// [{"token", "logprob", "bytes", "top_logprobs"}], as OpenAI's chat and Ollama have them.
[[nodiscard]] Json logprob_list(const std::vector<TokenLogprob>& logprobs);
/// What JSON can say: -9999 for minus infinity.
[[nodiscard]] double finite_logprob(float logprob);
[[nodiscard]] Json byte_list(std::string_view bytes);

[[nodiscard]] std::int64_t nanoseconds(double seconds);

/// "stop", "length" or "tool_calls".
[[nodiscard]] std::string_view finish_reason(EndReason reason);

/// The arguments of a call as a JSON object; {"arguments": text} when they are none.
[[nodiscard]] Json arguments_object(std::string_view arguments);

/// What one choice of a collected reply amounts to.
struct CollectedChoice {
  std::string text, reasoning;
  std::vector<CollectedCall> calls;
  std::vector<TokenLogprob> logprobs;  ///< of the text
  ChoiceEnd end;

  void add(const text::ReplyEvent& event, const std::vector<TokenLogprob>& more);
};

}  // namespace hearth::serve
