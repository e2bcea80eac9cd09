// Contexts of which a part is on disk: against the engine's own counts, and what they cost.
#include "plan/kv_disk.h"

#include <gtest/gtest.h>

#include "compute/cpu/cpu_backend.h"
#include "measure/shapes.h"
#include "model/cost.h"
#include "model/families/registry.h"
#include "plan/counted_workload.h"
#include "plan/estimate.h"
#include "plan/rank.h"

namespace hearth::plan {
namespace {

machine::Machine machine_with_disk(double rate) {
  machine::Machine machine;
  machine.cpu.usable_cores = 2;
  machine.memory.available_bytes = std::uint64_t{8} << 30;
  machine.read_bytes_per_second = 40e9;
  machine.kernels = {{"Q4_K", 30e9, 200e9}, {"Q6_K", 30e9, 200e9}};
  machine.engine.kv_bytes_per_second = 20e9;
  machine.engine.attention_multiply_adds = 2e12;
  if (rate > 0) {
    machine.disks.emplace_back();
    machine.disks.front().sequential_bytes_per_second = rate;
  }
  return machine;
}

struct Case {
  const char* shape;
  const char* kv;
  std::int64_t context;
  std::uint64_t budget;
};

class KvDisk : public ::testing::TestWithParam<Case> {};

TEST_P(KvDisk, IsEstimatedAsTheEngineDivides) {
  const auto& [shape, kv, context, budget] = GetParam();
  const HeaderFile header(measure::known_shape(shape, tensor::DType::kQ4_K));
  spec::Setup setup;
  setup.context = context;
  setup.kv_type = spec::parse_kv_format(kv);
  setup.kv_budget = budget;
  setup.snapshots = -1;
  const MemoryNeed exact = planned_memory(header.file(), setup);
  const auto backend = compute::make_cpu_backend({});
  const spec::ModelSpec spec = model::describe_model(header.file(), {context});
  const model::PassCost pass =
      model::count_pass(header.file(), spec, setup, *backend, 1, context - 1);
  Conditions conditions;
  conditions.context = context;
  conditions.kv_type = setup.kv_type.name();
  conditions.kv_budget = budget;
  const Estimate estimated =
      estimate(counted_workload(header.file()), machine_with_disk(2e9), conditions);
  EXPECT_GT(exact.disk, 0);
  EXPECT_NEAR(estimated.memory.kv / exact.kv, 1, 0.02);
  EXPECT_NEAR(estimated.memory.disk / exact.disk, 1, 0.05);
  EXPECT_NEAR(estimated.disk_bytes_per_token / static_cast<double>(pass.disk_bytes_read), 1, 0.05);
}

INSTANTIATE_TEST_SUITE_P(Shapes, KvDisk,
                         ::testing::Values(Case{"llama3-8b", "f16", 131'072, 4'000'000'000},
                                           Case{"llama3-8b", "f16", 16'384, 1'000'000'000},
                                           Case{"llama3-8b", "tq4", 131'072, 2'000'000'000},
                                           Case{"qwen3-0.6b", "q8_0", 65'536, 500'000'000},
                                           Case{"gemma3-4b", "f16", 131'072, 1'000'000'000}),
                         [](const auto& one) { return "Case" + std::to_string(one.index); });

TEST(KvOnDisk, TheSlowerOfDiskAndComputingCounts) {
  EXPECT_EQ(disk_wait(100, 10, 4), 6);
  EXPECT_EQ(disk_wait(100, 10, 40), 0);
  const HeaderFile header(measure::known_shape("llama3-8b", tensor::DType::kQ4_K));
  const Workload work = counted_workload(header.file());
  Conditions conditions;
  conditions.context = 131'072;
  conditions.depths = {0, 131'071};
  const Estimate all = estimate(work, machine_with_disk(2e9), conditions);
  conditions.kv_budget = 4'000'000'000;
  const Estimate slow = estimate(work, machine_with_disk(2e9), conditions);
  const Estimate fast = estimate(work, machine_with_disk(1e12), conditions);
  EXPECT_EQ(slow.speeds[0].decode.tps, all.speeds[0].decode.tps);  // nothing is there yet
  EXPECT_EQ(fast.speeds[1].decode.tps, all.speeds[1].decode.tps);
  EXPECT_NEAR(slow.speeds[1].decode.tps * slow.disk_bytes_per_token / 2e9, 1, 1e-6);
  EXPECT_EQ(slow.speeds[1].decode.limited_by, "disk");
  // A prompt waits once per pass, not per token.
  EXPECT_EQ(slow.speeds[1].prefill.tps, all.speeds[1].prefill.tps);
  const Estimate slower = estimate(work, machine_with_disk(2e8), conditions);
  EXPECT_NEAR(slower.speeds[1].prefill.tps / slower.speeds[1].decode.tps, 512, 5);
  EXPECT_FALSE(all.fits);
  EXPECT_GT(slow.largest_context, 131'000);
  // By the class of the hardware, where no kernels were measured, it is the same bound.
  machine::Machine described = machine_with_disk(2e9);
  described.kernels.clear();
  described.f32_multiply_adds = 50e9;
  described.disks.front().sequential_bytes_per_second = 2e8;
  const Estimate by_class = estimate(work, described, conditions);
  EXPECT_NEAR(by_class.speeds[1].decode.tps / slow.speeds[1].decode.tps, 0.1, 0.005);
  EXPECT_EQ(by_class.speeds[1].decode.limited_by, "disk");
}

TEST(KvOnDisk, ABudgetThatIsTooSmallDoesNotFit) {
  const HeaderFile header(measure::known_shape("llama3-8b", tensor::DType::kQ4_K));
  const Workload work = counted_workload(header.file());
  Conditions conditions;
  conditions.context = 131'072;
  conditions.kv_budget = 20'000'000;
  const Estimate small = estimate(work, machine_with_disk(2e9), conditions);
  EXPECT_FALSE(small.fits);
  EXPECT_FALSE(small.kv_fits);
  spec::Setup setup;
  setup.context = conditions.context;
  setup.kv_budget = conditions.kv_budget;
  EXPECT_ANY_THROW((void)planned_memory(header.file(), setup));
  // A file that may not be as large.
  conditions.kv_budget = 2'000'000'000;
  EXPECT_TRUE(estimate(work, machine_with_disk(2e9), conditions).fits);
  conditions.kv_disk = 1'000'000'000;
  EXPECT_FALSE(estimate(work, machine_with_disk(2e9), conditions).fits);
}

TEST(KvOnDisk, AnUnknownDiskIsAGuessThatIsTold) {
  const HeaderFile header(measure::known_shape("llama3-8b", tensor::DType::kQ4_K));
  Conditions conditions;
  conditions.context = 131'072;
  conditions.kv_budget = 4'000'000'000;
  conditions.end_at_context();
  const Estimate guessed =
      estimate(counted_workload(header.file()), machine_with_disk(0), conditions);
  EXPECT_EQ(guessed.inputs.back(), "disk 1 GB/s, guessed");
  EXPECT_EQ(guessed.speeds.back().depth, 131'071);
  EXPECT_NEAR(guessed.speeds.back().decode.tps * guessed.disk_bytes_per_token / kUnknownDisk, 1,
              1e-6);
}

}  // namespace
}  // namespace hearth::plan
