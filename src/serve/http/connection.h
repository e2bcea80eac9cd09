// One client's connection: what was received of it and where it stands. The server's thread owns
// it while it reads; while a request is handled, the worker does.
#pragma once

#include <atomic>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <memory>
#include <mutex>
#include <optional>
#include <span>
#include <string>
#include <string_view>

#include "serve/http/exchange.h"
#include "serve/http/message.h"
#include "serve/http/server.h"
#include "serve/http/socket.h"
#include "serve/http/tls.h"

namespace hearth::serve {

using Clock = std::chrono::steady_clock;

/// What is read of a socket at once.
inline constexpr std::size_t kReceiveBytes = std::size_t{64} << 10;

struct Connection {
  enum class State : std::uint8_t {
    kHandshake,  ///< of TLS
    kIdle,       ///< nothing of a request has come
    kHead,       ///< some of its head has
    kBody,       ///< its head was accepted
    kHandling,   ///< a worker has it
    kFlushing,   ///< the server's own answer is being sent
    kDraining,   ///< nothing more is sent; what still comes is thrown away
    kClosed,
  };

  Descriptor socket;
  std::unique_ptr<TlsStream> tls;  ///< null: plain
  std::string peer;
  State state = State::kIdle;
  Clock::time_point since;     ///< the state began
  Clock::time_point progress;  ///< something came last

  std::string input;         ///< received, not looked at
  std::size_t searched = 0;  ///< of it, without the end of a head
  ParsedHead head;
  std::optional<BodyDecoder> decoder;
  Admission admission;
  std::size_t body_received = 0;  ///< framed bytes
  std::size_t body_held = 0;      ///< counted in the server's budget

  std::string output;  ///< of kFlushing
  bool close_after = false;
  bool advancing = false;  ///< the server's thread is going through `input`

  /// The client hung up.
  std::atomic<bool> gone{false};
  std::mutex gone_mutex;
  std::function<void()> gone_callback;

  /// What the client has sent; what can be sent to it at once (`bytes` not empty).
  [[nodiscard]] Transfer receive(std::span<char> buffer);
  [[nodiscard]] Transfer transmit(std::string_view bytes);
  /// Nothing more is sent.
  void shut_down_sending() noexcept;
  /// Sets `gone` and calls the callback. Any thread.
  void tell_gone();
  /// For the next request.
  void reset(Clock::time_point now);
};

/// The exchange of a connection that is being handled.
class ConnectionExchange final : public HttpExchange {
 public:
  ConnectionExchange(Connection& connection, const HttpLimits& limits,
                     const std::atomic<bool>& stopping) noexcept
      : connection_(connection), limits_(limits), stopping_(stopping) {}

  void respond(const HttpResponse& response) override;
  void begin(const HttpResponse& response) override;
  bool write(std::string_view piece) override;
  void end() override;
  [[nodiscard]] bool begun() const noexcept override { return begun_; }
  [[nodiscard]] bool gone() const noexcept override { return connection_.gone.load(); }
  void on_gone(std::function<void()> callback) override;
  bool read_body(std::string& out, std::size_t most) override;

  /// The answer is complete and another request may follow.
  [[nodiscard]] bool reusable() const noexcept { return ended_ && keep_alive_ && !failed_; }

 private:
  [[nodiscard]] bool head_only() const noexcept {
    return connection_.head.request.method == "HEAD";
  }
  [[nodiscard]] bool may_keep_alive(const HttpResponse& response) const noexcept;
  bool send(std::string_view bytes);
  void receive_body();

  Connection& connection_;
  const HttpLimits& limits_;
  const std::atomic<bool>& stopping_;
  bool begun_ = false, ended_ = false, chunked_ = false, keep_alive_ = false;
  bool failed_ = false;          // nothing can be sent any more
  bool continued_ = false;       // 100 Continue was sent
  std::uint64_t body_read_ = 0;  // of a streamed body, by the handler
  Clock::time_point body_begin_;
};

}  // namespace hearth::serve
