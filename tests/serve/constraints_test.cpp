// What a request demands of its reply's form costs no pass where there is nothing to choose.
#include "serve/constraints.h"

#include <gtest/gtest.h>

#include <filesystem>
#include <nlohmann/json.hpp>
#include <string>

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

}  // namespace
}  // namespace hearth::serve
