// The sampler: logits in, one token id out, by the chain that SamplerSettings describe.
#pragma once

#include <cstdint>
#include <span>
#include <string>
#include <vector>

#include "generate/random.h"
#include "generate/sampler_settings.h"
#include "text/tokenizer.h"

namespace hearth::generate {

/// What a sampler must know besides its settings.
struct SamplerContext {
  std::int64_t vocabulary = 0;
  /// Tokens the context can hold: the history is allocated for this many up front.
  std::int64_t context = 0;
  /// Ids that are never chosen.
  std::vector<text::TokenId> suppressed;
  /// Ids at which DRY's repetitions end (dry_breaker_tokens()); only needed when DRY is on.
  std::vector<text::TokenId> dry_breakers;
};

/// Tokens whose text contains one of `breakers`. A breaker that no single token contains is
/// represented by the last token of its encoding.
[[nodiscard]] std::vector<text::TokenId> dry_breaker_tokens(const text::Tokenizer& tokenizer,
                                                            std::span<const std::string> breakers);

/// One per generation. Construction allocates; accept() and sample() do not.
///
/// The candidates stay in the order of ids until a step needs an order of likelihood, then
/// likeliest first with equals by id; the drawn number is looked up in the cumulative probabilities
/// in that order. So one seed gives one result whatever selection algorithm the standard library
/// has (the last bit of exp and log is the C library's).
class Sampler {
 public:
  /// Throws Error (exit code 2) when a setting is out of range.
  Sampler(const SamplerSettings& settings, SamplerContext context);

  /// Adds a token to the context that penalties, DRY and Mirostat look at: first every token of the
  /// prompt, then each token that was sampled.
  void accept(text::TokenId token);

  /// Chooses a token. `logits` has one value per token of the vocabulary; NaN counts as -infinity.
  /// `allowed`, unless empty: only tokens whose bit is set (bit id % 64 of word id / 64; ids beyond
  /// its end are not allowed), whatever the bias says. Throws Error when no logit is finite (a
  /// broken model, or everything is banned).
  [[nodiscard]] text::TokenId sample(std::span<const float> logits,
                                     std::span<const std::uint64_t> allowed = {});

  /// The seed in use: the one of the settings, or the one drawn.
  [[nodiscard]] std::uint64_t seed() const noexcept { return seed_; }

  /// A possible choice. After normalize(), `weight` is the probability times an unspecified factor
  /// common to all.
  struct Candidate {
    text::TokenId id;
    float logit;
    float weight;
  };

 private:
  void apply_bias();
  void ban_all_but(std::span<const std::uint64_t> allowed);
  void apply(SamplerStep step);
  void apply_penalties();
  void apply_dry();
  void apply_top_k();
  void apply_typical();
  void apply_top_p();
  void apply_min_p();
  void apply_xtc();
  void apply_temperature();
  template <class LookAt>
  void look_at_those_above(const float& limit, const LookAt& look_at) const;
  [[nodiscard]] text::TokenId greedy() const;
  [[nodiscard]] text::TokenId draw();
  [[nodiscard]] text::TokenId draw_mirostat();

  void collect();
  double normalize();
  void sort_first(std::size_t count);
  [[nodiscard]] float highest_logit() const;
  template <class Key>
  void keep_smallest(double mass, const Key& key);
  void find_repetitions();
  void change_logit(text::TokenId id, float difference);

  SamplerSettings settings_;
  SamplerContext context_;
  std::uint64_t seed_;
  Random random_;
  double mirostat_mu_;

  std::vector<text::TokenId> history_;
  std::vector<std::uint32_t> counts_;        // of the penalty window, by id
  std::vector<std::uint8_t> breaks_;         // by id; empty when DRY is off
  std::vector<std::int32_t> match_lengths_;  // DRY's scratch: Z-array of the reversed history
  std::vector<std::int32_t> repetition_;     // by id: longest repetition the token would lengthen
  std::vector<text::TokenId> repeated_;      // ids with repetition_ > 0

  std::vector<float> logits_;  // the working copy, valid until collect()
  std::vector<Candidate> storage_;
  std::vector<Candidate> scratch_;  // keep_smallest()
  std::vector<double> buckets_;
  std::span<Candidate> candidates_;
  bool collected_ = false;
  std::size_t sorted_ = 0;  // that many first candidates are the likeliest, in order
};

}  // namespace hearth::generate
