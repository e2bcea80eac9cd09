#include "model/runner.h"

#include <array>
#include <fstream>

#include "compute/reference/reference_backend.h"
#include "gguf/file.h"
#include "gguf/writer.h"
#include "golden_case.h"
#include "support/error.h"
#include "temporary_folder.h"

namespace hearth::testing {
namespace {

std::filesystem::path plain_model() { return goldens_dir() / "arch" / "llama-plain.gguf"; }

TEST(Runner, RefusesBadTokensWithoutChangingAnything) {
  HEARTH_REQUIRE_FILE(plain_model());
  ModelOnBackend model(plain_model(), compute::make_reference_backend());
  model.restart(0);
  const std::array<std::int32_t, 3> good = {1, 2, 3};
  const std::vector<float> expected = model.run(good);
  model.restart(0);
  EXPECT_THROW(model.run(std::array<std::int32_t, 2>{1, 100000}), Error);
  EXPECT_THROW(model.run(std::array<std::int32_t, 1>{-1}), Error);
  EXPECT_EQ(model.run(good), expected);
}

TEST(Runner, SequencesInOneBatchDoNotSeeEachOther) {
  HEARTH_REQUIRE_FILE(plain_model());
  ModelOnBackend model(plain_model(), compute::make_reference_backend());
  const auto alone = [&](std::span<const std::int32_t> tokens) {
    model.restart(0);
    return model.run(tokens);
  };
  const std::array<std::int32_t, 3> first = {1, 2, 3};
  const std::array<std::int32_t, 2> second = {40, 50};
  std::vector<float> expected = alone(first);
  const std::vector<float> expected_second = alone(second);
  expected.insert(expected.end(), expected_second.begin(), expected_second.end());

  const auto a = model.new_sequence();
  const auto b = model.new_sequence();
  std::vector<model::BatchRow> rows;
  for (const std::int32_t token : first) rows.push_back({a.get(), token, true});
  for (const std::int32_t token : second) rows.push_back({b.get(), token, true});
  EXPECT_EQ(model.run_rows(rows), expected);

  // A fork continues like its parent.
  const auto c = a->fork();
  const std::vector<float> next = model.run_rows(std::array{model::BatchRow{a.get(), 7, true}});
  EXPECT_EQ(model.run_rows(std::array{model::BatchRow{c.get(), 7, true}}), next);
}

TEST(Runner, TakesCellsBackWhenAPassFails) {
  HEARTH_REQUIRE_FILE(plain_model());
  constexpr std::int64_t kContext = 8;
  ModelOnBackend model(plain_model(), compute::make_reference_backend(), tensor::DType::kF32,
                       kContext);
  const auto a = model.new_sequence();
  const auto full = model.new_sequence();
  full->grow(kContext);
  full->commit();
  const std::array<model::BatchRow, 3> rows = {
      {{a.get(), 1, false}, {a.get(), 2, false}, {full.get(), 3, true}}};
  EXPECT_THROW(model.run_rows(rows), Error);
  EXPECT_EQ(a->length(), 0);
  EXPECT_EQ(full->length(), kContext);
}

TEST(Runner, AsksBetweenLayersWhetherToGoOn) {
  HEARTH_REQUIRE_FILE(plain_model());
  ModelOnBackend model(plain_model(), compute::make_reference_backend());
  const auto a = model.new_sequence();
  const std::array rows = {model::BatchRow{a.get(), 1, true}};
  int layers = 0;
  model.runner().check_between_layers([&] {
    if (++layers == 2) throw Error("enough");
  });
  EXPECT_THROW(model.run_rows(rows), Error);
  EXPECT_EQ(layers, 2);
  EXPECT_EQ(a->length(), 0);
  model.runner().check_between_layers({});
  EXPECT_FALSE(model.run_rows(rows).empty());
}

TEST(Runner, TakesCellsBackWhenWorkMemoryIsTooSmall) {
  HEARTH_REQUIRE_FILE(plain_model());
  const gguf::File file = gguf::File::open(plain_model());
  const spec::ModelSpec spec = model::describe_model(file, {64});
  const auto backend = compute::make_reference_backend();
  const model::Weights weights(file, spec, *backend, compute::Residency::kPacked, {});
  spec::Setup setup;
  setup.context = 64;
  state::MemoryPool pool(*backend, spec, model::memory_limits(setup));
  model::Runner runner(spec, weights, *backend, pool, model::limits_of(setup), 1024);
  state::SequenceState sequence(pool);
  const std::array<model::BatchRow, 2> rows = {{{&sequence, 1, false}, {&sequence, 2, true}}};
  EXPECT_THROW((void)runner.run(rows), Error);
  EXPECT_EQ(sequence.length(), 0);
  EXPECT_EQ(pool.free_pages(0), pool.pages(0));
}

TEST(Runner, PlansBatchesOfSeveralSequences) {
  HEARTH_REQUIRE_FILE(plain_model());
  const gguf::File file = gguf::File::open(plain_model());
  const spec::ModelSpec spec = model::describe_model(file, {16});
  spec::Setup setup;
  setup.context = 16;
  setup.sequences = 3;
  const auto backend = compute::make_reference_backend();
  EXPECT_GT(model::plan_memory(file, spec, setup, *backend, {.logit_rows = 48}).arena_bytes, 0U);
}

TEST(Runner, CountsWhatAPassReadsAndKeeps) {
  HEARTH_REQUIRE_FILE(plain_model());
  const gguf::File file = gguf::File::open(plain_model());
  const spec::ModelSpec spec = model::describe_model(file, {512});
  spec::Setup setup;
  setup.context = 512;
  setup.kv_type = tensor::DType::kF16;
  const auto backend = compute::make_reference_backend();
  const model::PassCost one = model::count_pass(file, spec, setup, *backend, 1, 99);
  std::uint64_t kv_row = 0;
  for (const spec::KvMemory& layer : spec.kv_memories) {
    kv_row += static_cast<std::uint64_t>(layer.kv_heads * (layer.key_size + layer.value_size)) * 2;
  }
  EXPECT_EQ(one.counts.kv_bytes_written, kv_row);
  EXPECT_EQ(one.counts.kv_bytes_read, 100 * kv_row);
  EXPECT_EQ(one.kv_bytes, 512 * kv_row);
  const model::PassCost many = model::count_pass(file, spec, setup, *backend, 64, 0);
  EXPECT_GT(many.arena_bytes, one.arena_bytes);
  EXPECT_EQ(many.counts.operations, one.counts.operations);
}

TEST(Families, NameTheKnownOnesWhenTheArchitectureIsUnknown) {
  const TemporaryFolder folder;
  gguf::Writer writer;
  writer.set("general.architecture", std::string("perceptron"));
  std::ofstream(folder / "model.gguf", std::ios::binary) << writer.bytes();
  const gguf::File file = gguf::File::open(folder / "model.gguf");
  try {
    (void)model::describe_model(file, {});
    FAIL() << "no error";
  } catch (const Error& error) {
    EXPECT_STREQ(error.what(), "unknown model architecture 'perceptron'");
    EXPECT_NE(error.hint().find("llama"), std::string::npos);
    EXPECT_NE(error.hint().find("starcoder2"), std::string::npos);
  }
}

TEST(Families, WindowPatternsFollowThePeriod) {
  EXPECT_TRUE(model::is_windowed(0, 4));
  EXPECT_TRUE(model::is_windowed(2, 4));
  EXPECT_FALSE(model::is_windowed(3, 4));
  EXPECT_FALSE(model::is_windowed(5, 1));
  EXPECT_TRUE(model::is_windowed(5, 0));
}

}  // namespace
}  // namespace hearth::testing
