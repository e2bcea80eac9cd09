// What a handler has of its client: the way to answer it, and to know whether it is still there.
#pragma once

#include <cstddef>
#include <functional>
#include <string>
#include <string_view>

#include "serve/http/message.h"

namespace hearth::serve {

/// One request's answer: either respond() once, or begin(), any number of write(), end(). Used by
/// the one thread that handles the request, gone() excepted.
class HttpExchange {
 public:
  virtual ~HttpExchange() = default;

  /// The whole answer.
  virtual void respond(const HttpResponse& response) = 0;
  void respond_json(int status, std::string body) {
    respond({.status = status, .content_type = "application/json", .body = std::move(body)});
  }

  /// The head of an answer whose body comes in pieces. `response.body` is its first piece.
  virtual void begin(const HttpResponse& response) = 0;
  /// False when the client is gone; nothing more needs to be written then. Empty pieces are fine.
  virtual bool write(std::string_view piece) = 0;
  virtual void end() = 0;
  /// respond() or begin() was called.
  [[nodiscard]] virtual bool begun() const noexcept = 0;

  /// The client hung up, or the server stops and has no patience left. Any thread.
  [[nodiscard]] virtual bool gone() const noexcept = 0;
  /// `callback` is called once when the client is gone, on another thread (or at once, when it is
  /// already); it must not block. An empty one takes it back: afterwards it is not called any more.
  virtual void on_gone(std::function<void()> callback) = 0;

  /// The body of a route that streams it: fills `out` (cleared first) with up to `most` bytes;
  /// false at the end. Throws RequestFailure when the client breaks off or sends too much.
  virtual bool read_body(std::string& out, std::size_t most) = 0;
};

}  // namespace hearth::serve
