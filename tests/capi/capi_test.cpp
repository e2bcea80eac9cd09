// hearth/hearth.h as its users see it.
#include <gtest/gtest.h>

#include <atomic>
#include <cmath>
#include <cstring>
#include <filesystem>
#include <nlohmann/json.hpp>
#include <string>
#include <thread>
#include <vector>

#include <hearth/hearth.h>
#include "shared_dir.h"

namespace hearth::testing {
namespace {

int append(hearth_piece_kind kind, const char* text, size_t length, void* user) {
  if (kind == HEARTH_TEXT) static_cast<std::string*>(user)->append(text, length);
  return 0;
}

class CApi : public ::testing::Test {
 protected:
  void SetUp() override {
    path_ = (shared_dir() / "models" / "stories260K.gguf").string();
    HEARTH_REQUIRE_FILE(std::filesystem::path(path_));
    hearth_setup setup = hearth_setup_default();
    setup.model = path_.c_str();
    setup.threads = 1;
    setup.parallel = 3;
    setup.exact = 1;
    ASSERT_EQ(hearth_model_load(&setup, nullptr, nullptr, &model_, &error_), HEARTH_OK)
        << hearth_error_message(error_);
  }
  void TearDown() override {
    hearth_error_free(error_);
    hearth_model_free(model_);
  }
  static hearth_request greedy(const char* prompt, std::int64_t tokens) {
    hearth_request request = hearth_request_default();
    request.prompt = prompt;
    request.temperature = 0;
    request.max_tokens = tokens;
    return request;
  }
  std::string generate(const hearth_request& request, hearth_result* result = nullptr) {
    std::string text;
    hearth_error* error = nullptr;
    EXPECT_EQ(hearth_generate(model_, &request, append, &text, result, &error), HEARTH_OK)
        << hearth_error_message(error);
    hearth_error_free(error);
    return text;
  }

  std::string path_;
  hearth_model* model_ = nullptr;
  hearth_error* error_ = nullptr;
};

TEST_F(CApi, GoesOnWithAText) {
  hearth_result result;
  const std::string text = generate(greedy("Once upon a time", 12), &result);
  EXPECT_EQ(text.substr(0, 19), ", there was a littl") << text;
  EXPECT_EQ(result.finish, HEARTH_FINISH_LENGTH);
  EXPECT_EQ(result.generated_tokens, 12);
  EXPECT_GT(result.prompt_tokens, 2);
  EXPECT_EQ(hearth_model_can_chat(model_), 0);
  EXPECT_GT(hearth_model_context(model_), 0);
  EXPECT_STRNE(hearth_model_name(model_), "");
}

TEST_F(CApi, ThreadsShareAModelAndGetWhatTheyGetAlone) {
  const char* prompts[] = {"Once upon a time", "Lily and Tom", "The dog"};
  std::vector<std::string> alone, together(3);
  for (const char* prompt : prompts) alone.push_back(generate(greedy(prompt, 24)));
  std::vector<std::thread> threads;
  for (std::size_t i = 0; i < 3; ++i) {
    threads.emplace_back([&, i] { together[i] = generate(greedy(prompts[i], 24)); });
  }
  for (std::thread& thread : threads) thread.join();
  EXPECT_EQ(together, alone);
}

TEST_F(CApi, TokensComeBackAsTheText) {
  size_t count = 0;
  EXPECT_EQ(hearth_tokenize(model_, "Lily had a ball.", 0, nullptr, 0, &count, nullptr),
            HEARTH_TOO_SMALL);
  ASSERT_GT(count, 3U);
  std::vector<int32_t> tokens(count);
  ASSERT_EQ(hearth_tokenize(model_, "Lily had a ball.", 0, tokens.data(), count, &count, nullptr),
            HEARTH_OK);
  char text[64];
  size_t length = 0;
  EXPECT_EQ(hearth_detokenize(model_, tokens.data(), count, text, 4, &length, nullptr),
            HEARTH_TOO_SMALL);
  ASSERT_EQ(hearth_detokenize(model_, tokens.data(), count, text, sizeof text, &length, nullptr),
            HEARTH_OK);
  EXPECT_STREQ(text, "Lily had a ball.");
  EXPECT_EQ(length, std::strlen(text));
}

TEST_F(CApi, ACallbackEndsIt) {
  int calls = 0;
  const auto stop = [](hearth_piece_kind, const char*, size_t, void* user) {
    return ++*static_cast<int*>(user) == 3 ? 1 : 0;
  };
  const hearth_request request = greedy("Once upon a time", 200);
  hearth_result result;
  EXPECT_EQ(hearth_generate(model_, &request, stop, &calls, &result, nullptr), HEARTH_CANCELLED);
  EXPECT_EQ(calls, 3);
  EXPECT_EQ(result.finish, HEARTH_FINISH_CANCELLED);
}

TEST_F(CApi, CancellingFromAnotherThreadEndsIt) {
  struct Shared {
    std::atomic<bool> begun{false};
  } shared;
  hearth_cancel* cancel = hearth_cancel_new();
  hearth_request request = greedy("Once upon a time", -1);
  request.cancel = cancel;
  std::thread canceller([&] {
    shared.begun.wait(false);
    hearth_cancel_now(cancel);
  });
  const auto wake = [](hearth_piece_kind, const char*, size_t, void* user) {
    auto& begun = static_cast<Shared*>(user)->begun;
    begun = true;
    begun.notify_all();
    return 0;
  };
  hearth_result result;
  const hearth_status status = hearth_generate(model_, &request, wake, &shared, &result, nullptr);
  canceller.join();
  // The model may have come to its end first.
  EXPECT_TRUE(status == HEARTH_CANCELLED || result.finish == HEARTH_FINISH_CONTEXT ||
              result.finish == HEARTH_FINISH_STOP);
  hearth_cancel_free(cancel);
}

TEST_F(CApi, JsonSchemasAreKept) {
  hearth_request request = hearth_request_default();
  request.prompt = "Once";
  request.json_schema = R"({"type": "object", "properties": {"name": {"type": "string",
    "maxLength": 5}, "age": {"type": "integer", "minimum": 1, "maximum": 99}},
    "required": ["name", "age"], "additionalProperties": false})";
  request.temperature = 1.5F;
  request.seed = 7;
  request.has_seed = 1;
  const nlohmann::json answer = nlohmann::json::parse(generate(request));
  EXPECT_TRUE(answer.at("name").is_string());
  EXPECT_GE(answer.at("age").get<int>(), 1);
}

