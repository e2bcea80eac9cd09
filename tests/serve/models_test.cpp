#include "serve/models.h"

#include <gtest/gtest.h>

#include <cstring>
#include <filesystem>
#include <fstream>
#include <thread>

#include "serve/request_failure.h"
#include "serve/served_fixture.h"
#include "shared_dir.h"
#include "support/file.h"
#include "temporary_folder.h"

namespace hearth::serve {
namespace {

/// The file then says that the model was trained for so many tokens.
void claim_context(const std::filesystem::path& path, std::uint32_t tokens) {
  std::string bytes = read_file(path);
  const std::string key = "llama.context_length";
  const std::size_t at = bytes.find(key);
  ASSERT_NE(at, std::string::npos);
  std::memcpy(bytes.data() + at + key.size() + 4, &tokens, 4);  // behind the value's type
  std::ofstream(path, std::ios::binary) << bytes;
}

class ModelsTest : public ::testing::Test {
 protected:
  /// Copies of one model: "a", "b", "c".
  void start(ModelOptions options = TestServer::small().models) {
    for (const char* name : {"a", "b", "c"}) {
      const std::filesystem::path copy = folder / (std::string(name) + ".gguf");
      std::filesystem::copy_file(hearth::testing::stories_model(), copy);
      std::filesystem::permissions(copy, std::filesystem::perms::owner_write,
                                   std::filesystem::perm_options::add);
      directory.add(name, copy);
    }
    manager.emplace(directory, options);
  }
  [[nodiscard]] std::vector<std::string> loaded() const {
    std::vector<std::string> names;
    for (const LoadedFacts& each : manager->loaded()) names.push_back(each.name);
    return names;
  }
  void wait_until_loaded(const std::vector<std::string>& names) {
    while (loaded() != names) std::this_thread::yield();
  }
  int status_of(const ModelManager::Wish& wish) {
    try {
      const ModelManager::Lease lease = manager->use(wish);
      return 200;
    } catch (const RequestFailure& failure) {
      return failure.error().status;
    }
  }

