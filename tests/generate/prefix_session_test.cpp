// Sessions that remember earlier prompts: what is found needs no evaluation and changes nothing.
#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <fstream>
#include <random>

#include "fake_tokenizer.h"
#include "generate/evaluator.h"
#include "generate/session.h"
#include "model/store_identity.h"
#include "shared_dir.h"
#include "spec/kv_format.h"
#include "state/disk_store.h"
#include "temporary_folder.h"

namespace hearth::testing {
namespace {

using generate::ModelEvaluator;
using generate::Session;
using Text = std::vector<std::int32_t>;

constexpr std::int64_t kContext = 1024;

std::unique_ptr<model::LoadedModel> load(const std::string& name, const std::string& kv) {
  spec::Setup setup;
  setup.model = goldens_dir() / "arch" / (name + ".gguf");
  setup.context = kContext;
  setup.sequences = 2;
  setup.exact = true;
  setup.kv_type = spec::parse_kv_format(kv);
  setup.threads = 1;
  setup.snapshots = 12;
  setup.prefix_cells = 2048;
  return model::LoadedModel::load(setup, {});
}

/// Everything that a user of one model has.
struct Machine {
  explicit Machine(const std::string& name, const std::filesystem::path& folder = {},
                   const std::string& kv = "f32")
      : model(load(name, kv)),
        tokenizer(
            std::vector<std::string>(static_cast<std::size_t>(model->spec().vocabulary), "a")) {
    if (!folder.empty()) {
      state::DiskStoreOptions options;
      options.folder = folder;
      options.reserve_bytes = 0;
      disk = std::make_unique<state::DiskStore>(options, model::store_identity(*model));
    }
    cache = std::make_unique<state::PrefixCache>(
        model->pool(), state::PrefixCache::limits_of(model->pool()), disk.get());
    evaluator = std::make_unique<ModelEvaluator>(*model);
    evaluator->use_cache(*cache);
    session = std::make_unique<Session>(*evaluator, tokenizer);
  }

  [[nodiscard]] Text text(std::size_t size, std::uint32_t seed) const {
    std::mt19937 random(seed);
    Text tokens(size);
    for (std::int32_t& token : tokens) {
      token = static_cast<std::int32_t>(random() %
                                        static_cast<std::uint32_t>(model->spec().vocabulary));
    }
    return tokens;
  }
  [[nodiscard]] Text changed(Text tokens, std::size_t from, std::size_t size,
                             std::uint32_t seed) const {
    tokens.resize(from);
    const Text end = text(size, seed);
    tokens.insert(tokens.end(), end.begin(), end.end());
    return tokens;
  }

  /// Reads all but the last token in the session; returns how many of them were evaluated.
  std::int64_t read(const Text& tokens, const std::vector<std::int64_t>& boundaries = {}) {
    generate::GenerateOptions options;
    options.max_tokens = 0;
    options.boundaries = boundaries;
    const auto result = session->generate(std::span(tokens).first(tokens.size() - 1), options,
                                          [](const generate::Piece&) { return true; });
    EXPECT_EQ(session->tokens().size(), tokens.size() - 1);
    return result.prompt_tokens - result.reused_tokens;
  }
  /// The logits after the last token, which the session does not know of.
  std::vector<float> logits_after(const Text& tokens) {
    const std::span<const float> logits = evaluator->evaluate({&tokens.back(), 1}, true);
    std::vector<float> copy(logits.begin(), logits.end());
    return copy;
  }

