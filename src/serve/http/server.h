// The HTTP/1.1 server: one thread watches all connections (epoll) and reads requests within
// bounds; a request that is whole goes to a worker thread. So idle and slow clients cost a file
// descriptor and a few bytes, never a thread.
#pragma once

#include <chrono>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "serve/http/exchange.h"
#include "serve/http/message.h"

namespace hearth::serve {

struct HttpLimits {
  MessageLimits message;
  std::size_t connections = 2000;
  int backlog = 1024;
  int workers = 1024;  ///< handlers at once; more requests are answered 503
  /// Of all requests that are being received, in memory.
  std::size_t body_bytes = std::size_t{512} << 20;
  std::chrono::milliseconds head_deadline{10'000};  ///< from a head's first byte to its last
  std::chrono::milliseconds idle_deadline{75'000};  ///< between requests
  /// A body must keep coming, and after `body_grace` at no less than `body_rate` bytes a second.
  std::chrono::milliseconds body_stall{30'000}, body_grace{10'000};
  std::size_t body_rate = 1024;
  /// A client that has not taken a piece of its answer after so long, and a second more for every
  /// `write_rate` bytes of it, is gone.
  std::chrono::milliseconds write_stall{60'000};
  std::size_t write_rate = 4096;
};

/// What the application decides when a request's head has come.
struct Admission {
  std::optional<HttpResponse> refusal;  ///< answered instead; the body is not read
  std::size_t body_limit = 0;           ///< more is answered 413
  bool streams_body = false;            ///< the handler reads it
};

/// What the server serves. All but handle() are called on the server's thread and must be quick.
class HttpApplication {
 public:
  virtual ~HttpApplication() = default;
  /// May complete the request (owner, captures).
  [[nodiscard]] virtual Admission admit(HttpRequest& request) = 0;
  /// On a worker thread. Must answer; must not throw.
  virtual void handle(const HttpRequest& request, HttpExchange& exchange) = 0;
  /// The answer to what could not even be given to handle(); `request` may be half filled.
  [[nodiscard]] virtual HttpResponse problem(const HttpRequest& request,
                                             const HttpProblem& what) = 0;
};

struct HttpCounters {
  std::int64_t connections = 0;                          ///< open
  std::int64_t handling = 0;                             ///< requests that handlers work on
  std::int64_t accepted = 0, requests = 0, refused = 0;  ///< since the start
};

class TlsContext;

class HttpServer {
 public:
  /// `application` must outlive the server.
  HttpServer(HttpApplication& application, const HttpLimits& limits);
  /// Stops with no patience.
  ~HttpServer();
  HttpServer(const HttpServer&) = delete;
  HttpServer& operator=(const HttpServer&) = delete;

  /// Binds to a numeric address ("127.0.0.1", "::1", "0.0.0.0") or "localhost" (both loopback
  /// addresses; only one of them where the machine lacks the other). Port 0: a free one. Returns
  /// the port. Throws Error: in use, not allowed, no such address. Before start().
  std::uint16_t listen(const std::string& host, std::uint16_t port);
  /// All connections are encrypted from now on. Before start().
  void use_tls(std::shared_ptr<const TlsContext> context);
  /// What listen() bound: "127.0.0.1:11434", "[::1]:11434".
  [[nodiscard]] const std::vector<std::string>& addresses() const noexcept;

  void start();
  /// Takes no new connections and waits for the handlers. After `patience` calls `cut`, which asks
  /// those that are left to end their answers and may wait for them, and gives them `last_words`;
  /// then tells them that their clients are gone, and returns when all have ended. Any thread; not
  /// a handler's.
  void stop(std::chrono::milliseconds patience, const std::function<void()>& cut = {},
            std::chrono::milliseconds last_words = {});

  [[nodiscard]] HttpCounters counters() const;

 private:
  struct Impl;
  std::unique_ptr<Impl> impl_;
};

}  // namespace hearth::serve
