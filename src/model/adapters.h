// Adapters of a running model: LoRA (Hu et al. 2021, arXiv:2106.09685) and control vectors. Loaded
// beside a model's weights, chosen per pass.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <string_view>

#include "compute/backend.h"

namespace hearth::model {

/// y += scale * B (A x), for one matrix of the model.
struct LowRank {
  const compute::Weight* a = nullptr;  // [rank, in], or a stack of such
  const compute::Weight* b = nullptr;  // [out, rank]
  float scale = 1;
};

/// What a pass applies: any number of adapters with their scales.
class AdapterSet {
 public:
  virtual ~AdapterSet() = default;
  /// Equal for sets that do the same: of their numbers, not their files.
  [[nodiscard]] virtual std::uint64_t fingerprint() const noexcept = 0;
  /// The low-rank terms of the matrix `weight`; empty for most.
  [[nodiscard]] virtual std::span<const LowRank> of(std::string_view weight) const noexcept = 0;
  /// The low-rank terms of the token embeddings: `a` is a table [vocabulary, rank] and a token's
  /// embedding gets scale * B A[token].
  [[nodiscard]] virtual std::span<const LowRank> embedding() const noexcept = 0;
  /// What is added to the stream after layer `layer`, [1, width]; absent: nothing.
  [[nodiscard]] virtual tensor::Tensor direction(std::size_t layer) const noexcept = 0;
};

}  // namespace hearth::model
