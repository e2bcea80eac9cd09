// A request that cannot be served, as an exception: what handlers throw and the server answers in
// the form of the path's dialect.
#pragma once

#include <chrono>
#include <cstdint>
#include <optional>
#include <stdexcept>
#include <string>
#include <utility>

#include "generate/scheduler.h"
#include "serve/chat_request.h"

namespace hearth::serve {

class RequestFailure : public std::runtime_error {
 public:
  explicit RequestFailure(RequestError error)
      : std::runtime_error(error.message), error_(std::move(error)) {}
  RequestFailure(int status, std::string message, std::string code = {}, std::string parameter = {})
      : RequestFailure(RequestError{.status = status,
                                    .message = std::move(message),
                                    .code = std::move(code),
                                    .parameter = std::move(parameter)}) {}

  [[nodiscard]] const RequestError& error() const noexcept { return error_; }
  /// For 429 and 503: a Retry-After header.
  std::optional<std::chrono::seconds> retry_after;
  /// Of a prompt that does not fit: its tokens and those of the context; else 0.
  std::int64_t prompt_tokens = 0, context = 0;

 private:
  RequestError error_;
};

/// The request's deadline passed before there was anything to answer with.
[[nodiscard]] inline RequestFailure deadline_passed() {
  return {504, "the request's deadline passed before the answer began", "deadline_exceeded"};
}

/// Others wait already, and no more may.
[[nodiscard]] inline RequestFailure queue_full(const generate::QueueFull& full) {
  RequestFailure failure(503, full.what(), "queue_full");
  failure.retry_after = full.retry_after();
  return failure;
}

}  // namespace hearth::serve
