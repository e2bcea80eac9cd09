// A client that sends exactly the bytes a test wants, well-formed or not.
#pragma once

#include <chrono>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

#include "serve/http/socket.h"

namespace hearth::serve {

struct RawResponse {
  int status = 0;  ///< 0: the connection ended before a whole response came
  std::string head, body;

  /// A header's value; empty when there is none. `name` in lower case.
  [[nodiscard]] std::string header(std::string_view name) const;
};

class RawClient {
 public:
  /// Connects to 127.0.0.1 (or ::1).
  explicit RawClient(std::uint16_t port, bool v6 = false);

  /// False when the server does not take it all.
  bool send(std::string_view bytes);
  /// The next response, its body without chunk framing. `head_request`: it has no body.
  [[nodiscard]] RawResponse receive(bool head_request = false);
  /// What comes until there are `count` bytes, or nothing more comes.
  [[nodiscard]] std::string receive_bytes(std::size_t count);
  /// True when the server ends the connection within the time.
  [[nodiscard]] bool closed_within(std::chrono::milliseconds time);
  void shut_down_writing();
  [[nodiscard]] int descriptor() const noexcept { return socket_.get(); }

  /// One request on a connection of its own.
  [[nodiscard]] static RawResponse ask(std::uint16_t port, std::string_view bytes);

 private:
  bool fill();
  Descriptor socket_;
  std::string input_;
};

/// A request with the headers it needs.
[[nodiscard]] std::string request_text(std::string_view method, std::string_view target,
                                       std::string_view body = {},
                                       std::string_view more_headers = {});

}  // namespace hearth::serve
