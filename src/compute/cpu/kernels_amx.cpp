#if defined(__x86_64__)
// clang-format off: the instruction set's primitives first.
#include "compute/cpu/simd_avx512.h"
#include "compute/cpu/kernel_table.h"
#include "compute/cpu/attention_kernels.h"
#include "compute/cpu/tiles_amx.h"
// clang-format on

namespace hearth::compute::cpu {
namespace {

template <class Block>
constexpr DotFunction tiles32 = tiles_or_vectors<multiply_tiles32<Block>, wide32<Block>>;
template <int kSub, bool kMinimum>
constexpr DotFunction tiles256 = tiles_or_vectors<multiply_tiles256<Wide256Block<kSub, kMinimum>>,
                                                  wide256<kSub, kMinimum>>;

#if !defined(HEARTH_AMX_EMULATED)
std::int64_t measure_tiles(std::int64_t rounds, std::int32_t* sink) {
  *sink = 0;
  return Tiles<16>::measure(rounds);
}
#endif

/// The table of avx512bf16, but for the products of expanded panels.
constexpr KernelTable make_tiles_table() {
  KernelTable table = make_table("amx", &kPairAttention);
  const auto dot = [&](PanelFormat format) -> DotFunction& {
    return table.dot[static_cast<int>(format)];
  };
  for (DotFunction& two : table.dot_two) two = nullptr;
  table.tiles = true;
  dot(PanelFormat::kWide32) = tiles32<Wide32Block>;
  dot(PanelFormat::kWide32Minimum) = tiles32<Wide32MinimumBlock>;
  dot(PanelFormat::kWide16) = tiles32<Wide16Block>;
  dot(PanelFormat::kWide256x32) = tiles256<32, false>;
  dot(PanelFormat::kWide256x32Minimum) = tiles256<32, true>;
  dot(PanelFormat::kWide256x16) = tiles256<16, false>;
  dot(PanelFormat::kWide256x16Minimum) = tiles256<16, true>;
#if !defined(HEARTH_AMX_EMULATED)
  table.int8_peak = measure_tiles;
#endif
  return table;
}

}  // namespace

const KernelTable& amx_kernels() noexcept {
  static constexpr KernelTable kTable = make_tiles_table();
  return kTable;
}

}  // namespace hearth::compute::cpu
#endif
