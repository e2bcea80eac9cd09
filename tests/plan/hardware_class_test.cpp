#include "plan/hardware_class.h"

#include <gtest/gtest.h>

#include <string>

#include "support/error.h"

namespace hearth::plan {
namespace {

using machine::Gpu;
using machine::Machine;

constexpr double kGb = 1e9;

/// Llama 3 8B in Q4_K_M.
Workload dense() {
  Workload w;
  w.parameters = w.active_parameters = 8.03e9;
  w.layers = 32;
  w.trained_context = 131072;
  w.weight_bytes = 4.91 * kGb;
  w.active_bytes = 4.6 * kGb;
  w.multiply_adds = 7.5e9;
  w.kv_bytes_per_token = 131072;
  w.attention_multiply_adds = 2.0 * 4096 * 32;
  return w;
}

/// Qwen3 30B-A3B in Q4_K_M.
Workload mixture() {
  Workload w;
  w.parameters = 30.5e9;
  w.active_parameters = 3.3e9;
  w.mixture = true;
  w.layers = 48;
  w.trained_context = 262144;
  w.weight_bytes = 18.6 * kGb;
  w.active_bytes = 2.0 * kGb;
  w.expert_bytes = 17.6 * kGb;
  w.active_expert_bytes = 1.1 * kGb;
  w.multiply_adds = 3e9;
  w.kv_bytes_per_token = 98304;
  w.attention_multiply_adds = 2.0 * 4096 * 48;
  return w;
}

Machine computer(const std::string& gpu, double gigabytes, double gpu_gbs, double tflops) {
  Machine m;
  m.source = "data sheet";
  m.memory.total_bytes = std::uint64_t{32} << 30;
  m.read_bytes_per_second = 50 * kGb;
  machine::Disk disk;
  disk.sequential_bytes_per_second = 3 * kGb;
  m.disks.push_back(disk);
  Gpu g;
  g.name = gpu;
  g.memory_total_bytes = static_cast<std::uint64_t>(gigabytes * 1073741824);
  g.memory_bytes_per_second = gpu_gbs * kGb;
  g.fp16_flops = tflops * 1e12;
  m.gpus.push_back(g);
  return m;
}

Machine rtx3090() { return computer("NVIDIA GeForce RTX 3090", 24, 936, 71); }
Machine rtx3060() { return computer("NVIDIA GeForce RTX 3060", 12, 360, 25.5); }

Conditions conditions(Residency residency) {
  Conditions c;
  c.engine = "llama.cpp";
  c.residency = residency;
  return c;
}

double decode_tps(const Workload& w, const Machine& m, Residency residency) {
  return estimate_by_class(w, m, conditions(residency)).speeds.at(0).decode.tps;
}

TEST(HardwareClass, TellsGraphicsProcessorsApartByName) {
  const auto of = [](const std::string& name) {
    Gpu gpu;
    gpu.name = name;
    return classify(gpu, Machine());
  };
  EXPECT_EQ(of("NVIDIA GeForce RTX 4070 Ti"), HardwareClass::kGeforceRtx);
  EXPECT_EQ(of("NVIDIA H100 PCIe"), HardwareClass::kGeforceRtx);
  EXPECT_EQ(of("NVIDIA GeForce GTX 1080 Ti"), HardwareClass::kGeforceGtx);
  EXPECT_EQ(of("AMD Radeon RX 7900 XTX"), HardwareClass::kRadeon);
  EXPECT_EQ(of("RX 9070 XT"), HardwareClass::kRadeon);
  EXPECT_EQ(of("Intel Arc B580"), HardwareClass::kRadeon);
  Machine apple;
  apple.family = "apple";
  EXPECT_EQ(classify(Gpu(), apple), HardwareClass::kApple);
  Machine unified;
  unified.memory.unified = true;
  EXPECT_EQ(classify(Gpu(), unified), HardwareClass::kUnified);
  Gpu integrated;
  integrated.name = "Radeon 780M";
  integrated.integrated = true;
  EXPECT_EQ(classify(integrated, Machine()), HardwareClass::kIntegrated);
}

TEST(HardwareClass, KnowsTheBytesOfKvFormats) {
  EXPECT_DOUBLE_EQ(kv_element_bytes("F16"), 2);
  EXPECT_DOUBLE_EQ(kv_element_bytes("bf16"), 2);
  EXPECT_DOUBLE_EQ(kv_element_bytes("q8_0"), 34.0 / 32);
  EXPECT_DOUBLE_EQ(kv_element_bytes("Q4_0"), 18.0 / 32);
  EXPECT_DOUBLE_EQ(kv_element_bytes("F32"), 4);
}

TEST(HardwareClass, SpeedsArePlausible) {
  // What people measure: about 130 to 160, and thousands for prompts.
  const Estimate e = estimate_by_class(dense(), rtx3090(), conditions(Residency::kDevice));
  const Speed decode = e.speeds.at(0).decode;
  EXPECT_GT(decode.tps, 100);
  EXPECT_LT(decode.tps, 170);
  EXPECT_LT(decode.low, decode.tps);
  EXPECT_GT(decode.high, decode.tps);
  EXPECT_EQ(decode.limited_by, "memory bandwidth");
  EXPECT_GT(e.speeds.at(0).prefill.tps, 2000);
  EXPECT_LT(e.speeds.at(0).prefill.tps, 8000);
  EXPECT_EQ(e.speeds.at(0).prefill.limited_by, "arithmetic");
  EXPECT_GT(e.first_token_seconds, 512 / e.speeds.at(0).prefill.tps);
  EXPECT_FALSE(e.inputs.empty());
}

TEST(HardwareClass, NoSpeedExceedsThePeakOfTheMemory) {
  for (const std::string name : {"RTX 3090", "GTX 1080 Ti", "RX 7900 XTX"}) {
    const Machine m = computer(name, 24, 900, 70);
    EXPECT_LT(decode_tps(dense(), m, Residency::kDevice) * dense().active_bytes, 900 * kGb) << name;
  }
}

TEST(HardwareClass, DepthCostsAndWindowsSave) {
  Conditions c = conditions(Residency::kDevice);
  c.depths = {0, 4096, 32768};
  const Estimate full = estimate_by_class(dense(), rtx3090(), c);
  EXPECT_GT(full.speeds[0].decode.tps, full.speeds[1].decode.tps);
  EXPECT_GT(full.speeds[1].decode.tps, full.speeds[2].decode.tps);
  EXPECT_GT(full.speeds[0].prefill.tps, full.speeds[2].prefill.tps);
  EXPECT_LT(full.speeds[2].decode.tps, 0.85 * full.speeds[0].decode.tps);

  Workload windowed = dense();
  windowed.window = 1024;
  std::swap(windowed.kv_bytes_per_token, windowed.window_bytes_per_token);
  std::swap(windowed.attention_multiply_adds, windowed.window_multiply_adds);
  const Estimate less = estimate_by_class(windowed, rtx3090(), c);
  EXPECT_DOUBLE_EQ(less.speeds[1].decode.tps, less.speeds[2].decode.tps);
  EXPECT_LT(less.memory.kv, full.memory.kv);
}

TEST(HardwareClass, QuantizedKvSavesMemoryAndNoTime) {
  Conditions c = conditions(Residency::kDevice);
  const Estimate full = estimate_by_class(dense(), rtx3090(), c);
  c.kv_type = "Q8_0";
  const Estimate quantized = estimate_by_class(dense(), rtx3090(), c);
  EXPECT_NEAR(quantized.memory.kv, full.memory.kv * 34 / 64, 1);
  EXPECT_DOUBLE_EQ(quantized.speeds[2].decode.tps, full.speeds[2].decode.tps);
}

TEST(HardwareClass, TheLargestContextIsTheLastThatFits) {
  for (const Residency residency : {Residency::kDevice, Residency::kMemory, Residency::kSplit}) {
    Conditions c = conditions(residency);
    Workload w = dense();
    w.trained_context = 0;
    c.context = estimate_by_class(w, rtx3060(), c).largest_context;
    ASSERT_GT(c.context, 8192);
    EXPECT_TRUE(estimate_by_class(w, rtx3060(), c).fits);
    ++c.context;
    EXPECT_FALSE(estimate_by_class(w, rtx3060(), c).fits);
  }
}

TEST(HardwareClass, WhatDoesNotFitSaysSo) {
  const Estimate e = estimate_by_class(mixture(), rtx3060(), conditions(Residency::kDevice));
  EXPECT_FALSE(e.fits);
  EXPECT_EQ(e.largest_context, 0);
  EXPECT_TRUE(estimate_by_class(mixture(), rtx3060(), conditions(Residency::kExperts)).fits);
}

TEST(HardwareClass, PartlyOnTheDeviceLiesBetweenAllAndNothing) {
  const double all = decode_tps(mixture(), rtx3090(), Residency::kDevice);
  const double none = decode_tps(mixture(), rtx3090(), Residency::kMemory);
  const Machine small = computer("RTX 3090", 12, 936, 71);
  const double split = decode_tps(mixture(), small, Residency::kSplit);
  EXPECT_LT(split, all);
  EXPECT_GT(split, none);
  EXPECT_DOUBLE_EQ(decode_tps(mixture(), rtx3090(), Residency::kSplit), all);
}

TEST(HardwareClass, ExpertsInMainMemoryBeatLayersThere) {
  const Machine small = computer("RTX 3060", 6, 360, 25.5);
  EXPECT_GT(decode_tps(mixture(), small, Residency::kExperts),
            decode_tps(mixture(), small, Residency::kSplit));
  const Estimate e = estimate_by_class(mixture(), small, conditions(Residency::kExperts));
  EXPECT_LE(e.memory.device, static_cast<double>(small.gpus[0].memory_total_bytes));
  EXPECT_EQ(e.speeds[0].decode.limited_by, "main memory");
}

TEST(HardwareClass, MoreExpertsOnTheDeviceAreFaster) {
  double last = 0;
  for (const double share : {0.0, 0.25, 0.5, 1.0}) {
    const Estimate e = estimate_by_class(mixture(), rtx3060(), conditions(Residency::kExperts),
                                         ClassOptions{Placement{1, share}, 512});
    EXPECT_GT(e.speeds[0].decode.tps, last);
    last = e.speeds[0].decode.tps;
  }
}

TEST(HardwareClass, ExpertsThatFitIntoMemoryNeedNoDisk) {
  Machine m = rtx3060();
  EXPECT_DOUBLE_EQ(decode_tps(mixture(), m, Residency::kStreamed),
                   decode_tps(mixture(), m, Residency::kMemory));
  m.memory.total_bytes = std::uint64_t{8} << 30;
  const Estimate e = estimate_by_class(mixture(), m, conditions(Residency::kStreamed));
  EXPECT_TRUE(e.fits);
  EXPECT_EQ(e.speeds[0].decode.limited_by, "disk");
  EXPECT_LT(e.memory.weights, mixture().weight_bytes);
  EXPECT_FALSE(estimate_by_class(mixture(), m, conditions(Residency::kMemory)).fits);
}

TEST(HardwareClass, HearthOnADescribedProcessorReadsItsShareOfThePeak) {
  Machine m = rtx3060();
  m.gpus.clear();
  m.int8_multiply_adds = 1e12;
  Conditions c = conditions(Residency::kMemory);
  c.engine = "hearth";
  const SpeedAt at = estimate_by_class(dense(), m, c).speeds.at(0);
  EXPECT_LT(at.decode.tps, kHearthRead * 50 * kGb / dense().active_bytes);
  EXPECT_GT(at.decode.tps, 0.85 * kHearthRead * 50 * kGb / dense().active_bytes);
  EXPECT_LT(at.prefill.tps, kHearthCompute * 1e12 / dense().multiply_adds);
  EXPECT_GT(at.prefill.tps, 0.7 * kHearthCompute * 1e12 / dense().multiply_adds);
  // Bandwidth that was measured is less than the data sheet's.
  m.source.clear();
  EXPECT_GT(estimate_by_class(dense(), m, c).speeds.at(0).decode.tps, at.decode.tps);
}

TEST(HardwareClass, EnginesDifferByAFactor) {
  Machine m;
  m.family = "apple";
  m.memory.unified = true;
  m.memory.total_bytes = std::uint64_t{64} << 30;
  m.source = "data sheet";
  m.read_bytes_per_second = 546 * kGb;
  Gpu gpu;
  gpu.name = "Apple M4 Max";
  m.gpus.push_back(gpu);  // memory and bandwidth are the machine's
  Conditions c = conditions(Residency::kDevice);
  const Speed llama = estimate_by_class(dense(), m, c).speeds.at(0).decode;
  c.engine = "mlx";
  const Speed mlx = estimate_by_class(dense(), m, c).speeds.at(0).decode;
  EXPECT_NEAR(mlx.tps / llama.tps, engine_factor("mlx"), 1e-12);
  EXPECT_GT(llama.tps, 55);
  EXPECT_LT(llama.tps, 100);
}

TEST(HardwareClass, SaysWhatTheMachineDoesNotTell) {
  Machine none;
  EXPECT_THROW((void)estimate_by_class(dense(), none, conditions(Residency::kDevice)), Error);
  EXPECT_THROW((void)estimate_by_class(dense(), none, conditions(Residency::kMemory)), Error);
  Machine unknown = rtx3060();
  unknown.gpus[0].memory_bytes_per_second = 0;
  EXPECT_THROW((void)estimate_by_class(dense(), unknown, conditions(Residency::kDevice)), Error);
  Machine diskless = rtx3060();
  diskless.disks.clear();
  EXPECT_THROW((void)estimate_by_class(mixture(), diskless, conditions(Residency::kStreamed)),
               Error);
  EXPECT_THROW((void)estimate_by_class(Workload(), rtx3060(), conditions(Residency::kDevice)),
               Error);
}

}  // namespace
}  // namespace hearth::plan
