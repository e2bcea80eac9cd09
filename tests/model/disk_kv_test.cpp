// Old keys and values on disk: whatever a sequence does, its logits are to the last bit those of
// one that has all of them in memory.
#include <array>
#include <filesystem>
#include <string>
#include <tuple>
#include <vector>

#include "compute/cpu/cpu_backend.h"
#include "compute/reference/reference_backend.h"
#include "golden_case.h"
#include "model/cost.h"
#include "model/loaded_model.h"
#include "support/error.h"
#include "temporary_folder.h"

namespace hearth::testing {
namespace {

using model::BatchRow;
using model::LoadedModel;
using state::SequenceState;

constexpr std::int64_t kDiskContext = 5120;
constexpr std::size_t kBatch = 96;

/// A model of which two are compared: one has all keys and values in memory.
class DiskModel {
 public:
  DiskModel(const GoldenCase& golden, const std::string& kv, bool exact, int sequences,
            std::uint64_t budget, const std::filesystem::path& folder,
            std::int64_t context = kDiskContext) {
    spec::Setup setup;
    setup.context = context;
    setup.sequences = sequences;
    setup.batch_rows = kBatch;
    setup.kv_type = spec::parse_kv_format(kv);
    setup.snapshots = 2;
    setup.kv_budget = budget;
    setup.spill_folder = folder;
    auto file = std::make_shared<gguf::File>(gguf::File::open(golden.model()));
    std::shared_ptr<compute::Backend> backend =
        compute::make_cpu_backend({.threads = 2, .exact = exact, .instruction_set = ""});
    model::Outputs outputs;
    outputs.logit_rows = 2;
    loaded = LoadedModel::load(std::move(file), std::move(backend), setup, {}, outputs);
  }

  /// Evaluates tokens in passes; the logits of every pass's last row.
  std::vector<float> run(SequenceState& sequence, std::span<const std::int32_t> tokens,
                         std::size_t batch = kBatch) const {
    std::vector<float> all;
    for (std::size_t done = 0; done < tokens.size();) {
      const std::size_t count = std::min(batch, tokens.size() - done);
      std::vector<BatchRow> rows;
      for (std::size_t i = 0; i < count; ++i) {
        rows.push_back(
            {.sequence = &sequence, .token = tokens[done + i], .wants_logits = i + 1 == count});
      }
      const std::span<const float> logits = loaded->run(rows);
      all.insert(all.end(), logits.begin(), logits.end());
      done += count;
    }
    return all;
  }

  std::unique_ptr<LoadedModel> loaded;
};

std::vector<std::int32_t> text(const GoldenCase& golden, std::size_t length, std::size_t seed) {
  const std::vector<std::int32_t> prompt = golden.ids("prompt_tokens");
  std::vector<std::int32_t> tokens;
  for (std::size_t i = 0; i < length; ++i)
    tokens.push_back(prompt[(i * (2 * seed + 1) + i * i / 7 + seed) % prompt.size()]);
  return tokens;
}

/// What is given to keys and values: less than they take, and enough for the few layers of these
/// models, of which the parts that are being read are a large share.
std::uint64_t tight_budget(const DiskModel& model) {
  const LoadedModel& loaded = *model.loaded;
  spec::Setup setup = loaded.setup();
  for (std::uint64_t part = 6;; ++part) {
    setup.kv_budget = loaded.memory().kv * part / 20;
    try {
      (void)model::kv_bytes(loaded.spec(), setup, model.loaded->backend());
      return setup.kv_budget;
    } catch (const Error&) {
      if (part >= 18) throw;
    }
  }
}

class DiskKv : public ::testing::TestWithParam<std::tuple<const char*, const char*, bool>> {
 protected:
  void SetUp() override {
    HEARTH_REQUIRE_FILE(goldens_dir() / "arch");
    golden_ = std::make_unique<GoldenCase>(std::get<0>(GetParam()));
  }
  /// `roomy`: a quarter of all more than the least.
  void load(int sequences, bool roomy = false) {
    const auto make = [&](std::uint64_t budget) {
      return std::make_unique<DiskModel>(*golden_, std::get<1>(GetParam()), std::get<2>(GetParam()),
                                         sequences, budget, folder_.path());
    };
    memory_ = make(0);
    const std::uint64_t budget =
        tight_budget(*memory_) + (roomy ? memory_->loaded->memory().kv / 4 : 0);
    disk_ = make(budget);
    ASSERT_LE(disk_->loaded->memory().kv, budget);
    ASSERT_GT(disk_->loaded->memory().disk, 0U);
    ASSERT_EQ(memory_->loaded->memory().disk, 0U);
    EXPECT_EQ(
        disk_->loaded->memory().kv,
        model::kv_bytes(disk_->loaded->spec(), disk_->loaded->setup(), disk_->loaded->backend()));
    EXPECT_TRUE(std::filesystem::is_empty(folder_.path())) << "the file has a name";
  }
  /// What the last pass read from the disk.
  [[nodiscard]] std::uint64_t bytes_read() const {
    return disk_->loaded->pool().stream()->pass_bytes();
  }

