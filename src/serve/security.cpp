#include "serve/security.h"

#include <arpa/inet.h>
#include <fmt/format.h>

#include <algorithm>

#include "hub/sha256.h"
#include "support/error.h"

namespace hearth::serve {
namespace {

/// Of the SHA-256 of a key: enough to tell keys apart in logs, too little to guess one.
constexpr std::size_t kKeyNameDigits = 12;

/// "localhost" of "localhost:80", "::1" of "[::1]:80" and of "::1".
std::string_view host_of(std::string_view authority) noexcept {
  if (authority.starts_with('[')) {
    const std::size_t end = authority.find(']');
    return end == std::string_view::npos ? std::string_view() : authority.substr(1, end - 1);
  }
  const std::size_t colon = authority.find(':');
  if (colon != std::string_view::npos && authority.find(':', colon + 1) != std::string_view::npos)
    return authority;  // an address of IPv6 without brackets
  return authority.substr(0, colon);
}

/// "https://a.example:1" without the scheme; empty when it is none.
std::string_view authority_of(std::string_view origin) noexcept {
  const std::size_t colon = origin.find("://");
  return colon == std::string_view::npos ? std::string_view() : origin.substr(colon + 3);
}

/// Takes the same time wherever two texts of one length differ.
bool equal_secrets(std::string_view a, std::string_view b) noexcept {
  if (a.size() != b.size()) return false;
  unsigned difference = 0;
  for (std::size_t i = 0; i < a.size(); ++i)
    difference |= static_cast<unsigned char>(a[i]) ^ static_cast<unsigned char>(b[i]);
  return difference == 0;
}

std::string_view key_of(const HttpRequest& request) noexcept {
  const std::string_view authorization = request.header("authorization");
  constexpr std::string_view kScheme = "bearer ";
  if (authorization.size() > kScheme.size() &&
      same_text(authorization.substr(0, kScheme.size()), kScheme))
    return authorization.substr(kScheme.size());
  return request.header("x-api-key");
}

}  // namespace

bool is_loopback(std::string_view host) noexcept {
  host = host_of(host);
  if (same_text(host, "localhost") || same_text(host, "localhost.")) return true;
  const std::string text(host.substr(0, INET6_ADDRSTRLEN));
  in_addr v4{};
  if (inet_pton(AF_INET, text.c_str(), &v4) == 1) return (ntohl(v4.s_addr) >> 24) == 127;
  in6_addr v6{};
  return inet_pton(AF_INET6, text.c_str(), &v6) == 1 && IN6_IS_ADDR_LOOPBACK(&v6);
}

void check_security(const SecurityOptions& options) {
  if (!is_loopback(options.host) && options.api_keys.empty()) {
    throw Error(fmt::format("other machines could use a server on {} as they like",
                            printable(options.host)),
                "give --api-key with it, or listen on localhost only", ExitCode::kUsage);
  }
  for (const std::string& key : options.api_keys) {
    if (key.size() >= 8 &&
        std::all_of(key.begin(), key.end(), [](char c) { return c > ' ' && c < 0x7F; }))
      continue;
    throw Error("an API key needs at least 8 characters, printable ones of ASCII without spaces",
                "make one with: openssl rand -hex 24", ExitCode::kUsage);
  }
  for (const std::string& origin : options.cors_origins) {
    const std::string_view authority = authority_of(origin);
    const bool whole =
        !authority.empty() && authority.find_first_of("/*") == std::string_view::npos;
    if (origin == "*" || origin == "null" || whole) continue;
    throw Error(fmt::format("'{}' is no origin", printable(origin)),
                "write it as https://example.org, with its port if it has one, null for pages "
                "without one, or * for all",
                ExitCode::kUsage);
  }
}

Security::Security(SecurityOptions options) : options_(std::move(options)) {
  for (const std::string& key : options_.api_keys)
    keys_.push_back({key, "key-" + hub::sha256_of(key).substr(0, kKeyNameDigits)});
}

bool Security::allowed_host(std::string_view authority) const {
  const std::string_view host = host_of(authority);
  // Beyond this machine the key decides: a stranger's page does not have it.
  if (!is_loopback(options_.host) && !keys_.empty()) return true;
  if (is_loopback(host) || same_text(host, host_of(options_.host))) return true;
  return std::any_of(options_.names.begin(), options_.names.end(),
                     [&](const std::string& name) { return same_text(host, host_of(name)); });
}

bool Security::allowed_origin(std::string_view origin, std::string_view host) const {
  const std::string_view authority = authority_of(origin);
  if (!authority.empty() && same_text(authority, host)) return true;
  return std::any_of(
      options_.cors_origins.begin(), options_.cors_origins.end(),
      [&](const std::string& each) { return each == "*" || same_text(each, origin); });
}

std::optional<Refusal> Security::check_origin(const HttpRequest& request) const {
  const std::string_view host = request.header("host");
  // HTTP/1.0 may come without one; no browser speaks it.
  if (!host.empty() && !allowed_host(host)) {
    return Refusal{403,
                   fmt::format("this server is not called '{}'; give it --name {} if it should be",
                               printable(host, 80), printable(host_of(host), 80)),
                   "host_not_allowed"};
  }
  const std::string_view origin = request.header("origin");
  if (!origin.empty()) {
    if (allowed_origin(origin, host)) return std::nullopt;
    return Refusal{403,
                   fmt::format("pages of {} may not use this server; give it --cors {} if they may",
                               printable(origin, 80), printable(origin, 80)),
                   "origin_not_allowed"};
  }
  // What pages fetch without an Origin (images, scripts) is told apart by this header only.
  const bool cross_site = request.header("sec-fetch-site") == "cross-site" &&
                          request.header("sec-fetch-mode") != "navigate";
  const std::vector<std::string>& allowed = options_.cors_origins;
  if (cross_site && std::find(allowed.begin(), allowed.end(), "*") == allowed.end()) {
    return Refusal{403, "pages of other sites may not use this server", "origin_not_allowed"};
  }
  return std::nullopt;
}

std::optional<Refusal> Security::check_key(const HttpRequest& request, std::string& owner) const {
  if (keys_.empty()) return std::nullopt;
  const std::string_view given = key_of(request);
  for (const Key& key : keys_) {
    if (!equal_secrets(given, key.secret)) continue;
    owner = key.name;
    return std::nullopt;
  }
  return Refusal{401,
                 given.empty() ? "this server needs an API key (Authorization: Bearer …)"
                               : "the API key is not one of this server's",
                 "invalid_api_key"};
}

Headers Security::cors_headers(const HttpRequest& request) const {
  const std::string_view origin = request.header("origin");
  if (origin.empty() || options_.cors_origins.empty()) return {};
  if (!allowed_origin(origin, request.header("host"))) return {};
  Headers headers = {{"Access-Control-Allow-Origin", std::string(origin)},
                     {"Vary", "Origin"},
                     {"Access-Control-Expose-Headers", "*"}};
  if (!is_preflight(request)) return headers;
  headers.emplace_back("Access-Control-Allow-Methods", "GET, POST, PUT, DELETE, HEAD, OPTIONS");
  // A star does not cover Authorization, so what is asked for is repeated: parse_head() has
  // checked that it holds no line breaks.
  const std::string_view wanted = request.header("access-control-request-headers");
  headers.emplace_back("Access-Control-Allow-Headers",
                       wanted.empty() ? "Authorization, Content-Type, X-Api-Key, Anthropic-Version"
                                      : std::string(wanted));
  headers.emplace_back("Access-Control-Max-Age", "600");
  return headers;
}

bool Security::is_preflight(const HttpRequest& request) noexcept {
  return request.method == "OPTIONS" && !request.header("access-control-request-method").empty();
}

}  // namespace hearth::serve
