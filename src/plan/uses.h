// What models are used for, as data (data/uses.json): what a use asks of a machine, which scores
// say how good a model is for it, what quantization costs, and what to advise.
#pragma once

#include <cstdint>
#include <map>
#include <string>
#include <string_view>
#include <vector>

#include "plan/catalog.h"

namespace hearth::plan {

struct Use {
  std::string name, about;
  std::vector<std::string> roles;  // of models that come into question
  std::string modality;            // that they must have; empty: any
  double most_parameters = 0;      // 0: any
  std::int64_t context = 0;        // cells that are planned for
  std::int64_t depth = 0;          // of the conversation at which decode speed is judged
  std::int64_t prompt = 0;
  double min_tps = 0, comfortable_tps = 0;
  double wait_seconds = 0;  // for the first token after a prompt
  double cloud_below = 0;   // quality under which the cloud is the better answer
  /// Texts are evaluated in one pass and nothing is generated (embeddings).
  bool one_pass = false;
  std::map<std::string, double> measures;  // benchmark -> weight
};

/// value on the common scale = slope * score + offset.
struct Scale {
  double slope = 1, offset = 0, spread = 0;
  int models = 0;
};

struct QuantInfo {
  std::string name;
  double body_bits = 0, output_bits = 0;  // per weight
  double divergence = 0;
  bool offered = false;  // one of those that repositories usually have
};

struct AdviceRule {
  std::vector<std::string> uses;                             // empty: every use
  double memory_below = 0, memory_above = 0, tps_below = 0;  // 0: no condition
  bool without_gpu = false, on_battery = false, throttled = false;
  std::string engine;  // empty: any
  std::string say;
};

struct Uses {
  std::vector<Use> uses;
  std::map<std::string, Scale> scales;
  double noise = 0;  // of every score, in points
  double thinking_loss = 0, thinking_tokens = 0, thinking_seconds = 0;
  double guess_slope = 0, guess_offset = 0, guess_spread = 0, guess_penalty = 0;
  std::vector<QuantInfo> quants;  // best first
  double loss_per_divergence = 0, loss_power = 0, loss_least = 0, loss_most = 0;
  std::vector<AdviceRule> advice;

  /// Throws Error (ExitCode::kUsage) naming the known uses.
  [[nodiscard]] const Use& use(std::string_view name) const;
  /// By name, without "UD-" before it and "_XL" after it; null for unknown ones.
  [[nodiscard]] const QuantInfo* quant(std::string_view name) const noexcept;
  /// Percent of quality that a model of so many parameters loses by a format. Nothing for the one
  /// that it was published in.
  [[nodiscard]] double loss_percent(const QuantInfo& quant, const CatalogModel& model) const;
};

/// Reads such a file strictly. Throws Error.
[[nodiscard]] Uses parse_uses(std::string_view text, const std::string& source);
[[nodiscard]] Uses builtin_uses();

/// How good a model is for a use, on the scale of MMLU-Pro, before quantization.
struct Quality {
  double value = 0;
  /// The score that says most, and where it comes from; empty when it was guessed from the size.
  std::string benchmark, mode, source;
  double score = 0;
  bool guessed = false;
  bool thinking = false;  // the score that says most was reached with long thinking
  int measures = 0;       // that were counted
};
[[nodiscard]] Quality quality_of(const CatalogModel& model, const Use& use, const Uses& uses);

}  // namespace hearth::plan