  TemporaryFolder folder_;
  std::unique_ptr<GoldenCase> golden_;
  std::unique_ptr<DiskModel> memory_, disk_;
};

TEST_P(DiskKv, LogitsAreThoseOfMemory) {
  load(1);
  std::vector<std::vector<float>> results;
  for (const DiskModel* const model : {memory_.get(), disk_.get()}) {
    const auto sequence = model->loaded->new_sequence();
    std::vector<float>& all = results.emplace_back();
    const auto add = [&all](const std::vector<float>& more) {
      all.insert(all.end(), more.begin(), more.end());
    };
    add(model->run(*sequence, text(*golden_, 4300, 1)));
    if (model == disk_.get()) {
      EXPECT_GT(bytes_read(), 0U);
    }
    add(model->run(*sequence, text(*golden_, 70, 2), 1));
    // Back into what is on disk, and on with something else.
    const std::int64_t left = sequence->truncate(2000);
    all.push_back(static_cast<float>(left));
    add(model->run(*sequence, text(*golden_, 1900, 3)));
    add(model->run(*sequence, text(*golden_, 3, 4), 1));
    // To the end of the context.
    const auto rest = static_cast<std::size_t>(kDiskContext - sequence->length());
    add(model->run(*sequence, text(*golden_, rest, 5)));
  }
  EXPECT_EQ(results[0], results[1]);
}

TEST_P(DiskKv, ForksSnapshotsAndSavedStatesAsWell) {
  load(2);
  std::vector<std::vector<float>> results;
  for (const DiskModel* const model : {memory_.get(), disk_.get()}) {
    std::vector<float>& all = results.emplace_back();
    const auto add = [&all](std::span<const float> more) {
      all.insert(all.end(), more.begin(), more.end());
    };
    auto sequence = model->loaded->new_sequence();
    add(model->run(*sequence, text(*golden_, 3000, 1)));
    auto snapshot = sequence->snapshot();
    auto fork = sequence->fork();
    add(model->run(*sequence, text(*golden_, 400, 2)));
    add(model->run(*fork, text(*golden_, 300, 3)));
    // Both in one pass.
    for (const std::int32_t token : text(*golden_, 5, 4)) {
      const std::array<BatchRow, 2> rows{
          {{.sequence = sequence.get(), .token = token, .wants_logits = true},
           {.sequence = fork.get(), .token = token + 1, .wants_logits = true}}};
      add(model->loaded->run(rows));
    }
    const std::vector<std::byte> saved = fork->save();
    fork = nullptr;
    sequence = snapshot->fork();
    add(model->run(*sequence, text(*golden_, 100, 5)));
    sequence = model->loaded->new_sequence();
    sequence->load(saved);
    EXPECT_EQ(sequence->save(), saved);
    add(model->run(*sequence, text(*golden_, 100, 6)));
  }
  EXPECT_EQ(results[0], results[1]);
}

class DiskKvFolder : public ::testing::Test {
 protected:
  void SetUp() override { HEARTH_REQUIRE_FILE(goldens_dir() / "arch"); }

