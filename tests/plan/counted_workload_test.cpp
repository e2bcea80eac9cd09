#include "plan/counted_workload.h"

#include <gtest/gtest.h>

#include <cstring>
#include <memory>
#include <string>

#include "compute/cpu/cpu_backend.h"
#include "gguf/writer.h"
#include "model/cost.h"
#include "model/families/registry.h"
#include "model/loaded_model.h"
#include "plan/estimate.h"
#include "support/error.h"
#include "support/file.h"
#include "temporary_folder.h"

namespace hearth::plan {
namespace {

using tensor::DType;

Workload count(const char* shape, DType dtype = DType::kQ4_K) {
  const HeaderFile header(measure::known_shape(shape, dtype));
  return counted_workload(header.file());
}

double sum(const std::map<std::string, double>& by_format) {
  double all = 0;
  for (const auto& [format, value] : by_format) all += value;
  return all;
}

TEST(CountedWorkload, OfADenseModelIsWhatItsConfigSays) {
  // llama3.2-1b: 16 layers, width 2048, 32 heads and 8 of keys, 64 wide; hidden 8192; tied.
  const Workload work = count("llama3.2-1b");
  EXPECT_EQ(work.source, "counted");
  EXPECT_EQ(work.model, "llama3.2-1b");
  EXPECT_EQ(work.quant, "Q4_K");
  EXPECT_EQ(work.layers, 16);
  EXPECT_EQ(work.trained_context, 131072);
  EXPECT_FALSE(work.mixture);
  EXPECT_EQ(work.parameters, 1235814400);
  EXPECT_EQ(work.active_parameters, work.parameters);
  EXPECT_EQ(work.vocabulary, 128256);

  constexpr double kMatrices = 16.0 * (2 * 2048 * 2048 + 2 * 2048 * 512 + 3 * 2048 * 8192);
  constexpr double kHead = 2048.0 * 128256;
  EXPECT_EQ(work.multiply_adds, kMatrices);
  EXPECT_EQ(sum(work.multiply_adds_by_format), kMatrices);
  EXPECT_EQ(sum(work.bytes_by_format), (kMatrices + kHead) * 4.5 / 8);
  EXPECT_EQ(sum(work.last_bytes_by_format), kHead * 4.5 / 8);
  EXPECT_EQ(work.active_bytes, sum(work.bytes_by_format));
  EXPECT_EQ(work.products, 16 * 4 + 1);
  EXPECT_EQ(work.attentions, 16);
  EXPECT_GT(work.operations, work.products + work.attentions);

  EXPECT_EQ(work.kv_bytes_per_token, 16 * 2 * 8 * 64 * 2);
  EXPECT_EQ(work.kv_read_bytes, work.kv_bytes_per_token);
  EXPECT_EQ(work.stored_values, 16 * 2 * 8 * 64);
  EXPECT_EQ(work.attention_multiply_adds, 16 * 32 * 2 * 64);
  EXPECT_EQ(work.attention_values, 16 * 32 * 64);
  EXPECT_EQ(work.window, 0);
  EXPECT_EQ(work.window_multiply_adds, 0);
  EXPECT_EQ(work.state_bytes, 0);
  EXPECT_EQ(work.expert_share, 0);
}

TEST(CountedWorkload, WindowsArePricedApart) {
  // gemma3-4b: of 34 layers every sixth sees everything, the others 1024 cells; 8 heads, 4 of keys.
  const Workload work = count("gemma3-4b");
  EXPECT_EQ(work.window, 1024);
  EXPECT_EQ(work.attention_multiply_adds, 5 * 8 * 2 * 256);
  EXPECT_NEAR(work.window_multiply_adds, 29 * 8 * 2 * 256, 1e-6);
  EXPECT_EQ(work.kv_bytes_per_token, 5 * 4 * 2 * 256 * 2);
  EXPECT_EQ(work.window_bytes_per_token, 29 * 4 * 2 * 256 * 2);
  EXPECT_EQ(work.kv_read_bytes, work.kv_bytes_per_token);
  EXPECT_NEAR(work.window_read_bytes, work.window_bytes_per_token, 1e-6);
}

TEST(CountedWorkload, OfExpertsOnlyTheChosenAreActive) {
  // olmoe: 8 of 64 experts, 1024 wide, in 16 layers of width 2048.
  const Workload work = count("olmoe-7b-a1.3b");
  EXPECT_TRUE(work.mixture);
  constexpr double kExperts = 16.0 * 64 * 3 * 2048 * 1024;
  EXPECT_EQ(work.expert_bytes, kExperts * 4.5 / 8);
  EXPECT_EQ(work.expert_share, 8.0 / 64);
  EXPECT_EQ(work.active_expert_bytes, work.expert_bytes / 8);
  EXPECT_EQ(sum(work.expert_multiply_adds_by_format), kExperts / 8);
  EXPECT_NEAR(work.active_parameters, 1.28e9, 0.02e9);
  EXPECT_LT(work.active_bytes, work.weight_bytes / 4);
  EXPECT_GT(work.active_bytes, work.active_expert_bytes);
}

TEST(CountedWorkload, RecurrentStateAndMixedFormatsAreSeen) {
  const Workload work = count("qwen3.5-9b", DType::kQ8_0);
  // 24 of 32 layers: 32 heads of 128 x 128 floats, and three taps of 8192 channels.
  EXPECT_EQ(work.state_bytes, 24 * 4 * (32 * 128 * 128 + 3 * 8192));
  EXPECT_GE(work.state_memory_bytes, work.state_bytes);
  EXPECT_EQ(work.scan_multiply_adds, 24.0 * 3 * 32 * 128 * 128);
  EXPECT_TRUE(work.bytes_by_format.contains("Q8_0"));
}

TEST(CountedWorkload, AgreesWithWhatTheBenchCounts) {
  const HeaderFile header(measure::known_shape("lfm2-350m", DType::kQ8_0));
  const Workload work = counted_workload(header.file());
  const auto backend = compute::make_cpu_backend({});
  spec::Setup setup;
  setup.context = 100;
  const spec::ModelSpec spec = model::describe_model(header.file(), {setup.context});
  const auto counts = model::count_pass(header.file(), spec, setup, *backend, 1, 99).counts;
  // The bench counts the row of the embedding table, too.
  const double row = 1024.0 * 34 / 32;
  EXPECT_EQ(work.active_bytes + row, static_cast<double>(counts.weight_bytes));
  EXPECT_EQ(work.kv_read_bytes * 100, static_cast<double>(counts.kv_bytes_read));
  EXPECT_EQ(work.operations, static_cast<double>(counts.operations));
}

TEST(CountedWorkload, AHeaderOnDiskIsEnough) {
  const testing::TemporaryFolder folder;
  const std::string header = measure::known_shape("qwen3-0.6b", DType::kQ4_K).writer.header();
  write_file_atomically(folder / "begun.gguf", header);
  const HeaderFile begun(measure::file_shape(folder / "begun.gguf", std::nullopt));
  const Workload work = counted_workload(begun.file());
  const Workload known = count("qwen3-0.6b");
  EXPECT_EQ(work.active_bytes, known.active_bytes);
  EXPECT_EQ(work.multiply_adds, known.multiply_adds);
  EXPECT_EQ(work.quant, "Q4_K");
}

TEST(CountedWorkload, OfAnUnknownArchitectureSaysSo) {
  gguf::Writer writer;
  writer.set("general.architecture", "perceptron");
  const std::string bytes = writer.bytes();
  const gguf::File file = gguf::File::from_bytes(std::as_bytes(std::span(bytes)));
  EXPECT_THROW((void)counted_workload(file), Error);
}

TEST(PlannedMemory, IsWhatTheEngineAllocates) {
  const measure::Shape shape = measure::known_shape("lfm2-350m", DType::kQ4_K);
  const std::string header = shape.writer.header();
  const PatternMemory image(header.size() + shape.data_bytes);
  std::memcpy(image.bytes().data(), header.data(), header.size());
  const auto file = std::make_shared<gguf::File>(gguf::File::from_bytes(image.bytes()));
  spec::Setup setup;
  setup.context = 700;
  setup.threads = 2;
  const MemoryNeed need = planned_memory(*file, setup);
  const auto model = model::LoadedModel::load(
      file, compute::make_cpu_backend({.threads = 2, .exact = false, .instruction_set = {}}), setup,
      {});
  const model::MemoryReport memory = model->memory();
  EXPECT_EQ(need.weights, static_cast<double>(memory.weights));
  EXPECT_EQ(need.kv, static_cast<double>(memory.kv));
  EXPECT_EQ(need.state, static_cast<double>(memory.state));
  EXPECT_EQ(need.buffers, static_cast<double>(memory.buffers + memory.other));

  // The estimate from counted numbers alone is within 2 % of it.
  machine::Machine machine;
  machine.kernels.push_back({"Q4_K", 30e9, 200e9});
  machine.memory.available_bytes = std::uint64_t{8} << 30;
  Conditions conditions;
  conditions.context = setup.context;
  const Estimate estimated = estimate(counted_workload(*file), machine, conditions);
  EXPECT_NEAR(estimated.memory.total() / need.total(), 1, 0.02);
}

}  // namespace
}  // namespace hearth::plan
