#include "serve/dialects/reply_parts.h"

#include <algorithm>
#include <cmath>

#include "serve/dialects/json_body.h"
#include "support/utf8.h"

namespace hearth::serve {

std::string sse(const Json& data) { return "data: " + to_line(data) + "\n\n"; }

std::string sse(std::string_view event, const Json& data) {
  return "event: " + std::string(event) + "\n" + sse(data);
}

std::string failure(Dialect dialect, int status, std::string_view message) {
  RequestError error;
  error.status = status;
  error.message = message;
  return error_body(dialect, error);
}

std::string EventsOrBody::fail(int status, std::string_view message) {
  const std::string body = failure(dialect_, status, message);
  return stream_ ? "data: " + body + "\n\n" : body;
}

std::string EventsOrBody::keep_alive() { return stream_ ? std::string(kSsePing) : std::string(); }

std::string_view EventsOrBody::content_type() const { return stream_ ? kSseType : kJsonType; }

std::string call_id(const text::ReplyEvent& event, std::string_view reply_id, int choice) {
  return call_id(CollectedCall{.index = event.index, .id = event.id, .name = {}, .arguments = {}},
                 reply_id, choice);
}

std::string call_id(const CollectedCall& call, std::string_view reply_id, int choice) {
  if (!call.id.empty()) return call.id;
  constexpr std::string_view kDigits = "0123456789abcdefghijklmnopqrstuvwxyz";
  constexpr std::size_t kRandom = 5;
  std::string id(reply_id.substr(0, kRandom));
  id.append(kRandom - id.size(), '0');
  const auto two = [&id, kDigits](int number) {
    id += kDigits[static_cast<std::size_t>(number / 36 % 36)];
    id += kDigits[static_cast<std::size_t>(number % 36)];
  };
  two(std::max(choice, 0));
  two(std::max(call.index, 0));
  return id;
}

Json openai_usage(const Usage& usage) {
  return {{"prompt_tokens", usage.prompt_tokens},
          {"completion_tokens", usage.completion_tokens},
          {"total_tokens", usage.prompt_tokens + usage.completion_tokens},
          {"prompt_tokens_details", {{"cached_tokens", usage.cached_tokens}, {"audio_tokens", 0}}},
          {"completion_tokens_details",
           {{"reasoning_tokens", usage.reasoning_tokens},
            {"audio_tokens", 0},
            {"accepted_prediction_tokens", 0},
            {"rejected_prediction_tokens", 0}}}};
}

Json llama_timings(const Usage& usage) {
  const std::int64_t evaluated = usage.prompt_tokens - usage.cached_tokens;
  const auto rate = [](std::int64_t tokens, double seconds) {
    return seconds > 0 ? static_cast<double>(tokens) / seconds : 0.0;
  };
  const auto each = [](std::int64_t tokens, double seconds) {
    return tokens > 0 ? seconds * 1e3 / static_cast<double>(tokens) : 0.0;
  };
  return {{"cache_n", usage.cached_tokens},
          {"prompt_n", evaluated},
          {"prompt_ms", usage.prompt_seconds * 1e3},
          {"prompt_per_token_ms", each(evaluated, usage.prompt_seconds)},
          {"prompt_per_second", rate(evaluated, usage.prompt_seconds)},
          {"predicted_n", usage.completion_tokens},
          {"predicted_ms", usage.generate_seconds * 1e3},
          {"predicted_per_token_ms", each(usage.completion_tokens, usage.generate_seconds)},
          {"predicted_per_second", rate(usage.completion_tokens, usage.generate_seconds)}};
}

double finite_logprob(float logprob) {
  constexpr double kVeryUnlikely = -9999.0;
  return std::isfinite(logprob) ? static_cast<double>(logprob) : kVeryUnlikely;
}

Json byte_list(std::string_view bytes) {
  Json list = Json::array();
  for (const char c : bytes) list.push_back(static_cast<unsigned char>(c));
  return list;
}

namespace {

Json logprob_entry(const std::string& token, float logprob) {
  return {{"token", to_valid_utf8(token)},
          {"logprob", finite_logprob(logprob)},
          {"bytes", byte_list(token)}};
}

}  // namespace

Json logprob_list(const std::vector<TokenLogprob>& logprobs) {
  Json list = Json::array();
  for (const TokenLogprob& token : logprobs) {
    Json entry = logprob_entry(token.token, token.logprob);
    Json top = Json::array();
    for (const auto& [text, logprob] : token.top) top.push_back(logprob_entry(text, logprob));
    entry["top_logprobs"] = std::move(top);
    list.push_back(std::move(entry));
  }
  return list;
}

std::int64_t nanoseconds(double seconds) { return std::llround(seconds * 1e9); }

std::string_view finish_reason(EndReason reason) {
  switch (reason) {
    case EndReason::kLength:
    case EndReason::kContext:
    case EndReason::kCancelled:  // by a deadline: the reply is not whole
      return "length";
    case EndReason::kToolCalls:
      return "tool_calls";
    case EndReason::kStop:
    case EndReason::kStopText:
      break;
  }
  return "stop";
}

Json arguments_object(std::string_view arguments) {
  try {
    return parse_object(arguments);  // bounded in depth: a model wrote it
  } catch (const RequestError&) {
    return {{"arguments", to_valid_utf8(arguments)}};
  }
}

void CollectedChoice::add(const text::ReplyEvent& event, const std::vector<TokenLogprob>& more) {
  using Kind = text::ReplyEvent::Kind;
  switch (event.kind) {
    case Kind::kText:
    case Kind::kToolCallDropped:  // of a reply that was cut: the markup
      text += event.text;
      logprobs.insert(logprobs.end(), more.begin(), more.end());
      break;
    case Kind::kReasoning:
      reasoning += event.text;
      break;
    case Kind::kToolCallEnd:
      calls.push_back(
          {.index = event.index, .id = event.id, .name = event.name, .arguments = event.text});
      break;
    case Kind::kToolCallStart:
    case Kind::kToolCallArguments:
    case Kind::kProblem:
      break;
  }
}

}  // namespace hearth::serve
