#include "serve/conversations.h"

#include <gtest/gtest.h>
#include <sys/stat.h>

#include <fstream>

#include "support/error.h"
#include "support/file.h"
#include "temporary_folder.h"

namespace hearth::serve {
namespace {

using PutResult = ConversationStore::PutResult;

class Conversations : public ::testing::Test {
 protected:
  ConversationStore open() {
    return ConversationStore::open(path_, [this](const std::string& text) { told_ += text; });
  }
  /// Stores a conversation that says `text`; its revision afterwards.
  static std::int64_t say(ConversationStore& store, const std::string& owner, const std::string& id,
                          const std::string& text, std::int64_t revision = 0) {
    Conversation conversation;
    conversation.summary.id = id;
    conversation.summary.title = "About " + id;
    conversation.summary.model = "tiny";
    conversation.summary.revision = revision;
    conversation.document = R"({"messages":[]})";
    conversation.text = text;
    EXPECT_EQ(store.put(owner, conversation), PutResult::kStored);
    return conversation.summary.revision;
  }
  static std::vector<std::string> ids(const std::vector<ConversationSummary>& list) {
    std::vector<std::string> result;
    for (const ConversationSummary& summary : list) result.push_back(summary.id);
    return result;
  }

  testing::TemporaryFolder folder_;
  std::filesystem::path path_ = folder_ / "data/conversations.db";
  std::string told_;
};

using Ids = std::vector<std::string>;

TEST_F(Conversations, AreReadBackAfterTheStoreWasClosed) {
  {
    ConversationStore store = open();
    EXPECT_EQ(say(store, "", "one", "hello"), 1);
  }
  ConversationStore store = open();
  const auto found = store.get("", "one");
  ASSERT_TRUE(found.has_value());
  EXPECT_EQ(found->summary.title, "About one");
  EXPECT_EQ(found->summary.model, "tiny");
  EXPECT_EQ(found->summary.revision, 1);
  EXPECT_GT(found->summary.created, 1'600'000'000'000);
  EXPECT_EQ(found->document, R"({"messages":[]})");
  EXPECT_FALSE(store.get("", "two").has_value());
  EXPECT_EQ(told_, "");
}

TEST_F(Conversations, AreListedNewestFirst) {
  ConversationStore store = open();
  say(store, "", "a", "x");
  say(store, "", "b", "x");
  say(store, "", "c", "x");
  EXPECT_EQ(ids(store.list("", 10)), (Ids{"c", "b", "a"}));
  EXPECT_EQ(ids(store.list("", 2)), (Ids{"c", "b"}));
  const std::int64_t oldest = store.list("", 10).back().updated;
  EXPECT_TRUE(store.list("", 10, oldest).empty());
  EXPECT_EQ(store.list("", 10, oldest + 1'000'000).size(), 3U);
}

TEST_F(Conversations, OwnersSeeOnlyTheirOwn) {
  ConversationStore store = open();
  say(store, "anna", "one", "the secret garden");
  say(store, "bert", "one", "another thing");
  EXPECT_EQ(store.get("anna", "one")->summary.revision, 1);
  EXPECT_TRUE(store.list("", 10).empty());
  EXPECT_TRUE(store.search("bert", "secret", 10).empty());
  EXPECT_EQ(ids(store.search("anna", "secret", 10)), (Ids{"one"}));
  EXPECT_FALSE(store.remove("carl", "one"));
  EXPECT_EQ(store.remove_all("bert"), 1);
  EXPECT_EQ(store.count("anna"), 1);
  EXPECT_EQ(store.count("bert"), 0);
}

TEST_F(Conversations, AnOldStateDoesNotReplaceANewerOne) {
  ConversationStore store = open();
  const std::int64_t revision = say(store, "", "one", "first");
  EXPECT_EQ(say(store, "", "one", "second", revision), 2);
  Conversation stale;
  stale.summary.id = "one";
  stale.summary.revision = revision;
  stale.document = "{}";
  EXPECT_EQ(store.put("", stale), PutResult::kConflict);
  stale.summary.revision = 0;
  EXPECT_EQ(store.put("", stale), PutResult::kConflict);
  stale.summary.id = "deleted";
  stale.summary.revision = 7;
  EXPECT_EQ(store.put("", stale), PutResult::kConflict);
  EXPECT_EQ(ids(store.search("", "second", 10)), (Ids{"one"}));
  EXPECT_TRUE(store.search("", "first", 10).empty());
}

TEST_F(Conversations, AreFoundByPartsOfWordsInAnyScript) {
  ConversationStore store = open();
  say(store, "", "bread", "How long does Sourdough bread rise? 100% flour, \"strong\"");
  say(store, "", "tea", "红茶和绿茶有什么区别");
  say(store, "", "cafe", "Ein schönes Café in Łódź");
  EXPECT_EQ(ids(store.search("", "sourdough", 10)), (Ids{"bread"}));
  EXPECT_EQ(ids(store.search("", "DOUGH rise", 10)), (Ids{"bread"}));
  EXPECT_EQ(ids(store.search("", "100%", 10)), (Ids{"bread"}));
  EXPECT_EQ(ids(store.search("", "0%", 10)), (Ids{"bread"}));
  EXPECT_TRUE(store.search("", "%%", 10).empty());
  EXPECT_EQ(ids(store.search("", "\"strong\"", 10)), (Ids{"bread"}));
  EXPECT_EQ(ids(store.search("", "绿茶", 10)), (Ids{"tea"}));
  EXPECT_EQ(ids(store.search("", "有什么区别", 10)), (Ids{"tea"}));
  EXPECT_EQ(ids(store.search("", "łódź", 10)), (Ids{"cafe"}));
  EXPECT_EQ(ids(store.search("", "about bread", 10)), (Ids{"bread"}));  // the title counts
  EXPECT_TRUE(store.search("", "sourdough unicorn", 10).empty());
  EXPECT_TRUE(store.search("", "", 10).empty());
  EXPECT_TRUE(store.search("", "NEAR(a b) OR *", 10).empty());
  EXPECT_TRUE(store.search("", std::string(100'000, 'x'), 10).empty());
  EXPECT_TRUE(store.search("", "\xff\xfe\xfd", 10).empty());
}

TEST_F(Conversations, SnippetsShowTheHit) {
  ConversationStore store = open();
  say(store, "", "long", std::string(3000, 'a') + "\nthe Needle here " + std::string(3000, 'b'));
  say(store, "", "umlauts", "ääääääääääääääääääääääääääääääääääää needle");
  const auto found = store.search("", "needle", 10);
  ASSERT_EQ(found.size(), 2U);
  EXPECT_NE(found[1].snippet.find("the Needle here"), std::string::npos);
  EXPECT_LT(found[1].snippet.size(), 200U);
  EXPECT_EQ(found[1].snippet.find('\n'), std::string::npos);
  EXPECT_EQ(found[0].snippet.find("\xEF\xBF\xBD"), std::string::npos);  // no half characters
}

TEST_F(Conversations, WhatIsDeletedIsGoneFromTheFile) {
  ConversationStore store = open();
  for (int i = 0; i < 20; ++i) say(store, "", "other" + std::to_string(i), "ordinary words");
  say(store, "", "one", "xylophonequartz");
  EXPECT_NE(read_file(path_).find("xylophonequartz"), std::string::npos);
  EXPECT_TRUE(store.remove("", "one"));
  EXPECT_FALSE(store.remove("", "one"));
  EXPECT_TRUE(store.search("", "xylophonequartz", 10).empty());
  const std::string bytes = read_file(path_);
  EXPECT_EQ(bytes.find("xylophone"), std::string::npos);
  EXPECT_EQ(bytes.find("xyl"), std::string::npos);  // a trigram of the index
  EXPECT_EQ(store.count(""), 20);
}

TEST_F(Conversations, TheFileIsPrivate) {
  { (void)open(); }
  struct stat facts {};
  ASSERT_EQ(stat(path_.c_str(), &facts), 0);
  EXPECT_EQ(facts.st_mode & 0777, 0600U);
}

TEST_F(Conversations, OddBytesAreKeptHarmless) {
  ConversationStore store = open();
  say(store, "", "odd", std::string("nul\0here \xff broken", 17));
  EXPECT_EQ(ids(store.search("", "here", 10)), (Ids{"odd"}));
  Conversation large;
  large.summary.id = "large";
  large.document.assign(ConversationStore::kMaxDocumentBytes + 1, ' ');
  EXPECT_THROW((void)store.put("", large), Error);
  large.document = "{}";
  large.summary.title = std::string(399, 'x') + "äöü";  // cut between characters
  EXPECT_EQ(store.put("", large), PutResult::kStored);
  EXPECT_EQ(store.get("", "large")->summary.title, std::string(399, 'x'));
  large.summary.id.assign(65, 'x');
  EXPECT_THROW((void)store.put("", large), Error);
}

TEST_F(Conversations, ABrokenFileIsSetAside) {
  std::filesystem::create_directories(path_.parent_path());
  std::ofstream(path_) << std::string(5000, 'x');
  ConversationStore store = open();
  EXPECT_NE(told_.find("the conversations in"), std::string::npos) << told_;
  EXPECT_EQ(say(store, "", "one", "works"), 1);
}

TEST_F(Conversations, TwoProcessesMayHaveItOpen) {
  ConversationStore first = open();
  ConversationStore second = open();
  const std::int64_t revision = say(first, "", "one", "from the first");
  EXPECT_EQ(say(second, "", "one", "from the second", revision), 2);
  EXPECT_EQ(ids(first.search("", "second", 10)), (Ids{"one"}));
}

}  // namespace
}  // namespace hearth::serve