  std::unique_ptr<model::LoadedModel> model;
  FakeTokenizer tokenizer;
  std::unique_ptr<state::DiskStore> disk;
  std::unique_ptr<state::PrefixCache> cache;
  std::unique_ptr<ModelEvaluator> evaluator;
  std::unique_ptr<Session> session;
};

/// The logits when nothing is known before, in the same passes: chunks of scans end with them.
std::vector<float> alone(const std::string& name, const Text& tokens,
                         const std::vector<std::int64_t>& boundaries = {}) {
  Machine machine(name);
  EXPECT_EQ(machine.read(tokens, boundaries), static_cast<std::int64_t>(tokens.size()) - 1);
  return machine.logits_after(tokens);
}

class PrefixSession : public ::testing::TestWithParam<std::string> {
 protected:
  void SetUp() override { HEARTH_REQUIRE_FILE(goldens_dir() / "arch"); }
};

TEST_P(PrefixSession, SharesABeginning) {
  Machine machine(GetParam());
  const Text first = machine.text(700, 1);
  EXPECT_EQ(machine.read(first, {613}), 699);
  EXPECT_EQ(machine.logits_after(first), alone(GetParam(), first, {613}));
  const Text second = machine.changed(first, 613, 17, 2);
  EXPECT_LE(machine.read(second, {613}), 16);
  EXPECT_EQ(machine.logits_after(second), alone(GetParam(), second, {613}));
  // Back to the first one, which no sequence holds any more.
  EXPECT_LE(machine.read(first, {613}), 1);
  EXPECT_EQ(machine.logits_after(first), alone(GetParam(), first, {613}));
}

TEST_P(PrefixSession, EvaluatesLittleAfterAnEdit) {
  Machine machine(GetParam());
  const Text first = machine.text(900, 3);
  EXPECT_EQ(machine.read(first), 899);
  const Text edited = machine.changed(first, 700, 200, 4);
  EXPECT_LE(machine.read(edited), 456);
  EXPECT_EQ(machine.logits_after(edited), alone(GetParam(), edited));
}

TEST_P(PrefixSession, GoesOnAfterARestart) {
  const TemporaryFolder home;
  Text first;
  {
    Machine machine(GetParam(), home / "kv");
    first = machine.text(700, 5);
    machine.read(first, {613});
    machine.evaluator->remember(machine.session->tokens());
    machine.cache->save_all();
  }
  Machine machine(GetParam(), home / "kv");
  const Text second = machine.changed(first, 613, 40, 6);
  EXPECT_LE(machine.read(second), 39);
  EXPECT_EQ(machine.logits_after(second), alone(GetParam(), second, {613}));
  EXPECT_LE(machine.read(first), 1);
  EXPECT_EQ(machine.logits_after(first), alone(GetParam(), first, {613}));
  EXPECT_GE(machine.cache->statistics().from_disk, 1);
}

std::string test_name(const ::testing::TestParamInfo<std::string>& tested) {
  std::string name = tested.param;
  std::replace(name.begin(), name.end(), '-', '_');
  return name;
}

// Dense, latent, windows, delta net, Mamba-1 and -2, RWKV, hybrids.
INSTANTIATE_TEST_SUITE_P(Goldens, PrefixSession,
                         ::testing::Values("llama-plain", "deepseek2", "gemma3", "gpt-oss",
                                           "qwen35", "mamba", "mamba2", "falcon-h1", "rwkv7"),
                         test_name);

// Of coded pages only whole ones can be gone on from, but for the ends of texts.
TEST(PrefixSessionCoded, GoesOnInMemoryAndAfterARestart) {
  HEARTH_REQUIRE_FILE(goldens_dir() / "arch");
  const TemporaryFolder home;
  for (const char* kv : {"tq4", "tq3u", "q8_0:tq4u"}) {
    const std::filesystem::path folder = home / std::string(kv, 3);
    Text first, second, third;
    {
      Machine machine("llama-256-Q8_0", folder, kv);
      first = machine.text(700, 5);
      second = machine.changed(first, 613, 40, 6);
      third = machine.changed(first, 699, 3, 7);
      EXPECT_EQ(machine.read(first), 699);
      EXPECT_LE(machine.read(second), 39 + 64) << kv;
      EXPECT_LE(machine.read(third), 2 + 64) << kv;
      machine.evaluator->remember(machine.session->tokens());
      machine.cache->save_all();
    }
    Machine machine("llama-256-Q8_0", folder, kv);
    EXPECT_LE(machine.read(second), 39 + 64) << kv;
    EXPECT_LE(machine.read(third), 2 + 64) << kv;
    EXPECT_GE(machine.cache->statistics().from_disk, 1) << kv;
    for (const float logit : machine.logits_after(third)) EXPECT_TRUE(std::isfinite(logit));
  }
}

TEST(StoreIdentity, TellsModelsApart) {
  const std::filesystem::path plain = goldens_dir() / "arch" / "llama-plain.gguf";
  HEARTH_REQUIRE_FILE(plain);
  const TemporaryFolder folder;
  const auto identity = [](const std::filesystem::path& path, bool exact) {
    spec::Setup setup;
    setup.model = path;
    setup.context = 64;
    setup.exact = exact;
    setup.threads = 1;
    return model::store_identity(*model::LoadedModel::load(setup, {})).fingerprint;
  };
  const auto copy = folder / "copy.gguf";
  std::filesystem::copy_file(plain, copy);
  const state::Hash128 first = identity(copy, true);
  EXPECT_EQ(identity(copy, true), first);
  EXPECT_NE(identity(copy, false), first);
  // Other weights in a file of the same size and age.
  const auto time = std::filesystem::last_write_time(copy);
  {
    std::fstream file(copy, std::ios::in | std::ios::out | std::ios::binary);
    file.seekp(-1, std::ios::end).put('!');
  }
  std::filesystem::last_write_time(copy, time);
  EXPECT_NE(identity(copy, true), first);
}

TEST(PromptBoundaries, LieBehindTheFirstAndTheLastPieceOfData) {
  const FakeTokenizer tokenizer({"<s>", "<u>", "<a>", "x", "y", "z"});
  text::Prompt prompt;
  prompt.append("<s>", text::Origin::kTemplate);
  prompt.append("xx", text::Origin::kData);
  prompt.append("<u>", text::Origin::kTemplate);
  prompt.append("yyy", text::Origin::kData);
  prompt.append("<u>", text::Origin::kTemplate);
  prompt.append("z", text::Origin::kData);
  prompt.append("<a>", text::Origin::kTemplate);
  const auto tokens = generate::prompt_tokens(tokenizer, prompt);
  EXPECT_EQ(generate::prompt_boundaries(tokenizer, prompt, tokens),
            (std::vector<std::int64_t>{3, 9}));
  text::Prompt none;
  none.append("<s><a>", text::Origin::kTemplate);
  EXPECT_TRUE(generate::prompt_boundaries(tokenizer, none, generate::prompt_tokens(tokenizer, none))
                  .empty());
}

}  // namespace
}  // namespace hearth::testing
