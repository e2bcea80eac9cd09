#include "serve/service.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <atomic>
#include <nlohmann/json.hpp>
#include <set>
#include <thread>

#include "serve/dialects/fields.h"
#include "serve/served_fixture.h"
#include "shared_dir.h"

namespace hearth::serve {
namespace {

using Json = nlohmann::ordered_json;
using std::chrono::milliseconds;

/// Without a model: what needs none.
class EmptyServiceTest : public ::testing::Test {
 protected:
  void SetUp() override { server.start(); }
  TestServer server{TestServer::small()};
};

class ServiceTest : public ::testing::Test {
 protected:
  void start(TestServer::Options options = TestServer::small()) {
    server.emplace(std::move(options));
    server->directory.add("stories", hearth::testing::stories_model());
    server->start();
  }
  std::optional<TestServer> server;
};

Json chat_body(const std::string& text, int tokens, bool stream = false) {
  return {{"model", "stories"},
          {"messages", Json::array({{{"role", "user"}, {"content", text}}})},
          {"max_tokens", tokens},
          {"temperature", 0},
          {"stream", stream}};
}

TEST_F(EmptyServiceTest, AnswersWhatNeedsNoModel) {
  EXPECT_EQ(server.get("/health").body, R"({"status":"ok"})");
  EXPECT_EQ(server.get("/").body, "Ollama is running");
  EXPECT_EQ(server.get("/api/version").status, 200);
  EXPECT_EQ(Json::parse(server.get("/v1/models").body)["data"], Json::array());
  const RawResponse metrics = server.get("/metrics");
  EXPECT_EQ(metrics.status, 200);
  EXPECT_NE(metrics.body.find("hearth_http_connections"), std::string::npos);
}

TEST_F(EmptyServiceTest, ErrorsHaveTheFormOfThePathsDialect) {
  const RawResponse unknown = server.get("/v1/nothing");
  EXPECT_EQ(unknown.status, 404);
  EXPECT_TRUE(Json::parse(unknown.body)["error"]["message"].is_string());
  const RawResponse ollama = server.get("/api/nothing");
  EXPECT_EQ(ollama.status, 404);
  EXPECT_TRUE(Json::parse(ollama.body)["error"].is_string());
  const RawResponse method = server.get("/v1/chat/completions");
  EXPECT_EQ(method.status, 405);
  EXPECT_EQ(method.header("allow"), "POST");
  EXPECT_FALSE(method.header("x-request-id").empty());
  const RawResponse anthropic = server.get("/v1/messages");
  EXPECT_EQ(anthropic.status, 405);
  EXPECT_EQ(Json::parse(anthropic.body)["request_id"], anthropic.header("request-id"));
  const RawResponse model = server.post(
      "/v1/chat/completions", R"({"model":"none","messages":[{"role":"user","content":"x"}]})");
  EXPECT_EQ(model.status, 404);
  EXPECT_EQ(Json::parse(model.body)["error"]["code"], "model_not_found");
  EXPECT_EQ(
      server.post("/api/chat", R"({"model":"none","messages":[{"role":"user","content":"x"}]})")
          .status,
      404);
}

TEST_F(EmptyServiceTest, RefusesStrangersPages) {
  const auto status = [&](const char* headers) {
    return RawClient::ask(server.port(),
                          std::string("GET /api/version HTTP/1.1\r\n") + headers + "\r\n")
        .status;
  };
  EXPECT_EQ(status("Host: localhost\r\n"), 200);
  EXPECT_EQ(status("Host: evil.example\r\n"), 403);
  EXPECT_EQ(status("Host: localhost\r\nOrigin: https://evil.example\r\n"), 403);
  EXPECT_EQ(RawClient::ask(server.port(),
                           "OPTIONS /v1/models HTTP/1.1\r\nHost: localhost\r\nOrigin: "
                           "https://evil.example\r\nAccess-Control-Request-Method: GET\r\n\r\n")
                .status,
            403);
}

TEST(Service, PermittedOriginsGetCorsHeaders) {
  TestServer::Options options = TestServer::small();
  options.security.cors_origins = {"https://app.example"};
  TestServer server(std::move(options));
  server.start();
  const RawResponse preflight =
      RawClient::ask(server.port(),
                     "OPTIONS /v1/models HTTP/1.1\r\nHost: localhost\r\nOrigin: "
                     "https://app.example\r\nAccess-Control-Request-Method: GET\r\n\r\n");
  EXPECT_EQ(preflight.status, 204);
  EXPECT_EQ(preflight.header("access-control-allow-origin"), "https://app.example");
  const RawResponse response = RawClient::ask(
      server.port(), request_text("GET", "/v1/models", {}, "Origin: https://app.example\r\n"));
  EXPECT_EQ(response.status, 200);
  EXPECT_EQ(response.header("access-control-allow-origin"), "https://app.example");
}

TEST(Service, KeysAreAskedFor) {
  TestServer::Options options = TestServer::small();
  options.security.api_keys = {"a-secret-key"};
  TestServer server(std::move(options));
  server.start();
  EXPECT_EQ(server.get("/health").status, 200);
  const RawResponse refused = server.get("/v1/models");
  EXPECT_EQ(refused.status, 401);
  EXPECT_EQ(refused.header("www-authenticate"), "Bearer");
  EXPECT_EQ(RawClient::ask(server.port(), request_text("GET", "/v1/models", {},
                                                       "Authorization: Bearer a-secret-key\r\n"))
                .status,
            200);
  EXPECT_EQ(server.log().find("a-secret-key"), std::string::npos);
}

TEST_F(EmptyServiceTest, MalformedBodiesAre400) {
  for (const BodyRoute& route : body_routes()) {
    for (const std::string& body :
         {std::string("{"), std::string("[]"), std::string("null"), std::string("\"text\""),
          std::string("{\"model\":\"\xff\"}"), std::string("{\"a\":1}}"), std::string("nan"),
          std::string(200'000, '['), "{\"a\":" + std::string(5000, '{')}) {
      const RawResponse response =
          RawClient::ask(server.port(), request_text(route.method, route.path, body));
      EXPECT_GE(response.status, 400) << route.path << " " << body.substr(0, 40);
      EXPECT_LT(response.status, 500) << route.path << " " << body.substr(0, 40);
    }
  }
}

TEST_F(EmptyServiceTest, DescribesItsRoutes) {
  const Json document = Json::parse(server.get("/openapi.json").body);
  EXPECT_EQ(document["openapi"], "3.1.0");
  // Every route is in it, and every reference leads somewhere.
  std::size_t operations = 0;
  std::set<std::string> ids;
  for (const auto& [path, methods] : document["paths"].items()) {
    for (const auto& [method, operation] : methods.items()) {
      ++operations;
      EXPECT_TRUE(ids.insert(operation["operationId"]).second) << operation["operationId"];
      EXPECT_FALSE(operation["summary"].get<std::string>().empty()) << path;
      if (!operation.contains("requestBody")) continue;
      const Json& content = operation["requestBody"]["content"];
      if (!content.contains("application/json")) continue;
      const std::string reference = content["application/json"]["schema"]["$ref"];
      const std::string prefix = "#/components/schemas/";
      ASSERT_TRUE(reference.starts_with(prefix));
      EXPECT_TRUE(document["components"]["schemas"].contains(reference.substr(prefix.size())))
          << reference;
    }
  }
  EXPECT_EQ(operations, server.service().router().routes().size());
}

std::vector<std::string> segments_of(std::string_view path) {
  std::vector<std::string> segments;
  for (std::size_t at = 1; at < path.size();) {
    const std::size_t end = std::min(path.find('/', at), path.size());
    segments.emplace_back(path.substr(at, end - at));
    at = end + 1;
  }
  return segments;
}

TEST_F(EmptyServiceTest, HasARouteForEveryBodyThatIsDescribed) {
  for (const BodyRoute& body : body_routes()) {
    EXPECT_NE(server.service().router().match(body.method, segments_of(body.path)).route, nullptr)
        << body.method << " " << body.path;
  }
}

Json wrong_value(Types types) {
  if ((types & kObject) == 0) return Json::object();
  if ((types & kArray) == 0) return Json::array();
  if ((types & kString) == 0) return "text";
  if ((types & kBoolean) == 0) return true;
  return 1.5;
}

TEST_F(EmptyServiceTest, WrongTypesOfEveryFieldAre400) {
  int checked = 0;
  for (const BodyRoute& route : body_routes()) {
    for (const auto& part : route.body->parts) {
      for (const Field& field : part) {
        if (field.types == kAnything) continue;
        Json body = Json::parse(route.example);
        body[std::string(field.name)] = wrong_value(field.types);
        const RawResponse response =
            RawClient::ask(server.port(), request_text(route.method, route.path, body.dump()));
        EXPECT_EQ(response.status, 400) << route.path << " " << field.name << ": " << response.body;
        ++checked;
      }
    }
  }
  EXPECT_GT(checked, 50);
}

TEST_F(ServiceTest, ChatsCollectedAndStreamed) {
  HEARTH_REQUIRE_FILE(hearth::testing::stories_model());
  start();
  const Json whole = server->post_json("/v1/chat/completions", chat_body("Once upon a time", 16));
  const std::string text = whole["choices"][0]["message"]["content"];
  EXPECT_FALSE(text.empty());
  EXPECT_EQ(whole["choices"][0]["finish_reason"], "length");
  EXPECT_EQ(whole["usage"]["completion_tokens"], 16);
  EXPECT_GT(whole["usage"]["prompt_tokens"].get<int>(), 1);

  const RawResponse response =
      server->post("/v1/chat/completions", chat_body("Once upon a time", 16, true).dump());
  EXPECT_EQ(response.status, 200);
  EXPECT_TRUE(response.header("content-type").starts_with("text/event-stream"));
  std::string streamed;
  const std::vector<std::string> events = event_data(response.body);
  ASSERT_GT(events.size(), 3U);
  EXPECT_EQ(events.back(), "[DONE]");
  for (std::size_t i = 0; i + 1 < events.size(); ++i) {
    const Json event = Json::parse(events[i]);
    const Json& delta = event["choices"][0]["delta"];
    if (delta.contains("content") && delta["content"].is_string())
      streamed += delta["content"].get<std::string>();
  }
  EXPECT_EQ(streamed, text);
  // The text never gets into the log.
  EXPECT_EQ(server->log().find("Once upon"), std::string::npos);
  EXPECT_NE(server->log().find("path=/v1/chat/completions status=200"), std::string::npos);
  EXPECT_NE(
      server->get("/metrics").body.find("hearth_generated_tokens_total{model=\"stories\"} 32"),
      std::string::npos);
}

TEST_F(ServiceTest, OllamaStreamsLines) {
  HEARTH_REQUIRE_FILE(hearth::testing::stories_model());
  start();
  const RawResponse response = server->post(
      "/api/generate",
      R"({"model":"stories:latest","prompt":"Once","raw":true,"options":{"num_predict":5}})");
  EXPECT_EQ(response.status, 200);
  Json last;
  int lines = 0;
  for (std::size_t at = 0; at < response.body.size(); ++lines) {
    const std::size_t end = response.body.find('\n', at);
    last = Json::parse(response.body.substr(at, end - at));
    at = end + 1;
  }
  EXPECT_GT(lines, 1);
  EXPECT_EQ(last["done"], true);
  EXPECT_EQ(last["eval_count"], 5);
  EXPECT_EQ(Json::parse(server->get("/api/ps").body)["models"].size(), 1U);
  EXPECT_EQ(Json::parse(server->get("/api/tags").body)["models"][0]["name"], "stories");
}

TEST_F(ServiceTest, SeveralChoicesAndStops) {
  HEARTH_REQUIRE_FILE(hearth::testing::stories_model());
  start();
  Json body = chat_body("Once upon a time", 8);
  body["n"] = 3;
  body["temperature"] = 1;
  body["seed"] = 5;
  const Json three = server->post_json("/v1/chat/completions", body);
  ASSERT_EQ(three["choices"].size(), 3U);
  EXPECT_NE(three["choices"][0]["message"], three["choices"][1]["message"]);
  EXPECT_EQ(three["usage"]["completion_tokens"], 24);
  EXPECT_EQ(server->post_json("/v1/chat/completions", body)["choices"], three["choices"]);

  Json stopped = chat_body("Once upon a time", 60);
  stopped["stop"] = Json::array({"."});
  const Json reply = server->post_json("/v1/chat/completions", stopped);
  EXPECT_EQ(reply["choices"][0]["finish_reason"], "stop");
  EXPECT_EQ(reply["choices"][0]["message"]["content"].get<std::string>().find('.'),
            std::string::npos);
}

TEST_F(ServiceTest, RefusesPromptsThatDoNotFitWithTheNumbers) {
  HEARTH_REQUIRE_FILE(hearth::testing::stories_model());
  start();
  std::string long_text;
  for (int i = 0; i < 400; ++i) long_text += "word ";
  const RawResponse response = server->post("/v1/chat/completions", chat_body(long_text, 4).dump());
  EXPECT_EQ(response.status, 400);
  const Json error = Json::parse(response.body)["error"];
  EXPECT_EQ(error["code"], "context_length_exceeded");
  EXPECT_NE(error["message"].get<std::string>().find("256"), std::string::npos);
  EXPECT_EQ(error["param"], "messages");
  const auto parameter = [this](const char* path, const Json& body) {
    const RawResponse refused = server->post(path, body.dump());
    EXPECT_EQ(refused.status, 400) << refused.body;
    return Json::parse(refused.body)["error"].value("param", "none");
  };
  EXPECT_EQ(parameter("/v1/completions", {{"prompt", long_text}}), "prompt");
  EXPECT_EQ(parameter("/v1/responses", {{"input", long_text}}), "input");
}

TEST_F(ServiceTest, RefusalsOfAFormatNameTheParameterThatHasIt) {
  HEARTH_REQUIRE_FILE(hearth::testing::stories_model());
  start();
  const Json schema = {{"type", "no such type"}};
  const auto refused = [this](const char* path, Json body, const char* field, const Json& value) {
    body[field] = value;
    const RawResponse response = server->post(path, body.dump());
    EXPECT_EQ(response.status, 400) << response.body;
    return Json::parse(response.body)["error"].value("param", "none");
  };
  const Json chat = chat_body("Hello", 4), completion = {{"prompt", "Hello"}};
  const Json nested = {{"type", "json_schema"}, {"json_schema", {{"schema", schema}}}};
  EXPECT_EQ(refused("/v1/chat/completions", chat, "response_format", nested),
            "response_format.json_schema.schema");
  EXPECT_EQ(refused("/v1/chat/completions", chat, "grammar", "root ::= ("), "grammar");
  EXPECT_EQ(refused("/v1/completions", completion, "json_schema", schema), "json_schema");
  EXPECT_EQ(refused("/v1/responses", {{"input", "Hello"}}, "text",
                    {{"format", {{"type", "json_schema"}, {"schema", schema}}}}),
            "text.format.schema");
}

TEST_F(ServiceTest, AHangUpEndsTheGeneration) {
  HEARTH_REQUIRE_FILE(hearth::testing::stories_model());
  start();
  // Streamed and not: neither client waits for its 200 tokens.
  for (const bool stream : {true, false}) {
    RawClient client(server->port());
    client.send(request_text("POST", "/v1/chat/completions",
                             chat_body("Once upon a time", 200, stream).dump()));
    if (stream) {
      EXPECT_EQ(client.receive_bytes(12).substr(9, 3), "200");
    } else {
      while (server->http().counters().handling == 0) std::this_thread::yield();
    }
  }
  while (server->http().counters().handling > 0) std::this_thread::yield();
  const std::vector<LoadedFacts> loaded = server->models().loaded();
  ASSERT_EQ(loaded.size(), 1U);
  EXPECT_EQ(loaded.front().users, 0U);
}

TEST_F(ServiceTest, WrongKindsOfModelsAreRefused) {
  HEARTH_REQUIRE_FILE(hearth::testing::stories_model());
  start();
  const RawResponse response =
      server->post("/v1/embeddings", R"({"model":"stories","input":"text"})");
  EXPECT_EQ(response.status, 400);
  EXPECT_EQ(Json::parse(response.body)["error"]["code"], "wrong_kind_of_model");
}

TEST_F(ServiceTest, StopsWhileRepliesRun) {
  HEARTH_REQUIRE_FILE(hearth::testing::stories_model());
  start();
  RawClient client(server->port());
  client.send(request_text("POST", "/v1/chat/completions",
                           chat_body("Once upon a time", 200, true).dump()));
  EXPECT_EQ(client.receive_bytes(12).substr(9, 3), "200");
  server->http().stop(milliseconds(0));
  server->models().stop();
  EXPECT_EQ(server->http().counters().handling, 0);
}

TEST_F(ServiceTest, StreamsThatAreCutWhenItStopsSayHowTheyEnd) {
  HEARTH_REQUIRE_FILE(hearth::testing::stories_model());
  start();
  const std::string body = chat_body("Once upon a time", 200, true).dump();
  RawClient openai(server->port()), anthropic(server->port());
  openai.send(request_text("POST", "/v1/chat/completions", body));
  anthropic.send(request_text("POST", "/v1/messages", body));
  // What has said nothing would be refused instead.
  const auto wait_for = [](RawClient& client, std::string_view words) {
    std::string come;
    while (come.find(words) == std::string::npos) {
      const std::size_t before = come.size();
      come = client.receive_bytes(before + 1);
      ASSERT_GT(come.size(), before) << come;
    }
  };
  wait_for(openai, R"("delta":{"content":)");
  wait_for(anthropic, "content_block_delta");
  server->http().stop(
      milliseconds(0), [&] { server->models().stop(); }, std::chrono::minutes(1));
  constexpr std::size_t kAll = std::size_t{1} << 30;
  EXPECT_NE(openai.receive_bytes(kAll).find("data: [DONE]"), std::string::npos);
  EXPECT_NE(anthropic.receive_bytes(kAll).find("event: message_stop"), std::string::npos);
}

}  // namespace
}  // namespace hearth::serve
