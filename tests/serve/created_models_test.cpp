// POST /api/create: what a model is given beside its file is applied when it is used, shown,
// copied, and kept.
#include <gtest/gtest.h>

#include <algorithm>
#include <cctype>
#include <nlohmann/json.hpp>
#include <string>
#include <thread>

#include "gguf/writer.h"
#include "hub/sha256.h"
#include "serve/served_fixture.h"
#include "shared_dir.h"
#include "support/file.h"

namespace hearth::serve {
namespace {

using Json = nlohmann::ordered_json;

constexpr const char* kTemplate =
    "{% for m in messages %}[{{ m['role'] }}: {{ m['content'] }}]{% endfor %}"
    "{% if add_generation_prompt %}[assistant:{% endif %}";

class CreatedModelTest : public ::testing::Test {
 protected:
  static TestServer::Options options() {
    TestServer::Options made = TestServer::small();
    made.models.each.setup.context = 0;  // the model may say
    made.lists_store = true;
    return made;
  }
  void start() {
    server.start();
    create({{"model", "base"},
            {"files", {{"a.gguf", upload(read_file(hearth::testing::stories_model()))}}}});
  }
  /// Its digest.
  [[nodiscard]] std::string upload(const std::string& bytes) const {
    const std::string digest = "sha256:" + hub::sha256_of(bytes);
    const int status = server.post("/api/blobs/" + digest, bytes).status;
    EXPECT_TRUE(status == 201 || status == 200);
    return digest;
  }
  void create(Json body, int status = 200) const {
    body["stream"] = false;
    const RawResponse response = server.post("/api/create", body.dump());
    EXPECT_EQ(response.status, status) << response.body;
  }
  static Json pirate() {
    return {
        {"model", "pirate"},
        {"from", "base"},
        {"template", kTemplate},
        {"system", "Speak like a pirate."},
        {"parameters",
         {{"temperature", 0}, {"num_predict", 7}, {"num_ctx", 300}, {"stop", {"zz", "qq"}}}},
        {"license", "free"},
        {"messages",
         {{{"role", "user"}, {"content", "Hi"}}, {{"role", "assistant"}, {"content", "Ahoy"}}}}};
  }
  [[nodiscard]] std::string prompt(const std::string& model, Json messages) const {
    const Json body = {{"model", model}, {"messages", std::move(messages)}};
    return server.post_json("/apply-template", body)["prompt"];
  }
  /// Of the likeliest first token: other weights, another number.
  [[nodiscard]] double first_logprob(const std::string& model) const {
    const Json body = {{"model", model},
                       {"prompt", "Once"},
                       {"max_tokens", 1},
                       {"temperature", 0},
                       {"logprobs", 1}};
    return server.post_json("/v1/completions", body)["choices"][0]["logprobs"]["token_logprobs"][0]
        .get<double>();
  }
  static Json question() { return {{{"role", "user"}, {"content", "Where?"}}}; }