  /// What loading says.
  std::string refusal(const char* name, std::uint64_t budget, const std::filesystem::path& folder,
                      std::uint64_t spill_bytes = 0) const {
    spec::Setup setup;
    setup.model = GoldenCase(name).model();
    setup.context = kDiskContext;
    setup.batch_rows = kBatch;
    setup.threads = 1;
    setup.kv_budget = budget;
    setup.spill_folder = folder;
    setup.spill_bytes = spill_bytes;
    try {
      (void)LoadedModel::load(setup, {});
    } catch (const Error& error) {
      EXPECT_EQ(error.exit_code(), ExitCode::kDoesNotFit);
      return error.what() + (" (" + error.hint() + ")");
    }
    return "nothing";
  }
  TemporaryFolder folder_;
};

TEST_F(DiskKvFolder, BudgetsAndFoldersThatAreTooSmall) {
  const GoldenCase golden("llama-plain");
  const DiskModel all(golden, "f16", false, 1, 0, {});
  const std::uint64_t bytes = all.loaded->memory().kv;
  EXPECT_EQ(refusal("llama-plain", bytes, {}), "nothing") << "all fits: no folder is needed";
  const std::uint64_t tight = tight_budget(all);
  EXPECT_NE(refusal("llama-plain", tight, {}).find("--kv-disk"), std::string::npos);
  EXPECT_NE(refusal("llama-plain", tight, folder_.path(), bytes / 2).find("allows"),
            std::string::npos);
  EXPECT_NE(refusal("llama-plain", bytes / 50, folder_.path()).find("larger --kv-budget"),
            std::string::npos);
  EXPECT_EQ(refusal("llama-plain", tight, folder_.path(), 2 * bytes), "nothing");
  EXPECT_TRUE(std::filesystem::is_empty(folder_.path()));
}

TEST_F(DiskKvFolder, ModelsThatChooseCells) {
  EXPECT_NE(refusal("glm-dsa", 100'000, folder_.path()).find("cannot be read from a disk"),
            std::string::npos);
}

// Far into a context attention takes more cells together, and so do parts.
TEST_F(DiskKvFolder, LongContextsGiveTheSameToo) {
  constexpr std::int64_t kLong = 16000;
  const GoldenCase golden("llama-plain");
  const DiskModel all(golden, "f16", false, 1, 0, {}, kLong);
  const DiskModel tight(golden, "f16", false, 1, tight_budget(all), folder_.path(), kLong);
  std::vector<std::vector<float>> results;
  for (const DiskModel* const model : {&all, &tight}) {
    const auto sequence = model->loaded->new_sequence();
    std::vector<float>& logits =
        results.emplace_back(model->run(*sequence, text(golden, 14'500, 1)));
    const std::vector<float> more = model->run(*sequence, text(golden, 20, 2), 1);
    logits.insert(logits.end(), more.begin(), more.end());
  }
  EXPECT_GT(tight.loaded->pool().stream()->pass_bytes(), 0U);
  EXPECT_EQ(results[0], results[1]);
}

// Parts are larger there; each sequence that a pass goes on with keeps its last one in memory.
TEST_F(DiskKvFolder, LongCodedContextsOfSeveralSequencesToo) {
  constexpr std::int64_t kLong = 10'000;
  constexpr std::size_t kSequences = 3;
  const GoldenCase golden("llama-plain");
  const DiskModel all(golden, "tq4", false, kSequences, 0, {}, kLong);
  const DiskModel tight(golden, "tq4", false, kSequences, tight_budget(all), folder_.path(), kLong);
  std::vector<std::vector<float>> results;
  for (const DiskModel* const model : {&all, &tight}) {
    std::vector<std::unique_ptr<SequenceState>> sequences;
    for (std::size_t i = 0; i < kSequences; ++i) {
      sequences.push_back(model->loaded->new_sequence());
      (void)model->run(*sequences[i], text(golden, 8'300 + 250 * i, i));
    }
    std::vector<float>& logits = results.emplace_back();
    for (int pass = 0; pass < 3; ++pass) {
      std::vector<BatchRow> rows;
      for (std::size_t i = 0; i < kSequences; ++i)
        rows.push_back({.sequence = sequences[i].get(),
                        .token = text(golden, 9, i)[static_cast<std::size_t>(pass)],
                        .wants_logits = i < 2});
      const std::span<const float> more = model->loaded->run(rows);
      logits.insert(logits.end(), more.begin(), more.end());
    }
  }
  EXPECT_GT(tight.loaded->pool().stream()->pass_bytes(), 0U);
  EXPECT_EQ(results[0], results[1]);
}

TEST_F(DiskKvFolder, APlanSaysWhatATokenReads) {
  const GoldenCase golden("llama-plain");
  const DiskModel all(golden, "f16", false, 1, 0, {});
  const DiskModel tight(golden, "f16", false, 1, tight_budget(all), folder_.path());
  const model::PassCost cost =
      model::count_pass(tight.loaded->file(), tight.loaded->spec(), tight.loaded->setup(),
                        tight.loaded->backend(), 1, kDiskContext - 1);
  EXPECT_EQ(cost.disk_bytes, tight.loaded->memory().disk);
  const auto sequence = tight.loaded->new_sequence();
  (void)tight.run(*sequence, text(golden, kDiskContext - 1, 1));
  (void)tight.run(*sequence, text(golden, 1, 2));
  EXPECT_EQ(tight.loaded->pool().stream()->pass_bytes(), cost.disk_bytes_read);
  EXPECT_GT(cost.disk_bytes_read, 0U);
}

TEST_P(DiskKv, WhatLeftComesBackWhenThereIsRoom) {
  load(2, true);
  auto other = disk_->loaded->new_sequence();
  const auto sequence = disk_->loaded->new_sequence();
  const auto reference = memory_->loaded->new_sequence();
  (void)disk_->run(*sequence, text(*golden_, 1000, 1));
  (void)memory_->run(*reference, text(*golden_, 1000, 1));
  (void)disk_->run(*other, text(*golden_, 5000, 2));
  EXPECT_EQ(disk_->run(*sequence, text(*golden_, 2, 3), 1),
            memory_->run(*reference, text(*golden_, 2, 3), 1));
  EXPECT_GT(bytes_read(), 0U);
  other = nullptr;
  EXPECT_EQ(disk_->run(*sequence, text(*golden_, 8, 4), 1),
            memory_->run(*reference, text(*golden_, 8, 4), 1));
  EXPECT_EQ(bytes_read(), 0U);
}

std::string name_of(const ::testing::TestParamInfo<DiskKv::ParamType>& tested) {
  std::string name = std::string(std::get<0>(tested.param)) + "_" + std::get<1>(tested.param) +
                     (std::get<2>(tested.param) ? "_exact" : "");
  for (char& c : name) {
    if (std::isalnum(static_cast<unsigned char>(c)) == 0) c = '_';
  }
  return name;
}

INSTANTIATE_TEST_SUITE_P(
    Models, DiskKv,
    // Dense, 8 bits, coded, windows beside full layers, recurrent states, latents, sinks.
    ::testing::Values(std::tuple("llama-plain", "f16", false), std::tuple("qwen3", "q8_0", false),
                      std::tuple("qwen3", "tq3", false), std::tuple("qwen3", "q8_0:f16", false),
                      std::tuple("llama-plain", "f32", true), std::tuple("gemma3", "f16", false),
                      std::tuple("qwen35", "f16", false), std::tuple("deepseek2", "f16", false),
                      std::tuple("gpt-oss", "bf16", false)),
    name_of);

}  // namespace
}  // namespace hearth::testing
