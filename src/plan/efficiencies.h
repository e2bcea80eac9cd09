// What share of its data sheet's numbers a machine reaches, by the kind of hardware and the engine:
// the only fitted numbers of the planner (scripts/fit-planner, docs/planner-model.md).
#pragma once

#include <string_view>

namespace hearth::plan {

/// Kinds of hardware that reach alike shares of their peaks.
enum class HardwareClass {
  kGeforceRtx,  // discrete NVIDIA graphics with tensor cores
  kGeforceGtx,  // older ones
  kRadeon,      // other discrete graphics
  kApple,
  kUnified,  // a large graphics processor that shares main memory: GB10, Strix Halo
  kProcessor,
  kIntegrated,  // a small one that shares main memory
};
inline constexpr int kHardwareClasses = 7;

struct Efficiencies {
  // Decoding.
  double read;           // of the peak memory bandwidth, while weights are read
  double mixture;        // of that, for mixtures of experts
  double layer_seconds;  // that a plain layer takes besides reading
  double unpack;         // of the fp16 peak, counted in multiply-adds by weights of one token
  double attention;      // of the fp16 peak, attention of one token
  // Prompts.
  double compute;            // of the fp16 peak (above 1 where integers are multiplied instead)
  double waste;              // tokens' worth of work that every expert wastes per batch
  double prefill_attention;  // of the fp16 peak
  double batch_seconds;      // that a layer takes per batch of tokens besides computing
  // Nine of ten measurements of the class lie between these multiples of the prediction.
  double decode_low, decode_high;
  double prefill_low, prefill_high;
  /// The fp16 peak where only the bandwidth is known: operations per byte. Not fitted: the middle
  /// of the class's data sheets.
  double flops_per_byte;
};

[[nodiscard]] const Efficiencies& efficiencies(HardwareClass hardware) noexcept;
[[nodiscard]] std::string_view name(HardwareClass hardware) noexcept;  // for people

/// Decoding speed of an engine to llama.cpp's on the same hardware.
[[nodiscard]] double engine_factor(std::string_view engine) noexcept;

/// Hearth's own, on processors whose kernels were not measured: shares of the peak read bandwidth
/// and of the peak of int8 multiply-adds. Measured on the machines it was developed on.
inline constexpr double kHearthRead = 0.72;  // 0.80 of the bandwidth that can be measured
inline constexpr double kHearthCompute = 0.55;
/// What a program can measure of the bandwidth that data sheets name.
inline constexpr double kMeasurableRead = 0.9;

/// Decoding with guessed tokens to decoding without: the middle of the few measurements there are.
[[nodiscard]] double speculation_factor(bool mixture) noexcept;

}  // namespace hearth::plan