  TestServer server{options()};
};

constexpr const char* kPiratesPrompt =
    "[system: Speak like a pirate.][user: Hi][assistant: Ahoy][user: Where?][assistant:";

TEST_F(CreatedModelTest, IsUsedAsItWasMade) {
  HEARTH_REQUIRE_FILE(hearth::testing::stories_model());
  start();
  create(pirate());
  EXPECT_EQ(prompt("pirate", question()), kPiratesPrompt);
  EXPECT_EQ(prompt("base", question()), "Where?");
  // A request's own system message wins.
  Json own = question();
  own.insert(own.begin(), Json{{"role", "system"}, {"content", "Be brief."}});
  EXPECT_EQ(prompt("pirate", own),
            "[system: Be brief.][user: Hi][assistant: Ahoy][user: Where?][assistant:");

  const Json chat = {{"model", "pirate"}, {"messages", question()}, {"stream", false}};
  const Json reply = server.post_json("/api/chat", chat);
  EXPECT_EQ(reply["eval_count"], 7);
  EXPECT_EQ(reply["done_reason"], "length");
  EXPECT_EQ(server.post_json("/api/chat", chat)["message"], reply["message"]);  // greedy
  Json longer = chat;
  longer["options"] = {{"num_predict", 9}};
  EXPECT_EQ(server.post_json("/api/chat", longer)["eval_count"], 9);
  EXPECT_EQ(Json::parse(server.get("/slots?model=pirate").body)[0]["n_ctx"], 300);
  // Its stops count where a request has none: one of them is what greedy decoding says.
  const std::string said = reply["message"]["content"];
  Json stopped = pirate();
  stopped["parameters"]["stop"] = said.substr(said.size() / 2);
  create(stopped);
  EXPECT_EQ(server.post_json("/api/chat", chat)["done_reason"], "stop");
  Json others = chat;
  others["options"] = {{"stop", {"zz"}}};
  EXPECT_EQ(server.post_json("/api/chat", others)["done_reason"], "length");
}

TEST_F(CreatedModelTest, IsShownCopiedAndKept) {
  HEARTH_REQUIRE_FILE(hearth::testing::stories_model());
  start();
  create(pirate());
  EXPECT_EQ(server.post("/api/copy", R"({"source":"pirate","destination":"parrot"})").status, 200);
  for (int round = 0; round < 2; ++round) {
    for (const char* name : {"pirate", "parrot"}) {
      const Json shown = server.post_json("/api/show", {{"model", name}});
      EXPECT_EQ(shown["template"], kTemplate);
      EXPECT_EQ(shown["system"], "Speak like a pirate.");
      EXPECT_EQ(shown["license"], "free\n");
      EXPECT_EQ(shown["messages"].size(), 2U);
      const std::string parameters = shown["parameters"];
      EXPECT_NE(parameters.find("num_predict                   7\n"), std::string::npos);
      EXPECT_NE(parameters.find("stop                          \"zz\"\n"), std::string::npos);
      EXPECT_NE(shown["modelfile"].get<std::string>().find("MESSAGE assistant \"Ahoy\"\n"),
                std::string::npos);
      EXPECT_EQ(prompt(name, question()), kPiratesPrompt);
    }
    server.restart();
  }
  EXPECT_EQ(
      RawClient::ask(server.port(), request_text("DELETE", "/api/delete", R"({"model":"pirate"})"))
          .status,
      200);
  EXPECT_EQ(prompt("parrot", question()), kPiratesPrompt);
}

TEST_F(CreatedModelTest, IsMadeAnewWhileItIsLoaded) {
  HEARTH_REQUIRE_FILE(hearth::testing::stories_model());
  start();
  create(pirate());
  EXPECT_EQ(prompt("pirate", question()), kPiratesPrompt);
  Json changed = pirate();
  changed["system"] = "Speak like a king.";
  create(changed);
  EXPECT_EQ(prompt("pirate", question()),
            "[system: Speak like a king.][user: Hi][assistant: Ahoy][user: Where?][assistant:");
  EXPECT_EQ(server.models().loaded().size(), 1U);
}

TEST_F(CreatedModelTest, OfAnotherFileIsLoadedAnewAndWithAnotherLicenseIsNot) {
  HEARTH_REQUIRE_FILE(hearth::testing::stories_model());
  start();
  const double before = first_logprob("base");
  const std::shared_ptr<ServedModel> first = server.models().loaded().front().model;
  const std::string digest =
      "sha256:" + hub::sha256_of(read_file(hearth::testing::stories_model()));
  create({{"model", "base"}, {"files", {{"a.gguf", digest}}}, {"license", "free"}});
  EXPECT_EQ(first_logprob("base"), before);
  EXPECT_EQ(server.models().loaded().front().model, first);

  std::string other = read_file(hearth::testing::stories_model());
  std::fill_n(other.end() - 40'000, 4096, '\0');  // weights
  create({{"model", "base"}, {"files", {{"a.gguf", upload(other)}}}});
  EXPECT_NE(first_logprob("base"), before);
  EXPECT_EQ(server.models().loaded().size(), 1U);
  create({{"model", "base"},
          {"files", {{"a.gguf", upload(read_file(hearth::testing::stories_model()))}}}});
  EXPECT_EQ(first_logprob("base"), before);
}

std::string adapter_file() {
  const testing::TemporaryFolder folder;
  gguf::Writer writer;
  writer.set("general.type", "adapter");
  writer.set("general.architecture", "llama");
  writer.set("adapter.type", "lora");
  writer.set("adapter.lora.alpha", 1.0F);
  writer.add_floats("token_embd.weight.lora_b", {1, 64}, std::vector<float>(64, 0.25F));
  writer.add_floats("token_embd.weight.lora_a", {1, 512}, std::vector<float>(512, 0.5F));
  writer.write(folder / "lora.gguf");
  return read_file(folder / "lora.gguf");
}

TEST_F(CreatedModelTest, AppliesItsAdapters) {
  HEARTH_REQUIRE_FILE(hearth::testing::stories_model());
  start();
  const std::string digest = upload(adapter_file());
  create({{"model", "bent"}, {"from", "base"}, {"adapters", {{"lora.gguf", digest}}}});
  EXPECT_NE(first_logprob("bent"), first_logprob("base"));
  const Json listed = Json::parse(server.get("/lora-adapters?model=bent").body);
  ASSERT_EQ(listed.size(), 1U);
  EXPECT_EQ(listed[0]["scale"], 1.0);
  EXPECT_NE(server.post_json("/api/show", {{"model", "bent"}})["modelfile"].get<std::string>().find(
                "ADAPTER "),
            std::string::npos);
  // The adapter's blob stays as long as a model has it.
  EXPECT_EQ(server.post("/api/copy", R"({"source":"bent","destination":"again"})").status, 200);
  const auto remove = [&](const std::string& name) {
    EXPECT_EQ(RawClient::ask(server.port(),
                             request_text("DELETE", "/api/delete", Json{{"model", name}}.dump()))
                  .status,
              200);
  };
  remove("bent");
  EXPECT_TRUE(server.store().has_blob(digest.substr(7)));
  remove("again");
  EXPECT_FALSE(server.store().has_blob(digest.substr(7)));
}

TEST_F(CreatedModelTest, WhatCannotBeUsedIsRefusedWhenItIsMade) {
  HEARTH_REQUIRE_FILE(hearth::testing::stories_model());
  start();
  const auto with = [](const char* what, Json value) {
    Json body = pirate();
    body[what] = std::move(value);
    return body;
  };
  create(with("template", "{{ if .System }}{{ .System }}{{ end }}{{ .Prompt }}"), 400);
  create(with("template", "{% for m in messages %}"), 400);
  create(with("parameters", {{"temperature", "hot"}}), 400);
  create(with("messages", Json::array({{{"role", "nobody"}}})), 400);
  create(with("adapters", {{"a", "sha256:" + std::string(64, '0')}}), 400);
  create(with("adapters", {{"a", upload("this is no GGUF file")}}), 400);
  create(with("quantize", "q4_0"), 501);
  EXPECT_EQ(server.post("/api/show", R"({"model":"pirate"})").status, 404);
}

TEST_F(CreatedModelTest, GetNoMoreContextThanTheirFileWasTrainedFor) {
  HEARTH_REQUIRE_FILE(hearth::testing::stories_model());
  start();
  create({{"model", "wide"}, {"from", "base"}, {"parameters", {{"num_ctx", 1'000'000}}}});
  (void)first_logprob("wide");
  ServedModel& wide = *server.models().loaded().front().model;
  EXPECT_EQ(wide.context(), wide.model().spec().context_length);
}

TEST_F(CreatedModelTest, AreRemovedByTheirWholeNames) {
  HEARTH_REQUIRE_FILE(hearth::testing::stories_model());
  start();
  create(pirate());
  const auto remove = [&](const char* name) {
    const std::string body = Json{{"model", name}}.dump();
    return RawClient::ask(server.port(), request_text("DELETE", "/api/delete", body)).status;
  };
  EXPECT_EQ(server.post("/api/show", R"({"model":"pir"})").status, 200);
  EXPECT_EQ(remove("pir"), 404);
  EXPECT_EQ(server.post("/api/show", R"({"model":"pirate"})").status, 200);
  for (const char* nothing : {"/", ":", "模型"}) EXPECT_EQ(remove(nothing), 404) << nothing;
  EXPECT_EQ(remove("library/Pirate:latest"), 200);
  EXPECT_EQ(server.post("/api/show", R"({"model":"pirate"})").status, 404);
  // A file that somebody serves is theirs.
  server.directory.add("theirs", hearth::testing::stories_model());
  EXPECT_EQ(remove("theirs"), 400);
}

TEST_F(CreatedModelTest, NamesOfOthersAreNotTaken) {
  HEARTH_REQUIRE_FILE(hearth::testing::stories_model());
  start();
  const auto named = [](const char* name, const char* system) {
    Json body = pirate();
    body["model"] = name;
    body["system"] = system;
    return body;
  };
  create(named("alice/m:v1", "Alice"));
  create(named("alice-m:v1", "Bob"), 400);  // the store's name would be the same
  EXPECT_EQ(server.post_json("/api/show", {{"model", "alice-m-v1"}})["system"], "Alice");
  create(named("alice/m:v1", "Alice again"));
  EXPECT_EQ(server.post_json("/api/show", {{"model", "alice-m-v1"}})["system"], "Alice again");
  // A file of that name would be used instead.
  server.directory.add("theirs", hearth::testing::stories_model());
  create(named("theirs", "Nobody"), 400);
}

// The conversation is then empty but for the beginning of the answer, and long enough for hints.
TEST_F(CreatedModelTest, AnAnswersBeginningAloneIsGoneOnWith) {
  HEARTH_REQUIRE_FILE(hearth::testing::stories_model());
  start();
  create({{"model", "plain"}, {"from", "base"}, {"template", kTemplate}});
  std::string beginning;
  for (int i = 0; i < 400; ++i) beginning += "x ";
  const Json messages = {{{"role", "assistant"}, {"content", beginning + "y"}}};
  EXPECT_EQ(prompt("plain", messages), "[assistant:" + beginning + "y");
}

TEST_F(CreatedModelTest, OllamaClientsAreToldThatAModelCannotThink) {
  HEARTH_REQUIRE_FILE(hearth::testing::stories_model());
  start();
  Json body = {{"model", "base"}, {"messages", question()}, {"stream", false}, {"think", true}};
  body["options"] = {{"num_predict", 1}};
  const RawResponse refused = server.post("/api/chat", body.dump());
  EXPECT_EQ(refused.status, 400);
  EXPECT_NE(refused.body.find("does not support thinking"), std::string::npos) << refused.body;
  body["think"] = false;
  EXPECT_EQ(server.post("/api/chat", body.dump()).status, 200);
}

// Else monitors take it for a restart, and count again.
TEST_F(CreatedModelTest, TotalsStayWhenAModelLeaves) {
  HEARTH_REQUIRE_FILE(hearth::testing::stories_model());
  start();
  const auto total = [&] {
    const std::string text = server.get("/metrics").body;
    const std::string name = "\nllamacpp:tokens_predicted_total ";
    return std::stoi(text.substr(text.find(name) + name.size()));
  };
  (void)first_logprob("base");
  EXPECT_EQ(total(), 1);
  server.models().unload("base");  // as soon as the reply's end is told
  while (!server.models().loaded().empty()) std::this_thread::yield();
  EXPECT_EQ(total(), 1);
  (void)first_logprob("base");
  EXPECT_EQ(total(), 2);
}

TEST_F(CreatedModelTest, SwitchesThatAreNullAreLikeThoseLeftOut) {
  HEARTH_REQUIRE_FILE(hearth::testing::stories_model());
  start();
  const Json function = {{"name", "ping"}, {"strict", nullptr}};
  const Json tool = {{"type", "function"}, {"function", function}};
  const Json body = {{"model", "base"},
                     {"messages", question()},
                     {"tools", Json::array({tool})},
                     {"max_tokens", 1}};
  EXPECT_EQ(server.post("/v1/chat/completions", body.dump()).status, 200);
}

TEST_F(CreatedModelTest, ARepliesContextIsGoneOnWith) {
  HEARTH_REQUIRE_FILE(hearth::testing::stories_model());
  start();
  Json body = {{"model", "base"},
               {"prompt", "Once upon a time"},
               {"stream", false},
               {"options", {{"num_predict", 5}, {"temperature", 0}}}};
  const Json first = server.post_json("/api/generate", body);
  const int prompt_tokens = first["prompt_eval_count"];
  ASSERT_EQ(first["context"].size(), static_cast<std::size_t>(prompt_tokens + 5));
  body["context"] = first["context"];
  body["prompt"] = "and";
  const Json second = server.post_json("/api/generate", body);
  EXPECT_GT(second["prompt_eval_count"].get<int>(), prompt_tokens + 5);
  body["context"] = Json::array({1, 99999});
  EXPECT_EQ(server.post("/api/generate", body.dump()).status, 400);
  const Json ids = server.post_json(
      "/completion",
      {{"model", "base"}, {"prompt", "Once"}, {"n_predict", 4}, {"return_tokens", true}});
  EXPECT_EQ(ids["tokens"].size(), 4U);
}

/// The same in streams and collected replies: nine letters and digits, whoever asks.
TEST_F(CreatedModelTest, CallsHaveIdsOfOneKind) {
  HEARTH_REQUIRE_FILE(hearth::testing::stories_model());
  start();
  const Json tool = {{"type", "function"},
                     {"function", {{"name", "ping"}, {"parameters", {{"type", "object"}}}}}};
  Json body = {
      {"model", "base"},           {"messages", question()},       {"tools", Json::array({tool})},
      {"tool_choice", "required"}, {"parallel_tool_calls", false}, {"temperature", 0},
      {"max_tokens", 120}};
  const auto is_id = [](const std::string& id) {
    return id.size() == 9 &&
           std::all_of(id.begin(), id.end(), [](unsigned char c) { return std::isalnum(c) != 0; });
  };
  const Json reply = server.post_json("/v1/chat/completions", body);
  const Json& message = reply["choices"][0]["message"];
  ASSERT_TRUE(message.contains("tool_calls")) << reply;
  EXPECT_TRUE(is_id(message["tool_calls"][0]["id"])) << message;
  body["stream"] = true;
  std::string streamed;
  for (const std::string& data :
       event_data(server.post("/v1/chat/completions", body.dump()).body)) {
    if (data == "[DONE]") continue;
    const Json delta = Json::parse(data)["choices"][0]["delta"];
    if (delta.contains("tool_calls") && delta["tool_calls"][0].contains("id"))
      streamed = delta["tool_calls"][0]["id"];
  }
  EXPECT_TRUE(is_id(streamed)) << streamed;
}

}  // namespace
}  // namespace hearth::serve
