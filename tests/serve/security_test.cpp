#include "serve/security.h"

#include <gtest/gtest.h>

#include <algorithm>

#include "support/error.h"

namespace hearth::serve {
namespace {

HttpRequest request_with(Headers headers) {
  HttpRequest request;
  request.method = "POST";
  request.headers = std::move(headers);
  return request;
}

SecurityOptions loopback() { return {.host = "localhost", .port = 11434}; }

int origin_status(const Security& security, Headers headers) {
  const auto refusal = security.check_origin(request_with(std::move(headers)));
  return refusal ? refusal->status : 200;
}

TEST(Security, KnowsLoopbackAddresses) {
  for (const char* host : {"localhost", "LOCALHOST", "localhost:80", "127.0.0.1", "127.9.9.9:1",
                           "[::1]", "[::1]:80", "::1"})
    EXPECT_TRUE(is_loopback(host)) << host;
  for (const char* host : {"", "0.0.0.0", "192.168.1.1", "localhost.evil.example",
                           "127.0.0.1.evil.example", "[::2]:1", "[", "evil", "::ffff:127.0.0.1"})
    EXPECT_FALSE(is_loopback(host)) << host;
}

TEST(Security, OtherAddressesNeedAKey) {
  SecurityOptions options = loopback();
  EXPECT_NO_THROW(check_security(options));
  options.host = "0.0.0.0";
  EXPECT_THROW(check_security(options), Error);
  options.api_keys = {"a-long-enough-key"};
  EXPECT_NO_THROW(check_security(options));
  options.api_keys = {"short"};
  EXPECT_THROW(check_security(options), Error);
  options.api_keys = {"with a space in it"};
  EXPECT_THROW(check_security(options), Error);
  options.api_keys.clear();
  options.host = "localhost";
  for (const char* origin :
       {"", "example.org", "https://", "https://example.org/path", "http://localhost:*"}) {
    options.cors_origins = {origin};
    EXPECT_THROW(check_security(options), Error) << origin;
  }
  options.cors_origins = {"*", "null", "https://example.org:8443"};
  EXPECT_NO_THROW(check_security(options));
}

TEST(Security, RefusesOtherHosts) {
  const Security security(loopback());
  EXPECT_EQ(origin_status(security, {{"host", "localhost:11434"}}), 200);
  EXPECT_EQ(origin_status(security, {{"host", "127.0.0.1"}}), 200);
  EXPECT_EQ(origin_status(security, {{"host", "[::1]:11434"}}), 200);
  EXPECT_EQ(origin_status(security, {}), 200);  // HTTP/1.0
  EXPECT_EQ(origin_status(security, {{"host", "evil.example"}}), 403);
  EXPECT_EQ(origin_status(security, {{"host", "localhost.evil.example:11434"}}), 403);
  EXPECT_EQ(origin_status(security, {{"host", "192.168.1.7:11434"}}), 403);

  SecurityOptions named = loopback();
  named.names = {"hearth.lan"};
  EXPECT_EQ(origin_status(Security(named), {{"host", "Hearth.lan:11434"}}), 200);
}

TEST(Security, RefusesOtherOrigins) {
  const Security security(loopback());
  const auto status = [&](const char* origin) {
    return origin_status(security, {{"host", "localhost:11434"}, {"origin", origin}});
  };
  EXPECT_EQ(status("http://localhost:11434"), 200);
  EXPECT_EQ(status("http://localhost:3000"), 403);
  EXPECT_EQ(status("https://evil.example"), 403);
  EXPECT_EQ(status("null"), 403);
  // What a page fetches without CORS (images, scripts).
  EXPECT_EQ(origin_status(security, {{"host", "localhost"}, {"sec-fetch-site", "cross-site"}}),
            403);
  EXPECT_EQ(origin_status(security, {{"host", "localhost"},
                                     {"sec-fetch-site", "cross-site"},
                                     {"sec-fetch-mode", "navigate"}}),
            200);
}

TEST(Security, LetsPermittedOriginsIn) {
  SecurityOptions options = loopback();
  options.cors_origins = {"https://app.example"};
  const Security security(options);
  HttpRequest request = request_with({{"host", "localhost"}, {"origin", "https://app.example"}});
  EXPECT_FALSE(security.check_origin(request));
  Headers headers = security.cors_headers(request);
  ASSERT_FALSE(headers.empty());
  EXPECT_EQ(headers.front().second, "https://app.example");
  EXPECT_FALSE(Security::is_preflight(request));

  request.method = "OPTIONS";
  request.headers.emplace_back("access-control-request-method", "POST");
  request.headers.emplace_back("access-control-request-headers", "authorization, x-thing");
  EXPECT_TRUE(Security::is_preflight(request));
  headers = security.cors_headers(request);
  EXPECT_NE(std::find(headers.begin(), headers.end(),
                      std::pair<std::string, std::string>("Access-Control-Allow-Headers",
                                                          "authorization, x-thing")),
            headers.end());

  HttpRequest other = request_with({{"host", "localhost"}, {"origin", "https://evil.example"}});
  EXPECT_TRUE(security.check_origin(other));
  EXPECT_TRUE(security.cors_headers(other).empty());
  options.cors_origins = {"*"};
  EXPECT_FALSE(Security(options).check_origin(other));
}

TEST(Security, ChecksKeys) {
  SecurityOptions options = loopback();
  std::string owner;
  EXPECT_FALSE(Security(options).check_key(request_with({}), owner));
  EXPECT_EQ(owner, "");
  options.api_keys = {"first-secret-key", "second-secret-key"};
  const Security security(options);
  EXPECT_EQ(security.check_key(request_with({}), owner)->status, 401);
  EXPECT_EQ(security.check_key(request_with({{"authorization", "Bearer wrong"}}), owner)->status,
            401);
  EXPECT_EQ(security.check_key(request_with({{"authorization", "Basic first-secret-key"}}), owner)
                ->status,
            401);
  EXPECT_FALSE(
      security.check_key(request_with({{"authorization", "bearer first-secret-key"}}), owner));
  const std::string first = owner;
  EXPECT_FALSE(security.check_key(request_with({{"x-api-key", "second-secret-key"}}), owner));
  EXPECT_NE(first, owner);
  EXPECT_EQ(first.find("secret"), std::string::npos);
}

}  // namespace
}  // namespace hearth::serve
