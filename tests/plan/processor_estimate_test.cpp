#include "plan/processor_estimate.h"

#include <gtest/gtest.h>

#include <cmath>
#include <string>

#include "plan/kv_cost.h"
#include "support/error.h"

namespace hearth::plan {
namespace {

/// Numbers that make seconds easy to see.
machine::Machine machine() {
  machine::Machine m;
  m.cpu.usable_cores = 4;
  m.memory.available_bytes = std::uint64_t{4} << 30;
  m.read_bytes_per_second = 40e9;
  m.kernels = {{"Q4_K", 20e9, 100e9}, {"Q8_0", 40e9, 200e9}};
  return m;
}

Workload workload() {
  Workload w;
  w.source = "counted";
  w.weight_bytes = 1e9;
  w.active_bytes = 1e9;
  w.bytes_by_format = {{"Q4_K", 1e9}};
  w.multiply_adds = 1e9;
  w.multiply_adds_by_format = {{"Q4_K", 1e9}};
  w.trained_context = 1 << 20;
  w.kv_bytes_per_token = 1 << 16;
  w.kv_read_bytes = 1 << 16;
  w.attention_multiply_adds = 1e5;
  w.packed_bytes = 1e9;
  return w;
}

TEST(ProcessorEstimate, WeightsBySpeedOfTheirFormat) {
  Workload work = workload();
  const Estimate one = estimate_on_processor(work, machine(), {.depths = {0}});
  ASSERT_EQ(one.speeds.size(), 1U);
  EXPECT_NEAR(one.speeds[0].decode.tps, 20, 1e-9);
  EXPECT_NEAR(one.speeds[0].prefill.tps, 100, 1e-9);
  // Half of the bandwidth only: the kernels limit.
  EXPECT_EQ(one.speeds[0].decode.limited_by, "arithmetic");
  EXPECT_LT(one.speeds[0].decode.low, one.speeds[0].decode.tps);
  EXPECT_GT(one.speeds[0].decode.high, one.speeds[0].decode.tps);
  EXPECT_NEAR(one.first_token_seconds, 5.12, 1e-9);

  work.bytes_by_format = {{"Q8_0", 1e9}};
  const Estimate other = estimate_on_processor(work, machine(), {.depths = {0}});
  EXPECT_NEAR(other.speeds[0].decode.tps, 40, 1e-9);
  EXPECT_EQ(other.speeds[0].decode.limited_by, "memory bandwidth");
}

TEST(ProcessorEstimate, DepthCostsWhatAttentionReads) {
  machine::Machine m = machine();
  m.engine.kv_bytes_per_second = 10e9;
  m.engine.attention_multiply_adds = 1e9;
  Conditions conditions;
  conditions.depths = {0, 9999, 99999};
  const Estimate estimate = estimate_on_processor(workload(), m, conditions);
  const double seconds = 1 / estimate.speeds[1].decode.tps;
  EXPECT_NEAR(seconds, 0.05 + 10000.0 * 65536 / 10e9, 1e-9);
  EXPECT_EQ(estimate.speeds[2].decode.limited_by, "attention");
  EXPECT_GT(estimate.speeds[0].prefill.tps, estimate.speeds[1].prefill.tps);

  conditions.kv_type = "q8_0";
  const Estimate smaller = estimate_on_processor(workload(), m, conditions);
  EXPECT_NEAR(1 / smaller.speeds[1].decode.tps, 0.05 + 10000.0 * 65536 / 10e9 * 34 / 64, 1e-9);
  EXPECT_NEAR(smaller.kv_bytes_per_token, 65536.0 * 34 / 64, 1e-9);
}

TEST(ProcessorEstimate, WindowsStopGrowing) {
  machine::Machine m = machine();
  m.engine.kv_bytes_per_second = 10e9;
  Workload work = workload();
  work.kv_read_bytes = 0;
  work.window = 1000;
  work.window_read_bytes = 1 << 16;
  Conditions conditions;
  conditions.depths = {499, 999, 50000};
  const Estimate estimate = estimate_on_processor(work, m, conditions);
  EXPECT_NEAR(1 / estimate.speeds[0].decode.tps, 0.05 + 500.0 * 65536 / 10e9, 1e-9);
  EXPECT_NEAR(estimate.speeds[1].decode.tps, estimate.speeds[2].decode.tps, 1e-9);
}

TEST(ProcessorEstimate, EveryOperationCostsSomething) {
  machine::Machine m = machine();
  m.engine.product_seconds = 1e-3;
  m.engine.operation_seconds = 1e-4;
  m.engine.attention_seconds = 1e-2;
  m.engine.logits_per_second = 1e6;
  Workload work = workload();
  work.operations = 100;
  work.products = 20;
  work.attentions = 5;
  work.vocabulary = 3000;
  const Estimate estimate = estimate_on_processor(work, m, {.depths = {0}});
  EXPECT_NEAR(1 / estimate.speeds[0].decode.tps, 0.05 + 0.02 + 75e-4 + 0.05 + 0.003, 1e-9);
}

TEST(ProcessorEstimate, ExpertsOfFewRowsAreSlower) {
  machine::Machine m = machine();
  m.engine.experts = {{8, 0.5}, {32, 0.7}};
  Workload work = workload();
  work.expert_multiply_adds_by_format = {{"Q4_K", 5e8}};
  work.expert_share = 32.0 / 512;
  work.mixture = true;
  const Estimate estimate = estimate_on_processor(work, m, {.depths = {0}});
  EXPECT_NEAR(512 / estimate.speeds[0].prefill.tps, 512 * (5e8 / 100e9 + 5e8 / 70e9), 1e-9);

  m.engine.expert_decode_fraction = 0.5;
  const Estimate slower = estimate_on_processor(work, m, {.depths = {0}});
  const double chosen = 5e8 * 4.5 / 8 / 20e9;
  EXPECT_NEAR(1 / slower.speeds[0].decode.tps, 0.05 + chosen, 1e-9);
}

TEST(ProcessorEstimate, ExpertFractionsAreInterpolatedByRows) {
  machine::EngineSpeed engine;
  EXPECT_EQ(expert_fraction(engine, 10), 1);
  engine.experts = {{4, 0.4}, {16, 0.6}, {64, 0.8}};
  EXPECT_NEAR(expert_fraction(engine, 8), 0.5, 1e-12);
  EXPECT_NEAR(expert_fraction(engine, 64), 0.8, 1e-12);
  EXPECT_NEAR(expert_fraction(engine, 128), 0.9, 1e-12);
  EXPECT_NEAR(expert_fraction(engine, 1 << 20), 1.0, 1e-12);
  EXPECT_NEAR(expert_fraction(engine, 1), 0.1, 1e-12);
}

TEST(ProcessorEstimate, UnmeasuredFormatsAreComputedAsTheirRelatives) {
  const machine::Machine m = machine();
  const FormatSpeed own = format_speed(m, "Q4_K");
  EXPECT_EQ(own.relative, "");
  EXPECT_EQ(own.decode_bytes_per_second, 20e9);
  const FormatSpeed five = format_speed(m, "Q5_K");
  EXPECT_EQ(five.relative, "Q4_K");
  // As many weights per second: 5.5 bits for 4.5.
  EXPECT_NEAR(five.decode_bytes_per_second, 20e9 * 5.5 / 4.5, 1);
  EXPECT_EQ(five.prefill_multiply_adds, 100e9);
  // Never more than the memory gives.
  const FormatSpeed wide = format_speed(m, "F32");
  EXPECT_EQ(wide.decode_bytes_per_second, 40e9);
  Workload work = workload();
  work.bytes_by_format = {{"Q5_K", 1e9}};
  const Estimate estimate = estimate_on_processor(work, m, {.depths = {0}});
  bool stated = false;
  for (const std::string& line : estimate.inputs) {
    stated = stated || line.find("as Q4_K measured") != std::string::npos;
  }
  EXPECT_TRUE(stated);
}

TEST(ProcessorEstimate, SaysWhatFits) {
  Workload work = workload();
  Conditions conditions;
  conditions.context = 8192;
  const Estimate fits = estimate_on_processor(work, machine(), conditions);
  EXPECT_TRUE(fits.fits);
  EXPECT_EQ(fits.memory.kv, 8192.0 * 65536);
  EXPECT_EQ(fits.memory.weights, 1e9);
  // (4 GiB - 1e9 - 64e6) / 65536 in whole pages.
  const double left = 4294967296.0 - 1e9 - 64e6;
  EXPECT_EQ(fits.largest_context, static_cast<std::int64_t>(std::floor(left / 65536 / 64)) * 64);
  conditions.context = fits.largest_context + 64;
  EXPECT_FALSE(estimate_on_processor(work, machine(), conditions).fits);
  work.packed_bytes = 5e9;
  EXPECT_EQ(estimate_on_processor(work, machine(), conditions).largest_context, 0);
}

TEST(ProcessorEstimate, FewerThreadsAreSlower) {
  machine::Machine m = machine();
  Conditions conditions;
  conditions.depths = {0};
  conditions.threads = 1;
  const Estimate in_proportion = estimate_on_processor(workload(), m, conditions);
  EXPECT_NEAR(in_proportion.speeds[0].decode.tps, 5, 1e-9);
  EXPECT_NEAR(in_proportion.speeds[0].prefill.tps, 25, 1e-9);
  m.reads = {{1, true, 20e9}};
  const Estimate measured = estimate_on_processor(workload(), m, conditions);
  EXPECT_NEAR(measured.speeds[0].decode.tps, 10, 1e-9);
}

TEST(ProcessorEstimate, LoadingWaitsForTheSlowerOfDiskAndPacking) {
  machine::Machine m = machine();
  m.engine.pack_bytes_per_second = 1e9;
  EXPECT_NEAR(estimate_on_processor(workload(), m, {}).load_seconds, 1, 1e-9);
  m.disks.resize(1);
  m.disks[0].sequential_bytes_per_second = 0.2e9;
  EXPECT_NEAR(estimate_on_processor(workload(), m, {}).load_seconds, 5, 1e-9);
}

TEST(ProcessorEstimate, IsForThisEngineInMemory) {
  const machine::Machine m = machine();
  Conditions conditions;
  EXPECT_TRUE(has_measured_kernels(workload(), m, conditions));
  conditions.residency = Residency::kDevice;
  EXPECT_FALSE(has_measured_kernels(workload(), m, conditions));
  conditions.residency = Residency::kMemory;
  conditions.engine = "llama.cpp";
  EXPECT_FALSE(has_measured_kernels(workload(), m, conditions));
  conditions.engine = "hearth";
  EXPECT_FALSE(has_measured_kernels(workload(), {}, conditions));
  EXPECT_FALSE(has_measured_kernels({}, m, conditions));
}

TEST(ProcessorEstimate, OtherKvFormatsAreRefused) {
  EXPECT_EQ(kv_cost(workload(), "f32").per_token, 2);
  EXPECT_EQ(kv_cost(workload(), "F16").per_token, 1);
  EXPECT_LT(kv_cost(workload(), "tq3u").per_token, 0.2);
  EXPECT_LE(kv_cost(workload(), "tq3u").per_token, kv_cost(workload(), "tq3").per_token);
  EXPECT_THROW((void)kv_cost(workload(), "Q4_0"), Error);
}

}  // namespace
}  // namespace hearth::plan
