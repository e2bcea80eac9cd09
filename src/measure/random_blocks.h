// Random weights in every stored type: valid blocks whose values are small, as weights are.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>

#include "tensor/dtype.h"

namespace hearth::measure {

/// Whether fill_random_blocks() knows the type: every type that tensors of a model are stored in.
[[nodiscard]] bool has_random_blocks(tensor::DType dtype) noexcept;

/// Fills `out`, whole blocks of `dtype`, with blocks whose values have a mean near 0 and a root
/// mean square of about 0.02. Scales are the same in all blocks, everything else is random; ternary
/// formats get no codes that their encoders never write. The same seed gives the same bytes.
void fill_random_blocks(tensor::DType dtype, std::uint64_t seed, std::span<std::byte> out) noexcept;

}  // namespace hearth::measure
