#include <gtest/gtest.h>

#include "serve/http/message.h"

namespace hearth::serve {
namespace {

struct Parsed {
  std::optional<HttpProblem> problem;
  ParsedHead head;
};

Parsed parse(const std::string& text, const MessageLimits& limits = {}) {
  Parsed parsed;
  std::size_t searched = 0;
  const std::optional<std::size_t> end = find_head_end(text, searched);
  EXPECT_TRUE(end) << text;
  parsed.problem =
      parse_head(std::string_view(text).substr(0, end.value_or(0)), limits, parsed.head);
  return parsed;
}

int status_of(const std::string& text, const MessageLimits& limits = {}) {
  const Parsed parsed = parse(text, limits);
  return parsed.problem ? parsed.problem->status : 200;
}

std::string get(const std::string& target) {
  return "GET " + target + " HTTP/1.1\r\nHost: localhost\r\n\r\n";
}

TEST(HttpMessage, ReadsARequest) {
  const Parsed parsed = parse(
      "POST /v1/models/a%20b?x=1&y=a+b&z HTTP/1.1\r\nHost: localhost:1\r\n"
      "Content-Length: 12\r\nX-Odd:  value\t \r\nconnection: Keep-Alive, Close\r\n\r\n");
  ASSERT_FALSE(parsed.problem) << parsed.problem->message;
  const HttpRequest& request = parsed.head.request;
  EXPECT_EQ(request.method, "POST");
  EXPECT_EQ(request.segments, (std::vector<std::string>{"v1", "models", "a b"}));
  EXPECT_EQ(request.path(), "/v1/models/a b");
  EXPECT_EQ(request.parameter("x"), "1");
  EXPECT_EQ(request.parameter("y"), "a b");
  EXPECT_EQ(request.parameter("none"), "");
  EXPECT_EQ(request.header("x-odd"), "value");
  EXPECT_EQ(parsed.head.framing.length, 12U);
  EXPECT_FALSE(parsed.head.keep_alive);
}

TEST(HttpMessage, VersionsDecideAboutKeepingTheConnection) {
  EXPECT_TRUE(parse("GET / HTTP/1.1\r\nHost: a\r\n\r\n").head.keep_alive);
  EXPECT_FALSE(parse("GET / HTTP/1.0\r\n\r\n").head.keep_alive);
  EXPECT_TRUE(parse("GET / HTTP/1.0\r\nConnection: keep-alive\r\n\r\n").head.keep_alive);
  EXPECT_EQ(status_of("GET / HTTP/2.0\r\nHost: a\r\n\r\n"), 505);
  EXPECT_EQ(status_of("PRI * HTTP/2.0\r\n\r\n"), 505);
}

TEST(HttpMessage, RefusesBadSyntax) {
  for (const char* text :
       {"GET /\r\n\r\n", "GET  / HTTP/1.1\r\nHost: a\r\n\r\n",
        "G\x01T / HTTP/1.1\r\nHost: a\r\n\r\n", "GET / HTTP/1.1\nHost: a\n\n",
        "GET / HTTP/1.1\r\nHost: a\nX: b\r\n\r\n", "GET / HTTP/1.1\r\nHost : a\r\n\r\n",
        "GET / HTTP/1.1\r\nHost: a\r\n folded: b\r\n\r\n",
        "GET / HTTP/1.1\r\nHost: a\r\nno colon\r\n\r\n", "GET / HTTP/1.1\r\n: a\r\n\r\n",
        "GET / HTTP/1.1\r\n\r\n", "GET / HTTP/1.1\r\nHost: a\r\nHost: b\r\n\r\n",
        "GET / HTTP/1.1\r\nHost: a\x01\r\n\r\n", "GET nothing HTTP/1.1\r\nHost: a\r\n\r\n",
        "GET * HTTP/1.1\r\nHost: a\r\n\r\n", "GET http:// HTTP/1.1\r\nHost: a\r\n\r\n",
        " / HTTP/1.1\r\nHost: a\r\n\r\n", "GET / FTP/1.1\r\nHost: a\r\n\r\n"}) {
    EXPECT_EQ(status_of(text), 400) << text;
  }
  EXPECT_EQ(status_of(std::string("GET /\0 HTTP/1.1\r\nHost: a\r\n\r\n", 29)), 400);
}

TEST(HttpMessage, RefusesPathTricks) {
  for (const char* target : {"/../etc/passwd", "/a/../b", "/a/./b", "/%2e%2e/b", "/%2E%2e", "/a//b",
                             "//", "/a%00b", "/%0d%0aX:%20y", "/%ff", "/%c0%ae%c0%ae/", "/%", "/%4",
                             "/%zz", "/a#b", "/?a=%", "/?a=%ff", "/?%00=1"}) {
    EXPECT_EQ(status_of(get(target)), 400) << target;
  }
  // A slash that is part of a name stays in its segment.
  EXPECT_EQ(parse(get("/v1/models/a%2Fb")).head.request.segments.back(), "a/b");
  EXPECT_EQ(parse(get("/a/")).head.request.segments, std::vector<std::string>{"a"});
  EXPECT_TRUE(parse(get("/")).head.request.segments.empty());
  EXPECT_EQ(parse(get("/%C3%A9")).head.request.segments.front(), "\u00E9");
}

TEST(HttpMessage, TheTargetsHostWinsOverTheHeader) {
  const Parsed parsed = parse("GET http://evil.example/x?y=1 HTTP/1.1\r\nHost: localhost\r\n\r\n");
  ASSERT_FALSE(parsed.problem);
  EXPECT_EQ(parsed.head.request.header("host"), "evil.example");
  EXPECT_EQ(parsed.head.request.path(), "/x");
  EXPECT_EQ(parse("GET http://a HTTP/1.1\r\nHost: a\r\n\r\n").head.request.path(), "/");
}

TEST(HttpMessage, RefusesContradictoryLengths) {
  const std::string begin = "POST / HTTP/1.1\r\nHost: a\r\n";
  EXPECT_EQ(status_of(begin + "Content-Length: 1\r\nContent-Length: 1\r\n\r\n"), 400);
  EXPECT_EQ(status_of(begin + "Content-Length: 1\r\nTransfer-Encoding: chunked\r\n\r\n"), 400);
  EXPECT_EQ(status_of(begin + "Content-Length: -1\r\n\r\n"), 400);
  EXPECT_EQ(status_of(begin + "Content-Length: +1\r\n\r\n"), 400);
  EXPECT_EQ(status_of(begin + "Content-Length: 1, 1\r\n\r\n"), 400);
  EXPECT_EQ(status_of(begin + "Content-Length: \r\n\r\n"), 400);
  EXPECT_EQ(status_of(begin + "Content-Length: 99999999999999999999\r\n\r\n"), 400);
  EXPECT_EQ(status_of(begin + "Transfer-Encoding: gzip, chunked\r\n\r\n"), 501);
  EXPECT_EQ(status_of(begin + "Transfer-Encoding: chunked\r\n\r\n"), 200);
  EXPECT_EQ(status_of("POST / HTTP/1.0\r\nTransfer-Encoding: chunked\r\n\r\n"), 400);
  EXPECT_EQ(status_of(begin + "Expect: 100-Continue\r\n\r\n"), 200);
  EXPECT_EQ(status_of(begin + "Expect: a miracle\r\n\r\n"), 417);
}

TEST(HttpMessage, RefusesFloods) {
  std::string many = "GET / HTTP/1.1\r\nHost: a\r\n";
  for (int i = 0; i < 200; ++i) many += "X-" + std::to_string(i) + ": 1\r\n";
  EXPECT_EQ(status_of(many + "\r\n"), 431);
  EXPECT_EQ(status_of("GET / HTTP/1.1\r\nHost: a\r\nX: " + std::string(70000, 'x') + "\r\n\r\n"),
            431);
  EXPECT_EQ(status_of(get("/" + std::string(9000, 'x'))), 414);
  std::string deep;
  for (int i = 0; i < 100; ++i) deep += "/a";
  EXPECT_EQ(status_of(get(deep)), 400);
}

TEST(HttpMessage, FindsTheEndWhereverItIsCut) {
  const std::string text = "GET / HTTP/1.1\r\nHost: a\r\n\r\nbody\r\n\r\n";
  for (std::size_t cut = 0; cut <= text.size(); ++cut) {
    std::size_t searched = 0;
    const std::optional<std::size_t> early =
        find_head_end(std::string_view(text).substr(0, cut), searched);
    const std::optional<std::size_t> end = early ? early : find_head_end(text, searched);
    EXPECT_EQ(end, text.find("body")) << cut;
  }
}

/// Decodes `wire` in pieces of `step` bytes.
std::optional<HttpProblem> decode(const std::string& wire, std::size_t step, std::string& out,
                                  bool& done) {
  BodyDecoder decoder({.chunked = true, .length = 0});
  for (std::size_t at = 0; at < wire.size(); at += step) {
    std::string_view piece = std::string_view(wire).substr(at, step);
    if (auto problem = decoder.decode(piece, 1000, out)) return problem;
  }
  done = decoder.done();
  return std::nullopt;
}

TEST(HttpMessage, ChunkedBodiesCutAnywhere) {
  const std::string wire =
      "5\r\nhello\r\n1;name=\"x\"\r\n \r\nA\r\n0123456789\r\n0\r\nT: x\r\n\r\n";
  for (std::size_t step = 1; step <= wire.size(); ++step) {
    std::string out;
    bool done = false;
    EXPECT_FALSE(decode(wire, step, out, done));
    EXPECT_TRUE(done);
    EXPECT_EQ(out, "hello 0123456789");
  }
}

TEST(HttpMessage, RefusesBadChunks) {
  for (const std::string& wire :
       {std::string("x\r\n"), std::string("\r\n"), std::string("-1\r\n"),
        std::string("1\r\nab\r\n"), std::string("1\nab"), std::string("ffffffffffffffff\r\n"),
        "1;" + std::string(5000, 'x'),
        "0\r\n" + std::string(3000, 'a') + ": b\r\n" + std::string(3000, 'a') + "\r\n" +
            std::string(3000, 'a') + "\r\n"}) {
    std::string out;
    bool done = false;
    EXPECT_TRUE(decode(wire, wire.size(), out, done)) << wire.substr(0, 40);
  }
}

TEST(HttpMessage, DecodesNoMoreThanThereIsRoomFor) {
  BodyDecoder decoder({.chunked = false, .length = 10});
  std::string out;
  std::string_view input = "0123456789more";
  EXPECT_FALSE(decoder.decode(input, 4, out));
  EXPECT_EQ(out, "0123");
  EXPECT_FALSE(decoder.decode(input, 100, out));
  EXPECT_EQ(out, "0123456789");
  EXPECT_TRUE(decoder.done());
  EXPECT_EQ(input, "more");
}

}  // namespace
}  // namespace hearth::serve
