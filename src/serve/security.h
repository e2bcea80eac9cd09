// Who may ask: API keys, and what keeps web pages of strangers away from a server on this machine.
//
// A page that a browser shows can send requests to a server on the same machine. Two attacks are
// refused: requests from another origin (the Origin header; CORS preflights are denied), and DNS
// rebinding, where the page's own name suddenly means 127.0.0.1 (the Host header names it still).
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "serve/http/message.h"

namespace hearth::serve {

struct SecurityOptions {
  std::string host;  ///< what is listened on: "localhost", an address, "0.0.0.0"
  std::uint16_t port = 0;
  std::vector<std::string> api_keys = {};
  /// Origins whose pages may use the server: "https://example.org", or "*" for all.
  std::vector<std::string> cors_origins = {};
  /// More names under which the server is reached: behind a proxy, in a local network.
  std::vector<std::string> names = {};
};

/// True for "localhost", 127.0.0.0/8 and ::1 (with brackets or without).
[[nodiscard]] bool is_loopback(std::string_view host) noexcept;

/// Throws Error (exit code 2) when what is wanted is not safe: an address that other machines reach
/// without an API key, an empty key, an origin that is none.
void check_security(const SecurityOptions& options);

/// Why a request is refused.
struct Refusal {
  int status = 403;
  std::string message;
  std::string code;
};

class Security {
 public:
  explicit Security(SecurityOptions options);

  /// Host and Origin. Nothing when they are in order.
  [[nodiscard]] std::optional<Refusal> check_origin(const HttpRequest& request) const;
  /// The API key. `owner` receives the key's name (a fingerprint of it); "" when no keys are set.
  [[nodiscard]] std::optional<Refusal> check_key(const HttpRequest& request,
                                                 std::string& owner) const;
  /// The CORS headers of an answer: none unless the request comes from an origin that is allowed.
  [[nodiscard]] Headers cors_headers(const HttpRequest& request) const;
  /// Whether it asks what a page of its origin may do (OPTIONS, answered with cors_headers()).
  [[nodiscard]] static bool is_preflight(const HttpRequest& request) noexcept;

 private:
  [[nodiscard]] bool allowed_host(std::string_view host) const;
  [[nodiscard]] bool allowed_origin(std::string_view origin, std::string_view host) const;

  SecurityOptions options_;
  struct Key {
    std::string secret, name;
  };
  std::vector<Key> keys_;
};

}  // namespace hearth::serve