TEST_F(CApi, WrongUseIsAnErrorWithASentence) {
  hearth_request request = hearth_request_default();
  hearth_error* error = nullptr;
  EXPECT_EQ(hearth_generate(model_, &request, nullptr, nullptr, nullptr, &error), HEARTH_USAGE);
  EXPECT_STREQ(hearth_error_message(error), "a request has either a prompt or messages");
  hearth_error_free(error);
  request.messages = R"([{"role": "user", "content": "hi"}])";
  EXPECT_EQ(hearth_generate(model_, &request, nullptr, nullptr, nullptr, nullptr), HEARTH_USAGE);
  request = greedy("Once", 4);
  request.json_schema = "{broken";
  EXPECT_EQ(hearth_generate(model_, &request, nullptr, nullptr, nullptr, nullptr), HEARTH_USAGE);
  const std::string longer(20'000, 'a');
  request = greedy(longer.c_str(), 4);
  EXPECT_EQ(hearth_generate(model_, &request, nullptr, nullptr, nullptr, nullptr),
            HEARTH_DOES_NOT_FIT);
  float vector[4];
  const char* texts[] = {"a"};
  EXPECT_EQ(hearth_embed(model_, texts, 1, vector, 4, nullptr), HEARTH_USAGE);
  EXPECT_EQ(hearth_generate(nullptr, &request, nullptr, nullptr, nullptr, nullptr), HEARTH_USAGE);
}

TEST(CApiModel, ThatCannotBeLoadedIsAnError) {
  hearth_setup setup = hearth_setup_default();
  hearth_model* model = nullptr;
  hearth_error* error = nullptr;
  setup.model = "/nowhere/model.gguf";
  EXPECT_EQ(hearth_model_load(&setup, nullptr, nullptr, &model, &error), HEARTH_FAILED);
  EXPECT_EQ(model, nullptr);
  EXPECT_NE(std::string(hearth_error_message(error)).find("/nowhere/model.gguf"),
            std::string::npos);
  hearth_error_free(error);
  EXPECT_EQ(hearth_model_load_saved("/nowhere/setup.json", nullptr, nullptr, &model, nullptr),
            HEARTH_FAILED);
}

TEST(CApiModel, LoadingCanBeCancelled) {
  const std::string path = (shared_dir() / "models" / "stories260K.gguf").string();
  HEARTH_REQUIRE_FILE(std::filesystem::path(path));
  hearth_setup setup = hearth_setup_default();
  setup.model = path.c_str();
  hearth_model* model = nullptr;
  const auto refuse = [](double, void*) { return 1; };
  EXPECT_EQ(hearth_model_load(&setup, refuse, nullptr, &model, nullptr), HEARTH_CANCELLED);
  EXPECT_EQ(model, nullptr);
}

}  // namespace
}  // namespace hearth::testing
