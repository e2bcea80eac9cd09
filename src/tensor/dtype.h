// Element and block types of stored tensors: the GGUF type numbers (reference: gguf.md section 4)
// and their geometry.
#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>
#include <string_view>

namespace hearth::tensor {

/// The values are the type ids of the GGUF format.
enum class DType : std::uint32_t {
  kF32 = 0,
  kF16 = 1,
  kQ4_0 = 2,
  kQ4_1 = 3,
  kQ5_0 = 6,
  kQ5_1 = 7,
  kQ8_0 = 8,
  kQ8_1 = 9,
  kQ2_K = 10,
  kQ3_K = 11,
  kQ4_K = 12,
  kQ5_K = 13,
  kQ6_K = 14,
  kQ8_K = 15,
  kIQ2_XXS = 16,
  kIQ2_XS = 17,
  kIQ3_XXS = 18,
  kIQ1_S = 19,
  kIQ4_NL = 20,
  kIQ3_S = 21,
  kIQ2_S = 22,
  kIQ4_XS = 23,
  kI8 = 24,
  kI16 = 25,
  kI32 = 26,
  kI64 = 27,
  kF64 = 28,
  kIQ1_M = 29,
  kBF16 = 30,
  kTQ1_0 = 34,
  kTQ2_0 = 35,
  kMXFP4 = 39,
  kNVFP4 = 40,
  kQ1_0 = 41,
  kQ2_0 = 42,
};

/// Geometry of a type. Values are stored in blocks of `block_elements` along the innermost
/// dimension, each block taking `block_bytes` bytes (1 and the element size for plain types).
struct DTypeInfo {
  DType dtype;
  std::string_view name;  // "Q4_K", as GGUF tools print it
  std::uint32_t block_elements;
  std::uint32_t block_bytes;
  bool quantized;
};

/// All known types, ordered by id.
[[nodiscard]] std::span<const DTypeInfo> all_dtypes() noexcept;

/// The type with GGUF id `id`, or nothing for retired and unknown ids.
[[nodiscard]] std::optional<DType> dtype_from_id(std::uint32_t id) noexcept;

/// The type named `name` (case-insensitive), or nothing.
[[nodiscard]] std::optional<DType> dtype_from_name(std::string_view name) noexcept;

[[nodiscard]] const DTypeInfo& info(DType dtype) noexcept;
[[nodiscard]] inline std::string_view name(DType dtype) noexcept { return info(dtype).name; }

/// Bytes of `elements` consecutive values; `elements` must be a multiple of the block size.
[[nodiscard]] inline std::size_t row_bytes(DType dtype, std::size_t elements) noexcept {
  const DTypeInfo& type = info(dtype);
  return elements / type.block_elements * type.block_bytes;
}

/// Half precision (IEEE 754 binary16) and bfloat16, exact widening and round-to-nearest-even
/// narrowing.
[[nodiscard]] float float_from_half(std::uint16_t bits) noexcept;
[[nodiscard]] std::uint16_t half_from_float(float value) noexcept;
[[nodiscard]] float float_from_bfloat16(std::uint16_t bits) noexcept;
[[nodiscard]] std::uint16_t bfloat16_from_float(float value) noexcept;

}  // namespace hearth::tensor
