// From a request in no dialect to a reply in one: renders the prompt, generates, reads the reply
// and has it written to the client.
#pragma once

#include <chrono>
#include <functional>
#include <optional>
#include <string>
#include <string_view>

#include "serve/chat_request.h"
#include "serve/http/exchange.h"
#include "serve/models.h"
#include "serve/prompting.h"

namespace hearth::serve {

/// Who asks, and until when.
struct Caller {
  std::string owner;   ///< the API key's name
  std::string client;  ///< shares the machine fairly with others: owner or address
  int priority = 0;
  /// The reply ends with what it has then; without anything it fails (504).
  Deadline deadline = {};
};

/// What those who wait for something ask now and then: true when the client of `exchange` (which
/// must outlive it) is gone; throws RequestFailure (504) when the deadline has passed.
[[nodiscard]] std::function<bool()> patience(Deadline deadline, const HttpExchange& exchange);

/// What happened, for logs and metrics. Of failures before anything was said: an exception.
struct ReplyRecord {
  std::string model;
  Usage usage;
  EndReason end = EndReason::kStop;
  double first_token_seconds = 0;
  bool failed = false;
};

struct RunnerOptions {
  /// A stream that says nothing for so long gets a comment, so that nobody gives it up.
  std::chrono::milliseconds keep_alive{5'000};
};

class Runner {
 public:
  Runner(ModelManager& models, const RunnerOptions& options);

  /// Generates and writes the whole reply. Throws RequestFailure before the answer has begun.
  ReplyRecord chat(const ChatRequest& request, const Caller& caller, ReplyWriter& writer,
                   HttpExchange& exchange);
  ReplyRecord complete(const CompletionRequest& request, const Caller& caller, ReplyWriter& writer,
                       HttpExchange& exchange);

  /// The prompt that a chat would be answered to. `waiting`: asked while the model is waited for
  /// (patience()). Throws RequestFailure.
  [[nodiscard]] ChatTokens prompt_of(const ChatRequest& request,
                                     const std::function<bool()>& waiting);

 private:
  ModelManager& models_;
  RunnerOptions options_;
};

}  // namespace hearth::serve
