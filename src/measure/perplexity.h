// Perplexity of a model on a text, and how far its predictions are from those of another model.
#pragma once

#include <cstdint>
#include <filesystem>
#include <functional>
#include <memory>
#include <optional>
#include <vector>

#include "measure/chunks.h"

namespace hearth::measure {

/// A value with its standard error.
struct Estimate {
  double value = 0, error = 0;
};

/// The mean of values that come one by one.
class Mean {
 public:
  void add(double value) noexcept {
    ++count_;
    const double from_old = value - mean_;
    mean_ += from_old / static_cast<double>(count_);
    squares_ += from_old * (value - mean_);
  }
  [[nodiscard]] std::int64_t count() const noexcept { return count_; }
  /// The mean and its standard error (0 for less than two values).
  [[nodiscard]] Estimate estimate() const noexcept;

 private:
  std::int64_t count_ = 0;
  double mean_ = 0, squares_ = 0;  // Welford's: the sum of squared deviations
};

/// exp of a mean negative log-likelihood; the error follows the derivative.
[[nodiscard]] Estimate perplexity_of(const Estimate& mean_nll) noexcept;

/// What is known of the tokens of `values` that is not the mean.
struct Distribution {
  double median = 0, percentile_90 = 0, percentile_95 = 0, percentile_99 = 0, percentile_99_9 = 0,
         largest = 0;
};
/// Percentiles lie between neighbours in order. `values` must not be empty.
[[nodiscard]] Distribution distribution_of(std::vector<float> values);

/// How a model's predictions differ from those in a base file, over all scored tokens. In nats.
struct Comparison {
  Estimate base_perplexity;
  /// Of perplexities, this model's to the base's; both models saw the same tokens, so that most of
  /// what is uncertain about either cancels.
  Estimate ratio, difference;
  Estimate divergence;  // mean of KL(base || this)
  Distribution divergences;
  /// Of the probability of the token that follows: this model's less the base's.
  Estimate probability_change;
  double probability_change_rms = 0;
  Estimate same_best;  // share of tokens that both think likeliest
};

struct PerplexityResult {
  std::int64_t chunks = 0, scored = 0, evaluated = 0;  // chunks and tokens
  Estimate nll, perplexity;
  double seconds = 0;  // of evaluation
  std::optional<Comparison> comparison;
};

struct PerplexityOptions {
  /// Threads for logits; at least 1.
  int threads = 1;
  std::shared_ptr<const model::AdapterSet> adapters;
  /// Write the predictions to this file (base_file.h) ...
  std::filesystem::path save;
  /// ... or compare them with those in this one. Empty: neither.
  std::filesystem::path base;
  /// After every pass, with the estimate so far; may throw to end the run.
  std::function<void(const PerplexityResult& so_far, std::int64_t evaluated_of)> progress;
};

/// Scores the second half of every chunk (WantedLogits::kSecondHalf). `model` must have been
/// loaded as chunk_setup() says for that. Throws Error, before anything is evaluated when the base
/// file is not of these tokens or of another vocabulary.
[[nodiscard]] PerplexityResult measure_perplexity(model::LoadedModel& model,
                                                  const TokenChunks& chunks,
                                                  const PerplexityOptions& options);

/// The chunks of `chunks` that the base file `base` has, checked to be of the same tokens; `whole`:
/// the base must not have more. Throws Error. To be called before a model is loaded.
void match_base(TokenChunks& chunks, const std::filesystem::path& base, std::int64_t vocabulary,
                bool whole);

}  // namespace hearth::measure
