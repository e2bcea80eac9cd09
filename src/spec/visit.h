// Walking a ModelSpec: every tensor it names, with how it is used, and every attention layer, in
// execution order.
#pragma once

#include <concepts>
#include <cstdint>
#include <string>
#include <vector>

#include "spec/model_spec.h"

namespace hearth::spec {

enum class TensorRole : std::uint8_t {
  kMatrix,  // multiplied with activations
  kTable,   // rows are looked up
  kVector,  // norm weights, biases, factors, slopes
  kScalar,  // one number
};

struct TensorUse {
  std::string name;
  TensorRole role = TensorRole::kMatrix;
  bool operator==(const TensorUse&) const = default;
};

/// Every tensor the spec names, once per role, in execution order.
[[nodiscard]] std::vector<TensorUse> tensors_of(const ModelSpec& spec);

/// Every attention of the spec, in execution order: the n-th one owns the n-th KV pool.
[[nodiscard]] std::vector<const Attention*> attentions_of(const ModelSpec& spec);

}  // namespace hearth::spec
