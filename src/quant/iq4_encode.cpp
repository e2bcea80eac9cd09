// IQ4_NL and IQ4_XS: 16 levels, finer near zero.
#include <cstdint>
#include <cstring>

#include "quant/bytes.h"
#include "quant/encode_two_level.h"
#include "quant/families.h"

namespace hearth::quant {
namespace {}  // namespace

void encode_iq4_nl(const float* from, const RowWeights& weights, std::size_t blocks,
                   std::byte* to) {
  Block block;
  for (std::size_t b = 0; b < blocks; ++b, to += 18) {
    std::memset(to, 0, 18);
    if (!block.load(from + 32 * b, 32, weights, 32 * b, Spread::kTwiceBlock)) continue;
    const Choice best = best_half_scale<NonLinearLevels>(block, {70.0F, 1.5F, 54});
    store(to, best.scale.bits);
    int codes[32];
    codes_for<NonLinearLevels>(block.x, 32, best.scale.value, codes);
    store_nibbles(codes, to + 2);
  }
}

void encode_iq4_xs(const float* from, const RowWeights& weights, std::size_t blocks,
                   std::byte* to) {
  Block block;
  for (std::size_t b = 0; b < blocks; ++b, to += 136) {
    std::memset(to, 0, 136);
    if (!block.load(from + 256 * b, 256, weights, 256 * b, Spread::kTwiceBlock)) continue;
    TwoLevelSearch<NonLinearLevels, 8, 32, -32, 31> search(block, {84.0F, 2.0F, 30}, 3e-4F);
    const auto best = search.best({-32, 31, -31, 30, -30, 29, -28});
    store(to, best.scale.bits);
    auto* bytes = reinterpret_cast<std::uint8_t*>(to);
    unsigned high = 0;
    for (int sub = 0; sub < 8; ++sub) {
      const auto stored = static_cast<unsigned>(best.parts_scales[sub] + 32);
      bytes[4 + sub / 2] =
          static_cast<std::uint8_t>(bytes[4 + sub / 2] | (stored & 15) << (4 * (sub & 1)));
      high |= (stored >> 4) << (2 * sub);
      int codes[32];
      codes_for<NonLinearLevels>(block.x + 32 * sub, 32,
                                 best.scale.value * static_cast<float>(best.parts_scales[sub]),
                                 codes);
      store_nibbles(codes, to + 8 + 16 * sub);
    }
    store(to + 2, static_cast<std::uint16_t>(high));
  }
}

}  // namespace hearth::quant
