// The speed of the bfloat16 dot-product instruction, for measuring the machine.
#pragma once

#include <cstdint>

namespace hearth::compute::cpu {

/// Whether this CPU has the instruction (AVX512-BF16).
[[nodiscard]] bool has_bf16_products() noexcept;

/// Dot products on registers; returns multiply-adds done, 0 where there is no such instruction.
std::int64_t bf16_peak(std::int64_t rounds, float* sink) noexcept;

}  // namespace hearth::compute::cpu
