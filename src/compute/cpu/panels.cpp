#include "compute/cpu/panels.h"

#include "tensor/dtype.h"

namespace hearth::compute::cpu {

PanelFormat panel_format(DType dtype, bool exact, const KernelTable& kernels) noexcept {
  const bool pairs = kernels.bfloat_pairs && !exact;
  switch (dtype) {
    case DType::kF16:
      return pairs ? PanelFormat::kBF16Pairs : PanelFormat::kF16;
    case DType::kBF16:
      return pairs ? PanelFormat::kBF16Pairs : PanelFormat::kBF16;
    default:
      break;
  }
  if (exact) return PanelFormat::kF32;
  switch (dtype) {
    case DType::kQ8_0:
      return PanelFormat::kQ8_0;
    case DType::kQ4_0:
      return PanelFormat::kQ4_0;
    case DType::kQ4_1:
      return PanelFormat::kQ4_1;
    case DType::kQ5_0:
      return PanelFormat::kQ5_0;
    case DType::kQ5_1:
      return PanelFormat::kQ5_1;
    case DType::kIQ4_NL:
      return PanelFormat::kIQ4_NL;
    case DType::kMXFP4:
      return PanelFormat::kMXFP4;
    case DType::kNVFP4:
      return PanelFormat::kNVFP4;
    case DType::kQ1_0:
      return PanelFormat::kQ1_0;
    case DType::kQ2_0:
      return PanelFormat::kQ2_0;
    case DType::kQ2_K:
      return PanelFormat::kQ2_K;
    case DType::kQ3_K:
      return PanelFormat::kQ3_K;
    case DType::kQ4_K:
      return PanelFormat::kQ4_K;
    case DType::kQ5_K:
      return PanelFormat::kQ5_K;
    case DType::kQ6_K:
      return PanelFormat::kQ6_K;
    case DType::kIQ4_XS:
      return PanelFormat::kIQ4_XS;
    case DType::kIQ3_XXS:
      return PanelFormat::kIQ3_XXS;
    case DType::kIQ3_S:
      return PanelFormat::kIQ3_S;
    case DType::kIQ2_XXS:
    case DType::kIQ2_XS:
    case DType::kIQ2_S:
      return PanelFormat::kIQ2;
    case DType::kIQ1_S:
    case DType::kIQ1_M:
      return PanelFormat::kIQ1;
    case DType::kTQ1_0:
    case DType::kTQ2_0:
      return PanelFormat::kTernary;
    default:
      return PanelFormat::kF32;
  }
}

namespace {

/// Of a group: `elements` features in `bytes` bytes.
struct Geometry {
  std::int64_t elements;
  std::int64_t bytes;
};

Geometry geometry(PanelFormat format) noexcept {
  switch (format) {
    case PanelFormat::kF32:
      return {1, 64};
    case PanelFormat::kF16:
    case PanelFormat::kBF16:
      return {1, 32};
    case PanelFormat::kBF16Pairs:
      return {2, 64};
    case PanelFormat::kQ8_0:
      return {64, 64 + 2 * 512};
    case PanelFormat::kQ4_0:
    case PanelFormat::kIQ4_NL:
    case PanelFormat::kNVFP4:
      return {64, 64 + 2 * 256};
    case PanelFormat::kQ4_1:
      return {32, 64 + 256};
    case PanelFormat::kQ5_0:
      return {64, 64 + 2 * 320};
    case PanelFormat::kQ5_1:
      return {32, 64 + 320};
    case PanelFormat::kMXFP4:
      return {128, 64 + 4 * 256};
    case PanelFormat::kQ1_0:
      return {256, 64 + 8 * 64};
    case PanelFormat::kQ2_0:
      return {128, 64 + 4 * 128};
    case PanelFormat::kQ2_K:
      return {256, 64 + 256 + 1024};
    case PanelFormat::kQ3_K:
      return {256, 64 + 2 * (128 + 768)};
    case PanelFormat::kQ4_K:
      return {256, 64 + 192 + 2048};
    case PanelFormat::kQ5_K:
      return {256, 64 + 192 + 2560};
    case PanelFormat::kQ6_K:
      return {256, 64 + 2 * (128 + 1536)};
    case PanelFormat::kIQ4_XS:
      return {256, 64 + 128 + 2048};
    case PanelFormat::kIQ3_XXS:
    case PanelFormat::kIQ3_S:
      return {256, 64 + 64 + 2048};
    case PanelFormat::kIQ2:
      return {256, 64 + 2 * (64 + 768)};
    case PanelFormat::kIQ1:
      return {256, 64 + 128 + 64 + 1024};
    case PanelFormat::kTernary:
      return {256, 64 + 1024};
    case PanelFormat::kWide32:
      return {32, 64 + 512};
    case PanelFormat::kWide32Minimum:
    case PanelFormat::kWide16:
      return {32, 128 + 512};
    case PanelFormat::kWide256x32:
      return {256, 64 + 256 + 4096};
    case PanelFormat::kWide256x32Minimum:
      return {256, 128 + 256 + 128 + 4096};
    case PanelFormat::kWide256x16:
      return {256, 64 + 512 + 4096};
    case PanelFormat::kWide256x16Minimum:
      return {256, 128 + 512 + 256 + 4096};
  }
  return {};
}

}  // namespace

PanelFormat wide_format(PanelFormat format) noexcept {
  switch (format) {
    case PanelFormat::kQ8_0:
    case PanelFormat::kQ4_0:
    case PanelFormat::kQ5_0:
    case PanelFormat::kIQ4_NL:
    case PanelFormat::kMXFP4:
    case PanelFormat::kQ1_0:
    case PanelFormat::kQ2_0:
      return PanelFormat::kWide32;
    case PanelFormat::kQ4_1:
    case PanelFormat::kQ5_1:
      return PanelFormat::kWide32Minimum;
    case PanelFormat::kNVFP4:
      return PanelFormat::kWide16;
    case PanelFormat::kIQ4_XS:
    case PanelFormat::kIQ3_XXS:
    case PanelFormat::kIQ3_S:
    case PanelFormat::kTernary:
      return PanelFormat::kWide256x32;
    case PanelFormat::kQ4_K:
    case PanelFormat::kQ5_K:
      return PanelFormat::kWide256x32Minimum;
    case PanelFormat::kQ6_K:
    case PanelFormat::kQ3_K:
    case PanelFormat::kIQ2:
    case PanelFormat::kIQ1:
      return PanelFormat::kWide256x16;
    case PanelFormat::kQ2_K:
      return PanelFormat::kWide256x16Minimum;
    default:
      return format;
  }
}

RowFormat row_format(PanelFormat format) noexcept {
  switch (format) {
    case PanelFormat::kF32:
    case PanelFormat::kF16:
    case PanelFormat::kBF16:
      return RowFormat::kFloat;
    case PanelFormat::kBF16Pairs:
      return RowFormat::kBFloat;
    case PanelFormat::kWide32:
    case PanelFormat::kWide32Minimum:
    case PanelFormat::kWide16:
      return RowFormat::kBlocks32;
    case PanelFormat::kWide256x32:
    case PanelFormat::kWide256x32Minimum:
      return RowFormat::kBlocks256x32;
    case PanelFormat::kWide256x16:
    case PanelFormat::kWide256x16Minimum:
      return RowFormat::kBlocks256x16;
    default:
      return row_format(wide_format(format));
  }
}

std::size_t panel_bytes(PanelFormat format, std::int64_t columns) noexcept {
  const Geometry g = geometry(format);
  return static_cast<std::size_t>((columns + g.elements - 1) / g.elements * g.bytes);
}

}  // namespace hearth::compute::cpu
