// A request together with who writes its reply, as the dialects hand them out.
#pragma once

#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <variant>

#include "serve/chat_request.h"

namespace hearth::serve {

/// The writer is for the form that was asked for: request.stream says which.
struct ChatExchange {
  ChatRequest request;
  std::unique_ptr<ReplyWriter> writer;
};

struct CompletionExchange {
  CompletionRequest request;
  std::unique_ptr<ReplyWriter> writer;
};

/// Ollama: a request without a prompt loads a model, or with keep_alive 0 unloads it.
struct LoadExchange {
  std::string model;
  bool unload = false;
  std::optional<double> keep_alive_seconds;
  std::optional<std::int64_t> context;
  bool chat = false;  ///< /api/chat; else /api/generate
};

using OllamaExchange = std::variant<ChatExchange, CompletionExchange, LoadExchange>;

/// The dialects of the HTTP API.
enum class Dialect : std::uint8_t { kOpenAi, kOllama, kAnthropic, kLlamaServer };

/// Whose errors a path answers with. `anthropic_version`: the request has that header (Anthropic
/// and OpenAI share /v1/models).
[[nodiscard]] Dialect dialect_of(std::string_view path, bool anthropic_version = false);

/// The status to answer with: Anthropic says 529 instead of 503.
[[nodiscard]] int error_status(Dialect dialect, int status);

/// The body of an error. Extra numbers of a context overflow are given when known (not 0).
struct ErrorDetails {
  std::string request_id = {};  ///< Anthropic's
  std::int64_t prompt_tokens = 0, context = 0;
};
[[nodiscard]] std::string error_body(Dialect dialect, const RequestError& error,
                                     const ErrorDetails& details = {});

/// The code of RequestError for a prompt that is longer than the context.
inline constexpr std::string_view kContextLengthExceeded = "context_length_exceeded";

}  // namespace hearth::serve
