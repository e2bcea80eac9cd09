#include "serve/page_api.h"

#include <gtest/gtest.h>

#include <nlohmann/json.hpp>

#include "temporary_folder.h"

namespace hearth::serve {
namespace {

using PlainJson = nlohmann::json;

class Facts : public PageFacts {
 public:
  std::vector<PageModel> models() override {
    PageModel model;
    model.name = "tiny";
    model.kind = "chat";
    model.fits = true;
    model.expected_decode_tps = 12.5;
    return {model};
  }
  PageStatus status() override {
    PageStatus status;
    status.version = "1.2";
    PageLoadedModel loaded;
    loaded.name = "tiny\xff";  // file names are bytes
    loaded.memory = {{"weights", 1000}, {"KV", 24}};
    loaded.work.generated_tokens = 7;
    status.models = {loaded};
    return status;
  }
};

class PageApiTest : public ::testing::Test {
 protected:
  PlainJson ask(std::string_view method, std::string_view path, std::string_view query = "",
                std::string_view body = "", int status = 200, const std::string& owner = "") {
    const PageApiReply reply = api_.handle(method, path, query, body, owner);
    EXPECT_EQ(reply.status, status) << reply.body;
    const PlainJson json = PlainJson::parse(reply.body);
    EXPECT_EQ(json.contains("error"), status >= 400) << reply.body;
    return json;
  }
  static std::string document(const std::string& content, int revision = 0) {
    return PlainJson{
        {"title", "T"},
        {"model", "tiny"},
        {"revision", revision},
        {"document",
         {{"leaf", "m1"}, {"messages", {{{"id", "m1"}, {"role", "user"}, {"content", content}}}}}}}
        .dump();
  }

  testing::TemporaryFolder folder_;
  Facts facts_;
  PageApi api_{facts_, std::make_unique<ConversationStore>(
                           ConversationStore::open(folder_ / "conversations.db", {}))};
};

TEST_F(PageApiTest, TellsModelsAndStatus) {
  const PlainJson model = ask("GET", "/hearth/models")["models"][0];
  EXPECT_EQ(model["name"], "tiny");
  EXPECT_EQ(model["fits"], true);
  EXPECT_EQ(model["expected_decode_tps"], 12.5);
  EXPECT_TRUE(model["measured_decode_tps"].is_null());
  const PlainJson status = ask("GET", "/hearth/status");
  EXPECT_EQ(status["version"], "1.2");
  EXPECT_EQ(status["keeps_conversations"], true);
  EXPECT_EQ(status["models"][0]["memory"][1]["bytes"], 24);
  EXPECT_EQ(status["models"][0]["generated_tokens"], 7);
  ask("POST", "/hearth/models", "", "{}", 405);
  ask("DELETE", "/hearth/status", "", "", 405);
  ask("GET", "/hearth/nothing", "", "", 404);
}

TEST_F(PageApiTest, KeepsListsFindsAndDeletesConversations) {
  EXPECT_EQ(ask("PUT", "/hearth/conversations/c-1", "", document("good morning"))["revision"], 1);
  ask("PUT", "/hearth/conversations/c-2", "", document("guten Abend"));
  const PlainJson read = ask("GET", "/hearth/conversations/c-1");
  EXPECT_EQ(read["document"]["messages"][0]["content"], "good morning");
  EXPECT_EQ(read["title"], "T");
  const PlainJson list = ask("GET", "/hearth/conversations");
  EXPECT_EQ(list["count"], 2);
  EXPECT_EQ(list["conversations"][0]["id"], "c-2");
  EXPECT_EQ(ask("GET", "/hearth/conversations", "limit=1")["conversations"].size(), 1U);
  const PlainJson found = ask("GET", "/hearth/conversations", "q=guten+%41bend&limit=5");
  ASSERT_EQ(found["conversations"].size(), 1U);
  EXPECT_EQ(found["conversations"][0]["snippet"], "guten Abend ");
  ask("DELETE", "/hearth/conversations/c-1");
  ask("DELETE", "/hearth/conversations/c-1", "", "", 404);
  ask("GET", "/hearth/conversations/c-1", "", "", 404);
  EXPECT_EQ(ask("DELETE", "/hearth/conversations")["deleted"], 1);
}

TEST_F(PageApiTest, OwnersAreKeptApart) {
  ask("PUT", "/hearth/conversations/x", "", document("mine"), 200, "anna");
  ask("GET", "/hearth/conversations/x", "", "", 404, "bert");
  ask("GET", "/hearth/conversations/x", "", "", 404);
  EXPECT_EQ(ask("GET", "/hearth/conversations", "q=mine", "", 200, "bert")["conversations"].size(),
            0U);
  ask("GET", "/hearth/conversations/x", "", "", 200, "anna");
}

TEST_F(PageApiTest, RefusesWhatItCannotKeep) {
  const std::string place = "/hearth/conversations/x";
  ask("PUT", place, "", document("one"));
  ask("PUT", place, "", document("stale"), 409);
  ask("PUT", place, "", document("next", 1));
  const std::string deep(200, '[');
  std::string many = R"({"revision":2,"document":{"messages":[])";
  for (int i = 1; i < 1024; ++i) many += ",\"k" + std::to_string(i) + "\":1";
  for (const std::string& body :
       {std::string(), std::string("[]"), std::string("{}"), std::string("{\"revision\":0}"),
        std::string(R"({"revision":0,"document":[]})"),
        std::string(R"({"revision":0,"document":{"messages":{}}})"),
        std::string(R"({"revision":0,"document":{"messages":[1]}})"),
        std::string(R"({"revision":-1,"document":{"messages":[]}})"),
        std::string(R"({"revision":1.5,"document":{"messages":[]}})"),
        std::string(R"({"document":{"messages":[]}})"), "{\"a\":" + deep,
        "{\"document\":" + deep + std::string(200, ']') + "}",
        std::string("{\"revision\":0,\"x\":\"\xff\"}"), many + ",\"one more\":1}}"})
    ask("PUT", place, "", body, 400);
  ask("PUT", place, "", many + "}}");
  ask("PUT", place, "", std::string(PageApi::kMaxBodyBytes + 1, ' '), 413);
  ask("PUT", place, "", document(std::string(ConversationStore::kMaxDocumentBytes, 'x'), 3), 413);
  for (const std::string& id : {std::string("a/b"), std::string(".."), std::string("a b"),
                                std::string(65, 'x'), std::string("\xff"), std::string()})
    ask("PUT", "/hearth/conversations/" + id, "", document("x"), 404);
  ask("POST", place, "", "", 405);
  ask("PUT", "/hearth/conversations", "", "{}", 405);
  for (const char* query : {"limit=0", "limit=x", "limit=1001", "limit=-1", "before=x", "limit="})
    ask("GET", "/hearth/conversations", query, "", 400);
  ask("GET", "/hearth/conversations", "&&=&%&%4&q", "");
}

TEST_F(PageApiTest, WorksWithoutAStore) {
  PageApi api(facts_, nullptr);
  EXPECT_EQ(api.handle("GET", "/hearth/conversations", "", "", "").status, 404);
  EXPECT_NE(
      api.handle("GET", "/hearth/status", "", "", "").body.find("\"keeps_conversations\":false"),
      std::string::npos);
}

}  // namespace
}  // namespace hearth::serve
