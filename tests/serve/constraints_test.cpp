// What a request demands of its reply's form costs no pass where there is nothing to choose.
#include "serve/constraints.h"

#include <gtest/gtest.h>

#include <filesystem>
#include <nlohmann/json.hpp>
#include <string>

#include "serve/request_failure.h"
#include "serve/served_fixture.h"
#include "shared_dir.h"

namespace hearth::serve {
namespace {

TEST(Constraints, WhatIsForcedIsEvaluatedTogether) {
  HEARTH_REQUIRE_FILE(hearth::testing::stories_model());
  TestServer server(TestServer::small());
  server.directory.add("stories", hearth::testing::stories_model());
  server.start();
  std::string said = "Once upon a time there was a little girl named Lily. ";
  said += said + said;
  const Json body = {{"prompt", "Say it."},
                     {"max_tokens", 220},
                     {"response_format",
                      {{"type", "json_schema"}, {"json_schema", {{"schema", {{"const", said}}}}}}}};
  const auto passes = [&] {
    const std::vector<LoadedFacts> loaded = server.models().loaded();
    return loaded.empty() ? 0 : loaded.front().model->scheduler().statistics().passes;
  };
  const Json reply = server.post_json("/v1/completions", body);
  ASSERT_TRUE(reply.contains("choices")) << reply;
  const std::string text = reply["choices"][0]["text"];
  EXPECT_EQ(Json::parse(text), said) << text;
  const int tokens = reply["usage"]["completion_tokens"];
  EXPECT_GT(tokens, 40);
  EXPECT_LT(passes(), 8);
}

Json tool(const char* name, const Json& parameters) {
  return {{"type", "function"}, {"function", {{"name", name}, {"parameters", parameters}}}};
}

/// One schema that cannot be kept to does not make the others useless.
TEST(Constraints, ToolsWhoseSchemasCannotBeKeptToTakeAnyObject) {
  const Json bad = {{"type", "object"}, {"properties", {{"u", {{"not", {{"type", "null"}}}}}}}};
  ChatTokens prompt;
  prompt.format = text::generic_tool_format(text::detect_chat_format(""));
  prompt.tools = Json::array({tool("good", {{"type", "object"}}), tool("bad", bad)});
  Constraints constraints;
  ChatRequest request;
  EXPECT_NE(constraints.for_chat(request, prompt), nullptr);
  request.tool_choice.mode = ToolMode::kRequired;
  request.tool_choice.functions = {"bad"};
  EXPECT_NE(constraints.for_chat(request, prompt), nullptr);
  prompt.tools[1]["function"]["strict"] = true;
  try {
    static_cast<void>(constraints.for_chat(request, prompt));
    FAIL() << "a strict tool whose schema is not kept to";
  } catch (const RequestFailure& failure) {
    EXPECT_EQ(failure.error().status, 400);
    EXPECT_EQ(failure.error().parameter, "tools");
    EXPECT_TRUE(std::string(failure.what()).starts_with("tool \"bad\": ")) << failure.what();
  }
}

// Not an error of the server: the client can do something about it, and is told what.
TEST(Constraints, AGrammarThatTakesTooLongIsRefused) {
  HEARTH_REQUIRE_FILE(hearth::testing::stories_model());
  TestServer server(TestServer::small());
  server.directory.add("stories", hearth::testing::stories_model());
  server.start();
  std::string grammar = "root ::= s\ns ::= \"\"";  // every text leads to another state
  for (char c = ' '; c <= '~'; ++c) {
    if (c != '"' && c != '\\') grammar += std::string(" | \"") + c + "\" s \"" + c + "\"";
  }
  grammar += " | [\\u007f-\\U0010ffff] s\n";
  Json body = {{"prompt", "Say it."}, {"max_tokens", 4}, {"n", 2}, {"grammar", grammar}};
  const RawResponse refused = server.post("/v1/completions", body.dump());
  EXPECT_EQ(refused.status, 400) << refused.body;
  const Json error = Json::parse(refused.body)["error"];
  EXPECT_EQ(error["code"], "invalid_value") << error;
  EXPECT_NE(error["message"].get<std::string>().find("simplify it"), std::string::npos) << error;
  body["stream"] = true;
  EXPECT_NE(server.post("/v1/completions", body.dump()).body.find("simplify it"),
            std::string::npos);
  body = {{"prompt", "Say it."}, {"max_tokens", 4}, {"grammar", "root ::= [a-z ]+"}};
  EXPECT_EQ(server.post("/v1/completions", body.dump()).status, 200);
}

}  // namespace
}  // namespace hearth::serve
