#include "serve/http/server.h"

#include <gtest/gtest.h>

#include <condition_variable>
#include <mutex>
#include <thread>

#include "serve/raw_client.h"
#include "serve/request_failure.h"
#include "support/error.h"

namespace hearth::serve {
namespace {

using std::chrono::milliseconds;

/// Answers what tests ask for: /echo, /stream, /wait (until told, or the client is gone), /upload.
class TestApplication final : public HttpApplication {
 public:
  Admission admit(HttpRequest& request) override {
    Admission admission;
    admission.body_limit = 1000;
    if (request.path() == "/upload") {
      admission.streams_body = true;
      admission.body_limit = std::size_t{1} << 30;
    }
    if (request.path() == "/no") admission.refusal = HttpResponse{.status = 403, .body = "no"};
    return admission;
  }

  void handle(const HttpRequest& request, HttpExchange& exchange) override {
    const std::string path = request.path();
    if (path == "/wait") return wait(exchange);
    if (path == "/stream") return stream(exchange);
    if (path == "/upload") return upload(exchange);
    if (path == "/silent") return;
    exchange.respond({.status = 200, .content_type = "text/plain", .body = request.body});
  }

  HttpResponse problem(const HttpRequest&, const HttpProblem& what) override {
    return {.status = what.status, .content_type = "text/plain", .body = what.message};
  }

  void let_go() {
    const std::lock_guard lock(mutex_);
    released_ = true;
    changed_.notify_all();
  }
  /// Waits until so many clients of /wait and /stream were seen to be gone.
  bool wait_for_gone(int count) {
    std::unique_lock lock(mutex_);
    return changed_.wait_for(lock, std::chrono::seconds(60), [&] { return gone_ >= count; });
  }
  bool wait_for_waiting(int count) {
    std::unique_lock lock(mutex_);
    return changed_.wait_for(lock, std::chrono::seconds(60), [&] { return waiting_ >= count; });
  }

 private:
  void wait(HttpExchange& exchange) {
    exchange.on_gone([this] {
      const std::lock_guard lock(mutex_);
      ++gone_;
      changed_.notify_all();
    });
    {
      std::unique_lock lock(mutex_);
      ++waiting_;
      changed_.notify_all();
      changed_.wait(lock, [&] { return released_ || exchange.gone(); });
    }
    exchange.on_gone(nullptr);
    exchange.respond({.status = 200, .content_type = "text/plain", .body = "done"});
  }

  void stream(HttpExchange& exchange) {
    exchange.begin({.status = 200, .content_type = "text/event-stream", .body = "first"});
    for (int i = 0; i < 3; ++i) exchange.write("piece");
    exchange.end();
  }

