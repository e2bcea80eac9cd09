// Texts and token ids in turn, and biases of texts: llama-server's forms, with a model.
#include <gtest/gtest.h>

#include <algorithm>
#include <filesystem>
#include <initializer_list>
#include <nlohmann/json.hpp>
#include <string>
#include <vector>

#include "serve/served_fixture.h"
#include "shared_dir.h"

namespace hearth::serve {
namespace {

using Json = nlohmann::ordered_json;
using Ids = std::vector<int>;

class MixedPromptsTest : public ::testing::Test {
 protected:
  void start() {
    server.directory.add("stories", hearth::testing::stories_model());
    server.start();
  }
  [[nodiscard]] Ids tokens(const Json& content, bool add_special = false) const {
    return server.post_json("/tokenize", {{"content", content}, {"add_special", add_special}})
        .at("tokens");
  }
  [[nodiscard]] Json complete(const Json& prompt, const Json& more = Json::object()) const {
    Json body = {{"prompt", prompt}, {"n_predict", 8}, {"temperature", 0}, {"return_tokens", true}};
    body.update(more);
    return server.post_json("/completion", body);
  }
  static Ids joined(std::initializer_list<Ids> lists) {
    Ids all;
    for (const Ids& list : lists) all.insert(all.end(), list.begin(), list.end());
    return all;
  }

  TestServer server{TestServer::small()};
};

TEST_F(MixedPromptsTest, PiecesAreTokenizedOneByOne) {
  HEARTH_REQUIRE_FILE(hearth::testing::stories_model());
  start();
  const Ids once = tokens("Once upon"), there = tokens("there was");
  ASSERT_GT(once.size(), 1U);
  EXPECT_EQ(tokens({12, 34}), (Ids{12, 34}));
  EXPECT_EQ(tokens({12, 34, "Once upon", 56, "there was"}), joined({{12, 34}, once, {56}, there}));
  EXPECT_EQ(tokens({"Once upon", 56}, true), joined({{1}, once, {56}}));  // BOS
  EXPECT_EQ(tokens({56, "Once upon"}, true), joined({{56}, once}));
  EXPECT_EQ(tokens(Json::array()), Ids());
  EXPECT_EQ(server.post("/tokenize", R"({"content":[5,100000]})").status, 400);
  EXPECT_EQ(server.post("/tokenize", R"({"content":[5,-1]})").status, 400);
  EXPECT_EQ(server.post("/tokenize", R"({"content":[5,[6]]})").status, 400);
}

TEST_F(MixedPromptsTest, AreGoneOnWithAsTheirTokensAre) {
  HEARTH_REQUIRE_FILE(hearth::testing::stories_model());
  start();
  const Ids once = tokens("Once upon"), there = tokens("there was");
  const Json expected = complete(joined({{1}, once, {56}, there}));
  const Json mixed = complete({"Once upon", 56, "there was"});
  EXPECT_EQ(mixed["tokens"], expected["tokens"]);
  EXPECT_EQ(mixed["tokens_evaluated"], once.size() + there.size() + 2);
  EXPECT_EQ(complete({1, "Once upon", 56, "there was"})["tokens"], expected["tokens"]);
  const Json list = complete({"Once", {"Once upon", 56, "there was"}});
  ASSERT_EQ(list.size(), 2U);
  EXPECT_EQ(list[1]["content"], expected["content"]);
  // Each tells of itself.
  EXPECT_EQ(list[1]["tokens_evaluated"], mixed["tokens_evaluated"]);
  EXPECT_EQ(list[1]["tokens_predicted"], mixed["tokens_predicted"]);
  EXPECT_EQ(list[0]["tokens_evaluated"], tokens("Once", true).size());
  EXPECT_EQ(server.post("/completion", R"({"prompt":["a",100000]})").status, 400);
  // OpenAI knows no such prompts.
  EXPECT_EQ(server.post("/v1/completions", R"({"prompt":[1,"a"]})").status, 400);
}

TEST_F(MixedPromptsTest, TextsHaveBiases) {
  HEARTH_REQUIRE_FILE(hearth::testing::stories_model());
  start();
  const Json plain = complete("Once upon a time");
  const std::string said = plain["content"];
  Ids never = tokens(said);
  const auto says = [&never](const Json& reply) {
    const Ids ids = reply["tokens"];
    return std::any_of(ids.begin(), ids.end(), [&](int id) {
      return std::find(never.begin(), never.end(), id) != never.end();
    });
  };
  ASSERT_TRUE(says(plain));
  for (const Json& bias : {Json::array({Json::array({said, false})}),
                           Json::array({Json::array({said, -1000})}), Json{{said, false}}}) {
    const Json reply = complete("Once upon a time", {{"logit_bias", bias}});
    ASSERT_TRUE(reply.contains("tokens")) << reply;
    EXPECT_FALSE(says(reply)) << bias;
  }
  never = tokens("zoo");
  EXPECT_TRUE(says(complete("Once", {{"logit_bias", {{"zoo", 1000}}}})));
  EXPECT_EQ(server.post("/v1/completions", R"({"prompt":"a","logit_bias":{"zoo":1}})").status, 400);
}

}  // namespace
}  // namespace hearth::serve
