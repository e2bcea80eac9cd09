#include "dialects/dialect_test.h"

namespace hearth::serve {
namespace {

RequestError error(int status, std::string code = {}, std::string parameter = {}) {
  RequestError result;
  result.status = status;
  result.message = "It is wrong";
  result.code = std::move(code);
  result.parameter = std::move(parameter);
  return result;
}
Json body(Dialect dialect, const RequestError& wrong, const ErrorDetails& details = {}) {
  return Json::parse(error_body(dialect, wrong, details));
}

TEST(ErrorForm, PathsHaveDialects) {
  for (const char* path : {"/v1/chat/completions", "/v1/models", "/v1/models/a/b", "/", "/nowhere",
                           "/apix", "/v1/messagesx", "/completionx", "/v1/responses"}) {
    EXPECT_EQ(dialect_of(path), Dialect::kOpenAi) << path;
  }
  for (const char* path :
       {"/api", "/api/chat", "/api/blobs/sha256:1", "/api/tags?x=/v1/messages"}) {
    EXPECT_EQ(dialect_of(path), Dialect::kOllama) << path;
  }
  for (const char* path : {"/v1/messages", "/v1/messages/count_tokens"}) {
    EXPECT_EQ(dialect_of(path), Dialect::kAnthropic) << path;
  }
  EXPECT_EQ(dialect_of("/v1/models", true), Dialect::kAnthropic);
  EXPECT_EQ(dialect_of("/v1/chat/completions", true), Dialect::kOpenAi);
  for (const char* path : {"/completion", "/completions", "/props", "/slots", "/slots/0",
                           "/tokenize", "/detokenize", "/apply-template", "/rerank", "/v1/rerank",
                           "/infill", "/health", "/metrics", "/embedding", "/lora-adapters"}) {
    EXPECT_EQ(dialect_of(path), Dialect::kLlamaServer) << path;
  }
}

TEST(ErrorForm, OpenAi) {
  EXPECT_EQ(body(Dialect::kOpenAi, error(400, "invalid_type", "messages[0]")),
            Json::parse(R"({"error":{"message":"It is wrong","type":"invalid_request_error",
            "param":"messages[0]","code":"invalid_type"}})"));
  const auto type = [](int status) {
    return body(Dialect::kOpenAi, error(status))["error"]["type"].get<std::string>();
  };
  EXPECT_EQ(type(401), "authentication_error");
  EXPECT_EQ(type(403), "permission_error");
  EXPECT_EQ(type(404), "not_found_error");
  EXPECT_EQ(type(413), "invalid_request_error");
  EXPECT_EQ(type(429), "rate_limit_error");
  EXPECT_EQ(type(503), "server_error");
  EXPECT_TRUE(body(Dialect::kOpenAi, error(500))["error"]["code"].is_null());
  const Json overflow = body(Dialect::kOpenAi, error(400, std::string(kContextLengthExceeded)),
                             {.request_id = {}, .prompt_tokens = 9, .context = 8})["error"];
  EXPECT_EQ(overflow["code"], "context_length_exceeded");
  EXPECT_EQ(overflow["n_prompt_tokens"], 9);
  EXPECT_EQ(overflow["n_ctx"], 8);
}

TEST(ErrorForm, Ollama) {
  EXPECT_EQ(error_body(Dialect::kOllama, error(404)), R"({"error":"It is wrong"})");
}

TEST(ErrorForm, Anthropic) {
  EXPECT_EQ(body(Dialect::kAnthropic, error(404),
                 {.request_id = "req_1", .prompt_tokens = 0, .context = 0}),
            Json::parse(R"({"type":"error","error":{"type":"not_found_error",
            "message":"It is wrong"},"request_id":"req_1"})"));
  const auto type = [](int status) {
    return body(Dialect::kAnthropic, error(status))["error"]["type"].get<std::string>();
  };
  EXPECT_EQ(type(400), "invalid_request_error");
  EXPECT_EQ(type(401), "authentication_error");
  EXPECT_EQ(type(403), "permission_error");
  EXPECT_EQ(type(413), "request_too_large");
  EXPECT_EQ(type(429), "rate_limit_error");
  EXPECT_EQ(type(500), "api_error");
  EXPECT_EQ(type(503), "overloaded_error");
  EXPECT_EQ(type(529), "overloaded_error");
  EXPECT_EQ(error_status(Dialect::kAnthropic, 503), 529);
  EXPECT_EQ(error_status(Dialect::kOpenAi, 503), 503);
  EXPECT_EQ(error_status(Dialect::kAnthropic, 429), 429);
}

TEST(ErrorForm, LlamaServer) {
  EXPECT_EQ(body(Dialect::kLlamaServer, error(503)),
            Json::parse(R"({"error":{"code":503,"message":"It is wrong",
            "type":"unavailable_error"}})"));
  const Json overflow = body(Dialect::kLlamaServer, error(400, std::string(kContextLengthExceeded)),
                             {.request_id = {}, .prompt_tokens = 9, .context = 8})["error"];
  EXPECT_EQ(overflow["type"], "exceed_context_size_error");
  EXPECT_EQ(overflow["n_ctx"], 8);
  EXPECT_EQ(body(Dialect::kLlamaServer, error(501))["error"]["type"], "not_supported_error");
}

TEST(ErrorForm, StrangeBytesStayJson) {
  RequestError odd = error(400);
  odd.message = "a\xff\"\n";
  for (const Dialect dialect :
       {Dialect::kOpenAi, Dialect::kOllama, Dialect::kAnthropic, Dialect::kLlamaServer}) {
    EXPECT_NO_THROW(static_cast<void>(body(dialect, odd)));
  }
}

}  // namespace
}  // namespace hearth::serve
