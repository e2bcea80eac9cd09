// Walking a ModelSpec: every tensor it names, with how it is used, and every body, in execution
// order.
#pragma once

#include <cstdint>
#include <functional>
#include <string>
#include <vector>

#include "spec/model_spec.h"

namespace hearth::spec {

enum class TensorRole : std::uint8_t {
  kMatrix,  // multiplied with activations
  kStack,   // a stack of matrices, multiplied with activations
  kTable,   // rows are looked up
  kVector,  // norm weights, biases, factors, slopes, convolution taps
  kScalar,  // one number
  kIndex,   // rows of integers that are looked up
};

struct TensorUse {
  std::string name;
  TensorRole role = TensorRole::kMatrix;
  /// kStack: how many matrices the tensor is read as (a file may hold them as one tall matrix).
  std::int64_t matrices = 1;
  bool operator==(const TensorUse&) const = default;
};

/// Every tensor the spec names, once per role, in execution order.
[[nodiscard]] std::vector<TensorUse> tensors_of(const ModelSpec& spec);

/// Calls visit(stack, layer, body) for every body in execution order, the encoder's first.
void for_each_body(ModelSpec& spec, const std::function<void(Stack&, std::size_t, Body&)>& visit);
void for_each_body(const ModelSpec& spec,
                   const std::function<void(const Stack&, std::size_t, const Body&)>& visit);

}  // namespace hearth::spec
