#include "measure/kernel_speed.h"

#include <gtest/gtest.h>

#include <atomic>
#include <cmath>

#include "support/error.h"

namespace hearth::measure {
namespace {

using tensor::DType;

/// As little as there is: one round, two formats.
KernelPlan small_plan() {
  KernelPlan plan;
  plan.threads = 2;
  plan.formats = {DType::kQ4_0, DType::kQ8_0};
  plan.format_bytes = 1 << 20;
  plan.rounds = 1;
  plan.seconds = 1e9;
  return plan;
}

TEST(KernelSpeeds, EverySpeedIsANumber) {
  const KernelSpeeds speeds = kernel_speeds(small_plan());
  ASSERT_EQ(speeds.kernels.size(), 2U);
  EXPECT_EQ(speeds.kernels[0].format, "Q4_0");
  EXPECT_EQ(speeds.kernels[1].format, "Q8_0");
  for (const machine::KernelSpeed& kernel : speeds.kernels) {
    EXPECT_GT(kernel.decode_bytes_per_second, 0);
    EXPECT_GT(kernel.prefill_multiply_adds, 0);
  }
  const machine::EngineSpeed& engine = speeds.engine;
  for (const double speed :
       {engine.operation_seconds, engine.attention_seconds, engine.expert_decode_fraction,
        engine.kv_bytes_per_second, engine.row_values_per_second, engine.stored_values_per_second,
        engine.attention_multiply_adds, engine.scan_multiply_adds, engine.logits_per_second,
        engine.pack_bytes_per_second}) {
    EXPECT_GT(speed, 0);
    EXPECT_TRUE(std::isfinite(speed));
  }
  // Differences of two measurements may come out as nothing.
  EXPECT_GE(engine.product_seconds, 0);
  EXPECT_GE(engine.kv_multiply_adds, 0);
  EXPECT_GE(engine.attention_values_per_second, 0);
  ASSERT_GE(engine.experts.size(), 2U);
  for (std::size_t i = 0; i < engine.experts.size(); ++i) {
    EXPECT_GT(engine.experts[i].fraction, 0);
    if (i > 0) {
      EXPECT_GT(engine.experts[i].rows, engine.experts[i - 1].rows);
    }
  }
}

TEST(KernelSpeeds, WithoutTimeOnlyTheFirstFormatIsMeasured) {
  KernelPlan plan = small_plan();
  plan.seconds = 0;
  const KernelSpeeds speeds = kernel_speeds(plan);
  ASSERT_EQ(speeds.kernels.size(), 1U);
  EXPECT_EQ(speeds.kernels[0].format, "Q4_0");
  EXPECT_GT(speeds.kernels[0].prefill_multiply_adds, 0);
}

TEST(KernelSpeeds, CanBeInterrupted) {
  const std::atomic<bool> cancel{true};
  KernelPlan plan = small_plan();
  plan.cancel = &cancel;
  try {
    (void)kernel_speeds(plan);
    FAIL() << "not interrupted";
  } catch (const Error& error) {
    EXPECT_EQ(error.exit_code(), ExitCode::kInterrupted);
  }
}

TEST(KernelSpeeds, WhatCannotBeMeasuredIsRefused) {
  KernelPlan plan = small_plan();
  plan.formats.clear();
  EXPECT_THROW((void)kernel_speeds(plan), Error);
  plan = small_plan();
  plan.instruction_set = "abacus";
  EXPECT_THROW((void)kernel_speeds(plan), Error);
}

TEST(KernelSpeeds, LittleMemoryLeavesTheLessUsedFormatsOut) {
  constexpr std::size_t kMebi = std::size_t{1} << 20;
  KernelPlan plan;
  plan.format_bytes = 40 * kMebi;
  EXPECT_EQ(formats_that_fit(plan, 0), plan.formats.size());
  EXPECT_EQ(formats_that_fit(plan, 100'000 * kMebi), plan.formats.size());
  EXPECT_EQ(formats_that_fit(plan, 2 * (240 + 85) * kMebi), 2U);
  EXPECT_EQ(formats_that_fit(plan, 2 * (240 + 40) * kMebi), 1U);
  EXPECT_THROW((void)formats_that_fit(plan, 300 * kMebi), Error);
}

TEST(KernelSpeeds, TheUsualFormatsAreKnownOnes) {
  ASSERT_GE(measured_formats().size(), 12U);
  EXPECT_EQ(measured_formats()[0], DType::kQ4_K);
}

}  // namespace
}  // namespace hearth::measure
