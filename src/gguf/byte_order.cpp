#include "gguf/byte_order.h"

namespace hearth::gguf {
namespace {

/// `count` fields of `width` bytes, the first at `offset` of the block, each `stride` bytes after
/// the one before.
struct Fields {
  std::uint16_t offset = 0;
  std::uint8_t width = 0;
  std::uint8_t count = 0;
  std::uint8_t stride = 0;
};

using BlockFields = std::array<Fields, 2>;

BlockFields fields_of(tensor::DType dtype) {
  using enum tensor::DType;
  constexpr Fields kLeadingHalf{0, 2, 1, 2};
  constexpr Fields kTwoLeadingHalves{0, 2, 2, 2};
  switch (dtype) {
    case kI8:
    case kMXFP4:
    case kNVFP4:
      return {};
    case kF16:
    case kBF16:
    case kI16:
      return {kLeadingHalf};
    case kF32:
    case kI32:
      return {Fields{0, 4, 1, 4}};
    case kF64:
    case kI64:
      return {Fields{0, 8, 1, 8}};
    case kQ4_0:
    case kQ8_0:
    case kIQ4_NL:
    case kQ1_0:
    case kQ2_0:
    case kIQ2_S:
    case kIQ3_S:
      return {kLeadingHalf};
    case kQ4_1:
    case kQ8_1:
    case kQ4_K:
    case kQ5_K:
    case kIQ4_XS:
      return {kTwoLeadingHalves};
    case kQ5_0:
      return {kLeadingHalf, Fields{2, 4, 1, 4}};
    case kQ5_1:
      return {kTwoLeadingHalves, Fields{4, 4, 1, 4}};
    case kQ2_K:
      return {Fields{80, 2, 2, 2}};
    case kQ3_K:
      return {Fields{108, 2, 1, 2}};
    case kQ6_K:
      return {Fields{208, 2, 1, 2}};
    case kQ8_K:
      return {Fields{0, 4, 1, 4}, Fields{260, 2, 16, 2}};
    case kIQ2_XXS:
      return {kLeadingHalf, Fields{6, 4, 8, 8}};
    case kIQ2_XS:
      return {Fields{0, 2, 33, 2}};
    case kIQ3_XXS:
      return {kLeadingHalf, Fields{66, 4, 8, 4}};
    case kIQ1_S:
      return {kLeadingHalf, Fields{34, 2, 8, 2}};
    case kIQ1_M:
      return {Fields{48, 2, 4, 2}};
    case kTQ1_0:
      return {Fields{52, 2, 1, 2}};
    case kTQ2_0:
      return {Fields{64, 2, 1, 2}};
  }
  return {};
}

}  // namespace

void swap_block_fields(tensor::DType dtype, std::span<std::byte> data) noexcept {
  const BlockFields all = fields_of(dtype);
  const std::size_t block_bytes = tensor::info(dtype).block_bytes;
  for (std::size_t block = 0; block + block_bytes <= data.size(); block += block_bytes) {
    for (const Fields& fields : all) {
      for (std::size_t i = 0; i < fields.count; ++i) {
        std::byte* field = data.data() + block + fields.offset + i * fields.stride;
        std::reverse(field, field + fields.width);
      }
    }
  }
}

}  // namespace hearth::gguf
