// Logits of a vocabulary to log-probabilities, compactly stored ones, and the divergence of two.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <string>

namespace hearth::compute::cpu {
struct KernelTable;
}

namespace hearth::measure {

/// What the softmax of one row of logits needs.
struct RowSummary {
  float highest = 0;
  double log_sum = 0;     // log of the sum of exp(logit - highest)
  std::int32_t best = 0;  // the first token with the highest logit
};

/// log of the softmax of `logits` at `token`.
[[nodiscard]] double log_probability(const RowSummary& summary, std::span<const float> logits,
                                     std::int32_t token) noexcept;

/// Log-probabilities further below the highest one of their row count as this far below it, in
/// stored rows and in divergences. exp(-32) is 1e-14.
inline constexpr float kDepth = 32;

/// The softmax of a row in 16 bits per token: log p = top - step * depths[token].
struct PackedRow {
  float top = 0;
  float step = 0;
  std::span<const std::uint16_t> depths;
};

/// Writes the depths of `logits` and returns the row with them. Errors are at most half a step,
/// kDepth / 65535 / 2.
PackedRow pack(const RowSummary& summary, std::span<const float> logits,
               std::span<std::uint16_t> depths) noexcept;

/// Works on rows of logits: a vocabulary has 1e5 tokens, and every scored token needs all of them,
/// so that exponentials are left to the engine's kernels. Sums are in double precision.
/// Thread-safe.
class RowReader {
 public:
  /// `instruction_set` as in compute::CpuOptions. Throws Error.
  explicit RowReader(const std::string& instruction_set = {});

  /// `logits` must not be empty. log_sum is not finite when a logit is NaN or +infinity, or all are
  /// -infinity.
  [[nodiscard]] RowSummary summarise(std::span<const float> logits) const noexcept;

  /// The Kullback-Leibler divergence, sum p (log p - log q), of the softmax q of `logits` from the
  /// stored row p, which is normalised first: packing rounds. In nats, never negative.
  [[nodiscard]] double divergence(const PackedRow& p, const RowSummary& summary,
                                  std::span<const float> logits) const noexcept;

 private:
  const compute::cpu::KernelTable* kernels_;
};

}  // namespace hearth::measure
