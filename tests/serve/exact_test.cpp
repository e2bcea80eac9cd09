// With --exact a reply does not depend on what else was computed in the same passes, and is the one
// that `hearth run --exact` gives (which is a generate::Session).
#include <gtest/gtest.h>

#include <string>
#include <thread>
#include <vector>

#include "generate/evaluator.h"
#include "generate/session.h"
#include "model/loaded_model.h"
#include "serve/served_fixture.h"
#include "shared_dir.h"
#include "text/tokenizer.h"

namespace hearth::serve {
namespace {

using Json = nlohmann::ordered_json;

constexpr int kTokens = 48;
constexpr std::uint64_t kFirstSeed = 11;

spec::Setup exact_setup() {
  spec::Setup setup;
  setup.threads = 1;
  setup.context = 256;
  setup.exact = true;
  setup.kv_type = tensor::DType::kF32;
  return setup;
}

/// What `hearth run` says to every prompt, each with its own seed.
std::vector<std::string> alone(const std::vector<std::string>& prompts) {
  spec::Setup setup = exact_setup();
  setup.model = hearth::testing::stories_model();
  const auto model = model::LoadedModel::load(setup, {});
  const auto tokenizer = text::Tokenizer::create(model->file().metadata());
  generate::ModelEvaluator evaluator(*model);
  generate::Session session(evaluator, *tokenizer);
  std::vector<std::string> texts;
  for (std::size_t i = 0; i < prompts.size(); ++i) {
    generate::GenerateOptions options;
    options.sampler.temperature = 1;
    options.sampler.seed = kFirstSeed + i;
    options.max_tokens = kTokens;
    text::Prompt prompt;
    prompt.append(prompts[i], text::Origin::kData);
    std::string& text = texts.emplace_back();
    session.generate(generate::prompt_tokens(*tokenizer, prompt), options,
                     [&](const generate::Piece& piece) {
                       text += piece.text;
                       return true;
                     });
  }
  return texts;
}

TEST(ExactService, RepliesAreThoseOfRunWhateverElseIsAsked) {
  HEARTH_REQUIRE_FILE(hearth::testing::stories_model());
  const std::vector<std::string> prompts = {"Once upon a time", "Lily and Tom went",
                                            "The dog was sad because", "One day"};
  const std::vector<std::string> expected = alone(prompts);
  TestServer::Options options = TestServer::small();
  options.models.each.setup = exact_setup();
  options.models.each.limits.parallel = static_cast<int>(prompts.size());
  TestServer server(std::move(options));
  server.directory.add("stories", hearth::testing::stories_model());
  server.start();
  const auto ask = [&](std::size_t i) -> std::string {
    const Json reply = server.post_json("/v1/completions", {{"model", "stories"},
                                                            {"prompt", prompts[i]},
                                                            {"max_tokens", kTokens},
                                                            {"temperature", 1},
                                                            {"seed", kFirstSeed + i}});
    return reply["choices"][0]["text"];
  };
  // One after the other, then all at once, again and again in changing company.
  for (std::size_t i = 0; i < prompts.size(); ++i) EXPECT_EQ(ask(i), expected[i]);
  for (int round = 0; round < 3; ++round) {
    std::vector<std::string> replies(prompts.size());
    std::vector<std::thread> clients;
    for (std::size_t i = 0; i < prompts.size(); ++i)
      clients.emplace_back([&, i] { replies[i] = ask(i); });
    for (std::thread& client : clients) client.join();
    EXPECT_EQ(replies, expected);
  }
}

}  // namespace
}  // namespace hearth::serve