  void upload(HttpExchange& exchange) {
    std::string piece;
    std::size_t total = 0;
    try {
      while (exchange.read_body(piece, 10'000)) total += piece.size();
    } catch (const RequestFailure& failure) {
      return exchange.respond({.status = failure.error().status, .body = failure.what()});
    }
    exchange.respond({.status = 201, .body = std::to_string(total)});
  }

  std::mutex mutex_;
  std::condition_variable changed_;
  bool released_ = false;
  int gone_ = 0, waiting_ = 0;
};

class HttpServerTest : public ::testing::Test {
 protected:
  void start(const HttpLimits& limits = {}) {
    server.emplace(application, limits);
    port = server->listen("localhost", 0);
    server->start();
  }
  void TearDown() override {
    application.let_go();
    server.reset();
  }

  TestApplication application;
  std::optional<HttpServer> server;
  std::uint16_t port = 0;
};

TEST_F(HttpServerTest, AnswersOnBothLoopbackAddresses) {
  start();
  EXPECT_EQ(RawClient::ask(port, request_text("POST", "/echo", "hello")).body, "hello");
  ASSERT_FALSE(server->addresses().empty());
  EXPECT_EQ(server->addresses().front(), "127.0.0.1:" + std::to_string(port));
  if (server->addresses().size() == 2) {
    RawClient client(port, /*v6=*/true);
    client.send(request_text("POST", "/echo", "six"));
    EXPECT_EQ(client.receive().body, "six");
  }
}

TEST_F(HttpServerTest, KeepsConnectionsAndTakesPipelinedRequests) {
  start();
  RawClient client(port);
  std::string many;
  for (int i = 0; i < 200; ++i) many += request_text("POST", "/echo", std::to_string(i));
  many += request_text("GET", "/no");  // refused without a body: the connection stays
  many += request_text("HEAD", "/echo");
  many += request_text("GET", "/echo", "last", "Connection: close\r\n");
  client.send(many);
  for (int i = 0; i < 200; ++i) ASSERT_EQ(client.receive().body, std::to_string(i));
  EXPECT_EQ(client.receive().status, 403);
  EXPECT_EQ(client.receive(/*head_request=*/true).status, 200);
  const RawResponse last = client.receive();
  EXPECT_EQ(last.body, "last");
  EXPECT_EQ(last.header("connection"), "close");
  EXPECT_TRUE(client.closed_within(milliseconds(60'000)));
}

TEST_F(HttpServerTest, ThousandsOfRefusedPipelinedRequestsDoNoHarm) {
  start();
  RawClient client(port);
  std::string many;
  for (int i = 0; i < 5000; ++i) many += "GET /no HTTP/1.1\r\nHost: a\r\n\r\n";
  std::thread sender([&] { client.send(many); });
  int count = 0;
  while (count < 5000 && client.receive().status == 403) ++count;
  sender.join();
  EXPECT_EQ(count, 5000);
}

TEST_F(HttpServerTest, SpeaksHttp10) {
  start();
  EXPECT_EQ(RawClient::ask(port, "GET /stream HTTP/1.0\r\n\r\n").body, "firstpiecepiecepiece");
  const RawResponse kept =
      RawClient::ask(port, "GET /echo HTTP/1.0\r\nConnection: keep-alive\r\n\r\n");
  EXPECT_EQ(kept.header("connection"), "keep-alive");
}

TEST_F(HttpServerTest, StreamsInChunks) {
  start();
  const RawResponse response = RawClient::ask(port, request_text("GET", "/stream"));
  EXPECT_EQ(response.header("transfer-encoding"), "chunked");
  EXPECT_EQ(response.body, "firstpiecepiecepiece");
}

TEST_F(HttpServerTest, RefusesWhatIsTooLargeAndStaysUp) {
  start();
  EXPECT_EQ(RawClient::ask(port, request_text("POST", "/echo", std::string(1001, 'x'))).status,
            413);
  // Announced, not sent: answered at once.
  EXPECT_EQ(
      RawClient::ask(port, "POST /echo HTTP/1.1\r\nHost: a\r\nContent-Length: 104857600\r\n\r\n")
          .status,
      413);
  // 100 MB that do come, with and without a length.
  const std::string large(std::size_t{100} << 20, 'x');
  EXPECT_EQ(RawClient::ask(port, request_text("POST", "/echo", large)).status, 413);
  const std::string less(std::size_t{10} << 20, 'x');
  EXPECT_EQ(RawClient::ask(port,
                           "POST /echo HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n"
                           "a00000\r\n" +
                               less + "\r\n0\r\n\r\n")
                .status,
            413);
  EXPECT_EQ(RawClient::ask(port, "GET / HTTP/1.1\r\nHost: a\r\nX: " + less).status, 431);
  EXPECT_EQ(RawClient::ask(port, "GET /" + std::string(20'000, 'x') + " HTTP/1.1\r\n\r\n").status,
            414);
  EXPECT_EQ(RawClient::ask(port, request_text("POST", "/echo", "fine")).body, "fine");
}

TEST_F(HttpServerTest, ReadsChunkedBodiesAndExpectations) {
  start();
  EXPECT_EQ(RawClient::ask(port,
                           "POST /echo HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n"
                           "3\r\nabc\r\n2\r\nde\r\n0\r\n\r\n")
                .body,
            "abcde");
  RawClient client(port);
  client.send(
      "POST /echo HTTP/1.1\r\nHost: a\r\nExpect: 100-continue\r\nContent-Length: 2\r\n\r\n");
  EXPECT_EQ(client.receive_bytes(25), "HTTP/1.1 100 Continue\r\n\r\n");
  client.send("ok");
  EXPECT_NE(client.receive_bytes(45).find("200 OK"), std::string::npos);
}

TEST_F(HttpServerTest, HandlersReadLargeBodiesThemselves) {
  start();
  EXPECT_EQ(RawClient::ask(port, request_text("POST", "/upload", std::string(3'000'000, 'x'))).body,
            "3000000");
  RawClient client(port);
  client.send(request_text("POST", "/upload", "abc") + request_text("POST", "/echo", "next"));
  EXPECT_EQ(client.receive().body, "3");
  EXPECT_EQ(client.receive().body, "next");
  RawClient broken(port);
  broken.send("POST /upload HTTP/1.1\r\nHost: a\r\nContent-Length: 10\r\n\r\nabc");
  broken.shut_down_writing();
  EXPECT_EQ(broken.receive().status, 400);
}

TEST_F(HttpServerTest, SlowHeadersAndBodiesEndInTime) {
  HttpLimits limits;
  limits.head_deadline = milliseconds(300);
  limits.body_stall = milliseconds(300);
  limits.idle_deadline = milliseconds(300);
  start(limits);
  RawClient head(port), body(port), idle(port);
  head.send("GET / HTTP/1.1\r\nHost: a\r\nX-A: b\r\n");
  body.send("POST /echo HTTP/1.1\r\nHost: a\r\nContent-Length: 10\r\n\r\nabc");
  EXPECT_EQ(head.receive().status, 408);
  EXPECT_EQ(body.receive().status, 408);
  EXPECT_TRUE(idle.closed_within(milliseconds(60'000)));
}

TEST_F(HttpServerTest, BodiesThatTrickleEndInTime) {
  HttpLimits limits;
  limits.body_grace = milliseconds(300);
  limits.body_rate = 1'000'000;
  start(limits);
  RawClient client(port);
  client.send("POST /echo HTTP/1.1\r\nHost: a\r\nContent-Length: 900\r\n\r\nabc");
  EXPECT_EQ(client.receive().status, 408);
}

TEST_F(HttpServerTest, AThousandIdleConnectionsDisturbNobody) {
  start();
  std::vector<std::unique_ptr<RawClient>> idle;
  for (int i = 0; i < 1000; ++i) idle.push_back(std::make_unique<RawClient>(port));
  for (int i = 0; i < 500; ++i) idle[static_cast<std::size_t>(i)]->send("GET / HT");
  EXPECT_EQ(RawClient::ask(port, request_text("POST", "/echo", "quick")).body, "quick");
  EXPECT_GE(server->counters().connections, 1000);
  for (int i = 0; i < 500; ++i)
    idle[static_cast<std::size_t>(i)]->send("TP/1.1\r\nHost: a\r\n\r\n");
  for (int i = 0; i < 500; ++i) EXPECT_EQ(idle[static_cast<std::size_t>(i)]->receive().status, 200);
}

TEST_F(HttpServerTest, WhenFullTheIdlestConnectionMakesRoom) {
  HttpLimits limits;
  limits.connections = 4;
  start(limits);
  std::vector<std::unique_ptr<RawClient>> busy;
  for (int i = 0; i < 3; ++i) {
    busy.push_back(std::make_unique<RawClient>(port));
    busy.back()->send(request_text("GET", "/wait"));
  }
  ASSERT_TRUE(application.wait_for_waiting(3));
  RawClient idle(port);
  // It takes the idle one's place; then nothing is idle and the next one is told so.
  busy.push_back(std::make_unique<RawClient>(port));
  busy.back()->send(request_text("GET", "/wait"));
  ASSERT_TRUE(application.wait_for_waiting(4));
  EXPECT_TRUE(idle.closed_within(milliseconds(60'000)));
  EXPECT_EQ(RawClient(port).receive().status, 503);
  application.let_go();
  for (const auto& each : busy) EXPECT_EQ(each->receive().body, "done");
}

TEST_F(HttpServerTest, MoreRequestsThanWorkersAreRefused) {
  HttpLimits limits;
  limits.workers = 2;
  start(limits);
  RawClient first(port), second(port);
  first.send(request_text("GET", "/wait"));
  second.send(request_text("GET", "/wait"));
  ASSERT_TRUE(application.wait_for_waiting(2));
  EXPECT_EQ(RawClient::ask(port, request_text("GET", "/echo")).status, 503);
  application.let_go();
  EXPECT_EQ(first.receive().status, 200);
  EXPECT_EQ(second.receive().status, 200);
}

TEST_F(HttpServerTest, SeesThatAClientHangsUp) {
  start();
  {
    RawClient client(port);
    client.send(request_text("GET", "/wait"));
    ASSERT_TRUE(application.wait_for_waiting(1));
  }
  EXPECT_TRUE(application.wait_for_gone(1));
}

TEST_F(HttpServerTest, AnswersForSilentHandlers) {
  start();
  EXPECT_EQ(RawClient::ask(port, request_text("GET", "/silent")).status, 500);
}

TEST_F(HttpServerTest, StopsWhenHandlersAreDone) {
  start();
  RawClient client(port);
  client.send(request_text("GET", "/wait"));
  ASSERT_TRUE(application.wait_for_waiting(1));
  std::thread stopping([&] { server->stop(milliseconds(60'000)); });
  application.let_go();
  EXPECT_EQ(client.receive().body, "done");
  stopping.join();
  EXPECT_THROW(RawClient{port}, std::runtime_error);
}

TEST_F(HttpServerTest, StopsWithoutPatience) {
  start();
  RawClient waiting(port), idle(port);
  waiting.send(request_text("GET", "/wait"));
  ASSERT_TRUE(application.wait_for_waiting(1));
  server->stop(milliseconds(0));
  EXPECT_TRUE(application.wait_for_gone(1));
  EXPECT_TRUE(idle.closed_within(milliseconds(60'000)));
}

TEST(HttpServer, SaysInOneSentenceWhyItCannotListen) {
  TestApplication application;
  HttpServer first(application, {}), second(application, {});
  const std::uint16_t port = first.listen("127.0.0.1", 0);
  try {
    second.listen("127.0.0.1", port);
    FAIL();
  } catch (const Error& error) {
    EXPECT_EQ(std::string(error.what()), "port " + std::to_string(port) + " is in use");
    EXPECT_NE(error.hint().find("--port"), std::string::npos);
  }
  EXPECT_THROW(second.listen("192.0.2.1", 0), Error);  // an address for documentation
  EXPECT_THROW(second.listen("example.org", 0), Error);
}

}  // namespace
}  // namespace hearth::serve