  testing::TemporaryFolder folder;
  TestDirectory directory;
  std::optional<ModelManager> manager;
};

using Names = std::vector<std::string>;

TEST_F(ModelsTest, LoadsOnDemandAndOnce) {
  HEARTH_REQUIRE_FILE(hearth::testing::stories_model());
  start();
  EXPECT_EQ(loaded(), Names{});
  const ModelManager::Lease first = manager->use({.name = "A:latest"});
  EXPECT_EQ(first.name(), "a");
  EXPECT_GT(first.load_seconds(), 0);
  const ModelManager::Lease second = manager->use({.name = "a"});
  EXPECT_EQ(second.load_seconds(), 0);
  EXPECT_EQ(&*first, &*second);
  EXPECT_EQ(loaded(), Names{"a"});
  EXPECT_EQ(manager->loaded().front().users, 2U);
  const ModelManager::Lease unnamed = manager->use({.name = ""});
  EXPECT_EQ(unnamed.name(), "a");
  EXPECT_EQ(status_of({.name = "none"}), 404);
  EXPECT_EQ(status_of({.name = "a", .kind = ModelKind::kEmbeds}), 400);
}

TEST_F(ModelsTest, LeavesWhenIdleForLongEnough) {
  HEARTH_REQUIRE_FILE(hearth::testing::stories_model());
  start();
  manager->preload("a");
  EXPECT_EQ(loaded(), Names{"a"});  // for ever, by the options
  {
    ModelManager::Lease lease = manager->use({.name = "a"});
    lease.keep_alive(0);
  }
  wait_until_loaded({});
  {
    const ModelManager::Lease lease = manager->use({.name = "b"});
    EXPECT_TRUE(manager->unload("b"));
    EXPECT_EQ(loaded(), Names{"b"});  // it is in use
  }
  wait_until_loaded({});
  EXPECT_FALSE(manager->unload("b"));
}

TEST_F(ModelsTest, TheLeastRecentlyUsedMakesRoom) {
  HEARTH_REQUIRE_FILE(hearth::testing::stories_model());
  ModelOptions options = TestServer::small().models;
  options.most_loaded = 2;
  start(options);
  manager->preload("a");
  manager->preload("b");
  manager->preload("a");
  manager->preload("c");
  EXPECT_EQ(loaded(), (Names{"a", "c"}));
  const ModelManager::Lease a = manager->use({.name = "a"});
  const ModelManager::Lease c = manager->use({.name = "c"});
  EXPECT_EQ(status_of({.name = "b"}), 503);
  EXPECT_EQ(loaded(), (Names{"a", "c"}));
}

TEST_F(ModelsTest, WhatDoesNotFitSaysWhy) {
  HEARTH_REQUIRE_FILE(hearth::testing::stories_model());
  ModelOptions options = TestServer::small().models;
  options.each.setup.context = std::int64_t{1} << 29;
  start(options);
  try {
    manager->preload("a");
    FAIL();
  } catch (const RequestFailure& failure) {
    EXPECT_EQ(failure.error().status, 503);
    EXPECT_EQ(failure.error().code, "not_enough_memory");
    EXPECT_NE(failure.error().message.find("available"), std::string::npos)
        << failure.error().message;
  }
  EXPECT_EQ(loaded(), Names{});
}

// Whoever asks for too much gets nothing, and costs nobody else their model.
TEST_F(ModelsTest, OthersStayWhereTheirLeavingWouldNotHelp) {
  HEARTH_REQUIRE_FILE(hearth::testing::stories_model());
  start();
  claim_context(folder / "c.gguf", 1U << 29);
  manager->preload("a");
  manager->preload("b");
  EXPECT_EQ(status_of({.name = "c", .context = std::int64_t{1} << 29}), 503);
  EXPECT_EQ(loaded(), (Names{"a", "b"}));
}

// Ollama's clients ask for any number.
TEST_F(ModelsTest, NobodyGetsMoreThanAModelWasTrainedFor) {
  HEARTH_REQUIRE_FILE(hearth::testing::stories_model());
  start();
  claim_context(folder / "a.gguf", 300);
  {
    const ModelManager::Lease lease = manager->use({.name = "a", .context = 2'000'000'000});
    EXPECT_EQ(lease->context(), 300);
  }
  // It has what it can have: nothing is loaded anew.
  const auto before = manager->loaded().front().model;
  EXPECT_EQ(manager->use({.name = "a", .context = 4000})->context(), 300);
  EXPECT_EQ(manager->loaded().front().model, before);
}

TEST_F(ModelsTest, BrokenFilesAreTold) {
  HEARTH_REQUIRE_FILE(hearth::testing::stories_model());
  start();
  std::filesystem::resize_file(folder / "b.gguf", 1000);
  EXPECT_EQ(status_of({.name = "b"}), 500);
  EXPECT_EQ(status_of({.name = "a"}), 200);
  std::filesystem::remove(folder / "b.gguf");
  EXPECT_EQ(status_of({.name = "b"}), 404);
}

TEST_F(ModelsTest, ALargerContextIsLoadedAnew) {
  HEARTH_REQUIRE_FILE(hearth::testing::stories_model());
  start();
  EXPECT_EQ(manager->use({.name = "a"})->context(), 256);
  {
    const ModelManager::Lease larger = manager->use({.name = "a", .context = 400});
    EXPECT_EQ(larger->context(), 400);
    // While it is in use nobody gets more.
    EXPECT_EQ(manager->use({.name = "a", .context = 500})->context(), 400);
  }
  EXPECT_EQ(manager->use({.name = "a", .context = 100})->context(), 400);
}

// The scaling that the server was started with counts when a request asks for more, too.
TEST_F(ModelsTest, AStretchedContextIsReachedAtOnce) {
  HEARTH_REQUIRE_FILE(hearth::testing::stories_model());
  ModelOptions options = TestServer::small().models;
  options.each.setup.rope_scaling = spec::parse_rope_scaling("yarn:2");
  start(options);
  claim_context(folder / "a.gguf", 300);
  EXPECT_EQ(manager->use({.name = "a", .context = 500})->context(), 500);
  EXPECT_EQ(manager->use({.name = "a", .context = 2000})->context(), 600);
}

/// Else two that ask, before and after a model was made anew, would load it in turns.
TEST_F(ModelsTest, ThoseThatWaitGetTheModelAsItIsByThen) {
  HEARTH_REQUIRE_FILE(hearth::testing::stories_model());
  start();
  std::optional<ModelManager::Lease> old = manager->use({.name = "a"});
  ModelExtras extras;
  extras.system = "Be brief.";
  directory.change("a", extras);
  const ModelManager::Lease lease = manager->use({.name = "a", .given_up = [&] {
                                                    extras.system = "Be kind.";
                                                    directory.change("a", extras);
                                                    old.reset();
                                                    return false;
                                                  }});
  EXPECT_EQ(lease->defaults().system, "Be kind.");
}

TEST_F(ModelsTest, WhatCannotBeReadOfItsSettingsIsSaid) {
  HEARTH_REQUIRE_FILE(hearth::testing::stories_model());
  std::vector<std::string> said;
  ModelOptions options = TestServer::small().models;
  options.each.warn = [&said](const std::string& warning) { said.push_back(warning); };
  start(options);
  ModelExtras extras;
  extras.parameters = R"({"temperature":"hot","num_predict":9})";
  directory.change("a", extras);
  EXPECT_EQ(manager->use({.name = "a"})->max_tokens(), 9);
  EXPECT_EQ(manager->use({.name = "a"})->max_tokens(), 9);
  ASSERT_EQ(said.size(), 1U);
  EXPECT_TRUE(said[0].starts_with("a: ")) << said[0];
  EXPECT_NE(said[0].find("parameters.temperature"), std::string::npos) << said[0];
}

TEST_F(ModelsTest, ItsOwnTemplateIsCompiledOnce) {
  HEARTH_REQUIRE_FILE(hearth::testing::stories_model());
  start();
  EXPECT_EQ(manager->use({.name = "a"})->chat(true), nullptr);
  ModelExtras extras;
  extras.chat_template = "{% for m in messages %}{{ m['content'] }}{% endfor %}";
  directory.change("a", extras);
  const ModelManager::Lease lease = manager->use({.name = "a"});
  ASSERT_NE(lease->chat(true), nullptr);
  EXPECT_EQ(lease->chat(true), lease->chat(false));
}

TEST_F(ModelsTest, ManyAskAtOnce) {
  HEARTH_REQUIRE_FILE(hearth::testing::stories_model());
  ModelOptions options = TestServer::small().models;
  options.most_loaded = 2;
  options.keep_alive = std::chrono::duration<double>(0);
  start(options);
  std::vector<std::thread> threads;
  for (int i = 0; i < 8; ++i) {
    threads.emplace_back([&, i] {
      for (int round = 0; round < 5; ++round) {
        try {
          const std::string name(1, static_cast<char>('a' + (i + round) % 3));
          const ModelManager::Lease lease = manager->use({.name = name});
          EXPECT_EQ(lease.name(), name);
        } catch (const RequestFailure& failure) {
          EXPECT_EQ(failure.error().status, 503);  // both others are in use
        }
      }
    });
  }
  for (std::thread& thread : threads) thread.join();
  wait_until_loaded({});
}

TEST_F(ModelsTest, NothingIsLoadedAfterStop) {
  HEARTH_REQUIRE_FILE(hearth::testing::stories_model());
  start();
  manager->stop();
  EXPECT_EQ(status_of({.name = "a"}), 503);
}

}  // namespace
}  // namespace hearth::serve
