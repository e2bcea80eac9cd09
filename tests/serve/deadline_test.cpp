// Deadlines of requests, in every dialect; and what /slots tells of those that run.
#include <gtest/gtest.h>

#include <algorithm>
#include <nlohmann/json.hpp>
#include <optional>

#include "serve/served_fixture.h"
#include "shared_dir.h"

namespace hearth::serve {
namespace {

using Json = nlohmann::ordered_json;

constexpr const char* kLate = "X-Request-Timeout: 0.000001\r\n";
constexpr const char* kSoon = "X-Request-Timeout: 0.2\r\n";
constexpr const char* kSecret = "the owl and the pussycat";

class DeadlineTest : public ::testing::Test {
 protected:
  void start(TestServer::Options options = TestServer::small()) {
    options.models.each.setup.context = 16384;
    options.models.each.limits.parallel = 1;
    server.emplace(std::move(options));
    server->directory.add("stories", hearth::testing::stories_model());
    server->start();
    // Loaded: the deadlines are those of replies.
    ASSERT_EQ(server->post("/v1/completions", R"({"model":"stories","prompt":"a"})").status, 200);
  }
  /// A reply that takes the only place for as long as the client is there. The client has its
  /// beginning.
  [[nodiscard]] RawClient occupy() const {
    RawClient client(server->port());
    client.send(request_text("POST", "/v1/completions", endless(true).dump()));
    EXPECT_GE(client.receive_bytes(1000).size(), 1000U);
    return client;
  }
  static Json endless(bool stream) {
    return {{"model", "stories"},
            {"prompt", kSecret},
            {"max_tokens", 16000},
            {"logit_bias", {{"0", -100}, {"1", -100}, {"2", -100}}},
            {"stream", stream}};
  }
  std::optional<TestServer> server;
};

struct Asked {
  const char* path;
  const char* body;
};
constexpr Asked kEveryDialect[] = {
    {"/v1/chat/completions", R"({"model":"stories","messages":[{"role":"user","content":"a"}]})"},
    {"/v1/responses", R"({"model":"stories","input":"a"})"},
    {"/v1/messages",
     R"({"model":"stories","max_tokens":9,"messages":[{"role":"user","content":"a"}]})"},
    {"/api/chat",
     R"({"model":"stories","stream":false,"messages":[{"role":"user","content":"a"}]})"},
    {"/completion", R"({"model":"stories","prompt":"a"})"},
};

TEST_F(DeadlineTest, WhatIsTooLateFailsInTheFormOfItsDialect) {
  HEARTH_REQUIRE_FILE(hearth::testing::stories_model());
  start();
  for (const Asked& each : kEveryDialect) {
    const RawResponse response = server->post(each.path, each.body, kLate);
    EXPECT_EQ(response.status, 504) << each.path << response.body;
    const Json error = Json::parse(response.body)["error"];
    const std::string message = error.is_string() ? error : error["message"];
    EXPECT_NE(message.find("deadline"), std::string::npos) << each.path;
  }
  const auto error = [&](const Asked& asked) {
    return Json::parse(server->post(asked.path, asked.body, kLate).body)["error"];
  };
  EXPECT_EQ(error(kEveryDialect[0])["code"], "deadline_exceeded");
  EXPECT_EQ(error(kEveryDialect[2])["type"], "timeout_error");
  EXPECT_EQ(error(kEveryDialect[4])["code"], 504);
}

TEST_F(DeadlineTest, WhatWaitsIsGivenUpAndTheOthersGoOn) {
  HEARTH_REQUIRE_FILE(hearth::testing::stories_model());
  start();
  const RawClient first = occupy();
  const RawResponse collected = server->post("/v1/completions", endless(false).dump(), kSoon);
  EXPECT_EQ(collected.status, 504) << collected.body;
  const RawResponse streamed = server->post("/v1/completions", endless(true).dump(), kSoon);
  EXPECT_EQ(streamed.status, 200);  // it had begun
  const std::vector<std::string> events = event_data(streamed.body);
  ASSERT_EQ(events.size(), 1U);
  EXPECT_NE(Json::parse(events[0])["error"]["message"].get<std::string>().find("deadline"),
            std::string::npos);
  EXPECT_EQ(server->models().loaded().front().model->scheduler().running().size(), 1U);
}

/// Routes that only count or split texts need the model, too.
TEST_F(DeadlineTest, WaitingForAModelThatIsMadeAnewEndsForThoseThatOnlyCount) {
  HEARTH_REQUIRE_FILE(hearth::testing::stories_model());
  start();
  const RawClient first = occupy();
  ModelExtras extras;
  extras.system = "Be brief.";
  server->directory.change("stories", extras);
  constexpr const char* kChat =
      R"({"model":"stories","max_tokens":1,"messages":[{"role":"user","content":"a"}]})";
  for (const Asked& each : {Asked{"/tokenize", R"({"model":"stories","content":"a"})"},
                            {"/detokenize", R"({"model":"stories","tokens":[5]})"},
                            {"/apply-template", kChat},
                            {"/v1/messages/count_tokens", kChat},
                            {"/v1/responses/input_tokens", R"({"model":"stories","input":"a"})"}}) {
    const RawResponse response = server->post(each.path, each.body, kSoon);
    EXPECT_EQ(response.status, 504) << each.path << response.body;
  }
}

TEST_F(DeadlineTest, WhatIsGeneratingEndsWithWhatItHas) {
  HEARTH_REQUIRE_FILE(hearth::testing::stories_model());
  TestServer::Options options = TestServer::small();
  options.deadline.emplace(3);
  start(std::move(options));
  const RawResponse collected = server->post("/v1/completions", endless(false).dump());
  EXPECT_EQ(collected.status, 200);
  const Json reply = Json::parse(collected.body);
  EXPECT_EQ(reply["choices"][0]["finish_reason"], "length");
  EXPECT_GT(reply["usage"]["completion_tokens"].get<int>(), 0);
  EXPECT_LT(reply["usage"]["completion_tokens"].get<int>(), 16000);
  // A client may ask for less than the server gives, not for more.
  const RawResponse streamed =
      server->post("/v1/completions", endless(true).dump(), "X-Request-Timeout: 1000\r\n");
  const std::vector<std::string> events = event_data(streamed.body);
  ASSERT_GT(events.size(), 3U);
  EXPECT_EQ(events.back(), "[DONE]");
  EXPECT_EQ(Json::parse(events[events.size() - 2])["choices"][0]["finish_reason"], "length");
}

TEST_F(DeadlineTest, TheHeaderIsANumberOfSeconds) {
  server.emplace(TestServer::small());
  server->start();
  for (const char* wrong : {"soon", "-1", "0", "nan", "1s", "1 2"}) {
    const std::string header = "X-Request-Timeout: " + std::string(wrong) + "\r\n";
    EXPECT_EQ(
        RawClient::ask(server->port(), request_text("GET", "/api/version", {}, header)).status, 400)
        << wrong;
  }
  EXPECT_EQ(RawClient::ask(server->port(),
                           request_text("GET", "/api/version", {}, "X-Request-Timeout: 1e300\r\n"))
                .status,
            200);
}

TEST_F(DeadlineTest, SlotsShowWhatRunsAndNothingOfWhatIsSaid) {
  HEARTH_REQUIRE_FILE(hearth::testing::stories_model());
  start();
  const Json before = Json::parse(server->get("/slots").body);
  ASSERT_EQ(before.size(), 1U);
  EXPECT_EQ(before[0]["is_processing"], false);
  {
    const RawClient first = occupy();
    const RawResponse response = server->get("/slots");
    const Json slot = Json::parse(response.body)[0];
    EXPECT_EQ(slot["is_processing"], true);
    EXPECT_EQ(slot["state"], "generating");
    EXPECT_GE(slot["id_task"].get<int>(), 1);
    EXPECT_GT(slot["n_prompt_tokens"].get<int>(), 3);
    EXPECT_EQ(slot["n_prompt_tokens_processed"], slot["n_prompt_tokens"]);
    EXPECT_EQ(slot["n_ctx"], 16384);
    const Json& next = slot["next_token"];
    EXPECT_GT(next["n_decoded"].get<int>(), 0);
    EXPECT_EQ(next["n_decoded"].get<int>() + next["n_remain"].get<int>(), 16000);
    EXPECT_EQ(response.body.find("owl"), std::string::npos);
    EXPECT_EQ(server->get("/slots?fail_on_no_slot=1").status, 503);
  }
}

}  // namespace
}  // namespace hearth::serve
